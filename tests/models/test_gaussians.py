from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from artistid.errors import ArtistidError
from artistid.models.gaussians import (
    Gaussians,
    Moments,
    Scale,
    dimensions,
    pack,
    packed_width,
    pooled,
    symmetric_divergence,
    unpack,
)

RANDOM = np.random.default_rng(0)


def random_covariances(n: int, d: int) -> np.ndarray:
    factor = RANDOM.normal(size=(n, d, d + 2))
    return factor @ factor.transpose(0, 2, 1) / d


def one(mean: list[float], covariance: list[list[float]]) -> Gaussians:
    return Gaussians(np.array([mean]), np.array([covariance]))


def test_packing_loses_nothing() -> None:
    songs = [RANDOM.normal(size=(n, 3)) for n in (5, 50)]
    moments = unpack(np.stack([pack(song) for song in songs]))
    assert moments.n.tolist() == [5, 50]
    for number, song in enumerate(songs):
        assert moments.mean[number] == pytest.approx(song.mean(axis=0))
        assert moments.covariance[number] == pytest.approx(np.cov(song, rowvar=False, ddof=0))


@pytest.mark.parametrize("d", [1, 2, 12, 20])
def test_dimensions_of_packed_moments(d: int) -> None:
    assert len(pack(RANDOM.normal(size=(4, d)))) == packed_width(d)
    assert dimensions(packed_width(d)) == d
    with pytest.raises(ValueError, match="no such number"):
        dimensions(packed_width(d) + 1)


def test_moments_taken_together_are_those_of_all_rows() -> None:
    songs = [RANDOM.normal(size=(n, 4)) + n for n in (3, 30, 7, 1)]
    found = pooled(unpack(np.stack([pack(song) for song in songs])), np.array([1, 0, 1, 0]), 2)
    for group, members in enumerate(([1, 3], [0, 2])):
        rows = np.concatenate([songs[member] for member in members])
        assert found.n[group] == len(rows)
        assert found.mean[group] == pytest.approx(rows.mean(axis=0))
        assert found.covariance[group] == pytest.approx(np.cov(rows, rowvar=False, ddof=0))


def test_log_likelihood_is_the_mean_over_rows() -> None:
    songs = [RANDOM.normal(size=(n, 4)) * 3 + 1 for n in (40, 60)]
    gaussians = Gaussians(RANDOM.normal(size=(3, 4)), random_covariances(3, 4))
    found = gaussians.log_likelihood(unpack(np.stack([pack(song) for song in songs])))
    expected = [
        [multivariate_normal(mean, covariance).logpdf(song).mean() for mean, covariance in
         zip(gaussians.mean, gaussians.covariance, strict=True)]
        for song in songs
    ]  # fmt: skip
    assert found == pytest.approx(np.array(expected))


def test_own_log_likelihood_is_the_negative_entropy() -> None:
    gaussians = Gaussians(RANDOM.normal(size=(3, 4)), random_covariances(3, 4))
    entropies = [
        multivariate_normal(mean, covariance).entropy()
        for mean, covariance in zip(gaussians.mean, gaussians.covariance, strict=True)
    ]
    assert gaussians.own_log_likelihood == pytest.approx(-np.array(entropies))


def test_divergence_of_gaussians_on_a_line() -> None:
    """KL(p‖q) + KL(q‖p) = ½ (s/t + t/s + (m − n)² (1/s + 1/t)) − 1 for variances s, t and means m, n."""
    p, q = one([1.0], [[4.0]]), one([3.0], [[1.0]])
    assert symmetric_divergence(p, q) == pytest.approx(np.array([[0.5 * (4 + 0.25 + 4 * 1.25) - 1]]))


def test_divergence_in_closed_form() -> None:
    p, q = (Gaussians(RANDOM.normal(size=(n, 5)), random_covariances(n, 5)) for n in (2, 3))
    found = symmetric_divergence(p, q)
    for i, j in np.ndindex(2, 3):
        inverse_p, inverse_q = np.linalg.inv(p.covariance[i]), np.linalg.inv(q.covariance[j])
        apart = p.mean[i] - q.mean[j]
        traces = np.trace(inverse_p @ q.covariance[j]) + np.trace(inverse_q @ p.covariance[i])
        assert found[i, j] == pytest.approx(0.5 * (traces + apart @ (inverse_p + inverse_q) @ apart) - 5)


def test_divergence_is_symmetric_and_nothing_from_itself() -> None:
    gaussians = Gaussians(RANDOM.normal(size=(6, 20)), random_covariances(6, 20))
    found = symmetric_divergence(gaussians, gaussians)
    assert found == pytest.approx(found.T)
    assert np.diag(found) == pytest.approx(np.zeros(6), abs=1e-9)
    assert (found >= 0).all()


def test_divergence_does_not_depend_on_the_scale() -> None:
    songs = [RANDOM.normal(size=(200, 3)) @ RANDOM.normal(size=(3, 3)) for _ in range(4)]
    moments = unpack(np.stack([pack(song) for song in songs]))
    moved = unpack(np.stack([pack(song * [100, 0.01, 1] - [500, 0, 3]) for song in songs]))
    raw = Gaussians(moments.mean, moments.covariance)
    scaled = Scale.of(moved)(moved)
    gaussians = Gaussians(scaled.mean, scaled.covariance)
    assert symmetric_divergence(gaussians, gaussians) == pytest.approx(symmetric_divergence(raw, raw), abs=1e-6)


def test_songs_shorter_than_their_covariance_are_fitted() -> None:
    short = unpack(np.stack([pack(RANDOM.normal(size=(n, 20))) for n in (1, 2, 5)]))
    gaussians = Gaussians.fitted(short, shrinkage=0.01)
    assert np.isfinite(gaussians.log_likelihood(short)).all()
    assert np.isfinite(symmetric_divergence(gaussians, gaussians)).all()


def test_no_gaussian_without_a_spread() -> None:
    flat = Gaussians(np.zeros((2, 2)), np.array([np.eye(2), np.diag([1.0, -1.0])]))
    with pytest.raises(ArtistidError, match="covariance of Gaussian 1 is not positive definite"):
        flat.log_likelihood(Moments(np.ones(1), np.zeros((1, 2)), np.eye(2)[None]))
