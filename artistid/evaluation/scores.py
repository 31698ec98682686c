"""Scores at the paper's two levels: *frame*, where every clip is a sample, and *song*, where the clips have voted.

The paper reports the F1 score weighted by support (Nasrullah & Zhao 2019, section III-C). This module adds macro F1,
accuracy and top-3 accuracy, and a confidence interval of the weighted F1 over the choice of test songs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, NotRequired, TypedDict, cast

import numpy as np
import pandas as pd
import torch
from hydra.utils import get_object
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import stdtrit
from torchmetrics.functional.classification import multiclass_f1_score

from artistid.errors import ArtistidError
from artistid.evaluation.predictions import Predictions
from artistid.evaluation.voting import SongVotes, vote

LEVELS = ("frame", "song")
DRAWS = 1000
# Number of weights, one per song and draw, held in memory at once: 32 MB.
WEIGHTS_AT_ONCE = 4_000_000


class Score(TypedDict):
    """The scores of one level; plain numbers, ready for JSON. All but ``n`` are in [0, 1].

    There is a further key for each metric from another package, see :func:`find_metrics`.
    """

    f1_weighted: float
    f1_macro: float
    accuracy: float
    top3: float
    n: int
    f1_weighted_ci95: NotRequired[list[float]]


class Outcome(NamedTuple):
    """The predictions for the samples of one level, clips or songs: all that an F1 and its interval need.

    Attributes:
        label: ``(n,)`` index of the true artist.
        predicted: ``(n,)`` index of the predicted artist.
        song: ``(n,)`` number of the song each sample belongs to.
        n_artists: how many artists there are.
    """

    label: NDArray[np.integer]
    predicted: NDArray[np.integer]
    song: NDArray[np.integer]
    n_artists: int


def outcomes(predictions: Predictions, votes: SongVotes, levels: Sequence[str] = LEVELS) -> dict[str, Outcome]:
    """The outcome at the ``frame`` and at the ``song`` level; ``votes`` are those of the predictions.

    Systems whose clips are whole songs have the song level only.
    """
    clips = Outcome(predictions.label, predictions.predicted, predictions.track_index, len(predictions.artists))
    both = {"frame": clips, "song": song_outcome(votes)}
    return {level: both[level] for level in levels}


def song_outcome(votes: SongVotes) -> Outcome:
    """The outcome of a vote, where every song is a sample."""
    return Outcome(votes.label, votes.predicted, np.arange(len(votes)), len(votes.artists))


def f1_weighted(outcome: Outcome) -> float:
    """The paper's score: the artists' F1, weighted by support."""
    return _f1_score(outcome.label, outcome.predicted, outcome.n_artists, "weighted")


# From the true labels (n,) and a ranking (n, artists), larger is better, of samples (clips or songs) to a score.
Metric = Callable[[NDArray[np.integer], NDArray[np.number]], float]


def weighted_f1_of(label: NDArray[np.integer], ranking: NDArray[np.number]) -> float:
    """The paper's score: the artists' F1, weighted by support."""
    return _f1_score(label, ranking.argmax(axis=1), ranking.shape[1], "weighted")


def macro_f1_of(label: NDArray[np.integer], ranking: NDArray[np.number]) -> float:
    """The mean F1 of the artists that occur in the truth or in the predictions."""
    return _f1_score(label, ranking.argmax(axis=1), ranking.shape[1], "macro")


def accuracy_of(label: NDArray[np.integer], ranking: NDArray[np.number]) -> float:
    """The share of samples whose artist is ranked first."""
    return float(np.mean(ranking.argmax(axis=1) == label))


def top3_of(label: NDArray[np.integer], ranking: NDArray[np.number]) -> float:
    """The share of samples whose artist is among the first three."""
    return float(np.mean(_place(label, ranking) < 3))


METRICS: Mapping[str, Metric] = {
    "f1_weighted": weighted_f1_of,
    "f1_macro": macro_f1_of,
    "accuracy": accuracy_of,
    "top3": top3_of,
}


def find_metrics(names: Sequence[str]) -> dict[str, Metric]:
    """All of :data:`METRICS`, and those from other packages by the last part of their dotted names.

    Raises:
        ArtistidError: there is no such function.
    """
    found = dict(METRICS)
    for dotted in names:
        try:
            metric = get_object(dotted)
        except Exception as error:  # whatever an import raises
            raise ArtistidError(f"metrics: {dotted} cannot be found: {error.__cause__ or error}") from error
        name = dotted.rpartition(".")[2]
        if not callable(metric) or name in (*found, *Score.__annotations__):
            raise ArtistidError(f"metrics: {dotted} is not a function, or its name, {name}, is that of another score")
        found[name] = metric
    return found


def score(
    label: NDArray[np.integer],
    ranking: NDArray[np.number],
    song: NDArray[np.integer] | None = None,
    *,
    metrics: Mapping[str, Metric] = METRICS,
    draws: int = DRAWS,
    seed: int = 0,
) -> Score:
    """Score samples, which are clips or songs.

    The F1 of an artist with neither support nor predictions is undefined: ``f1_macro`` is the mean over the artists
    that occur in the truth or in the predictions. An artist that is predicted but has no support counts there with an
    F1 of 0; ``f1_weighted`` gives it no weight. Both agree with scikit-learn's ``f1_score``. Ties in a ranking are
    broken by the order of the artists. With three artists or fewer ``top3`` is 1.

    Args:
        label: ``(n,)`` index of the true artist.
        ranking: ``(n, artists)``, larger is better: probabilities of clips, or the ranking of a vote.
        song: ``(n,)`` number of the song each sample belongs to; without it every sample is a song of its own.
        metrics: by name, see :func:`find_metrics`.
        draws: bootstrap draws for ``f1_weighted_ci95``, see :func:`f1_weighted_interval`; 0 leaves it out, as for a
            score per epoch.
        seed: of the bootstrap.
    """
    scores: dict[str, Any] = {name: float(metric(label, ranking)) for name, metric in metrics.items()}
    scores["n"] = len(label)
    if draws:
        song = np.arange(len(label)) if song is None else song
        scores["f1_weighted_ci95"] = f1_weighted_interval(
            label, ranking.argmax(axis=1), song, ranking.shape[1], draws=draws, seed=seed
        )
    return cast(Score, scores)


def score_levels(
    predictions: Predictions,
    method: str = "majority",
    levels: Sequence[str] = LEVELS,
    *,
    metrics: Mapping[str, Metric] = METRICS,
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, Score]:
    """Score predictions at the ``frame`` and at the ``song`` level, the latter by the vote ``method``.

    Raises:
        ArtistidError: if the method is unknown.
    """
    votes = vote(predictions, method)
    ranking: dict[str, NDArray[np.number]] = {"frame": predictions.probability, "song": votes.ranking}
    return {
        level: score(outcome.label, ranking[level], outcome.song, metrics=metrics, draws=draws, seed=seed)
        for level, outcome in outcomes(predictions, votes, levels).items()
    }


def levels_of(whole_songs: bool) -> tuple[str, ...]:
    """The levels that can be scored: where clips are whole songs there is no frame level."""
    return ("song",) if whole_songs else LEVELS


def monitored_score(scores: Mapping[str, Score]) -> float:
    """The weighted F1 used for model selection: at frame level where there is one, else at song level."""
    return scores["frame" if "frame" in scores else "song"]["f1_weighted"]


def f1_weighted_interval(
    label: NDArray[np.integer],
    predicted: NDArray[np.integer],
    song: NDArray[np.integer],
    n_artists: int,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> list[float]:
    """95 % interval ``[low, high]`` of the weighted F1, see :class:`Estimate`.

    It covers the choice of test songs only, not the spread between training runs.
    """
    return mean_f1_interval([Outcome(label, predicted, song, n_artists)], draws=draws, seed=seed)


def mean_f1_interval(trials: Sequence[Outcome], *, draws: int = DRAWS, seed: int = 0) -> list[float]:
    """95 % interval ``[low, high]`` of the weighted F1's mean over trials, see :class:`Estimate`."""
    return mean_f1(trials, draws, np.random.default_rng(seed)).interval


@dataclass(frozen=True, eq=False)
class Estimate:
    """A score in [0, 1] estimated from some songs, with a bootstrap over songs (Efron 1979).

    Each draw takes as many songs as there are, with replacement, each with all its clips: the clips of one song are
    similar, and resampling them individually would make the interval far too narrow. For a mean over trials, songs are
    redrawn within each; the trials themselves are not, and their spread is given by their standard deviation.

    The interval is Wilson's (1927) for a proportion with the effective sample size at which independent songs would
    vary as much as the draws (Korn & Graubard 1998), with Student's quantile instead of the normal one. Percentile
    intervals of the draws are too narrow for few songs, and have no width where all are correct. In simulated test sets
    (2 to 20 artists, accuracies of 0.3 to 0.99) the coverage of the true F1, and of percentile intervals in
    parentheses, is:

    ===== =========== =========== =========== =========== =========== ===========
    songs 8           12          20          32          60          150
    ===== =========== =========== =========== =========== =========== ===========
    frame .948 (.717) .967 (.740) .925 (.816) .961 (.872) .951 (.905) .956 (.944)
    song  .974 (.557) .967 (.598) .958 (.707) .975 (.788) .960 (.842) .953 (.895)
    ===== =========== =========== =========== =========== =========== ===========

    Each is from 420 or 570 test sets; ``pytest -m slow -s tests/evaluation/test_intervals.py`` reproduces them.

    Attributes:
        value: the score.
        draws: ``(draws,)`` the score of each draw.
        songs: number of songs, in all trials together.
        trials: number of trials that it is the mean of.
    """

    value: float
    draws: NDArray[np.float64]
    songs: int
    trials: int = 1

    @property
    def error(self) -> float:
        """Standard error of the draws, corrected for one degree of freedom per trial."""
        return float(np.std(self.draws) * np.sqrt(self.songs / max(1, self.songs - self.trials)))

    @property
    def interval(self) -> list[float]:
        """95 % interval ``[low, high]`` within [0, 1]; all of [0, 1] if there is one song per trial."""
        return share_interval(self.value, self.error, self.songs, self.trials)

    def minus(self, other: Estimate) -> tuple[float, float]:
        """95 % interval of the difference to another score, from the distances of each to the ends of its interval.

        They are added like standard errors, with the correlation of the draws (Newcombe 1998; Zou & Donner 2008), which
        is high if both scores are from the same songs, and near 0 if they are independent.
        """
        (low, high), (others_low, others_high) = self.interval, other.interval
        spreads = bool(np.std(self.draws) and np.std(other.draws))
        correlation = float(np.corrcoef(self.draws, other.draws)[0, 1]) if spreads else 0.0

        def together(one: float, another: float) -> float:
            return math.sqrt(max(0.0, one**2 - 2 * correlation * one * another + another**2))

        difference = self.value - other.value
        return (
            difference - together(self.value - low, others_high - other.value),
            difference + together(high - self.value, other.value - others_low),
        )


def share_interval(value: float, error: float, songs: int, trials: int = 1) -> list[float]:
    """Wilson's interval ``[low, high]`` of a share with a given standard error, see :class:`Estimate`."""
    freedom = songs - trials
    if freedom < 1:
        return [0.0, 1.0]
    certain = error < 1e-9 or not 0 < value < 1  # no estimate of the error: songs then count as independent
    independent = songs if certain else value * (1 - value) / error**2
    quantile = float(stdtrit(freedom, 0.975))
    doubt = quantile**2 / independent
    middle = (value + doubt / 2) / (1 + doubt)
    reach = math.sqrt(doubt * value * (1 - value) + doubt**2 / 4) / (1 + doubt)
    return [max(0.0, middle - reach), min(1.0, middle + reach)]


def mean_f1(trials: Sequence[Outcome], draws: int, generator: np.random.Generator) -> Estimate:
    """The weighted F1's mean over trials, songs redrawn within each trial."""
    redrawn = [f1_draws([outcome], draws, generator)[0] for outcome in trials]
    return estimate_of(trials, redrawn)


def estimate_of(trials: Sequence[Outcome], redrawn: Sequence[NDArray[np.float64]]) -> Estimate:
    """The weighted F1's mean over trials, from the draws ``(draws,)`` of each."""
    songs = sum(len(np.unique(outcome.song)) for outcome in trials)
    value = float(np.mean([f1_weighted(outcome) for outcome in trials]))
    return Estimate(value, np.mean(redrawn, axis=0), songs, len(trials))


def f1_draws(systems: Sequence[Outcome], draws: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """``(systems, draws)`` weighted F1 of systems tested on the same songs: a draw has the same songs for all."""
    counts = [_counts_per_song(*outcome) for outcome in systems]
    n_songs = counts[0].shape[0]
    at_once = max(1, WEIGHTS_AT_ONCE // n_songs)
    f1 = []
    for done in range(0, draws, at_once):
        weights = _song_weights(generator, min(at_once, draws - done), n_songs)
        f1.append([_f1_weighted_of_counts(weights @ system) for system in counts])
    return np.concatenate(f1, axis=1)


def mean_interval(values: NDArray[np.floating]) -> list[float]:
    """95 % interval ``[low, high]`` of the mean of ``values`` (songs,) in [0, 1], with the analytic standard error."""
    n = len(values)
    return share_interval(float(np.mean(values)), float(np.std(values)) / math.sqrt(max(1, n - 1)), n)


def confusion(label: NDArray[np.integer], predicted: NDArray[np.integer], n_artists: int) -> NDArray[np.int64]:
    """``(artists, artists)`` counts: the row is the true artist, the column the predicted one."""
    return np.bincount(label * n_artists + predicted, minlength=n_artists**2).reshape(n_artists, n_artists)


def per_artist(predictions: Predictions, votes: SongVotes, levels: Sequence[str] = LEVELS) -> pd.DataFrame:
    """Scores of each artist at each level, one row per level and artist.

    Columns: level (frame, song), artist, precision, recall, f1, n (support: clips or songs), confused_with (the artist
    most often predicted instead; empty if none was) and confused_n (how often). Where a score would be 0 / 0, such as
    the precision of an artist never predicted, it is 0.
    """
    rows = [
        _artist_rows(level, outcome.label, outcome.predicted, predictions.artists)
        for level, outcome in outcomes(predictions, votes, levels).items()
    ]
    return pd.concat(rows, ignore_index=True)


def _artist_rows(
    level: str, label: NDArray[np.integer], predicted: NDArray[np.integer], artists: tuple[str, ...]
) -> pd.DataFrame:
    counts = confusion(label, predicted, len(artists))
    hits, named, support = counts.diagonal(), counts.sum(axis=0), counts.sum(axis=1)
    mistakes = counts - np.diag(hits)
    worst = mistakes.argmax(axis=1)
    confused_n = mistakes.max(axis=1)
    return pd.DataFrame(
        {
            "level": level,
            "artist": artists,
            "precision": _ratio(hits, named),
            "recall": _ratio(hits, support),
            "f1": _ratio(2 * hits, named + support),
            "n": support,
            "confused_with": np.where(confused_n > 0, np.array(artists, dtype=object)[worst], ""),
            "confused_n": confused_n,
        }
    )


def _f1_score(
    label: NDArray[np.integer], predicted: NDArray[np.integer], n_artists: int, average: Literal["weighted", "macro"]
) -> float:
    with _any_algorithm():
        return multiclass_f1_score(
            torch.as_tensor(predicted),
            torch.as_tensor(label),
            num_classes=n_artists,
            average=average,
            validate_args=False,  # validation rejects a single artist, whose F1 is well defined
        ).item()


@contextmanager
def _any_algorithm() -> Iterator[None]:
    """Leave torch's deterministic mode, in which torchmetrics compares every sample with every pair of artists.

    That takes 16 GB for 2,000 clips and 1,000 artists; counts on a processor are deterministic in any mode.
    """
    mode = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode("default")
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(mode)


def _place(label: NDArray[np.integer], ranking: NDArray[np.number]) -> NDArray[np.int64]:
    """``(n,)`` how many artists are ranked ahead of the true one."""
    truth = np.take_along_axis(ranking, label[:, None], axis=1)
    listed_before = np.arange(ranking.shape[1]) < label[:, None]
    return ((ranking > truth) | ((ranking == truth) & listed_before)).sum(axis=1)


def _counts_per_song(
    label: NDArray[np.integer], predicted: NDArray[np.integer], song: NDArray[np.integer], n_artists: int
) -> sparse.csr_array:
    """``(songs, 3 * artists)``: each song's hits, predictions and support per artist, all that an F1 needs."""
    _, row = np.unique(song, return_inverse=True)
    hit = label == predicted
    rows = np.concatenate([row[hit], row, row])
    columns = np.concatenate([label[hit], n_artists + predicted, 2 * n_artists + label])
    shape = (row.max() + 1, 3 * n_artists)
    return sparse.coo_array((np.ones(len(rows), dtype=np.int64), (rows, columns)), shape=shape).tocsr()


def _song_weights(generator: np.random.Generator, draws: int, n_songs: int) -> NDArray[np.int64]:
    """``(draws, songs)`` how often each draw contains each song: much faster than numpy's multinomial."""
    return np.stack([np.bincount(generator.integers(n_songs, size=n_songs), minlength=n_songs) for _ in range(draws)])


def _f1_weighted_of_counts(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """``(draws,)`` weighted F1 from ``(draws, 3 * artists)`` hits, predictions and support."""
    hits, named, support = np.split(counts, 3, axis=1)
    return (support * _ratio(2 * hits, named + support)).sum(axis=1) / support.sum(axis=1)


def _ratio(numerator: NDArray[np.int64], denominator: NDArray[np.int64]) -> NDArray[np.float64]:
    """The quotient of counts; 0 where the denominator, and with it the numerator, is 0."""
    return numerator / np.maximum(denominator, 1)
