// The suspects of an audit, a page at a time: listen, decide, and save.

import {element, percent} from "./words.js";

const [status, problem, list, place, earlier, later] =
  ["status", "problem", "songs", "place", "earlier", "later"].map(id => document.getElementById(id));
let first = 0;

async function ask(path, options) {
  problem.hidden = true;
  try {
    const response = await fetch(path, options);
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.error);
    return answer;
  } catch (error) {
    problem.textContent = error instanceof TypeError ? "The server does not answer: is the command still running?" : error.message;
    problem.hidden = false;
    return null;
  }
}

async function show(from) {
  const answer = await ask(`songs?first=${from}`);
  if (!answer) return;
  first = from;
  list.replaceChildren(...answer.songs.map(card));
  tell(answer.decided, answer.total);
  place.parentElement.hidden = answer.total <= answer.page;
  place.textContent = `${from + 1} to ${from + answer.songs.length} of ${answer.total}`;
  earlier.disabled = from === 0;
  later.disabled = from + answer.page >= answer.total;
  earlier.onclick = () => turn(from - answer.page);
  later.onclick = () => turn(from + answer.page);
}

async function turn(from) {
  await show(Math.max(0, from));
  list.querySelector("h2")?.focus();
}

let total = 0;
function tell(decided, of = total) {
  total = of;
  status.textContent = `${decided} of ${total} decided`;
}

function card(song) {
  const item = element("li");
  fill(item, song);
  return item;
}

function fill(item, song) {
  const heading = element("h2", song.title, {tabIndex: -1, id: `song-${song.number}`});
  const filed = element("p", "Filed under ");
  filed.append(element("strong", song.filed), ` (probability ${percent(song.own_probability)}), sounds like `,
    element("strong", song.proposed), ` (${percent(song.probability)})`);
  const audio = element("audio", "", {controls: true, preload: "none", src: `songs/${song.number}/audio`});
  audio.setAttribute("aria-label", `Listen to ${song.title}`);
  const mute = element("p", "This browser cannot play the file; open it in another player.", {className: "problem", hidden: true});
  audio.onerror = () => { mute.hidden = false; };
  const decision = element("p", decided(song), {className: "decision"});
  const choices = element("div", "", {className: "choices", role: "group"});
  choices.setAttribute("aria-labelledby", heading.id);
  choices.append(
    button(`It is by ${song.proposed}`, song, item, song.proposed),
    button(`${song.filed} is right`, song, item, song.filed),
    button("Leave it out", song, item, ""));
  if (song.checked) choices.append(button("Undecided", song, item, null));
  item.className = song.checked ? "checked" : "";
  item.replaceChildren(heading, element("p", song.album ? `on ${song.album}` : "on no album"), filed,
    element("p", song.path, {className: "quiet"}), audio, mute, choices, another(song, item), decision);
}

function another(song, item) {
  const form = element("form");
  const label = element("label", "It is by someone else");
  const name = element("input", "", {required: true, maxLength: 500});
  name.setAttribute("list", "artists");
  label.append(name);
  form.append(label, element("button", "Save", {type: "submit", className: "plain"}));
  form.onsubmit = event => {
    event.preventDefault();
    decide(song, item, name.value);
  };
  return form;
}

function button(words, song, item, artist) {
  const made = element("button", words, {type: "button"});
  if (artist !== song.proposed) made.className = "plain";
  made.onclick = () => decide(song, item, artist);
  return made;
}

function decided(song) {
  if (!song.checked) return "Not decided";
  if (!song.artist) return "Decided: left out";
  return song.artist === song.filed ? `Decided: ${song.filed} is right` : `Decided: it is by ${song.artist}`;
}

async function decide(song, item, artist) {
  const answer = await ask(`songs/${song.number}`, {method: "POST", body: JSON.stringify({artist})});
  if (!answer) return;
  fill(item, answer.song);
  item.querySelector("h2").focus();
  tell(answer.decided);
}

show(first);
