"""Temperature scaling: a network whose logits are divided by a temperature (Guo et al. 2017)."""

from __future__ import annotations

import torch
from torch import nn

from artistid.models.embedding import require_bottleneck


class Calibrated(nn.Module):
    """A network and the temperature of its softmax, which does not change the ranking of artists.

    Args:
        n_artists: number of classes.
        network: from clips ``(batch, width, time)`` to logits ``(batch, n_artists)``.
    """

    def __init__(self, n_artists: int, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.temperature = nn.Parameter(torch.ones(()))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Logits (batch, artists) of clips ``(batch, width, time)``."""
        logits: torch.Tensor = self.network(features) / self.temperature
        return logits


class CalibratedEmbedding(Calibrated):
    """The same for a network with a bottleneck, which is unchanged."""

    def bottleneck(self, features: torch.Tensor) -> torch.Tensor:
        """The vectors (batch, d) of clips ``(batch, width, time)``."""
        return require_bottleneck(self.network).bottleneck(features)

    def classify(self, vectors: torch.Tensor) -> torch.Tensor:
        """Logits (batch, artists) of vectors ``(batch, d)``."""
        return require_bottleneck(self.network).classify(vectors) / self.temperature
