"""A small network on the vectors of a frozen encoder, which learns how much each of its layers counts."""

from __future__ import annotations

import torch
from torch import nn

from artistid.errors import ArtistidError, counted


class LayerMix(nn.Module):
    """Layers weighted by a softmax, the mean over time, a hidden layer, and the artists.

    That a learned mean of a transformer's layers serves better than its last one is from Yang et al., "SUPERB"
    (Interspeech 2021); of one layer it is a perceptron on the encoder's mean vector.

    Args:
        n_artists: number of classes.
        n_features: of a row: the layers of a frozen encoder side by side, all equally wide.
        n_layers: how many these are.
        units: of the hidden layer, whose activations are the bottleneck.
        dropout: of them, in training.

    Raises:
        ArtistidError: layers that are not equally wide.
    """

    def __init__(
        self, n_artists: int, n_features: int, n_layers: int = 1, units: int = 256, dropout: float = 0.3
    ) -> None:
        super().__init__()
        if n_layers < 1 or n_features % n_layers:
            raise ArtistidError(
                f"model.network.n_layers={n_layers}: the features' {counted(n_features, 'column')} cannot be so many "
                "layers of one width"
            )
        width = n_features // n_layers
        self.layer_logits = nn.Parameter(torch.zeros(n_layers))
        self.norm = nn.BatchNorm1d(width)
        self.hidden = nn.Linear(width, units)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(units, n_artists)

    def bottleneck(self, rows: torch.Tensor) -> torch.Tensor:
        """``(batch, units)`` of rows ``(batch, n_features, time)``."""
        layers = rows.mean(dim=2).unflatten(1, (len(self.layer_logits), -1))  # (batch, layers, width)
        mixed = torch.einsum("bld,l->bd", layers, self.layer_logits.softmax(dim=0))
        return self.hidden(self.norm(mixed)).relu()

    def classify(self, vectors: torch.Tensor) -> torch.Tensor:
        """Logits ``(batch, artists)`` of vectors ``(batch, units)``."""
        return self.output(self.dropout(vectors))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.classify(self.bottleneck(rows))
