"""What a network offers beyond its logits."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch


@runtime_checkable
class EmbeddingNetwork(Protocol):
    """A network that tells artists apart by a vector: its logits are ``classify(bottleneck(features))``."""

    def bottleneck(self, features: torch.Tensor) -> torch.Tensor:
        """The vectors (batch, d) of clips ``(batch, width, time)``."""

    def classify(self, vectors: torch.Tensor) -> torch.Tensor:
        """Logits (batch, artists) of vectors ``(batch, d)``, in evaluation mode."""
