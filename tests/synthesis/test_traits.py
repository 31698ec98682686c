# ruff: noqa: RUF009 - the calls in these classes declare fields; they are not defaults
from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np
import pytest

from artistid.synthesis.style import (
    Odds,
    RangeTrait,
    Style,
    choice,
    draw_artist,
    draw_style,
    habit,
    nested,
    read_traits,
    trait,
    vector_size,
)


@dataclass(frozen=True)
class Inner:
    level: float = trait(-6.0, 6.0)


@dataclass(frozen=True)
class Outer:
    tempo: float = trait(50.0, 200.0, log=True)
    bands: tuple[float, ...] = trait(0.0, 1.0, size=3)
    pattern: str = choice("a", "b")
    words: Odds = habit("x", "y")
    inner: Inner = nested(Inner)


def test_zero_is_the_middle_of_every_range() -> None:
    middle = read_traits(Outer, np.zeros(vector_size(Outer)))
    assert middle.tempo == pytest.approx(100.0)
    assert middle.bands == pytest.approx((0.5, 0.5, 0.5))
    assert middle.inner.level == pytest.approx(0.0)
    assert middle.words.cumulative == pytest.approx((0.5, 1.0))


def test_each_trait_reads_its_own_entries() -> None:
    assert vector_size(Outer) == 1 + 3 + 2 + 2 + 1
    low, high = -9.0, 9.0
    outer = read_traits(Outer, np.array([low, low, 0.0, high, 0.0, 1.0, high, 0.0, high]))
    assert outer.tempo == pytest.approx(50.0)
    assert outer.bands == pytest.approx((0.0, 0.5, 1.0))
    assert outer.pattern == "b"
    assert outer.words.cumulative[0] > 0.99
    assert outer.inner.level == pytest.approx(6.0)


@pytest.mark.parametrize("log", [False, True])
def test_a_range_rises_with_its_entry_and_is_never_left(log: bool) -> None:
    values = [RangeTrait(2.0, 50.0, log, 1).read(np.array([z])) for z in (-100.0, -2.0, -1.0, 0.0, 1.0, 2.0, 100.0)]
    assert values == sorted(values)
    assert values[0] == pytest.approx(2.0)
    assert values[-1] == pytest.approx(50.0)


def test_odds_are_drawn_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    odds = Odds(("x", "y", "z"), (0.2, 0.3, 1.0))
    draws = [odds.draw(rng) for _ in range(4000)]
    assert [draws.count(option) / 4000 for option in "xyz"] == pytest.approx([0.2, 0.1, 0.7], abs=0.03)


def test_artists_of_strength_0_are_one_and_the_same() -> None:
    artists = [draw_artist(np.random.default_rng(seed), 0.0) for seed in (1, 2)]
    styles = [draw_style(artist, np.random.default_rng(3)) for artist in artists]
    assert styles[0] == styles[1]
    assert draw_style(artists[0], np.random.default_rng(4)) != styles[0], "songs differ all the same"


def test_strength_moves_an_artist_away_in_proportion() -> None:
    half, whole = (draw_artist(np.random.default_rng(1), strength).centre for strength in (0.5, 1.0))
    np.testing.assert_allclose(2.0 * half, whole)


def test_no_single_trait_gives_an_artist_away() -> None:
    """Nearest artist by the mean of one number over half of the songs, for every number of a style."""
    artists = [draw_artist(np.random.default_rng([7, a]), 1.0) for a in range(8)]
    rng = np.random.default_rng(8)
    songs = np.array([[_numbers(draw_style(artist, rng)) for _ in range(40)] for artist in artists])
    assert songs.shape[2] > 80
    means = songs[:, :20].mean(axis=1)  # (artist, trait)
    nearest = np.abs(songs[:, 20:, None, :] - means[None, None]).argmin(axis=2)  # (artist, song, trait)
    accuracy = (nearest == np.arange(8)[:, None, None]).mean(axis=(0, 1))
    assert accuracy.max() < 0.7
    assert accuracy.mean() > 0.2, "each tells a little: chance is 0.125"


def _numbers(style: Style) -> list[float]:
    return [value for value in _flat(astuple(style)) if isinstance(value, float)]


def _flat(values: tuple) -> list:
    return [leaf for value in values for leaf in (_flat(value) if isinstance(value, tuple) else [value])]
