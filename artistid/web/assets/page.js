// A song comes in, by choosing, dropping or recording it, and its answer is shown; one at a time.

import {showAnswer} from "./answer.js";
import {takeClaims} from "./claims.js";
import {showEnrolled} from "./enrolled.js";
import {takeSongs} from "./enrolment.js";
import {dropped} from "./files.js";
import {Recording, canRecord} from "./recording.js";
import {ask, reason} from "./sending.js";
import {selected} from "./tabs.js";
import {unload} from "./timeline.js";
import {complain, end, show, work} from "./working.js";
import {clock, counted} from "./words.js";

const part = id => document.getElementById(id);
const maxSeconds = 60 * Number(document.body.dataset.maxMinutes);
let recording = null;

async function identify(file) {
  end();
  forget();
  const answer = await work(signal => ask(file, signal, share => {
    if (share < 1) show(`Sending ${file.name}`, share);
    else show(`Listening to ${file.name}; a long song may take a minute`, null);
  }));
  if (answer === undefined) return;
  if (answer.status === 200) showAnswer(answer.body, file);  // now that nothing above it moves any more
  else complain(reason(answer));
}

// Hides the last song's answer or problem.
function forget() {
  unload();
  part("answer").hidden = part("problem").hidden = true;
}

part("file").addEventListener("change", ({target}) => {
  const [file] = target.files;
  target.value = "";  // or the same file could not be chosen again
  if (file) identify(file);
});

const zones = () => document.querySelectorAll("#drop, .drop");

addEventListener("dragover", event => {
  event.preventDefault();
  for (const zone of zones()) zone.classList.add("over");
});
addEventListener("dragleave", event => {
  if (event.relatedTarget !== null) return;
  for (const zone of zones()) zone.classList.remove("over");  // it left the window
});
addEventListener("drop", async event => {
  event.preventDefault();
  for (const zone of zones()) zone.classList.remove("over");
  const files = await dropped(event.dataTransfer);
  if (selected() === "claims") takeClaims(files);
  else if (selected() === "enrolment") takeSongs(files);
  else if (files.length === 1) identify(files[0].file);
  else complain(files.length === 0 ? "That was not a file." : `One song at a time: those were ${counted(files.length, "file")}.`);
});

function showRecording(on) {
  part("record").lastChild.textContent = on ? " Stop and identify" : " Record";
  part("record").classList.toggle("recording", on);
  for (const id of ["discard", "record-time", "record-level"]) part(id).hidden = !on;
  part("file").disabled = on;
}

async function startRecording() {
  part("record").disabled = true;
  end();
  forget();
  try {
    recording = await Recording.begin((seconds, peak) => {
      part("record-time").textContent = clock(seconds);
      part("record-level").value = peak;
      if (seconds >= maxSeconds - 1 && recording !== null) identify(stopRecording());
    });
    showRecording(true);
  } catch (error) {
    complain(error.name === "NotAllowedError" ? "The browser was not allowed to use the microphone."
      : error.name === "NotFoundError" ? "No microphone was found."
      : `The microphone cannot be used: ${error.message}`);
  } finally {
    part("record").disabled = false;
  }
}

function stopRecording() {
  const file = recording?.end();
  recording = null;
  showRecording(false);
  return file;
}

part("record").addEventListener("click", () => {
  if (recording === null) startRecording();
  else identify(stopRecording());
});
part("discard").addEventListener("click", stopRecording);
part("record-bar").hidden = !canRecord();  // browsers allow it on this machine, or over https
await showEnrolled();
document.body.dataset.ready = "";
