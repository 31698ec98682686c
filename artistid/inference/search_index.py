"""An approximate index of a collection's songs, in a file beside it: for collections too large for exact search.

It is a graph of neighbours (Malkov & Yashunin 2018), by usearch, memory-mapped for searching. Its keys are hashes of
the vectors, so that it can be compared with the collection whenever it is opened: new songs are added, missing ones
removed, and the index of another collection has no key in common with this one.
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

LINKS, CARE = 16, 100  # links of each vector in the graph, and candidates examined to find them
EFFORT = 128  # candidates kept during a search; docs/size.md has the recall of the nearest ten
# Songs that several threads add at once can miss each other and be found by no query (usearch's issue 735): of 400
# songs, four indexes in five lost one or more. One thread also makes the index reproducible.
THREADS = 1
FEWEST_KEPT = 0.5  # of the songs: an index that has fewer is rebuilt, since removals leave gaps


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
        """Rows of at least ``k`` songs that are near to a query, in no order.

        Args:
            query: ``(units,)`` of length 1.
            k: how many; all, if there are fewer.
            without: rows of songs to ignore.
        """
        asked = min(k + len(without), len(self._index))
        found = np.sort(self._index.search(query, asked).keys)
        first, end = (np.searchsorted(self._keys, found, side) for side in ("left", "right"))
        rows = np.concatenate([self._rows[slice(*ends)] for ends in zip(first, end, strict=True)])
        return rows[~np.isin(rows, list(without))]

    def _renew(self, vectors: NDArray[np.float32]) -> None:
        """Update the file to an index of the vectors, with as little work as possible."""
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
        log.info("%s: %s added, %d removed", printable(self._path), counted(int(new.sum()), "song"), len(gone))
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
    """``(songs,)`` a 64-bit hash of each vector's bytes (after FNV-1a): practically, only equal ones have the same."""
    key = np.full(len(vectors), 0xCBF29CE484222325, np.uint64)
    for column in np.ascontiguousarray(vectors, np.float32).view(np.uint32).T:
        key = (key ^ column) * np.uint64(0x100000001B3)
        key ^= key >> np.uint64(29)
    return key
