"""What a network offers beyond its logits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol, runtime_checkable

import torch
from torch import nn


@runtime_checkable
class EmbeddingNetwork(Protocol):
    """A network that tells artists apart by a vector: its logits are ``classify(bottleneck(features))``."""

    def bottleneck(self, features: torch.Tensor) -> torch.Tensor:
        """The vectors (batch, d) of clips ``(batch, width, time)``."""

    def classify(self, vectors: torch.Tensor) -> torch.Tensor:
        """Logits (batch, artists) of vectors ``(batch, d)``, in evaluation mode."""


class ClipNetwork(nn.Module, ABC):
    """An :class:`EmbeddingNetwork` with dropout between its vectors and its classifier.

    Attributes:
        dropout: of vectors, in training.
        classify: a layer of :mod:`artistid.models.heads`.
    """

    dropout: nn.Module
    classify: nn.Module

    @property
    @abstractmethod
    def stages(self) -> dict[str, nn.Module]:
        """What thaws together in fine-tuning, from the input to the ``head``."""

    @abstractmethod
    def bottleneck(self, features: torch.Tensor) -> torch.Tensor:
        """The vectors (batch, d) of clips ``(batch, width, time)``."""

    def head(self, vectors: torch.Tensor) -> torch.Tensor:
        """Logits (batch, artists) of vectors ``(batch, d)``, in training, too."""
        logits: torch.Tensor = self.classify(self.dropout(vectors))
        return logits

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Logits (batch, artists) of clips ``(batch, width, time)``."""
        return self.head(self.bottleneck(features))
