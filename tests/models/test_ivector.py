from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import subspace_angles
from scipy.stats import multivariate_normal

from artistid.errors import ArtistidError
from artistid.models.ivector import IVectors


def test_of_one_gaussian_it_is_factor_analysis() -> None:
    """The mean of w given rows x = m + T w + noise: one component, and the formula with all rows in one vector."""
    draw = np.random.default_rng(0)
    matrix, variance, rows = draw.normal(size=(3, 2)), np.array([0.5, 1.0, 2.0]), draw.normal(size=(5, 3))
    front = IVectors(3, n_components=1, n_units=2, every=1)
    front.variance.copy_(torch.from_numpy(variance)[None])
    front.total_variability.copy_(torch.from_numpy(matrix)[None])
    stacked, noise = np.tile(matrix, (5, 1)), np.diag(np.tile(variance, 5))
    expected = stacked.T @ np.linalg.inv(stacked @ stacked.T + noise) @ rows.ravel()
    assert front(torch.from_numpy(rows.T)[None].float())[0].numpy() == pytest.approx(expected, abs=1e-5)


def test_rows_belong_to_the_components_that_find_them_likely() -> None:
    draw = np.random.default_rng(0)
    front = IVectors(3, n_columns=2, n_components=4, n_units=1, every=1)
    weight, mean, variance = draw.dirichlet(np.ones(4)), draw.normal(size=(4, 2)), draw.uniform(0.5, 2, size=(4, 2))
    for parameter, value in ((front.log_weight, np.log(weight)), (front.mean, mean), (front.variance, variance)):
        parameter.copy_(torch.from_numpy(value))
    rows = draw.normal(size=(7, 3))
    density = np.stack(
        [
            w * multivariate_normal(m, np.diag(v)).pdf(rows[:, :2])
            for w, m, v in zip(weight, mean, variance, strict=True)
        ]
    )
    share = density / density.sum(axis=0)
    n, first = front.totals(front.rows(torch.from_numpy(rows.T)[None].float()))
    assert n[0].numpy() == pytest.approx(share.sum(axis=1), abs=1e-5)
    assert first[0].numpy() == pytest.approx(share @ rows[:, :2] - share.sum(axis=1)[:, None] * mean, abs=1e-5)


def test_learns_the_directions_in_which_clips_differ() -> None:
    """Clips of two distant clusters whose centres move together along one direction of the supervector."""
    draw = np.random.default_rng(0)
    matrix = np.array([[1.0, 0.0], [0.0, -1.0]])  # of each cluster the direction (clusters, columns)
    centres = np.array([[-20.0, 0], [20, 0]])
    w = draw.normal(size=200)
    clips = [(centres + each * matrix)[draw.integers(2, size=60)] + 0.3 * draw.normal(size=(60, 2)) for each in w]
    front = IVectors(2, n_components=2, n_units=1, every=1, iterations=15)
    batch = torch.from_numpy(np.stack(clips)).float().transpose(1, 2)
    front.learn(iter([batch[:120], batch[120:]]), seed=0)
    order = front.mean[:, 0].argsort()
    learned = (front.total_variability[order] * front.width[None, :, None]).numpy().reshape(4, 1)
    assert subspace_angles(learned, matrix.reshape(4, 1))[0] < 0.05
    assert abs(np.corrcoef(front(batch)[:, 0].numpy(), w)[0, 1]) > 0.99


def test_fewer_rows_than_components_is_told() -> None:
    with pytest.raises(ArtistidError, match="n_components=64"):
        IVectors(2, every=1).learn(iter([torch.zeros(1, 2, 10)]), seed=0)
