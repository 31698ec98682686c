"""Control systems without knowledge: a lower bound for all others, and a check that no labels leak into the test."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from artistid.data.descriptors import Descriptors


def nothing(rows: NDArray[np.floating], descriptors: Descriptors) -> NDArray[np.floating]:
    """One constant column for every clip, for a system that only counts artists."""
    return np.zeros((1, 1))


class ShuffledLabels(MetaEstimatorMixin, ClassifierMixin, BaseEstimator):
    """Any system, trained with permuted labels: it must score at chance.

    Args:
        estimator: the system.
        random_state: of the permutation.
    """

    def __init__(self, estimator: Any, random_state: int | None = None) -> None:
        self.estimator = estimator
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Fit to samples (n, columns) and a permutation of their artists (n,)."""
        shuffled = check_random_state(self.random_state).permutation(np.asarray(y))
        self.estimator_ = clone(self.estimator).fit(X, shuffled)
        self.classes_ = self.estimator_.classes_
        return self

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """The system's scores."""
        check_is_fitted(self)
        decision: NDArray[np.float64] = self.estimator_.decision_function(X)
        return decision

    def predict(self, X: Any) -> NDArray[Any]:
        """The system's answers."""
        check_is_fitted(self)
        predicted: NDArray[Any] = self.estimator_.predict(X)
        return predicted

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """The system's probabilities (n, artists)."""
        check_is_fitted(self)
        probability: NDArray[np.float64] = self.estimator_.predict_proba(X)
        return probability
