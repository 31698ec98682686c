"""The feature store: the log-mel of every whole track, made once, in one memory-mapped float16 array.

A store's folder holds::

    log_mel.npy      (frames, mel) float16, dB; the tracks one after the other
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
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt
from filelock import FileLock
from rich.progress import track as progress

from artistid.data.audio import DecodingError, decode
from artistid.data.catalog import Catalog, Track
from artistid.data.features import LogMel
from artistid.errors import ArtistidError

log = logging.getLogger(__name__)

# Part of a store's key: raise it when decoding or features change what they give for the same settings.
VERSION = 1

Array = npt.NDArray[np.float16]


@dataclass(frozen=True)
class Entry:
    """What the store knows of one file.

    Attributes
    ----------
    path, size, mtime_ns
        The file's identity at a glance; size in bytes.
    file_sha1, audio_sha1
        SHA-1 of the file's bytes and of its decoded samples.
    start, frames
        Rows of the array that hold its log-mel.
    duration_s
        Seconds of decoded audio.
    floor_db
        The smallest value of its log-mel, in dB.
    error
        Why it could not be decoded; empty if it could.
    """

    path: str
    size: int
    mtime_ns: int
    file_sha1: str
    audio_sha1: str = ""
    start: int = 0
    frames: int = 0
    duration_s: float = 0.0
    floor_db: float = 0.0
    error: str = ""

    @property
    def stop(self) -> int:
        return self.start + self.frames


@dataclass(frozen=True)
class Store:
    """A store that is open for reading.

    Attributes
    ----------
    folder
        Where it lies.
    array [shape=(frames, mel)]
        float16, dB, memory-mapped.
    entries
        By track id.
    """

    folder: Path
    array: Array
    entries: dict[str, Entry]

    def log_mel(self, track_id: str) -> Array:
        """The log-mel (frames, mel) of a whole track in dB; a view of the map."""
        entry = self.entries[track_id]
        return self.array[entry.start : entry.stop]


def prepare(
    catalog: Catalog,
    features: LogMel,
    folder: Path,
    workers: int | None = None,
    on_error: str = "raise",
) -> tuple[Catalog, Store]:
    """Make the features that are missing, and open the store.

    Parameters
    ----------
    catalog
        Tracks to have.
    features
        Settings; each choice of settings has a store of its own below ``folder``.
    folder
        The collection's cache.
    workers
        Processes that decode; None takes one per core, 0 works in this process.
    on_error
        ``raise`` stops at the first file that can't be decoded; ``skip`` leaves such files out and lists them in ``failed.csv``.

    Returns
    -------
    catalog
        The tracks that are in the store, with duration and SHA-1.
    store
        Open for reading.

    Raises
    ------
    ArtistidError
        A file that can't be decoded, or a folder that can't be written.
    """
    if on_error not in ("raise", "skip"):
        raise ArtistidError(f"on_error={on_error!r} is none of raise, skip")
    if workers is not None and workers < 0:
        raise ArtistidError(f"workers={workers} is no number of processes: expected 0 or more")
    settings = {"version": VERSION, "features": features.plain()}
    key = hashlib.sha1(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
    folder = folder / f"logmel-{features.mel_scale}-{key}"
    retry_failed = on_error == "raise"
    journal = _Journal.read(folder)
    if journal.missing(catalog, retry_failed):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / "lock"):
                journal = _Journal.read(folder)  # another process may have worked while this one waited
                (folder / "settings.json").write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
                _fill(journal, journal.missing(catalog, retry_failed), features, workers, on_error)
        except OSError as error:
            raise ArtistidError(f"cannot write the feature store {folder} (cache_dir): {error}") from error
    return _open(catalog, journal)


def _open(catalog: Catalog, journal: _Journal) -> tuple[Catalog, Store]:
    found = {track.track_id: journal.by_path[_key(track.path)] for track in catalog}
    if failed := {name: entry for name, entry in found.items() if entry.error}:
        listing = journal.folder / "failed.csv"
        with listing.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("track_id", "error"), *((name, entry.error) for name, entry in failed.items())])
        log.warning("left out %d of %d tracks that cannot be decoded, listed in %s", len(failed), len(found), listing)
    entries = {name: entry for name, entry in found.items() if not entry.error}
    if not entries:
        raise ArtistidError(f"none of the {len(found)} tracks can be decoded; see {journal.folder / 'failed.csv'}")
    array = np.load(journal.array_path, mmap_mode="r")
    facts = {name: (entry.duration_s, entry.audio_sha1) for name, entry in entries.items()}
    return catalog.with_facts(facts), Store(journal.folder, array, entries)


def _fill(journal: _Journal, tracks: list[Track], features: LogMel, workers: int | None, on_error: str) -> None:
    """Make the features of ``tracks`` and write each as soon as it is ready."""
    log.info("decoding %d tracks into %s", len(tracks), journal.folder)
    with _Appender(journal, features.n_mels) as appender:
        made = _make_all([track.path for track in tracks], features, frozenset(journal.by_content), workers)
        for entry, log_mel in progress(made, "log-mel", total=len(tracks)):
            if entry.error and on_error == "raise":
                raise DecodingError(f"{entry.error}\n(on_error=skip leaves such files out and lists them)")
            appender.append(entry, log_mel)


def _key(path: Path) -> str:
    return str(path.absolute())


class _Journal:
    """What ``index.jsonl`` says, up to its last complete line."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index_path = folder / "index.jsonl"
        self.array_path = folder / "log_mel.npy"
        self.by_path: dict[str, Entry] = {}
        self.by_content: dict[str, Entry] = {}  # by the SHA-1 of the file
        self.complete_bytes = 0
        self.frames = 0

    @classmethod
    def read(cls, folder: Path) -> _Journal:
        journal = cls(folder)
        if journal.index_path.exists():
            content = journal.index_path.read_bytes()
            journal.complete_bytes = content.rfind(b"\n") + 1
            for line in content[: journal.complete_bytes].splitlines():
                journal.remember(Entry(**json.loads(line)))
        return journal

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
        stat = path.stat()
        return (entry.size, entry.mtime_ns) == (stat.st_size, stat.st_mtime_ns)


class _Appender:
    """Appends songs to the array, and a line to the journal once a song's frames are on disk."""

    def __init__(self, journal: _Journal, n_mels: int) -> None:
        self.journal = journal
        self.n_mels = n_mels

    def __enter__(self) -> _Appender:
        for path in (self.journal.array_path, self.journal.index_path):
            path.touch()
        self.array_file = self.journal.array_path.open("r+b")
        self.index_file = self.journal.index_path.open("r+b")
        self.index_file.truncate(self.journal.complete_bytes)  # a line that a killed run began
        self.index_file.seek(self.journal.complete_bytes)
        self._write_header()
        return self

    def __exit__(self, *_: object) -> None:
        self.array_file.close()
        self.index_file.close()

    def append(self, entry: Entry, log_mel: Array | None) -> None:
        """Write one song; without ``log_mel`` its content is there already, under another name, or cannot be decoded."""
        if twin := self.journal.by_content.get(entry.file_sha1):
            entry = replace(twin, path=entry.path, size=entry.size, mtime_ns=entry.mtime_ns)
        elif log_mel is not None:
            entry = replace(entry, start=self.journal.frames, frames=len(log_mel))
            self.array_file.seek(len(self._header(0)) + self.journal.frames * self.n_mels * log_mel.itemsize)
            self.array_file.write(log_mel.tobytes())
            self.array_file.flush()
            os.fsync(self.array_file.fileno())
        self.journal.remember(entry)
        self._write_header()
        self.index_file.write(json.dumps(asdict(entry), ensure_ascii=False).encode() + b"\n")
        self.index_file.flush()
        os.fsync(self.index_file.fileno())

    def _write_header(self) -> None:
        self.array_file.seek(0)
        self.array_file.write(self._header(self.journal.frames))
        self.array_file.flush()

    def _header(self, frames: int) -> bytes:
        """The array's .npy header; numpy leaves room in it for the first axis to grow, so its length is always the same."""
        buffer = BytesIO()
        described = {"descr": "<f2", "fortran_order": False, "shape": (frames, self.n_mels)}
        np.lib.format.write_array_header_1_0(buffer, described)
        return buffer.getvalue()


Made = tuple[Entry, Array | None]


def _make(path: Path, features: LogMel, known: frozenset[str]) -> Made:
    """Decode one file, unless its content is known, and make its log-mel."""
    stat = path.stat()
    entry = Entry(_key(path), stat.st_size, stat.st_mtime_ns, hashlib.sha1(path.read_bytes()).hexdigest())
    if entry.file_sha1 in known:
        return entry, None
    try:
        samples = decode(path, features.sample_rate)
    except DecodingError as error:
        return replace(entry, error=str(error)), None
    log_mel = features(samples)
    entry = replace(
        entry,
        audio_sha1=hashlib.sha1(samples.tobytes()).hexdigest(),
        duration_s=len(samples) / features.sample_rate,
        floor_db=float(log_mel.min()),
    )
    return entry, log_mel.astype(np.float16)


def _make_all(
    paths: list[Path], features: LogMel, known: frozenset[str], workers: int | None
) -> Iterator[Made]:
    """What :func:`_make` gives for each path, in the order in which they get ready."""
    workers = min(os.cpu_count() or 1 if workers is None else workers, len(paths))
    if workers < 2:
        yield from (_make(path, features, known) for path in paths)
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), _set_up_worker, (features, known)) as pool:
        waiting = iter(paths)
        running: dict[Future[Made], Path] = {}
        try:
            while running or (running := {pool.submit(_work, path): path for path in islice(waiting, 2 * workers)}):
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    path = running.pop(future)
                    # A few songs at a time: what is ready but not yet written stays in memory.
                    running.update({pool.submit(_work, following): following for following in islice(waiting, 1)})
                    yield future.result()
        except BrokenProcessPool as error:
            raise ArtistidError(
                f"a worker process died while decoding one of {[str(path) for path in running.values()]} or {path}: out of memory, or a decoder "
                "that crashed; workers=0 shows more"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _set_up_worker(features: LogMel, known: frozenset[str]) -> None:
    global _worker_state
    _worker_state = (features, known)


def _work(path: Path) -> Made:
    return _make(path, *_worker_state)


_worker_state: tuple[LogMel, frozenset[str]]
