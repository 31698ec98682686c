"""What a network offers beyond its logits."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch


@runtime_checkable
class EmbeddingNetwork(Protocol):
    """A network that tells artists apart by a vector: its logits are ``classify(bottleneck(log_mel))``."""

    def bottleneck(self, log_mel: torch.Tensor) -> torch.Tensor:
        """The vectors (batch, d) of clips ``(batch, mel, time)`` in dB."""

    def classify(self, vectors: torch.Tensor) -> torch.Tensor:
        """Logits (batch, artists) of vectors ``(batch, d)``, in evaluation mode."""
