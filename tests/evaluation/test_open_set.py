"""None of them: the threshold, and how far unknown artists are told apart by it."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from artistid.errors import ArtistidError
from artistid.evaluation.open_set import OpenSetThreshold, calibrate, score_open_set


@pytest.mark.parametrize("n_songs", [1, 6, 20, 21, 100, 333])
@pytest.mark.parametrize("accepted", [0.8, 0.95])
def test_at_least_so_many_of_the_calibration_songs_are_accepted(n_songs: int, accepted: float) -> None:
    scores = np.random.default_rng(n_songs).uniform(0.2, 1, n_songs)
    open_set = calibrate(scores, accepted)
    assert open_set.threshold in scores
    share = np.mean(scores >= open_set.threshold)
    assert accepted <= share <= min(1, accepted + 2 / n_songs), "and hardly more"
    assert open_set.n_songs == n_songs


def test_separation() -> None:
    generator = np.random.default_rng(0)
    known, unknown = (generator.beta(*shape, 200).round(2) for shape in ((5, 2), (2, 2)))  # rounded: there are ties
    found = score_open_set(known, unknown[:50], OpenSetThreshold(threshold=0.5, accepted=0.95, n_songs=9))
    expected = roc_auc_score([1] * 200 + [0] * 50, [*known, *unknown[:50]])
    assert found["auroc"] == pytest.approx(expected)
    assert (found["known"], found["unknown"]) == (200, 50)
    assert found["known_accepted"] == np.mean(known >= 0.5)
    assert found["unknown_accepted"] == np.mean(unknown[:50] >= 0.5)


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_is_a_probability(threshold: float) -> None:
    with pytest.raises(ArtistidError, match=r"open_set\.threshold="):
        OpenSetThreshold(threshold=threshold, accepted=0.95, n_songs=3)
