"""Is one system better than another? Paired comparison of two systems tested on the same songs.

Scores of two systems on the same songs are correlated, so that their two intervals say little about the difference;
pairing the songs does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from artistid.errors import ArtistidError, counted
from artistid.evaluation.predictions import Predictions
from artistid.evaluation.scores import DRAWS, estimate_of, f1_draws, song_outcome
from artistid.evaluation.voting import SongVotes, vote


@dataclass(frozen=True)
class Comparison:
    """A first system against a second one, at the song level.

    Attributes:
        difference: weighted F1 of the first minus that of the second, mean over trials.
        ci95: ``(low, high)`` 95 % interval of the difference, see :meth:`artistid.evaluation.scores.Estimate.minus`;
            each draw has the same songs for both systems.
        only_first: number of songs that only the first system classifies correctly, in all trials together.
        only_second: number of songs that only the second classifies correctly.
        p_value: of McNemar's exact test (1947), a two-sided binomial test of ``only_first`` and ``only_second`` being
            equally likely; 1 where there are no such songs.
        n: number of songs, in all trials together.
        trials: number of pairs of runs.
    """

    difference: float
    ci95: tuple[float, float]
    only_first: int
    only_second: int
    p_value: float
    n: int
    trials: int


def compare(
    first: Predictions, second: Predictions, method: str = "majority", *, draws: int = DRAWS, seed: int = 0
) -> Comparison:
    """Compare two systems by their predictions for the same songs, which may be cut into clips of different lengths.

    Args:
        first: predictions of one system.
        second: predictions of the other.
        method: of the song vote, see :func:`artistid.evaluation.voting.count_votes`.
        draws: number of bootstrap draws.
        seed: of the bootstrap.

    Raises:
        ArtistidError: the test songs, or their true artists, differ.
    """
    return compare_trials([(vote(first, method), vote(second, method))], draws=draws, seed=seed)


def compare_trials(pairs: Sequence[tuple[SongVotes, SongVotes]], *, draws: int = DRAWS, seed: int = 0) -> Comparison:
    """Compare two systems over several trials, each with test songs of its own.

    The difference is the mean over trials, with songs redrawn within each trial; McNemar's test pools the songs of all
    trials. A song in several trials counts in each: where these overlap much, the p-value is somewhat too small.

    Args:
        pairs: the votes of the first and of the second system in each trial.
        draws: number of bootstrap draws.
        seed: of the bootstrap.

    Raises:
        ArtistidError: the test songs, or their true artists, of a pair differ.
    """
    generator = np.random.default_rng(seed)
    trials, redrawn, right = [], [], []
    for pair in pairs:
        require_same_songs(*pair)
        outcomes = [song_outcome(votes) for votes in pair]
        trials.append(outcomes)
        redrawn.append(f1_draws(outcomes, draws, generator))
        right.append([outcome.label == outcome.predicted for outcome in outcomes])
    first, second = map(estimate_of, zip(*trials, strict=True), zip(*redrawn, strict=True))
    first_right, second_right = np.concatenate(right, axis=1)
    only_first, only_second = int((first_right & ~second_right).sum()), int((second_right & ~first_right).sum())
    return Comparison(
        difference=first.value - second.value,
        ci95=first.minus(second),
        only_first=only_first,
        only_second=only_second,
        p_value=mcnemar(only_first, only_second),
        n=len(first_right),
        trials=len(pairs),
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided p-value of McNemar's exact test, from the numbers of songs that only one system gets right."""
    decided = only_first + only_second
    return float(binomtest(only_first, decided).pvalue) if decided else 1.0


def holm(p_values: Sequence[float]) -> NDArray[np.float64]:
    """p-values of several tests, adjusted to control the family-wise error rate (Holm 1979)."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return np.minimum(adjusted, 1)


def require_same_songs(first: SongVotes, second: SongVotes) -> None:
    """Raises ArtistidError for systems that were not tested on the same songs and true artists."""
    truths = [dict(zip(votes.track_id, votes.artist, strict=True)) for votes in (first, second)]
    if truths[0] == truths[1]:
        return
    differing = sorted(truths[0].items() ^ truths[1].items())
    raise ArtistidError(
        f"two systems are compared on the same test songs and true artists; of {len(first)} and "
        f"{counted(len(second), 'song')}, these are in only one of them: "
        f"{', '.join(f'{song} ({artist})' for song, artist in differing[:5])}{', …' if len(differing) > 5 else ''}"
    )
