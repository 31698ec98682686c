"""Base classes of the systems of Table III, which score classes and predict the highest."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils.validation import check_is_fitted, validate_data


def class_scores(decision: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(n, classes)`` from the output of a ``decision_function``, which for two classes is (n,)."""
    return np.column_stack([-decision, decision]) if decision.ndim == 1 else decision


def as_decision(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The output of a ``decision_function`` for scores ``(n, classes)``: (n,) for two classes."""
    return (scores[:, 1] - scores[:, 0]) / 2 if scores.shape[1] == 2 else scores


class ScoringClassifier(ClassifierMixin, BaseEstimator, ABC):
    """A scikit-learn classifier defined by its ``fit`` and its ``decision_function``."""

    classes_: NDArray[Any]

    @abstractmethod
    def fit(self, X: Any, y: Any) -> Self:
        """Fit to samples (n, columns) and their classes (n,)."""

    @abstractmethod
    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Scores of samples: (n, classes), or (n,) for two."""

    def predict(self, X: Any) -> NDArray[Any]:
        """The class (n,) of the highest score."""
        scores = class_scores(self.decision_function(X))
        predicted: NDArray[Any] = self.classes_[scores.argmax(axis=1)]
        return predicted

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Softmax of the scores (n, classes): normalised likelihoods, or margins in the same order; not calibrated."""
        probability: NDArray[np.float64] = softmax(class_scores(self.decision_function(X)), axis=1)
        return probability


class StandardisedClassifier(ScoringClassifier):
    """Columns standardised on the training data, then a classifier of scikit-learn."""

    @abstractmethod
    def _classifier(self) -> BaseEstimator:
        """The classifier that is fitted to the standardised columns; raises ValueError for invalid settings."""

    def fit(self, X: Any, y: Any) -> Self:
        classifier = self._classifier()
        X, y = validate_data(self, X, y)
        self.pipeline_ = make_pipeline(StandardScaler(), classifier).fit(X, y)
        self.classes_ = self.pipeline_.classes_
        return self

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self)
        decision: NDArray[np.float64] = self.pipeline_.decision_function(validate_data(self, X, reset=False))
        return decision


class StandardisedSVC(StandardisedClassifier):
    """A support vector machine with a Gaussian kernel, scored by its decision function.

    Args:
        C: cost of a training sample on the wrong side.
        gamma: γ of the kernel exp(−γ |x − y|²), or ``scale``: one over the number of columns.
        strategy: ``pairs``: one machine per pair of classes; ``rest``: one per class against all others.
    """

    def __init__(self, C: float = 1.0, gamma: float | str = "scale", strategy: str = "pairs") -> None:
        self.C = C
        self.gamma = gamma
        self.strategy = strategy

    def _classifier(self) -> BaseEstimator:
        if self.strategy not in ("pairs", "rest"):
            raise ValueError(f"strategy={self.strategy!r}: expected one of pairs, rest")
        machine = SVC(C=self.C, gamma=self.gamma)
        return machine if self.strategy == "pairs" else OneVsRestClassifier(machine)
