// One piece of work at a time: how far it is, how to end it, and what went wrong.

const part = id => document.getElementById(id);
let working = null;  // an AbortController while there is work

// Does it, in place of whatever is being done; returns what it returns, or undefined where it was ended or failed.
export async function work(job) {
  end();
  part("problem").hidden = true;
  const own = working = new AbortController();
  part("busy").hidden = false;
  try {
    return await job(own.signal);
  } catch (error) {
    if (error.name !== "AbortError") complain("The server cannot be reached. Is it still running?");
  } finally {
    if (working === own) {
      working = null;
      part("busy").hidden = true;
      say("");
    }
  }
}

export const end = () => working?.abort();

// How far it is, from 0 to 1; null where that is not known.
export function show(words, share) {
  if (share === null) part("progress").removeAttribute("value");
  else part("progress").value = share;
  say(words);
}

function say(words) {
  if (part("status").textContent !== words) part("status").textContent = words;  // said once to who listens to the page
}

export function complain(sentence) {
  part("problem").textContent = sentence;
  part("problem").hidden = false;
}

part("cancel").addEventListener("click", end);
