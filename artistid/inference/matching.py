"""Parts of a song that sound like parts of other songs, with the times on both sides.

Clips are compared by how they sound to a network trained to tell artists apart: timbre, production, playing. It knows
nothing of melody, harmony or words. A match says where to listen; whether two recordings share material, or one is
taken from the other, must be established by other means and by people.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from artistid.data.song import SongFeatures
from artistid.inference.collection import ClipTable, Collection
from artistid.inference.identifier import Identifier
from artistid.inference.neighbours import Query, Wanted, songs_to_leave_out

# The clips of a song and of a query that shares a part of it begin at different places in that part; half a clip apart,
# they are hardly more alike than others. So the query is cut several times, each time a little later.
GRIDS = 16
# Two clips are alike if at most a hundredth of all pairs of the query's and the collection's clips are more so.
ALIKE = 0.01
PAIRS = 4_000_000  # from which that is estimated
CLIPS_AT_ONCE = 16_384  # of the collection: their state fits a core's cache
RUNS_KEPT = 1000  # for each match requested: most are parts of one another
SHRINKAGE = 0.1  # of the covariance towards a multiple of the identity, for collections of few clips


@dataclass(frozen=True)
class Match:
    """A part of a query, and a part of a song, of the same length, that sounds like it.

    Attributes:
        rank: from 1, by the sum over clips of similarity above ``alike``: long and close matches come first.
        similarity: mean over the pairs of clips of the cosine of their whitened embeddings, from -1 to 1.
        start_s, end_s: seconds in the query.
        track_id, path, artist, album, title: of the song.
        song_start_s, song_end_s: seconds in the song.
        clips: how many neighbouring clips are alike.
    """

    rank: int
    similarity: float
    start_s: float
    end_s: float
    track_id: str
    path: str
    artist: str
    album: str
    title: str
    song_start_s: float
    song_end_s: float
    clips: int


@dataclass(frozen=True)
class Matches:
    """The parts of a query that sound most like parts of the songs of a collection.

    Attributes:
        query: its name.
        matches: the strongest first.
        alike: similarity from which two clips count as alike, for this query.
        left_out: track ids of the query's own recording, which is not compared with itself.
        album_left_out: those of the other songs of its album, unless they are wanted.
        warnings: what limits this answer, in sentences.
    """

    query: str
    matches: tuple[Match, ...]
    alike: float
    left_out: tuple[str, ...]
    album_left_out: tuple[str, ...]
    warnings: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """As plain types, ready for JSON."""
        return asdict(self)


class Whitening(NamedTuple):
    """Makes vectors uncorrelated, of equal variance in all directions, and of length 1.

    Where the network tells artists apart, the clips of an artist are all alike and would match everywhere. What
    distinguishes them lies in directions of less variance, which count equally after whitening (Jégou & Chum 2012).
    """

    mean: NDArray[np.float32]
    matrix: NDArray[np.float32]

    @classmethod
    def of(cls, vectors: NDArray[np.float32]) -> Whitening:
        """Fitted to the vectors ``(clips, units)`` of a collection."""
        mean = vectors.mean(axis=0, dtype=np.float64)
        covariance = np.cov(vectors, rowvar=False, bias=True).reshape(len(mean), len(mean))
        spread = np.trace(covariance) / len(covariance) or 1.0
        covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * spread * np.eye(len(covariance))
        variance, directions = np.linalg.eigh(covariance)
        return cls(mean.astype(np.float32), (directions / np.sqrt(variance)).astype(np.float32))

    def __call__(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """``(clips, units)`` float32."""
        white = (vectors - self.mean) @ self.matrix
        length = np.linalg.norm(white, axis=1, keepdims=True)
        return (white / np.where(length > 0, length, 1)).astype(np.float32, copy=False)


class Runs(NamedTuple):
    """Consecutive clips of a query that are similar to consecutive clips of a song.

    Attributes:
        score: ``(runs,)`` sum over the pairs of their similarity above the threshold.
        grid: ``(runs,)`` of the query.
        clip: ``(runs,)`` the last one of the query, in its grid.
        song_clip: ``(runs,)`` the last one of the song, in the collection's clips.
        length: ``(runs,)`` clips.
    """

    score: NDArray[np.float32]
    grid: NDArray[np.int64]
    clip: NDArray[np.int64]
    song_clip: NDArray[np.int64]
    length: NDArray[np.int64]

    @classmethod
    def none(cls) -> Runs:
        """No runs."""
        return cls(np.zeros(0, np.float32), *(np.zeros(0, np.int64) for _ in range(4)))

    def strongest(self, most: int) -> Runs:
        """The ``most`` strongest by score, the strongest first."""
        first = np.argsort(-self.score, kind="stable")[:most]
        return Runs._make(column[first] for column in self)

    def joined(self, others: Runs) -> Runs:
        """Both together."""
        return Runs._make(np.concatenate([getattr(self, name), getattr(others, name)]) for name in self._fields)


def grids_of_song(identifier: Identifier, sound: SongFeatures) -> list[ClipTable]:
    """The clips of a query, cut several times, each time a little later."""
    features = identifier.features
    frame_s = features.hop_length / features.sample_rate
    clip = round(identifier.clip_seconds / frame_s)  # frames
    latest = max(0, len(sound.array) - clip)
    shifts = dict.fromkeys(min(latest, grid * clip // GRIDS) for grid in range(GRIDS))
    return [_grid(identifier, sound, shift, shift * frame_s) for shift in shifts]


def _grid(identifier: Identifier, sound: SongFeatures, shift: int, shift_s: float) -> ClipTable:
    outputs = identifier.infer(replace(sound, array=sound.array[shift:], duration_s=sound.duration_s - shift_s))
    row = np.zeros(len(outputs), np.int64)
    return ClipTable(row, outputs.start_s + shift_s, outputs.end_s + shift_s, outputs.embedding)


class Matcher:
    """Finds matches in a collection; its clips are kept in memory.

    Args:
        collection: to look in.
    """

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self._clips = collection.clips
        self._whitened = Whitening.of(self._clips.vectors)
        self._vectors = self._whitened(self._clips.vectors)

    def find(self, query: Query, grids: Sequence[ClipTable], wanted: Wanted) -> Matches:
        """The parts of a query that sound most like parts of songs.

        Args:
            query: made by the same network.
            grids: its clips, cut in one or several ways.
            wanted: what to answer.

        Raises:
            ArtistidError: no song is left to compare with.
        """
        left_out = songs_to_leave_out(self._collection, query, wanted)
        chosen = np.flatnonzero(~np.isin(self._clips.row, list(left_out.rows)))
        vectors = [self._whitened(grid.vectors) for grid in grids]
        alike = self._alike(np.concatenate(vectors), chosen)
        runs = self._runs(vectors, chosen, alike, most=RUNS_KEPT * wanted.top)
        matches = (self._match(grids, runs, index, alike) for index in range(len(runs.score)))
        return Matches(
            query.name,
            tuple(replace(match, rank=rank) for rank, match in enumerate(islice(_apart(matches), wanted.top), start=1)),
            alike,
            tuple(self._collection.songs["track_id"].iloc[list(query.own)]),
            left_out.album,
            left_out.warnings,
        )

    def _alike(self, vectors: NDArray[np.float32], chosen: NDArray[np.intp]) -> float:
        """The similarity that a hundredth of all pairs of clips exceed, from a sample of about ``PAIRS``."""
        some = chosen[:: 1 + len(chosen) * len(vectors) // PAIRS]
        return float(np.quantile(vectors @ self._vectors[some].T, 1 - ALIKE))

    def _runs(self, grids: list[NDArray[np.float32]], chosen: NDArray[np.intp], alike: float, most: int) -> Runs:
        """The strongest runs of all grids."""
        strongest = Runs.none()
        for clips in _whole_songs(chosen, self._clips.row):
            first = np.diff(self._clips.row[clips], prepend=-1) != 0  # of its song
            for number, vectors in enumerate(grids):
                runs = runs_of(vectors @ self._vectors[clips].T - alike, first)
                runs = runs._replace(song_clip=clips[runs.song_clip], grid=np.full(len(runs.score), number))
                strongest = strongest.joined(runs).strongest(most)
        return strongest

    def _match(self, grids: Sequence[ClipTable], runs: Runs, index: int, alike: float) -> Match:
        length, last, song_last = (int(column[index]) for column in (runs.length, runs.clip, runs.song_clip))
        grid, clips = grids[runs.grid[index]], self._clips
        song = self._collection.songs.iloc[clips.row[song_last]]
        return Match(
            rank=0,
            similarity=alike + float(runs.score[index]) / length,
            start_s=float(grid.start_s[last - length + 1]),
            end_s=float(grid.end_s[last]),
            **{name: str(song[name]) for name in ("track_id", "path", "artist", "album", "title")},
            song_start_s=float(clips.start_s[song_last - length + 1]),
            song_end_s=float(clips.end_s[song_last]),
            clips=length,
        )


def runs_of(excess: NDArray[np.float32], first: NDArray[np.bool_]) -> Runs:
    """For each clip of some songs the strongest run that ends with it, if it is alike to any clip of the query.

    On every diagonal, where time advances equally on both sides, this is the best sum of neighbours (Kadane's
    algorithm).

    Args:
        excess: ``(clips, song clips)`` similarity above the threshold; negative below it.
        first: ``(song clips,)`` whether a clip is the first of its song.
    """
    n = excess.shape[1]
    score, length = np.zeros(n, np.float32), np.zeros(n, np.int64)  # of the runs that end with this clip of the query
    best = Runs(np.zeros(n, np.float32), *(np.zeros(n, np.int64) for _ in range(4)))
    for clip, row in enumerate(excess):
        score, length = np.roll(score, 1), np.roll(length, 1)  # those that end one clip earlier, on both sides
        score[first] = length[first] = 0
        score += row
        length = np.where(score > 0, length + 1, 0)
        score = np.maximum(score, 0)
        better = score > best.score
        best.score[better], best.length[better], best.clip[better] = score[better], length[better], clip
    ended = np.flatnonzero(best.score)
    return Runs._make(column[ended] for column in best._replace(song_clip=np.arange(n)))


def _whole_songs(clips: NDArray[np.intp], song: NDArray[np.int64]) -> list[NDArray[np.intp]]:
    """Clips in blocks of about ``CLIPS_AT_ONCE``, none of which ends within a song."""
    starts = np.flatnonzero(np.diff(song[clips], prepend=-1))
    wanted = np.arange(CLIPS_AT_ONCE, len(clips), CLIPS_AT_ONCE)
    ends = np.unique(starts[np.searchsorted(starts, wanted, side="right") - 1])
    return np.split(clips, ends[ends > 0])


def _apart(matches: Iterable[Match]) -> Iterator[Match]:
    """Those that do not overlap an earlier one on both sides."""
    earlier: dict[str, list[Match]] = defaultdict(list)
    for match in matches:
        if not any(_overlap(match, other) for other in earlier[match.track_id]):
            earlier[match.track_id].append(match)
            yield match


def _overlap(one: Match, other: Match) -> bool:
    in_query = one.start_s < other.end_s and other.start_s < one.end_s
    return in_query and one.song_start_s < other.song_end_s and other.song_start_s < one.song_end_s
