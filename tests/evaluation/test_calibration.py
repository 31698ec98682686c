from __future__ import annotations

import numpy as np
import pytest

from artistid.evaluation.calibration import Reliability, confidences
from artistid.evaluation.predictions import Predictions
from artistid.evaluation.voting import vote


def test_error_is_the_distance_within_bins_by_their_samples() -> None:
    """Four at 0.95 of which three are right, one at 0.35 that is wrong: (4 × 0.2 + 0.35) / 5."""
    said = Reliability.of([0.95, 0.95, 0.95, 0.95, 0.35], [1, 1, 1, 0, 0])
    assert said.n.tolist() == [1, 4]
    assert said.confidence == pytest.approx([0.35, 0.95])
    assert said.accuracy == pytest.approx([0, 0.75])
    assert said.error == pytest.approx((4 * 0.2 + 0.35) / 5)


def test_who_is_right_as_often_as_said_has_no_error() -> None:
    draw = np.random.default_rng(0)
    confidence = draw.uniform(size=100_000)
    assert Reliability.of(confidence, draw.random(100_000) < confidence).error < 0.01
    assert Reliability.of(np.ones(5), np.ones(5)).error == 0, "certainty is in the last bin"


def test_confidence_is_of_whom_clips_and_songs_name() -> None:
    clips = Predictions(("a", "b"), ["x", "x", "y"], [0, 1, 0], ["a", "a", "b"], [[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]])
    found = confidences(clips, vote(clips, "mean_probability"))
    assert found["frame"].tolist() == pytest.approx([0.9, 0.6, 0.8])
    assert found["song"].tolist() == pytest.approx([0.65, 0.8])
