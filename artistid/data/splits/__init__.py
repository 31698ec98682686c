"""Splits: which tracks train, validate and test. One file per rule, by the protocols that people report scores on.

A split is drawn from the catalog's names and a seed alone, so neither the file system's order nor Python's hash seed
matters; it is written as CSV and can be read back.
"""

from artistid.data.splits.album import AlbumSplit
from artistid.data.splits.canonical import CanonicalSplit
from artistid.data.splits.file import FileSplit
from artistid.data.splits.jackknife import JackknifeSplit
from artistid.data.splits.song import SongSplit
from artistid.data.splits.split import PROTOCOLS, SUBSETS, Split

__all__ = [
    "PROTOCOLS",
    "SUBSETS",
    "AlbumSplit",
    "CanonicalSplit",
    "FileSplit",
    "JackknifeSplit",
    "SongSplit",
    "Split",
]
