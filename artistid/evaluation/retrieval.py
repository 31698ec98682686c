"""Retrieval of songs by the same artist: recall at k and mean average precision.

All other songs are ranked by their similarity to a query song; those of the same artist are relevant. Songs of the
query's own album are excluded: they share its production (the "producer effect", Whitman et al. 2001), which would be
retrieved instead of the artist; including them measures how much. Copies of the query's recording are always excluded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from artistid.evaluation.scores import mean_interval

DEPTHS = (1, 5, 10)
SIMILARITIES_AT_ONCE = 8_000_000


class Measure(NamedTuple):
    """A mean over queries.

    Attributes:
        value: in [0, 1].
        ci95: ``(low, high)`` 95 % interval over queries, see :class:`artistid.evaluation.scores.Estimate`.
        chance: its expected value, for the same queries, if songs were ranked at random.
    """

    value: float
    ci95: tuple[float, float]
    chance: float


@dataclass(frozen=True)
class Retrieval:
    """Measures of the retrieval of songs by the same artist.

    Attributes:
        recall: by k, the share of queries with a song of their artist among the k nearest ("recall at k" as in metric
            learning: Jégou et al. 2011, Oh Song et al. 2016).
        mean_average_precision: of the whole ranking: the mean over queries of the mean, over the relevant songs, of the
            precision at their ranks.
        n: number of queries.
        artists: number of the queries' artists.
        gallery: number of songs in the collection.
        without_answer: number of queries without a song of their artist outside their album; they are not counted.
    """

    recall: dict[int, Measure]
    mean_average_precision: Measure
    n: int
    artists: int
    gallery: int
    without_answer: int

    def plain(self) -> dict[str, Any]:
        """As plain types, ready for JSON."""
        measures = {name: {**m._asdict(), "ci95": list(m.ci95)} for name, m in self.measures.items()}
        counts = ("n", "artists", "gallery", "without_answer")
        return {**measures, **{name: getattr(self, name) for name in counts}}

    @property
    def measures(self) -> dict[str, Measure]:
        """All measures, by their usual names."""
        return {f"R@{k}": each for k, each in self.recall.items()} | {"mAP": self.mean_average_precision}


@dataclass(frozen=True, eq=False)
class Gallery:
    """The songs that are ranked.

    Attributes:
        vectors: ``(songs, units)`` of length 1.
        artist, album, recording: ``(songs,)`` numbers, -1 where unknown. Albums of two artists differ.
    """

    vectors: NDArray[np.float32]
    artist: NDArray[np.int64]
    album: NDArray[np.int64]
    recording: NDArray[np.int64]

    @classmethod
    def of(cls, vectors: NDArray[np.float32], artist: ArrayLike, album: ArrayLike, recording: ArrayLike) -> Gallery:
        """From texts ``(songs,)``, empty where unknown."""
        songs = pd.DataFrame({"artist": artist, "album": album, "recording": recording}).astype(object)
        albums = songs.groupby(["artist", "album"], sort=True).ngroup().where(songs["album"] != "", -1)
        artists, recordings = (
            np.array(pd.Categorical(songs[name].where(songs[name] != "")).codes, np.int64)
            for name in ("artist", "recording")
        )
        return cls(vectors, artists, np.array(albums, np.int64), recordings)

    def __len__(self) -> int:
        return len(self.vectors)


def retrieval(gallery: Gallery, queries: NDArray[np.integer], same_album: bool = False) -> Retrieval | None:
    """Retrieve songs of the same artist for each query, and measure how well this works.

    Args:
        gallery: all songs.
        queries: rows of the query songs; those without an artist are not counted.
        same_album: whether songs of the query's own album are included; the queries are the same either way.

    Returns:
        None where no query has a relevant song.
    """
    queries = queries[gallery.artist[queries] >= 0]
    if not len(queries):
        return None
    answered = np.array([_answers(gallery, query) for query in queries], bool)
    if not answered.any():
        return None
    ranked = list(_ranked(gallery, queries[answered], same_album))
    sizes, to_find = np.array([(len(relevant), relevant.sum()) for relevant in ranked]).T
    first = np.array([relevant.argmax() for relevant in ranked])

    def measure(values: NDArray[np.floating], chance: NDArray[np.floating]) -> Measure:
        low, high = mean_interval(values)
        return Measure(float(values.mean()), (low, high), float(chance.mean()))

    return Retrieval(
        recall={k: measure((first < k).astype(float), chance_of_recall(sizes, to_find, k)) for k in DEPTHS},
        mean_average_precision=measure(
            np.array([average_precision(relevant) for relevant in ranked]), chance_of_precision(sizes, to_find)
        ),
        n=len(ranked),
        artists=len(np.unique(gallery.artist[queries[answered]])),
        gallery=len(gallery),
        without_answer=int((~answered).sum()),
    )


def average_precision(relevant: NDArray[np.bool_]) -> float:
    """Average precision of a ranking ``(songs,)``, nearest first, with at least one relevant song."""
    places = np.flatnonzero(relevant) + 1
    return float(np.mean(np.arange(1, len(places) + 1) / places))


def chance_of_recall(size: NDArray[np.integer], to_find: NDArray[np.integer], k: int) -> NDArray[np.float64]:
    """``(queries,)`` the probability that ``k`` of ``size`` songs, drawn at random, include one of ``to_find``."""
    missed = np.ones(len(size))
    for drawn in range(k):
        missed *= np.clip((size - to_find - drawn) / np.maximum(size - drawn, 1), 0, 1)
    return 1 - missed


def chance_of_precision(size: NDArray[np.integer], to_find: NDArray[np.integer]) -> NDArray[np.float64]:
    """``(queries,)`` the expected average precision of a random ranking.

    A relevant song is at any rank i with equal probability, and the i - 1 ranks before it contain on average
    (i - 1) (to_find - 1) / (size - 1) others; the sum over i contains the harmonic number of ``size``.
    """
    harmonic = np.cumsum(1 / np.arange(1, size.max() + 1))[size - 1]
    others = (to_find - 1) / np.maximum(size - 1, 1)
    return (harmonic + others * (size - harmonic)) / size


def _answers(gallery: Gallery, query: int) -> bool:
    """Whether there is a relevant song: of the query's artist, outside its album."""
    return bool(((gallery.artist == gallery.artist[query]) & ~_own(gallery, query, same_album=False)).any())


def _own(gallery: Gallery, query: int, same_album: bool) -> NDArray[np.bool_]:
    """``(songs,)`` whether a song is the query itself, a copy of it or, unless these are included, of its album."""
    own = np.zeros(len(gallery), bool)
    own[query] = True
    for key in (gallery.recording,) if same_album else (gallery.recording, gallery.album):
        if key[query] >= 0:
            own |= key == key[query]
    return own


def _ranked(gallery: Gallery, queries: NDArray[np.integer], same_album: bool) -> Iterator[NDArray[np.bool_]]:
    """For each query, whether the included songs, nearest first, are by its artist."""
    at_once = max(1, SIMILARITIES_AT_ONCE // len(gallery))
    for begin in range(0, len(queries), at_once):
        some = queries[begin : begin + at_once]
        for query, similarity in zip(some, gallery.vectors[some] @ gallery.vectors.T, strict=True):
            order = np.argsort(-similarity, kind="stable")
            counted = ~_own(gallery, query, same_album)[order]
            yield (gallery.artist[order] == gallery.artist[query])[counted]
