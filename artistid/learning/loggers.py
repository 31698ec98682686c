"""The loggers of ``config.logger``, opened and closed with a run."""

from __future__ import annotations

import csv
import logging
import os
import secrets
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig

from artistid.config import plain
from artistid.evaluation.predictions import Predictions
from artistid.evaluation.scores import Score, outcomes
from artistid.evaluation.voting import SongVotes
from artistid.places import expanded
from artistid.runs import RunFolder
from artistid.writing import whole, write_text

log = logging.getLogger(__name__)


@contextmanager
def open_loggers(config: DictConfig, resume: bool) -> Iterator[list[Logger]]:
    """Loggers that know the composed configuration, closed at the end in every case: a run of wandb per run of ours.

    Args:
        config: ``logger.*`` are the loggers.
        resume: whether the run goes on; its run of wandb then does so as well.
    """
    settings = {name: plain(logger) for name, logger in (config.get("logger") or {}).items()}
    if "wandb" in settings:
        settings["wandb"]["id"] = _wandb_id(Path(settings["wandb"]["save_dir"]), resume)
        if "WANDB_MODE" not in os.environ and not _has_wandb_account():
            settings["wandb"]["mode"] = "offline"
    warnings.filterwarnings("ignore", ".*Experiment logs directory .* exists.*")  # our run folder, of course
    loggers: list[Logger] = [instantiate(logger) for logger in settings.values()]
    status = "failed"
    try:
        for logger in loggers:
            logger.log_hyperparams(plain(config))
            if isinstance(logger, WandbLogger):
                logger.experiment.define_metric("*", step_metric="epoch")  # comparable whatever the size of an epoch
        yield loggers
        status = "success"
    finally:
        for logger in loggers:
            logger.save()
            logger.finalize(status)
            if isinstance(logger, WandbLogger):
                logger.experiment.finish(exit_code=int(status == "failed"))


class CSVLogger(Logger):
    """Writes ``metrics.csv``: a row per epoch, and one of the test. The file is always whole.

    Metrics of one epoch make one row, in whatever portions they come, so that a run that went on from the end of an
    epoch leaves the same file as one that was never interrupted.

    Args:
        save_dir: the run folder; its ``config.yaml`` has the settings.
    """

    name, version = "csv", ""

    def __init__(self, save_dir: str) -> None:
        super().__init__()
        self._path = RunFolder(save_dir).metrics
        self._rows: dict[Any, dict[str, Any]] = {}  # by epoch; None: of no epoch

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        row = self._rows.setdefault(metrics.get("epoch"), {})
        row |= metrics if step is None else {**metrics, "step": step}
        columns = sorted({name for row in self._rows.values() for name in row})
        with whole(self._path, newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(self._rows.values())

    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None:
        """They are in the run folder already."""


def log_results(
    loggers: Sequence[Logger], scores: Mapping[str, Score], predictions: Predictions, songs: SongVotes
) -> None:
    """Give the test's results to the loggers: scores to all, and what can be looked at to those that show it.

    Args:
        loggers: open ones.
        scores: of each level; logged as ``test/song/f1_weighted`` and the like.
        predictions: of the test clips.
        songs: their votes.
    """
    metrics = {
        f"test/{level}/{name}": value
        for level, score in scores.items()
        for name, value in score.items()
        if isinstance(value, int | float)
    }
    for logger in loggers:
        logger.log_metrics(metrics)
        if isinstance(logger, WandbLogger):
            _show_in_wandb(logger, predictions, songs, tuple(scores))


def _show_in_wandb(logger: WandbLogger, predictions: Predictions, songs: SongVotes, levels: Sequence[str]) -> None:
    import wandb

    artists = list(predictions.artists)
    matrices = {
        f"test/{level}/confusion": wandb.plot.confusion_matrix(
            y_true=outcome.label.tolist(),
            preds=outcome.predicted.tolist(),
            class_names=artists,
            title=f"Test, {level} level",
        )
        for level, outcome in outcomes(predictions, songs, levels).items()
    }
    logger.experiment.log({**matrices, "test/songs": wandb.Table(dataframe=songs.to_frame())})


def _wandb_id(run_dir: Path, resume: bool) -> str:
    """The run's id at wandb; kept in the run folder, since resuming needs it."""
    path = expanded(run_dir) / "wandb" / "id"
    if not (resume and path.exists()):
        path.parent.mkdir(exist_ok=True)
        write_text(path, secrets.token_hex(4))
    return path.read_text(encoding="utf-8")


def _has_wandb_account() -> bool:
    """Whether wandb has a key. Without one it would ask for it; offline, its records stay in the run folder."""
    import wandb

    found = wandb.login(prompt=False, verify=False)
    if not found:
        log.info("wandb: no account is set up on this machine (wandb login), so it works offline")
    return found
