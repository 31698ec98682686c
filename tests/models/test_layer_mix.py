"""The small network on an encoder's layers."""

from __future__ import annotations

import pytest
import torch

from artistid.errors import ArtistidError
from artistid.models.layer_mix import LayerMix


def test_its_mean_is_weighted_by_a_softmax() -> None:
    network = LayerMix(n_artists=2, n_features=6, n_layers=3, units=4).eval()
    rows = torch.randn(5, 6, 7)
    mean = rows.mean(dim=2)
    with torch.no_grad():
        network.layer_logits.copy_(torch.tensor([0.0, 1.0, -20.0]))
        share = torch.tensor(1.0).sigmoid()  # of the second against the first
        mixed = (1 - share) * mean[:, :2] + share * mean[:, 2:4]
        expected = network.hidden(network.norm(mixed)).relu()
        torch.testing.assert_close(network.bottleneck(rows), expected)
        torch.testing.assert_close(network(rows), network.classify(expected))


def test_it_learns_which_layer_tells_artists_apart() -> None:
    torch.manual_seed(0)
    label = torch.arange(64) % 2
    told = torch.stack([2.0 * label - 1, torch.zeros(64)], dim=1)
    rows = torch.cat([torch.randn(64, 2), told, torch.randn(64, 2)], dim=1)[:, :, None]
    network = LayerMix(n_artists=2, n_features=6, n_layers=3, units=8, dropout=0)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.03)
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(rows), label).backward()
        optimizer.step()
    assert network.layer_logits.argmax() == 1


def test_layers_of_other_widths() -> None:
    with pytest.raises(ArtistidError, match=r"model\.network\.n_layers=4"):
        LayerMix(n_artists=2, n_features=6, n_layers=4)
