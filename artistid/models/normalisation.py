"""Layers that normalise a network's input, in dB, to a mean of 0 and a variance of 1."""

from __future__ import annotations

import torch
from torch import nn

from artistid.errors import require_choice

NORMALISATIONS = ("batch", "clip", "bins")

# Keras's defaults, as in the paper's network.
BATCH_NORM_EPS = 1e-3
BATCH_NORM_MOMENTUM = 0.01  # 0.99 in Keras's definition


def make_normalisation(kind: str, n_features: int) -> nn.Module:
    """A layer from ``(batch, n_features, time)`` to the same.

    Args:
        kind: ``batch``: each bin by the statistics of all clips; ``clip``: each clip by its own, which removes its
            loudness; ``bins``: each bin of each clip by its own, like cepstral mean and variance normalisation for
            microphones (Viikki & Laurila 1998), which removes an equaliser's effect over the clip.
        n_features: columns of the input, such as mel bins.

    Raises:
        ArtistidError: another kind.
    """
    require_choice("model.network.normalisation", kind, NORMALISATIONS)
    if kind == "batch":
        return nn.BatchNorm1d(n_features, eps=BATCH_NORM_EPS, momentum=BATCH_NORM_MOMENTUM)
    if kind == "clip":
        return nn.GroupNorm(1, n_features, eps=BATCH_NORM_EPS)
    return nn.InstanceNorm1d(n_features, eps=BATCH_NORM_EPS, affine=True)


class VectorNorm(nn.BatchNorm1d):
    """Batch norm of vectors ``(batch, units)`` that allows an epoch's last batch of a single one, without variance.

    That one is normalised by the running statistics, as in evaluation.
    """

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """The same vectors, normalised."""
        return super().forward(vectors) if len(vectors) > 1 else _by_running_statistics(self, vectors)


class MapNorm(nn.BatchNorm2d):
    """The same for maps ``(batch, channels, mel, time)``, which may have only one value per channel."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """The same maps, normalised."""
        several = maps.numel() > maps.shape[1]
        return super().forward(maps) if several else _by_running_statistics(self, maps)


def _by_running_statistics(norm: nn.BatchNorm1d | nn.BatchNorm2d, values: torch.Tensor) -> torch.Tensor:
    return nn.functional.batch_norm(values, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
