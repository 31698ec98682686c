"""Ellis, "Classifying music audio with timbral and chroma features", ISMIR 2007: a Gaussian per artist."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from artistid.data.descriptors import N_CHROMA, Descriptors
from artistid.models.gaussians import Gaussians, Moments, Scale, dimensions, pack, packed_width, pooled, unpack
from artistid.models.scoring import ScoringClassifier, as_decision

# Maximum number of rounds of key alignment, should it not converge.
MOST_ROUNDS = 20


def mfcc_and_chroma_moments(rows: NDArray[np.floating], descriptors: Descriptors) -> NDArray[np.floating]:
    """Packed moments ``(1, columns)`` of the MFCC, followed by those of the chroma of the beats starting in a clip."""
    begins = rows[:, descriptors.beat] > 0
    if not begins.any():  # a clip within one beat
        begins[0] = True
    return np.concatenate([pack(rows[:, descriptors.mfcc]), pack(rows[begins, descriptors.chroma])])[None]


class ArtistGaussians(ScoringClassifier):
    """Full-covariance Gaussians of each artist's MFCC and of its beat-synchronous, key-aligned chroma, fused.

    The score of an artist is the mean log-likelihood of the MFCC rows plus ``chroma_weight`` times that of the beats'
    chroma; the study sums both over a song. Key alignment starts with one Gaussian of the chroma of all songs, rotates
    every song to the one of 12 keys that is likeliest under it, refits it, and repeats until no song changes its key; a
    test song is rotated likewise.

    Samples are packed moments, see :func:`mfcc_and_chroma_moments`. Train on whole songs, so that each is aligned as
    one; test clips are aligned individually. Scores are means over rows, and so comparable for clips of any length.

    Departures: the study's chroma are based on instantaneous frequency, and it also tries several beats and a mixture
    per artist; here they are librosa's, of one beat each.

    Args:
        chroma_weight: weight of the chroma relative to the MFCC; 0 leaves them out.
        shrinkage: of all covariances, see :meth:`artistid.models.gaussians.Gaussians.fitted`.
    """

    any_length = True

    def __init__(self, chroma_weight: float = 0.1, shrinkage: float = 1e-3) -> None:
        self.chroma_weight = chroma_weight
        self.shrinkage = shrinkage

    def fit(self, X: Any, y: Any) -> Self:
        """Fit to the packed moments (songs, columns) of songs, and their artists (songs,)."""
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_, artist = np.unique(y, return_inverse=True)
        mfcc, chroma = self._unpack(X)
        self.mfcc_scale_, self.chroma_scale_ = Scale.of(mfcc), _one_for_all_keys(chroma)
        mfcc, chroma = self.mfcc_scale_(mfcc), self.chroma_scale_(chroma)
        self.reference_ = self._reference(chroma)
        chroma = rotated(chroma, self._keys(chroma))
        n = len(self.classes_)
        self.mfcc_ = Gaussians.fitted(pooled(mfcc, artist, n), self.shrinkage)
        self.chroma_ = Gaussians.fitted(pooled(chroma, artist, n), self.shrinkage)
        return self

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Weighted mean log-likelihoods (n, artists); for two artists (n,), half of the second's minus the first's."""
        check_is_fitted(self)
        mfcc, chroma = self._unpack(validate_data(self, X, reset=False, dtype=np.float64))
        scores = self.mfcc_.log_likelihood(self.mfcc_scale_(mfcc))
        if self.chroma_weight:
            chroma = self.chroma_scale_(chroma)
            scores = scores + self.chroma_weight * self.chroma_.log_likelihood(rotated(chroma, self._keys(chroma)))
        return as_decision(scores)

    def _unpack(self, X: NDArray[np.float64]) -> tuple[Moments, Moments]:
        of_mfcc = X.shape[1] - packed_width(N_CHROMA)
        dimensions(max(of_mfcc, 0))  # raises ValueError for others
        return unpack(X[:, :of_mfcc]), unpack(X[:, of_mfcc:])

    def _reference(self, chroma: Moments) -> Gaussians:
        """The Gaussian of the chroma of all songs, each in the key that is likeliest under it."""
        everything = np.zeros(len(chroma.n), int)
        keys = everything
        for _ in range(MOST_ROUNDS):
            reference = Gaussians.fitted(pooled(rotated(chroma, keys), everything, 1), self.shrinkage)
            before, keys = keys, likeliest_keys(chroma, reference)
            if np.array_equal(before, keys):
                break
        return reference

    def _keys(self, chroma: Moments) -> NDArray[np.int64]:
        return likeliest_keys(chroma, self.reference_)


def rotated(chroma: Moments, keys: NDArray[np.integer]) -> Moments:
    """Moments of chroma rotated by ``keys`` (k,) semitones down: what was at that pitch class is now at 0."""
    source = (np.arange(N_CHROMA) + keys[:, None]) % N_CHROMA  # (k, 12)
    song = np.arange(len(keys))[:, None]
    mean = chroma.mean[song, source]
    covariance = chroma.covariance[song[:, :, None], source[:, :, None], source[:, None, :]]
    return Moments(chroma.n, mean, covariance)


def likeliest_keys(chroma: Moments, reference: Gaussians) -> NDArray[np.int64]:
    """``(k,)`` the number of semitones by which to rotate each song to maximise its likelihood under one Gaussian."""
    # Rotating the one Gaussian the other way is equivalent, and cheaper.
    back = rotated(
        Moments(
            np.ones(N_CHROMA),
            np.repeat(reference.mean, N_CHROMA, axis=0),
            np.repeat(reference.covariance, N_CHROMA, axis=0),
        ),
        -np.arange(N_CHROMA),
    )
    return Gaussians(back.mean, back.covariance).log_likelihood(chroma).argmax(axis=1)


def _one_for_all_keys(chroma: Moments) -> Scale:
    """A scale shared by all pitch classes, so that they can still be rotated into one another."""
    each = Scale.of(chroma)
    return Scale(np.full(N_CHROMA, each.centre.mean()), np.full(N_CHROMA, np.sqrt(np.mean(each.width**2))))
