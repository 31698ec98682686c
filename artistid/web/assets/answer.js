// The answer to a song, written into the page.

import {showNeighbourhood} from "./neighbourhood.js";
import {ranked, showTimeline} from "./timeline.js";
import {bar, clock, element, percent} from "./words.js";

const part = id => document.getElementById(id);
const palette = document.body.dataset.palette.split(" ");

export function showAnswer(answer, file) {
  part("heard").textContent = `${answer.name}, ${clock(answer.duration_s)}`;
  part("verdict").textContent = verdict(answer);
  part("reason").textContent = reason(answer);
  part("warnings").replaceChildren(...answer.warnings.map(warning => element("li", sentence(warning))));
  part("answer").hidden = false;
  const artists = ranked(answer.timeline);
  showTimeline(answer, file, new Map(artists.map((artist, rank) => [artist, palette[rank] ?? null])));
  showCandidates(answer.top);
  showNeighbourhood(answer, artists, palette);
  part("verdict").focus({preventScroll: true});
  part("answer").scrollIntoView({block: "start"});
}

function verdict(answer) {
  if (answer.artist !== null) return `Sounds like ${answer.artist}`;
  return answer.silent ? "Silence" : "None of the artists this model knows";
}

function reason({artist, silent, score, threshold, top: [first]}) {
  if (artist !== null) return `Probability ${first.probability.toFixed(2)}; ${percent(first.share)} of its clips name this artist.`;
  if (silent) return "There is nothing to hear in it, so nobody is named.";
  return `Likest to ${first.artist}, but a score of ${score.toFixed(2)} is less than the ${threshold.toFixed(2)} that is asked for.`;
}

const sentence = words => `${words[0].toUpperCase()}${words.slice(1)}.`;

function showCandidates(top) {
  part("candidates").tBodies[0].replaceChildren(...top.map(({artist, probability, share}) => {
    const row = element("tr");
    row.append(element("th", artist, {scope: "row"}), bar(probability, probability.toFixed(3)), bar(share, percent(share)));
    return row;
  }));
}
