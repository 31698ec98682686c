from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_recall_fscore_support

from artistid.evaluation.predictions import Predictions
from artistid.evaluation.scores import (
    Outcome,
    confusion,
    f1_draws,
    f1_weighted_interval,
    mean_f1,
    mean_f1_interval,
    outcomes,
    per_artist,
    score,
    score_levels,
    share_interval,
)
from artistid.evaluation.voting import vote


def one_hot(predicted: np.ndarray, n_artists: int) -> np.ndarray:
    return np.eye(n_artists)[predicted]


def random_predictions(seed: int, n_songs: int = 60, n_artists: int = 5) -> Predictions:
    """Songs of 1 to 8 clips, most of them recognised more often than not."""
    generator = np.random.default_rng(seed)
    artists = tuple(f"artist {number}" for number in range(n_artists))
    n_clips = generator.integers(1, 9, size=n_songs)
    label = generator.integers(n_artists, size=n_songs).repeat(n_clips)
    scores = generator.normal(size=(len(label), n_artists)) + 1.5 * one_hot(label, n_artists)
    return Predictions(
        artists=artists,
        track_id=[f"song {song:03}" for song in np.arange(n_songs).repeat(n_clips)],
        clip=np.concatenate([np.arange(n) for n in n_clips]),
        artist=[artists[number] for number in label],
        probability=np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True),
    )


class TestScore:
    @pytest.mark.parametrize("seed", range(20))
    def test_agrees_with_scikit_learn(self, seed: int) -> None:
        """Few samples of many artists: some are absent from the truth, some from the predictions, some from both."""
        generator = np.random.default_rng(seed)
        n_artists, n = generator.integers(2, 40), generator.integers(1, 80)
        label, predicted = generator.integers(n_artists, size=(2, n))
        predicted = np.where(generator.random(n) < 0.5, label, predicted)
        ours = score(label, one_hot(predicted, n_artists), draws=0)
        for average in ("weighted", "macro"):
            theirs = f1_score(label, predicted, average=average, zero_division=0)
            assert ours[f"f1_{average}"] == pytest.approx(theirs, abs=1e-6)
        assert ours["accuracy"] == pytest.approx(accuracy_score(label, predicted), abs=1e-12)
        assert ours["n"] == n

    def test_thousands_of_artists_fit_into_memory(self) -> None:
        """Also in torch's deterministic mode, which a training leaves on; it would take 96 GB otherwise."""
        generator = np.random.default_rng(0)
        label = generator.integers(2000, size=3000)
        predicted = np.where(generator.random(3000) < 0.5, label, generator.integers(2000, size=3000))
        torch.use_deterministic_algorithms(True)
        try:
            ours = score(label, one_hot(predicted, 2000), draws=0)
            assert torch.are_deterministic_algorithms_enabled()
        finally:
            torch.use_deterministic_algorithms(False)
        theirs = f1_score(label, predicted, average="weighted", zero_division=0)
        assert ours["f1_weighted"] == pytest.approx(theirs, abs=1e-6)

    def test_absent_artists_by_hand(self) -> None:
        # Artist 0: two of two. Artist 1: one of two. Artist 2: predicted, never true. Artist 3: neither.
        label, predicted = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 2])
        scores = score(label, one_hot(predicted, 4), draws=0)
        assert scores["f1_macro"] == pytest.approx((1 + 2 / 3 + 0) / 3, abs=1e-6)
        assert scores["f1_weighted"] == pytest.approx((2 * 1 + 2 * 2 / 3) / 4, abs=1e-6)

    def test_top3_by_hand(self) -> None:
        ranking = np.array([[5, 4, 3, 2, 1], [5, 4, 3, 2, 1], [1, 2, 3, 4, 5]])
        assert score(np.array([2, 3, 4]), ranking, draws=0)["top3"] == pytest.approx(2 / 3)

    def test_of_equals_the_artist_listed_first_comes_first(self) -> None:
        ranking = np.full((5, 5), 0.2)
        scores = score(np.arange(5), ranking, draws=0)
        assert scores["top3"] == pytest.approx(3 / 5)
        assert scores["accuracy"] == pytest.approx(1 / 5)

    @pytest.mark.parametrize("n_artists", [1, 2, 3])
    def test_top3_of_three_artists_or_fewer_is_certain(self, n_artists: int) -> None:
        ranking = np.random.default_rng(0).random((50, n_artists))
        assert score(np.arange(50) % n_artists, ranking, draws=0)["top3"] == 1

    def test_a_single_artist_scores_one(self) -> None:
        scores = score(np.zeros(4, dtype=int), np.ones((4, 1)))
        assert (scores["f1_weighted"], scores["f1_macro"], scores["accuracy"]) == (1, 1, 1)
        low, high = scores["f1_weighted_ci95"]
        assert 0.2 < low < 0.4, "four songs say little of all others"
        assert high == 1

    def test_plain_numbers_that_json_takes(self) -> None:
        predictions = random_predictions(seed=0)
        scores = score(predictions.label, predictions.probability, predictions.track_index)
        assert json.loads(json.dumps(scores)) == scores
        assert list(scores) == ["f1_weighted", "f1_macro", "accuracy", "top3", "n", "f1_weighted_ci95"]
        assert [type(value) for value in scores.values()] == [float, float, float, float, int, list]

    def test_no_draws_no_interval(self) -> None:
        predictions = random_predictions(seed=0)
        cheap = score(predictions.label, predictions.probability, draws=0)
        full = score(predictions.label, predictions.probability)
        interval = full.pop("f1_weighted_ci95")
        assert interval[0] < full["f1_weighted"] < interval[1]
        assert cheap == full


class TestInterval:
    def test_one_song_leaves_nothing_to_chance(self) -> None:
        """Every draw is the whole test set: its F1 is the one of scikit-learn, and says nothing of other songs."""
        generator = np.random.default_rng(0)
        label, predicted = generator.integers(7, size=(2, 50))
        outcome = Outcome(label, predicted, np.zeros(50, dtype=int), 7)
        expected = f1_score(label, predicted, average="weighted")
        assert f1_draws([outcome], 20, generator) == pytest.approx(np.full((1, 20), expected), abs=1e-12)
        assert f1_weighted_interval(*outcome, draws=20) == [0, 1]

    def test_every_draw_is_the_weighted_f1_of_the_drawn_songs(self) -> None:
        """Against scikit-learn on the clips of the songs that were drawn, put together one by one."""
        predictions = random_predictions(seed=1, n_songs=9)
        label, predicted, song = predictions.label, predictions.predicted, predictions.track_index
        generator = np.random.default_rng(3)
        f1 = []
        for _ in range(50):
            rows = np.concatenate([np.flatnonzero(song == drawn) for drawn in generator.integers(9, size=9)])
            f1.append(f1_score(label[rows], predicted[rows], average="weighted", zero_division=0))
        outcome = Outcome(label, predicted, song, 5)
        np.testing.assert_allclose(f1_draws([outcome], 50, np.random.default_rng(3))[0], f1, atol=1e-12)
        error = np.std(f1) * np.sqrt(9 / 8)
        expected = share_interval(f1_score(label, predicted, average="weighted"), error, 9)
        np.testing.assert_allclose(f1_weighted_interval(*outcome, draws=50, seed=3), expected, atol=1e-6)

    def test_copies_of_a_clip_add_no_certainty(self) -> None:
        """A song of ten equal clips says as much as a song of one; taken for ten songs it would seem to say more."""
        generator = np.random.default_rng(2)
        label, predicted = generator.integers(3, size=(2, 80))
        predicted = np.where(generator.random(80) < 0.6, label, predicted)
        single = f1_weighted_interval(label, predicted, np.arange(80), 3)
        copies = [values.repeat(10) for values in (label, predicted, np.arange(80))]
        assert f1_weighted_interval(*copies, 3) == pytest.approx(single, abs=1e-6)
        low, high = f1_weighted_interval(*copies[:2], np.arange(800), 3)
        assert high - low < 0.5 * (single[1] - single[0])

    def test_width_is_that_of_a_proportion(self) -> None:
        """Two artists mistaken alike: the weighted F1 is close to the accuracy, whose error is known."""
        n, accuracy = 2000, 0.8
        label = np.arange(n) % 2
        predicted = np.where(np.arange(n) // 2 % 5 == 0, 1 - label, label)
        low, high = f1_weighted_interval(label, predicted, np.arange(n), 2)
        assert (low + high) / 2 == pytest.approx(accuracy, abs=0.003)
        assert high - low == pytest.approx(2 * 1.96 * np.sqrt(accuracy * (1 - accuracy) / n), rel=0.1)

    def test_holds_the_truth_about_as_often_as_it_says(self) -> None:
        generator = np.random.default_rng(4)
        n, accuracy, trials = 200, 0.8, 200
        label = np.arange(n) % 2
        held = 0
        for trial in range(trials):
            predicted = np.where(generator.random(n) < accuracy, label, 1 - label)
            low, high = f1_weighted_interval(label, predicted, np.arange(n), 2, draws=300, seed=trial)
            held += low <= accuracy <= high
        assert 0.90 <= held / trials <= 0.99

    def test_same_seed_same_interval_and_other_seed_another(self) -> None:
        predictions = random_predictions(seed=5)
        arguments = (predictions.label, predictions.predicted, predictions.track_index, 5)
        assert f1_weighted_interval(*arguments) == f1_weighted_interval(*arguments, seed=0)
        assert f1_weighted_interval(*arguments) != f1_weighted_interval(*arguments, seed=1)

    def test_what_is_held_in_memory_does_not_change_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        predictions = random_predictions(seed=6)
        arguments = (predictions.label, predictions.predicted, predictions.track_index, 5)
        at_once = f1_weighted_interval(*arguments)
        monkeypatch.setattr("artistid.evaluation.scores.WEIGHTS_AT_ONCE", 7 * 60)
        assert f1_weighted_interval(*arguments) == at_once

    @pytest.mark.slow
    def test_large_test_sets_are_affordable(self) -> None:
        generator = np.random.default_rng(0)
        label = generator.integers(200, size=55_000)
        predicted = np.where(generator.random(55_000) < 0.7, label, generator.integers(200, size=55_000))
        low, high = f1_weighted_interval(label, predicted, np.arange(55_000), 200)
        assert 0 < high - low < 0.01


class TestLevels:
    def test_levels_are_the_clips_and_the_songs_that_voted(self) -> None:
        predictions = random_predictions(seed=7)
        levels = score_levels(predictions, "mean_logprob", draws=200, seed=3)
        votes = vote(predictions, "mean_logprob")
        assert list(levels) == ["frame", "song"]
        assert levels["frame"]["n"] == len(predictions)
        assert levels["song"] == score(votes.label, votes.ranking, draws=200, seed=3)
        by_song = f1_weighted_interval(
            predictions.label, predictions.predicted, predictions.track_index, 5, draws=200, seed=3
        )
        assert levels["frame"]["f1_weighted_ci95"] == by_song, "clips are resampled with their song"

    def test_the_method_matters(self) -> None:
        # Two clips hesitantly for Prince, one surely for Queen.
        predictions = Predictions(
            ("Queen", "Prince"), ["t"] * 3, [0, 1, 2], ["Queen"] * 3, [[0.45, 0.55], [0.45, 0.55], [0.99, 0.01]]
        )
        assert score_levels(predictions, "majority")["song"]["accuracy"] == 0
        assert score_levels(predictions, "mean_logprob")["song"]["accuracy"] == 1

    def test_voting_helps_when_clips_err_independently(self) -> None:
        levels = score_levels(random_predictions(seed=8, n_songs=300), draws=0)
        assert levels["song"]["f1_weighted"] > levels["frame"]["f1_weighted"] + 0.05


class TestPerArtist:
    def test_agrees_with_scikit_learn(self) -> None:
        predictions = random_predictions(seed=9)
        votes = vote(predictions)
        frame = per_artist(predictions, votes)
        assert frame["level"].tolist() == ["frame"] * 5 + ["song"] * 5
        for level, truth in (("frame", predictions), ("song", votes)):
            rows = frame[frame["level"] == level]
            expected = precision_recall_fscore_support(truth.label, truth.predicted, labels=range(5), zero_division=0)
            assert rows["artist"].tolist() == list(predictions.artists)
            for column, values in zip(("precision", "recall", "f1", "n"), expected, strict=True):
                np.testing.assert_allclose(rows[column], values, atol=1e-12, err_msg=f"{level} {column}")

    def test_confusions_and_absent_artists_by_hand(self) -> None:
        artists = ("Queen", "Prince", "Cher", "Björk")
        predicted = [0, 1, 1, 2, 1]  # four clips of Queen, one of Prince
        predictions = Predictions(
            artists, ["q"] * 4 + ["p"], [0, 1, 2, 3, 0], ["Queen"] * 4 + ["Prince"], one_hot(np.array(predicted), 4)
        )
        rows = per_artist(predictions, vote(predictions)).query("level == 'frame'").set_index("artist")
        assert rows["confused_with"].tolist() == ["Prince", "", "", ""]
        assert rows["confused_n"].tolist() == [2, 0, 0, 0]
        assert rows["n"].tolist() == [4, 1, 0, 0]
        np.testing.assert_allclose(rows["precision"], [1, 1 / 3, 0, 0])
        np.testing.assert_allclose(rows["recall"], [1 / 4, 1, 0, 0])


def test_confusion_agrees_with_scikit_learn() -> None:
    label, predicted = np.random.default_rng(10).integers(6, size=(2, 300))
    np.testing.assert_array_equal(confusion(label, predicted, 8), confusion_matrix(label, predicted, labels=range(8)))


class TestMeanOverTrials:
    def test_one_trial_has_the_interval_of_a_run(self) -> None:
        predictions = random_predictions(seed=11)
        levels = score_levels(predictions)
        for level, outcome in outcomes(predictions, vote(predictions)).items():
            assert mean_f1_interval([outcome]) == levels[level]["f1_weighted_ci95"]

    def test_songs_are_redrawn_within_each_trial(self) -> None:
        """Against scikit-learn on the clips of the songs that were drawn, trial after trial."""
        trials = [random_predictions(seed=seed, n_songs=songs) for seed, songs in ((12, 8), (13, 6))]
        generator = np.random.default_rng(2)
        f1 = []
        for trial, songs in zip(trials, (8, 6), strict=True):
            drawn = [
                np.concatenate(
                    [np.flatnonzero(trial.track_index == song) for song in generator.integers(songs, size=songs)]
                )
                for _ in range(30)
            ]
            f1.append(
                [
                    f1_score(trial.label[rows], trial.predicted[rows], average="weighted", zero_division=0)
                    for rows in drawn
                ]
            )
        frame = [outcomes(trial, vote(trial))["frame"] for trial in trials]
        found = mean_f1(frame, 30, np.random.default_rng(2))
        np.testing.assert_allclose(found.draws, np.mean(f1, axis=0), atol=1e-12)
        assert (found.songs, found.trials) == (14, 2)
        assert found.error == pytest.approx(np.std(found.draws) * np.sqrt(14 / 12))
        expected = [score_levels(trial)["frame"]["f1_weighted"] for trial in trials]
        assert found.value == pytest.approx(np.mean(expected))
        assert mean_f1_interval(frame, draws=30, seed=2) == found.interval

    def test_more_trials_make_it_narrower(self) -> None:
        trials = [random_predictions(seed=seed) for seed in range(20, 29)]
        frame = [outcomes(trial, vote(trial))["frame"] for trial in trials]
        widths = [high - low for low, high in (mean_f1_interval(frame[:1]), mean_f1_interval(frame))]
        assert widths[1] < 0.5 * widths[0]
