"""Stretches of songs that sound alike: runs of clips on one diagonal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from artistid.inference.collection import ClipTable, Collection
from artistid.inference.identifier import song_vector
from artistid.inference.matching import Matcher, Whitening, runs_of
from artistid.inference.neighbours import Query, Wanted
from tests.inference.collections import random_songs, write_collection


def strongest_by_hand(excess: np.ndarray, first: np.ndarray, column: int) -> float:
    """The largest sum of neighbours on a diagonal that end in a column, all starts and ends tried."""
    song = np.cumsum(first)
    best = 0.0
    for row in range(len(excess)):
        total, length = 0.0, 0
        while row - length >= 0 and column - length >= 0 and song[column - length] == song[column]:
            total += float(excess[row - length, column - length])
            length += 1
            best = max(best, total)
    return best


def test_runs_are_the_strongest_of_all() -> None:
    generator = np.random.default_rng(0)
    excess = generator.standard_normal((9, 24)).astype(np.float32) - 0.3
    first = np.isin(np.arange(24), [0, 7, 8, 15])
    runs = runs_of(excess, first)
    found = dict(zip(runs.song_clip.tolist(), runs.score.tolist(), strict=True))
    expected = {column: strongest_by_hand(excess, first, column) for column in range(24)}
    assert found == pytest.approx({column: score for column, score in expected.items() if score > 0}, rel=1e-5)
    for score, clip, song_clip, length in zip(runs.score, runs.clip, runs.song_clip, runs.length, strict=True):
        places = np.arange(length)
        assert excess[clip - places, song_clip - places].sum() == pytest.approx(score, rel=1e-4)


def test_whitened_vectors_are_uncorrelated() -> None:
    generator = np.random.default_rng(0)
    mixed = generator.standard_normal((5000, 4)) @ np.array([[9, 9, 9, 9], [0, 1, 0, 1], [0, 0, 1, 0], [0, 0, 0, 1]])
    white = Whitening.of(mixed.astype(np.float32) + 3)
    spread = np.corrcoef((mixed.astype(np.float32) + 3 - white.mean) @ white.matrix, rowvar=False)
    assert np.abs(spread - np.eye(4)).max() < 0.05
    assert np.linalg.norm(white(mixed.astype(np.float32)), axis=1) == pytest.approx(1, abs=1e-5)


def test_blocks_are_of_whole_songs(
    monkeypatch: pytest.MonkeyPatch, planted: tuple[Collection, Query, ClipTable]
) -> None:
    collection, query, clips = planted
    at_once = Matcher(collection).find(query, [clips], Wanted())
    monkeypatch.setattr("artistid.inference.matching.CLIPS_AT_ONCE", 33)  # of songs of 20 clips
    in_blocks = Matcher(collection).find(query, [clips], Wanted())
    assert len(in_blocks.matches) == len(at_once.matches) > 0
    for one, other in zip(in_blocks.matches, at_once.matches, strict=True):
        # Some processors multiply matrices of other shapes in another order, and round otherwise.
        assert replace(one, similarity=0) == replace(other, similarity=0)
        assert one.similarity == pytest.approx(other.similarity, abs=1e-6)


@pytest.fixture
def planted(tmp_path: Path) -> tuple[Collection, Query, ClipTable]:
    """Thirty songs, and a query whose clips 5 to 8 are clips 10 to 13 of the song s012, slightly changed."""
    generator = np.random.default_rng(1)
    songs = random_songs(30, clips=20)
    clips = generator.standard_normal((15, 8)).astype(np.float32)
    clips[5:9] = songs[12][10:14] + 0.1 * generator.standard_normal((4, 8))
    path = write_collection(tmp_path / "c.parquet", songs, [f"artist {number % 3}" for number in range(30)])
    start_s = np.arange(15) * 3.0
    table = ClipTable(np.zeros(15, np.int64), start_s, start_s + 3, clips)
    return Collection.read(path), Query("query", "artist 0", "another album", song_vector(clips), ()), table


def test_a_planted_stretch_is_found_with_its_times(planted: tuple[Collection, Query, ClipTable]) -> None:
    collection, query, clips = planted
    first, *others = Matcher(collection).find(query, [clips], Wanted(top=5)).matches
    assert (first.rank, first.track_id, first.clips, first.title) == (1, "s012", 4, "S012")
    assert (first.start_s, first.end_s) == (15, 27)
    assert (first.song_start_s, first.song_end_s) == (30, 42)
    assert first.similarity > 0.9
    assert len(others) == 4
    for other in others:
        overlaps = other.start_s < first.end_s and first.start_s < other.end_s
        in_song = other.song_start_s < first.song_end_s and first.song_start_s < other.song_end_s
        assert other.track_id != "s012" or not (overlaps and in_song)


def test_an_artist_left_out_has_no_matches(planted: tuple[Collection, Query, ClipTable]) -> None:
    collection, query, clips = planted
    matches = Matcher(collection).find(query, [clips], Wanted(same_artist=False)).matches
    assert matches
    assert {match.artist for match in matches} == {"artist 1", "artist 2"}


def test_the_own_album_has_no_matches(planted: tuple[Collection, Query, ClipTable]) -> None:
    collection, query, clips = planted
    answer = Matcher(collection).find(replace(query, album="ALBUM"), [clips], Wanted())
    assert {match.artist for match in answer.matches} == {"artist 1", "artist 2"}, "all of artist 0 is one album"
    assert answer.album_left_out == tuple(f"s{number:03}" for number in range(0, 30, 3))
