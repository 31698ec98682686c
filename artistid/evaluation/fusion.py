"""Score fusion: several systems combined by a weighted sum of their log-probabilities for the same songs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from artistid.errors import ArtistidError
from artistid.evaluation.comparison import require_same_songs
from artistid.evaluation.predictions import Predictions
from artistid.evaluation.voting import SongVotes

# A single system's 0 must weigh heavily, but not veto an artist.
LEAST_PROBABILITY = np.finfo(np.float32).tiny


def fuse(systems: Sequence[SongVotes], weights: ArrayLike) -> Predictions:
    """Fused predictions for each song: the softmax of a weighted sum of the systems' log-probabilities.

    Each song is one clip, as with a system that describes whole songs.

    Args:
        systems: the votes of each, on the same songs.
        weights: ``(systems,)``; one over their number gives the mean.

    Raises:
        ArtistidError: they are not of the same songs and artists.
    """
    first = systems[0]
    probability = softmax(np.tensordot(np.asarray(weights), log_probabilities(systems), axes=1), axis=1)
    return Predictions(first.artists, first.track_id, np.zeros(len(first), np.int32), first.artist, probability)


def likeliest_weights(systems: Sequence[SongVotes]) -> NDArray[np.float64]:
    """``(systems,)`` non-negative weights that maximise the likelihood of the songs' true artists.

    Their sum is the fusion's inverse temperature. The loss is convex in them. As for temperatures, labels are smoothed
    as if one more song were another artist's, so that systems without a mistake do not become certain of everything.

    Args:
        systems: the votes of each on songs that were not trained on.

    Raises:
        ArtistidError: they are not of the same songs and artists.
    """
    scores, label = log_probabilities(systems), systems[0].label  # (systems, songs, artists)
    doubt = 1 / (len(label) + 2)
    target = (np.arange(scores.shape[2]) == label[:, None]) * (1 - doubt) + doubt / scores.shape[2]

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        log_probability = log_softmax(np.tensordot(weights, scores, axes=1), axis=1)
        excess = np.exp(log_probability) - target
        return -float((target * log_probability).sum()) / len(label), (scores * excess).sum(axis=(1, 2)) / len(label)

    even = np.full(len(systems), 1 / len(systems))
    found: NDArray[np.float64] = minimize(loss, even, jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(even)).x
    return found


def log_probabilities(systems: Sequence[SongVotes]) -> NDArray[np.float64]:
    """``(systems, songs, artists)``; raises ArtistidError for systems of other songs or artists than the first one."""
    first = systems[0]
    for other in systems[1:]:
        require_same_songs(first, other)
        if other.artists != first.artists:
            differing = sorted(set(first.artists) ^ set(other.artists)) or ["none, but their order does"]
            raise ArtistidError(f"fused systems need the same artists; these differ: {', '.join(differing)}")
    return np.log(np.maximum([votes.probability for votes in systems], LEAST_PROBABILITY))
