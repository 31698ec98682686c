"""ECAPA-TDNN, a network for speaker verification with convolutions over time (Desplanques et al., Interspeech 2020).

Here it is trained from scratch on artists.
"""

from __future__ import annotations

import torch
from torch import nn

from artistid.errors import ArtistidError
from artistid.models.embedding import ClipNetwork
from artistid.models.heads import make_head
from artistid.models.normalisation import VectorNorm, make_normalisation

SCALE = 8  # groups of channels of a Res2Net convolution
DILATIONS = (2, 3, 4)
SQUEEZED = 128  # units of the squeeze-excitation, and of the attention
EPS = 1e-6  # of a variance, under its root


class ECAPA(ClipNetwork):
    """A convolution over time, three SE-Res2 blocks with concatenated outputs, and attentive statistics pooling.

    Args:
        n_artists: number of classes.
        n_features: columns of the input, such as mel bins; 80 in the source.
        channels: of the convolutions, a multiple of 8; 512 and 1024 in the source.
        joined_channels: after joining the three blocks' outputs; 1536 in the source.
        units: the size of the bottleneck.
        dropout: share of the bottleneck's values that are dropped; the source has none.
        normalisation: see :func:`artistid.models.normalisation.make_normalisation`; the source subtracts each
            recording's mean of each bin, which is closest to ``bins``.
        head: see :func:`artistid.models.heads.make_head`; the source has ``cosine``, with ``loss=angular_margin``.
    """

    def __init__(
        self,
        n_artists: int,
        n_features: int = 128,
        channels: int = 512,
        joined_channels: int = 1536,
        units: int = 192,
        dropout: float = 0.0,
        normalisation: str = "bins",
        head: str = "linear",
    ) -> None:
        super().__init__()
        if channels < SCALE or channels % SCALE:
            raise ArtistidError(f"model.network.channels={channels}: expected a multiple of {SCALE}")
        self.normalise = make_normalisation(normalisation, n_features)
        self.first = _layer(n_features, channels, 5)
        self.blocks = nn.ModuleList(SERes2Block(channels, dilation) for dilation in DILATIONS)
        self.join = nn.Sequential(nn.Conv1d(channels * len(DILATIONS), joined_channels, 1), nn.ReLU())
        self.pool = AttentiveStatistics(joined_channels)
        self.embed = nn.Sequential(
            VectorNorm(2 * joined_channels), nn.Linear(2 * joined_channels, units), VectorNorm(units)
        )
        self.dropout = nn.Dropout(dropout)
        self.classify = make_head(head, units, n_artists)

    @property
    def stages(self) -> dict[str, nn.Module]:
        """Parts that thaw together in fine-tuning, from the input to the head."""
        blocks = {f"block{number}": block for number, block in enumerate(self.blocks, start=1)}
        return {
            "first": nn.ModuleList([self.normalise, self.first]),
            **blocks,
            "pooling": nn.ModuleList([self.join, self.pool, self.embed]),
            "head": self.classify,
        }

    def bottleneck(self, features: torch.Tensor) -> torch.Tensor:
        """The vectors (batch, units) of clips ``(batch, mel, time)`` in dB."""
        x = self.first(self.normalise(features))  # (batch, channel, time)
        outputs = []
        for block in self.blocks:
            x = block(x)
            outputs.append(x)
        vectors: torch.Tensor = self.embed(self.pool(self.join(torch.cat(outputs, dim=1))))
        return vectors


class SERes2Block(nn.Module):
    """A Res2Net convolution between two of width 1, squeeze-excitation of channels, and a residual connection."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.into = _layer(channels, channels, 1)
        part = channels // SCALE
        self.parts = nn.ModuleList(_layer(part, part, 3, dilation) for _ in range(SCALE - 1))
        self.out = _layer(channels, channels, 1)
        self.excite = nn.Sequential(
            nn.Linear(channels, SQUEEZED), nn.ReLU(), nn.Linear(SQUEEZED, channels), nn.Sigmoid()
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(batch, channels, time)`` to the same."""
        first, *others = self.into(x).chunk(SCALE, dim=1)
        parts = [first]  # unchanged; each of the others also gets the output of the one before
        before = torch.zeros_like(first)
        for convolve, part in zip(self.parts, others, strict=True):
            before = convolve(part + before)
            parts.append(before)
        y = self.out(torch.cat(parts, dim=1))
        weighted: torch.Tensor = x + y * self.excite(y.mean(dim=2)).unsqueeze(2)
        return weighted


class AttentiveStatistics(nn.Module):
    """Mean and standard deviation over time, with attention per channel that also sees the unweighted ones."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attend = nn.Sequential(
            nn.Conv1d(3 * channels, SQUEEZED, 1),
            nn.ReLU(),
            nn.BatchNorm1d(SQUEEZED),
            nn.Tanh(),
            nn.Conv1d(SQUEEZED, channels, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(batch, 2 * channels)`` of ``(batch, channels, time)``."""
        context = [values.unsqueeze(2).expand_as(x) for values in weighted_statistics(x, torch.ones_like(x))]
        weight = self.attend(torch.cat([x, *context], dim=1)).softmax(dim=2)
        return torch.cat(weighted_statistics(x, weight), dim=1)


def weighted_statistics(x: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Weighted mean and standard deviation ``(batch, channels)`` of ``(batch, channels, time)``."""
    weight = weight / weight.sum(dim=2, keepdim=True)
    mean = (x * weight).sum(dim=2)
    variance = ((x - mean.unsqueeze(2)).square() * weight).sum(dim=2)
    return mean, (variance + EPS).sqrt()


def _layer(n_in: int, n_out: int, kernel: int, dilation: int = 1) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv1d(n_in, n_out, kernel, dilation=dilation, padding=padding), nn.ReLU(), nn.BatchNorm1d(n_out)
    )
