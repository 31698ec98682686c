"""A probe: a front, which maps a clip to a vector, followed by a back end that is fitted without gradients.

A fitted :class:`artistid.models.backends.BackEnd` is a few tensors here: checkpoints store it like any network, and a
probe can be used wherever a network can.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn import functional

from artistid.errors import ArtistidError, require_choice
from artistid.hints import Count
from artistid.models.backends import AlbumPLDA, BackEnd, CosineCentroids
from artistid.models.scoring import class_scores


class Statistics(nn.Module):
    """Mean and standard deviation of a clip's rows, and the root mean square of their changes from row to row.

    Args:
        changes: whether to include the latter.
    """

    def __init__(self, changes: bool = True) -> None:
        super().__init__()
        self.changes = changes

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``(batch, d)`` of clips ``(batch, width, time)``, where d is twice the width, or three times."""
        parts = [features.mean(dim=2), features.std(dim=2, correction=0)]
        if self.changes:
            changes = features[:, :, 1:] - features[:, :, :-1]  # none in a clip of one row
            parts.append((changes.square().sum(dim=2) / max(1, changes.shape[2])).sqrt())
        return torch.cat(parts, dim=1)


class Mean(nn.Module):
    """The mean of a clip's rows, for features whose rows already describe windows as long as clips.

    Args:
        n_columns: how many columns to keep, the first ones; None: all.
    """

    def __init__(self, n_columns: Count | None = None) -> None:
        super().__init__()
        self.n_columns = n_columns

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``(batch, n_columns)`` of clips ``(batch, width, time)``; raises ArtistidError where these are narrower."""
        width = features.shape[1]
        if self.n_columns is not None and self.n_columns > width:
            raise ArtistidError(f"n_columns={self.n_columns}: expected at most {width}, the features' columns")
        return features[:, : self.n_columns].mean(dim=2)


class Cosine(nn.Module):
    """The cosine of vectors ``(batch, units)`` and the centroid of each artist, see :class:`CosineCentroids`."""

    def __init__(self, n_units: int, n_artists: int) -> None:
        super().__init__()
        self.centroids = nn.Parameter(torch.zeros(n_artists, n_units))

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        return functional.normalize(vectors, dim=1) @ self.centroids.T

    def take(self, fitted: CosineCentroids) -> None:
        _set(self.centroids, fitted.centroids_)


class ArtistDensities(nn.Module):
    """The log-likelihood of vectors ``(batch, units)`` under each artist's Gaussian, see :class:`AlbumPLDA`."""

    def __init__(self, n_units: int, n_artists: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(n_artists, n_units))
        self.whitening = nn.Parameter(torch.zeros(n_artists, n_units, n_units))
        self.log_density = nn.Parameter(torch.zeros(n_artists))

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        aside = (vectors - self.mean[:, None]) @ self.whitening  # (artists, batch, units)
        return self.log_density - 0.5 * aside.square().sum(dim=2).T

    def take(self, fitted: AlbumPLDA) -> None:
        _set(self.mean, fitted.mean_)
        _set(self.whitening, fitted.whitening_)
        _set(self.log_density, fitted.log_density_)


class Regression(nn.Linear):
    """The decision function of scikit-learn's logistic regression."""

    def take(self, fitted: LogisticRegression) -> None:
        points = np.vstack([np.zeros(self.in_features), np.eye(self.in_features)])
        columns = class_scores(fitted.decision_function(points))
        _set(self.bias, columns[0])
        _set(self.weight, (columns[1:] - columns[0]).T)


SCORERS: Mapping[str, type[Cosine | ArtistDensities | Regression]] = {
    "cosine": Cosine,
    "plda": ArtistDensities,
    "logistic": Regression,
}


class Probe(nn.Module):
    """A front and a back end.

    Args:
        n_artists: number of classes.
        front: from clips ``(batch, width, time)`` to vectors ``(batch, n_inputs)``.
        n_inputs: columns of the front's vectors.
        n_units: of the embedding.
        scorer: of :data:`SCORERS`.
    """

    def __init__(self, n_artists: int, front: nn.Module, n_inputs: int, n_units: int, scorer: str = "cosine") -> None:
        super().__init__()
        require_choice("scorer", scorer, SCORERS)
        self.front = front
        self.centre = nn.Parameter(torch.zeros(n_inputs))
        self.projection = nn.Parameter(torch.zeros(n_inputs, n_units))
        self.offset = nn.Parameter(torch.zeros(n_units))
        self.temperature = nn.Parameter(torch.ones(()))
        self.scorer = SCORERS[scorer](n_units, n_artists)

    @classmethod
    def of(cls, front: nn.Module, fitted: BackEnd, temperature: float) -> Probe:
        """The front and a fitted back end, whose scores are divided by a temperature."""
        centre, projection, offset = fitted.affine()
        n_inputs, n_units = projection.shape
        probe = cls(len(fitted.classes_), front, n_inputs, n_units, fitted.scorer)
        for name, value in (("centre", centre), ("projection", projection), ("offset", offset)):
            _set(getattr(probe, name), value)
        _set(probe.temperature, np.asarray(temperature))
        scorer: Any = probe.scorer
        scorer.take(fitted.scorer_)
        return probe.eval()

    def bottleneck(self, features: torch.Tensor) -> torch.Tensor:
        """The embeddings (batch, n_units) of clips ``(batch, width, time)``."""
        return (self.front(features) - self.centre) @ self.projection + self.offset

    def classify(self, vectors: torch.Tensor) -> torch.Tensor:
        """Logits (batch, artists) of embeddings, or of a song's mean embedding."""
        logits: torch.Tensor = self.scorer(vectors) / self.temperature
        return logits

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Logits (batch, artists) of clips ``(batch, width, time)``."""
        return self.classify(self.bottleneck(features))


def _set(parameter: torch.Tensor, value: np.ndarray) -> None:
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(np.asarray(value)))
