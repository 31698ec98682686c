// Who is enrolled, and how often somebody else is mistaken for one of them.

import {counted, element, outOf} from "./words.js";

const part = id => document.getElementById(id);

// Fetches and shows it.
export async function showEnrolled() {
  if (part("enrolled-names") === null) return;  // the network names its own artists
  const {artists, songs: all, false_alarms: share, strangers} = await (await fetch("artists")).json();
  part("n-enrolled").textContent = counted(artists.length, "enrolled artist");
  part("enrolled-count").textContent = artists.length;
  part("enrolled-names").replaceChildren(...artists.map(({artist, songs}) =>
    element("li", artist, {title: `known by ${counted(songs, "song")}`})));
  part("n-known").textContent = counted(all, "song");
  part("alarms").textContent = strangers === 0 ? "always the answer, as long as nobody is enrolled"
    : `the answer to most songs by others; still, about ${outOf(share, "song")} by artists who are not enrolled will be`
      + ` given one of these names. This was measured on ${counted(strangers, "song")} by strangers`;
}
