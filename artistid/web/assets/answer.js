// The answer to a song, written into the page.

import {showNeighbourhood} from "./neighbourhood.js";
import {ranked, showTimeline} from "./timeline.js";
import {bar, clock, counted, element, outOf, percent, ratio, sentence} from "./words.js";

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

// Whether enrolled artists are named; else the network names those that it was trained on.
const ofEnrolled = answer => "llr" in answer;

function verdict(answer) {
  if (answer.artist !== null) return `Sounds like ${answer.artist}`;
  if (ofEnrolled(answer)) return "Nobody I know";
  return answer.silent ? "Silence" : "None of the artists this model knows";
}

function reasonOfEnrolled({artist, llr, threshold, false_alarms: share, top: [first]}) {
  const others = `about ${outOf(share, "song")} by artists who are not enrolled`;
  return artist === null
    ? `Most like ${first.artist}, but its ratio of ${ratio(llr)} is not above ${ratio(threshold)}, which ${others} exceed.`
    : `Its ratio of ${ratio(llr)} is above ${ratio(threshold)}. So are those of ${others}: this is sometimes wrong.`;
}

function reason(answer) {
  if (ofEnrolled(answer)) return reasonOfEnrolled(answer);
  const {artist, silent, score, threshold, top: [first]} = answer;
  if (artist !== null) return `${percent(first.share)} of its clips name this artist; probability ${first.probability.toFixed(2)}.`;
  if (silent) return "It is silent, so no artist is named.";
  return `Most like ${first.artist}, but the score, ${score.toFixed(3)}, is below the threshold of ${threshold.toFixed(3)}.`;
}

const CELLS = {
  rank: ({rank}) => element("td", rank),
  share: ({share}) => bar(share, percent(share)),
  probability: ({probability}) => bar(probability, probability.toFixed(3)),
  llr: ({llr}) => element("td", ratio(llr)),
  songs: ({songs}) => element("td", counted(songs, "song")),
};

// In the columns of the table's head, the first of which orders the artists.
function showCandidates(top) {
  const columns = [...part("candidates").querySelectorAll("[data-shows]")].map(({dataset}) => CELLS[dataset.shows]);
  part("candidates").tBodies[0].replaceChildren(...top.map(candidate => {
    const row = element("tr");
    row.append(element("th", candidate.artist, {scope: "row"}), ...columns.map(cell => cell(candidate)));
    return row;
  }));
}
