"""The networks beside the CRNN: what their parts compute, and what a clip may be."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from artistid.errors import ArtistidError
from artistid.models.crnn import CRNN
from artistid.models.ecapa import ECAPA, AttentiveStatistics, weighted_statistics
from artistid.models.non_local import NonLocalBlock, NonLocalCRNN
from artistid.models.normalisation import make_normalisation
from artistid.models.short_chunk import ShortChunkCNN
from artistid.models.song import SongNetwork

SMALL: dict[str, Any] = {
    "wide": partial(CRNN, width=1.5, recurrent_units=48),
    "late": partial(CRNN, time_pools=(1, 1, 2, 2)),
    "non_local": NonLocalCRNN,
    "short_chunk": partial(ShortChunkCNN, channels=4),
    "ecapa": partial(ECAPA, channels=16, joined_channels=24, units=12),
    "song_mean": partial(SongNetwork, encoder=CRNN, clip_frames=32),
    "song_transformer": partial(SongNetwork, encoder=CRNN, clip_frames=32, pooling="transformer"),
}


@pytest.mark.parametrize("name", SMALL)
def test_logits_are_of_the_bottleneck_and_all_weights_learn(name: str) -> None:
    torch.manual_seed(0)
    network = SMALL[name](n_artists=3)
    clips = torch.randn(3, 128, 48) * 20 - 40
    network(clips).square().sum().backward()
    unlearned = [each for each, weight in network.named_parameters() if weight.grad is None]
    assert not unlearned
    assert network(clips[:1]).isfinite().all(), "an epoch's last batch may be of one clip"
    network.eval()
    assert network(clips).shape == (3, 3)
    torch.testing.assert_close(network.classify(network.bottleneck(clips)), network(clips))
    in_stages = {id(weight) for stage in network.stages.values() for weight in stage.parameters()}
    assert in_stages == {id(weight) for weight in network.parameters()}


def test_as_wide_and_as_late_as_it_is_said() -> None:
    assert [block[0].out_channels for block in CRNN(2, width=1.5).convolutions] == [96, 192, 192, 192]
    assert CRNN(2, time_pools=(1, 1, 2, 2)).convolutions(torch.randn(1, 1, 128, 94)).shape == (1, 128, 1, 23)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"time_pools": (2, 2)}, "time_pools"),
        ({"time_pools": (0, 1, 1, 1)}, "time_pools"),
        ({"width": 0.001}, "width"),
        ({"normalisation": "song"}, "normalisation"),
        ({"head": "tail"}, "head"),
    ],
)
def test_bad_settings(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ArtistidError, match=f"model.network.{named}"):
        CRNN(2, **settings)


def test_normalisation_of_clips_and_of_their_bins() -> None:
    clips = torch.randn(3, 128, 40) * 7 - 30
    curve = torch.linspace(-20, 20, 128)[:, None]
    by_bins, by_clip = (make_normalisation(kind, 128)(clips + curve) for kind in ("bins", "clip"))
    torch.testing.assert_close(by_bins, make_normalisation("bins", 128)(clips), atol=1e-3, rtol=0)
    torch.testing.assert_close(by_bins.mean(dim=2), torch.zeros(3, 128), atol=1e-5, rtol=0)
    torch.testing.assert_close(by_bins.std(dim=2, correction=0), torch.ones(3, 128), atol=1e-3, rtol=0)
    torch.testing.assert_close(by_clip.mean(dim=(1, 2)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(by_clip, make_normalisation("clip", 128)(clips + curve + 9), atol=1e-4, rtol=0)


def test_attentive_statistics() -> None:
    x = torch.randn(2, 3, 10)
    weight = torch.rand(2, 3, 10)
    mean, deviation = (each.numpy() for each in weighted_statistics(x, weight))
    for clip in range(2):
        for channel in range(3):
            values, weights = x[clip, channel].numpy(), weight[clip, channel].numpy()
            expected = np.average(values, weights=weights)
            assert mean[clip, channel] == pytest.approx(expected, abs=1e-5)
            spread = np.average((values - expected) ** 2, weights=weights) ** 0.5
            assert deviation[clip, channel] == pytest.approx(spread, abs=1e-4)
    even = AttentiveStatistics(3).eval()
    even.attend[-1].weight.data.zero_()
    pooled = even(x)
    torch.testing.assert_close(pooled[:, :3], x.mean(dim=2))
    torch.testing.assert_close(pooled[:, 3:], x.std(dim=2, correction=0), atol=1e-4, rtol=0)


def test_non_local_block_begins_as_nothing_and_relates_all_layers() -> None:
    torch.manual_seed(0)
    layers = [torch.randn(2, 6, 4, 5), torch.randn(2, 8, 1, 3)]
    block = NonLocalBlock([6, 8], groups=2).eval()
    assert torch.equal(block(layers), layers[-1])
    block.smoothing.zero_()[1, 1] = 1  # nothing is smoothed: what is left are dot products
    found = block.correlation(layers)[..., 0].detach()
    for clip in range(2):
        for group in range(2):
            channels = slice(4 * group, 4 * group + 4)
            expected = sum(
                (key(layer)[clip, channels] * value(layer)[clip, channels]).sum().item() / layer[0, 0].numel()
                for layer, key, value in zip(layers, block.keys, block.values, strict=True)
            )
            assert found[clip, group].item() == pytest.approx(expected, rel=1e-4)
    with pytest.raises(ArtistidError, match="at most 16 layers"):
        NonLocalBlock([8] * 17)
    bell = NonLocalBlock([6, 8], groups=2).smoothing
    assert bell.sum().item() == pytest.approx(1)
    assert (bell[1, 1] / bell[1, 0]).item() == pytest.approx(np.exp(0.5), rel=1e-4)


def test_a_song_is_the_mean_of_its_clips_but_for_silence() -> None:
    torch.manual_seed(0)
    network = SongNetwork(3, CRNN, clip_frames=32).eval()
    song = torch.randn(1, 128, 96) * 20 - 40
    clips = network.encoder.bottleneck(torch.cat(song.split(32, dim=2)))
    torch.testing.assert_close(network.bottleneck(song)[0], clips.mean(dim=0))
    song[..., 64:] = -80.0
    torch.testing.assert_close(network.bottleneck(song)[0], clips[:2].mean(dim=0))
    assert network.bottleneck(torch.full_like(song, -80.0)).isfinite().all()


def test_the_transformer_knows_no_order_and_hears_no_silence() -> None:
    torch.manual_seed(0)
    network = SongNetwork(3, CRNN, clip_frames=32, pooling="transformer").eval()
    first, second, third = (torch.randn(1, 128, 32) * 20 - 40 for _ in range(3))
    song = torch.cat([first, second, third], dim=2)
    torch.testing.assert_close(network(song), network(torch.cat([third, first, second], dim=2)))
    silence = torch.full((1, 128, 32), -80.0)
    torch.testing.assert_close(network(song), network(torch.cat([song, silence], dim=2)), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"layers": 10**9}, "layers"),
        ({"heads": 5}, "heads"),
        ({"pooling": "max"}, "pooling"),
        ({"clip_frames": 0}, "clip_frames"),
    ],
)
def test_bad_settings_of_songs(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ArtistidError, match=f"model.network.{named}"):
        SongNetwork(2, CRNN, **{"pooling": "transformer", **settings})
