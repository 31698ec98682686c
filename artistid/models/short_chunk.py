"""A residual network for short chunks: 3 × 3 convolutions halve mel and time alike, followed by global max pooling.

Won, Ferraro, Bogdanov & Serra, "Evaluation of CNN-based automatic music tagging models", SMC 2020.
"""

from __future__ import annotations

import torch
from torch import nn

from artistid.models.embedding import ClipNetwork
from artistid.models.heads import make_head
from artistid.models.normalisation import MapNorm, VectorNorm, make_normalisation

GROWTH = (1, 1, 2, 2, 2, 2, 4)  # channels of each block, as multiples of the first one's


class ShortChunkCNN(ClipNetwork):
    """Seven residual blocks, each with half the bins and frames of the one before, and two dense layers.

    The source normalises the input as one channel; here each mel bin is normalised, as in the CRNN. It takes any number
    of bins and frames, since max pooling is global.

    Args:
        n_artists: number of classes.
        n_features: columns of the input, such as mel bins.
        channels: of the first block, 128 in the source; the last has four times as many, the size of the bottleneck.
        dropout: share of the bottleneck's values that are dropped.
        normalisation: see :func:`artistid.models.normalisation.make_normalisation`.
        head: see :func:`artistid.models.heads.make_head`.
    """

    def __init__(
        self,
        n_artists: int,
        n_features: int = 128,
        channels: int = 128,
        dropout: float = 0.5,
        normalisation: str = "batch",
        head: str = "linear",
    ) -> None:
        super().__init__()
        widths = [channels * times for times in GROWTH]
        self.normalise = make_normalisation(normalisation, n_features)
        self.blocks = nn.Sequential(
            *(ResidualBlock(n_in, n_out) for n_in, n_out in zip((1, *widths), widths, strict=False))
        )
        self.dense = nn.Sequential(nn.Linear(widths[-1], widths[-1]), VectorNorm(widths[-1]), nn.ReLU())
        self.dropout = nn.Dropout(dropout)
        self.classify = make_head(head, widths[-1], n_artists)

    @property
    def stages(self) -> dict[str, nn.Module]:
        """Parts that thaw together in fine-tuning, from the input to the head."""
        first, *others = self.blocks
        blocks = (nn.ModuleList([self.normalise, first]), *others)
        return {
            **{f"block{number}": block for number, block in enumerate(blocks, start=1)},
            "dense": self.dense,
            "head": self.classify,
        }

    def bottleneck(self, features: torch.Tensor) -> torch.Tensor:
        """The vectors (batch, 4 * channels) of clips ``(batch, mel, time)`` in dB."""
        x = self.blocks(self.normalise(features).unsqueeze(1))  # (batch, channel, mel, time)
        vectors: torch.Tensor = self.dense(x.amax(dim=(2, 3)))
        return vectors


class ResidualBlock(nn.Module):
    """Two convolutions, the first of stride 2, and a convolution of stride 2 as the shortcut."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(n_in, n_out, 3, stride=2, padding=1),
            MapNorm(n_out),
            nn.ReLU(),
            nn.Conv2d(n_out, n_out, 3, padding=1),
            MapNorm(n_out),
        )
        self.shortcut = nn.Sequential(nn.Conv2d(n_in, n_out, 3, stride=2, padding=1), MapNorm(n_out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """From ``(batch, n_in, mel, time)`` to ``(batch, n_out, mel / 2, time / 2)``, both rounded up."""
        return nn.functional.relu(self.convolutions(x) + self.shortcut(x))
