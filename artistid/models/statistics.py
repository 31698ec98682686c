"""A standard baseline: statistics of many descriptors over a song or a clip, and a support vector machine or LDA.

It is a usual first attempt with a library such as librosa (after Tzanetakis & Cook 2002). As no study prescribes its
input, it is fitted on what it will classify: songs, or clips of one length.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from artistid.data.descriptors import Descriptors, load_librosa
from artistid.models.scoring import StandardisedClassifier, StandardisedSVC


def song_statistics(rows: NDArray[np.floating], descriptors: Descriptors) -> NDArray[np.floating]:
    """Mean and standard deviation ``(1, columns)`` over a song or clip: for 20 MFCC 158 columns.

    They are taken of MFCC, their first and second deltas, chroma and spectral contrast.
    """
    delta = load_librosa().feature.delta
    mfcc = rows[:, descriptors.mfcc]
    changes = [delta(mfcc, axis=0, order=order, mode="nearest") for order in (1, 2)]
    everything = np.hstack([mfcc, *changes, rows[:, descriptors.chroma], rows[:, descriptors.contrast]])
    return np.concatenate([everything.mean(axis=0), everything.std(axis=0)])[None]


class SongStatisticsSVM(StandardisedSVC):
    """A support vector machine with a Gaussian kernel on :func:`song_statistics`, tuned by validation."""


class SongStatisticsLDA(StandardisedClassifier):
    """Linear discriminant analysis with a shrunk covariance on :func:`song_statistics`.

    Its scores are log-posteriors up to a constant per sample.

    Args:
        shrinkage: of the covariance within artists, from 0 to 1; ``auto``: Ledoit & Wolf's.
    """

    def __init__(self, shrinkage: float | str = "auto") -> None:
        self.shrinkage = shrinkage

    def _classifier(self) -> BaseEstimator:
        return LinearDiscriminantAnalysis(solver="lsqr", shrinkage=self.shrinkage)
