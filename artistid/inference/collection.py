"""A collection: the embeddings of many songs in a Parquet file, and which of them are nearest to a song.

A row per song, its clips as lists within it. The file's metadata says what made the embeddings, since those of two
networks cannot be compared. A folder of such files, of shards for example, is a collection too.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable
from collections.abc import Collection as Rows
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray
from sklearn.neighbors import NearestNeighbors

from artistid import __version__
from artistid.data.shards import Shard
from artistid.errors import ArtistidError, abbreviate, counted, require_choice
from artistid.inference.identifier import Identifier
from artistid.inference.search_index import SearchIndex
from artistid.places import expanded
from artistid.printing import printable

log = logging.getLogger(__name__)

METADATA_KEY = b"artistid"
TEXTS = ("track_id", "path", "artist", "album", "title", "sha1")
SONG_COLUMNS = (*TEXTS, "duration_s", "file_size", "file_mtime_ns")
CLIP_COLUMNS = ("clip_start_s", "clip_end_s", "clip_embedding")
COLUMNS = (*SONG_COLUMNS, "embedding", *CLIP_COLUMNS)
FINGERPRINT = "fingerprint"  # of each song's sound, as text; collections of earlier versions lack it
MOST_VALUES_PER_BYTE = 64  # of the file: vectors hardly compress, so a file that claims more is not ours
ARTISTS_BY = ("centroid", "best_songs")  # how a song is compared with an artist
BEST_SONGS = 3
SEARCHES = ("auto", "exact", "index")
EXACT_VALUES = 500_000_000  # songs times units: what is compared in a second; docs/size.md has the measurement
MOST_OF_INDEX = 1000  # songs requested from an index; more are found exactly
SHARD = re.compile(r"(?P<number>\d+)-of-(?P<of>\d+)\.parquet")  # the file of a shard
EXPECTED = "a Parquet file that python -m artistid.embed wrote, or a folder of such files"
UNIT_TOLERANCE = 1e-3  # how far from 1 the length of an embedding may be


@dataclass(frozen=True)
class Origin:
    """What made the embeddings of a collection.

    Attributes:
        network: :attr:`artistid.inference.identifier.Identifier.fingerprint`.
        features, clip: settings, as in the checkpoint.
        version: of artistid.
    """

    network: str
    features: dict[str, Any]
    clip: dict[str, Any]
    version: str

    @classmethod
    def of(cls, identifier: Identifier) -> Origin:
        """The origin of embeddings that a network makes now."""
        specification = identifier.specification
        return cls(identifier.fingerprint, specification.features, specification.clip, __version__)

    def metadata(self) -> dict[bytes, bytes]:
        """For a Parquet file."""
        return {METADATA_KEY: json.dumps(asdict(self)).encode()}

    @classmethod
    def of_file(cls, path: Path) -> Origin | None:
        """The origin that a Parquet file states; None for any other file."""
        try:
            origin = cls(**json.loads((pq.read_metadata(path).metadata or {})[METADATA_KEY]))
        except (KeyError, TypeError, ValueError, RecursionError, OSError, pa.ArrowException):
            return None
        texts = isinstance(origin.network, str) and isinstance(origin.version, str)
        return origin if texts and isinstance(origin.features, dict) and isinstance(origin.clip, dict) else None


@dataclass(frozen=True, eq=False)
class ClipTable:
    """Clips of one or several songs, those of a song in succession.

    Attributes:
        row: ``(clips,)`` of the song in its collection; 0 for a query.
        start_s, end_s: ``(clips,)`` seconds in the song.
        vectors: ``(clips, units)`` float32, the network's bottleneck, not normalised.
    """

    row: NDArray[np.int64]
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    vectors: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.row)

    def select(self, chosen: NDArray[np.bool_] | slice) -> ClipTable:
        """Some of the clips."""
        return ClipTable(*(getattr(self, field.name)[chosen] for field in fields(self)))


@dataclass(frozen=True)
class SimilarSong:
    """One of the nearest songs.

    Attributes:
        rank: from 1.
        similarity: cosine of the embeddings, from -1 to 1.
        track_id, path, artist, album, title: as in the collection; empty where unknown.
        duration_s: seconds.
    """

    rank: int
    similarity: float
    track_id: str
    path: str
    artist: str
    album: str
    title: str
    duration_s: float


@dataclass(frozen=True)
class SimilarArtist:
    """One of the nearest artists.

    Attributes:
        rank: from 1.
        similarity: of the song and the artist, from -1 to 1; see :meth:`Collection.nearest_artists`.
        artist: name.
        songs: number of the artist's songs compared.
    """

    rank: int
    similarity: float
    artist: str
    songs: int


@dataclass(frozen=True, eq=False)
class Collection:
    """The songs of a collection and their embeddings.

    Attributes:
        path: the file, from which clips are read on demand, or the folder of such files.
        songs: a row per song, with the columns ``SONG_COLUMNS``.
        vectors: ``(songs, units)`` float32, each of length 1.
        origin: what made them.
        index: finds the nearest songs approximately; None: they are found exactly.
    """

    path: Path
    songs: pd.DataFrame
    vectors: NDArray[np.float32]
    origin: Origin
    index: SearchIndex | None = None

    def __len__(self) -> int:
        return len(self.songs)

    @classmethod
    def read(cls, path: str | Path, setting: str = "collection") -> Collection:
        """Read what ``python -m artistid.embed`` wrote; clips stay in the file until they are requested.

        Args:
            path: of the file, or of a folder of such files, which are read as one.
            setting: its name, for the errors.

        Raises:
            ArtistidError: no such file, one that is damaged, of another kind, or has no songs; or files of several
                networks, or of different numbers of shards.
        """
        path = expanded(path)
        where = f"{setting}={printable(path)}"
        if not path.exists():
            raise ArtistidError(f"{where} does not exist (seen from {Path.cwd()}): expected {EXPECTED}")
        files = data_set(path)
        if not files:
            raise ArtistidError(f"{where} is a folder without Parquet files: expected {EXPECTED}")
        shards = check_shards(files, where)
        if path.is_dir() and shards and (lacking := shards[0].of - len(shards)):
            log.warning(
                "%s lacks %d of %s: not embedded yet, or without songs", where, lacking, counted(shards[0].of, "shard")
            )
        parts = [_read(file, f"{setting}={printable(file)}") for file in files]
        origin = parts[0][0]
        for file, (other, _) in zip(files, parts, strict=True):
            if other.network != origin.network:
                raise ArtistidError(
                    f"{where} holds songs of different networks, in {files[0].name} ({origin.network[:12]}…) and "
                    f"{file.name} ({other.network[:12]}…): their embeddings cannot be compared; python -m "
                    "artistid.embed overwrite=true makes one of them again"
                )
        try:
            table = pa.concat_tables([table for _, table in parts], promote_options="permissive")
        except pa.ArrowException as error:
            raise ArtistidError(f"{where} holds files that differ in their columns: {error}") from error
        if not table.num_rows:
            raise ArtistidError(f"{where} has no songs")
        return cls(path, table.select(SONG_COLUMNS).to_pandas(), _matrix(table["embedding"]), origin)

    def searched(self, how: str) -> Collection:
        """The same collection with another search for the nearest songs.

        Args:
            how: ``exact``; ``index``, by the index beside it, which is made or updated now; or ``auto``, by the index
                where an exact answer takes more than a second or so.

        Raises:
            ArtistidError: an unknown search; or an index without the package that it needs.
        """
        require_choice("search", how, SEARCHES)
        if how == "exact" or (how == "auto" and self.vectors.size <= EXACT_VALUES):
            return replace(self, index=None)
        if how == "auto" and find_spec("usearch") is None:
            log.warning(
                "in so large a collection each answer takes seconds: pip install 'artistid[search]' makes it faster"
            )
            return replace(self, index=None)
        return replace(self, index=SearchIndex(SearchIndex.place(self.path), self.vectors))

    def check_made_by(self, identifier: Identifier) -> None:
        """Raises ArtistidError if a network's embeddings cannot be compared with these."""
        if self.origin.network != identifier.fingerprint:
            raise ArtistidError(
                f"collection={printable(self.path)} was made by another network ({self.origin.network[:12]}…, artistid "
                f"{self.origin.version}) than that of the checkpoint ({identifier.fingerprint[:12]}…): their "
                "embeddings cannot be compared; python -m artistid.embed makes it again"
            )

    def row(self, track_id: str) -> int:
        """The row of a song.

        Args:
            track_id: its id, or a unique end of it from a slash on, with or without the file's suffix.

        Raises:
            ArtistidError: the collection has no such song, or several.
        """
        rows = np.flatnonzero(self.songs["track_id"].to_numpy() == track_id)
        if len(rows):
            return int(rows[0])
        ending = f"/{track_id}"
        ends_so = [name.endswith(ending) or name.rpartition(".")[0].endswith(ending) for name in self.songs["track_id"]]
        rows = np.flatnonzero(ends_so)
        if len(rows) != 1:
            near = [name for name in self.songs["track_id"] if track_id.casefold() in name.casefold()]
            hint = f"; similar ones are {abbreviate(near, 5)}" if near else ""
            raise ArtistidError(
                f"track={track_id} is not in collection={printable(self.path)}, which has "
                f"{counted(len(self), 'song')}{hint}"
            )
        return int(rows[0])

    def copies(self, sha1: str, path: str | Path | None = None) -> NDArray[np.int64]:
        """Rows of the songs that are the same recording, by the SHA-1 of the samples, or the same file."""
        same = self.songs["sha1"].to_numpy() == sha1 if sha1 else np.zeros(len(self), bool)
        if path is not None:
            same = same | (self.songs["path"].to_numpy() == absolute(path))
        return np.flatnonzero(same)

    def nearest_songs(self, vector: ArrayLike, k: int = 10, without: Rows[int] = ()) -> list[SimilarSong]:
        """The songs nearest to a song, the nearest first: exactly, unless the collection has an index.

        Args:
            vector: ``(units,)``, an embedding of the same network, of any length.
            k: how many; all, if there are fewer.
            without: rows of songs to ignore.
        """
        query = self._query(vector)
        if self.index and k + len(without) <= MOST_OF_INDEX:
            rows = self.index.nearest(query, k, without)
            rows = rows[np.argsort(-(self.vectors[rows] @ query), kind="stable")][:k]
        else:
            asked = min(k + len(without), len(self))
            rows = self._neighbours.kneighbors(query[None], asked, return_distance=False)[0]
            rows = rows[~np.isin(rows, list(without))][:k]
        similarity = self.vectors[rows] @ query
        nearest = self.songs.iloc[rows]
        texts = ("track_id", "path", "artist", "album", "title")
        return [
            SimilarSong(rank, float(cosine), **{name: str(song[name]) for name in texts}, duration_s=song["duration_s"])
            for rank, (cosine, song) in enumerate(zip(similarity, nearest.to_dict("records"), strict=True), start=1)
        ]

    def nearest_artists(
        self,
        vector: ArrayLike,
        k: int = 10,
        without: Rows[int] = (),
        by: str = "centroid",
        min_songs: int = 1,
    ) -> list[SimilarArtist]:
        """The artists nearest to a song, exactly, the nearest first.

        By centroid, an artist's embedding is the mean of the songs', scaled to length 1: this does not favour artists
        of many songs, some of which are near to anything. By best songs, the similarity is the mean of an artist's
        nearest ``BEST_SONGS``, or of all if fewer: a versatile artist is found by songs of one kind.

        Args:
            vector, k, without: see :meth:`nearest_songs`. Songs without an artist are ignored, too.
            by: one of ``ARTISTS_BY``.
            min_songs: of an artist, to be listed.
        """
        query = self._query(vector)
        if by == "best_songs":
            names, songs, similarity = self._best_songs(query, without)
        else:
            names, songs, similarity = self._centroids(query, without)
        enough = np.flatnonzero(songs >= min_songs)
        first = enough[np.argsort(-similarity[enough], kind="stable")[:k]]
        return [
            SimilarArtist(rank, float(similarity[index]), str(names[index]), int(songs[index]))
            for rank, index in enumerate(first, start=1)
        ]

    def _centroids(
        self, query: NDArray[np.float32], without: Rows[int]
    ) -> tuple[NDArray[np.object_], NDArray[np.int64], NDArray[np.float64]]:
        """The artists' names, numbers of songs, and similarities."""
        code, names, total, songs = self._artists
        left_out = [row for row in without if code[row] >= 0]
        np.subtract.at(total := total.copy(), code[left_out], self.vectors[left_out])
        np.subtract.at(songs := songs.copy(), code[left_out], 1)
        length = np.linalg.norm(total, axis=1)
        there = np.flatnonzero((songs > 0) & (length > 0))
        return names[there], songs[there], (total[there] @ query) / length[there]

    def _best_songs(
        self, query: NDArray[np.float32], without: Rows[int]
    ) -> tuple[NDArray[np.object_], NDArray[np.int64], NDArray[np.float64]]:
        """The artists' names, numbers of songs, and mean similarities of their nearest songs."""
        code, names, _, _ = self._artists
        counted = code >= 0
        counted[list(without)] = False
        code, similarity = code[counted], (self.vectors @ query)[counted]
        order = np.lexsort((-similarity, code))
        code, similarity = code[order], similarity[order]
        there, first, songs = np.unique(code, return_index=True, return_counts=True)
        best = np.arange(len(code)) - np.repeat(first, songs) < BEST_SONGS
        total = np.bincount(code[best], similarity[best], minlength=len(names))[there]
        return names[there], songs, total / np.minimum(songs, BEST_SONGS)

    @cached_property
    def clips(self) -> ClipTable:
        """The clips of all songs, read from the file on first use: about 1 GB for 100,000 songs.

        Raises:
            ArtistidError: a file that was changed or damaged meanwhile, or vectors that are not finite.
        """
        where = f"collection={printable(self.path)}"
        try:
            tables = [pq.read_table(file, columns=list(CLIP_COLUMNS)) for file in data_set(self.path)]
            table = pa.concat_tables(tables, promote_options="permissive")
        except (OSError, pa.ArrowException) as error:
            raise ArtistidError(f"{where} cannot be read: {error}") from error
        if len(table) != len(self) or any(_has_nulls(column) for column in table.columns):
            raise ArtistidError(f"{where} is damaged, or was changed while it was read")
        columns = [table[name].combine_chunks() for name in CLIP_COLUMNS]
        counts, *others = (pc.list_value_length(column).to_numpy() for column in columns)
        if not all(np.array_equal(counts, lengths) for lengths in others):
            raise ArtistidError(f"{where} is damaged: the lists of clips of a song differ in length")
        start_s, end_s, vectors = (column.flatten() for column in columns)
        row = np.repeat(np.arange(len(table)), counts)
        clips = ClipTable(row, start_s.to_numpy(), end_s.to_numpy(), _matrix(vectors))
        if not all(np.isfinite(values).all() for values in (clips.start_s, clips.end_s, clips.vectors)):
            raise ArtistidError(f"{where} is damaged: it has clips that are not finite")
        return clips

    def clips_of(self, row: int) -> ClipTable:
        """The clips of one song."""
        return self.clips.select(slice(*np.searchsorted(self.clips.row, [row, row + 1])))

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """The kept fingerprints of those songs that have one, by SHA-1, see :mod:`artistid.data.recordings`.

        Raises:
            ArtistidError: a file that was changed or damaged meanwhile.
        """
        found: dict[str, str] = {}
        try:
            for file in data_set(self.path):
                if FINGERPRINT in pq.read_schema(file).names:
                    table = pq.read_table(file, columns=["sha1", FINGERPRINT])
                    found |= zip(table["sha1"].to_pylist(), table[FINGERPRINT].to_pylist(), strict=True)
        except (OSError, pa.ArrowException) as error:
            raise ArtistidError(f"collection={printable(self.path)} cannot be read: {error}") from error
        return {sha1: text for sha1, text in found.items() if sha1 and text}

    @cached_property
    def _neighbours(self) -> NearestNeighbors:
        # Among vectors of length 1 the nearest have the largest cosine. Trees are slower in so many dimensions.
        return NearestNeighbors(algorithm="brute", metric="euclidean").fit(self.vectors)

    @cached_property
    def _artists(self) -> tuple[NDArray[np.int64], NDArray[np.object_], NDArray[np.float64], NDArray[np.int64]]:
        """Each song's artist by number, -1 for none; the artists' names, sums of vectors, and numbers of songs."""
        code, names = pd.factorize(self.songs["artist"].replace("", None).to_numpy(dtype=object), sort=True)
        total = np.zeros((len(names), self.vectors.shape[1]))
        np.add.at(total, code[code >= 0], self.vectors[code >= 0])
        return code, names, total, np.bincount(code[code >= 0], minlength=len(names))

    def _query(self, vector: ArrayLike) -> NDArray[np.float32]:
        query = np.asarray(vector, dtype=np.float64)
        length = float(np.linalg.norm(query))
        if query.shape != (units := self.vectors.shape[1:]) or not np.isfinite(length) or not length:
            raise ArtistidError(f"expected an embedding {units}, finite and not 0, found the shape {query.shape}")
        return (query / length).astype(np.float32)


def data_set(path: Path) -> list[Path]:
    """The Parquet files of a collection: itself, or those in a folder, sorted, except hidden ones, which are drafts."""
    return sorted(file for file in path.glob("[!.]*.parquet") if file.is_file()) if path.is_dir() else [path]


def check_shards(files: Rows[Path], where: str) -> list[Shard]:
    """The shards among some files.

    Args:
        files: of a collection; those not named as shards are ignored.
        where: the files' place, for the error.

    Raises:
        ArtistidError: shards of different numbers of shards, which have songs in common.
    """
    shards = [Shard(int(match["number"]), int(match["of"])) for file in files if (match := SHARD.fullmatch(file.name))]
    numbers = sorted({shard.of for shard in shards})
    if len(numbers) > 1:
        raise ArtistidError(
            f"{where} holds shards of {' and of '.join(map(str, numbers))}: expected one number of them, shards=, "
            "since the same songs are in both; use another folder, or remove the files of one"
        )
    return shards


def _read(file: Path, where: str) -> tuple[Origin, pa.Table]:
    """The origin and the songs of a file, checked.

    Raises:
        ArtistidError: a file that is damaged, or of another kind.
    """
    try:
        with pq.ParquetFile(file) as parquet:
            origin = Origin.of_file(file)
            lacking = [] if origin else ["the metadata that says what made its embeddings"]
            lacking += [name for name in COLUMNS if name not in parquet.schema_arrow.names]
            if origin is None or lacking:
                raise ArtistidError(
                    f"{where} is a Parquet file, but not a collection of this version of artistid, {__version__}: "
                    f"it lacks {', '.join(lacking)}"
                )
            if fault := _fault_of(parquet, file.stat().st_size):
                raise ArtistidError(f"{where} is damaged, or not a collection of artistid: {fault}")
            table = parquet.read([*SONG_COLUMNS, "embedding"])
    except (OSError, pa.ArrowException) as error:
        raise ArtistidError(f"{where} cannot be read, or is not a Parquet file: {error}") from error
    if empty := [name for name in table.column_names if _has_nulls(table[name])]:
        raise ArtistidError(f"{where} is damaged: it has songs without {', '.join(empty)}")
    if not np.isfinite(table["duration_s"].to_numpy()).all():
        raise ArtistidError(f"{where} is damaged: it has songs whose duration_s is not finite")
    lengths = np.linalg.norm(_matrix(table["embedding"]), axis=1)
    if not np.all(np.abs(lengths - 1) <= UNIT_TOLERANCE):  # written so that NaN counts as bad
        raise ArtistidError(f"{where} is damaged: it has embeddings that are not finite, or not of length 1")
    return origin, table


def absolute(path: str | Path) -> str:
    """A file's path as written in a collection."""
    return as_text(expanded(path).absolute())


def as_text(name: str | Path) -> str:
    r"""A name as Parquet can hold it: bytes that are not UTF-8 become ``\xff``, so that names stay different."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _fault_of(file: pq.ParquetFile, n_bytes: int) -> str:
    """How a file differs in schema or counts from what :class:`CollectionWriter` writes; empty if it does not."""
    schema = file.schema_arrow
    units = schema.field("embedding").type
    if not _is_vector(units) or not units.list_size:
        return f"its embedding is {units}, expected vectors of one length"
    for name in (*SONG_COLUMNS, *CLIP_COLUMNS):
        kind, expected, words = schema.field(name).type, *_expected(name, units)
        if not expected(kind):
            return f"its {name} is {kind}, expected {words}"
    values = sum(
        file.metadata.row_group(group).column(column).num_values
        for group in range(file.num_row_groups)
        for column in range(file.metadata.num_columns)
    )
    if max(values, file.metadata.num_rows * units.list_size) > MOST_VALUES_PER_BYTE * n_bytes:
        return f"it claims to hold {counted(values, 'value')}, in {counted(n_bytes, 'byte')}"
    return ""


def _expected(name: str, units: pa.DataType) -> tuple[Callable[[pa.DataType], bool], str]:
    """A check of a column's type, and the type in words; ``units`` is the type of the songs' vectors."""
    if name in TEXTS:
        return lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind), "text"
    if name == "clip_embedding":
        return lambda kind: pa.types.is_list(kind) and kind.value_type == units, "lists of vectors as the songs' are"
    if name in CLIP_COLUMNS:
        return lambda kind: pa.types.is_list(kind) and pa.types.is_float64(kind.value_type), "lists of seconds"
    return (pa.types.is_float64, "seconds") if name == "duration_s" else (pa.types.is_int64, "whole numbers")


def _is_vector(kind: pa.DataType) -> bool:
    return pa.types.is_fixed_size_list(kind) and pa.types.is_float32(kind.value_type)


def _has_nulls(column: pa.ChunkedArray) -> bool:
    """Whether a value, or one within a list, is missing."""
    if column.null_count:
        return True
    lists = pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type)
    return lists and any(_has_nulls(pa.chunked_array([chunk.flatten()])) for chunk in column.chunks)


def _matrix(column: pa.Array | pa.ChunkedArray) -> NDArray[np.float32]:
    """``(rows, units)`` of a column of fixed-size lists."""
    units = column.type.list_size
    flat = column.combine_chunks().flatten() if isinstance(column, pa.ChunkedArray) else column.flatten()
    matrix: NDArray[np.float32] = flat.to_numpy(zero_copy_only=False).reshape(-1, units).astype(np.float32, copy=False)
    return matrix
