from __future__ import annotations

from math import comb

import numpy as np
import pytest
from sklearn.metrics import f1_score

from artistid.errors import ArtistidError
from artistid.evaluation.comparison import compare, compare_trials, holm, mcnemar
from artistid.evaluation.predictions import Predictions
from artistid.evaluation.scores import Estimate
from artistid.evaluation.voting import vote

ARTISTS = ("A", "B", "C", "D")


def songs(right: np.ndarray, label: np.ndarray, artists: tuple[str, ...] = ARTISTS, clips: int = 1) -> Predictions:
    """A system that is sure of the true artist where ``right``, and of the next one elsewhere."""
    predicted = np.where(right, label, (label + 1) % len(ARTISTS))
    names = np.array(ARTISTS, dtype=object)
    column = [artists.index(name) for name in names[predicted].repeat(clips)]
    return Predictions(
        artists=artists,
        track_id=[f"song {song:03}" for song in np.arange(len(label)).repeat(clips)],
        clip=np.tile(np.arange(clips), len(label)),
        artist=names[label].repeat(clips),
        probability=np.eye(len(artists))[column],
    )


@pytest.fixture
def truth() -> np.ndarray:
    return np.random.default_rng(0).integers(4, size=60)


def test_numbers_by_hand(truth: np.ndarray) -> None:
    first, second = np.ones(60, dtype=bool), np.ones(60, dtype=bool)
    second[:9] = False  # nine songs for the first alone
    first[9:11] = False  # two for the second alone
    first[11:20] = second[11:20] = False  # which say nothing
    found = compare(songs(first, truth), songs(second, truth))
    assert (found.only_first, found.only_second, found.n, found.trials) == (9, 2, 60, 1)
    # At most two heads, or at most two tails, of eleven fair coins.
    assert found.p_value == pytest.approx(2 * sum(comb(11, heads) for heads in range(3)) / 2**11)
    f1 = [f1_score(truth, np.where(right, truth, (truth + 1) % 4), average="weighted") for right in (first, second)]
    assert found.difference == pytest.approx(f1[0] - f1[1], abs=1e-6)
    assert found.ci95[0] < found.difference < found.ci95[1]


def test_turned_round_it_is_the_opposite(truth: np.ndarray) -> None:
    generator = np.random.default_rng(1)
    first, second = songs(generator.random(60) < 0.8, truth), songs(generator.random(60) < 0.6, truth)
    there, back = compare(first, second), compare(second, first)
    assert back.difference == pytest.approx(-there.difference)
    assert back.ci95 == pytest.approx((-there.ci95[1], -there.ci95[0]))
    assert (back.only_first, back.only_second, back.p_value) == (there.only_second, there.only_first, there.p_value)


def test_a_system_and_itself_do_not_differ(truth: np.ndarray) -> None:
    system = songs(np.random.default_rng(2).random(60) < 0.7, truth)
    found = compare(system, system)
    assert (found.difference, found.p_value) == (0, 1)
    assert found.ci95 == pytest.approx((0, 0), abs=0.05), "it rises and falls as the system itself does"


def test_systems_without_a_mistake_on_few_songs_may_make_some_on_others() -> None:
    label = np.arange(8) % 4
    found = compare(songs(np.ones(8, bool), label), songs(np.ones(8, bool), label))
    assert found.difference == 0
    assert found.ci95[0] == -found.ci95[1] < -0.3


def test_every_draw_has_the_same_songs_for_both(truth: np.ndarray) -> None:
    """Against scikit-learn on the drawn songs, put together one by one."""
    label = truth[:12]
    generator = np.random.default_rng(3)
    right = generator.random((2, 12)) < 0.6
    predicted = np.where(right, label, (label + 1) % 4)
    drawing = np.random.default_rng(5)
    f1 = []
    for _ in range(40):
        rows = drawing.integers(12, size=12)
        f1.append([f1_score(label[rows], system[rows], average="weighted", zero_division=0) for system in predicted])
    found = compare(songs(right[0], label), songs(right[1], label), draws=40, seed=5)
    first, second = (
        Estimate(f1_score(label, system, average="weighted"), np.array(draws), 12)
        for system, draws in zip(predicted, zip(*f1, strict=True), strict=True)
    )
    assert found.ci95 == pytest.approx(first.minus(second), abs=1e-6)


def test_pairing_makes_the_interval_of_similar_systems_narrow(truth: np.ndarray) -> None:
    right = np.random.default_rng(6).random(60) < 0.6
    almost = right.copy()
    almost[np.flatnonzero(right)[0]] = False
    low, high = compare(songs(right, truth), songs(almost, truth)).ci95
    assert -0.02 < low < high < 0.08


def test_systems_may_cut_and_order_differently(truth: np.ndarray) -> None:
    right = np.random.default_rng(7).random(60) < 0.6
    found = compare(songs(right, truth, clips=3), songs(right, truth, artists=("D", "B", "A", "C")))
    assert (found.difference, found.only_first, found.only_second) == (pytest.approx(0, abs=1e-6), 0, 0)


def test_trials_are_taken_together(truth: np.ndarray) -> None:
    generator = np.random.default_rng(8)
    pairs = [
        (songs(generator.random(n) < 0.8, truth[:n]), songs(generator.random(n) < 0.5, truth[:n])) for n in (60, 30)
    ]
    single = [compare(*pair) for pair in pairs]
    both = compare_trials([(vote(first), vote(second)) for first, second in pairs])
    assert both.difference == pytest.approx(np.mean([found.difference for found in single]))
    assert both.only_first == sum(found.only_first for found in single)
    assert (both.n, both.trials) == (90, 2)
    assert both.p_value == mcnemar(both.only_first, both.only_second)


def test_other_songs_and_other_truths_are_refused(truth: np.ndarray) -> None:
    right = np.ones(60, dtype=bool)
    with pytest.raises(ArtistidError, match=r"of 60 and 59 songs, these are in only one of them: song 059 \("):
        compare(songs(right, truth), songs(right[:59], truth[:59]))
    other = truth.copy()
    other[0] = (truth[0] + 1) % 4
    with pytest.raises(ArtistidError, match=r"song 000 \(.\), song 000 \(.\)$"):
        compare(songs(right, truth), songs(right, other))


def test_holm_by_hand() -> None:
    # Sorted: .01 × 4, .02 × 3, .03 × 2 (no less than before), .5 × 1.
    np.testing.assert_allclose(holm([0.5, 0.01, 0.03, 0.02]), [0.5, 0.04, 0.06, 0.06])
    np.testing.assert_allclose(holm([0.9, 0.8]), [1, 1])
    assert holm([]).tolist() == []
