"""What a checkpoint may contain: which classes it may name, and how large its settings may be.

It may come from anywhere. It may name classes of this package and of packages that the command line trusts
(``trust=[mynet]``); a file cannot extend that. Its settings determine what is allocated, so each has bounds, which hold
for training as well: every network that can be trained can be opened.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_object
from omegaconf import DictConfig

from artistid.errors import ArtistidError

MOST_DEPTH = 16  # of nested lists and dicts
MOST_VALUES = 8_000_000  # of all settings together; a library of a million songs has three for each
LONGEST_TEXT = 4096  # characters, as of a path
LONGEST_ARTIST_NAME = 1000  # of an artist
LARGEST_WHOLE = 2**63 - 1

# Smallest and largest value of each number; whether it must be whole is up to its class.
BOUNDS: Mapping[str, tuple[float, float]] = {
    "features.sample_rate": (1000, 384_000),  # Hz
    "features.n_fft": (16, 65_536),
    "features.hop_length": (16, 65_536),
    "features.n_mels": (1, 1024),
    "features.lowest": (1, 127),  # MIDI number
    "features.n_pitches": (1, 127),
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
MOST_VALUES_PER_S = 65_536  # in the rows of a second of audio; 4,000 with the paper's log-mel


def check_bound(name: str, value: Any) -> None:
    """Raises ArtistidError for a number outside the bounds of its setting."""
    lowest, highest = BOUNDS[name]
    if not isinstance(value, int | float) or isinstance(value, bool) or not lowest <= value <= highest:
        raise ArtistidError(f"{name}={shown(value)}: expected a number from {lowest:g} to {highest:g}")


def check_plain(value: Any, what: str) -> None:
    """Raises ArtistidError unless settings are dicts, lists and plain values, limited in number and depth.

    Interpolations are refused, and so is OmegaConf's mark of a missing value. Shared nodes, of which a small pickle can
    make billions, count as often as they are reached.
    """
    for number, (each, depth) in enumerate(_all_values(value), start=1):
        if number > MOST_VALUES:
            raise ArtistidError(f"{what} has more than {MOST_VALUES} values")
        if depth > MOST_DEPTH:
            raise ArtistidError(f"{what} has more than {MOST_DEPTH} levels of lists and dicts")
        if fault := _fault(each):
            raise ArtistidError(f"{what} has {fault}")


def shown(value: Any) -> str:
    """A file's value for a message: in one line, without control characters, cut if long."""
    if isinstance(value, list | tuple | Mapping):
        return f"{type(value).__name__} of {len(value)}"
    text = repr(value[:100] if isinstance(value, str | bytes) else value)
    return text if len(text) <= 100 else f"{text[:100]}…"


def _all_values(value: Any) -> Iterator[tuple[Any, int]]:
    """All values in nested settings, names included, and their depths; without recursion, whose depth is limited."""
    waiting = [iter([value])]
    while waiting:
        for nested in waiting[-1]:
            yield nested, len(waiting)
            if isinstance(nested, Mapping):
                waiting.append(iter([part for item in nested.items() for part in item]))
                break
            if isinstance(nested, list | tuple):
                waiting.append(iter(nested))
                break
        else:
            waiting.pop()


def _fault(value: Any) -> str:
    """What is wrong with one value of settings; empty for a good one."""
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
            return "a setting whose name is not text"
    elif not (value is None or kind is bool or kind is list or kind is tuple):
        return f"a {kind.__name__}, which is not a plain value"
    return ""


Trust = Sequence[str]

PACKAGE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


def trusted(config: DictConfig) -> Trust:
    """The packages that ``trust`` names.

    Raises:
        ArtistidError: it is not a list of packages, or comes from a settings file.
    """
    packages = check_trust(config.get("trust") or [])
    if packages and HydraConfig.initialized() and not _on_command_line():
        raise ArtistidError(
            f"trust={list(packages)} comes from a settings file: trust=[…] is accepted on the command line only"
        )
    return packages


def _on_command_line() -> bool:
    hydra = HydraConfig.get()
    said = any(override.lstrip("+").startswith("trust=") for override in hydra.overrides.task)
    return said and "trust" not in (hydra.sweeper.get("params") or {})


def check_trust(packages: Any) -> Trust:
    """The same packages; raises ArtistidError unless it is a list of names of packages."""
    if isinstance(packages, str):
        raise ArtistidError(f"trust={packages} is not a list: write trust=[{packages}]")
    for package in packages:
        if not isinstance(package, str) or not PACKAGE.fullmatch(package):
            raise ArtistidError(f"trust: {shown(package)} is not the name of a package, such as mynet")
        if package.partition(".")[0] in sys.stdlib_module_names:
            raise ArtistidError(f"trust={package}: that is part of Python itself, which a file must not call")
    return tuple(packages)


def is_within(target: str, packages: Trust) -> bool:
    """Whether a dotted name is in one of the packages, judged by the name alone."""
    return any(target.startswith(f"{package}.") for package in packages)


def find_class(target: Any, homes: Trust, trust: Trust, what: str) -> type:
    """The class that a configuration names; only trusted packages are imported.

    Args:
        target: the value of ``_target_``.
        homes: our own modules and packages that have such classes.
        trust: other packages.
        what: the kind of class expected, for the errors.

    Raises:
        ArtistidError: something of another package, or no such class.
    """
    found = _find(target, (*homes, *trust), what)
    if not isinstance(found, type):
        raise ArtistidError(f"it would call {target!r}, which is not part of artistid, nor a {what} of that package")
    return found


def find_function(target: Any, trust: Trust, what: str) -> Callable[..., Any]:
    """The function of a dotted name, in a trusted package; see :func:`find_class`."""
    return _find(target, trust, what)


def _find(target: Any, packages: Trust, what: str) -> Callable[..., Any]:
    if not isinstance(target, str) or not is_within(target, packages):
        raise ArtistidError(f"it would call {shown(target)}, which is not part of artistid{way_to_trust(target)}")
    try:
        found: Any = get_object(target)
    except Exception as error:  # Hydra raises what an import raised
        cause = error.__cause__ or error
        raise ArtistidError(f"{target} cannot be found: {type(cause).__name__}: {cause}") from error
    # What a module imports can be reached by its name, too.
    if not callable(found) or not is_within(f"{getattr(found, '__module__', '')}.", packages):
        raise ArtistidError(f"it would call {target!r}, which is not part of artistid: its package has no such {what}")
    return found


def way_to_trust(target: Any) -> str:
    """For an error: how to trust a package, if it is one that may be."""
    package = target.partition(".")[0] if isinstance(target, str) else ""
    foreign = PACKAGE.fullmatch(package) and package != "artistid" and package not in sys.stdlib_module_names
    return f"; if you know {shown(package)}, trust=[{package[:50]}] lets it be used" if foreign else ""
