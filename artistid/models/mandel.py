"""Mandel & Ellis, "Song-level features and support vector machines for music classification", ISMIR 2005."""

from __future__ import annotations

import logging
import warnings
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.svm import SVC
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from artistid.data.descriptors import Descriptors
from artistid.errors import counted
from artistid.models.gaussians import Gaussians, Scale, dimensions, pack, symmetric_divergence, unpack
from artistid.models.scoring import ScoringClassifier, StandardisedSVC, as_decision

log = logging.getLogger(__name__)


def mfcc_moments(rows: NDArray[np.floating], descriptors: Descriptors) -> NDArray[np.floating]:
    """Packed moments ``(1, columns)`` of a song's MFCC, see :func:`artistid.models.gaussians.pack`."""
    return pack(rows[:, descriptors.mfcc])[None]


def mfcc_mean_and_covariance(rows: NDArray[np.floating], descriptors: Descriptors) -> NDArray[np.floating]:
    """Mean and upper triangle of the covariance ``(1, columns)`` of a song's MFCC: for 20 of them 230 columns."""
    return mfcc_moments(rows, descriptors)[:, 1:]


def mfcc_rows(rows: NDArray[np.floating], descriptors: Descriptors, every: int = 5) -> NDArray[np.floating]:
    """Every ``every``-th MFCC row ``(n, n_mfcc)`` of a clip: neighbours, whose windows overlap, are similar."""
    return rows[::every, descriptors.mfcc]


class FrameMixtures(ScoringClassifier):
    """A Gaussian mixture per artist, fitted to single rows of MFCC; clips and songs average log-likelihoods.

    Departures: the covariance type and the number of components are settings; the number of rows that an artist's
    mixture is fitted to is limited, to bound time and memory.

    Args:
        n_components: of each mixture.
        covariance_type: ``full`` or ``diag``.
        most_rows: of an artist, drawn at random where there are more.
        max_iter: EM iterations; a warning gives the number of mixtures that have not converged.
        reg_covar: added to the variances of the standardised rows.
        random_state: of the draw of rows and of the initialisation.
    """

    def __init__(
        self,
        n_components: int = 16,
        covariance_type: str = "full",
        most_rows: int = 20_000,
        max_iter: int = 200,
        reg_covar: float = 1e-3,
        random_state: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.most_rows = most_rows
        self.max_iter = max_iter
        self.reg_covar = reg_covar
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Fit to rows (n, columns) and the artist of each (n,)."""
        X, y = validate_data(self, X, y, dtype=(np.float64, np.float32))
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        random = check_random_state(self.random_state)
        self.centre_ = X.mean(axis=0, dtype=np.float64)
        width = X.std(axis=0, dtype=np.float64)
        self.width_ = np.where(width > 0, width, 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # one warning for all mixtures, below
            self.mixtures_ = [self._fit_one(X[y == each], random) for each in self.classes_]
        self.n_iter_ = max(mixture.n_iter_ for mixture in self.mixtures_)
        if unfinished := sum(not mixture.converged_ for mixture in self.mixtures_):
            log.warning(
                "not converged after max_iter=%d: %d of %s",
                self.max_iter,
                unfinished,
                counted(len(self.mixtures_), "mixture"),
            )
        return self

    def _fit_one(self, rows: NDArray[np.floating], random: np.random.RandomState) -> GaussianMixture:
        if len(rows) > self.most_rows:
            rows = rows[random.choice(len(rows), self.most_rows, replace=False)]
        mixture = GaussianMixture(
            min(self.n_components, len(rows)),
            covariance_type=self.covariance_type,
            max_iter=self.max_iter,
            reg_covar=self.reg_covar,
            random_state=random,
        )
        rows = (rows - self.centre_) / self.width_
        # A mixture cannot be fitted to a single row; the same row twice is the same distribution.
        return mixture.fit(rows if len(rows) > 1 else np.repeat(rows, 2, axis=0))

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Log-likelihoods of rows (n, artists); for two artists (n,), half of the second's minus the first's."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=(np.float64, np.float32))
        rows = (X - self.centre_) / self.width_
        scores = np.column_stack([mixture.score_samples(rows) for mixture in self.mixtures_])
        return as_decision(scores)


class SongSVM(ScoringClassifier):
    """A Gaussian per song, and a support vector machine on the divergences between songs (III-A, III-B).

    The distance D is the symmetrised Kullback-Leibler divergence of the songs' full-covariance Gaussians of MFCC, the
    kernel exp(−γ D). Divergences are not squared distances in any space, so the kernel need not be positive
    semidefinite, nor the SVM's problem convex: negative eigenvalues are clipped, and test songs' kernel rows projected
    alike (Chen et al. 2009, "Similarity-based classification", JMLR).

    Departure: the study eliminates artists pair by pair along a graph (DAG-SVM); here the same pairwise machines vote.

    Samples are packed moments of whole songs, see :func:`mfcc_moments`.

    Args:
        C: cost of a training song on the wrong side.
        gamma: γ in units of one over the median divergence between training songs.
        shrinkage: of the songs' covariances, see :meth:`artistid.models.gaussians.Gaussians.fitted`.
        clip_spectrum: whether to clip negative eigenvalues; otherwise the kernel is used unchanged.
    """

    def __init__(
        self, C: float = 10.0, gamma: float = 1.0, shrinkage: float = 1e-2, clip_spectrum: bool = True
    ) -> None:
        self.C = C
        self.gamma = gamma
        self.shrinkage = shrinkage
        self.clip_spectrum = clip_spectrum

    def fit(self, X: Any, y: Any) -> Self:
        """Fit to the packed moments (songs, columns) of songs, and their artists (songs,)."""
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        dimensions(X.shape[1])  # raises ValueError for other columns
        self.scale_ = Scale.of(unpack(X))
        self.songs_ = self._gaussians(X)
        divergence = symmetric_divergence(self.songs_, self.songs_)
        between = divergence[np.triu_indices(len(divergence), k=1)]
        self.median_divergence_ = float(np.median(between)) or 1.0
        kernel = self._kernel(divergence)
        eigenvalue, vector = np.linalg.eigh((kernel + kernel.T) / 2)
        self.lowest_eigenvalue_ = float(eigenvalue[0])
        kept = vector[:, eigenvalue > 0] if self.clip_spectrum else vector
        self.projection_ = kept @ kept.T
        self.machine_ = SVC(C=self.C, kernel="precomputed").fit(kernel @ self.projection_, y)
        self.classes_ = self.machine_.classes_
        return self

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Votes of the machines, with their confidence as the fraction; (n, artists), or (n,) for two."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        kernel = self._kernel(symmetric_divergence(self._gaussians(X), self.songs_))
        decision: NDArray[np.float64] = self.machine_.decision_function(kernel @ self.projection_)
        return decision

    def _gaussians(self, X: NDArray[np.float64]) -> Gaussians:
        return Gaussians.fitted(self.scale_(unpack(X)), self.shrinkage)

    def _kernel(self, divergence: NDArray[np.floating]) -> NDArray[np.float64]:
        return np.exp(-self.gamma / self.median_divergence_ * divergence)


class MahalanobisSVM(StandardisedSVC):
    """A support vector machine on the mean and covariance of a song's MFCC as a plain vector (III-A).

    The kernel is exp(−γ D²) with D the Mahalanobis distance between :func:`mfcc_mean_and_covariance` of two songs,
    under a diagonal covariance over the training songs, computed by standardising the columns.

    Departure: as in :class:`SongSVM`, the pairwise machines vote.
    """
