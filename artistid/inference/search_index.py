"""An approximate index of a collection's songs, in a file beside it: for collections that a query cannot wait for.

It is a graph of neighbours (Malkov & Yashunin 2018), by usearch, memory-mapped where it is searched. Its keys are made
of the vectors, so that it can be held against a collection whenever it is opened: songs that are new are put in, those
that are gone are taken out, and an index of another collection has nothing in common with this one.
"""

from __future__ import annotations

import logging
from collections.abc import Collection as Rows
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artistid.errors import ArtistidError, counted
from artistid.packages import require_extra
from artistid.printing import printable
from artistid.writing import whole

log = logging.getLogger(__name__)

LINKS, CARE = 16, 100  # of each vector in the graph, and how many are looked at to find them
EFFORT = 128  # vectors that a search keeps in sight; docs/size.md has what of the nearest ten that finds
# Songs that several threads put in at once can miss each other and be found by no query (usearch's issue 735): of 400
# songs, four indexes in five lost one or more. One thread also makes the same index of the same songs.
THREADS = 1
FEWEST_KEPT = 0.5  # of the songs: an index that has fewer is made anew, since what is taken out leaves gaps


class SearchIndex:
    """The index of some vectors.

    Args:
        path: of its file.
        vectors: ``(songs, units)`` float32 of length 1, the collection as it is now.

    Raises:
        ArtistidError: usearch is not installed, or the file cannot be written.
    """

    def __init__(self, path: Path, vectors: NDArray[np.float32]) -> None:
        require_extra("search", "search=index")
        self._path = path
        keys = keys_of(vectors)
        self._rows = np.argsort(keys, kind="stable")
        self._keys = keys[self._rows]
        self._renew(vectors)
        self._index = self._opened(view=True)
        self._index.expansion_search = EFFORT

    @staticmethod
    def place(collection: Path) -> Path:
        """The file of a collection's index: beside it."""
        return collection.with_name(f"{collection.name}.usearch")

    def nearest(self, query: NDArray[np.float32], k: int, without: Rows[int]) -> NDArray[np.int64]:
        """Rows of ``k`` songs that are near to a query, in no order.

        Args:
            query: ``(units,)`` of length 1.
            k: how many; of fewer, all.
            without: rows of songs that do not count.
        """
        asked = min(k + len(without), len(self._index))
        found = np.sort(self._index.search(query, asked).keys)
        first, end = (np.searchsorted(self._keys, found, side) for side in ("left", "right"))
        rows = np.concatenate([self._rows[slice(*ends)] for ends in zip(first, end, strict=True)])
        return rows[~np.isin(rows, list(without))]

    def _renew(self, vectors: NDArray[np.float32]) -> None:
        """Make the file an index of the vectors, with as little work as that takes."""
        index = self._opened(view=False)
        if index is None or index.ndim != vectors.shape[1]:
            index = self._empty(vectors.shape[1])
        there = np.unique(np.asarray(index.keys, np.uint64))
        wanted, first = np.unique(self._keys, return_index=True)
        gone, new = np.setdiff1d(there, wanted), ~np.isin(wanted, there)
        if not len(gone) and not new.any():
            return
        if new.mean() > 1 - FEWEST_KEPT:
            index, gone, new = self._empty(vectors.shape[1]), gone[:0], np.ones(len(wanted), bool)
        log.info("%s: %s put in, %d taken out", printable(self._path), counted(int(new.sum()), "song"), len(gone))
        if len(gone):
            index.remove(gone)
        index.add(wanted[new], vectors[self._rows[first[new]]], threads=THREADS)
        try:
            with whole(self._path, "wb") as file:
                index.save(file.name)
        except (OSError, RuntimeError) as error:
            raise ArtistidError(f"{printable(self._path)} cannot be written: {error}") from error

    def _opened(self, view: bool) -> Any:
        """The file's index; None where there is none, or none that can be read."""
        from usearch.index import Index

        try:
            return Index.restore(self._path, view=view) if self._path.is_file() else None
        except (OSError, RuntimeError, ValueError):
            return None

    @staticmethod
    def _empty(units: int) -> Any:
        from usearch.index import Index

        return Index(ndim=units, metric="ip", dtype="f32", connectivity=LINKS, expansion_add=CARE)


def keys_of(vectors: NDArray[np.float32]) -> NDArray[np.uint64]:
    """``(songs,)`` a number of 64 bits for each vector, by its bytes (after FNV-1a): equal ones alone have the same."""
    key = np.full(len(vectors), 0xCBF29CE484222325, np.uint64)
    for column in np.ascontiguousarray(vectors, np.float32).view(np.uint32).T:
        key = (key ^ column) * np.uint64(0x100000001B3)
        key ^= key >> np.uint64(29)
    return key
