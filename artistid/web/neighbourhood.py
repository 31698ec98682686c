"""The songs of a collection that are nearest to a song, and a map of the collection.

The map shows principal components: unlike with t-SNE, positions are a function of the vector, so a song that was not
there when the map was drawn has one, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.decomposition import PCA

from artistid.inference.collection import Collection
from artistid.inference.identifier import song_vector
from artistid.inference.neighbours import Query, Wanted, find_similar
from artistid.inference.outputs import ClipOutputs
from artistid.printing import printable

# Each point is an element of its own in the page; from a larger collection this many are drawn at random.
MOST_POINTS = 5000
FEWEST_SONGS = 3  # with fewer, two components show nothing


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """Songs that others are compared with.

    Attributes:
        collection: their embeddings.
        n_nearest: how many to list.
    """

    collection: Collection
    n_nearest: int

    def around(self, outputs: ClipOutputs) -> dict[str, Any] | None:
        """The songs nearest to a song, as plain types; None if there is nothing to compare.

        Returns:
            ``n_songs`` of the collection; ``songs``, the nearest first; ``copies``, the songs of the collection that
            are this very recording, which are not listed among them; and the ``place`` on the map, if there is one.
        """
        vector = song_vector(outputs.embedding)
        own = tuple(map(int, self.collection.copies(outputs.sha1)))
        if outputs.silent or not vector.any():
            return None
        songs: list[dict[str, Any]] = []
        if len(own) < len(self.collection):
            similar = find_similar(
                self.collection, Query(outputs.name, "", "", vector, own), Wanted(self.n_nearest, same_album=True)
            )
            rows = [self.collection.row(song.track_id) for song in similar.songs]
            songs = [
                {**self._named(row), "similarity": song.similarity, "place": self._place(self.collection.vectors[row])}
                for row, song in zip(rows, similar.songs, strict=True)
            ]
        return {
            "n_songs": len(self.collection),
            "songs": songs,
            "copies": [self._named(row) for row in own],
            "place": self._place(vector),
        }

    def map(self) -> dict[str, Any] | None:
        """The map, as plain types; None for a collection that is too small.

        Returns:
            For each song that is shown, in lists, its place ``x`` and ``y``, its ``artist`` and its ``title``;
            ``n_songs`` of the collection; and ``explained``, the share of the variance that the map keeps.
        """
        if self._components is None:
            return None
        rows = np.arange(len(self.collection))
        if len(rows) > MOST_POINTS:
            rows = np.sort(np.random.default_rng(0).choice(rows, MOST_POINTS, replace=False))
        x, y = self._components.transform(self.collection.vectors[rows]).T.round(4).tolist()
        named = [self._named(row) for row in rows.tolist()]
        return {
            "x": x,
            "y": y,
            "artist": [song["artist"] for song in named],
            "title": [song["title"] for song in named],
            "n_songs": len(self.collection),
            "explained": float(self._components.explained_variance_ratio_.sum()),
        }

    @cached_property
    def _components(self) -> PCA | None:
        vectors = self.collection.vectors
        if len(vectors) < FEWEST_SONGS or vectors.shape[1] < 2 or not np.ptp(vectors, axis=0).any():
            return None
        return PCA(2, svd_solver="full").fit(vectors)

    def _place(self, vector: ArrayLike) -> list[float] | None:
        if self._components is None:
            return None
        place: list[float] = self._components.transform(np.asarray(vector)[None])[0].round(4).tolist()
        return place

    def _named(self, row: int) -> dict[str, str]:
        song = self.collection.songs.iloc[row]
        names = {"artist": song["artist"], "album": song["album"], "title": song["title"] or song["track_id"]}
        return {what: printable(name) for what, name in names.items()}
