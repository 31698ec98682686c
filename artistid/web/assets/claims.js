// Many songs, each checked against the artist it is filed under; the doubtful ones first.

import {chosen, folders, notes, sorted} from "./files.js";
import {ask, reason, send} from "./sending.js";
import {complain, show, work} from "./working.js";
import {counted, element, outOf, ratio} from "./words.js";

const part = id => document.getElementById(id);
const WORDS = {accepted: "accepted", rejected: "rejected", unknown: "no verdict", failed: "not answered"};
let songs = [], others = [];
let results = [];  // {path, file, answer} or {path, file, error}
let address = null;  // of the song that is played

export function takeClaims(files) {
  ({songs, others} = sorted(files));
  part("claims-chosen").textContent = `${counted(songs.length, "song")} chosen`;
  part("claims-begin").disabled = songs.length === 0;
}

async function check() {
  const list = part("claims-list").files[0];
  const found = await work(async signal => {
    let artistOf = null, missing = [], unlisted = [];
    if (list !== undefined) {
      const answer = await send(`claims/list?${new URLSearchParams({name: list.name})}`, list, signal);
      if (answer.status !== 200) return complain(reason(answer));
      ({artistOf, missing, unlisted} = matched(answer.body));
    }
    begin(new Map([
      ["left out, not audio", others.map(({path}) => path)],
      ["in the list, but not among those chosen", missing],
      ["left out, since the list does not have them", unlisted],
    ]));
    const listed = artistOf === null ? songs : songs.filter(({path}) => artistOf.has(path));
    for (const [at, {file, path}] of listed.entries()) {
      show(`Listening to song ${at + 1} of ${listed.length}, ${file.name}`, at / listed.length);
      results.push({path, file, ...await answered(file, path, artistOf?.get(path) ?? "", signal)});
      showResults();
    }
    return true;
  });
  if (found) part("claims-verdict").focus({preventScroll: true});
}

async function answered(file, path, artist, signal) {
  const [root = "", folder = root] = folders(path);  // the artist's, below the one that was chosen
  const answer = await ask(file, signal, () => {}, "claims", {artist, folder});
  return answer.status === 200 ? {answer: answer.body} : {error: reason(answer)};
}

// The artist a list names for each chosen song: a row's path may begin further up than the folder that was chosen.
function matched(rows) {
  const artistOf = new Map(), missing = [];
  for (const row of rows) {
    const its = row.path.replaceAll("\\", "/");
    const fitting = songs.filter(({path}) => its === path || its.endsWith(`/${path}`) || path.endsWith(`/${its}`));
    if (fitting.length === 1) artistOf.set(fitting[0].path, row.artist);
    else missing.push(fitting.length === 0 ? row.path : `${row.path} (${fitting.length} of this name)`);
  }
  return {artistOf, missing, unlisted: songs.map(({path}) => path).filter(path => !artistOf.has(path))};
}

function begin(leftOut) {
  results = [];
  part("claims-left-out").replaceChildren(...notes(leftOut));
  part("claims-answer").hidden = false;
  stop();
  showResults();
}

const kind = ({answer}) => answer === undefined ? "failed" : answer.verdict === null ? "unknown"
  : answer.verdict.accepted ? "accepted" : "rejected";
const margin = ({answer}) => answer.verdict.llr - answer.verdict.threshold;
const ORDER = ["rejected", "unknown", "failed", "accepted"];

function inOrder(one, other) {
  const [first, second] = [kind(one), kind(other)];
  if (first !== second) return ORDER.indexOf(first) - ORDER.indexOf(second);
  return first === "rejected" || first === "accepted" ? margin(one) - margin(other) : 0;
}

function showResults() {
  const counts = Object.keys(WORDS).map(each => [each, results.filter(result => kind(result) === each).length]);
  const told = counts.filter(([, number]) => number > 0).map(([each, number]) => `${number} ${WORDS[each]}`);
  part("claims-verdict").textContent = [counted(results.length, "song"), told.join(", ")].filter(Boolean).join(": ");
  const verdict = results.find(({answer}) => answer?.verdict)?.answer.verdict;
  part("claims-alarms").textContent = verdict === undefined ? ""
    : `About ${outOf(verdict.false_alarms, "song")} by somebody else would be accepted as an artist's; `
      + `this was measured on ${counted(verdict.strangers, "song")} by strangers.`;
  part("checked").tBodies[0].replaceChildren(...[...results].sort(inOrder).map(row));
}

function row(result) {
  const {path, file, answer, error} = result, made = element("tr", "", {className: kind(result)});
  const play = element("button", "▶", {type: "button", className: "play", ariaLabel: `Play ${file.name}`, onclick: () => playIt(file)});
  const names = element("span", file.name), both = element("div", play, {className: "playable"});
  if (folders(path).length > 0) names.append(element("span", folders(path).join("/"), {className: "album"}));
  both.append(names);
  const title = element("th", both, {scope: "row"});
  made.append(title, element("td", answer === undefined ? "" : filed(answer)), verdictCell(result),
    element("td", answer === undefined ? error : likeness(answer.sounds_like)));
  return made;
}

const BY = {list: "the list", tags: "its tags", folder: "its folder"};
const filed = ({artist, by}) => by === "nothing" ? "nobody" : `${artist}, from ${BY[by]}`;
const likeness = ({artist, top: [first]}) => artist ?? `nobody I know; most like ${first.artist}`;

function verdictCell(result) {
  const cell = element("td", element("b", WORDS[kind(result)])), {answer} = result;
  if (answer === undefined) return cell;
  cell.append(element("span", answer.verdict === null ? answer.problem
    : `ratio ${ratio(answer.verdict.llr)}, accepted above ${ratio(answer.verdict.threshold)}`, {className: "album"}));
  cell.append(...(answer.verdict?.warnings ?? []).map(warning => element("span", warning, {className: "album"})));
  return cell;
}

function playIt(file) {
  stop();
  address = URL.createObjectURL(file);
  part("claims-playing").textContent = file.name;
  part("claims-playing").hidden = part("claims-audio").hidden = false;
  part("claims-audio").src = address;
  part("claims-audio").play().catch(() => { part("claims-playing").textContent = `This browser cannot play ${file.name}.`; });
}

function stop() {
  part("claims-audio").pause();
  if (address !== null) URL.revokeObjectURL(address);
  address = null;
  part("claims-audio").hidden = part("claims-playing").hidden = true;
}

const COLUMNS = {
  path: ({path}) => path,
  artist: ({answer}) => answer?.artist,
  by: ({answer}) => answer?.by,
  accepted: ({answer}) => answer?.verdict?.accepted,
  llr: ({answer}) => answer?.verdict?.llr,
  threshold: ({answer}) => answer?.verdict?.threshold,
  false_alarms: ({answer}) => answer?.verdict?.false_alarms,
  sounds_like: ({answer}) => answer?.sounds_like.artist,
  problem: ({answer, error}) => error ?? answer.problem,
};

const cell = value => /[",\n\r]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;

function save() {
  const rows = [Object.keys(COLUMNS), ...[...results].sort(inOrder).map(result =>
    Object.values(COLUMNS).map(of => cell(String(of(result) ?? ""))))];
  const blob = new Blob([`${rows.map(each => each.join(",")).join("\r\n")}\r\n`], {type: "text/csv"});
  const link = element("a", "", {href: URL.createObjectURL(blob), download: "checked.csv"});
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

if (part("claims") !== null) {
  for (const field of ["claims-folder", "claims-files"]) {
    part(field).addEventListener("change", ({target}) => { takeClaims(chosen(target)); });
  }
  part("claims-begin").addEventListener("click", check);
  part("claims-save").addEventListener("click", save);
}
