"""The paper's network: a convolutional recurrent neural network (Nasrullah & Zhao 2019, III-D and Fig. 2).

An adaptation to artists of Choi et al., "Convolutional recurrent neural networks for music classification", ICASSP
2017.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from artistid.errors import ArtistidError, counted
from artistid.models.embedding import ClipNetwork
from artistid.models.heads import make_head
from artistid.models.normalisation import BATCH_NORM_EPS, BATCH_NORM_MOMENTUM, make_normalisation

FILTERS = (64, 128, 128, 128)
MEL_POOLS = (2, 4, 4, 4)  # 128 mel bins become 1


class CRNN(ClipNetwork):
    """Four convolutional blocks over mel and time, two GRUs over time, and a linear layer to the artists.

    393,364 trainable parameters for 20 artists.

    Args:
        n_artists: number of classes.
        n_features: columns of the input, mel bins; the pooling layers need 128.
        recurrent_units: units of each GRU, the size of the bottleneck.
        conv_dropout, dropout: share of values dropped after each block, and before the linear layer; single values,
            not channels.
        width: number of filters in each block, as a multiple of the paper's.
        time_pools: pool size over time in each block. The paper's pool time by 16, and it names less temporal pooling
            as future work; with smaller numbers in the first blocks, pooling happens late.
        normalisation: see :func:`artistid.models.normalisation.make_normalisation`.
        head: see :func:`artistid.models.heads.make_head`.
    """

    def __init__(
        self,
        n_artists: int,
        n_features: int = 128,
        recurrent_units: int = 32,
        conv_dropout: float = 0.1,
        dropout: float = 0.3,
        width: float = 1.0,
        time_pools: Sequence[int] = (2, 2, 2, 2),
        normalisation: str = "batch",
        head: str = "linear",
    ) -> None:
        super().__init__()
        pooled = math.prod(MEL_POOLS)
        if n_features != pooled:
            raise ArtistidError(
                f"the CRNN pools {pooled} mel bins into one: the features have {counted(n_features, 'column')}"
            )
        if len(time_pools) != len(FILTERS) or min(time_pools) < 1:
            raise ArtistidError(
                f"model.network.time_pools={list(time_pools)}: expected {len(FILTERS)} whole numbers from 1, one for "
                "each block"
            )
        filters = [round(width * n) for n in FILTERS]
        if min(filters) < 1:
            raise ArtistidError(f"model.network.width={width} leaves a block without filters: expected a larger one")
        self.shortest = math.prod(time_pools)  # frames
        self.normalise = make_normalisation(normalisation, n_features)
        self.convolutions = nn.Sequential(
            *(
                _block(n_in, n_out, pool, conv_dropout)
                for n_in, n_out, pool in zip(
                    (1, *filters), filters, zip(MEL_POOLS, time_pools, strict=True), strict=False
                )
            )
        )
        self.recurrence = nn.GRU(filters[-1], recurrent_units, num_layers=2, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.classify = make_head(head, recurrent_units, n_artists)
        self.apply(_initialise_like_keras)

    @property
    def stages(self) -> dict[str, nn.Module]:
        """Parts that thaw together in fine-tuning, from the input to the head; the first includes normalisation."""
        first, *others = self.convolutions
        blocks = (nn.ModuleList([self.normalise, first]), *others)
        convolutions = {f"convolution{number}": block for number, block in enumerate(blocks, start=1)}
        return {**convolutions, "recurrence": self.recurrence, "head": self.classify}

    def bottleneck(self, features: torch.Tensor) -> torch.Tensor:
        """The vector (batch, recurrent_units) that summarises a clip: the last state of the second GRU (paper, Fig. 3).

        Args:
            features: log-mel ``(batch, mel, time)`` in dB; for the paper's network at least 16 frames.
        """
        if features.shape[-1] < self.shortest:
            raise ArtistidError(
                f"the CRNN pools time by {self.shortest}; a clip of {counted(features.shape[-1], 'frame')} is too short"
            )
        x = self.normalise(features)  # (batch, mel, time)
        x = self.convolve(x.unsqueeze(1))  # (batch, channel, 1, time / 16)
        x = x.squeeze(2).transpose(1, 2)  # (batch, time / 16, channel)
        states, _ = self.recurrence(x)  # (batch, time / 16, recurrent_units)
        return states[:, -1]

    def convolve(self, images: torch.Tensor) -> torch.Tensor:
        """All blocks, from ``(batch, 1, mel, time)`` to ``(batch, channel, 1, time / 16)``."""
        x: torch.Tensor = self.convolutions(images)
        return x


def _block(n_in: int, n_out: int, pool: tuple[int, int], dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, kernel_size=3, padding="same"),
        nn.ELU(inplace=True),  # its gradient needs only the output
        nn.BatchNorm2d(n_out, eps=BATCH_NORM_EPS, momentum=BATCH_NORM_MOMENTUM),
        nn.MaxPool2d(pool),
        nn.Dropout(dropout),
    )


def _initialise_like_keras(module: nn.Module) -> None:
    """Glorot-uniform weights, orthogonal recurrent weights, zero biases."""
    if isinstance(module, nn.Conv2d | nn.Linear | nn.GRU):
        for name, parameter in module.named_parameters():
            if parameter.is_meta:  # shapes only; torch would take two seconds to draw nothing
                continue
            if "bias" in name:
                nn.init.zeros_(parameter)
            elif "weight_hh" in name:
                nn.init.orthogonal_(parameter)
            else:
                # A GRU's gates share one matrix, in Keras as here, which is initialised as a whole.
                nn.init.xavier_uniform_(parameter)
