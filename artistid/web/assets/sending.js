// Asking the server about a song.

import {asWav} from "./wav.js";

const UNREADABLE = 415;  // HTTP's "unsupported media type"
const TOO_LARGE = 413;
const maxMegabytes = Number(document.body.dataset.maxMb);

// The server's answer to a song: {status, body}; sent with more about it, to other addresses than songs.
export async function ask(file, signal, onProgress, address = "songs", about = {}) {
  if (file.size > 1e6 * maxMegabytes) {
    return {status: TOO_LARGE, body: {error: `${file.name} is larger than the ${maxMegabytes} MB that this page accepts.`}};
  }
  const to = `${address}?${new URLSearchParams({name: file.name, ...about})}`;
  const answer = await send(to, file, signal, onProgress);
  if (answer.status !== UNREADABLE) return answer;
  const wav = await asWav(file);  // browsers read formats, such as video, that the server may not
  return wav === null || signal.aborted ? answer : send(to, wav, signal, onProgress);
}

// XMLHttpRequest, as fetch does not tell how much has been sent.
export function send(to, body, signal, onProgress = () => {}) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", to);
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

// Why there is no answer, in a sentence.
export const reason = ({status, body}) => body?.error ?? `The server answered with an error, ${status}.`;
