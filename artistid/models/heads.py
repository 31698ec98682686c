"""The layer from a network's vectors to its logits."""

from __future__ import annotations

import torch
from torch import nn

from artistid.errors import require_choice

HEADS = ("linear", "cosine")
COSINE_SCALE = 30.0  # the largest logit: enough for a softmax over some hundred artists to approach 1


def make_head(kind: str, units: int, n_artists: int) -> nn.Module:
    """A layer from vectors ``(batch, units)`` to logits ``(batch, artists)``.

    Args:
        kind: ``linear``, or ``cosine``, which angular margins need.
        units: length of the vectors.
        n_artists: number of classes.

    Raises:
        ArtistidError: another kind.
    """
    require_choice("model.network.head", kind, HEADS)
    return nn.Linear(units, n_artists) if kind == "linear" else CosineHead(units, n_artists)


class CosineHead(nn.Module):
    """The cosines between vectors and each artist's direction, times :data:`COSINE_SCALE`."""

    def __init__(self, units: int, n_artists: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_artists, units))
        if not self.weight.is_meta:
            nn.init.xavier_uniform_(self.weight)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """Logits ``(batch, artists)`` of vectors ``(batch, units)``."""
        vectors, directions = (nn.functional.normalize(each.float(), dim=1) for each in (vectors, self.weight))
        # Not as a matrix product, which mixed precision would compute with angles rounded to degrees.
        return COSINE_SCALE * (vectors[:, None] * directions).sum(dim=2)
