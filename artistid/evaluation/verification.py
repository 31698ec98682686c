"""Whether a song is by whom it claims to be, and by whom if by anyone: scores of songs against enrolled artists.

As *verification* every song is tried against every enrolled artist, and the trials are judged as speaker verification
judges its own: equal error rate, detection cost (NIST), and the cost of the log-likelihood ratio (Brümmer & du Preez
2006, "Application-independent evaluation of speaker detection"). As *open-set identification* a song is given to the
artist of its highest score, or to nobody below a threshold: how well songs of enrolled artists are told from others'
(AUROC, false positives at 95 % true positives), and how many are both accepted and named rightly while so many of the
others raise a false alarm (detection and identification rate: Phillips, Grother & Micheals 2011).
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

MOST_FALSE = 100_000  # claims that are counted
TRIALS_DRAWN = 20_000_000  # in all draws together: of many trials fewer draws are made, but never fewer than
FEWEST_DRAWS = 100


@dataclass(frozen=True, kw_only=True)
class DetectionCost:
    """What an error costs (NIST's detection cost function).

    Attributes:
        prior: of a claim being true.
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
    """Of each threshold, from the lowest: the shares of true claims below it, and of false ones not below it."""

    miss: Floats
    false_alarm: Floats

    @property
    def equal(self) -> float:
        """The rate at which both are equal, on the straight line between the two thresholds around it."""
        after = int(np.argmax(self.miss >= self.false_alarm))
        if self.miss[after] == self.false_alarm[after]:
            return float(self.miss[after])
        before = self.false_alarm[after - 1] - self.miss[after - 1]  # above 0: the lowest threshold misses nothing
        share = before / (before + self.miss[after] - self.false_alarm[after])
        return float(self.miss[after - 1] + share * (self.miss[after] - self.miss[after - 1]))

    def least_cost(self, cost: DetectionCost = EVEN) -> float:
        """The lowest cost of any threshold; 1 is that of accepting or rejecting all, whichever is cheaper."""
        missing, alarming = cost.miss * cost.prior, cost.false_alarm * (1 - cost.prior)
        return float((missing * self.miss + alarming * self.false_alarm).min() / min(missing, alarming))


@dataclass(frozen=True, eq=False)
class Trials:
    """Scores of songs against enrolled artists.

    Attributes:
        score: ``(songs, enrolled)``, larger is likelier.
        maker: ``(songs,)`` number of the artist who made each song.
        enrolled: ``(enrolled,)`` number of each enrolled artist, none twice.
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
        """The numbers of all artists, of songs or enrolled."""
        return np.union1d(self.maker, self.enrolled)

    def select(self, songs: Any = slice(None), enrolled: Any = slice(None)) -> Trials:
        """Of some songs, against some of the enrolled; the songs of the others are then of unknown artists."""
        score = self.score[songs][:, enrolled]
        return Trials(score, self.maker[songs], self.enrolled[enrolled])


class Measures:
    """All measures of some trials, for any weights of their artists.

    What takes long, sorting the scores, is done once. Of very many false claims some, drawn at random, stand for all.

    Args:
        trials: with true claims and false ones.
        cost: of errors.
    """

    def __init__(self, trials: Trials, cost: DetectionCost = EVEN) -> None:
        self._trials, self._cost = trials, cost
        kept = np.flatnonzero(trials.true | _some(~trials.true, MOST_FALSE))
        kept = kept[np.argsort(trials.score.ravel()[kept], kind="stable")]
        self._song, self._artist = np.divmod(kept, trials.score.shape[1])
        self._score, self._true = trials.score.ravel()[kept], trials.true.ravel()[kept]
        self._last = np.append(np.diff(self._score) > 0, True)  # of its score: equal ones have one threshold
        first = np.arange(len(trials.score)), trials.score.argmax(axis=1)
        self._top, self._named = trials.score[first], trials.true[first]

    def __call__(self, weight: Floats | None = None) -> dict[str, float]:
        """Each by its name.

        Args:
            weight: of each of :attr:`Trials.artists`, such as how often a draw has them; None: 1.
        """
        trials = self._trials
        weight = np.ones(len(trials.artists)) if weight is None else weight
        maker, enrolled = (weight[np.searchsorted(trials.artists, each)] for each in (trials.maker, trials.enrolled))
        # An artist who is drawn twice makes twice as many true claims, but none of being the other of the two.
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
        """That are counted."""
        return len(self._score)

    @property
    def rates(self) -> ErrorRates:
        """Of every threshold, which a DET curve shows."""
        return self._rates(np.ones(len(self._score)))

    def _rates(self, weight: Floats) -> ErrorRates:
        below = [np.append(0, np.cumsum(weight * kind)[self._last]) for kind in (self._true, ~self._true)]
        miss, correct = (each / (each[-1] or 1) for each in below)
        return ErrorRates(miss, 1 - correct)

    def _cllr(self, llr: Floats, weight: Floats) -> float:
        """Bits that a claim costs, of scores taken for log-likelihood ratios; saying nothing costs 1."""
        costs = np.logaddexp(0, np.where(self._true, -llr, llr)) / np.log(2)
        counted = weight > 0  # others may cost infinitely much
        kinds = (self._true & counted, ~self._true & counted)
        return float(np.mean([np.average(costs[kind], weights=weight[kind]) for kind in kinds]))

    def _ideal(self, weight: Floats) -> Floats:
        """The ratios that the scores would be by the best of all rising maps (pool adjacent violators)."""
        of_score = np.cumsum(self._last) - self._last  # equal scores are one, and stay equal
        total, true = (np.bincount(of_score, weights=weight * kind) for kind in (1.0, self._true))
        there = total > 0
        posterior = np.zeros(len(total))
        posterior[there] = isotonic_regression(true[there] / total[there], weights=total[there]).x
        odds = logit(np.clip(posterior, 0, 1)) - logit(true.sum() / total.sum())
        return odds[of_score]


def measure(trials: Trials, cost: DetectionCost = EVEN, draws: int = DRAWS, seed: int = 0) -> dict[str, Estimate]:
    """All measures with intervals over artists.

    Each draw takes as many artists as there are, with replacement, and each brings its songs and its enrolment: songs
    of an artist are accepted or mistaken together. The cost of the log-likelihood ratio has no upper bound, and its
    interval is the middle of the draws, see :func:`interval`.

    Args:
        trials: with true claims and false ones.
        cost: of errors.
        draws: of the bootstrap, at most.
        seed: of the bootstrap. Of trials with the same artists all draws are the same, so that differences are paired.

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
    """About so many of the chosen trials, always the same ones; of fewer all."""
    n = int(chosen.sum())
    if n <= most:
        return chosen
    drawn: NDArray[np.bool_] = chosen & (np.random.default_rng(0).random(chosen.shape) < most / n)
    return drawn


def _has_both(trials: Trials, weight: Floats) -> bool:
    """Whether a draw has two enrolled artists, one of whom has songs, and, where all trials have any, unknown ones."""
    maker, enrolled = (weight[np.searchsorted(trials.artists, each)] for each in (trials.maker, trials.enrolled))
    unknown = ~trials.known
    enough = (enrolled > 0).sum() > 1 and maker[trials.known].any()
    return bool(enough and (maker[unknown].any() or not unknown.any()))
