"""A small network on the vectors of a frozen encoder, which learns weights of its layers."""

from __future__ import annotations

import torch
from torch import nn

from artistid.errors import ArtistidError, counted


class LayerMix(nn.Module):
    """A softmax-weighted mean of layers, the mean over time, a hidden layer, and an output layer.

    Learned weights of a transformer's layers, better than its last layer alone, are from Yang et al., "SUPERB"
    (Interspeech 2021); with one layer, it is a multilayer perceptron on the encoder's mean vector.

    Args:
        n_artists: number of classes.
        n_features: columns of the input, the concatenated layers of a frozen encoder, all of one width.
        n_layers: number of these layers.
        units: of the hidden layer, whose activations are the bottleneck.
        dropout: of the bottleneck, in training.

    Raises:
        ArtistidError: layers that are not of one width.
    """

    def __init__(
        self, n_artists: int, n_features: int, n_layers: int = 1, units: int = 256, dropout: float = 0.3
    ) -> None:
        super().__init__()
        if n_layers < 1 or n_features % n_layers:
            raise ArtistidError(
                f"model.network.n_layers={n_layers}: expected a divisor of the features' "
                f"{counted(n_features, 'column')}"
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
