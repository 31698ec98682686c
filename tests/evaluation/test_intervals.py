"""How often the 95 % intervals hold the truth: test sets are drawn from populations whose F1 is known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from artistid.evaluation.scores import DRAWS, Estimate, Outcome, f1_draws, mean_f1, mean_interval, share_interval
from tests.thorough import some

SONGS = (8, 12, 20, 32, 60, 150)
CLIPS = 7  # of a song
Floats = NDArray[np.float64]


class Population(NamedTuple):
    """Of songs by equally many artists: ``confusion`` (artists, artists), how often each is taken for each."""

    confusion: Floats

    @classmethod
    def draw(cls, artists: int, accuracy: float, generator: np.random.Generator) -> Population:
        """Artists are unlike: some are known surely, and mistakes have favourites."""
        spread = min(accuracy, 1 - accuracy) * generator.uniform(-0.5, 0.5, artists)
        right = accuracy + spread - spread.mean()
        others = generator.dirichlet(np.full(artists, 0.5), artists) * (1 - np.eye(artists))
        others *= ((1 - right) / others.sum(axis=1))[:, None]
        return cls(others + np.diag(right))

    @property
    def artists(self) -> int:
        return len(self.confusion)

    def f1(self, label: NDArray[np.integer]) -> float:
        """Weighted F1 of endlessly many songs, the artists in the shares that ``label`` (songs,) has."""
        share = np.bincount(label, minlength=self.artists) / len(label)
        named = share @ self.confusion
        return float((share * 2 * share * self.confusion.diagonal() / (share + named)).sum())

    def outcome(self, songs: int, level: str, generator: np.random.Generator) -> Outcome:
        """A test set; at frame level the clips of a song resemble one another."""
        label, song = np.arange(songs) % self.artists, np.arange(songs)
        chance = self.confusion[label]
        if level == "frame":
            of_song = generator.standard_gamma(2 * chance + 1e-9)
            chance = (of_song / of_song.sum(axis=1, keepdims=True)).repeat(CLIPS, axis=0)
            label, song = label.repeat(CLIPS), song.repeat(CLIPS)
        predicted = (chance.cumsum(axis=1) < generator.random((len(chance), 1))).sum(axis=1)
        return Outcome(label, np.minimum(predicted, self.artists - 1), song, self.artists)


def populations(songs: int, seed: int, each: int) -> Iterator[tuple[Population, np.random.Generator]]:
    """Artists few and many, easy and hard."""
    generator = np.random.default_rng([songs, seed])
    for artists in (2, 4, 8, 20):
        for accuracy in (0.3, 0.6, 0.85, 0.95, 0.99):
            if artists <= songs and accuracy > 1 / artists:
                for _ in range(each):
                    yield Population.draw(artists, accuracy, generator), generator


def coverage(songs: int, level: str, each: int, draws: int = 300) -> tuple[Floats, int]:
    """How often the interval, and the middle 95 % of its draws, hold the truth; and of how many test sets."""
    held = []
    for population, generator in populations(songs, level == "song", each):
        outcome = population.outcome(songs, level, generator)
        truth = population.f1(outcome.label)
        estimate = mean_f1([outcome], draws, generator)
        middle = np.quantile(estimate.draws, [0.025, 0.975])
        held.append([low <= truth + 1e-9 and truth - 1e-9 <= high for low, high in (estimate.interval, middle)])
    return np.mean(held, axis=0), len(held)


def test_few_songs_are_covered() -> None:
    (ours, percentile), _ = coverage(12, "song", each=10, draws=200)
    assert 0.93 <= ours <= 1
    assert percentile < 0.9, "which is what was wrong with it"


@pytest.mark.slow
@pytest.mark.parametrize("level", ["frame", "song"])
def test_coverage_of_a_score(level: str, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\n{level} level: the truth is in the interval (in the middle 95 % of the draws)")
        for songs in some(SONGS, 2):
            (ours, percentile), n = coverage(songs, level, each=30)
            print(f"{songs:4} songs: {ours:.3f} ({percentile:.3f}), n = {n}")
            assert 0.92 <= ours <= 0.995
            assert ours > percentile - 0.01


@pytest.mark.slow
def test_coverage_of_a_difference(capsys: pytest.CaptureFixture[str]) -> None:
    """Two systems tested on the same songs, which are easy or hard for both."""
    with capsys.disabled():
        print("\ndifference of two systems: the truth is in the interval (in the middle 95 % of the draws)")
        for songs in some(SONGS, 2):
            held = []
            for first, generator in populations(songs, seed=2, each=10):
                second = Population.draw(first.artists, 0.7, generator)
                state = generator.bit_generator.state
                outcomes = []
                for population in (first, second):
                    generator.bit_generator.state = state  # the same luck
                    outcomes.append(population.outcome(songs, "song", generator))
                truth = first.f1(outcomes[0].label) - second.f1(outcomes[0].label)
                redrawn = f1_draws(outcomes, 300, generator)
                middle = np.quantile(redrawn[0] - redrawn[1], [0.025, 0.975])
                estimates = [
                    Estimate(mean_f1([outcome], 1, generator).value, draws, songs)
                    for outcome, draws in zip(outcomes, redrawn, strict=True)
                ]
                intervals = (estimates[0].minus(estimates[1]), middle)
                held.append([low <= truth + 1e-9 and truth - 1e-9 <= high for low, high in intervals])
            ours, percentile = np.mean(held, axis=0)
            print(f"{songs:4} songs: {ours:.3f} ({percentile:.3f}), n = {len(held)}")
            assert ours >= 0.92
            assert ours > percentile - 0.01


def test_wilsons_interval_of_a_proportion() -> None:
    """9 of 10, whose standard error is √(0.9 · 0.1 / 10): Wilson's with Student's 2.262 for 9 degrees of freedom."""
    z2 = 2.2621571627409915**2
    middle, reach = (0.9 + z2 / 20) / (1 + z2 / 10), np.sqrt(z2 * (0.9 * 0.1 / 10 + z2 / 400)) / (1 + z2 / 10)
    assert share_interval(0.9, np.sqrt(0.9 * 0.1 / 10), 10) == pytest.approx([middle - reach, middle + reach])
    all_right = share_interval(1.0, 0.0, 10)
    assert all_right == pytest.approx([1 / (1 + z2 / 10), 1.0])
    assert share_interval(0.0, 0.0, 10) == pytest.approx([0.0, 1 - all_right[0]])


def test_one_song_says_nothing() -> None:
    assert share_interval(1.0, 0.0, 1) == [0.0, 1.0]
    one_each = [Outcome(np.zeros(3, int), np.zeros(3, int), np.zeros(3, int), 2)] * 2
    assert mean_f1(one_each, 10, np.random.default_rng(0)).interval == [0.0, 1.0]


@pytest.mark.parametrize("value", [0.0, 0.01, 0.5, 0.99, 1.0])
@pytest.mark.parametrize("error", [0.0, 1e-17, 0.001, 0.1, 0.4])
@pytest.mark.parametrize("songs", [2, 12, 10_000])
def test_an_interval_holds_its_score_and_is_of_a_share(value: float, error: float, songs: int) -> None:
    low, high = share_interval(value, error, songs)
    assert 0 <= low <= value <= high <= 1
    assert high > low


def test_the_mean_of_songs_needs_no_draws() -> None:
    values = np.array([1.0, 0.0, 1.0, 1.0, 0.5, 1.0])
    error = values.std(ddof=1) / np.sqrt(6)
    assert mean_interval(values) == pytest.approx(share_interval(values.mean(), error, 6))
    assert mean_interval(np.ones(4)) == share_interval(1.0, 0.0, 4)


def test_independent_differences_add_their_errors() -> None:
    generator = np.random.default_rng(0)
    first = Estimate(0.5, generator.normal(0.5, 0.03, DRAWS), 400)
    second = Estimate(0.5, generator.normal(0.5, 0.04, DRAWS), 400)
    low, high = first.minus(second)
    assert (low, high) == pytest.approx((-0.098, 0.098), rel=0.06)  # 1.96 · √(0.03² + 0.04²)
    together = Estimate(0.5, first.draws + 0.1, 400)
    assert first.minus(together) == pytest.approx((0, 0), abs=1e-6), "what moves together does not differ"
