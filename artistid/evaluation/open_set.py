"""None of them: which songs are so unlike all artists that a system knows that it should name nobody.

A song's score is the probability of the artist whom the run's vote places first, averaged over the clips that voted
(Hendrycks & Gimpel 2017 take it of one sample): name, probability and threshold follow one rule. The threshold is set
by songs of known artists that were not trained on: so many of them are accepted. How well it tells others apart is
another question, which takes songs of unknown artists to answer. For that other scores than this one are measured, too:
see :mod:`artistid.learning.unknown_artists`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

from artistid.errors import ArtistidError
from artistid.evaluation.scores import DRAWS, Estimate

# The usual operating point of the literature on unknown classes: 95 % of the known are accepted.
ACCEPTED = 0.95
# Shares of the unknown that are accepted, at which it is told how many of the known are.
FALSE_ALARMS = (0.01, 0.05)


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


def detection(
    score: NDArray[np.floating],
    right: NDArray[np.bool_],
    known: NDArray[np.bool_],
    weight: NDArray[np.floating] | None = None,
) -> dict[str, float]:
    """How well a score tells songs of known artists from others, and how many of them are named rightly as well.

    Args:
        score: ``(songs,)``, higher for known artists.
        right: ``(songs,)`` whether the artist who is named made the song.
        known: ``(songs,)`` whether the artist is known at all; some are, some are not.
        weight: ``(songs,)`` of each, such as how often a draw has it; None: 1.

    Returns:
        ``auroc``; ``fpr95``, the share of the unknown that are accepted where 95 % of the known are; ``dir1`` and
        ``dir5``, the share of the known that are accepted and named rightly where 1 % and 5 % of the unknown are
        accepted (detection and identification rate: Phillips, Grother & Micheals 2011).
    """
    weight = np.ones(len(score)) if weight is None else weight
    scores, place = np.unique(score, return_inverse=True)
    kinds = {"known": (known, known), "right": (known & right, known), "unknown": (~known, ~known)}
    # From each score on, what share of the songs has as high a one, or a higher; no song is above the last.
    accepted = {
        name: np.append(np.cumsum(np.bincount(place, weight * of, len(scores))[::-1])[::-1], 0) / (weight @ whose)
        for name, (of, whose) in kinds.items()
    }
    step = -np.diff(accepted["unknown"])
    strictest = int(np.flatnonzero(accepted["known"] >= ACCEPTED - 1e-12)[-1])
    loosest = {rate: int(np.argmax(accepted["unknown"] <= rate + 1e-12)) for rate in FALSE_ALARMS}
    return {
        "auroc": float(step @ (accepted["known"][1:] + accepted["known"][:-1]) / 2),
        "fpr95": float(accepted["unknown"][strictest]),
        **{f"dir{100 * rate:g}": float(accepted["right"][place]) for rate, place in loosest.items()},
    }


def redrawn(
    measures: Callable[[NDArray[np.float64]], Mapping[str, float]],
    n_artists: int,
    enough: Callable[[NDArray[np.float64]], bool],
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Measures, and how they move when the artists are redrawn, as many as there are and with replacement.

    Songs of an artist are accepted or mistaken together: of many songs of few artists little is known.

    Args:
        measures: of weights ``(artists,)``.
        n_artists: how many there are.
        enough: whether weights leave something to measure; draws that don't are made again.
        draws: of the bootstrap.
        seed: of the bootstrap. For as many artists all draws are the same, so that differences are paired.
    """
    generator = np.random.default_rng(seed)
    drawn: list[Mapping[str, float]] = []
    while len(drawn) < draws:
        weight = np.bincount(generator.integers(n_artists, size=n_artists), minlength=n_artists).astype(np.float64)
        if enough(weight):
            drawn.append(measures(weight))
    return {
        name: Estimate(value, np.array([each[name] for each in drawn]), n_artists)
        for name, value in measures(np.ones(n_artists)).items()
    }
