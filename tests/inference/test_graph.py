"""What a song's samples become inside an exported graph: each part against the package's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from artistid.data.clips import ClipSpec
from artistid.data.features import LogMel
from artistid.errors import ArtistidError
from artistid.evaluation.voting import VOTES, count_votes
from artistid.inference.graph import Count, Cut, PowerSpectrum


@pytest.mark.parametrize("n_fft", [2048, 2000, 512, 2047, 2039, 9, 1])
def test_power_spectrum_is_that_of_numpy(n_fft: int) -> None:
    frames = np.random.default_rng(0).standard_normal((3, n_fft)).astype(np.float32)
    expected = np.abs(np.fft.rfft(frames.astype(np.float64))) ** 2
    found = PowerSpectrum(n_fft)(torch.from_numpy(frames)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * n_fft)


def test_every_full_clip_is_cut_and_a_short_song_ends_in_its_floor() -> None:
    cut = Cut(LogMel(), ClipSpec(name="1s", seconds=1, frames=32))
    log_mel = torch.linspace(-60, 0, 100 * 128).half().float().reshape(100, 128)
    assert torch.equal(cut(log_mel, 99 * 512), log_mel[:96].reshape(3, 32, 128))
    [short] = cut(log_mel[:7], 6 * 512)
    assert torch.equal(short[:7], log_mel[:7])
    assert torch.equal(short[7:], torch.full((25, 128), -60.0))


def test_clips_begin_where_they_do_in_training_whatever_the_hop() -> None:
    cut = Cut(LogMel(hop_length=400), ClipSpec(name="x", seconds=0.096, frames=3))
    log_mel = torch.arange(100.0)[:, None].expand(100, 128).contiguous()
    starts = cut(log_mel, 99 * 400)[:, 0, 0]
    assert starts.tolist() == [round(3.84 * clip) for clip in range(len(starts))]
    assert len(starts) == (1 + 99 * 400 // 512) // 3


def test_a_song_that_would_have_no_clip_gives_its_first() -> None:
    cut = Cut(LogMel(), ClipSpec(name="1s", seconds=1, frames=32, keep_last=False, pad_short=False))
    assert [len(cut(torch.zeros(frames, 128), (frames - 1) * 512)) for frames in (5, 32, 64, 95, 96)] == [
        1,
        1,
        1,
        1,
        2,
    ]


def test_whole_songs_are_refused() -> None:
    with pytest.raises(ArtistidError, match="clip=song cannot be exported"):
        Cut(LogMel(), ClipSpec(name="song", seconds=None, frames=None))


@pytest.mark.parametrize("vote", VOTES)
@pytest.mark.parametrize("seed", range(5))
def test_votes_are_counted_as_everywhere(vote: str, seed: int) -> None:
    generator = np.random.default_rng(seed)
    n_clips = int(generator.integers(1, 12))
    probability = generator.dirichlet(np.full(4, 0.5 if seed else 50), n_clips).astype(np.float32)  # 0: none is sure
    expected = count_votes(probability, np.zeros(n_clips, np.int64), vote)
    mean, ranking = Count(vote)(torch.from_numpy(probability))
    np.testing.assert_allclose(mean.numpy(), expected.probability[0], atol=1e-6)
    placed = expected.ranking[0, ranking.numpy()]
    assert placed[0] == 3
    key = expected.votes[0, ranking.numpy()] if vote in ("majority", "confident") else -np.arange(4)
    assert (np.diff(key) <= 0).all()


def test_a_vote_of_ones_own_is_not_exported() -> None:
    with pytest.raises(ArtistidError, match=r"vote=mine\.vote cannot be exported.*mean_probability"):
        Count("mine.vote")
