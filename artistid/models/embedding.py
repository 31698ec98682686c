"""Networks with a bottleneck, whose vectors are available besides the logits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol, TypeGuard, cast

import numpy as np
import torch
from torch import nn

from artistid.errors import ArtistidError


class EmbeddingNetwork(Protocol):
    """A network with a bottleneck: its logits are ``classify(bottleneck(features))``."""

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
        """Parts that thaw together in fine-tuning, from the input to the ``head``."""

    @abstractmethod
    def bottleneck(self, features: torch.Tensor) -> torch.Tensor:
        """The vectors (batch, d) of clips ``(batch, width, time)``."""

    def head(self, vectors: torch.Tensor) -> torch.Tensor:
        """Logits (batch, artists) of vectors ``(batch, d)``, with dropout in training."""
        logits: torch.Tensor = self.classify(self.dropout(vectors))
        return logits

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Logits (batch, artists) of clips ``(batch, width, time)``."""
        return self.head(self.bottleneck(features))


def has_bottleneck(network: nn.Module) -> TypeGuard[EmbeddingNetwork]:
    """Whether it is an :class:`EmbeddingNetwork`.

    ``isinstance`` of a protocol does not tell: from Python 3.12 on, it does not see the layers of a module.
    """
    return all(callable(getattr(network, name, None)) for name in ("bottleneck", "classify"))


def require_bottleneck(network: nn.Module, setting: str = "") -> EmbeddingNetwork:
    """The same network; raises ArtistidError, naming the setting that needs it, for one without a bottleneck."""
    if has_bottleneck(network):
        return network
    where = f"{setting}: " if setting else ""
    raise ArtistidError(f"{where}{type(network).__name__} has no bottleneck: it cannot embed songs")


class ToBottleneck(nn.Module):
    """Returns the bottleneck vectors of a network instead of its logits."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """The vectors (batch, d) of clips ``(batch, width, time)``."""
        return cast(EmbeddingNetwork, self.network).bottleneck(features)


def song_means(vectors: torch.Tensor, song: np.ndarray) -> torch.Tensor:
    """``(songs, d)`` means of vectors ``(clips, d)`` over each song's clips; ``song`` (clips,) numbers songs from 0."""
    index = torch.from_numpy(song)
    total = torch.zeros(int(index.max()) + 1, vectors.shape[1], dtype=torch.float64)
    total.index_add_(0, index, vectors.double())
    n_clips = torch.bincount(index)
    return (total / n_clips.clamp(min=1)[:, None]).to(vectors.dtype)
