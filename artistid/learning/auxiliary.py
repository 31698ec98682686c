"""Auxiliary losses on a network's vectors, besides that of classifying artists.

An auxiliary loss is an ``nn.Module`` constructed with ``units``, the length of the vectors, and ``artist_of_album``
``(albums,)``. It is called with the vectors ``(batch, units)`` and their :class:`artistid.data.datamodule.Batch`, and
returns a scalar, which is added to the loss with its ``weight``, 1 if it has none.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
from torch import nn

from artistid.data.datamodule import Batch
from artistid.errors import ArtistidError
from artistid.hints import Count, Range

Weight = Annotated[float, Range(0, 1e6)]


class Auxiliaries(nn.ModuleDict):
    """Auxiliary losses by name."""

    def forward(self, vectors: torch.Tensor, batch: Batch) -> dict[str, torch.Tensor]:
        """The weighted losses, by name."""
        return {name: getattr(loss, "weight", 1.0) * loss(vectors, batch) for name, loss in self.items()}


class AlbumContrast(nn.Module):
    """Supervised contrastive loss (Khosla et al., NeurIPS 2020) between the albums of an artist.

    Clips of the artist's *other* albums are positives, those of other artists negatives; clips of the same album count
    as neither. Where the production (the year, the studio) is known, only clips of other artists that share it are
    negatives, so that it does not help to separate them; a clip without such in its batch is compared with all. Tracks
    without an album count as albums of their own. A batch needs clips of several albums of an artist:
    ``sampler=across_albums``.

    Args:
        units: length of the vectors.
        artist_of_album: not used.
        weight: of this loss relative to the classification loss.
        temperature: divisor of the similarities.
        dimensions: of the projection head, whose outputs are compared.
    """

    def __init__(
        self,
        units: int,
        artist_of_album: torch.Tensor,
        weight: Weight = 0.5,
        temperature: float = 0.1,
        dimensions: Count = 64,
    ) -> None:
        super().__init__()
        if not temperature > 0:
            raise ArtistidError(f"auxiliary.contrastive.temperature={temperature}: expected a number above 0")
        self.weight = weight
        self.temperature = temperature
        self.project = nn.Sequential(nn.Linear(units, units), nn.ReLU(), nn.Linear(units, dimensions))

    def forward(self, vectors: torch.Tensor, batch: Batch) -> torch.Tensor:
        points = nn.functional.normalize(self.project(vectors).float(), dim=1)
        similarity = (points[:, None] * points).sum(dim=2) / self.temperature  # (batch, batch), in single precision
        positive, negative = pairs(batch)
        likelihood = similarity.masked_fill(~(positive | negative), -torch.inf)
        log_probability = similarity - likelihood.logsumexp(dim=1, keepdim=True)
        anchors = positive.any(dim=1)
        if not anchors.any():
            return points.sum() * 0  # a zero gradient for all weights, which DDP requires
        per_clip = (log_probability * positive).sum(dim=1)[anchors] / positive.sum(dim=1)[anchors]
        return -per_clip.mean()


def pairs(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Which pairs of clips of a batch are positive, and which negative; each ``(batch, batch)``."""
    same_artist = _same(batch["label"])
    same_album = _same(batch["album"]) | (batch["song"][:, None] == batch["song"])
    negative = ~same_artist
    alike = negative & _same(batch["production"])
    negative = torch.where(alike.any(dim=1, keepdim=True), alike, negative)
    return same_artist & ~same_album, negative


def _same(index: torch.Tensor) -> torch.Tensor:
    """Which pairs of indices ``(batch,)`` are known and equal."""
    return (index[:, None] == index) & (index >= 0)


class AlbumAdversary(nn.Module):
    """Domain-adversarial training against a classifier of albums on the vectors (Ganin et al., JMLR 2016).

    The classifier separates the albums of one artist only, since what separates artists must not be unlearned. Its
    gradient is reversed before it reaches the network. Clips without an album, or of artists with a single album, do
    not count.

    Args:
        units: length of the vectors.
        artist_of_album: ``(albums,)`` index of each album's artist.
        weight: factor of the reversed gradient; the classifier's own learning does not depend on it.
        hidden: units of the classifier's hidden layer.
    """

    artist_of_album: torch.Tensor

    def __init__(self, units: int, artist_of_album: torch.Tensor, weight: Weight = 0.1, hidden: Count = 64) -> None:
        super().__init__()
        self.reversal = weight
        self.register_buffer("artist_of_album", artist_of_album, persistent=False)
        self.classify = nn.Sequential(nn.Linear(units, hidden), nn.ReLU(), nn.Linear(hidden, len(artist_of_album)))

    def forward(self, vectors: torch.Tensor, batch: Batch) -> torch.Tensor:
        own = batch["label"][:, None] == self.artist_of_album  # (batch, albums)
        counted = (batch["album"] >= 0) & (own.sum(dim=1) > 1)
        if not counted.any():
            return self.classify(vectors).sum() * 0
        logits = self.classify(Reversal.apply(vectors[counted], self.reversal))
        return nn.functional.cross_entropy(logits.masked_fill(~own[counted], -torch.inf), batch["album"][counted])


class Reversal(torch.autograd.Function):
    """The identity, with its gradient reversed and scaled."""

    @staticmethod
    def forward(context: Any, values: torch.Tensor, strength: float) -> torch.Tensor:
        context.strength = strength
        return values.view_as(values)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return -context.strength * gradient, None
