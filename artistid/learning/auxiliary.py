"""Auxiliary losses: what a network's vectors are to be beside useful for naming artists.

An auxiliary loss is an ``nn.Module`` made with ``units``, the length of the vectors, and ``artist_of_album``
``(albums,)``. It is called with the vectors ``(batch, units)`` and the :class:`artistid.data.datamodule.Batch` that
they are of, and gives a scalar, which is added to the loss by its ``weight``, 1 where it has none.
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
    """Auxiliary losses by their names."""

    def forward(self, vectors: torch.Tensor, batch: Batch) -> dict[str, torch.Tensor]:
        """Each one's share of the loss, by its name."""
        return {name: getattr(loss, "weight", 1.0) * loss(vectors, batch) for name, loss in self.items()}


class AlbumContrast(nn.Module):
    """Supervised contrastive loss (Khosla et al., NeurIPS 2020) between the albums of an artist.

    A clip is to be nearer those of the artist's *other* albums than those of other artists; clips of its own album
    count as neither. Where it is known what the sound of several artists has in common (the year, the studio), the
    others are those that have it, so that it tells nothing; a clip whose batch has none is compared with all. Tracks
    without an album count as albums of their own. A batch needs clips of several albums of an artist:
    ``sampler=across_albums``.

    Args:
        units: of the vectors.
        artist_of_album: not needed.
        weight: of this loss beside the other.
        temperature: that similarities are divided by.
        dimensions: of the projection that is compared, in place of the vectors themselves.
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
            return points.sum() * 0  # of which all weights have a gradient, as several processes want
        per_clip = (log_probability * positive).sum(dim=1)[anchors] / positive.sum(dim=1)[anchors]
        return -per_clip.mean()


def pairs(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Which clips of a batch are to be near each other, and which apart; each ``(batch, batch)``."""
    same_artist = _same(batch["label"])
    same_album = _same(batch["album"]) | (batch["song"][:, None] == batch["song"])
    negative = ~same_artist
    alike = negative & _same(batch["production"])
    negative = torch.where(alike.any(dim=1, keepdim=True), alike, negative)
    return same_artist & ~same_album, negative


def _same(index: torch.Tensor) -> torch.Tensor:
    """Which two of ``(batch,)`` are known and the same."""
    return (index[:, None] == index) & (index >= 0)


class AlbumAdversary(nn.Module):
    """Lets a classifier read the album from the vectors, and the network unlearn it (Ganin et al., JMLR 2016).

    The classifier tells an artist's albums from each other, not from those of other artists: what tells artists apart
    is not to be unlearned. Its gradient is turned round before it reaches the network. Clips of artists with a single
    album, and without an album, don't count.

    Args:
        units: of the vectors.
        artist_of_album: ``(albums,)`` whose each album is.
        weight: of the turned gradient beside the other; the classifier learns as fast in any case.
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
    """Gives what it is given, and turns its gradient round."""

    @staticmethod
    def forward(context: Any, values: torch.Tensor, strength: float) -> torch.Tensor:
        context.strength = strength
        return values.view_as(values)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return -context.strength * gradient, None
