"""The feature store: the features of every whole track, made once, in one memory-mapped float16 array.

A store's folder holds::

    features.npy     (frames, width) float16, for log-mel in dB; the tracks one after the other
    index.jsonl      one line per file: its identity, where its frames lie, or why it could not be decoded
    settings.json    what made the features
    failed.csv       files that could not be decoded, with the reason (on_error=skip)

The index is a journal: a line is written only when its frames are on disk, so what a killed run left half-written is
never read, and the next run writes over it. Files are known by path, size and time of change, and by the SHA-1
of their bytes: what was moved or touched is read once more, but not decoded again.
"""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import os
import signal
import threading
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from multiprocessing import parent_process
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from rich.progress import track as progress

from artistid.data.audio import DecodingError, decode
from artistid.data.catalog import Catalog, Track
from artistid.data.features import Features
from artistid.errors import ArtistidError
from artistid.processes import lock, start_workers

log = logging.getLogger(__name__)

# Part of a store's key: raise it when decoding or features change what they give for the same settings.
VERSION = 2

# Songs per worker that are in work or ready but not yet written: bounds the memory, and a long song delays no worker.
WINDOW = 4

Array = npt.NDArray[np.float16]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What the store knows of one file.

    Attributes:
        path: absolute.
        size: of the file, in bytes.
        mtime_ns: the file's time of change.
        file_sha1: SHA-1 of the file's bytes; empty if they can't be read.
        audio_sha1: SHA-1 of the decoded samples.
        start: first row of the array that holds its features.
        frames: number of rows.
        duration_s: seconds of decoded audio.
        floor: the smallest value of its features; of log-mel in dB.
        error: why it could not be decoded; empty if it could.
    """

    path: str
    size: int = 0
    mtime_ns: int = 0
    file_sha1: str = ""
    audio_sha1: str = ""
    start: int = 0
    frames: int = 0
    duration_s: float = 0.0
    floor: float = 0.0
    error: str = ""

    @property
    def stop(self) -> int:
        return self.start + self.frames


@dataclass(frozen=True)
class Store:
    """A store that is open for reading.

    Attributes:
        folder: where it lies.
        array: ``(frames, width)`` float16, memory-mapped.
        entries: by track id.
        features: what it holds.
    """

    folder: Path
    array: Array
    entries: dict[str, Entry]
    features: Features

    def track(self, track_id: str) -> Array:
        """The features ``(frames, width)`` of a whole track; a view of the map."""
        entry = self.entries[track_id]
        return self.array[entry.start : entry.stop]


def prepare(
    catalog: Catalog,
    features: Features,
    folder: Path,
    workers: int | None = None,
    on_error: str = "raise",
) -> tuple[Catalog, Store]:
    """Make the features that are missing, and open the store.

    Args:
        catalog: tracks to have.
        features: settings; each choice of settings has a store of its own below ``folder``.
        folder: the collection's cache.
        workers: processes that decode; None takes one per core, 0 works in this process.
        on_error: ``raise`` stops at the first file that can't be decoded; ``skip`` leaves such files out and lists them
            in ``failed.csv``, and does not try them again until they change.

    Returns:
        The tracks that are in the store, with duration and SHA-1, and the store.

    Raises:
        DecodingError: a file that can't be decoded.
        ArtistidError: a folder that can't be written, a worker that died, or nothing that could be decoded.
    """
    if on_error not in ("raise", "skip"):
        raise ArtistidError(f"on_error={on_error!r} is none of raise, skip")
    if workers is not None and workers < 0:
        raise ArtistidError(f"workers={workers} is no number of processes: expected 0 or more")
    settings = {"version": VERSION, "features": features.plain()}
    key = hashlib.sha1(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
    folder = folder / f"{features.name}-{key}"
    retry_failed = on_error == "raise"
    try:
        journal = _Journal(folder, features.width)
        # A complete store is not written to, not even to lock it: it may lie in a read-only folder.
        if journal.missing(catalog, retry_failed):
            folder.mkdir(parents=True, exist_ok=True)
            with lock(folder):
                journal = _Journal(folder, features.width)  # another process may have worked while this one waited
                if tracks := journal.missing(catalog, retry_failed):
                    (folder / "settings.json").write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
                    _fill(journal, tracks, features, workers, on_error)
        return _open(catalog, journal, features)
    except OSError as error:
        raise ArtistidError(
            f"the feature store {folder} (cache_dir) cannot be read or written: {error}\n"
            "the songs that are finished are kept, and the next run goes on from there"
        ) from error


def _open(catalog: Catalog, journal: _Journal, features: Features) -> tuple[Catalog, Store]:
    found = {track.track_id: journal.by_path[_key(track.path)] for track in catalog}
    entries = {name: entry for name, entry in found.items() if not entry.error}
    if failed := len(found) - len(entries):
        listing = f"{failed} of {len(found)} tracks cannot be decoded, see {journal.failed_path}"
        if not entries:
            raise ArtistidError(listing)
        log.warning("left out: %s", listing)
    facts = {name: (entry.duration_s, entry.audio_sha1) for name, entry in entries.items()}
    return catalog.with_facts(facts), Store(journal.folder, journal.array(), entries, features)


def _fill(journal: _Journal, tracks: list[Track], features: Features, workers: int | None, on_error: str) -> None:
    """Make the features of ``tracks`` and write each as soon as it is ready."""
    log.info("decoding %d tracks into %s", len(tracks), journal.folder)
    made = _make_all([track.path for track in tracks], features, frozenset(journal.by_content), workers)
    with closing(made), _appender(journal) as appender:
        for entry, array in progress(made, features.name, total=len(tracks)):
            if entry.error and on_error == "raise":
                raise DecodingError(f"{entry.error}\n(on_error=skip leaves such files out and lists them)")
            appender.append(entry, array)


def _key(path: Path) -> str:
    return str(path.absolute())


class _Journal:
    """What a store's index says, as far as it is sound.

    It ends where a line is torn or is no entry, or where its frames are not in the array, as after a power failure: all
    from there on is redone.
    """

    def __init__(self, folder: Path, width: int) -> None:
        self.folder = folder
        self.width = width
        self.index_path = folder / "index.jsonl"
        self.array_path = folder / "features.npy"
        self.failed_path = folder / "failed.csv"
        self.by_path: dict[str, Entry] = {}
        self.by_content: dict[str, Entry] = {}  # by the SHA-1 of the file
        self.frames = 0
        self.sound_bytes = 0
        self._read()

    def _read(self) -> None:
        if not self.index_path.exists():
            return
        # The index first: what it says is in the array by then, even while another process writes.
        with self.index_path.open("rb") as file:
            lines = file.readlines()
        array_bytes = self.array_path.stat().st_size if self.array_path.exists() else 0
        for line in lines:
            entry = _parse(line)
            if entry is None or (entry.frames and self.offset(entry.stop) > array_bytes):
                log.warning("%s is not sound after %d bytes: what follows is redone", self.index_path, self.sound_bytes)
                break
            self.remember(entry)
            self.sound_bytes += len(line)

    def remember(self, entry: Entry) -> None:
        self.by_path[entry.path] = entry
        if not entry.error:
            self.by_content.setdefault(entry.file_sha1, entry)
            self.frames = max(self.frames, entry.stop)

    def missing(self, catalog: Catalog, retry_failed: bool) -> list[Track]:
        """The tracks whose files the journal does not know as they are now."""
        return [track for track in catalog if not self._knows(track.path, retry_failed)]

    def _knows(self, path: Path, retry_failed: bool) -> bool:
        entry = self.by_path.get(_key(path))
        if entry is None or (entry.error and retry_failed):
            return False
        try:
            stat = path.stat()
        except OSError:
            return False  # what is wrong with it shows when it is read
        return (entry.size, entry.mtime_ns) == (stat.st_size, stat.st_mtime_ns)

    def header(self, frames: int) -> bytes:
        """The array's .npy header; numpy leaves room in it for the first axis to grow, so its length never changes."""
        buffer = BytesIO()
        described = {"descr": "<f2", "fortran_order": False, "shape": (frames, self.width)}
        np.lib.format.write_array_header_1_0(buffer, described)
        return buffer.getvalue()

    def offset(self, frame: int) -> int:
        """Where a frame begins in the array's file, in bytes."""
        return len(self.header(0)) + frame * self.width * np.dtype(np.float16).itemsize

    def array(self) -> Array:
        """The frames ``(frames, width)`` that the index knows, memory-mapped.

        Its header, for other programs, is passed over: it may be a song ahead of the index.
        """
        return np.memmap(self.array_path, np.dtype("<f2"), "r", offset=self.offset(0), shape=(self.frames, self.width))


def _parse(line: bytes) -> Entry | None:
    """The entry of a line of the index; None if the line is torn or is no entry."""
    try:
        return Entry(**json.loads(line)) if line.endswith(b"\n") else None
    except (ValueError, TypeError):
        return None


class _Appender:
    """Appends songs to the array, and a line to the index once a song's frames are on disk."""

    def __init__(self, journal: _Journal, array_file: BinaryIO, index_file: BinaryIO) -> None:
        self.journal = journal
        self.array_file = array_file
        self.index_file = index_file

    def append(self, entry: Entry, array: Array | None) -> None:
        """Write one song; without ``array`` it can't be decoded, or its content is there under another name."""
        journal = self.journal
        before = journal.by_path.get(entry.path)
        if twin := journal.by_content.get(entry.file_sha1):
            entry = replace(twin, path=entry.path, size=entry.size, mtime_ns=entry.mtime_ns)
        elif array is not None:
            entry = replace(entry, start=journal.frames, frames=len(array))
            self._write_frames(entry, array)
        journal.remember(entry)
        if entry.error or (before and before.error):
            self._write_failed()
        self.index_file.write(json.dumps(asdict(entry)).encode() + b"\n")
        _to_disk(self.index_file)

    def _write_frames(self, entry: Entry, array: Array) -> None:
        self.array_file.seek(0)
        self.array_file.write(self.journal.header(entry.stop))
        self.array_file.seek(self.journal.offset(entry.start))
        self.array_file.write(array.tobytes())
        _to_disk(self.array_file)

    def _write_failed(self) -> None:
        with self.journal.failed_path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            failed = (entry for entry in self.journal.by_path.values() if entry.error)
            csv.writer(file).writerows([("path", "error"), *((entry.path, entry.error) for entry in failed)])


@contextmanager
def _appender(journal: _Journal) -> Iterator[_Appender]:
    journal.array_path.touch()
    with journal.array_path.open("r+b") as array_file, journal.index_path.open("ab") as index_file:
        index_file.truncate(journal.sound_bytes)
        yield _Appender(journal, array_file, index_file)


def _to_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


Made = tuple[Entry, Array | None]


def _make(path: Path, features: Features, known: frozenset[str]) -> Made:
    """Decode one file, unless its content is known, and make its features."""
    entry = Entry(path=_key(path))
    try:
        stat = path.stat()
        entry = replace(entry, size=stat.st_size, mtime_ns=stat.st_mtime_ns)
        with path.open("rb") as file:
            entry = replace(entry, file_sha1=hashlib.file_digest(file, "sha1").hexdigest())
        if entry.file_sha1 in known:
            return entry, None
        samples = decode(path, features.sample_rate)
    except OSError as error:
        return replace(entry, error=f"{path}: cannot be read: {error.strerror or error}"), None
    except DecodingError as error:
        return replace(entry, error=str(error)), None
    array = features(samples)
    entry = replace(
        entry,
        audio_sha1=hashlib.sha1(samples.tobytes()).hexdigest(),
        duration_s=len(samples) / features.sample_rate,
        floor=float(array.min()),
    )
    return entry, array.astype(np.float16)


def _make_all(
    paths: list[Path], features: Features, known: frozenset[str], workers: int | None
) -> Generator[Made, None, None]:
    """What :func:`_make` gives for each path, in their order."""
    workers = min((os.cpu_count() or 1) if workers is None else workers, len(paths))
    if workers < 2:
        yield from (_make(path, features, known) for path in paths)
        return
    window: deque[tuple[Path, Future[Made]]] = deque()
    pool = start_workers(workers, _set_up_worker, (features, known))
    try:
        for path in paths:
            window.append((path, pool.submit(_work, path)))
            if len(window) == WINDOW * workers:
                yield window[0][1].result()
                window.popleft()
        while window:
            yield window[0][1].result()
            window.popleft()
    except BrokenProcessPool as error:
        # Songs are taken up in order, so those in work are the first that are not ready.
        unfinished = [path for path, future in window if isinstance(future.exception(), BrokenProcessPool)]
        raise ArtistidError(
            f"a process that decodes has died, at one of {', '.join(map(str, unfinished[:workers]))}: out of memory, "
            "or a decoder that crashed; workers=0 decodes one after the other and shows which"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _set_up_worker(features: Features, known: frozenset[str]) -> None:
    global _worker_state
    _worker_state = (features, known)
    # There is a process per core already. torch reads this when it is imported: only where resampling needs it.
    os.environ["OMP_NUM_THREADS"] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this worker with its parent, which can't when it is killed: the worker would wait for songs forever."""
    parent = parent_process()
    assert parent
    parent.join()
    os._exit(1)


def _work(path: Path) -> Made:
    return _make(path, *_worker_state)


_worker_state: tuple[Features, frozenset[str]]
