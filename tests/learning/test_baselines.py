from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression

from artistid.data.clips import ClipSpec, index_clips
from artistid.learning.baselines import Samples, clip_scores, subsample_clips
from artistid.learning.choosing import Scores, likeliest_temperature, temperature_of, to_predictions
from tests.data.stores import make_store

TEN = ClipSpec(name="x", seconds=1, frames=10)


def test_scores_of_a_clip_are_means_over_its_samples() -> None:
    X, y = np.random.default_rng(0).normal(size=(60, 2)), np.arange(60) % 3
    model = LogisticRegression().fit(X, y)
    found = clip_scores(model, Samples(X[:6], np.array([0, 0, 0, 1, 2, 2])), 3)
    rows = model.decision_function(X[:6])
    assert found == pytest.approx(np.stack([rows[:3].mean(axis=0), rows[3], rows[4:].mean(axis=0)]))


def test_whom_nobody_trained_on_is_never_named() -> None:
    model = LogisticRegression().fit(np.array([[0.0], [1.0], [2.0]]), [0, 2, 3])
    found = clip_scores(model, Samples(np.array([[0.5]]), np.array([0])), 5)
    assert np.isneginf(found[0]).tolist() == [False, True, False, False, True]


def test_probabilities_serve_where_there_are_no_scores() -> None:
    model = DummyClassifier(strategy="prior").fit(np.zeros((4, 1)), [0, 0, 0, 1])
    found = clip_scores(model, Samples(np.zeros((1, 1)), np.array([0])), 2)
    assert np.exp(found) == pytest.approx(np.array([[0.75, 0.25]]))


def test_temperature_undoes_overconfidence() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(5000, 4))
    label = np.array([random.choice(4, p=np.exp(row)) for row in log_softmax(logits, axis=1)])
    assert likeliest_temperature(7 * logits, label) == pytest.approx(7, rel=0.1)
    assert likeliest_temperature(logits / 100, label) == pytest.approx(0.01, rel=0.1)


def test_nothing_is_certain_for_want_of_mistakes() -> None:
    right = 5 * np.eye(3)[np.arange(20) % 3]
    temperature = likeliest_temperature(right, np.arange(20) % 3)
    assert 0.9 < np.exp(log_softmax(right[0] / temperature))[0] < 0.99


def test_temperature_does_without_unknown_artists() -> None:
    scores = np.array([[2.0, 0.0, -np.inf], [0.0, 2.0, -np.inf], [2.0, 0.0, -np.inf], [1.0, 1.0, -np.inf]])
    label = np.array([0, 1, 1, 2])
    assert likeliest_temperature(scores, label) == pytest.approx(likeliest_temperature(scores[:3, :2], label[:3]))
    assert likeliest_temperature(scores[3:], label[3:]) == 1


def test_temperature_is_of_songs_where_songs_are_named() -> None:
    draw = np.random.default_rng(0)
    songs, label = draw.normal(size=(40, 3)), draw.integers(3, size=40)
    song = np.repeat(np.arange(40), 5)
    of_clip = draw.normal(size=(200, 3))
    assert temperature_of(Scores(of_clip, songs[song]), label[song], song) == likeliest_temperature(songs, label)
    assert temperature_of(Scores(of_clip), label[song], song) == likeliest_temperature(of_clip, label[song])


def test_predictions_do_not_depend_on_the_temperature() -> None:
    catalog, store = make_store({"a/1/x": 30, "b/1/y": 20})
    clips = index_clips(store.rows_of(catalog, ("a", "b")), TEN)
    scores = np.array([[3.0, 1.0], [0.0, 2.0], [1.0, 0.5], [0.0, 1.0], [5.0, 9.0]])
    (_, cold), (_, warm) = (to_predictions(Scores(scores), temperature, clips, ("a", "b")) for temperature in (0.1, 50))
    assert cold.predicted.tolist() == warm.predicted.tolist() == [0, 1, 0, 1, 1]
    assert cold.probability.max() > 0.99 > 0.6 > warm.probability.max()


@pytest.mark.parametrize(("most", "expected"), [(None, [0, 1, 2, 3, 4, 0, 1]), (3, [0, 2, 4, 0, 1]), (1, [0, 0])])
def test_clips_are_spread_over_a_song(most: int | None, expected: list[int]) -> None:
    catalog, store = make_store({"a/1/x": 50, "b/1/y": 20})
    assert subsample_clips(index_clips(store.rows_of(catalog, ("a", "b")), TEN), most).clip.tolist() == expected
