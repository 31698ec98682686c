"""What loggers get from a job besides its metrics: its settings, and at the end figures, tables and audio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig

from artistid.config import plain
from artistid.data.catalog import Catalog
from artistid.data.clips import FRAME_MS, ClipSpec
from artistid.data.excerpts import Excerpt
from artistid.data.song import Limits
from artistid.evaluation.predictions import Predictions
from artistid.evaluation.scores import Score, per_artist
from artistid.evaluation.verification_results import verification_rows
from artistid.evaluation.voting import SongVotes
from artistid.naming import WITHOUT_EFFECT
from artistid.printing import shown

LONGEST_EXCERPT = 10.0  # seconds


@dataclass(frozen=True, eq=False)
class Results:
    """The results of a training or an evaluation.

    Attributes:
        scores: of the test, by level.
        predictions: of the tested clips.
        songs: the votes on the tested songs.
        catalog: contains the tested songs.
        clip: how songs were cut into clips.
        limits: for files that are decoded for listening.
        folder: of the run.
        training: summary of the training, as in the scores file; empty for an evaluation.
    """

    scores: Mapping[str, Score]
    predictions: Predictions
    songs: SongVotes
    catalog: Catalog
    clip: ClipSpec
    limits: Limits
    folder: Path
    training: Mapping[str, Any]

    @cached_property
    def metrics(self) -> dict[str, float]:
        """The scores as metrics, such as ``test/song/f1_weighted``; each end of an interval is one."""
        found: dict[str, float] = {}
        for level, score in self.scores.items():
            for name, value in score.items():
                if isinstance(value, int | float):
                    found[f"test/{level}/{name}"] = value
                elif isinstance(value, list):
                    low, high = value
                    found |= {f"test/{level}/{name}_low": low, f"test/{level}/{name}_high": high}
        return found

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """Tables by name: the prediction for each song, and the scores of each artist."""
        return {
            "test/songs": self.songs.to_frame(),
            "test/artists": per_artist(self.predictions, self.songs, tuple(self.scores)),
        }

    def surest(self, most: int) -> dict[str, list[Excerpt]]:
        """The most confident of the songs named ``right`` and ``wrong``, each as its most confident clip."""
        right = self.songs.predicted == self.songs.label
        order = np.argsort(-self.songs.confidence, kind="stable")
        return {
            name: [self._excerpt(song) for song in order[chosen[order]][:most]]
            for name, chosen in (("right", right), ("wrong", ~right))
        }

    def _excerpt(self, song: int) -> Excerpt:
        predicted = self.songs.predicted[song]
        rows = np.flatnonzero(self.predictions.track_index == song)
        probability = self.predictions.probability[rows, predicted]
        clip = int(self.predictions.clip[rows[probability.argmax()]])
        seconds = LONGEST_EXCERPT if self.clip.frames is None else self.clip.frames * FRAME_MS / 1000
        track_id, artist, named = self.songs.track_id[song], self.songs.artist[song], self.songs.artists[predicted]
        said = "named right" if artist == named else f"taken for {named}"
        return Excerpt(
            path=next(track.path for track in self.catalog if track.track_id == track_id),
            start=clip * seconds,
            seconds=min(seconds, LONGEST_EXCERPT),
            caption=shown(f"{track_id}: {artist}, {said}, clip {clip} with {probability.max():.2f}"),
        )


class RunLogger(Logger):
    """A logger that shows more of a job than its metrics."""

    def resume(self, curves: Sequence[Mapping[str, float]]) -> None:
        """Called when a run resumes after these epochs, given by their metrics, ``epoch`` and last ``step``."""

    def show(self, results: Results) -> None:
        """Show a job's results."""
        self.log_metrics(results.metrics)

    def show_table(self, name: str, frame: pd.DataFrame) -> None:
        """Show a table of a job's results."""

    def close(self, status: str) -> None:
        """Called at the end of a job, with ``success`` or ``failed``; Lightning's ``finalize`` ends training only."""


def log_results(loggers: Sequence[Logger], results: Results) -> None:
    """Give a job's results to the loggers: scores to all, figures, tables and audio to those that show them."""
    for logger in loggers:
        if isinstance(logger, RunLogger):
            logger.show(results)
        else:
            logger.log_metrics(results.metrics)


def log_tables(loggers: Sequence[Logger], tables: Mapping[str, pd.DataFrame]) -> None:
    """Give tables, by name, to the loggers that show them."""
    for logger in loggers:
        if isinstance(logger, RunLogger):
            for name, frame in tables.items():
                logger.show_table(name, frame)


def log_verification(loggers: Sequence[Logger], told: Mapping[str, Any]) -> None:
    """Log a network's results on artists it was not trained on: each scorer's measures, and all as a table."""
    rows = verification_rows(told)
    metrics = dict(zip(rows["scorer"] + "/" + rows["measure"], rows["test"].tolist(), strict=True))
    for logger in loggers:
        logger.log_metrics(metrics)
    log_tables(loggers, {"verification": rows})


def settings_to_log(config: DictConfig) -> dict[str, Any]:
    """A job's settings, for dashboards to list and filter by; objects are given by the name of their class.

    Settings that do not affect a job's numbers are left out, such as the machine's folders and the dashboards' own.
    """
    logged: dict[str, Any] = sayable(_by_name(_with_effect(plain(config))))
    return logged


def _with_effect(value: Any, above: str = "") -> Any:
    """The settings below ``above`` (ending in a dot), except those without effect."""
    if not isinstance(value, Mapping):
        return value
    names = {name: f"{above}{name}" for name in value}
    return {
        name: _with_effect(value[name], f"{full}.")
        for name, full in names.items()
        if not full.startswith(WITHOUT_EFFECT)
    }


def _by_name(value: Any) -> Any:
    """Replace ``_target_`` by the ``name`` of the class.

    Example:
        >>> _by_name({"_target_": "torch.optim.Adam", "_partial_": True, "lr": 0.001})
        {'name': 'Adam', 'lr': 0.001}
    """
    if isinstance(value, list):
        return [_by_name(each) for each in value]
    if not isinstance(value, Mapping):
        return value
    target = value.get("_target_")
    name = {"name": target.rpartition(".")[2]} if target else {}
    return name | {key: _by_name(each) for key, each in value.items() if not str(key).startswith("_")}


def sayable(value: Any) -> Any:
    """Plain settings whose texts any logger can write: undecodable bytes in names become U+FFFD."""
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, Mapping):
        return {sayable(name): sayable(each) for name, each in value.items()}
    return [sayable(each) for each in value] if isinstance(value, list) else value
