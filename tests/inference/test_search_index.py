"""The index beside a collection: what it finds, and that it is never one of other songs."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from artistid.errors import ArtistidError
from artistid.inference.collection import Collection
from artistid.inference.search_index import SearchIndex, keys_of
from tests.inference.collections import random_songs, write_collection

pytest.importorskip("usearch")
N = 400
ARTISTS = [f"artist {number % 20}" for number in range(N)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_collection(tmp_path / "c.parquet", random_songs(N), ARTISTS)


def queries() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((20, 8))


def assert_exact(collection: Collection) -> None:
    """Of so few songs an index misses none."""
    exact = collection.searched("exact")
    assert collection.index
    for query in queries():
        assert collection.nearest_songs(query, 7, {1, 5}) == exact.nearest_songs(query, 7, {1, 5})


def test_an_index_finds_what_is_found_exactly(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert_exact(Collection.read(path).searched("index"))
    file = SearchIndex.place(path)
    made = file.stat().st_mtime_ns
    assert f"{N} songs added" in caplog.text
    assert_exact(Collection.read(path).searched("index"))
    assert file.stat().st_mtime_ns == made, "it is found again"
    assert Collection.read(path).searched("auto").index is None, "which is fast enough"


def test_an_index_loses_no_song_and_is_the_same_again(tmp_path: Path) -> None:
    """Several threads lose one of so few songs in four indexes of five."""
    contents = set()
    for copy in range(10):
        path = write_collection(tmp_path / f"{copy}.parquet", random_songs(N), ARTISTS)
        collection = Collection.read(path).searched("index")
        found = [collection.nearest_songs(vector, 1)[0].track_id for vector in collection.vectors]
        assert found == list(collection.songs["track_id"])
        contents.add(SearchIndex.place(path).read_bytes())
    assert len(contents) == 1


def test_a_stale_index_is_renewed(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Collection.read(path).searched("index")
    caplog.set_level(logging.INFO)
    changed = random_songs(N)
    changed[17] = random_songs(1, seed=9)[0]
    changed += random_songs(10, seed=8)
    write_collection(path, changed, [*ARTISTS, *ARTISTS[:10]])
    assert_exact(Collection.read(path).searched("index"))
    assert "11 songs added, 1 removed" in caplog.text


@pytest.mark.parametrize("units", [8, 12])
def test_an_index_of_another_collection_is_made_anew(
    path: Path, tmp_path: Path, units: int, caplog: pytest.LogCaptureFixture
) -> None:
    other = write_collection(tmp_path / "other.parquet", random_songs(50, units=units, seed=5), ARTISTS[:50])
    Collection.read(other).searched("index")
    SearchIndex.place(other).replace(SearchIndex.place(path))
    caplog.set_level(logging.INFO)
    assert_exact(Collection.read(path).searched("index"))
    assert f"{N} songs added, 0 removed" in caplog.text


def test_a_torn_index_is_made_anew(path: Path) -> None:
    for content in (b"no index", b""):
        SearchIndex.place(path).write_bytes(content)
        assert_exact(Collection.read(path).searched("index"))


def test_songs_of_equal_vectors_are_all_found(tmp_path: Path) -> None:
    songs = random_songs(30)
    songs[7] = songs[21] = songs[3]
    collection = Collection.read(write_collection(tmp_path / "c.parquet", songs, ARTISTS[:30])).searched("index")
    nearest = collection.nearest_songs(collection.vectors[3], 3)
    assert {song.track_id for song in nearest} == {"s003", "s007", "s021"}


def test_keys_tell_vectors_apart() -> None:
    vectors = np.random.default_rng(0).standard_normal((5000, 8)).astype(np.float32)
    assert len(np.unique(keys_of(vectors))) == 5000
    assert np.array_equal(keys_of(vectors[::-1]), keys_of(vectors)[::-1])


def test_a_folder_that_cannot_be_written(path: Path) -> None:
    SearchIndex.place(path).mkdir()
    with pytest.raises(ArtistidError, match="cannot be written"):
        Collection.read(path).searched("index")
