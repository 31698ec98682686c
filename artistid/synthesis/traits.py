"""Traits: the fields of a dataclass that are drawn, all from one vector of independent Gaussians.

Each trait reads its own entries of the vector: zero is the middle of its range, one standard deviation about a third of
the range to either side. An artist, an album or a song is then such a vector, layers add up, a dial scales one
layer, and whatever the sum is, each trait stays inside its range: large dials push traits towards its ends, never past.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
from scipy.special import ndtr, softmax

# Standard deviation of the artists around what all share, at style_strength 1.
ARTIST_SPREAD = 1.0
# Standard deviation of an artist's songs around the artist; no dial moves it. Against the former: the overlap.
SONG_SPREAD = 0.5
# Standard deviation of the albums' productions around the neutral one, at producer_strength 1.
PRODUCER_SPREAD = 0.5

T = TypeVar("T")
Vector = np.ndarray[tuple[int], np.dtype[np.float64]]


class Draw(Protocol):
    """How one trait reads its ``size`` entries of the vector."""

    @property
    def size(self) -> int: ...

    def read(self, z: Vector) -> Any: ...


@dataclass(frozen=True)
class Range:
    """A number, or a tuple of ``size`` numbers, between ``low`` and ``high``; uniform when z is a standard normal."""

    low: float
    high: float
    log: bool
    size: int

    def read(self, z: Vector) -> float | tuple[float, ...]:
        share = ndtr(z)
        values = (
            self.low * (self.high / self.low) ** share if self.log else self.low + (self.high - self.low) * share
        ).tolist()
        return values[0] if self.size == 1 else tuple(values)


@dataclass(frozen=True)
class Choice:
    """The option whose entry is largest: equal odds where entries are drawn alike, a favourite where one is raised."""

    options: tuple[Any, ...]

    @property
    def size(self) -> int:
        return len(self.options)

    def read(self, z: Vector) -> Any:
        return self.options[int(np.argmax(z))]


@dataclass(frozen=True)
class Habit:
    """Probabilities over the options, for choices that are made again and again within a song."""

    options: tuple[Any, ...]

    # At the default spreads the commonest of five options then comes a little less than half of the time.
    SHARPNESS: ClassVar[float] = 1.2

    @property
    def size(self) -> int:
        return len(self.options)

    def read(self, z: Vector) -> Odds:
        return Odds(self.options, tuple(np.cumsum(softmax(self.SHARPNESS * z)).tolist()))


@dataclass(frozen=True)
class Odds:
    """What a ``Habit`` reads: options and their cumulative probabilities."""

    options: tuple[Any, ...]
    cumulative: tuple[float, ...]

    def draw(self, rng: np.random.Generator) -> Any:
        # Not Generator.choice: it checks its probabilities on each of the hundreds of calls per song.
        return self.options[min(int(np.searchsorted(self.cumulative, rng.random())), len(self.options) - 1)]


@dataclass(frozen=True)
class Nested:
    """A dataclass of traits inside another."""

    of: type

    @property
    def size(self) -> int:
        return vector_size(self.of)

    def read(self, z: Vector) -> Any:
        return read_traits(self.of, z)


def trait(low: float, high: float, *, log: bool = False, size: int = 1) -> Any:
    return field(metadata={"draw": Range(low, high, log, size)})


def choice(*options: Any) -> Any:
    return field(metadata={"draw": Choice(options)})


def habit(*options: Any) -> Any:
    return field(metadata={"draw": Habit(options)})


def nested(of: type) -> Any:
    return field(metadata={"draw": Nested(of)})


def _draws(of: type) -> list[tuple[str, Draw]]:
    return [(f.name, f.metadata["draw"]) for f in fields(of)]


def vector_size(of: type) -> int:
    """How many Gaussians a dataclass of traits reads."""
    return sum(draw.size for _, draw in _draws(of))


def read_traits(of: type[T], z: Vector) -> T:
    """The dataclass ``of`` with every trait read off the vector ``z``, shape ``(vector_size(of),)``."""
    values, start = {}, 0
    for name, draw in _draws(of):
        values[name] = draw.read(z[start : start + draw.size])
        start += draw.size
    return of(**values)
