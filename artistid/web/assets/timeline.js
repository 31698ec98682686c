// The song from left to right: which stretch sounds like whom, its spectrogram, and where it is being played.

import {clock, element, ratio} from "./words.js";

const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600];  // seconds between the axis' labels
const LABEL_PIXELS = 64;
const KEY_SECONDS = 5;
const OTHERS = "others";

const part = id => document.getElementById(id);
const audio = part("audio"), track = part("track");
let shown = null;  // the answer
let address = null;  // of the song, in this browser
let wanted = null;  // the position to play from, in seconds, until it is reached
let sought = null;  // the position the browser is seeking

// The artists of a timeline, those with the most seconds first.
export function ranked(timeline) {
  const seconds = new Map();
  for (const {artist, start_s, end_s} of timeline) seconds.set(artist, (seconds.get(artist) ?? 0) + end_s - start_s);
  return [...seconds.keys()].sort((one, other) => seconds.get(other) - seconds.get(one));
}

export function showTimeline(answer, file, colourOf) {
  shown = answer;
  showLegend(colourOf);
  const seconds = answer.duration_s;
  part("stretches").replaceChildren(...answer.timeline.map(stretch => {
    const piece = element("span", "", {title: described(stretch)});
    piece.style.left = `${100 * stretch.start_s / seconds}%`;
    piece.style.width = `${100 * (stretch.end_s - stretch.start_s) / seconds}%`;
    piece.style.background = colourOf.get(stretch.artist) ?? "var(--others)";
    return piece;
  }));
  showSpectrogram(answer.spectrogram, seconds);
  showStretchList(colourOf);
  track.setAttribute("aria-valuemax", seconds.toFixed(1));
  showAxis();
  load(file);
}

// A network whose input is no spectrogram has none to show.
function showSpectrogram(spectrogram, seconds) {
  part("no-picture").hidden = spectrogram !== null;
  part("spectrogram").hidden = spectrogram === null;
  if (spectrogram === null) return;
  part("picture").src = spectrogram.image;
  part("picture").style.width = `${100 * spectrogram.seconds / seconds}%`;
  part("frequencies").replaceChildren(...spectrogram.frequencies.map(({hz, height}) => {
    const label = element("span", hz < 1000 ? `${hz} Hz` : `${hz / 1000} kHz`);
    label.style.bottom = `${100 * height}%`;
    return label;
  }));
}

// Nothing is played any more, and the browser may forget the file.
export function unload() {
  audio.pause();
  audio.removeAttribute("src");
  if (address !== null) URL.revokeObjectURL(address);
  address = shown = wanted = sought = null;
}

function load(file) {
  address = URL.createObjectURL(file);
  part("unplayable").hidden = true;
  audio.hidden = false;
  audio.src = address;
  showPlace();
}

function showLegend(colourOf) {
  const named = [...colourOf].filter(([, colour]) => colour !== null);
  const entries = named.map(([artist, colour]) => entry(artist, colour));
  if (named.length < colourOf.size) entries.push(entry(`${OTHERS} (${colourOf.size - named.length})`, "var(--others)"));
  part("legend").replaceChildren(...entries);
}

function entry(name, colour) {
  const item = element("li");
  item.append(swatch(colour), name);
  return item;
}

function swatch(colour) {
  const made = element("span", "", {className: "swatch"});
  made.style.background = colour ?? "var(--others)";
  return made;
}

function showStretchList(colourOf) {
  const {timeline} = shown;
  part("all-stretches").querySelector("summary").textContent =
    timeline.length === 1 ? "1 stretch" : `All ${timeline.length} stretches`;
  part("stretch-list").replaceChildren(...timeline.map(stretch => {
    const button = element("button", "", {type: "button", onclick: () => playFrom(stretch.start_s)});
    button.append(
      swatch(colourOf.get(stretch.artist)),
      element("span", span(stretch), {className: "span"}),
      element("span", stretch.artist, {className: "artist"}),
      element("span", strength(stretch)),
    );
    const item = element("li");
    item.append(button);
    return item;
  }));
}

function showAxis() {
  const seconds = shown.duration_s;
  const most = Math.max(2, track.clientWidth / LABEL_PIXELS);
  const step = STEPS.find(each => seconds / each <= most) ?? Math.ceil(seconds / most / 3600) * 3600;
  const ticks = [];
  // A label begins at its tick, so the last needs room to its right.
  for (let at = 0; at <= seconds - 0.6 * seconds / most; at += step) {
    const tick = element("span", clock(at));
    tick.style.left = `${100 * at / seconds}%`;
    ticks.push(tick);
  }
  part("axis").replaceChildren(...ticks);
}

const span = stretch => `${clock(stretch.start_s)}–${clock(stretch.end_s)}`;
const strength = ({probability, llr}) => llr === undefined ? probability.toFixed(2) : ratio(llr);
const described = stretch => `${span(stretch)} ${stretch.artist}, ${strength(stretch)}`;

function stretchAt(seconds) {
  return shown.timeline.find(({start_s, end_s}) => start_s <= seconds && seconds < end_s);
}

const place = () => Math.min(wanted ?? audio.currentTime, shown.duration_s);

function showPlace() {
  if (shown === null) return;
  const seconds = place();
  const stretch = stretchAt(seconds);
  const like = stretch === undefined ? "not analysed: less than a clip is left"
    : `sounds like ${stretch.artist}, ${stretch.llr === undefined ? "probability" : "ratio"} ${strength(stretch)}`;
  part("playhead").style.left = `${100 * seconds / shown.duration_s}%`;
  part("here").textContent = `${clock(seconds)} of ${clock(shown.duration_s)}: ${like}`;
  track.setAttribute("aria-valuenow", seconds.toFixed(1));
  track.setAttribute("aria-valuetext", part("here").textContent);
}

// One seek at a time: Chromium may never end one that another begins within, and then nothing is heard.
function seek(seconds) {
  wanted = Math.max(0, Math.min(seconds, shown.duration_s));
  if (sought === null && audio.readyState > 0) go();
  showPlace();
}

function go() {
  sought = wanted;
  audio.currentTime = sought;
}

function arrived() {
  if (wanted !== sought) return go();
  wanted = sought = null;
  showPlace();
}

function play() {
  audio.play().catch(() => {});  // a file that cannot be played is an error event as well, told below
}

function playFrom(seconds) {
  seek(seconds);
  play();
}

function follow() {  // smoother than the few timeupdate events of a second
  showPlace();
  if (!audio.paused) requestAnimationFrame(follow);
}

audio.addEventListener("play", follow);
audio.addEventListener("loadedmetadata", () => { if (wanted !== null) go(); });
audio.addEventListener("seeked", arrived);
for (const event of ["timeupdate", "pause"]) audio.addEventListener(event, showPlace);
audio.addEventListener("error", () => {
  if (address === null) return;
  audio.hidden = true;
  part("unplayable").hidden = false;
});

track.addEventListener("click", event => {
  const {left, width} = track.getBoundingClientRect();
  playFrom((event.clientX - left) / width * shown.duration_s);
});
track.addEventListener("keydown", event => {
  const moves = {
    ArrowLeft: -KEY_SECONDS, ArrowDown: -KEY_SECONDS, ArrowRight: KEY_SECONDS, ArrowUp: KEY_SECONDS,
    PageDown: -6 * KEY_SECONDS, PageUp: 6 * KEY_SECONDS, Home: -Infinity, End: Infinity,
  };
  if (event.key in moves) seek(place() + moves[event.key]);
  else if (event.key === "Enter" || event.key === " ") audio.paused ? play() : audio.pause();
  else return;
  event.preventDefault();
});
new ResizeObserver(() => shown !== null && showAxis()).observe(track);
