"""Scores that tell unknown artists, against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from artistid.evaluation.detection import detection
from artistid.learning.backends import Embedded
from artistid.learning.unknown_artists import Mahalanobis, Nearest, energy


def embedded(X: np.ndarray, label: np.ndarray) -> Embedded:
    return Embedded(X, label, label, np.arange(len(X)))


@pytest.fixture(scope="module")
def training() -> Embedded:
    draw = np.random.default_rng(0)
    label = np.repeat([0, 1, 3], 2000)
    means = np.array([[0.0, 0], [5, 0], [9, 9], [0, 5]])
    return embedded(draw.multivariate_normal([0, 0], [[2, 1], [1, 1]], len(label)) + means[label], label)


def test_mahalanobis_is_the_distance_by_the_covariance_that_artists_share(training: Embedded) -> None:
    """By hand, of the inverse [[1, -1], [-1, 2]] of the covariance that was drawn with."""
    found = Mahalanobis(training)(embedded(np.array([[1.0, 1], [5, 2]]), np.zeros(2, int)))
    assert found == pytest.approx([-0.5 * 1, -0.5 * 2 * 2**2], rel=0.15)


def test_nearest_is_the_distance_to_the_50th_of_unit_vectors() -> None:
    angles = np.linspace(0, 1, 101)
    clips = np.column_stack([np.cos(angles), np.sin(angles)]) * np.linspace(1, 9, 101)[:, None]
    found = Nearest(embedded(clips, np.zeros(101, int)))(embedded(np.array([[3.0, 0]]), np.zeros(1, int)))
    assert found == pytest.approx([-2 * np.sin(0.49 / 2)])


def test_energy_is_of_the_logits() -> None:
    class Network(nn.Module):
        def bottleneck(self, features: torch.Tensor) -> torch.Tensor:
            return features

        def classify(self, vectors: torch.Tensor) -> torch.Tensor:
            return vectors * 2

    assert energy(Network(), np.array([[0.0, 0], [1, 0]])) == pytest.approx([np.log(2), np.log(np.exp(2) + 1)])


def test_detection_with_one_song_in_the_wrong_place() -> None:
    score = np.array([5.0, 4, 3, 2, 1])
    known = np.array([True, True, False, True, False])
    found = detection(score, right=np.array([True, False, False, True, False]), known=known)
    assert found["auroc"] == pytest.approx(5 / 6)
    assert found["fpr95"] == 0.5
    assert found["dir1"] == found["dir5"] == pytest.approx(1 / 3)
    heavier = detection(score, known, known, np.array([1.0, 1, 0, 1, 1]))
    assert heavier["auroc"] == heavier["dir5"] == 1
