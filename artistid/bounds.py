"""How large what a file says may be: a checkpoint may come from anywhere, and its settings decide what is allocated.

Whoever trains sets what they like up to the same bounds, so that every network that is trained can be opened.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from artistid.errors import ArtistidError

MOST_DEPTH = 16  # of lists and dicts within one another
MOST_VALUES = 8_000_000  # of all settings together; a library of a million songs has three for each
LONGEST_TEXT = 4096  # characters, as of a path
LONGEST_NAME = 1000  # of an artist
LARGEST_WHOLE = 2**63 - 1

# Smallest and largest number of each setting; whether it is whole is for its own class to say.
BOUNDS: Mapping[str, tuple[float, float]] = {
    "features.sample_rate": (1000, 384_000),  # Hz
    "features.n_fft": (16, 65_536),
    "features.hop_length": (16, 65_536),
    "features.n_mels": (1, 1024),
    "features.f_min": (0, 192_000),  # Hz
    "features.f_max": (1, 192_000),
    "features.amin": (1e-30, 1),
    "features.top_db": (0, 1000),
    "clip.frames": (1, 112_500),  # of 32 ms: an hour
    "clip.seconds": (0, 3600),
    "batch_size": (1, 65_536),
    "artists": (1, 100_000),  # how many
    "open_set.threshold": (0, 1),
    "open_set.accepted": (0, 1),
    "open_set.n_songs": (0, 1e9),
    "data.min_albums": (0, 1e9),
    "data.min_songs": (0, 1e9),
    "data.n_artists": (1, 100_000),
    "data.n_albums": (1, 100_000),
    "data.n_songs": (1, 100_000),
    "data.seconds": (0, 36_000),
    "data.style_strength": (0, 1000),
    "data.producer_strength": (0, 1000),
}
MOST_VALUES_PER_S = 65_536  # of all rows of a second of sound; 4,000 with the paper's log-mel


def check_bound(name: str, value: Any) -> None:
    """Raises ArtistidError for a number outside what its setting may be."""
    lowest, highest = BOUNDS[name]
    if not isinstance(value, int | float) or isinstance(value, bool) or not lowest <= value <= highest:
        raise ArtistidError(f"{name}={shown(value)}: expected a number from {lowest:g} to {highest:g}")


def check_plain(value: Any, what: str) -> None:
    """Raises ArtistidError unless settings are dicts, lists and plain values, no more and no deeper than is sensible.

    Nothing in them stands for something else: an interpolation is refused, and so is OmegaConf's mark of a missing
    value. Nodes that many share, of which a small pickle can make billions, count as often as they are met.
    """
    for number, (each, depth) in enumerate(_all_values(value), start=1):
        if number > MOST_VALUES:
            raise ArtistidError(f"{what} has more than {MOST_VALUES} values")
        if depth > MOST_DEPTH:
            raise ArtistidError(f"{what} has more than {MOST_DEPTH} levels of lists and dicts")
        if fault := _fault(each):
            raise ArtistidError(f"{what} has {fault}")


def shown(value: Any) -> str:
    """A value of a file as a message may show it: in a line, without control characters, and not too much of it."""
    if isinstance(value, list | tuple | Mapping):
        return f"{type(value).__name__} of {len(value)}"
    text = repr(value[:100] if isinstance(value, str | bytes) else value)
    return text if len(text) <= 100 else f"{text[:100]}…"


def _all_values(value: Any) -> Iterator[tuple[Any, int]]:
    """All that is in nested settings, names included, and how deep it lies; without recursion, which ends."""
    waiting = [iter([value])]
    while waiting:
        for each in waiting[-1]:
            yield each, len(waiting)
            if isinstance(each, Mapping):
                waiting.append(iter([part for item in each.items() for part in item]))
                break
            if isinstance(each, list | tuple):
                waiting.append(iter(each))
                break
        else:
            waiting.pop()


def _fault(value: Any) -> str:
    """What is wrong with one value of settings; nothing of a good one."""
    kind = type(value)
    if kind is str:
        if len(value) > LONGEST_TEXT:
            return f"a text of {len(value)} characters, more than {LONGEST_TEXT}: {shown(value)}"
        if "${" in value or value == "???":
            return f"{shown(value)}, which would be interpolated and could stand for anything"
    elif kind is int:
        if abs(value) > LARGEST_WHOLE:
            return f"a whole number of more than {LARGEST_WHOLE}"
    elif kind is float:
        if not math.isfinite(value):
            return f"the number {value}"
    elif isinstance(value, Mapping):
        if any(type(name) is not str for name in value):
            return "a setting whose name is no text"
    elif not (value is None or kind is bool or kind is list or kind is tuple):
        return f"a {kind.__name__}, which is no plain value"
    return ""
