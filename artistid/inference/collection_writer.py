"""Writes a collection: in parts, so that an interruption costs little, and put in place when complete."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from artistid.data.catalog import Track
from artistid.errors import ArtistidError
from artistid.inference.collection import COLUMNS, FINGERPRINT, Origin, absolute, as_text
from artistid.processes import lock
from artistid.writing import whole

PARTS = "[0-9]*.parquet"
# Songs written together, as a row group of the file, and seconds after which fewer are: the most that a kill may cost.
SONGS_AT_ONCE, SECONDS_AT_ONCE = 200, 5.0
NAMES = ("track_id", "artist", "album", "title")  # may change while the audio does not

FileState = tuple[str, int, int]  # path, size in bytes, mtime in ns


@dataclass(frozen=True, eq=False)
class EmbeddedSong:
    """What a row of a collection holds of a song, except names.

    Attributes:
        path: of the file.
        sha1: of the decoded samples.
        duration_s: seconds.
        vector: ``(units,)`` float32, of length 1.
        start_s, end_s: ``(clips,)`` seconds.
        clip_vectors: ``(clips, units)`` float32.
        fingerprint: the kept part, see :mod:`artistid.data.recordings`; empty where it has none.
    """

    path: Path
    sha1: str
    duration_s: float
    vector: NDArray[np.float32]
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    clip_vectors: NDArray[np.float32]
    fingerprint: str = ""


class CollectionWriter:
    """Collects the songs of a collection.

    It keeps those that an interrupted run left, if the same network made them and their files have not changed.

    Args:
        out: the collection's file.
        origin: what makes the embeddings.
        paths: of the songs to be included.
        keep: whether to keep what ``out`` already has, too.
    """

    def __init__(self, out: Path, origin: Origin, paths: Sequence[Path], keep: bool) -> None:
        self._out = out
        self._origin = origin
        self._folder = chunks_folder(out)
        self._files = {absolute(path): _file(path) for path in paths}
        before = [*([out] if keep and out.exists() else []), *sorted(self._folder.glob(PARTS))]
        self._parts = [part for part in before if Origin.of_file(part) == origin]
        self._has = {file for part in self._parts for file in self._kept_files(part)}
        self._waiting: list[EmbeddedSong] = []
        self._written = time.monotonic()

    def has(self, path: Path) -> bool:
        """Whether a song is there already."""
        return self._files[absolute(path)] in self._has

    def add(self, song: EmbeddedSong) -> None:
        """Add a song; from time to time all pending ones are written."""
        self._waiting.append(song)
        if len(self._waiting) == SONGS_AT_ONCE or time.monotonic() - self._written > SECONDS_AT_ONCE:
            self.write()

    def write(self) -> None:
        """Write the pending songs to a new part."""
        if not self._waiting:
            return
        numbers = [int(part.stem) for part in self._folder.glob(PARTS)]
        part = self._folder / f"{max(numbers, default=-1) + 1:06}.parquet"
        files = [self._files[absolute(song.path)] for song in self._waiting]
        write_rows(part, [song_table(self._waiting, files)], self._origin)
        self._parts.append(part)
        self._waiting = []
        self._written = time.monotonic()

    def finish(self, tracks: Mapping[str, Track]) -> int:
        """Put the file in its place, with all songs.

        Args:
            tracks: the songs' names, by absolute path.

        Returns:
            How many songs there are.
        """
        self.write()
        n_songs = write_rows(self._out, self._named(tracks), self._origin)
        shutil.rmtree(self._folder)
        return n_songs

    def _named(self, tracks: Mapping[str, Track]) -> Iterator[pa.Table]:
        """All songs to be included, each once, with their current names."""
        written: set[FileState] = set()
        for part in self._parts:
            for table in read_rows(part):
                files = _files(table)
                kept = [self._files.get(key[0]) == key and key not in written for key in files]
                written.update(files)
                table = table.filter(pa.array(kept))
                yield named(table, [tracks[path] for path in table["path"].to_pylist()])

    def _kept_files(self, part: Path) -> Iterator[FileState]:
        with pq.ParquetFile(part) as file:
            there = _files(file.read(["path", "file_size", "file_mtime_ns"]))
        return (file for file in there if self._files.get(file[0]) == file)


def song_table(songs: Sequence[EmbeddedSong], files: Sequence[FileState]) -> pa.Table:
    """The rows of some songs, without names.

    Args:
        songs: at least one.
        files: the values of ``path``, ``file_size`` and ``file_mtime_ns`` for each.
    """
    units = len(songs[0].vector)
    counts = [len(song.start_s) for song in songs]
    ends = pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32())

    def of_clips(values: pa.Array) -> pa.Array:
        return pa.ListArray.from_arrays(ends, values)

    return pa.table(
        {
            "path": pa.array([path for path, _, _ in files]),
            "sha1": pa.array([song.sha1 for song in songs]),
            FINGERPRINT: pa.array([song.fingerprint for song in songs], pa.string()),
            "duration_s": pa.array([song.duration_s for song in songs], pa.float64()),
            "file_size": pa.array([size for _, size, _ in files], pa.int64()),
            "file_mtime_ns": pa.array([time for _, _, time in files], pa.int64()),
            "embedding": _vectors(np.stack([song.vector for song in songs]), units),
            "clip_start_s": of_clips(pa.array(np.concatenate([song.start_s for song in songs]))),
            "clip_end_s": of_clips(pa.array(np.concatenate([song.end_s for song in songs]))),
            "clip_embedding": of_clips(_vectors(np.concatenate([song.clip_vectors for song in songs]), units)),
        }
    )


def named(table: pa.Table, tracks: Sequence[Track]) -> pa.Table:
    """Rows of songs with their current names."""
    table = table.drop_columns([name for name in NAMES if name in table.column_names])
    for name in NAMES:
        names = [as_text(getattr(track, name)) for track in tracks]
        table = table.append_column(name, pa.array(names, pa.string()))
    return table.select([*COLUMNS, FINGERPRINT])


@contextmanager
def drafting(out: Path, origin: Origin, paths: Sequence[Path], keep: bool) -> Iterator[CollectionWriter]:
    """A draft that is saved, whatever interrupts the work on it.

    Raises:
        ArtistidError: a folder that can't be written.
    """
    folder = chunks_folder(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with lock(folder):
            draft = CollectionWriter(out, origin, paths, keep)
            try:
                yield draft
            except BaseException:
                draft.write()
                raise
    except OSError as error:
        raise ArtistidError(f"out={as_text(out)} cannot be written: {error}") from error


def chunks_folder(out: Path) -> Path:
    """Where the parts of a collection lie until it is whole: beside it."""
    return out.with_name(f".{out.name}.parts")


def _file(path: Path) -> FileState:
    """A file as it is now; one that can't be found has zeros, and the error is raised when it is read."""
    try:
        stat = path.stat()
    except OSError:
        return absolute(path), 0, 0
    return absolute(path), stat.st_size, stat.st_mtime_ns


def _files(table: pa.Table) -> list[FileState]:
    return list(zip(*(table[name].to_pylist() for name in ("path", "file_size", "file_mtime_ns")), strict=True))


def _vectors(values: NDArray[np.float32], units: int) -> pa.FixedSizeListArray:
    """A column of vectors, from ``(rows, units)``."""
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1), pa.float32()), units)


def _grouped(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in tables of ``SONGS_AT_ONCE``, so that interruptions leave no trace in the file."""
    waiting: pa.Table | None = None
    for table in tables:
        waiting = pa.concat_tables([waiting, table]) if waiting else table
        while waiting.num_rows >= SONGS_AT_ONCE:
            yield waiting.slice(0, SONGS_AT_ONCE).combine_chunks()
            waiting = waiting.slice(SONGS_AT_ONCE)
    if waiting:
        yield waiting.combine_chunks()


def read_rows(path: Path) -> Iterator[pa.Table]:
    """The rows of a collection, some at a time."""
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            if FINGERPRINT not in table.column_names:
                table = table.append_column(FINGERPRINT, pa.array([""] * len(table), pa.string()))
            yield table


def write_rows(path: Path, tables: Iterable[pa.Table], origin: Origin) -> int:
    """Write a Parquet file, none if there are no rows. Returns the number of rows."""
    filled = (table.replace_schema_metadata(origin.metadata()) for table in _grouped(tables) if table.num_rows)
    if (first := next(filled, None)) is None:
        return 0
    n_rows = 0
    with whole(path, "wb") as file, pq.ParquetWriter(file, first.schema, compression="zstd") as writer:
        for table in chain([first], filled):
            writer.write_table(table)
            n_rows += table.num_rows
    return n_rows
