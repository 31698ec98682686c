from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import softmax

from artistid.errors import ArtistidError
from artistid.evaluation.fusion import fuse, likeliest_weights
from artistid.evaluation.predictions import Predictions
from artistid.evaluation.voting import SongVotes, vote

ARTISTS = ("a", "b", "c")


def said(logits: NDArray[np.float64], label: NDArray[np.int64], artists: tuple[str, ...] = ARTISTS) -> SongVotes:
    """A system that says this of one clip of each song."""
    songs = [f"{number:05}" for number in range(len(label))]
    names = [artists[each] for each in label]
    zero = np.zeros(len(label), np.int32)
    return vote(Predictions(artists, songs, zero, names, softmax(logits, axis=1)))


def drawn(n: int, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Logits, and labels drawn with the probabilities that they mean."""
    draw = np.random.default_rng(seed)
    logits = 2 * draw.normal(size=(n, 3))
    return logits, np.array([draw.choice(3, p=row) for row in softmax(logits, axis=1)])


def test_fusion_is_the_normalised_geometric_mean() -> None:
    label = np.array([0, 1])
    first, second = np.log([[0.5, 0.3, 0.2], [0.1, 0.8, 0.1]]), np.log([[0.2, 0.5, 0.3], [0.4, 0.2, 0.4]])
    fused = fuse([said(first, label), said(second, label)], [0.5, 0.5]).probability
    expected = np.exp((first + second) / 2)
    assert fused == pytest.approx(expected / expected.sum(axis=1, keepdims=True), abs=1e-6)


def test_one_system_alone_is_itself() -> None:
    logits, label = drawn(20)
    assert fuse([said(logits, label)], [1]).probability == pytest.approx(softmax(logits, axis=1), abs=1e-6)


def test_weights_are_those_that_evidence_was_shared_by() -> None:
    """The truth follows 0.7 of the first system's logits and 0.4 of the second's, and nothing of the third's."""
    draw = np.random.default_rng(1)
    logits, label = drawn(6000)
    second, third = 2 * draw.normal(size=(2, 6000, 3))
    first = (logits - 0.4 * second) / 0.7
    weights = likeliest_weights([said(each, label) for each in (first, second, third)])
    assert weights == pytest.approx([0.7, 0.4, 0], abs=0.05)
    assert min(weights) >= 0


def test_a_system_that_misleads_has_no_weight() -> None:
    logits, label = drawn(500)
    assert likeliest_weights([said(-logits, label)]) == 0


def test_certainty_is_doubted() -> None:
    label = np.arange(30) % 3
    weights = likeliest_weights([said(5 * np.eye(3)[label], label)])
    assert np.isfinite(weights).all()
    assert 0.9 < fuse([said(5 * np.eye(3)[label], label)], weights).probability.max() < 0.99


def test_other_songs_or_artists_are_told() -> None:
    logits, label = drawn(4)
    with pytest.raises(ArtistidError, match="same test songs"):
        fuse([said(logits, label), said(logits[:3], label[:3])], [1, 1])
    another = said(np.zeros((4, 4)), label, (*ARTISTS, "x"))
    with pytest.raises(ArtistidError, match="same artists"):
        fuse([said(logits, label), another], [1, 1])
