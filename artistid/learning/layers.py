"""Faster replacements for torch's layers, with the same results."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import nn

POOLED_BLOCK = (nn.Conv2d, nn.ELU, nn.BatchNorm2d, nn.MaxPool2d)


def use_fast_layers(network: nn.Module) -> nn.Module:
    """Replace layers of a network by faster ones, which keep the parameters and their names."""
    for name, child in network.named_children():
        setattr(network, name, _fast(use_fast_layers(child)))
    return network


def _fast(module: nn.Module) -> nn.Module:
    if not _is_pooled_block(module):
        return module
    fast = PooledBlock(*module.children())
    fast.training = module.training  # not train(mode): layers in it may be frozen
    return fast


def _is_pooled_block(module: nn.Module) -> bool:
    if type(module) is not nn.Sequential or tuple(map(type, module))[: len(POOLED_BLOCK)] != POOLED_BLOCK:
        return False
    norm = cast(nn.BatchNorm2d, module[2])
    return norm.affine and norm.track_running_stats


class PooledBlock(nn.Sequential):
    """Convolution, ELU, batch norm, max pooling and following layers such as dropout, computed in a faster order.

    ELU and batch norm are monotonic: each pool's result depends on its largest value alone, or on its smallest where
    the channel's weight is negative. So pooling comes first, and ELU and batch norm see pooled values only. Negating
    the convolution turns the smallest value into the largest.

    In training, batch norm needs statistics of all values; there :mod:`.kernels` fuse the block where they can.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images ``(batch, channel, height, width)``."""
        convolution, elu, norm, pool, *others = cast(Iterable[Any], self)
        if norm.training:
            x, others = self._of_all_values(x, others)
        else:
            sign = torch.where(norm.weight < 0, -1.0, 1.0)
            bias = None if convolution.bias is None else convolution.bias * sign
            x = convolution._conv_forward(x, convolution.weight * sign[:, None, None, None], bias)
            x = norm(elu(pool(x) * sign[:, None, None].to(x.dtype)))
        for layer in others:
            x = layer(x)
        return x

    def _of_all_values(self, x: torch.Tensor, others: list[nn.Module]) -> tuple[torch.Tensor, list[nn.Module]]:
        """The block in training, and the following layers that are still to be applied."""
        convolution, elu, norm, pool, *_ = cast(Iterable[Any], self)
        x = convolution(x)
        if x.device.type != "cpu" or not x.is_contiguous(memory_format=torch.channels_last):
            return pool(norm(elu(x))), others  # no kernels are compiled for these
        from artistid.learning import kernels  # here, so that inference needs no compiler

        drops = len(others) > 0 and type(others[0]) is nn.Dropout
        p = cast(nn.Dropout, others[0]).p if drops and others[0].training else 0.0
        if not kernels.can_take(x, elu, norm, pool, p):
            return pool(norm(elu(x))), others
        return kernels.elu_norm_pool_drop(x, norm, pool, p), others[1:] if drops else others
