"""The CRNN with a fully generalised non-local block.

Kuo et al., "Positions, Channels, and Layers: Fully Generalized Non-Local Network for Singer Identification", AAAI 2021.
A non-local block relates each position to all others. Theirs relates positions of all channels and layers at once,
smooths keys and values by a Gaussian, and weights channels by squeeze-excitation. Details not given there follow the
compact generalised block that it extends (Yue et al., NeurIPS 2018): positions and channels are related by dot
products, in groups of channels, which reduces to one number for each group.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from artistid.errors import ArtistidError, counted
from artistid.models.crnn import CRNN

REDUCTION = 16  # of channels in the squeeze-excitation
MOST_LAYERS = 16  # limit for checkpoints, which may be hostile
SIGMA = 1.0  # of the smoothing, in positions


class NonLocalCRNN(CRNN):
    """The paper's network, in which the last block's output is related to those of the two before and its own.

    Args:
        groups: of channels; only channels of one group are related.
        **settings: of :class:`artistid.models.crnn.CRNN`.
    """

    def __init__(self, n_artists: int, n_features: int = 128, groups: int = 8, **settings: Any) -> None:
        super().__init__(n_artists, n_features, **settings)
        filters = [layer.out_channels for layer in self.convolutions.modules() if isinstance(layer, nn.Conv2d)]
        self.relate = NonLocalBlock(filters[1:], groups)

    @property
    def stages(self) -> dict[str, nn.Module]:
        """The CRNN's, with the block after the convolutions."""
        convolutions = {name: stage for name, stage in super().stages.items() if name.startswith("convolution")}
        return {**convolutions, "relate": self.relate, "recurrence": self.recurrence, "head": self.classify}

    def convolve(self, images: torch.Tensor) -> torch.Tensor:
        layers = []
        for block in self.convolutions:
            images = block(images)
            layers.append(images)
        related: torch.Tensor = self.relate(layers[1:])
        return related


class NonLocalBlock(nn.Module):
    """Adds to the last of several layers its correlation with the positions and channels of all layers.

    Args:
        channels: number of channels of each layer.
        groups: of the last layer's channels; the other layers are projected to as many channels.
    """

    smoothing: torch.Tensor

    def __init__(self, channels: Sequence[int], groups: int = 8) -> None:
        super().__init__()
        *_, width = channels
        if len(channels) > MOST_LAYERS:
            raise ArtistidError(f"a non-local block relates at most {MOST_LAYERS} layers, found {len(channels)}")
        if not 1 <= groups <= width or width % groups:
            raise ArtistidError(f"model.network.groups={groups}: expected a divisor of {counted(width, 'channel')}")
        self.groups = groups
        self.query = nn.Conv2d(width, width, 1, bias=False)
        self.keys = nn.ModuleList(nn.Conv2d(each, width, 1, bias=False) for each in channels)
        self.values = nn.ModuleList(nn.Conv2d(each, width, 1, bias=False) for each in channels)
        self.out = nn.Sequential(nn.Conv2d(width, width, 1, groups=groups, bias=False), nn.GroupNorm(groups, width))
        nn.init.zeros_(self.out[1].weight)  # type: ignore[arg-type]  # training starts with the plain network
        squeezed = max(1, width // REDUCTION)
        self.excite = nn.Sequential(nn.Linear(width, squeezed), nn.ReLU(), nn.Linear(squeezed, width), nn.Sigmoid())
        bell = torch.exp(-(torch.arange(-1.0, 2.0) ** 2) / (2 * SIGMA**2))
        self.register_buffer("smoothing", torch.outer(bell, bell) / bell.sum() ** 2, persistent=False)  # (3, 3)

    def forward(self, layers: Sequence[torch.Tensor]) -> torch.Tensor:
        """The last of layers ``(batch, channel, mel, time)``, related."""
        *_, last = layers
        query = self.query(last)
        related = self.out((self._grouped(query) * self.correlation(layers)).reshape(query.shape))
        weighted: torch.Tensor = last + related * self.excite(related.mean(dim=(2, 3)))[:, :, None, None]
        return weighted

    def correlation(self, layers: Sequence[torch.Tensor]) -> torch.Tensor:
        """The dot products ``(batch, group, 1)`` of keys and values over all positions and channels of all layers.

        For each layer it is the mean over positions, so that a large one does not outweigh the others.
        """
        total = layers[0].new_zeros(len(layers[0]), self.groups, 1)
        for layer, key, value in zip(layers, self.keys, self.values, strict=True):
            products = self._smooth(key(layer)) * self._smooth(value(layer))
            total = total + self._grouped(products).sum(dim=2, keepdim=True) / (layer.shape[2] * layer.shape[3])
        return total

    def _smooth(self, images: torch.Tensor) -> torch.Tensor:
        channels = images.shape[1]
        kernel = self.smoothing.to(images.dtype).expand(channels, 1, -1, -1)
        return nn.functional.conv2d(images, kernel, padding=1, groups=channels)

    def _grouped(self, images: torch.Tensor) -> torch.Tensor:
        """``(batch, group, channels of a group * positions)`` of ``(batch, channel, mel, time)``."""
        return images.reshape(len(images), self.groups, -1)
