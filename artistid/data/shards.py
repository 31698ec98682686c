"""Shards: parts of a collection, prepared or embedded separately on any number of machines, and read as one."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

import numpy as np
import numpy.typing as npt
from omegaconf import DictConfig

from artistid.data.catalog import Catalog
from artistid.errors import ArtistidError

FeatureArray = npt.NDArray[np.float16]


@dataclass(frozen=True)
class Shard:
    """One of several parts of a collection.

    A track's shard depends on its id alone: not on the order of the jobs, nor on the other tracks.

    Args:
        number: from 0.
        of: how many there are.

    Raises:
        ArtistidError: a number out of range.
    """

    number: int
    of: int

    def __post_init__(self) -> None:
        for setting, value, lowest in (("shards", self.of, 1), ("shard", self.number, 0)):
            if not isinstance(value, int) or isinstance(value, bool) or value < lowest:
                raise ArtistidError(f"{setting}={value}: expected a whole number from {lowest}")
        if self.number >= self.of:
            raise ArtistidError(f"shard={self.number}: expected 0 to {self.of - 1}, since shards={self.of}")

    @classmethod
    def of_settings(cls, config: DictConfig) -> Shard | None:
        """The shard by ``shard`` and ``shards``; None without one."""
        return None if config.shard is None else cls(config.shard, config.shards)

    @property
    def name(self) -> str:
        """Names the shard's folder or file; numbers are padded so that names sort in order."""
        width = len(str(self.of - 1))
        return f"{self.number:0{width}}-of-{self.of}"

    def select(self, catalog: Catalog) -> Catalog:
        """The tracks that belong to this shard; with many shards there may be none."""
        return Catalog(track for track in catalog if self.holds(track.track_id))

    def holds(self, track_id: str) -> bool:
        """Whether a track belongs to this shard."""
        digest = hashlib.sha1(track_id.encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest[:8]) % self.of == self.number


class Rows(Protocol):
    """What a reader of a store may do with its array ``(rows, width)``: slice it, within a track."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, rows: slice, /) -> FeatureArray: ...


class ConcatenatedArray:
    """Several arrays ``(rows, width)``, their rows numbered consecutively.

    A slice is a view of the array that it lies in; none may cross from one into the next, as no track does.
    """

    def __init__(self, arrays: Sequence[FeatureArray]) -> None:
        self.arrays = tuple(arrays)
        self.first = (0, *accumulate(map(len, arrays)))  # row of each array, and one past the last

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self.arrays[0].shape[1:])

    def __len__(self) -> int:
        return self.first[-1]

    def __getitem__(self, rows: slice, /) -> FeatureArray:
        number = bisect_right(self.first, rows.start) - 1
        if not 0 <= number < len(self.arrays) or rows.stop > self.first[number + 1]:
            raise IndexError(f"rows {rows.start} to {rows.stop} do not lie in one array; these begin at {self.first}")
        first = self.first[number]
        return self.arrays[number][rows.start - first : rows.stop - first]


def concatenated(arrays: Sequence[FeatureArray]) -> Rows:
    """Several arrays as one; a single one as it is."""
    return arrays[0] if len(arrays) == 1 else ConcatenatedArray(arrays)
