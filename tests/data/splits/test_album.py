"""The album split whose validation is of songs; that of albums is in ``test_split``."""

from __future__ import annotations

from collections import Counter

import pytest

from artistid.data.splits import AlbumSplit
from artistid.errors import ArtistidError
from tests.data.splits.test_split import SMALL, artist20_sized, discography, first, moved, songs_of

BY_SONGS = AlbumSplit(validation="song")


def test_two_albums_are_enough_and_the_tested_one_is_new() -> None:
    catalog = discography({"a": [10, 10], "b": [12, 8], "c": [5, 5, 5]})
    split = BY_SONGS.draw(catalog, 0)
    split.check(catalog)
    assert split.rule == "album-songval"
    albums = {subset: split.select(catalog, subset).albums for subset in ("train", "val", "test")}
    for artist, names in catalog.albums.items():
        assert len(albums["test"][artist]) == 1
        assert set(albums["val"][artist]) <= set(names) - set(albums["test"][artist])
        assert set(albums["train"][artist]) == set(names) - set(albums["test"][artist])


def test_a_tenth_of_the_training_songs_validates() -> None:
    catalog = artist20_sized()
    split = BY_SONGS.draw(catalog, 21)
    counts = Counter(split.subsets.values())
    assert counts["val"] == -(-(1413 - counts["test"]) // 10)
    val, train = songs_of(split, catalog, "val"), songs_of(split, catalog, "train")
    assert all(abs(val[artist] - 0.1 * (val[artist] + train[artist])) < 1 for artist in catalog.artists)


def test_it_tests_the_album_that_the_album_split_tests() -> None:
    catalog = artist20_sized()
    albums = AlbumSplit().draw(catalog, 42)
    assert BY_SONGS.draw(catalog, 42).select(catalog, "test") == albums.select(catalog, "test")


def test_the_seed_and_nothing_else_draws() -> None:
    catalog = artist20_sized()
    assert BY_SONGS.draw(catalog, 3) == BY_SONGS.draw(catalog, 3)
    assert BY_SONGS.draw(catalog, 3).subsets != BY_SONGS.draw(catalog, 4).subsets


def test_check_lets_validation_share_albums_but_not_the_test() -> None:
    split = BY_SONGS.draw(SMALL, 0)
    split.check(SMALL)
    tested = next(name for name in sorted(split.subsets) if name.startswith("a/") and split.subsets[name] == "test")
    with pytest.raises(ArtistidError, match="1 album is in more than one subset of the split: a/album"):
        moved(split, tested, "train").check(SMALL)
    moved(split, first(split, "val"), "train").check(SMALL)


def test_single_albums_and_single_songs_are_named() -> None:
    with pytest.raises(ArtistidError, match=r"needs 2 albums of every artist.*b \(1\)\ndata\.min_albums=2.*split=song"):
        BY_SONGS.draw(discography({"a": [2, 2], "b": [9]}), 0)
    with pytest.raises(ArtistidError, match=r"two of them; 1 artist has only one: b"):
        BY_SONGS.draw(discography({"a": [2, 2], "b": [1, 1]}), 0)


def test_advice_where_no_artist_has_enough() -> None:
    catalog = discography({"a": [4, 4], "b": [4, 4]})
    with pytest.raises(ArtistidError) as error:
        AlbumSplit().draw(catalog, 0)
    assert "data=synthetic makes as many with data.n_albums=3; split.validation=song needs 2" in str(error.value)
    assert "data.min_albums" not in str(error.value), "which would leave nobody"


def test_an_unknown_validation() -> None:
    with pytest.raises(ArtistidError, match=r"split\.validation=songs: expected one of null, song"):
        AlbumSplit(validation="songs").draw(SMALL, 0)
