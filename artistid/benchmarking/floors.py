"""How fast a step could be: what it computes and moves, and what the device can at most."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

REPEATS = 5


class Traffic(TorchDispatchMode):
    """Counts the bytes that operations read and write, views apart: each its arguments and results once."""

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
    """Operations per second of a large matrix product: what this device really gives."""
    size = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return 2 * size**3 / _seconds(lambda: a @ b)


def bandwidth(device: torch.device) -> float:
    """Bytes per second, read and written, of copying what no cache holds."""
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
