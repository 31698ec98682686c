"""The dials against the truth, by a cheap listener: MFCC statistics of short clips and a linear classifier."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from artistid.data.descriptors import load_librosa
from artistid.synthesis import SAMPLE_RATE
from artistid.synthesis.discography import Discography, record

pytestmark = pytest.mark.slow

ARTISTS, ALBUMS, SONGS, SEEDS = 4, 4, 4, 3
CHANCE = 1 / ARTISTS
CLIP = 3 * SAMPLE_RATE // 512
"""Frames."""


@dataclass(frozen=True)
class Clips:
    features: np.ndarray
    """(clip, feature)"""
    places: np.ndarray
    """(clip, 3): artist, album, song."""


@cache
def clips(style: float, producer: float, seed: int) -> Clips:
    discography = Discography(
        n_artists=ARTISTS,
        n_albums=ALBUMS,
        n_songs=SONGS,
        seconds=6.0,
        style_strength=style,
        producer_strength=producer,
        seed=seed,
    )
    features, places = [], []
    for place in np.ndindex(ARTISTS, ALBUMS, SONGS):
        mfcc = load_librosa().feature.mfcc(
            y=record(discography, *place), sr=SAMPLE_RATE, n_mfcc=20, n_fft=1024, hop_length=512
        )
        for start in range(0, mfcc.shape[1] - CLIP + 1, CLIP):
            clip = mfcc[:, start : start + CLIP]
            features.append(np.concatenate((clip.mean(axis=1), clip.std(axis=1))))
            places.append(place)
    return Clips(np.array(features), np.array(places))


def accuracy(style: float, producer: float, split: str) -> float:
    """Of the artists, over the seeds and over four folds: of whole albums, or of a song from each album."""
    column = {"album": 1, "song": 2}[split]
    scores = []
    for seed in range(SEEDS):
        data = clips(style, producer, seed)
        artist = data.places[:, 0]
        for fold in range(4):
            test = data.places[:, column] == fold
            listener = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
            listener.fit(data.features[~test], artist[~test])
            scores.append(accuracy_score(artist[test], listener.predict(data.features[test])))
    return float(np.mean(scores))


def test_with_both_dials_at_0_there_is_nothing_to_hear() -> None:
    assert accuracy(0.0, 0.0, "song") == pytest.approx(CHANCE, abs=0.07)
    assert accuracy(0.0, 0.0, "album") == pytest.approx(CHANCE, abs=0.07)


def test_producers_alone_help_on_their_own_albums_only() -> None:
    # At twice the default, which this simple listener hears on so few songs.
    assert accuracy(0.0, 2.0, "song") > CHANCE + 0.1
    assert accuracy(0.0, 2.0, "album") == pytest.approx(CHANCE, abs=0.1)


def test_style_alone_is_heard_on_any_album() -> None:
    song, album = (accuracy(1.0, 0.0, split) for split in ("song", "album"))
    assert album > CHANCE + 0.3
    assert song == pytest.approx(album, abs=0.07)


def test_the_gap_between_the_splits_grows_with_the_producers() -> None:
    gaps = [accuracy(1.0, producer, "song") - accuracy(1.0, producer, "album") for producer in (0.0, 1.0, 3.0)]
    assert gaps[0] + 0.05 < gaps[1] < gaps[2] - 0.05


def test_albums_are_told_apart_by_their_production() -> None:
    """With only producers on, the listener names the album among all of them from other songs."""
    data = clips(0.0, 1.0, 0)
    album = data.places[:, 0] * ALBUMS + data.places[:, 1]
    test = data.places[:, 2] == 0
    listener = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
    listener.fit(data.features[~test], album[~test])
    assert accuracy_score(album[test], listener.predict(data.features[test])) > 3.0 / (ARTISTS * ALBUMS)
