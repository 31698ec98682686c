"""The paper's network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from artistid.errors import ArtistidError
from artistid.models.crnn import CRNN


def test_parameters_for_twenty_artists() -> None:
    assert sum(p.numel() for p in CRNN(20).parameters() if p.requires_grad) == 393_364


@pytest.mark.parametrize("frames", [32, 94, 157, 313, 628, 911])
def test_logits_and_bottleneck_of_every_clip_length(frames: int) -> None:
    network = CRNN(7).eval()
    clips = torch.randn(2, 128, frames)
    assert network(clips).shape == (2, 7)
    assert network.bottleneck(clips).shape == (2, 32)
    torch.testing.assert_close(network.classify(network.bottleneck(clips)), network(clips))


def test_mel_axis_is_pooled_to_one_and_time_by_sixteen() -> None:
    assert CRNN(2).convolutions(torch.randn(1, 1, 128, 94)).shape == (1, 128, 1, 5)


def test_input_is_normalised_per_mel_bin() -> None:
    network = CRNN(3).train()
    clips = torch.randn(16, 128, 32)
    offsets = torch.linspace(-80, 20, 128)[:, None]
    normalised = network.normalise(clips + offsets)
    torch.testing.assert_close(normalised.mean(dim=(0, 2)), torch.zeros(128), atol=1e-4, rtol=0)


def test_initialisation_is_that_of_keras() -> None:
    torch.manual_seed(0)
    network = CRNN(20)
    for name, parameter in network.named_parameters():
        if name.endswith("bias") or "bias_" in name:
            assert not parameter.any(), name
    for layer in range(2):
        recurrent = getattr(network.recurrence, f"weight_hh_l{layer}")  # (gates * units, units)
        torch.testing.assert_close(recurrent.T @ recurrent, torch.eye(32), atol=1e-5, rtol=0)
    second = network.convolutions[1][0].weight
    limit = (6 / (64 * 9 + 128 * 9)) ** 0.5  # Glorot: sqrt(6 / (fan in + fan out))
    assert 0.95 * limit < second.abs().max() <= limit


def test_batch_norm_is_that_of_keras() -> None:
    norms = [m for m in CRNN(2).modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert len(norms) == 5
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}


def test_order_within_a_block() -> None:
    kinds = [type(layer) for layer in CRNN(2).convolutions[0]]
    assert kinds == [nn.Conv2d, nn.ELU, nn.BatchNorm2d, nn.MaxPool2d, nn.Dropout]


def test_the_last_state_sees_the_whole_clip() -> None:
    network = CRNN(2).eval()
    clips = torch.randn(1, 128, 94, requires_grad=True)
    network(clips).sum().backward()
    assert clips.grad is not None
    assert clips.grad[..., 0].abs().sum() > 0


def test_too_short_a_clip() -> None:
    with pytest.raises(ArtistidError, match="too short"):
        CRNN(2)(torch.randn(1, 128, 15))


def test_other_mel_bins() -> None:
    with pytest.raises(ArtistidError, match="64 columns"):
        CRNN(2, n_features=64)
