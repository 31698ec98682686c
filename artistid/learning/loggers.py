"""The loggers of ``config.logger``, opened and closed with a run."""

from __future__ import annotations

import logging
import os
import secrets
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra.utils import instantiate
from lightning.pytorch.loggers import Logger, WandbLogger
from omegaconf import DictConfig

from artistid.config import plain
from artistid.evaluation.predictions import Predictions
from artistid.evaluation.scores import Score, outcomes
from artistid.evaluation.voting import SongVotes

log = logging.getLogger(__name__)


@contextmanager
def open_loggers(config: DictConfig, resume: bool) -> Iterator[list[Logger]]:
    """Loggers that know the composed configuration, closed at the end in every case: a run of wandb per run of ours.

    Args:
        config: ``logger.*`` are the loggers.
        resume: whether the run goes on; its run of wandb then does so as well.
    """
    settings = {name: plain(logger) for name, logger in config.logger.items()}
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
    path = run_dir.expanduser() / "wandb" / "id"
    if not (resume and path.exists()):
        path.parent.mkdir(exist_ok=True)
        path.write_text(secrets.token_hex(4), encoding="utf-8")
    return path.read_text(encoding="utf-8")


def _has_wandb_account() -> bool:
    """Whether wandb has a key. Without one it would ask for it; offline, its records stay in the run folder."""
    import wandb

    found = wandb.login(prompt=False, verify=False)
    if not found:
        log.info("wandb: no account is set up on this machine (wandb login), so it works offline")
    return found
