"""How a network runs on this machine: precision, memory format, where clips are kept. Networks do not depend on it."""

from __future__ import annotations

import ctypes
import logging
import os
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from artistid.errors import counted
from artistid.learning.layers import use_fast_layers

if TYPE_CHECKING:
    from artistid.data.datamodule import ClipData  # which imports Lightning, not needed for inference

log = logging.getLogger(__name__)

MEMORY_FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
PLACES = ("auto", "device", "host")

# Share of a GPU's free memory that clips may take; the rest is for the activations of large batches.
ROOM_FOR_CLIPS = 0.5

THREAD_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h


def choose_precision(precision: str, accelerator: str) -> str:
    """Lightning's name of the precision to use: ``trainer.precision``, or for ``auto`` the fastest on this machine.

    That is bfloat16 where the hardware supports it; elsewhere it would be emulated, slower than single precision.
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


def cache_on_device(data: ClipData, device: torch.device, where: str = "auto") -> None:
    """Choose where batches are gathered.

    Args:
        data: clips, which are not on a device yet.
        device: the network's device.
        where: of :data:`PLACES`. ``device``: all clips are copied to the device once, and gathered there by index;
            ``host``: batches are sliced from the memory map, ahead of a GPU; ``auto``: on a GPU that has room for
            them, else on the host.
    """
    on_gpu = device.type == "cuda"
    if where == "auto":
        free = torch.cuda.mem_get_info(device)[0] if on_gpu else 0
        where = "device" if data.nbytes <= ROOM_FOR_CLIPS * free else "host"
        if on_gpu:
            log.info("clips: %.1f GB, %.1f GB free on the GPU: kept on the %s", data.nbytes / 1e9, free / 1e9, where)
    if where == "device":
        data.cache_on_device(device)
    elif on_gpu:
        data.prefetch()


def choose_memory_format(memory_format: str, accelerator: str) -> str:
    """The memory layout of images: ``memory_format``, or for ``auto`` the fastest on this machine.

    That is channels last, which speeds up convolutions on CPUs, in bfloat16 several times, and on NVIDIA's GPUs, but
    not on Apple's.
    """
    if memory_format != "auto":
        return memory_format
    on_mps = accelerator == "mps" or (accelerator == "auto" and torch.backends.mps.is_available())
    return "contiguous" if on_mps else "channels_last"


def prepare_network(network: nn.Module, memory_format: str = "channels_last") -> nn.Module:
    """The network, optimised: in a memory format, with the faster layers of :mod:`.layers`."""
    return use_fast_layers(network).to(memory_format=MEMORY_FORMATS[memory_format])  # type: ignore[call-overload]


def set_up_process() -> None:
    """Called once per process, before training or testing: settings that save time, but change no results."""
    # Lightning enables deterministic kernels; filling every new tensor with NaN as well would only cost time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if sys.platform == "linux":
        try:
            libc = ctypes.CDLL("libc.so.6")
            # Else activations of some ten MB are returned to the system, and their pages zeroed again, at every step.
            libc.mallopt(M_MMAP_THRESHOLD, 1 << 30)
            libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        except (OSError, AttributeError):  # another C library
            pass


def device_name(accelerator: str = "auto") -> str:
    """The name of the hardware that this process computes on, for a ``trainer.accelerator`` or by default."""
    if accelerator in ("auto", "cuda", "gpu") and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{torch.cpu.get_capabilities().get('cpu_name', 'CPU')}, {counted(torch.get_num_threads(), 'thread')}"


def threads() -> dict[str, Any]:
    """The number of threads that this process computes on, and the environment variables that set it.

    Sums divided among threads are added up in another order, and so rounded differently: the same seed need not give
    the same weights on another number of threads. In the CRNN, the GRU's matrix products (BLAS) differ between one
    thread and two in single precision from the first step on; in bfloat16 the first step was equal to the bit. joblib
    gives each of several jobs its share of the cores.
    """
    return {
        "torch": torch.get_num_threads(),
        "interop": torch.get_num_interop_threads(),
        "environment": {name: os.environ[name] for name in THREAD_SETTINGS if name in os.environ},
    }


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """The context in which Lightning's Trainer would run a network in one of its mixed precisions."""
    types = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
    return torch.autocast(device.type, types[precision]) if precision in types else nullcontext()
