// One task at a time: its progress, how to cancel it, and what went wrong.

const part = id => document.getElementById(id);
let working = null;  // an AbortController while there is work

// Runs it, in place of any other; returns what it returns, or undefined if it was cancelled or failed.
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

// The progress, from 0 to 1; null if unknown.
export function show(words, share) {
  if (share === null) part("progress").removeAttribute("value");
  else part("progress").value = share;
  say(words);
}

function say(words) {
  if (part("status").textContent !== words) part("status").textContent = words;  // announced once to screen readers
}

export function complain(sentence) {
  part("problem").textContent = sentence;
  part("problem").hidden = false;
}

part("cancel").addEventListener("click", end);
