"""None of them: which songs are so unlike all artists that a system knows that it should name nobody.

A song's score is the probability of the artist whom the run's vote places first, averaged over the clips that voted
(Hendrycks & Gimpel 2017 take it of one sample): name, probability and threshold follow one rule. The threshold is set
by songs of known artists that were not trained on: so many of them are accepted. How well it tells others apart is
another question, which takes songs of unknown artists to answer. For that other scores than this one are measured, too:
see :mod:`artistid.learning.unknown_artists` and :mod:`artistid.evaluation.detection`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from artistid.errors import ArtistidError

# The usual operating point of the literature on unknown classes: 95 % of the known are accepted.
ACCEPTED = 0.95


@dataclass(frozen=True, kw_only=True)
class OpenSetThreshold:
    """When a song is by none of the artists: its score is below the threshold.

    Attributes:
        threshold: of the score, in [0, 1].
        accepted: share of known artists' songs that was to be accepted.
        n_songs: of validation, that the threshold was set by.
    """

    threshold: float
    accepted: float
    n_songs: int

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ArtistidError(f"open_set.threshold={self.threshold}: expected a probability")

    def plain(self) -> dict[str, Any]:
        """As plain types."""
        return asdict(self)


class OpenSetScores(TypedDict):
    """How well songs of unknown artists are told from those of known ones; plain numbers, ready for JSON.

    Keys:
        auroc: the chance that a song of a known artist has a higher score than one of an unknown artist.
        known, unknown: number of songs.
        known_accepted, unknown_accepted: shares of them at the threshold.
    """

    auroc: float
    known: int
    unknown: int
    known_accepted: float
    unknown_accepted: float


def calibrate(scores: NDArray[np.floating], accepted: float = ACCEPTED) -> OpenSetThreshold:
    """The highest threshold that accepts so many of the songs; of few songs that may be all.

    Args:
        scores: ``(songs,)`` of known artists, not trained on.
        accepted: share of them.
    """
    threshold = float(np.quantile(scores, 1 - accepted, method="lower"))
    return OpenSetThreshold(threshold=threshold, accepted=accepted, n_songs=len(scores))


def score_open_set(known: ArrayLike, unknown: ArrayLike, open_set: OpenSetThreshold) -> OpenSetScores:
    """Compare the scores of songs by known and by unknown artists."""
    first, second = np.asarray(known)[:, None], np.asarray(unknown)[None]
    return OpenSetScores(
        auroc=float(np.mean((first > second) + 0.5 * (first == second))),  # Mann & Whitney's U, as a share
        known=first.size,
        unknown=second.size,
        known_accepted=float(np.mean(first >= open_set.threshold)),
        unknown_accepted=float(np.mean(second >= open_set.threshold)),
    )
