"""Evaluation of artist verification and open-set identification, from scores of songs against enrolled artists.

For *verification*, every song is a trial against every enrolled artist, evaluated as in speaker verification: equal
error rate, detection cost (NIST), and the cost of the log-likelihood ratio (Brümmer & du Preez 2006,
"Application-independent evaluation of speaker detection"). For *open-set identification*, a song is assigned to the
artist with the highest score, or to nobody below a threshold: how well songs of enrolled artists are separated from
others (AUROC, false positives at 95 % true positives), and how many are both accepted and identified correctly at a
given false-alarm rate (detection and identification rate: Phillips, Grother & Micheals 2011).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression
from scipy.special import logit

from artistid.errors import ArtistidError
from artistid.evaluation.detection import detection, redrawn
from artistid.evaluation.scores import DRAWS, Estimate
from artistid.hints import Range

Floats = NDArray[np.float64]

MOST_FALSE = 100_000  # false claims used
TRIALS_DRAWN = 20_000_000  # in all draws together: with many trials there are fewer draws, but never fewer than
FEWEST_DRAWS = 100


@dataclass(frozen=True, kw_only=True)
class DetectionCost:
    """The parameters of NIST's detection cost function.

    Attributes:
        prior: probability of a claim being true.
        miss: cost of rejecting a true claim.
        false_alarm: cost of accepting a false one.
    """

    prior: Annotated[float, Range(0, 1)] = 0.05
    miss: Annotated[float, Range(0)] = 1.0
    false_alarm: Annotated[float, Range(0)] = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.prior < 1:
            raise ArtistidError(f"verification.cost.prior={self.prior}: expected a number above 0 and below 1")
        for name in ("miss", "false_alarm"):
            if not (value := getattr(self, name)) > 0:
                raise ArtistidError(f"verification.cost.{name}={value}: expected a number above 0")


EVEN = DetectionCost()


class ErrorRates(NamedTuple):
    """For each threshold, from the lowest: the share of true claims below it, and of false ones not below it."""

    miss: Floats
    false_alarm: Floats

    @property
    def equal(self) -> float:
        """The equal error rate, interpolated linearly between the two nearest thresholds."""
        after = int(np.argmax(self.miss >= self.false_alarm))
        if self.miss[after] == self.false_alarm[after]:
            return float(self.miss[after])
        before = self.false_alarm[after - 1] - self.miss[after - 1]  # above 0: the lowest threshold misses nothing
        share = before / (before + self.miss[after] - self.false_alarm[after])
        return float(self.miss[after - 1] + share * (self.miss[after] - self.miss[after - 1]))

    def least_cost(self, cost: DetectionCost = EVEN) -> float:
        """The minimum cost over thresholds; 1 is that of accepting or rejecting all, whichever is cheaper."""
        missing, alarming = cost.miss * cost.prior, cost.false_alarm * (1 - cost.prior)
        return float((missing * self.miss + alarming * self.false_alarm).min() / min(missing, alarming))


@dataclass(frozen=True, eq=False)
class Trials:
    """Scores of songs against enrolled artists.

    Attributes:
        score: ``(songs, enrolled)``, larger is likelier.
        maker: ``(songs,)`` number of the artist who made each song.
        enrolled: ``(enrolled,)`` number of each enrolled artist, without duplicates.
    """

    score: Floats
    maker: NDArray[np.int64]
    enrolled: NDArray[np.int64]

    @cached_property
    def true(self) -> NDArray[np.bool_]:
        """``(songs, enrolled)`` whether the artist made the song."""
        return np.asarray(self.maker[:, None] == self.enrolled)

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """``(songs,)`` whether a song's artist is enrolled."""
        return np.asarray(self.true.any(axis=1))

    @property
    def artists(self) -> NDArray[np.int64]:
        """The numbers of all artists that have songs or are enrolled."""
        return np.union1d(self.maker, self.enrolled)

    def select(self, songs: Any = slice(None), enrolled: Any = slice(None)) -> Trials:
        """A selection of songs and of enrolled artists; songs of other artists are then of unknown artists."""
        score = self.score[songs][:, enrolled]
        return Trials(score, self.maker[songs], self.enrolled[enrolled])


class Measures:
    """All measures of some trials, for any weights of their artists.

    Scores are sorted once, which is the slow part. Very many false claims are represented by a random sample.

    Args:
        trials: with true and false claims.
        cost: of errors.
    """

    def __init__(self, trials: Trials, cost: DetectionCost = EVEN) -> None:
        self._trials, self._cost = trials, cost
        kept = np.flatnonzero(trials.true | _some(~trials.true, MOST_FALSE))
        kept = kept[np.argsort(trials.score.ravel()[kept], kind="stable")]
        self._song, self._artist = np.divmod(kept, trials.score.shape[1])
        self._score, self._true = trials.score.ravel()[kept], trials.true.ravel()[kept]
        self._last = np.append(np.diff(self._score) > 0, True)  # of equal scores, which share one threshold
        first = np.arange(len(trials.score)), trials.score.argmax(axis=1)
        self._top, self._named = trials.score[first], trials.true[first]

    def __call__(self, weight: Floats | None = None) -> dict[str, float]:
        """All measures, by name.

        Args:
            weight: of each of :attr:`Trials.artists`, such as how often a draw contains them; None: 1.
        """
        trials = self._trials
        weight = np.ones(len(trials.artists)) if weight is None else weight
        maker, enrolled = (weight[np.searchsorted(trials.artists, each)] for each in (trials.maker, trials.enrolled))
        # An artist drawn twice makes twice as many true claims, but none across the two copies.
        of_trial = maker[self._song] * np.where(self._true, 1, enrolled[self._artist])
        rates = self._rates(of_trial)
        measures = {
            "eer": rates.equal,
            "min_dcf": rates.least_cost(self._cost),
            "cllr": self._cllr(self._score, of_trial),
            "min_cllr": self._cllr(self._ideal(of_trial), of_trial),
        }
        if not trials.known.all() and trials.known.any():
            measures |= detection(self._top, self._named, trials.known, maker)
        return measures

    @property
    def n_trials(self) -> int:
        """Number of trials used."""
        return len(self._score)

    @property
    def rates(self) -> ErrorRates:
        """The error rates at every threshold, as a DET curve shows them."""
        return self._rates(np.ones(len(self._score)))

    def _rates(self, weight: Floats) -> ErrorRates:
        below = [np.append(0, np.cumsum(weight * kind)[self._last]) for kind in (self._true, ~self._true)]
        miss, correct = (each / (each[-1] or 1) for each in below)
        return ErrorRates(miss, 1 - correct)

    def _cllr(self, llr: Floats, weight: Floats) -> float:
        """Cllr: mean cost in bits per claim, with scores as log-likelihood ratios; uninformative ones cost 1."""
        costs = np.logaddexp(0, np.where(self._true, -llr, llr)) / np.log(2)
        counted = weight > 0  # others may have infinite cost
        kinds = (self._true & counted, ~self._true & counted)
        return float(np.mean([np.average(costs[kind], weights=weight[kind]) for kind in kinds]))

    def _ideal(self, weight: Floats) -> Floats:
        """The ratios from the optimal monotonic calibration of the scores (pool adjacent violators)."""
        of_score = np.cumsum(self._last) - self._last  # equal scores share a bin, and stay equal
        total, true = (np.bincount(of_score, weights=weight * kind) for kind in (1.0, self._true))
        there = total > 0
        posterior = np.zeros(len(total))
        posterior[there] = isotonic_regression(true[there] / total[there], weights=total[there]).x
        odds = logit(np.clip(posterior, 0, 1)) - logit(true.sum() / total.sum())
        return odds[of_score]


def measure(trials: Trials, cost: DetectionCost = EVEN, draws: int = DRAWS, seed: int = 0) -> dict[str, Estimate]:
    """All measures with intervals over artists.

    Each draw takes as many artists as there are, with replacement, each with its songs and its enrolment, since an
    artist's songs tend to be accepted or confused together. The cost of the log-likelihood ratio has no upper bound,
    and its interval is given by percentiles of the draws, see :func:`interval`.

    Args:
        trials: with true and false claims.
        cost: of errors.
        draws: maximum number of bootstrap draws.
        seed: of the bootstrap. With the same artists, all draws are the same, so that differences are paired.

    Raises:
        ArtistidError: no true claim, or no false one.
    """
    if trials.true.all() or not trials.true.any():
        raise ArtistidError("verification needs songs of enrolled artists, and two artists or more")
    measures = Measures(trials, cost)
    n_draws = min(draws, max(FEWEST_DRAWS, TRIALS_DRAWN // measures.n_trials))
    return redrawn(measures, len(trials.artists), partial(_has_both, trials), n_draws, seed)


def interval(name: str, estimate: Estimate) -> list[float]:
    """95 % interval ``[low, high]`` of a measure over artists."""
    if name == "cllr":
        return [float(end) for end in np.quantile(estimate.draws, (0.025, 0.975))]
    return estimate.interval


def _some(chosen: NDArray[np.bool_], most: int) -> NDArray[np.bool_]:
    """About ``most`` of the chosen trials, always the same; all if they are fewer."""
    n = int(chosen.sum())
    if n <= most:
        return chosen
    drawn: NDArray[np.bool_] = chosen & (np.random.default_rng(0).random(chosen.shape) < most / n)
    return drawn


def _has_both(trials: Trials, weight: Floats) -> bool:
    """Whether a draw has two enrolled artists, one with songs, and unknown artists where the trials have any."""
    maker, enrolled = (weight[np.searchsorted(trials.artists, each)] for each in (trials.maker, trials.enrolled))
    unknown = ~trials.known
    enough = (enrolled > 0).sum() > 1 and maker[trials.known].any()
    return bool(enough and (maker[unknown].any() or not unknown.any()))
