"""Splits: which tracks train, validate and test, by the protocols in use for reporting scores.

A split is drawn from the catalog's names and a seed alone, so neither the file system's order nor Python's hash seed
matters; it is written as CSV and can be read back.
"""

from artistid.data.splits.protocols import (
    AlbumSplit,
    ArtistsSplit,
    CanonicalSplit,
    EnrolmentSplit,
    FileSplit,
    FoldSplit,
    JackknifeSplit,
    SongSplit,
)
from artistid.data.splits.split import ALL_SUBSETS, PROTOCOLS, SUBSETS, UNSEEN_SUBSETS, Split

__all__ = [
    "ALL_SUBSETS",
    "PROTOCOLS",
    "SUBSETS",
    "UNSEEN_SUBSETS",
    "AlbumSplit",
    "ArtistsSplit",
    "CanonicalSplit",
    "EnrolmentSplit",
    "FileSplit",
    "FoldSplit",
    "JackknifeSplit",
    "SongSplit",
    "Split",
]
