// A song comes in, by choosing, dropping or recording it, and its answer is shown; one at a time.

import {showAnswer} from "./answer.js";
import {Recording, canRecord} from "./recording.js";
import {ask} from "./sending.js";
import {unload} from "./timeline.js";
import {clock, counted} from "./words.js";

const part = id => document.getElementById(id);
const maxMegabytes = Number(document.body.dataset.maxMb);
const maxSeconds = 60 * Number(document.body.dataset.maxMinutes);
let asking = null;  // an AbortController while a song is being asked about
let recording = null;

async function identify(file) {
  asking?.abort();
  forget();
  if (file.size > 1e6 * maxMegabytes) {
    complain(`${file.name} is larger than the ${maxMegabytes} MB that this page accepts.`);
    return;
  }
  const own = asking = new AbortController();
  part("busy").hidden = false;
  let answer = null;
  try {
    answer = await ask(file, own.signal, share => {
      if (share < 1) {
        part("progress").value = share;
        say(`Sending ${file.name}`);
      } else {
        part("progress").removeAttribute("value");
        say(`Listening to ${file.name}; a long song may take a minute`);
      }
    });
  } catch (error) {
    if (error.name !== "AbortError") complain("The server cannot be reached. Is it still running?");
  } finally {
    if (asking === own) {
      asking = null;
      part("busy").hidden = true;
      say("");
    }
  }
  if (answer === null) return;
  if (answer.status === 200) showAnswer(answer.body, file);  // now that nothing above it moves any more
  else complain(answer.body?.error ?? `The server answered with an error, ${answer.status}.`);
}

// Takes the last song's answer or problem away.
function forget() {
  unload();
  part("answer").hidden = part("problem").hidden = true;
}

function say(words) {
  if (part("status").textContent !== words) part("status").textContent = words;  // said once to who listens to the page
}

function complain(sentence) {
  part("problem").textContent = sentence;
  part("problem").hidden = false;
}

part("file").addEventListener("change", ({target}) => {
  const [file] = target.files;
  target.value = "";  // or the same file could not be chosen again
  if (file) identify(file);
});
part("cancel").addEventListener("click", () => asking?.abort());

addEventListener("dragover", event => {
  event.preventDefault();
  part("drop").classList.add("over");
});
addEventListener("dragleave", event => {
  if (event.relatedTarget === null) part("drop").classList.remove("over");  // it left the window
});
addEventListener("drop", event => {
  event.preventDefault();
  part("drop").classList.remove("over");
  const {files} = event.dataTransfer;
  if (files.length === 1) identify(files[0]);
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
  asking?.abort();
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
document.body.dataset.ready = "";
