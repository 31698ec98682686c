// An artist is enrolled from the songs of a folder: sent one by one, and added together.

import {showEnrolled} from "./enrolled.js";
import {chosen, folders, notes, sorted} from "./files.js";
import {ask, reason, send} from "./sending.js";
import {complain, show, work} from "./working.js";
import {clock, counted, element} from "./words.js";

const part = id => document.getElementById(id);
const DISC = /^(cd|dis[ck])\s*\d+$/i;
let songs = [], others = [];

export function takeSongs(files) {
  ({songs, others} = sorted(files));
  part("enrolment-chosen").textContent = `${counted(songs.length, "song")} chosen`;
  if (songs.length > 0) part("enrolment-artist").value = folders(songs[0].path)[0] ?? part("enrolment-artist").value;
  showReady();
}

function showReady() {
  part("enrolment-begin").disabled = songs.length === 0 || part("enrolment-artist").value.trim() === "";
}

const albumOf = path => folders(path).filter(name => !DISC.test(name)).at(-1) ?? "";

async function enrol() {
  const artist = part("enrolment-artist").value.trim(), more = part("enrolment-more").checked;
  part("enrolment-answer").hidden = true;
  const done = await work(async signal => {
    const begun = await send(`enrolments?${new URLSearchParams({artist, more})}`, null, signal);
    if (begun.status !== 200) return complain(reason(begun));
    const own = `enrolments/${begun.body.enrolment}`, refused = [];
    try {
      begin();
      for (const [at, {file, path}] of songs.entries()) {
        show(`Listening to song ${at + 1} of ${songs.length}, ${file.name}`, at / songs.length);
        const sentence = await added(own, file, path, signal);
        if (sentence !== null) refused.push(sentence);
        showLeftOut(refused);
      }
      const ended = await send(own, null, signal);
      if (ended.status === 200) return ended.body;
      complain(reason(ended));
    } catch (error) {
      fetch(own, {method: "DELETE"}).catch(() => {});
      throw error;
    }
  });
  if (done === undefined) {
    part("enrolment-verdict").textContent = "Nobody was enrolled";
    return;
  }
  await showEnrolled();
  part("enrolment-verdict").textContent =
    `${done.artist} is enrolled, by ${counted(done.songs, "song")}; ${counted(done.artists, "artist")} in all`;
  part("enrolment-verdict").focus({preventScroll: true});
}

// Sends a song; returns why it was refused, or null.
async function added(own, file, path, signal) {
  const answer = await ask(file, signal, () => {}, `${own}/songs`, {album: albumOf(path)});
  if (answer.status !== 200) return reason(answer);
  const {title, album, seconds, warnings} = answer.body, row = element("tr");
  const cell = element("th", title, {scope: "row"});
  cell.append(...warnings.map(warning => element("span", warning, {className: "album"})));
  row.append(cell, element("td", album || "none"), element("td", clock(seconds)));
  part("enrolled-songs").tBodies[0].append(row);
  return null;
}

function begin() {
  part("enrolled-songs").tBodies[0].replaceChildren();
  part("enrolment-verdict").textContent = `Enrolling ${part("enrolment-artist").value.trim()}`;
  part("enrolment-answer").hidden = false;
  showLeftOut([]);
}

function showLeftOut(refused) {
  const none = notes(new Map([["left out, not audio", others.map(({path}) => path)]]));
  part("enrolment-left-out").replaceChildren(...none, ...refused.map(sentence => element("li", sentence)));
}

if (part("enrolment") !== null) {
  for (const field of ["enrolment-folder", "enrolment-files"]) {
    part(field).addEventListener("change", ({target}) => { takeSongs(chosen(target)); });
  }
  part("enrolment-artist").addEventListener("input", showReady);
  part("enrolment-begin").addEventListener("click", enrol);
}
