"""Albums read from vectors of which it is known what is in them."""

from __future__ import annotations

import numpy as np
import pytest

from artistid.evaluation.album_reading import read_albums

ARTISTS, ALBUMS, SONGS, CLIPS = 3, 2, 4, 10


def clips() -> tuple[np.ndarray, ...]:
    """The artist, album and song of each clip."""
    return tuple(index.ravel() for index in np.indices((ARTISTS, ALBUMS, SONGS, CLIPS))[:3])


def vectors_of(*what: np.ndarray) -> np.ndarray:
    """A direction of its own for each different row of what is given, in a little noise."""
    generator = np.random.default_rng(0)
    _, code = np.unique(np.stack(what), axis=1, return_inverse=True)
    return generator.normal(size=(code.max() + 1, 30))[code] + 0.1 * generator.normal(size=(len(code), 30))


def track_ids(artist: np.ndarray, album: np.ndarray, song: np.ndarray) -> np.ndarray:
    """A name for each song."""
    return np.array([f"{a}/{b}/{c}" for a, b, c in zip(artist, album, song, strict=True)])


def test_an_album_that_is_in_the_vectors_is_read() -> None:
    artist, album, song = clips()
    reading = read_albums(vectors_of(artist, album), artist, album, track_ids(artist, album, song))
    assert reading == (pytest.approx(1), ARTISTS)


def test_songs_and_artists_alone_tell_no_album() -> None:
    artist, album, song = clips()
    of_artist = read_albums(vectors_of(artist), artist, album, track_ids(artist, album, song))
    assert of_artist is not None
    assert abs(of_artist.score) < 0.2
    of_song = read_albums(vectors_of(artist, album, song), artist, album, track_ids(artist, album, song))
    assert of_song is not None
    assert of_song.score < 0.5, "what is a song's own says nothing of the album's other songs"


def test_half_of_two_albums_alike_is_half_of_the_way() -> None:
    """Of three albums two have one sound: these are guessed, at 1/2 each, and the third is read."""
    artist, album, song = (index.ravel() for index in np.indices((1, 3, 40, 10))[:3])
    reading = read_albums(vectors_of(np.maximum(album, 1)), artist, album, track_ids(artist, album, song))
    assert reading is not None
    assert reading.score == pytest.approx(((0.5 + 0.5 + 1) / 3 - 1 / 3) / (1 - 1 / 3), abs=0.05)


def test_artists_of_one_album_and_albums_of_one_song_do_not_count() -> None:
    artist, album, song = clips()
    kept = (artist > 0) | (album == 0)
    vectors = vectors_of(artist, album)[kept]
    names = track_ids(artist, album, song)
    reading = read_albums(vectors, artist[kept], album[kept], names[kept])
    assert reading == (pytest.approx(1), ARTISTS - 1)
    first = song == 0
    assert read_albums(vectors_of(artist, album)[first], artist[first], album[first], names[first]) is None


def test_a_clip_a_song_is_too_little_to_learn_from() -> None:
    artist, album, song = (index.ravel() for index in np.indices((1, 2, 2)))
    assert read_albums(vectors_of(artist, album), artist, album, track_ids(artist, album, song)) is None
