"""Baselines as systems of the study: scikit-learn classifiers of clips described by summary statistics."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from lightning.pytorch.loggers import Logger
from numpy.typing import NDArray
from omegaconf import DictConfig
from sklearn.base import BaseEstimator, clone

from artistid.config import build, plain
from artistid.data.clips import Clips, ClipSpec, index_clips
from artistid.data.datamodule import ClipData
from artistid.data.descriptors import Descriptors
from artistid.data.features import Features
from artistid.data.splits import Split
from artistid.data.store import Store
from artistid.errors import ArtistidError, counted, require_choice
from artistid.evaluation.predictions import Predictions
from artistid.evaluation.voting import MEAN_EMBEDDING
from artistid.learning.choosing import Candidate, Scores, choose_by_validation, fitting, grid_of, to_predictions
from artistid.learning.system import check_without_effect
from artistid.models.scoring import class_scores

log = logging.getLogger(__name__)

WHOLE_SONGS = ClipSpec(name="song", seconds=None, frames=None)

Summary = Callable[[NDArray[np.floating], Descriptors], NDArray[np.floating]]


class Samples(NamedTuple):
    """A classifier's input: ``X`` (n, columns), and the clip of each sample (n,), ascending."""

    X: NDArray[np.floating]
    clip: NDArray[np.int64]


class Baseline:
    """A scikit-learn classifier, the summary of a clip that it classifies, and a grid of its parameters.

    Where a clip is several samples, their scores are averaged. The grid point and the temperature are chosen by
    validation, see :func:`artistid.learning.choosing.choose_by_validation`.

    Args:
        config: ``seed``, used for any ``random_state`` of the estimator, and ``model``: its ``estimator``; the
            ``summary`` of a clip's rows; a ``grid`` of parameters of the estimator, lists of values; what to
            ``fit_on``, ``clips`` of the tested length or whole ``songs``, and how many, ``most_clips_per_song``
            (null: all). A system fitted on songs classifies songs only, unless the estimator has ``any_length``: its
            scores are means over rows, and so comparable for clips of any length.
        data: the clips of all subsets.
        split: unused, since ``data`` has its subsets.

    Raises:
        ArtistidError: settings that do not fit together.
    """

    parameters: int | None = None
    precision: str = "64-true"
    rejects = False
    keeps_checkpoint = False

    def __init__(self, config: DictConfig, data: ClipData, split: Split) -> None:
        self.name = config.model.name
        self.vote = config.vote
        self.estimator, self.summary, self.grid = described_by(config)
        drawn = [name for name in self.estimator.get_params() if name.split("__")[-1] == "random_state"]
        self.estimator.set_params(**dict.fromkeys(drawn, config.seed))
        self.fit_on = config.model.fit_on
        self.most_clips_per_song = config.model.most_clips_per_song
        self.temperature = 1.0
        self.seconds = 0.0

    @classmethod
    def check_settings(cls, config: DictConfig, features: Features, clip_spec: ClipSpec) -> None:
        """Raises ArtistidError for settings that are invalid for a baseline, whatever the data."""
        check_without_effect(config, "backend")
        if not isinstance(features, Descriptors):
            raise ArtistidError(
                f"model={config.model.name}: expected features=descriptors, found features={features.name}"
            )
        if config.vote == MEAN_EMBEDDING:
            raise ArtistidError(f"vote={config.vote}: model={config.model.name} is a baseline, without embeddings")
        if clip_spec.crop:
            raise ArtistidError(f"clip.crop={clip_spec.crop} is drawn anew in each epoch, but a baseline has no epochs")
        estimator, _, _ = described_by(config)
        alike = clip_spec.whole_songs or getattr(estimator, "any_length", False)
        if config.model.fit_on == "songs" and not alike:
            raise ArtistidError(
                f"model={config.model.name} describes whole songs, and would be fitted on songs but tested on clips, "
                f"whose statistics differ: found clip={clip_spec.name}, expected clip=song (model.fit_on=clips would "
                "fit it on such clips, unlike the system of its source)"
            )

    @classmethod
    def check_songs(cls, config: DictConfig, artists: Sequence[str], split: Split) -> None:
        """Nothing to check: a baseline stores no names of songs."""

    def check_unchanged(self, folder: Path) -> None:
        """Nothing to check: an interrupted baseline starts again."""

    def fit(self, data: ClipData, folder: Path, loggers: list[Logger], resume: bool) -> dict[str, Any]:
        """Fit every grid point, and keep the best by validation.

        Returns:
            The chosen parameters and the temperature, for the scores file; the whole grid is in ``grid.csv``.
        """
        start = time.perf_counter()
        clips = data.clips["train"]
        if self.fit_on == "songs":
            clips = index_clips(data.store.rows_of(data.subsets["train"], data.artists), WHOLE_SONGS)
        clips = subsample_clips(clips, self.most_clips_per_song)
        train = self.describe(data.store, clips)
        validation = self._validation = self.describe(data.store, data.clips["val"])
        samples, columns = counted(len(train.X), "sample"), counted(train.X.shape[1], "column")
        log.info("%s: fitted to %s of %s", self.name, samples, columns)
        fitted = ((point, self._fit_one(point, train, clips.label)) for point in self.grid)
        candidates = (
            Candidate(point, each, Scores(clip_scores(each, validation, len(data.artists)))) for point, each in fitted
        )
        choice = choose_by_validation(candidates, data, self.vote, folder)
        self.fitted, self.temperature = choice.fitted, choice.temperature
        self.seconds = time.perf_counter() - start
        return choice.plain()

    def predict(self, data: ClipData, subset: str) -> Predictions:
        """The probabilities of all clips of a subset."""
        samples = self._validation if subset == "val" else self.describe(data.store, data.clips[subset])
        scores = Scores(clip_scores(self.fitted, samples, len(data.artists)))
        return to_predictions(scores, self.temperature, data.clips[subset], data.artists)[1]

    def calibrate(self, validation: Predictions, folder: Path) -> None:
        """Does nothing: a baseline has no checkpoint to store a threshold in."""

    def describe(self, store: Store, clips: Clips) -> Samples:
        """The samples of clips, one clip at a time, so that memory holds the summaries, not the songs."""
        assert isinstance(store.features, Descriptors)
        described = []
        for number, (start, length) in enumerate(zip(clips.start, clips.length, strict=True)):
            rows = store.array[start : start + length].astype(np.float32)
            described.append(self.summary(rows, store.features))
            if not np.isfinite(described[-1]).all():
                track = clips.track_ids[clips.track[number]]
                raise ArtistidError(f"model.summary gives values that are not finite for clip {number} of {track}")
        n_samples = [len(each) for each in described]
        return Samples(np.concatenate(described), np.repeat(np.arange(len(clips)), n_samples))

    def _fit_one(self, point: dict[str, Any], train: Samples, label: NDArray[np.int64]) -> Any:
        with fitting(f"model={self.name}", len(train.X), len(np.unique(label)), point):
            return clone(self.estimator).set_params(**point).fit(train.X, label[train.clip])


def described_by(config: DictConfig) -> tuple[BaseEstimator, Summary, list[dict[str, Any]]]:
    """Build what ``model`` names: the classifier, the summary of a clip, and the points of its grid.

    Raises:
        ArtistidError: invalid settings, or a grid of unknown parameters.
    """
    require_choice("model.fit_on", config.model.fit_on, ("clips", "songs"))
    estimator, summary = (build(config.model[part], f"model.{part}") for part in ("estimator", "summary"))
    return estimator, summary, grid_of(plain(config.model.grid), estimator, "model.grid")


def subsample_clips(clips: Clips, most: int | None) -> Clips:
    """At most so many clips of each song, evenly spaced over it."""
    if most is None:
        return clips
    n_clips = np.bincount(clips.track, minlength=len(clips.track_ids))
    kept = [
        first + np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(int))
        for first, n in zip(np.cumsum(n_clips) - n_clips, n_clips, strict=True)
        if n
    ]
    return clips.select(np.concatenate(kept))


def clip_scores(classifier: Any, samples: Samples, n_artists: int) -> NDArray[np.float64]:
    """Scores ``(clips, artists)``, means over each clip's samples; −∞ for an artist that was not trained on."""
    if hasattr(classifier, "decision_function"):
        found = class_scores(classifier.decision_function(samples.X))
    else:
        with np.errstate(divide="ignore"):
            found = np.log(classifier.predict_proba(samples.X))
    first = np.flatnonzero(np.diff(samples.clip, prepend=-1))
    n_samples = np.diff(first, append=len(samples.clip))
    scores = np.full((len(first), n_artists), -np.inf)
    scores[:, classifier.classes_] = np.add.reduceat(found, first) / n_samples[:, None]
    return scores
