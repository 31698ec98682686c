"""Open-set rejection: which songs are so unlike all artists that a system should name none of them.

A song's score is the probability of the artist whom the run's vote places first, averaged over the clips that voted
(Hendrycks & Gimpel 2017 use it for single samples): name, probability and threshold follow one rule. The threshold is
set so that a given share of known artists' songs, which were not trained on, is accepted. How well it rejects unknown
artists is another question, which needs their songs to answer; for that, other scores are evaluated, too: see
:mod:`artistid.learning.unknown_artists` and :mod:`artistid.evaluation.detection`.
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
    """A song with a score below the threshold counts as by none of the artists.

    Attributes:
        threshold: of the score, in [0, 1].
        accepted: target share of known artists' songs to accept.
        n_songs: number of validation songs that the threshold was set by.
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
    """How well songs of unknown and known artists are separated; plain numbers, ready for JSON.

    Keys:
        auroc: the probability that a song of a known artist has a higher score than one of an unknown artist.
        known, unknown: number of songs.
        known_accepted, unknown_accepted: shares of them accepted at the threshold.
    """

    auroc: float
    known: int
    unknown: int
    known_accepted: float
    unknown_accepted: float


def calibrate(scores: NDArray[np.floating], accepted: float = ACCEPTED) -> OpenSetThreshold:
    """The highest threshold that accepts at least a given share of the songs; with few songs, that may be all.

    Args:
        scores: ``(songs,)`` of known artists, not trained on.
        accepted: share of them to accept.
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
