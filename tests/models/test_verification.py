"""Scores of songs against artists: closed forms, and what normalisation and calibration promise."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from artistid.evaluation.verification import Measures, Trials
from artistid.models.backends import AlbumGaussians, BackEnd
from artistid.models.verification import (
    Calibration,
    Enrolled,
    Scorer,
    SNorm,
    Songs,
    Verifier,
    likelihood_ratios,
    threshold_of,
)
from tests.models.test_backends import ALBUM, ARTIST, REST, music

MEAN = np.array([1.0, -2])
GAUSSIANS = AlbumGaussians(MEAN, ARTIST, ALBUM, REST)
TRUE_PLDA = Scorer(np.zeros(2), np.eye(2), np.zeros(2), GAUSSIANS)


def songs_of(artists: int, albums: int, songs: int, seed: int = 0) -> Songs:
    return Songs(*music(artists, albums, songs, seed))


def test_likelihood_ratio_worked_out_at_length() -> None:
    """The density of the enrolled songs and a new one together, if one artist made them, over that if two did."""
    enrolled = songs_of(3, 2, 2)
    new = np.array([[0.5, 1.0], [3.0, -2.0]])
    found = TRUE_PLDA.score(TRUE_PLDA.enrol(enrolled), new)
    for artist in range(3):
        heard, album = (each[enrolled.artist == artist] for each in (enrolled.vector, enrolled.album))
        albums = np.append(album, -1)  # the new song is of another album
        parts = np.kron(np.equal.outer(albums, albums), ALBUM) + np.kron(np.eye(len(albums)), REST)
        one, two = (np.kron(np.ones((5, 5)), ARTIST), np.kron(np.ones((5, 5)), ARTIST))
        two[-2:, :-2] = two[:-2, -2:] = 0
        for song, each in enumerate(new):
            x = np.vstack([heard, each]).ravel()
            means = np.tile(MEAN, 5)
            same, other = (multivariate_normal(means, parts + between).logpdf(x) for between in (one, two))
            assert found[song, artist] == pytest.approx(same - other)


def test_ratios_of_the_true_gaussians_are_calibrated_and_more_songs_help() -> None:
    tried = songs_of(100, 3, 4, seed=1)
    rest = tried.select(tried.album % 3 == 2)
    cost = {}
    for songs in (1, 4, 8):
        enrolled = tried.select((tried.album % 3 < 2) & (np.arange(len(tried.artist)) % 12 < songs))
        score = TRUE_PLDA.score(TRUE_PLDA.enrol(enrolled), rest.vector)
        found = Measures(Trials(score, rest.artist, np.arange(100)))()
        assert found["cllr"] == pytest.approx(found["min_cllr"], abs=0.04)
        cost[songs] = found["eer"]
    assert cost[1] > cost[4] > cost[8]


def test_a_cosine_is_of_the_mean_of_the_songs() -> None:
    enrolled = Songs(np.array([[1.0, 0], [0, 1], [0, -1]]), np.array([0, 0, 1]), np.array([0, 1, 2]))
    scorer = Scorer.fit(None, enrolled)
    found = scorer.score(scorer.enrol(enrolled), np.array([[2.0, 0]]))
    assert found == pytest.approx(np.array([[np.sqrt(0.5), 0]]))


@pytest.mark.parametrize("kind", ["cosine", "plda"])
def test_a_fitted_scorer_is_the_back_ends_own(kind: str) -> None:
    training = songs_of(20, 3, 4)
    back_end = BackEnd(lda=False, wccn=True, scorer=kind)
    scorer = Scorer.fit(back_end, training)
    back_end.fit(*training)
    vectors = back_end.transform(training.vector)
    scores = back_end.score_vectors(vectors)
    if kind == "cosine":
        assert scorer.embed(training.vector) == pytest.approx(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    else:
        found = scorer.score(scorer.enrol(training), training.vector)
        between = scores - found  # the density of an unknown artist, which is the same for all
        assert between == pytest.approx(np.tile(between[:, :1], 20))


def test_normalised_scores_of_others_have_mean_0_and_spread_1() -> None:
    """Of a cohort that all counts: an artist's scores of the cohort's songs, were there no other half."""
    cohort, enrolled, strangers = songs_of(40, 3, 3), songs_of(10, 2, 3, seed=5), songs_of(200, 1, 1, seed=6)
    snorm, scorer = SNorm(cohort, 1.0), Scorer.fit(None, cohort)
    models = scorer.enrol(enrolled)
    by_hand = scorer.score(models, strangers.vector)
    of_artist, of_song = scorer.score(models, cohort.vector), scorer.score(scorer.enrol(cohort), strangers.vector)
    z = (by_hand - of_artist.mean(axis=0)) / of_artist.std(axis=0)
    t = (by_hand - of_song.mean(axis=1, keepdims=True)) / of_song.std(axis=1, keepdims=True)
    found = snorm(scorer, models, strangers.vector)
    assert found == pytest.approx((z + t) / 2)
    assert np.abs(found.mean()) < 0.3
    adaptive = SNorm(cohort, 0.1)(scorer, models, strangers.vector)
    assert (adaptive < found).mean() > 0.9, "above the highest of the cohort there is less"


def test_calibration_finds_the_ratios_again() -> None:
    draw = np.random.default_rng(0)
    llr = np.concatenate([draw.normal(2, 2, 20_000), draw.normal(-2, 2, 60_000)])  # mean ± d² / 2, variance d²
    true = np.arange(80_000) < 20_000
    for prior in (0.05, 0.5):
        scale, offset = Calibration.fit((llr - 3) / 50, true, prior)
        assert (scale, offset) == (pytest.approx(50, rel=0.05), pytest.approx(3, abs=0.15))


def test_scores_without_an_error_are_not_sure_of_everything() -> None:
    fitted = Calibration.fit(np.array([-1.0, -2, 3, 4]), np.array([False, False, True, True]), 0.5)
    assert 0 < fitted.scale < 5
    assert abs(fitted(np.array([4.0]))[0]) < 5


def test_scores_that_speak_against_say_nothing() -> None:
    draw = np.random.default_rng(0)
    score = draw.normal(size=400)
    assert Calibration.fit(score, score < 0, 0.5).scale == pytest.approx(0, abs=1e-6)


def test_threshold_lets_as_many_strangers_pass_as_is_said() -> None:
    ratios = np.random.default_rng(0).normal(size=200)
    for rate in (0, 0.005, 0.01, 0.05, 0.5):
        assert (ratios > threshold_of(ratios, rate)).sum() == pytest.approx(200 * rate)
    assert threshold_of(ratios[:10], 0.05) == ratios[:10].max()


@pytest.mark.parametrize("kind", ["cosine", "plda"])
def test_arrays_are_all_there_is(kind: str) -> None:
    training, enrolled = songs_of(20, 3, 4), songs_of(5, 2, 3, seed=2)
    scorer = Scorer.fit(BackEnd(lda=False, scorer=kind), training)
    verifier = Verifier("x", scorer, SNorm(training, 0.2), Calibration(2, 1), enrolled, tuple("abcde"))
    again = Verifier.of(verifier.settings(), verifier.arrays())
    both = [each.ratios(each.scorer.enrol(enrolled), enrolled.vector) for each in (verifier, again)]
    assert np.array_equal(*both)
    assert set(again.strangers_besides(["b"]).artist) == {0, 2, 3, 4}


def test_only_songs_of_the_cohort_that_there_is_room_for() -> None:
    songs = songs_of(10, 2, 3)
    assert len(songs.some(7).vector) == 7
    assert np.array_equal(songs.some(1000).vector, songs.vector)


def test_places_of_many_are_of_few_kinds() -> None:
    enrolled = TRUE_PLDA.enrol(songs_of(50, 2, 3))
    assert enrolled.places is not None
    assert len(enrolled.places.covariance) == 1
    wider = Enrolled(enrolled.centroid, enrolled.places._replace(covariance=enrolled.places.covariance * 0))
    assert wider.places is not None
    assert not np.allclose(
        likelihood_ratios(GAUSSIANS, wider.places, MEAN[None]),
        likelihood_ratios(GAUSSIANS, enrolled.places, MEAN[None]),
    )
