"""How well songs that a network was not trained on retrieve others by their artist from a collection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from artistid.data.catalog import folded
from artistid.errors import ArtistidError, counted
from artistid.evaluation.retrieval import Gallery, Retrieval, retrieval
from artistid.inference.collection import Collection
from artistid.learning.specification import Specification
from artistid.printing import printable


@dataclass(frozen=True)
class RetrievalScores:
    """How well songs retrieve others by their artist, for two kinds of songs.

    Attributes:
        test: songs of the network's test subset, of albums that it was not trained on.
        unknown: songs of artists that it was not trained on at all; None where the collection has none.
        test_same_album, unknown_same_album: the same queries, where songs of their own album count, too.
        without_artist: number of songs without an artist, left out.
    """

    test: Retrieval | None
    unknown: Retrieval | None
    test_same_album: Retrieval | None
    unknown_same_album: Retrieval | None
    without_artist: int

    @property
    def kinds(self) -> dict[str, Retrieval | None]:
        """The scores of each kind of query, by name."""
        names = ("test", "unknown", "test_same_album", "unknown_same_album")
        return {name: getattr(self, name) for name in names}

    def plain(self) -> dict[str, Any]:
        """As plain types, ready for JSON."""
        return {
            **{name: kind.plain() if kind else None for name, kind in self.kinds.items()},
            "without_artist": self.without_artist,
        }


def evaluate_retrieval(collection: Collection, specification: Specification) -> RetrievalScores:
    """Take the songs that the network was not trained on as queries, and all songs of the collection as gallery.

    Raises:
        ArtistidError: no such songs, or none with another album of its artist to find.
    """
    named = (collection.songs["artist"] != "").to_numpy()
    songs = collection.songs[named].reset_index(drop=True)
    albums = songs["album"].map(folded)  # spellings of an album count as one, as in splits
    gallery = Gallery.of(collection.vectors[named], songs["artist"], albums, songs["sha1"])
    held_out = _held_out(songs, gallery, specification)
    known = songs["artist"].isin(specification.artists).to_numpy()
    tested = (songs["track_id"].map(specification.split["subsets"]) == "test").to_numpy()
    kinds = [np.flatnonzero(held_out & kind) for kind in (known & tested, ~known)]
    test, unknown = (retrieval(gallery, queries) for queries in kinds)
    if test is None and unknown is None:
        raise ArtistidError(
            f"collection={printable(collection.path)}: none of its {counted(len(collection), 'song')} can be a query: "
            "expected songs of the network's test subset, on albums that it was not trained on, whose artists have "
            "another album here; a network trained with split=album has them in its own data, which python -m "
            "artistid.embed without audio and data embeds"
        )
    test_same_album, unknown_same_album = (retrieval(gallery, queries, same_album=True) for queries in kinds)
    return RetrievalScores(test, unknown, test_same_album, unknown_same_album, int((~named).sum()))


def _held_out(songs: pd.DataFrame, gallery: Gallery, specification: Specification) -> NDArray[np.bool_]:
    """``(songs,)`` whether a song has an album, of which nothing was trained on."""
    trained = songs["track_id"].map(specification.split["subsets"]).eq("train") | songs["sha1"].isin(
        specification.recordings
    )
    return (gallery.album >= 0) & ~np.isin(gallery.album, gallery.album[trained.to_numpy()])
