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
        if len(vectors) > 1:
            return super().forward(vectors)
        return nn.functional.batch_norm(
            vectors, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )
