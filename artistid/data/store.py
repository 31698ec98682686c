"""The feature store: the features of every whole track, made once, in memory-mapped float16 arrays.

A store's folder holds::

    features.npy     (frames, width) float16, for log-mel in dB; the tracks one after the other
    index.jsonl      one line per file: its identity, where its frames lie, or why it could not be decoded
    settings.json    the settings that made the features
    failed.csv       files that could not be decoded, with the reason (on_error=skip)
    shards/<name>/   the same four files again, written by ``prepare shard=…``; all are opened as one

The index is a journal: a line is written only when its frames are on disk, so what a killed run left half-written is
never read, and the next run overwrites it. Files are identified by path, size, modification time (mtime) and the file
system's change time (ctime), and by the SHA-1 of their bytes: a file that was moved, touched or changed under its old
date is read again, but decoded again only if its content differs. A file whose content is stored already, under another
name or in another shard, has a line without frames of its own.
"""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import math
import os
import zlib
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from artistid.data.audio import DecodingError
from artistid.data.catalog import Catalog, Track
from artistid.data.clips import TrackRows
from artistid.data.features import Features
from artistid.data.shards import FeatureArray, Rows, Shard, concatenated
from artistid.data.song import Limits, SongFeatures, crashed, read_song, start_decoders
from artistid.errors import ArtistidError, abbreviate, counted, require_choice
from artistid.old_names import STORE_ENTRY, renamed
from artistid.places import no_file
from artistid.processes import WorkerDiedError, lock
from artistid.terminal import progress
from artistid.writing import whole, write_text

log = logging.getLogger(__name__)

# Part of a store's key: increment it when decoding or features give other results for the same settings.
STORE_VERSION = 6

# Songs per worker in work, or ready but not yet written: bounds the memory, while a long song delays no worker.
WINDOW = 4

SHARDS = "shards"  # the folder of their folders

FileIdentity = tuple[str, int, int, int]  # path, size, mtime and ctime in ns


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """What the store keeps of one file.

    Attributes:
        path: absolute.
        size: of the file, in bytes.
        mtime_ns: modification time, which any program may set.
        ctime_ns: the file system's change time; 0 in earlier indexes, which lack it: matches any.
        file_sha1: SHA-1 of the file's bytes; empty if they can't be read.
        audio_sha1: SHA-1 of the decoded samples.
        start: first row that holds its features: of its shard's array in the index, of the store's in an open store.
        frames: number of rows; 0 in the index where another line has the same content.
        crc32: checksum of those rows' bytes.
        duration_s: seconds of decoded audio.
        pad_value: pads a clip that it is too short for; for log-mel its smallest value, in dB.
        error: why it could not be decoded; empty if it could.
        remark: anything odd about it, or empty.
    """

    path: str
    size: int = 0
    mtime_ns: int = 0
    ctime_ns: int = 0
    file_sha1: str = ""
    audio_sha1: str = ""
    start: int = 0
    frames: int = 0
    crc32: int = 0
    duration_s: float = 0.0
    pad_value: float = 0.0
    error: str = ""
    remark: str = ""

    @property
    def stop(self) -> int:
        return self.start + self.frames

    @property
    def file(self) -> FileIdentity:
        return self.path, self.size, self.mtime_ns, self.ctime_ns


@dataclass(frozen=True)
class Store:
    """A store that is open for reading.

    Attributes:
        folder: of the store.
        array: ``(frames, width)`` float16, memory-mapped: one array, or those of the shards as one.
        entries: by track id.
        features: what it holds.
    """

    folder: Path
    array: Rows
    entries: dict[str, Entry]
    features: Features

    def track(self, track_id: str) -> FeatureArray:
        """The features ``(frames, width)`` of a whole track; a view of the map."""
        entry = self.entries[track_id]
        return self.array[entry.start : entry.stop]

    def rows_of(self, catalog: Catalog, artists: Sequence[str]) -> TrackRows:
        """Where the tracks of a catalog lie, to be cut; labels are their artists' indices in ``artists``."""
        entries = [self.entries[track.track_id] for track in catalog]
        label_of = {artist: label for label, artist in enumerate(artists)}
        return TrackRows(
            track_ids=tuple(track.track_id for track in catalog),
            label=np.array([label_of[track.artist] for track in catalog]),
            start=np.array([entry.start for entry in entries]),
            length=np.array([entry.frames for entry in entries], np.int64),
            duration_s=np.array([entry.duration_s for entry in entries]),
            pad_value=np.array([entry.pad_value for entry in entries], np.float32),
            features=self.features,
        )

    def song(self, track: Track) -> SongFeatures:
        """A whole track as if read from its file, ready to be cut into clips."""
        entry = self.entries[track.track_id]
        return SongFeatures(
            str(track.path), self.track(track.track_id), entry.pad_value, entry.duration_s, entry.audio_sha1
        )

    def damaged(self) -> list[str]:
        """The track ids whose features do not match their checksums; reads the whole store."""
        sound: dict[int, bool] = {}
        for track_id, entry in progress(self.entries.items(), "checksums"):
            if entry.start not in sound:  # equal files share their frames
                sound[entry.start] = zlib.crc32(self.track(track_id).data) == entry.crc32
        return [track_id for track_id, entry in self.entries.items() if not sound[entry.start]]

    def forget(self, track_ids: Collection[str]) -> None:
        """Remove tracks from the index, so that the next :func:`fill_store` makes their features again.

        Raises:
            ArtistidError: a folder that can't be written.
        """
        contents = {self.entries[track_id].file_sha1 for track_id in track_ids}
        with _explaining_os_errors(self.folder):
            for part in _parts(self.folder):
                if contents & _Journal(part, self.features.width).by_content.keys():
                    with lock(part):
                        _Journal(part, self.features.width).drop(contents)


def fill_store(
    catalog: Catalog,
    features: Features,
    folder: Path,
    workers: int | None = None,
    on_error: str = "raise",
    shard: Shard | None = None,
    limits: Limits | None = None,
) -> tuple[Catalog, Store]:
    """Make the features that are missing, and open the store.

    Args:
        catalog: tracks to be in the store.
        features: settings; each choice of settings has a store of its own below ``folder``.
        folder: the collection's cache.
        workers: processes that decode; None takes one per core, 0 is 1, since this process does not decode.
        on_error: ``raise`` stops at the first file that can't be decoded; ``skip`` leaves such files out and lists them
            in ``failed.csv``, and does not try them again until they change.
        shard: of these tracks: written to its own folder, so that several can be prepared at once.
        limits: of each file.

    Returns:
        The tracks that are in the store, with duration and SHA-1, and the store.

    Raises:
        DecodingError: a file that can't be decoded.
        ArtistidError: a folder that can't be written, or no file that could be decoded.
    """
    check_filling(workers, on_error)
    settings = {"version": STORE_VERSION, "features": features.plain()}
    key = hashlib.sha1(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
    folder = folder / f"{features.name}-{key}"
    part = folder / SHARDS / shard.name if shard else folder
    retry_failed = on_error == "raise"
    with _explaining_os_errors(folder):
        index = _Index(folder, features.width, catalog)
        # A complete store is not written to, not even to lock it: it may lie in a read-only folder.
        if index.missing(retry_failed):
            part.mkdir(parents=True, exist_ok=True)
            with lock(part):
                index = _Index(folder, features.width, catalog)  # another process may have worked while this one waited
                if tracks := index.missing(retry_failed):
                    write_text(part / "settings.json", json.dumps(settings, indent=1) + "\n")
                    _fill(index, part, tracks, features, workers, on_error, limits or Limits())
                    index = _Index(folder, features.width, catalog)
        return index.open(features, of_shard=shard is not None)


def check_filling(workers: int | None, on_error: str) -> None:
    """Raises ArtistidError for settings that :func:`fill_store` does not take."""
    require_choice("on_error", on_error, ("raise", "skip"))
    if workers is not None and workers < 0:
        raise ArtistidError(f"workers={workers} is not a number of processes: expected 0 or more")


@contextmanager
def _explaining_os_errors(folder: Path) -> Iterator[None]:
    """Turn the system's errors into an ArtistidError about the store."""
    try:
        yield
    except OSError as error:
        raise ArtistidError(
            f"the feature store {folder} (cache_dir) cannot be read or written: {error}\n"
            "finished songs are kept, and the next run continues from there"
        ) from error


def _fill(
    index: _Index,
    part: Path,
    tracks: list[Track],
    features: Features,
    workers: int | None,
    on_error: str,
    limits: Limits,
) -> None:
    """Make the features of ``tracks`` and write each to a part of the store as soon as it is ready."""
    log.info("decoding %s into %s", counted(len(tracks), "track"), part)
    made = _make_all([track.path for track in tracks], features, frozenset(index.by_content), workers, limits)
    with closing(made), _appender(index.journal(part), frozenset(index.by_content)) as appender:
        for entry, array in progress(made, features.name, total=len(tracks)):
            if entry.error and on_error == "raise":
                raise DecodingError(f"{entry.error}\n(on_error=skip leaves such files out and lists them)")
            appender.append(entry, array)


def _key(path: Path) -> str:
    return str(path.absolute())


def _file(path: Path) -> FileIdentity:
    """A file as it is now; one that can't be found has zeros, and the error is raised when it is read."""
    try:
        stat = path.stat()
    except OSError:
        return _key(path), 0, 0, 0
    return _key(path), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _identity(file: FileIdentity) -> dict[str, Any]:
    """The fields of an entry that identify a file."""
    return dict(zip(("path", "size", "mtime_ns", "ctime_ns"), file, strict=True))


def _parts(folder: Path) -> list[Path]:
    """The folders that make up a store, in an order that all processes agree on."""
    return [folder, *sorted(path.parent for path in folder.glob(f"{SHARDS}/*/index.jsonl"))]


def _learn(by_file: dict[FileIdentity, Entry], entry: Entry) -> None:
    """Add an entry; one without a ctime is replaced by one that has it."""
    by_file[entry.file] = entry
    if entry.ctime_ns:
        by_file.pop((*entry.file[:3], 0), None)


class _Index:
    """The journals of a store together, and what they hold about a catalog's files as they are now."""

    def __init__(self, folder: Path, width: int, catalog: Catalog) -> None:
        self.folder = folder
        self.width = width
        self.catalog = catalog
        self.journals = [_Journal(part, width) for part in _parts(folder)]
        self.by_file: dict[FileIdentity, Entry] = {}
        self.by_content: dict[str, Entry] = {}  # by the SHA-1 of the file; starts are rows of all arrays as one
        first = 0
        for journal in self.journals:
            for file, entry in journal.by_file.items():
                if not entry.error or file not in self.by_file:  # another shard may have decoded it
                    _learn(self.by_file, entry)
            for content, entry in journal.by_content.items():
                if content not in self.by_content:
                    self.by_content[content] = replace(entry, start=first + entry.start) if first else entry
            first += journal.frames
        self.found = {track.track_id: self._find(track.path) for track in catalog}

    def _find(self, path: Path) -> Entry | None:
        """The entry of a file; None if its features are missing."""
        file = _file(path)
        entry = self.by_file.get(file) or self.by_file.get((*file[:3], 0))
        if entry is None or entry.error:
            return entry
        made = self.by_content.get(entry.file_sha1)
        if made is None or made.file == file:
            return made
        return replace(made, **_identity(entry.file))

    def missing(self, retry_failed: bool) -> list[Track]:
        """The tracks whose files no journal knows."""
        found = ((track, self.found[track.track_id]) for track in self.catalog)
        return [track for track, entry in found if entry is None or (entry.error and retry_failed)]

    def journal(self, part: Path) -> _Journal:
        """The journal of one of the folders, a new one if it has none."""
        return next((journal for journal in self.journals if journal.folder == part), _Journal(part, self.width))

    def open(self, features: Features, of_shard: bool) -> tuple[Catalog, Store]:
        """The tracks that could be decoded, with duration and SHA-1, and their store."""
        entries = {track_id: entry for track_id, entry in self.found.items() if entry and not entry.error}
        if changed := [str(track.path) for track in self.catalog if self.found[track.track_id] is None]:
            raise ArtistidError(
                f"files changed while they were read: {', '.join(changed)}; start again when they are complete"
            )
        if failed := len(self.found) - len(entries):
            lists = ", ".join(str(journal.failed_path) for journal in self.journals if journal.failed)
            sentence = f"{failed} of {counted(len(self.found), 'track')} cannot be decoded, see {lists}"
            if not entries and not of_shard:  # a shard may have one track only
                raise ArtistidError(sentence)
            log.warning("left out: %s", sentence)
        if odd := [f"{entry.path} ({entry.remark})" for entry in entries.values() if entry.remark]:
            n_songs = counted(len(entries), "song")
            log.warning("warning: decoded, but suspicious: %d of %s: %s", len(odd), n_songs, abbreviate(odd))
        arrays = [journal.array() for journal in self.journals if journal.frames]
        array = concatenated(arrays or [np.empty((0, self.width), np.float16)])
        facts = {track_id: (entry.duration_s, entry.audio_sha1) for track_id, entry in entries.items()}
        return self.catalog.with_facts(facts), Store(self.folder, array, entries, features)


class _Journal:
    """The index of one folder, as far as it is intact.

    It ends at a line that is incomplete or is no entry, or whose frames are not in the array, as after a power failure:
    everything from there on is redone.
    """

    def __init__(self, folder: Path, width: int) -> None:
        self.folder = folder
        self.width = width
        self.index_path = folder / "index.jsonl"
        self.array_path = folder / "features.npy"
        self.failed_path = folder / "failed.csv"
        self.by_file: dict[FileIdentity, Entry] = {}
        self.by_content: dict[str, Entry] = {}  # by the SHA-1 of the file: entries with frames
        self.failed: dict[str, Entry] = {}  # by path
        self.frames = 0
        self.sound_bytes = 0
        self._read()

    def _read(self) -> None:
        if not self.index_path.exists():
            return
        # The index first: the frames of its lines are in the array by then, even while another process writes.
        with self.index_path.open("rb") as file:
            lines = file.readlines()
        array_bytes = self.array_path.stat().st_size if self.array_path.exists() else 0
        for line in lines:
            entry = _parse(line)
            if entry is None or (entry.frames and self.offset(entry.stop) > array_bytes):
                sound = counted(self.sound_bytes, "byte")
                log.warning("%s is damaged after %s: the rest is redone", self.index_path, sound)
                break
            self.remember(entry)
            self.sound_bytes += len(line)

    def remember(self, entry: Entry) -> None:
        _learn(self.by_file, entry)
        if entry.frames:
            self.by_content.setdefault(entry.file_sha1, entry)
            self.frames = max(self.frames, entry.stop)
        if entry.error:
            self.failed[entry.path] = entry
        else:
            self.failed.pop(entry.path, None)

    def drop(self, contents: Collection[str]) -> None:
        """Rewrite the index without the lines that have the frames of these files, given by their SHA-1."""
        with self.index_path.open("rb") as file:
            lines = file.read(self.sound_bytes).splitlines(keepends=True)
        entries = ((line, _parse(line)) for line in lines)
        kept = [line for line, entry in entries if entry and not (entry.frames and entry.file_sha1 in contents)]
        with whole(self.index_path, "wb") as file:
            file.writelines(kept)

    @cached_property
    def _header_bytes(self) -> int:
        return len(self.header(0))

    def header(self, frames: int) -> bytes:
        """The array's .npy header; numpy reserves room for the first axis to grow, so its length never changes."""
        buffer = BytesIO()
        described = {"descr": "<f2", "fortran_order": False, "shape": (frames, self.width)}
        np.lib.format.write_array_header_1_0(buffer, described)
        return buffer.getvalue()

    def offset(self, frame: int) -> int:
        """Where a frame begins in the array's file, in bytes."""
        return self._header_bytes + frame * self.width * np.dtype(np.float16).itemsize

    def array(self) -> FeatureArray:
        """The frames ``(frames, width)`` that the index knows, memory-mapped.

        Its header, meant for other programs, is ignored: it may be a song ahead of the index.
        """
        return np.memmap(self.array_path, np.dtype("<f2"), "r", offset=self.offset(0), shape=(self.frames, self.width))


def _parse(line: bytes) -> Entry | None:
    """The entry of a line of the index; None if the line is incomplete or is no entry."""
    try:
        entry = Entry(**renamed(json.loads(line.decode()), STORE_ENTRY)) if line.endswith(b"\n") else None
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
    return entry if entry and _is_sound(entry) else None


def _is_sound(entry: Entry) -> bool:
    """Whether an entry's values have their declared types, and possible numbers."""
    kinds: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "float": (int, float)}
    values = [(getattr(entry, field.name), kinds[str(field.type)]) for field in fields(entry)]
    if any(type(value) not in allowed for value, allowed in values):  # not isinstance: true and false are not numbers
        return False
    counts = (entry.start, entry.frames, entry.size, entry.crc32)
    return min(counts) >= 0 and 0 <= entry.duration_s < math.inf and math.isfinite(entry.pad_value)


class _Appender:
    """Appends songs to the array, and a line to the index once a song's frames are on disk."""

    def __init__(self, journal: _Journal, known: frozenset[str], array_file: BinaryIO, index_file: BinaryIO) -> None:
        self.journal = journal
        self.known = known  # contents that are in the store already, in any shard
        self.array_file = array_file
        self.index_file = index_file

    def append(self, entry: Entry, array: FeatureArray | None) -> None:
        """Write one song; without ``array`` it can't be decoded, or its content is stored under another name."""
        journal = self.journal
        changes_failed = entry.error or entry.path in journal.failed
        if entry.file_sha1 in self.known or entry.file_sha1 in journal.by_content:
            entry = Entry(**_identity(entry.file), file_sha1=entry.file_sha1)
        elif array is not None:
            entry = replace(entry, start=journal.frames, frames=len(array))
            self._write_frames(entry, array)
        journal.remember(entry)
        if changes_failed:
            self._write_failed()
        self.index_file.write(json.dumps(asdict(entry)).encode() + b"\n")
        _to_disk(self.index_file)

    def _write_frames(self, entry: Entry, array: FeatureArray) -> None:
        self.array_file.seek(0)
        self.array_file.write(self.journal.header(entry.stop))
        self.array_file.seek(self.journal.offset(entry.start))
        self.array_file.write(array.tobytes())
        _to_disk(self.array_file)

    def _write_failed(self) -> None:
        with whole(self.journal.failed_path, errors="surrogateescape", newline="") as file:
            failed = ((entry.path, entry.error) for entry in self.journal.failed.values())
            csv.writer(file).writerows([("path", "error"), *failed])


@contextmanager
def _appender(journal: _Journal, known: frozenset[str]) -> Iterator[_Appender]:
    journal.array_path.touch()
    with journal.array_path.open("r+b") as array_file, journal.index_path.open("ab") as index_file:
        index_file.truncate(journal.sound_bytes)
        if not array_file.seek(0, os.SEEK_END):
            array_file.write(journal.header(0))  # other programs can read it even if no song has frames of its own
        yield _Appender(journal, known, array_file, index_file)


def _to_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


Made = tuple[Entry, FeatureArray | None]


def _make(path: Path, features: Features, known: frozenset[str], limits: Limits) -> Made:
    """Decode one file, unless its content is known, and make its features."""
    entry = Entry(**_identity(_file(path)))
    if what := no_file(path):
        return replace(entry, error=f"{path}: it is {what}: expected a file"), None
    try:
        with path.open("rb") as file:
            entry = replace(entry, file_sha1=hashlib.file_digest(file, "sha1").hexdigest())
        if entry.file_sha1 in known:
            return entry, None
        sound = read_song(path, features, limits)
    except OSError as error:
        return replace(entry, error=f"{path}: cannot be read: {error.strerror or error}"), None
    except DecodingError as error:
        return replace(entry, error=str(error)), None
    entry = replace(
        entry,
        audio_sha1=sound.sha1,
        duration_s=sound.duration_s,
        crc32=zlib.crc32(sound.array.data),
        pad_value=sound.pad_value,
        remark="; ".join(sound.remarks),
    )
    return entry, sound.array


def _make_all(
    paths: list[Path], features: Features, known: frozenset[str], workers: int | None, limits: Limits
) -> Generator[Made, None, None]:
    """The result of :func:`_make` for each path, in order; a file that kills its decoder counts as failed."""
    features.get_ready()
    workers = min((os.cpu_count() or 1) if workers is None else workers, len(paths))
    with start_decoders(workers, limits, (_set_up, (features.base, known, limits))) as pool:
        for path, made in zip(paths, pool.map(_work, paths, WINDOW * max(1, workers)), strict=True):
            try:
                yield _encoded(made.result(), features)
            except WorkerDiedError as error:
                yield Entry(**_identity(_file(path)), error=str(crashed(path, error))), None


def _encoded(made: Made, features: Features) -> Made:
    """What a decoder process made, encoded in this process, the only one that uses the device."""
    entry, array = made
    if array is None or features.base is features:
        return made
    try:
        array, pad_value = features.encode(array, entry.pad_value)
    except ArtistidError as error:
        return replace(entry, error=f"{entry.path}: {error}"), None
    return replace(entry, crc32=zlib.crc32(array.data), pad_value=pad_value), array


def _set_up(*settings: Any) -> None:
    """Keep what all files of a worker share: sent once, since ``known`` may be large."""
    global _settings
    _settings = settings


def _work(path: Path) -> Made:
    return _make(path, *_settings)


_settings: tuple[Any, ...]
