// Asking the server about a song.

import {asWav} from "./wav.js";

const UNREADABLE = 415;  // HTTP's "unsupported media type"

// What the server says of a song: {status, body}.
export async function ask(file, signal, onProgress) {
  const answer = await send(file, file.name, signal, onProgress);
  if (answer.status !== UNREADABLE) return answer;
  const wav = await asWav(file);  // browsers read formats, such as video, that the server may not
  return wav === null || signal.aborted ? answer : send(wav, file.name, signal, onProgress);
}

// XMLHttpRequest, as fetch does not tell how much has been sent.
function send(body, name, signal, onProgress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `songs?${new URLSearchParams({name})}`);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.responseType = "json";
    request.upload.onprogress = event => onProgress(event.loaded / event.total);
    request.upload.onload = () => onProgress(1);
    request.onload = () => resolve({status: request.status, body: request.response});
    request.onerror = () => reject(new Error("unreachable"));
    request.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    signal.addEventListener("abort", () => request.abort());
    request.send(body);
  });
}
