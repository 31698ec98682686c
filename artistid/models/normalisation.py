"""How a network brings its input, in dB, to a mean of 0 and a variance of 1."""

from __future__ import annotations

import torch
from torch import nn

from artistid.errors import require_choice

NORMALISATIONS = ("batch", "clip", "bins")

# The paper's network was made with Keras, and its defaults are part of it.
BATCH_NORM_EPS = 1e-3
BATCH_NORM_MOMENTUM = 0.01  # Keras counts it from the other end: 0.99


def make_normalisation(kind: str, n_features: int) -> nn.Module:
    """A layer from ``(batch, n_features, time)`` to the same.

    Args:
        kind: ``batch``: each bin by the statistics of all clips; ``clip``: each clip by its own, so that its loudness
            is nothing; ``bins``: each bin of each clip by its own, as cepstral mean and variance normalisation does
            against microphones (Viikki & Laurila 1998), so that an equaliser over all of the clip is nothing.
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
    """Batch norm of vectors ``(batch, units)``, of which an epoch's last batch may have just one: it has no variance.

    That one is normalised by the running statistics, as in evaluation.
    """

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """The same vectors, normalised."""
        return super().forward(vectors) if len(vectors) > 1 else _by_running_statistics(self, vectors)


class MapNorm(nn.BatchNorm2d):
    """The same for maps ``(batch, channels, mel, time)``, of which one value a channel may be left in all."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """The same maps, normalised."""
        several = maps.numel() > maps.shape[1]
        return super().forward(maps) if several else _by_running_statistics(self, maps)


def _by_running_statistics(norm: nn.BatchNorm1d | nn.BatchNorm2d, values: torch.Tensor) -> torch.Tensor:
    return nn.functional.batch_norm(values, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
