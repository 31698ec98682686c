// The songs of a collection that are like this one: the nearest songs, and a map of all.

import {bar, counted, element, percent} from "./words.js";

const part = id => document.getElementById(id);
const symbols = document.body.dataset.symbols.split(" ");
const NONE = "rgba(0,0,0,0)";
const colour = name => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`);
let compared = null;  // songs of the collection
let map = null;  // a promise of {songs, plotly}, fetched once
let draw = () => {};  // the map again

export function showNeighbourhood({neighbourhood}, artists, palette) {
  if (part("neighbourhood") === null) return;  // the server has no collection
  part("neighbourhood").hidden = neighbourhood === null;  // silence is near to nothing
  if (neighbourhood === null) return;
  const {songs, copies, n_songs: all} = neighbourhood;
  if (all !== compared) map = null;  // the collection has changed
  compared = all;
  part("n-compared").textContent = counted(all, "song");
  part("copies").hidden = copies.length === 0;
  part("copies").textContent = `This very recording is in the collection, as ${copies.map(named).join(" and ")}; the songs below are the nearest of the others.`;
  part("nearest").tBodies[0].replaceChildren(...songs.map(song => {
    const row = element("tr"), title = element("th", song.title, {scope: "row"});
    if (song.album) title.append(element("span", song.album, {className: "album"}));
    row.append(title, element("td", song.artist || "unknown"), bar(Math.max(0, song.similarity), song.similarity.toFixed(3)));
    return row;
  }));
  const near = songs.map(song => song.artist);
  const coloured = [...new Set([...artists, ...near])].slice(0, palette.length);
  draw = () => showMap(neighbourhood, coloured, palette).catch(() => { part("map-part").hidden = true; });
  draw();
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw());

const named = ({artist, title}) => artist ? `${artist}: ${title}` : title;

async function showMap({place, songs}, coloured, palette) {
  map ??= Promise.all([fetch("map").then(response => response.json()), load("plotly.js")]).then(([answer]) => answer);
  const {songs: all, plotly} = await map;
  part("map-part").hidden = all === null;
  if (all === null) return;
  const shown = all.x.length, ink = colour("ink"), paper = colour("paper");
  part("map-help").textContent = (shown < all.n_songs ? `${counted(shown, "song")} of the collection, drawn at random` : "The songs of the collection")
    + ", coloured by the artists that this song resembles. The map shows the two directions in which the embeddings vary most"
    + ` (${percent(all.explained)} of the variance), so songs that are close on it may still be far apart; the list above uses all dimensions.`;
  const groups = [...coloured, null].map(artist => all.artist.flatMap((name, at) =>
    (artist === null ? !coloured.includes(name) : name === artist) ? [at] : []));
  const points = (group, at) => ({
    x: group.map(each => all.x[each]), y: group.map(each => all.y[each]),
    text: group.map(each => hover(all.artist[each], all.title[each])),
    name: at < coloured.length ? escaped(coloured[at]) : "others",
    marker: at < coloured.length
      ? {color: palette[at], symbol: symbols[at], size: 8, line: {width: 0.5, color: paper}}
      : {color: colour("far"), symbol: "circle", size: 6, line: {width: 0.5, color: paper}},
  });
  const traces = groups.map(points).filter(trace => trace.x.length > 0).reverse();  // the others below all
  traces.push({
    x: songs.map(song => song.place[0]), y: songs.map(song => song.place[1]),
    text: songs.map(song => hover(song.artist, song.title)), name: "nearest songs",
    marker: {color: NONE, symbol: "circle", size: 15, line: {width: 1.5, color: ink}},
  }, {
    x: [place[0]], y: [place[1]], text: ["this song"], name: "this song",
    marker: {color: ink, symbol: "star", size: 20, line: {width: 1.5, color: paper}},
  });
  await Plotly.react(part("map"), traces.map(trace => ({
    type: "scatter", mode: "markers", hovertemplate: "%{text}<extra></extra>", showlegend: true, ...trace,
  })), {
    margin: {l: 10, r: 10, t: 40, b: 10},
    legend: {orientation: "h", itemsizing: "constant", x: 0, y: 0, yanchor: "top", traceorder: "reversed"},
    hoverlabel: {align: "left"},
    font: {color: ink, family: getComputedStyle(document.body).fontFamily},
    paper_bgcolor: NONE,
    plot_bgcolor: NONE,
    modebar: {bgcolor: NONE, color: colour("quiet"), activecolor: ink},
    xaxis: {visible: false},
    yaxis: {visible: false, scaleanchor: "x"},
    dragmode: "pan",
  }, {...plotly, scrollZoom: false, responsive: true});  // the wheel and the finger scroll the page
  part("map").dataset.ready = "";
}

function load(name) {
  return new Promise((resolve, reject) => {
    const script = element("script", "", {src: new URL(name, import.meta.url).href, onload: resolve, onerror: reject});
    document.head.append(script);
  });
}

const hover = (artist, title) => escaped(artist ? `${artist}: ${title}` : title);

// Plotly reads tags in its texts.
const escaped = text => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
