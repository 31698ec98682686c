"""How a network is run on this machine: precision, memory format, determinism. The networks know nothing of it."""

from __future__ import annotations

import ctypes
import logging
import sys

import torch
from torch import nn

log = logging.getLogger(__name__)

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h


def choose_precision(precision: str, accelerator: str) -> str:
    """Lightning's name of the precision to use: what ``trainer.precision`` says, or for ``auto`` what is fast here.

    bfloat16 where the processor computes in it natively; elsewhere it would be emulated, slower than single precision.
    """
    if precision != "auto":
        return precision
    on_gpu = accelerator in ("cuda", "gpu") or (accelerator == "auto" and torch.cuda.is_available())
    if on_gpu:
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        capabilities = torch.cpu.get_capabilities()
        native = bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    chosen = "bf16-mixed" if native else "32-true"
    log.info(
        "precision: %s (%s)", chosen, "the processor computes in bfloat16" if native else "no native bfloat16 here"
    )
    return chosen


def prepare_network(network: nn.Module) -> nn.Module:
    """Channels last: convolutions in bfloat16 run several times faster so on CPUs, and no slower elsewhere."""
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def set_up_process() -> None:
    """Once per process, before training or testing: repeatable kernels, and memory that is kept from batch to batch."""
    # Lightning switches deterministic kernels on; filling every new tensor with NaN as well only costs time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if sys.platform == "linux":
        try:
            libc = ctypes.CDLL("libc.so.6")
            # Activations of some ten MB would be given back to the system, and their pages zeroed anew, at every step.
            libc.mallopt(M_MMAP_THRESHOLD, 1 << 30)
            libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        except (OSError, AttributeError):  # another C library
            pass


def device_name() -> str:
    """What this process computes on by default, in words."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{torch.cpu.get_capabilities().get('cpu_name', 'CPU')}, {torch.get_num_threads()} threads"
