"""Fused kernels for ELU, batch norm, max pooling and dropout in training on CPUs.

Run one after the other, these layers read and write a block's largest images a dozen times and are bound by memory: a
third of a training step. Here a convolution's output is read once in the forward pass, for batch norm's statistics and
each pool's value, and once in the backward pass. Batch norm and dropout then apply to pooled values only, since ELU and
batch norm are monotonic (see :mod:`.layers`).

Images are stored channels last and seen as ``(batch, height, width, channel)``: float32, or bfloat16 as the uint16
that holds its bits, converted to float32 for computation. The innermost loop runs over channels, which the compiler
vectorises. Sums are taken item by item, so that they do not depend on the number of threads.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numba
import numpy as np
import torch
from numba.extending import overload
from torch import nn
from torch.autograd.function import once_differentiable

from artistid.compilation import numba_cache

DTYPES = (torch.float32, torch.bfloat16)
Array = np.ndarray[Any, Any]

INT, FLOAT, UINT = np.int32, np.float32, np.uint32
ZERO, ONE = FLOAT(0), FLOAT(1)


def _compiled(function: Callable[..., None]) -> Callable[..., None]:
    """Compiled and cached once per machine and array type, see :func:`rehearse`."""
    with numba_cache(__name__):
        return numba.njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")(function)


def _value(stored: Any) -> Any:
    """An image's stored value as float32."""


@overload(_value)
def _value_of(stored: Any) -> Any:
    def bfloat16(stored: Any) -> Any:
        return INT(INT(stored) << 16).view(FLOAT)

    def float32(stored: Any) -> Any:
        return stored

    return bfloat16 if stored == numba.types.uint16 else float32


def _stored(value: Any, like: Any) -> Any:
    """A float32 in the storage type of ``like``, rounded to nearest."""


@overload(_stored)
def _stored_as(value: Any, like: Any) -> Any:
    def bfloat16(value: Any, like: Any) -> Any:
        bits = FLOAT(value).view(INT)
        rounded = np.uint16((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16)
        return np.uint16(0x7FC0) if value != value else rounded  # NaN's bits must not be rounded to another number's

    def float32(value: Any, like: Any) -> Any:
        return FLOAT(value)

    return bfloat16 if like == numba.types.uint16 else float32


@numba.njit(inline="always")
def _expm1(x: Any) -> Any:
    """exp(x) - 1 for x <= 0, to 1e-7: a polynomial about the nearest power of 2."""
    x = max(x, FLOAT(-30))
    n = np.floor(x * FLOAT(1.44269504) + FLOAT(0.5))
    r = x - n * FLOAT(0.693359375) + n * FLOAT(2.12194440e-4)  # x - n log 2, in two parts
    p = FLOAT(1 / 5040)
    p = p * r + FLOAT(1 / 720)
    p = p * r + FLOAT(1 / 120)
    p = p * r + FLOAT(1 / 24)
    p = p * r + FLOAT(1 / 6)
    p = p * r + FLOAT(1 / 2)
    p = p * r * r + r
    power = INT((INT(n) + 127) << 23).view(FLOAT)
    return power * p + (power - ONE)


@numba.njit(inline="always")
def _elu(v: Any) -> Any:
    x = _expm1(v if v < ZERO else ZERO)
    return x if v < ZERO else v  # NaN stays NaN


@numba.njit(inline="always")
def _random(index: Any, seed: Any) -> Any:
    """32 random bits for an index: a hash finalizer, which needs no state and so no order."""
    h = UINT(index + seed[0])
    h = UINT((h ^ (h >> 16)) * 0x7FEB352D)
    h = UINT(h + seed[1])
    h = UINT((h ^ (h >> 15)) * 0x846CA68B)
    return UINT(h ^ (h >> 16))


@_compiled
def _pool(images: Array, pooled: Array, place: Array, sums: Array, sign: Array, height: int, width: int) -> None:
    """For each pool, the deciding value and its position; for each item, the sums of ELU and of its square."""
    n, rows, columns, channels = images.shape
    first = np.empty(channels, FLOAT)
    second = np.empty(channels, FLOAT)
    best = np.empty((columns // width, channels), FLOAT)
    for item in range(n):
        sums[item] = 0
        for row in range(rows):
            up, i = row // height, row % height
            first[:] = 0
            second[:] = 0
            if i == 0:
                best[:] = -np.inf
            for column in range(columns):
                left, j = column // width, column % width
                stored = images[item, row, column]
                for c in range(channels):
                    e = _elu(_value(stored[c]))
                    first[c] += e
                    second[c] += e * e
                if up < pooled.shape[1] and left < pooled.shape[2]:
                    here, at, most = np.uint8(i * width + j), place[item, up, left], best[left]
                    for c in range(channels):
                        v = _value(stored[c]) * sign[c]
                        larger = v > most[c]
                        most[c] = v if larger else most[c]
                        at[c] = here if larger else at[c]
            for c in range(channels):
                sums[item, 0, c] += first[c]
                sums[item, 1, c] += second[c]
            if i == height - 1 and up < pooled.shape[1]:
                for left in range(pooled.shape[2]):
                    to = pooled[item, up, left]
                    for c in range(channels):
                        to[c] = _stored(best[left, c] * sign[c], to[c])


@_compiled
def _normalise(
    pooled: Array, items: Array, out: Array, slope: Array, shift: Array, seed: Array, dropped: int, scale: float
) -> None:
    """ELU, batch norm and dropout of the pooled values."""
    n, rows, columns, channels = pooled.shape
    for item in range(n):
        for row in range(rows):
            for column in range(columns):
                index = ((items[item] * rows + row) * columns + column) * channels
                stored, to = pooled[item, row, column], out[item, row, column]
                for c in range(channels):
                    normalised = slope[c] * _elu(_value(stored[c])) + shift[c]
                    kept = _random(index + c, seed) >= dropped
                    to[c] = _stored(normalised * scale if kept else ZERO, stored[c])


@_compiled
def _normalise_backward(
    pooled: Array, items: Array, grad: Array, kept: Array, sums: Array, seed: Array, dropped: int, scale: float
) -> None:
    """The gradient that dropout passes; for each item, its sum and the sum of its product with ELU."""
    n, rows, columns, channels = pooled.shape
    first = np.empty(channels, FLOAT)
    second = np.empty(channels, FLOAT)
    for item in range(n):
        sums[item] = 0
        for row in range(rows):
            first[:] = 0
            second[:] = 0
            for column in range(columns):
                index = ((items[item] * rows + row) * columns + column) * channels
                stored, by, to = pooled[item, row, column], grad[item, row, column], kept[item, row, column]
                for c in range(channels):
                    through = _random(index + c, seed) >= dropped
                    g = _value(by[c]) * scale if through else ZERO
                    first[c] += g
                    second[c] += g * _elu(_value(stored[c]))
                    to[c] = _stored(g, stored[c])
            for c in range(channels):
                sums[item, 0, c] += first[c]
                sums[item, 1, c] += second[c]


@_compiled
def _pool_backward(
    images: Array,
    kept: Array,
    place: Array,
    grad: Array,
    slope: Array,
    level: Array,
    tilt: Array,
    height: int,
    width: int,
) -> None:
    """The gradient of the images: from the pools and from batch norm's statistics, both through ELU."""
    n, rows, columns, channels = images.shape
    for item in range(n):
        for row in range(rows):
            up, i = row // height, row % height
            for column in range(columns):
                left, j = column // width, column % width
                stored, to = images[item, row, column], grad[item, row, column]
                if up < kept.shape[1] and left < kept.shape[2]:
                    here, at, by = np.uint8(i * width + j), place[item, up, left], kept[item, up, left]
                    for c in range(channels):
                        v = _value(stored[c])
                        e = _elu(v)
                        g = level[c] + tilt[c] * e + (slope[c] * _value(by[c]) if at[c] == here else ZERO)
                        to[c] = _stored(g * (e + ONE) if v < ZERO else g, stored[c])
                else:
                    for c in range(channels):
                        v = _value(stored[c])
                        e = _elu(v)
                        g = level[c] + tilt[c] * e
                        to[c] = _stored(g * (e + ONE) if v < ZERO else g, stored[c])


class Dropping(NamedTuple):
    """One draw of a dropout mask."""

    seed: Array  # (2,) uint32
    dropped: np.uint32  # how many of the 2 ** 32 possible draws drop a value
    scale: np.float32  # factor for the kept values

    @classmethod
    def draw(cls, p: float) -> Dropping:
        """A draw from torch's generator, so that a seed repeats it."""
        seed = torch.randint(2**32, (2,)).numpy().astype(UINT)
        return cls(seed, UINT(min(round(p * 2**32), 2**32 - 1)), FLOAT(1 / (1 - p)))


class EluNormPoolDrop(torch.autograd.Function):
    """See :func:`elu_norm_pool_drop`."""

    @staticmethod
    def forward(
        ctx: Any,
        images: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        norm: nn.BatchNorm2d,
        p: float,
        *pool: int,
    ) -> torch.Tensor:
        n, channels, rows, columns = images.shape
        height, width = pool
        shape = (n, channels, rows // height, columns // width)
        pooled = torch.empty(shape, dtype=images.dtype, memory_format=torch.channels_last)
        place = torch.empty(shape, dtype=torch.uint8, memory_format=torch.channels_last)
        sums = np.empty((n, 2, channels))
        sign = torch.where(weight < 0, -1.0, 1.0).numpy()
        _share(_pool, (_array(images), _array(pooled), _array(place), sums), sign, height, width)
        count = n * rows * columns
        mean, squares = torch.from_numpy(sums.sum(0) / count)
        variance = squares - mean**2
        _remember(norm, mean, variance * (count / (count - 1)))
        inverse = (variance + norm.eps).rsqrt().float()
        mean = mean.float()
        slope = weight.detach() * inverse
        drop = Dropping.draw(p)
        out = torch.empty_like(pooled)
        shift = (bias.detach() - mean * slope).numpy()
        _share(_normalise, (_array(pooled), np.arange(n), _array(out)), slope.numpy(), shift, *drop)
        ctx.save_for_backward(images, pooled, place, mean, inverse, slope)
        ctx.drop, ctx.pool = drop, pool
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        images, pooled, place, mean, inverse, slope = ctx.saved_tensors
        n, channels, rows, columns = images.shape
        grad = grads[0].contiguous(memory_format=torch.channels_last)
        kept, sums = torch.empty_like(pooled), np.empty((n, 2, channels))
        items = np.arange(n)
        _share(_normalise_backward, (_array(pooled), items, _array(grad), _array(kept), sums), *ctx.drop)
        of_bias, of_product = torch.from_numpy(sums.sum(0)).float()
        of_weight = (of_product - mean * of_bias) * inverse
        # Through each value's effect on mean and variance: (e - mean) * tilt - slope * of_bias / count
        count = n * rows * columns
        tilt = -slope * inverse * of_weight / count
        level = -slope * of_bias / count - mean * tilt
        of_images = None
        if ctx.needs_input_grad[0]:
            of_images = torch.empty_like(images)
            per_item = _array(images), _array(kept), _array(place), _array(of_images)
            _share(_pool_backward, per_item, slope.numpy(), level.numpy(), tilt.numpy(), *ctx.pool)
        return of_images, of_weight, of_bias, None, None, None, None


def elu_norm_pool_drop(images: torch.Tensor, norm: nn.BatchNorm2d, pool: nn.MaxPool2d, p: float) -> torch.Tensor:
    """Apply ELU, batch norm in training, max pooling and dropout to images.

    Of equal values in a pool, the first is chosen and gets the gradient. Dropout draws by a hash.

    Args:
        images: ``(batch, channel, height, width)``, for which :func:`can_take` is true.
        norm: its running statistics are updated.
        pool: accepted by :func:`can_take`.
        p: share of values dropped, below 1.
    """
    height, width = _pair(pool.kernel_size)
    out = EluNormPoolDrop.apply(images, norm.weight, norm.bias, norm, p, height, width)
    assert isinstance(out, torch.Tensor)
    return out


def rehearse() -> None:
    """Compile all kernels, for images of both types."""
    for dtype in DTYPES:
        images = torch.zeros(1, 1, 2, 2, dtype=dtype).to(memory_format=torch.channels_last).requires_grad_()
        elu_norm_pool_drop(images, nn.BatchNorm2d(1), nn.MaxPool2d(2), p=0.5).sum().backward()


def can_take(images: torch.Tensor, elu: nn.ELU, norm: nn.BatchNorm2d, pool: nn.MaxPool2d, p: float) -> bool:
    """Whether :func:`elu_norm_pool_drop` can replace these layers, for images on the CPU, channels last."""
    plain_pool = (_pair(pool.stride), _pair(pool.padding), _pair(pool.dilation), pool.ceil_mode, pool.return_indices)
    height, width = _pair(pool.kernel_size)
    return (
        not torch.compiler.is_compiling()  # which fuses by itself, and cannot trace this
        and images.dtype in DTYPES
        and images.numel() > images.shape[1]  # a single value has no variance
        and elu.alpha == 1
        and p < 1
        and norm.weight.dtype == torch.float32
        and norm.momentum is not None
        and plain_pool == ((height, width), (0, 0), (1, 1), False, False)
        and height * width <= np.iinfo(np.uint8).max
        and images.shape[2] >= height
        and images.shape[3] >= width
        and _openmp() is not None
    )


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def _remember(norm: nn.BatchNorm2d, mean: torch.Tensor, variance: torch.Tensor) -> None:
    """Update the running statistics as batch norm does."""
    assert norm.momentum is not None
    assert norm.num_batches_tracked is not None
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.num_batches_tracked.add_(1)
    norm.running_mean.lerp_(mean.float(), norm.momentum)
    norm.running_var.lerp_(variance.float(), norm.momentum)


def _array(images: torch.Tensor) -> Array:
    """The memory of images, channels last."""
    seen = images.detach().permute(0, 2, 3, 1)
    array: Array = (seen.view(torch.uint16) if seen.dtype == torch.bfloat16 else seen).numpy()
    return array


def _share(kernel: Callable[..., None], per_item: tuple[Array, ...], *others: Any) -> None:
    """Run a kernel on items, divided among torch's threads."""
    kernel(*(array[:0] for array in per_item), *others)  # compiles if needed
    openmp = _openmp()
    assert openmp is not None
    failed: list[BaseException] = []

    def one_share(_: Any) -> None:
        try:
            share = -(-len(per_item[0]) // openmp.omp_get_num_threads())
            first = openmp.omp_get_thread_num() * share
            kernel(*(array[first : first + share] for array in per_item), *others)
        except BaseException as error:  # it would be lost: the caller is not Python
            failed.append(error)

    openmp.GOMP_parallel(_BODY(one_share), None, torch.get_num_threads(), 0)
    if failed:
        raise failed[0]


_BODY = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


@cache
def _openmp() -> ctypes.CDLL | None:
    """GNU OpenMP, whose threads torch uses where it was built with it.

    Separate threads would compete with them: after each torch operation they spin on their cores for some milliseconds,
    waiting for the next one.
    """
    try:
        library = ctypes.CDLL("libgomp.so.1", mode=os.RTLD_NOLOAD)  # only if torch has loaded it
    except (OSError, AttributeError):
        return None
    library.GOMP_parallel.argtypes = (_BODY, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
    library.GOMP_parallel.restype = None
    return library
