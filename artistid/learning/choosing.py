"""Model selection by validation: the best grid point, and the temperature that turns scores into probabilities."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from lightning.pytorch.utilities import rank_zero_only
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.base import BaseEstimator
from sklearn.model_selection import ParameterGrid

from artistid.data.clips import Clips
from artistid.data.datamodule import ClipData
from artistid.errors import ArtistidError, counted
from artistid.evaluation.predictions import Predictions
from artistid.evaluation.scores import levels_of, monitored_score, score_levels
from artistid.learning.logits import predictions_from_logits
from artistid.learning.system import GRID
from artistid.settings import first_line
from artistid.writing import write_csv

log = logging.getLogger(__name__)

# Search range of the temperature's natural logarithm.
LOG_TEMPERATURES = (-12.0, 12.0)
NOTHING: Mapping[str, Any] = MappingProxyType({})


class Scores(NamedTuple):
    """A system's scores of clips ``(clips, artists)``, and of each clip's song where songs are scored as a whole."""

    of_clip: NDArray[np.floating]
    of_song: NDArray[np.floating] | None = None


class Candidate(NamedTuple):
    """A system to choose from: its grid point, the fitted system, and its scores of the validation clips."""

    point: dict[str, Any]
    fitted: Any
    scores: Scores


class Choice(NamedTuple):
    """The choice by validation: the fitted system, the divisor of its scores, its grid point, and their number."""

    fitted: Any
    temperature: float
    point: dict[str, Any]
    grid_points: int

    def plain(self) -> dict[str, Any]:
        """For the scores file."""
        return {"chosen": self.point, "temperature": self.temperature, "grid_points": self.grid_points}


@contextmanager
def fitting(what: str, n_examples: int, n_artists: int, point: Mapping[str, Any] = NOTHING) -> Iterator[None]:
    """Turns an exception of an estimator's ``fit`` into an ArtistidError.

    Args:
        what: the setting that chose the estimator.
        n_examples: number of examples that it is fitted to.
        n_artists: number of their artists.
        point: the grid point, if any.
    """
    try:
        yield
    except (ValueError, TypeError, np.linalg.LinAlgError) as error:
        point_of_grid = ", ".join(f"{name}={value}" for name, value in point.items())
        raise ArtistidError(
            f"{what} cannot be fitted{f' ({point_of_grid})' if point else ''} to {counted(n_examples, 'example')} of "
            f"{counted(n_artists, 'artist')}: {str(error).removesuffix('.')}"
        ) from error


def grid_of(settings: Any, estimator: BaseEstimator, name: str) -> list[dict[str, Any]]:
    """The points of a grid, which lists values for each parameter of an estimator.

    Args:
        settings: the grid.
        estimator: has these parameters.
        name: of the setting, for errors.

    Raises:
        ArtistidError: not a grid, or not a parameter of the estimator.
    """
    grid = points_of(settings, name)
    if unknown := sorted({parameter for point in grid for parameter in point} - set(estimator.get_params())):
        raise ArtistidError(
            f"{name}: {', '.join(unknown)} is not a parameter of {type(estimator).__name__}; it has "
            f"{', '.join(sorted(estimator.get_params()))}"
        )
    return grid


def points_of(grid: Any, name: str) -> list[dict[str, Any]]:
    """The points of a grid, which lists values for each setting; raises ArtistidError, which names it so."""
    try:
        return list(ParameterGrid(grid or {}))
    except (TypeError, ValueError) as error:
        raise ArtistidError(f"{name}: {first_line(error)}") from error


def choose_by_validation(candidates: Iterable[Candidate], data: ClipData, vote: str, folder: Path) -> Choice:
    """Keep the best candidate by validation; all scores are written to ``grid.csv``.

    The best has the highest weighted F1, at frame level where there is one, and among equals the lowest loss. Scores
    become probabilities by a softmax with one temperature, which maximises the likelihood of the validation labels (Guo
    et al. 2017): of songs where these are scored as a whole. The ranking of the artists does not depend on it.

    Args:
        candidates: one or more, of which two are held in memory at a time.
        data: contains the validation clips.
        vote: method of the song vote.
        folder: of the run.
    """
    clips, levels = data.clips["val"], levels_of(data.clip_spec.whole_songs)
    rows, best = [], (-np.inf, -np.inf)
    for number, (point, fitted, scores) in enumerate(candidates, start=1):
        temperature = temperature_of(scores, clips.label, clips.track)
        loss, predictions = to_predictions(scores, temperature, clips, data.artists)
        of_level = score_levels(predictions, vote, levels, draws=0)
        f1 = {f"val/{level}/f1_weighted": each["f1_weighted"] for level, each in of_level.items()}
        rows.append({**point, "temperature": temperature, "val/loss": loss, **f1})
        parameters = ", ".join(f"{name} {value}" for name, value in point.items()) or "no parameters to choose"
        figures = ", ".join(f"{name} {value:.3f}" for name, value in {"val/loss": loss, **f1}.items())
        log.info("candidate %d: %s: %s", number, parameters, figures)
        rank = monitored_score(of_level), -round(loss, 6)  # beyond are rounding errors, which differ between machines
        if rank > best:
            best = rank
            chosen = fitted, temperature, point
    rank_zero_only(write_csv)(folder / GRID, pd.DataFrame(rows))
    return Choice(*chosen, grid_points=len(rows))


def temperature_of(scores: Scores, label: NDArray[np.int64], song: NDArray[np.integer]) -> float:
    """The maximum-likelihood temperature: of songs where the system scores these, else of clips.

    Scores of a song's mean embedding are more confident than a clip's, and one temperature does not fit both.

    Args:
        scores: of clips, and of their songs.
        label: ``(clips,)`` index of the artist.
        song: ``(clips,)`` number of the song.
    """
    if scores.of_song is None:
        return likeliest_temperature(scores.of_clip, label)
    _, first = np.unique(song, return_index=True)
    return likeliest_temperature(scores.of_song[first], label[first])


def likeliest_temperature(scores: NDArray[np.floating], label: NDArray[np.int64]) -> float:
    """The divisor of scores (n, artists) for which a softmax maximises the likelihood of the labels (n,).

    Labels are smoothed as if one more were another artist's (after Platt 1999): otherwise a system without a mistake in
    validation would become certain of everything.
    """
    known = np.isfinite(scores[np.arange(len(label)), label])  # artists that the system cannot name do not count
    if not known.any():
        return 1.0
    nameable = np.isfinite(scores).all(axis=0)
    doubt = 1 / (known.sum() + 2)
    target = (np.arange(scores.shape[1]) == label[:, None])[known][:, nameable] * (1 - doubt)
    target += doubt / nameable.sum()

    def loss(log_temperature: float) -> float:
        log_probability = log_softmax(scores[known][:, nameable] / np.exp(log_temperature), axis=1)
        return -float((target * log_probability).sum(axis=1).mean())

    return float(np.exp(minimize_scalar(loss, bounds=LOG_TEMPERATURES, method="bounded").x))


def to_predictions(
    scores: Scores, temperature: float, clips: Clips, artists: Sequence[str]
) -> tuple[float, Predictions]:
    """Mean cross-entropy, and predictions, of scored clips."""
    of_clip, of_song = (
        None if values is None else torch.from_numpy(np.asarray(values) / temperature) for values in scores
    )
    assert of_clip is not None
    return predictions_from_logits(of_clip, np.arange(len(clips)), clips, tuple(artists), of_song)
