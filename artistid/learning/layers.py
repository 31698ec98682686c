"""Layers that take the place of torch's: they give the same, or draw the same share, and sooner."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import nn

POOLED_BLOCK = (nn.Conv2d, nn.ELU, nn.BatchNorm2d, nn.MaxPool2d)


def use_fast_layers(network: nn.Module) -> nn.Module:
    """Put fast layers in place of a network's own, whose parameters and names they keep."""
    for name, child in network.named_children():
        setattr(network, name, _fast(use_fast_layers(child)))
    return network


def _fast(module: nn.Module) -> nn.Module:
    fast = module
    if type(module) is nn.Dropout:
        fast = FastDropout(module.p)
    elif _is_pooled_block(module):
        fast = PooledBlock(*module.children())
    fast.training = module.training  # of itself alone: what is in it may be frozen
    return fast


def _is_pooled_block(module: nn.Module) -> bool:
    if type(module) is not nn.Sequential or tuple(map(type, module))[: len(POOLED_BLOCK)] != POOLED_BLOCK:
        return False
    norm = cast(nn.BatchNorm2d, module[2])
    return norm.affine and norm.track_running_stats


class PooledBlock(nn.Sequential):
    """Convolution, ELU, batch norm, max pooling and what follows; out of training they give the same in another order.

    ELU never falls, and batch norm with fixed statistics either never falls or never rises: so of each pool one value
    alone decides, the largest, or the smallest where the channel's weight is negative. Pooled at once, ELU and batch
    norm are left with that one. A sign given to the convolution makes the smallest the largest.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images ``(batch, channel, height, width)``."""
        convolution, elu, norm, pool, *others = cast(Iterable[Any], self)
        if self.training or norm.training:
            return super().forward(x)
        sign = torch.where(norm.weight < 0, -1.0, 1.0)
        bias = None if convolution.bias is None else convolution.bias * sign
        x = convolution._conv_forward(x, convolution.weight * sign[:, None, None, None], bias)
        x = norm(elu(pool(x) * sign[:, None, None].to(x.dtype)))
        for layer in others:
            x = layer(x)
        return x


class FastDropout(nn.Dropout):
    """Dropout that draws sixteen random bits for a value; on GPUs it is torch's.

    On CPUs torch draws a double for each value, one after the other in one thread: a sixth of a training step. The
    share dropped is ``p`` to the nearest of 65,536 parts, and what is kept is scaled by exactly that share.
    """

    PARTS = 1 << 16

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Values of any shape, in any floating type."""
        dropped = round(self.p * self.PARTS)
        if not self.training or x.device.type != "cpu" or not 0 < dropped < self.PARTS:
            return super().forward(x)
        kept = _random_int16(x) >= dropped - self.PARTS // 2
        return x * kept.to(x.dtype).mul_(self.PARTS / (self.PARTS - dropped))


def _random_int16(like: torch.Tensor) -> torch.Tensor:
    """Uniform random int16 in the shape and memory layout of a tensor, four of each draw."""
    draws = torch.empty(-(-like.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    return draws.view(torch.int16).as_strided(like.shape, torch.empty_like(like).stride())
