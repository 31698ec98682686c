// Times and numbers as words.

// Seconds, as 1:15 or 3:01:01.
export function clock(seconds) {
  const whole = Math.floor(seconds + 1e-6);
  const two = number => String(number).padStart(2, "0");
  const minutes = Math.floor(whole / 60);
  return minutes < 60 ? `${minutes}:${two(whole % 60)}` : `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(whole % 60)}`;
}

export function percent(share) {
  return `${Math.round(100 * share)} %`;
}

// A number with its noun: 1 song, 1,200 songs.
export function counted(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}

// An element with text, which is never read as HTML.
export function element(tag, text = "", properties = {}) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(text);
  return made;
}

// A table's cell: a share as a bar, and in words.
export function bar(share, words) {
  const filled = element("b");
  filled.style.width = `${100 * share}%`;
  const line = element("i");
  line.append(filled);
  const both = element("div", line, {className: "bar"});
  both.append(element("span", words));
  return element("td", both);
}

// A log-likelihood ratio, always with its sign.
export function ratio(llr) {
  return `${llr < 0 ? "−" : "+"}${Math.abs(llr).toFixed(2)}`;
}

// A share in whole numbers: 5 of 100 songs.
export function outOf(share, noun) {
  const all = share === 0 || share >= 0.01 ? 100 : 10 ** Math.ceil(-Math.log10(share));
  return `${Math.round(share * all) || "none"} of ${counted(all, noun)}`;
}

export const sentence = words => `${words[0].toUpperCase()}${words.slice(1)}.`;
