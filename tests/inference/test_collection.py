"""Collections: what is nearest, exactly, and files that are not collections."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from artistid.errors import ArtistidError
from artistid.inference.collection import ARTISTS_BY, Collection
from tests.inference.collections import ORIGIN, random_songs, write_collection

N, UNITS = 450, 8  # several row groups


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """450 random songs by 30 artists and some by nobody known."""
    artists = ["" if number % 45 == 0 else f"artist {number % 30:02}" for number in range(N)]
    return write_collection(tmp_path_factory.mktemp("collections") / "c.parquet", random_songs(N, units=UNITS), artists)


@pytest.fixture
def collection(path: Path) -> Collection:
    return Collection.read(path)


def queries() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((20, UNITS))


def test_nearest_songs_are_those_of_plain_numpy(collection: Collection) -> None:
    for query in queries():
        cosine = collection.vectors.astype(np.float64) @ query / np.linalg.norm(query)
        nearest = collection.nearest_songs(query, k=7)
        expected = np.argsort(-cosine)[:7]
        assert [song.track_id for song in nearest] == [f"s{row:03}" for row in expected]
        assert [song.similarity for song in nearest] == pytest.approx(cosine[expected], abs=1e-6)
        assert [song.rank for song in nearest] == [1, 2, 3, 4, 5, 6, 7]


def test_nearest_artists_are_those_of_plain_numpy(collection: Collection) -> None:
    artists = collection.songs["artist"].to_numpy()
    without = [0, 1, 31, 45]
    counted = ~np.isin(np.arange(N), without)
    means = {name: collection.vectors[(artists == name) & counted].mean(axis=0) for name in set(artists) - {""}}
    for query in queries():
        cosine = {
            name: float(mean @ query / np.linalg.norm(mean) / np.linalg.norm(query)) for name, mean in means.items()
        }
        nearest = collection.nearest_artists(query, k=5, without=without)
        assert [artist.artist for artist in nearest] == sorted(cosine, key=lambda name: -cosine[name])[:5]
        assert [artist.similarity for artist in nearest] == pytest.approx(sorted(cosine.values())[::-1][:5], abs=1e-6)
    songs = {artist.artist: artist.songs for artist in collection.nearest_artists(query, k=100, without=without)}
    assert sum(songs.values()) == N - N // 45 - 2  # rows 0 and 45 are by nobody
    assert "" not in songs


def test_artists_by_their_best_songs_and_of_enough_songs(collection: Collection) -> None:
    artists, without = collection.songs["artist"].to_numpy(), [0, 1, 31, 45]
    for query in queries()[:5]:
        cosine = collection.vectors.astype(np.float64) @ query / np.linalg.norm(query)
        cosine[without] = -np.inf
        best = {name: np.sort(cosine[artists == name])[-3:].mean() for name in set(artists) - {""}}
        nearest = collection.nearest_artists(query, k=5, without=without, by="best_songs")
        assert [artist.artist for artist in nearest] == sorted(best, key=lambda name: -best[name])[:5]
        assert [artist.similarity for artist in nearest] == pytest.approx(sorted(best.values())[::-1][:5], abs=1e-6)
    for by in ARTISTS_BY:
        listed = collection.nearest_artists(queries()[0], k=99, without=without, by=by, min_songs=15)
        assert {artist.songs for artist in listed} == {15}
        left_with_fewer = {f"artist {number:02}" for number in (0, 1, 15)}  # songs by nobody, and those left out
        assert {artist.artist for artist in listed} == set(artists) - {""} - left_with_fewer


def test_songs_left_out_are_not_found(collection: Collection) -> None:
    [first, second, *_] = collection.nearest_songs(collection.vectors[17], k=3)
    assert first.track_id == "s017"
    assert first.similarity == pytest.approx(1)
    assert collection.nearest_songs(collection.vectors[17], k=1, without=[17])[0].track_id == second.track_id


def test_more_than_there_are_gives_all(collection: Collection) -> None:
    assert len(collection.nearest_songs(queries()[0], k=1000)) == N
    assert len(collection.nearest_songs(queries()[0], k=1000, without=range(10))) == N - 10


def test_the_file_is_plain_parquet(path: Path) -> None:
    table = pd.read_parquet(path)
    assert len(table) == N
    assert list(table["track_id"]) == [f"s{number:03}" for number in range(N)]
    assert np.linalg.norm(np.stack(table["embedding"]), axis=1) == pytest.approx(1)
    schema = pq.read_schema(path)
    assert str(schema.field("embedding").type) == f"fixed_size_list<element: float>[{UNITS}]"
    assert b"0123456789abcdef" in schema.metadata[b"artistid"]


def test_clips_are_as_they_were_written(collection: Collection) -> None:
    songs = random_songs(N, units=UNITS)
    clips = collection.clips
    assert np.array_equal(clips.vectors, np.concatenate(songs))
    assert np.array_equal(clips.row, np.repeat(np.arange(N), 4))
    one = collection.clips_of(201)
    assert np.array_equal(one.vectors, songs[201])
    assert list(one.start_s) == [0, 3, 6, 9]
    assert list(one.end_s) == [3, 6, 9, 12]


def test_copies_by_sound_or_by_file(collection: Collection, path: Path) -> None:
    assert list(collection.copies("sha1 of s007")) == [7]
    assert list(collection.copies("other", path.with_name("s008.wav"))) == [8]
    assert not len(collection.copies(""))


def test_unknown_song(collection: Collection) -> None:
    with pytest.raises(ArtistidError, match=r"track=S01 is not in .*450 songs; similar ones are s010, s011"):
        collection.row("S01")


def test_the_end_of_a_song_s_name_is_enough(collection: Collection) -> None:
    """As of a collection of files, whose songs are called by their whole paths."""
    names = ["/music/A/one/1. Song.mp3", "/music/B/one/1. Song.mp3", "/music/B/two/Mr. Blue", "1. Song"]
    named = replace(collection, songs=collection.songs.iloc[:4].assign(track_id=names))
    ends = ("B/one/1. Song", "A/one/1. Song.mp3", "Mr. Blue", "1. Song", names[0])
    assert [named.row(name) for name in ends] == [1, 0, 2, 3, 0]
    for name in ("one/1. Song", "Song", "usic/B/two/Mr. Blue"):  # of two; and no name's end
        with pytest.raises(ArtistidError, match="is not in collection="):
            named.row(name)


@pytest.mark.parametrize("vector", [np.zeros(UNITS), np.full(UNITS, np.nan), np.ones(UNITS + 1)])
def test_vectors_that_are_no_embeddings(collection: Collection, vector: np.ndarray) -> None:
    with pytest.raises(ArtistidError, match="expected an embedding"):
        collection.nearest_songs(vector)


def test_files_that_are_no_collections(path: Path, tmp_path: Path) -> None:
    text, torn, foreign, empty, bent = (
        tmp_path / f"{name}.parquet" for name in ("text", "torn", "foreign", "empty", "bent")
    )
    text.write_text("no Parquet")
    (tmp_path / "folder").mkdir()
    torn.write_bytes(path.read_bytes()[:5000])
    pd.DataFrame({"track_id": ["a"]}).to_parquet(foreign)
    table = pq.read_table(path)
    pq.write_table(table.slice(0, 0), empty)
    damaged = table.set_column(table.column_names.index("embedding"), "embedding", table["embedding"].combine_chunks())
    values = table["embedding"].combine_chunks().flatten().to_numpy().copy()
    values[0] = np.nan
    bent_column = type(damaged["embedding"].chunk(0)).from_arrays(values, UNITS)
    pq.write_table(table.set_column(table.column_names.index("embedding"), "embedding", bent_column), bent)
    for file, message in (
        (tmp_path / "none.parquet", "does not exist"),
        (tmp_path / "folder", "is a folder without Parquet files"),
        (text, "is not a Parquet file"),
        (torn, "is not a Parquet file"),
        (foreign, "lacks the metadata .*, path, artist"),
        (empty, "has no songs"),
        (bent, "not finite"),
    ):
        with pytest.raises(ArtistidError, match=message) as error:
            Collection.read(file)
        assert str(file) in str(error.value)


def rewritten(path: Path, out: Path, /, **columns: pa.Array) -> Path:
    """The collection with other columns."""
    table = pq.read_table(path)
    for name, column in columns.items():
        table = table.set_column(table.column_names.index(name), name, column)
    pq.write_table(table, out)
    return out


def lists(values: list[Any], kind: pa.DataType) -> pa.Array:
    return pa.array(values, pa.list_(kind))


VECTOR = pa.list_(pa.float32(), UNITS)


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("embedding", lambda n: lists([[1.0] * UNITS] * n, pa.float32()), "its embedding is list<.*expected vectors"),
        ("embedding", lambda n: pa.array([1.0] * n), "its embedding is double"),
        ("embedding", lambda n: pa.array([[]] * n, pa.list_(pa.float32(), 0)), "its embedding is fixed_size_list"),
        ("embedding", lambda n: pa.array([[1.0] * UNITS] * n, pa.list_(pa.float64(), UNITS)), "its embedding is"),
        ("embedding", lambda n: pa.array([None] * n, VECTOR), "songs without embedding"),
        ("artist", lambda n: pa.array([None] * n, pa.string()), "songs without artist"),
        ("title", lambda n: pa.array(range(n)), "its title is int64, expected text"),
        ("track_id", lambda n: pa.array([b"x"] * n), "its track_id is binary, expected text"),
        ("path", lambda n: lists([["x"]] * n, pa.string()), "its path is list"),
        ("duration_s", lambda n: pa.array(["long"] * n), "its duration_s is string, expected seconds"),
        ("duration_s", lambda n: pa.array([float("nan")] * n), "not finite"),
        ("file_size", lambda n: pa.array([1.5] * n), "its file_size is double, expected whole numbers"),
        ("clip_start_s", lambda n: pa.array([0.0] * n), "its clip_start_s is double, expected lists of seconds"),
        ("clip_end_s", lambda n: lists([["x"]] * n, pa.string()), "its clip_end_s is list"),
        ("clip_embedding", lambda n: lists([[1.0]] * n, pa.float32()), "its clip_embedding is list<.*expected lists"),
        ("clip_embedding", lambda n: lists([[[1.0]]] * n, pa.list_(pa.float32(), 1)), "expected lists of vectors as"),
    ],
)
def test_columns_of_another_kind(path: Path, tmp_path: Path, name: str, make: Any, message: str) -> None:
    changed = rewritten(path, tmp_path / "changed.parquet", **{name: make(len(pq.read_table(path)))})
    with pytest.raises(ArtistidError, match=message) as error:
        Collection.read(changed)
    assert "changed.parquet" in str(error.value)


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("clip_start_s", lambda n: lists([None] * n, pa.float64()), "is damaged"),
        ("clip_start_s", lambda n: lists([[None] * 4] * n, pa.float64()), "is damaged"),
        ("clip_start_s", lambda n: lists([[0.0]] * n, pa.float64()), "lists of clips .* differ in length"),
        ("clip_end_s", lambda n: lists([[float("inf")] * 4] * n, pa.float64()), "clips that are not finite"),
        ("clip_embedding", lambda n: lists([None] * n, VECTOR), "is damaged"),
        ("clip_embedding", lambda n: lists([[None] * 4] * n, VECTOR), "is damaged"),
        ("clip_embedding", lambda n: lists([[[None] * UNITS] * 4] * n, VECTOR), "is damaged"),
        ("clip_embedding", lambda n: lists([[]] * n, VECTOR), "lists of clips .* differ in length"),
    ],
)
def test_clips_of_another_kind(path: Path, tmp_path: Path, name: str, make: Any, message: str) -> None:
    n_songs = len(pq.read_table(path))
    collection = Collection.read(rewritten(path, tmp_path / "changed.parquet", **{name: make(n_songs)}))
    with pytest.raises(ArtistidError, match=message):
        _ = collection.clips


def test_a_small_file_that_claims_a_large_collection(path: Path, tmp_path: Path) -> None:
    table = pq.read_table(path).slice(0, 1)
    bomb = tmp_path / "bomb.parquet"
    pq.write_table(pa.concat_tables([table] * 100_000).combine_chunks(), bomb, compression="zstd")
    assert bomb.stat().st_size < 500_000
    with pytest.raises(
        ArtistidError, match=r"bomb\.parquet is damaged.*it claims to hold [\d,]+ values, in [\d,]+ bytes"
    ):
        Collection.read(bomb)


@pytest.mark.parametrize("origin", [b"[]", b"{", b'{"network": 1, "features": {}, "clip": {}, "version": "x"}'])
def test_an_origin_that_is_none(path: Path, tmp_path: Path, origin: bytes) -> None:
    changed = tmp_path / "changed.parquet"
    pq.write_table(pq.read_table(path).replace_schema_metadata({b"artistid": origin}), changed)
    with pytest.raises(ArtistidError, match="lacks the metadata that says what made its embeddings"):
        Collection.read(changed)


def test_origin_is_kept(collection: Collection) -> None:
    assert collection.origin == ORIGIN
