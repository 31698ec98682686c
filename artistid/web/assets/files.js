// Songs from folders: which files they are, and what is left out.

import {counted, element} from "./words.js";

const endings = new Set(document.body.dataset.endings.split(" "));
const MOST_NAMED = 5;

// Files of a field, each with its path below whatever was chosen.
export const chosen = ({files}) => [...files].map(file => ({file, path: file.webkitRelativePath || file.name}));

// Files and folders that were dropped, with all below these; to be called before the event is over.
export async function dropped({items, files}) {
  const entries = [...items].map(item => item.webkitGetAsEntry?.()).filter(entry => entry);
  if (entries.length === 0) return [...files].map(file => ({file, path: file.name}));
  return (await Promise.all(entries.map(below))).flat();
}

async function below(entry) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    return [{file, path: entry.fullPath.replace(/^[/]/, "")}];
  }
  const reader = entry.createReader(), found = [];
  for (;;) {  // a reader gives a hundred at a time
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) return (await Promise.all(found.map(below))).flat();
    found.push(...some);
  }
}

const ending = ({name}) => name.slice(name.lastIndexOf(".")).toLowerCase();
const isHidden = path => path.split("/").some(name => name.startsWith("."));
const isSong = ({file, path}) => !isHidden(path) && (endings.has(ending(file)) || /^(audio|video)[/]/.test(file.type));

// {songs, others}: the songs among some files, by path, and the files that are not songs.
export function sorted(files) {
  const inOrder = [...files].sort((one, other) => one.path.localeCompare(other.path, "en", {numeric: true}));
  return {songs: inOrder.filter(isSong), others: inOrder.filter(each => !isSong(each))};
}

// The folders of a path, the outermost first.
export const folders = path => path.split("/").slice(0, -1);

// What was left out, in sentences: a Map of reasons to paths.
export function notes(leftOut) {
  return [...leftOut].filter(([, paths]) => paths.length > 0).map(([reason, paths]) => {
    const more = paths.length > MOST_NAMED ? ` and ${paths.length - MOST_NAMED} more` : "";
    return element("li", `${counted(paths.length, "file")} ${reason}: ${paths.slice(0, MOST_NAMED).join(", ")}${more}.`);
  });
}
