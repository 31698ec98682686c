"""Figures: measured several times, in turn with what they are compared with, and reported with their spread.

Also counts the operations and bytes of a step, and measures how many of each the device manages per second.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from artistid.learning.acceleration import device_name
from artistid.runs.provenance import revision

VERSIONED_PACKAGES = ("torch", "torchaudio", "lightning", "numpy")


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
        """Ours to the peer's, round by round: a disturbance that outlasts a round affects both."""
        return tuple(own / other for own, other in zip(self.values, self.peer_values, strict=True)) if self.peer else ()

    def plain(self) -> dict[str, Any]:
        """The median under the figure's own name, its range, and what it was compared with; no other figure's keys."""
        plain: dict[str, Any] = {self.name: _round(self.median), f"{self.name}_range": _range(self.values)}
        if self.peer:
            plain[f"{self.name}_peer"] = {
                "name": self.peer,
                "median": _round(statistics.median(self.peer_values)),
                "range": _range(self.peer_values),
                "ratio": _round(statistics.median(self.ratios)),
                "ratio_range": _range(self.ratios),
            }
        return plain


def _round(value: float) -> float:
    return float(f"{value:.4g}")


def _range(values: Sequence[float]) -> list[float]:
    return [_round(min(values)), _round(max(values))]


def spread(values: Sequence[float]) -> str:
    """Median and range as text, with three digits each."""
    low, middle, high = (
        f"{value:.3g}" if value < 1000 else f"{value:.0f}"
        for value in (min(values), statistics.median(values), max(values))
    )
    return f"{middle} ({low} to {high})" if len(values) > 1 else middle


def in_turn(rounds: int, *measurements: Callable[[], Any]) -> list[list[Any]]:
    """Take all measurements in turn, once per round; returns a list of rounds for each."""
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
        "versions": {name: version(name) for name in VERSIONED_PACKAGES},
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
    """Anonymous memory of a process, without the page cache, in MB; None where the system does not report it."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    fields = dict(line.split(":", 1) for line in lines)
    return int(fields["RssAnon"].split()[0]) / 1000


REPEATS = 5


class Traffic(TorchDispatchMode):
    """Counts the bytes that operations except views read and write: arguments and results once each."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = operation(*args, **(kwargs or {}))
        aliases = [output.alias_info for output in operation._schema.returns]
        if not any(alias is not None and not alias.is_write for alias in aliases):
            tensors = (leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, torch.Tensor))
            self.bytes += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        return result


def flops_and_bytes(step: Callable[[], Any]) -> tuple[int, int]:
    """Floating-point operations of the convolutions and products of a step, and the bytes that all of it moves."""
    with FlopCounterMode(display=False) as counter:
        step()
    with Traffic() as traffic:
        step()
    return counter.get_total_flops(), traffic.bytes


def peak(dtype: torch.dtype, device: torch.device) -> float:
    """Operations per second of a large matrix product: what this device achieves in practice."""
    size = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return 2 * size**3 / _seconds(lambda: a @ b)


def bandwidth(device: torch.device) -> float:
    """Bytes per second, read and written, of a copy too large for any cache."""
    source = torch.empty(1 << 28, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * source.numel() / _seconds(lambda: target.copy_(source))


def _seconds(work: Callable[[], Any]) -> float:
    """The shortest of a few times."""
    times = []
    for _ in range(REPEATS + 1):
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times[1:])
