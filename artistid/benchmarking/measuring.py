"""Figures: measured several times, in turn with what they are compared with, and told with their spread."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from artistid.learning.acceleration import device_name
from artistid.runs.provenance import revision

PACKAGES = ("torch", "torchaudio", "lightning", "numpy")


@dataclass(frozen=True)
class Figure:
    """One quantity.

    Attributes:
        name: with its unit, as ``clips_per_s``.
        values: one per round.
        peer: name of what was measured in turn with it; empty without one.
        peer_values: one per round, of the same quantity.
    """

    name: str
    values: tuple[float, ...]
    peer: str = ""
    peer_values: tuple[float, ...] = ()

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def ratios(self) -> tuple[float, ...]:
        """Ours to the peer's, round by round: what disturbs the machine for longer than a round disturbs both."""
        return tuple(own / other for own, other in zip(self.values, self.peer_values, strict=True)) if self.peer else ()

    def plain(self) -> dict[str, Any]:
        """The median under the figure's own name, and beside it the spread and the peer's."""
        told: dict[str, Any] = {self.name: _round(self.median), f"{self.name}_range": _range(self.values)}
        if self.peer:
            told["peer"] = {
                "name": self.peer,
                self.name: _round(statistics.median(self.peer_values)),
                f"{self.name}_range": _range(self.peer_values),
                "ratio": _round(statistics.median(self.ratios)),
                "ratio_range": _range(self.ratios),
            }
        return told


def _round(value: float) -> float:
    return float(f"{value:.4g}")


def _range(values: Sequence[float]) -> list[float]:
    return [_round(min(values)), _round(max(values))]


def spread(values: Sequence[float]) -> str:
    """Median and range in words, three digits of each."""
    low, middle, high = (
        f"{value:.3g}" if value < 1000 else f"{value:.0f}"
        for value in (min(values), statistics.median(values), max(values))
    )
    return f"{middle} ({low} to {high})" if len(values) > 1 else middle


def in_turn(rounds: int, *measurements: Callable[[], Any]) -> list[list[Any]]:
    """Take all measurements, one after the other, as often as there are rounds; a list of rounds for each."""
    taken = [[measure() for measure in measurements] for _ in range(rounds)]
    return [list(values) for values in zip(*taken, strict=True)]


def seconds_of(work: Callable[[], Any]) -> float:
    """How long something takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    return {
        "device": device_name(),
        "processor": _processor(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
        "revision": revision(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(models)} x {models[0]}" if models else platform.processor()


def memory_mb(process: str = "self") -> float | None:
    """Memory of a process that is its own, the page cache apart, in MB; None where the system does not tell."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    fields = dict(line.split(":", 1) for line in lines)
    return int(fields["RssAnon"].split()[0]) / 1000
