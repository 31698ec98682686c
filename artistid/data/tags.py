"""What the tags of audio files say: artist, album, title; read once, and again only where a file has changed."""

from __future__ import annotations

import codecs
import json
import logging
import os
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import mutagen
from mutagen.id3 import Encoding, TextFrame

from artistid.data.catalog import clean
from artistid.errors import ArtistidError
from artistid.processes import WorkerDiedError, Workers
from artistid.terminal import progress
from artistid.writing import write_text

log = logging.getLogger(__name__)

# Part of the cache's key: raise it when the same file gives other tags.
VERSION = 1

# Below so many files, starting processes takes longer than reading.
WORTH_WORKERS = 2000
BATCH = 100  # files at a time, for a worker

# What each is called in ID3, Vorbis comments and APE, MP4, and Windows Media; the first that a file has is taken.
NAMES = {
    "artist": ("TPE1", "artist", "\xa9ART", "Author"),
    "album_artist": (
        *("TPE2", "albumartist", "album artist", "aART", "WM/AlbumArtist"),
        *("TXXX:albumartist", "TXXX:album artist"),
    ),
    "album": ("TALB", "album", "\xa9alb", "WM/AlbumTitle"),
    "title": ("TIT2", "title", "\xa9nam"),
    "disc": ("TPOS", "discnumber", "disc", "disk", "WM/PartOfSet"),
    "number": ("TRCK", "tracknumber", "track", "trkn", "WM/TrackNumber"),
    "compilation": ("TCMP", "compilation", "cpil", "WM/IsCompilation"),
}


class Tags(NamedTuple):
    """What a file's tags say; empty where they say nothing.

    Attributes:
        artist: of the track; several are joined by "; ".
        album_artist: of the whole album.
        album: title, as it is.
        title: of the track.
        disc: its number in a set.
        number: the track's on its disc.
        compilation: whether the album is said to be one.
        doubtful: the text claims to be Latin-1 and hardly is.
        error: why the tags cannot be read.
    """

    artist: str = ""
    album_artist: str = ""
    album: str = ""
    title: str = ""
    disc: str = ""
    number: str = ""
    compilation: bool = False
    doubtful: bool = False
    error: str = ""


def read_tags(path: Path, encoding: str | None = None) -> Tags:
    """The tags of one file.

    Args:
        path: an audio file of any format that mutagen knows; of another, all is empty.
        encoding: of ID3 text that claims to be Latin-1, as old taggers write whatever their system used. UTF-8 under
            that claim is recognised without it.
    """
    try:
        return _read_tags(path, encoding)
    except Exception as error:  # mutagen raises whatever a broken file makes it stumble over, MemoryError included
        return Tags(error=str(error) or type(error).__name__)


def _read_tags(path: Path, encoding: str | None) -> Tags:
    file = mutagen.File(path)
    if file is None or not file.tags:
        return Tags()
    values = {name.casefold(): value for name, value in file.tags.items()}
    found = {field: _first(values, names) for field, names in NAMES.items()}
    texts = {field: "; ".join(_texts(value, encoding)) for field, value in found.items()}
    disc, number = (texts.pop(field).partition("/")[0] for field in ("disc", "number"))
    return Tags(
        compilation=texts.pop("compilation").lower() in ("1", "true"),
        doubtful=any(_is_doubtful(found[field], texts[field]) for field in texts),
        disc=disc.lstrip("0"),
        number=number.lstrip("0"),
        **texts,
    )


def _first(values: Mapping[str, Any], names: Iterable[str]) -> Any:
    return next((values[name.casefold()] for name in names if name.casefold() in values), ())


def _texts(value: Any, encoding: str | None) -> list[str]:
    """The texts of a tag's value, which each format wraps in its own way."""
    if _claims_latin1(value):
        texts = [_decoded_again(str(text), encoding) for text in value.text]
    elif isinstance(value, bool):  # MP4's flags
        texts = [str(value)]
    else:
        texts = [str(each[0] if isinstance(each, tuple) else each) for each in value]  # MP4's (number, total)
    return [text for text in map(clean, texts) if text]


def _claims_latin1(value: Any) -> bool:
    return isinstance(value, TextFrame) and value.encoding == Encoding.LATIN1


def _decoded_again(text: str, encoding: str | None) -> str:
    """Text that was read as Latin-1, read as UTF-8 if it is, else in the encoding, if it can be."""
    for guess in ("utf-8", encoding):
        if guess is not None:
            try:
                return text.encode("latin-1").decode(guess)
            except UnicodeError:
                continue
    return text


def _is_doubtful(value: Any, text: str) -> bool:
    """Whether most letters of a text that claims to be Latin-1 are none of ASCII, and it was not read otherwise."""
    if not _claims_latin1(value) or text != clean("; ".join(map(str, value.text))):
        return False
    return 2 * sum(not letter.isascii() for letter in text) > len(text.replace(" ", ""))


def read_all_tags(
    paths: list[Path], cache: Path, encoding: str | None = None, workers: int | None = None
) -> list[Tags]:
    """The tags of many files; those that are as they were when their tags were read last are not opened.

    Args:
        paths: audio files.
        cache: JSON file that keeps what was read; files are known by path, size and time of change.
        encoding: see :func:`read_tags`.
        workers: processes that read; None takes one per core, below 2 none but this one.

    Raises:
        ArtistidError: an unknown encoding, or a cache that cannot be written.
    """
    if encoding is not None:
        try:
            codecs.lookup(encoding)
        except LookupError:
            raise ArtistidError(f"data.tag_encoding={encoding} is no encoding; expected one such as cp1251") from None
    cached = _load(cache, encoding)
    states = {str(path): _state(path) for path in paths}
    known = {name: tags for name, (*state, tags) in cached.items() if states.get(name) == tuple(state)}
    if unread := [path for path in paths if str(path) not in known]:
        log.info("reading the tags of %d files", len(unread))
        known |= zip(map(str, unread), _read_many(unread, encoding, workers), strict=True)
        _save(cache, encoding, {name: (*state, known[name]) for name, state in states.items()})
    return [Tags(*known[str(path)]) for path in paths]


def _state(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def _read_many(paths: list[Path], encoding: str | None, workers: int | None) -> list[Tags]:
    workers = (os.cpu_count() or 1) if workers is None else workers
    if workers < 2 or len(paths) < WORTH_WORKERS:
        return [read_tags(path, encoding) for path in progress(paths, "tags")]
    read: list[Tags] = []
    with Workers(workers) as pool:
        batches = [paths[first : first + BATCH] for first in range(0, len(paths), BATCH)]
        futures = pool.map(partial(_read_batch, encoding=encoding), batches, ahead=2 * workers)
        for batch, future in zip(batches, progress(futures, "tags", total=len(batches)), strict=True):
            try:
                read += future.result()
            except WorkerDiedError:  # of one of them, and only that one is to be without tags
                read += [_read_apart(pool, path, encoding) for path in batch]
    return read


def _read_batch(paths: list[Path], encoding: str | None) -> list[Tags]:
    return [read_tags(path, encoding) for path in paths]


def _read_apart(pool: Workers, path: Path, encoding: str | None) -> Tags:
    try:
        return pool.submit(read_tags, path, encoding).result()
    except WorkerDiedError as error:
        return Tags(error=f"the process that read them {error}")


def _load(cache: Path, encoding: str | None) -> dict[str, list[Any]]:
    """Path to size, time of change and tags; nothing if there is no cache, or one of other settings."""
    try:
        content = json.loads(cache.read_text(encoding="utf-8"))
        return content["files"] if content["made_by"] == [VERSION, encoding] else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _save(cache: Path, encoding: str | None, files: Mapping[str, tuple[int, int, Tags]]) -> None:
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        write_text(cache, json.dumps({"made_by": [VERSION, encoding], "files": files}))
    except OSError as error:
        raise ArtistidError(f"what the tags say cannot be kept in {cache} (cache_dir): {error}") from error
