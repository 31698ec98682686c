"""Scores at the paper's two levels: *frame*, where every clip is a sample, and *song*, where the clips have voted.

The paper reports the F1 score weighted by support (Nasrullah & Zhao 2019, section III-C). Beside it stand the macro F1,
accuracy and top-3 accuracy, and how far the weighted F1 would move had other songs been drawn for the test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, NotRequired, TypedDict

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import sparse
from torchmetrics.functional.classification import multiclass_f1_score

from artistid.evaluation.predictions import Predictions
from artistid.evaluation.voting import SongVotes, vote

LEVELS = ("frame", "song")
DRAWS = 1000
# How many weights, one per song and draw, are held in memory at once: 32 MB of them.
WEIGHTS_AT_ONCE = 4_000_000


class Score(TypedDict):
    """The scores of one level; plain numbers, ready for JSON. All but ``n`` are in [0, 1]."""

    f1_weighted: float
    f1_macro: float
    accuracy: float
    top3: float
    n: int
    f1_weighted_ci95: NotRequired[list[float]]


class Outcome(NamedTuple):
    """What was said of the samples of one level, be they clips or songs: all that an F1 and its interval need.

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
    """The paper's score: the artists' F1, weighted by how many samples each has."""
    return _f1_score(outcome.label, outcome.predicted, outcome.n_artists, "weighted")


def score(
    label: NDArray[np.integer],
    ranking: NDArray[np.number],
    song: NDArray[np.integer] | None = None,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Score:
    """Score samples, be they clips or songs.

    The F1 of an artist with neither support nor predictions does not exist: ``f1_macro`` is the mean over the artists
    that occur in the truth or in the predictions. An artist that is predicted but has no support counts there with an
    F1 of 0; ``f1_weighted`` gives it no weight. Both agree with scikit-learn's ``f1_score``. Of artists ranked
    equally, the one listed first is taken to come first. With three artists or fewer ``top3`` is 1.

    Args:
        label: ``(n,)`` index of the true artist.
        ranking: ``(n, artists)``, larger is better: probabilities of clips, or the ranking of a vote.
        song: ``(n,)`` number of the song each sample belongs to; without it every sample is a song of its own.
        draws: bootstrap draws for ``f1_weighted_ci95``, see :func:`f1_weighted_interval`; 0 leaves it out, which is
            what a score per epoch wants.
        seed: of the bootstrap.
    """
    predicted = ranking.argmax(axis=1)
    n_artists = ranking.shape[1]
    scores = Score(
        f1_weighted=_f1_score(label, predicted, n_artists, "weighted"),
        f1_macro=_f1_score(label, predicted, n_artists, "macro"),
        accuracy=float(np.mean(predicted == label)),
        top3=float(np.mean(_place(label, ranking) < 3)),
        n=len(label),
    )
    if draws:
        song = np.arange(len(label)) if song is None else song
        scores["f1_weighted_ci95"] = f1_weighted_interval(label, predicted, song, n_artists, draws=draws, seed=seed)
    return scores


def score_levels(
    predictions: Predictions,
    method: str = "majority",
    levels: Sequence[str] = LEVELS,
    *,
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
        level: score(outcome.label, ranking[level], outcome.song, draws=draws, seed=seed)
        for level, outcome in outcomes(predictions, votes, levels).items()
    }


def levels_of(whole_songs: bool) -> tuple[str, ...]:
    """The levels that can be scored: where clips are whole songs there is no frame level."""
    return ("song",) if whole_songs else LEVELS


def leading_f1(scores: Mapping[str, Score]) -> float:
    """The weighted F1 that systems are chosen by: at frame level where there is one, else at song level."""
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
    """95 % percentile bootstrap interval ``[low, high]`` of the weighted F1 (Efron 1979).

    Each draw takes as many songs as there are, with replacement, and every song brings all its clips: the clips of one
    song resemble one another, and resampling them singly would make the interval far too narrow. It speaks of the
    choice of test songs only, not of the spread between training runs.
    """
    return mean_f1_interval([Outcome(label, predicted, song, n_artists)], draws=draws, seed=seed)


def mean_f1_interval(trials: Sequence[Outcome], *, draws: int = DRAWS, seed: int = 0) -> list[float]:
    """95 % percentile bootstrap interval ``[low, high]`` of the weighted F1's mean over trials.

    Each draw takes songs anew within every trial, as :func:`f1_weighted_interval` does, and means the trials' F1. The
    trials themselves are not redrawn: their spread is told by their standard deviation.
    """
    return interval(mean_f1_draws(trials, draws, np.random.default_rng(seed)))


def mean_f1_draws(trials: Sequence[Outcome], draws: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """``(draws,)`` the weighted F1's mean over trials, songs redrawn within each trial."""
    return np.mean([f1_draws([outcome], draws, generator)[0] for outcome in trials], axis=0)


def f1_draws(systems: Sequence[Outcome], draws: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """``(systems, draws)`` weighted F1 of systems tested on the same songs: one draw has the same songs for all."""
    counts = [_counts_per_song(*outcome) for outcome in systems]
    n_songs = counts[0].shape[0]
    at_once = max(1, WEIGHTS_AT_ONCE // n_songs)
    f1 = []
    for done in range(0, draws, at_once):
        weights = _song_weights(generator, min(at_once, draws - done), n_songs)
        f1.append([_f1_weighted_of_counts(weights @ system) for system in counts])
    return np.concatenate(f1, axis=1)


def mean_interval(values: NDArray[np.floating], *, draws: int = DRAWS, seed: int = 0) -> list[float]:
    """95 % percentile bootstrap interval ``[low, high]`` of the mean of ``values`` (songs,), songs redrawn."""
    generator, n_songs = np.random.default_rng(seed), len(values)
    at_once = max(1, WEIGHTS_AT_ONCE // n_songs)
    counts = (min(at_once, draws - done) for done in range(0, draws, at_once))
    return interval(np.concatenate([_song_weights(generator, count, n_songs) @ values for count in counts]) / n_songs)


def interval(draws: NDArray[np.floating]) -> list[float]:
    """``[low, high]``, between which lie the middle 95 % of bootstrap draws."""
    return [float(bound) for bound in np.quantile(draws, [0.025, 0.975])]


def confusion(label: NDArray[np.integer], predicted: NDArray[np.integer], n_artists: int) -> NDArray[np.int64]:
    """``(artists, artists)`` counts: the row is the true artist, the column the predicted one."""
    return np.bincount(label * n_artists + predicted, minlength=n_artists**2).reshape(n_artists, n_artists)


def per_artist(predictions: Predictions, votes: SongVotes, levels: Sequence[str] = LEVELS) -> pd.DataFrame:
    """Scores of each artist at each level, one row per level and artist.

    Columns: level (frame, song), artist, precision, recall, f1, n (support: clips or songs), confused_with (whom the
    artist was most often taken for; empty if never mistaken) and confused_n (how often). What would be 0 / 0, such as
    the precision of an artist never predicted, is 0.
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
    return multiclass_f1_score(
        torch.as_tensor(predicted),
        torch.as_tensor(label),
        num_classes=n_artists,
        average=average,
        validate_args=False,  # it refuses a single artist, whose F1 is well defined
    ).item()


def _place(label: NDArray[np.integer], ranking: NDArray[np.number]) -> NDArray[np.int64]:
    """``(n,)`` how many artists are ranked ahead of the true one."""
    truth = np.take_along_axis(ranking, label[:, None], axis=1)
    listed_before = np.arange(ranking.shape[1]) < label[:, None]
    return ((ranking > truth) | ((ranking == truth) & listed_before)).sum(axis=1)


def _counts_per_song(
    label: NDArray[np.integer], predicted: NDArray[np.integer], song: NDArray[np.integer], n_artists: int
) -> sparse.csr_array:
    """``(songs, 3 * artists)``: of each artist the song's hits, predictions and support, all that an F1 needs."""
    _, row = np.unique(song, return_inverse=True)
    hit = label == predicted
    rows = np.concatenate([row[hit], row, row])
    columns = np.concatenate([label[hit], n_artists + predicted, 2 * n_artists + label])
    shape = (row.max() + 1, 3 * n_artists)
    return sparse.coo_array((np.ones(len(rows), dtype=np.int64), (rows, columns)), shape=shape).tocsr()


def _song_weights(generator: np.random.Generator, draws: int, n_songs: int) -> NDArray[np.int64]:
    """``(draws, songs)`` how often each draw holds each song: multinomial, but far faster than numpy's multinomial."""
    return np.stack([np.bincount(generator.integers(n_songs, size=n_songs), minlength=n_songs) for _ in range(draws)])


def _f1_weighted_of_counts(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """``(draws,)`` weighted F1 from ``(draws, 3 * artists)`` hits, predictions and support."""
    hits, named, support = np.split(counts, 3, axis=1)
    return (support * _ratio(2 * hits, named + support)).sum(axis=1) / support.sum(axis=1)


def _ratio(numerator: NDArray[np.int64], denominator: NDArray[np.int64]) -> NDArray[np.float64]:
    """The quotient of counts; 0 where the denominator, and with it the numerator, is 0."""
    return numerator / np.maximum(denominator, 1)
