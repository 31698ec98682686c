"""Recall at k and mean average precision of songs that look for others by their artist."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from artistid.evaluation.retrieval import (
    Gallery,
    average_precision,
    chance_of_precision,
    chance_of_recall,
    retrieval,
)


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def songs() -> dict[str, list[str]]:
    """Four artists with two albums of three songs each."""
    places = [(artist, album) for artist in "ABCD" for album in "12" for _ in range(3)]
    return {
        "artist": [artist for artist, _ in places],
        "album": [album for _, album in places],
        "recording": [f"sha{number}" for number in range(len(places))],
    }


def test_average_precision_agrees_with_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        relevant = generator.random(30) < 0.2
        relevant[generator.integers(30)] = True
        assert average_precision(relevant) == pytest.approx(average_precision_score(relevant, -np.arange(30)))


def test_chance_is_that_of_random_rankings() -> None:
    generator = np.random.default_rng(0)
    rankings = generator.permuted(np.tile(np.arange(12) < 3, (20_000, 1)), axis=1)
    size, to_find = np.array([12]), np.array([3])
    for k in (1, 5, 10):
        assert chance_of_recall(size, to_find, k)[0] == pytest.approx(rankings[:, :k].any(axis=1).mean(), abs=0.02)
    mean = np.mean([average_precision(relevant) for relevant in rankings])
    assert chance_of_precision(size, to_find)[0] == pytest.approx(mean, abs=0.01)


def test_chance_of_small_galleries() -> None:
    assert chance_of_recall(np.array([3, 1]), np.array([3, 1]), 5) == pytest.approx([1, 1])
    assert chance_of_precision(np.array([3, 1]), np.array([3, 1])) == pytest.approx([1, 1])


def test_artists_apart_are_all_found(songs: dict[str, list[str]]) -> None:
    directions = {artist: np.eye(4)[place] for place, artist in enumerate("ABCD")}
    vectors = unit(np.stack([directions[artist] for artist in songs["artist"]]))
    found = retrieval(Gallery.of(vectors, **songs), np.arange(24))
    assert found is not None
    assert {name: measure.value for name, measure in found.measures.items()} == {
        **{"R@1": 1, "R@5": 1, "R@10": 1},
        "mAP": pytest.approx(1),
    }
    assert (found.n, found.artists, found.gallery, found.without_answer) == (24, 4, 24, 0)
    assert found.recall[1].chance == pytest.approx(3 / 21)  # three songs of the other album, among all others but two


def test_the_own_album_does_not_count(songs: dict[str, list[str]]) -> None:
    albums = [artist + album for artist, album in zip(songs["artist"], songs["album"], strict=True)]
    names = sorted(set(albums))
    noise = 0.1 * np.random.default_rng(0).standard_normal((24, 8))
    vectors = unit(np.eye(8)[[names.index(album) for album in albums]] + noise)  # alike within albums, not across
    found = retrieval(Gallery.of(vectors, **songs), np.arange(24))
    assert found is not None
    assert found.measures["R@1"].value < 0.5
    counted = retrieval(Gallery.of(vectors, **songs), np.arange(24), same_album=True)
    assert counted is not None
    assert (counted.n, counted.measures["R@1"].value) == (found.n, 1), "the album is found instead"
    assert counted.recall[1].chance == pytest.approx(5 / 23)
    without_albums = retrieval(Gallery.of(vectors, **{**songs, "album": [""] * 24}), np.arange(24))
    assert without_albums is not None
    assert without_albums.measures["R@1"].value == 1


def test_copies_of_the_query_do_not_count(songs: dict[str, list[str]]) -> None:
    generator = np.random.default_rng(0)
    vectors = unit(generator.standard_normal((24, 8)))
    vectors[3] = vectors[0]  # A's first song, again on A's second album
    copied = {**songs, "recording": ["sha0" if number == 3 else f"sha{number}" for number in range(24)]}
    as_copy, as_song = (retrieval(Gallery.of(vectors, **each), np.array([0])) for each in (copied, songs))
    others = {name: values[:3] + values[4:] for name, values in songs.items()}
    without = retrieval(Gallery.of(np.delete(vectors, 3, axis=0), **others), np.array([0]))
    assert as_copy is not None
    assert as_song is not None
    assert without is not None
    assert as_song.measures["R@1"].value == 1
    assert as_copy.measures == without.measures
    assert as_copy.recall[1].chance == pytest.approx(2 / 20)


def test_queries_with_nothing_to_find_are_counted(songs: dict[str, list[str]]) -> None:
    vectors = unit(np.random.default_rng(0).standard_normal((24, 8)))
    songs["artist"][:3] = ["E"] * 3  # one album only
    found = retrieval(Gallery.of(vectors, **songs), np.arange(24))
    assert found is not None
    assert (found.n, found.without_answer) == (18, 6)  # A's other album has none to find either
    assert retrieval(Gallery.of(vectors, **songs), np.arange(3)) is None


def test_interval_holds_the_value_and_is_repeatable(songs: dict[str, list[str]]) -> None:
    vectors = unit(np.random.default_rng(0).standard_normal((24, 8)))
    gallery = Gallery.of(vectors, **songs)
    found, again = (retrieval(gallery, np.arange(24)) for _ in range(2))
    assert found == again
    assert found is not None
    for measure in found.measures.values():
        low, high = measure.ci95
        assert low <= measure.value <= high
