"""Calibration of a system's probabilities: reliability diagram, and expected calibration error."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from artistid.evaluation.predictions import Predictions
from artistid.evaluation.voting import SongVotes

BINS = 10  # of equal width, from 0 to 1


class Reliability(NamedTuple):
    """Confidence and accuracy in each non-empty bin of confidence.

    Attributes:
        confidence: ``(bins,)`` mean probability of the predicted artist.
        accuracy: ``(bins,)`` share of correct predictions.
        n: ``(bins,)`` number of samples.
    """

    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    n: NDArray[np.int64]

    @classmethod
    def of(cls, confidence: ArrayLike, right: ArrayLike) -> Reliability:
        """From samples: the probability of the predicted artist (n,), and whether it is correct (n,)."""
        confidence, right = np.asarray(confidence, np.float64), np.asarray(right, np.float64)
        place = np.minimum((confidence * BINS).astype(int), BINS - 1)
        n = np.bincount(place, minlength=BINS)
        sums = (np.bincount(place, weights=values, minlength=BINS) for values in (confidence, right))
        said, true = (total[n > 0] / n[n > 0] for total in sums)
        return cls(said, true, n[n > 0])

    @property
    def error(self) -> float:
        """The expected calibration error (Naeini, Cooper & Hauskrecht 2015): their mean absolute difference."""
        return float(np.average(np.abs(self.confidence - self.accuracy), weights=self.n))


def confidences(predictions: Predictions, votes: SongVotes) -> dict[str, NDArray[np.floating]]:
    """At each level, the probability ``(n,)`` of the predicted artist; ``votes`` are those of the predictions."""
    return {"frame": predictions.probability.max(axis=1), "song": votes.confidence}
