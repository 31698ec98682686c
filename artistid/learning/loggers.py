"""The loggers of ``config.logger``, opened and closed with a job."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig

from artistid.config import build, plain
from artistid.learning.dashboards import RunLogger, settings_to_log
from artistid.learning.system import METRICS
from artistid.learning.wandb import WandbLogger, accepted_settings, possible_mode, wanted_mode
from artistid.places import expanded
from artistid.writing import whole


@contextmanager
def open_loggers(config: DictConfig, resume: bool = False, **resolved: Any) -> Iterator[list[Logger]]:
    """Open the loggers, log the composed configuration, and always close them: each job is one wandb run.

    Args:
        config: ``logger.*`` are the loggers.
        resume: whether the run is resumed; its wandb run then continues, too.
        resolved: the values that settings such as ``auto`` resolved to, logged beside them.
    """
    settings = {name: plain(logger) for name, logger in (config.get("logger") or {}).items()}
    if "wandb" in settings:
        settings["wandb"] = accepted_settings(settings["wandb"], resume)
    warnings.filterwarnings("ignore", ".*Experiment logs directory .* exists.*")  # the run folder: it must exist
    loggers: list[Logger] = [build(logger, f"logger.{name}") for name, logger in settings.items()]
    logged = settings_to_log(config) | ({"resolved": resolved} if resolved else {})
    status = "failed"
    try:
        for logger in loggers:
            if isinstance(logger, WandbLogger):
                logger.begin()
            logger.log_hyperparams(logged)
        yield loggers
        status = "success"
    finally:
        for logger in loggers:
            logger.save()
            logger.finalize(status)
            if isinstance(logger, RunLogger):
                logger.close(status)


def check_loggers(config: DictConfig) -> None:
    """Raises ArtistidError, before any work, where wandb is set to online mode but cannot be reached."""
    settings = (config.get("logger") or {}).get("wandb")
    if settings is not None and wanted_mode(settings) == "online":
        possible_mode(plain(settings))


class CSVLogger(RunLogger):
    """Writes ``metrics.csv``: a row per epoch, and one for the test. The file is always complete.

    All metrics of an epoch go into one row, however many calls log them, so that a run resumed at the end of an epoch
    leaves the same file as an uninterrupted one.

    Args:
        save_dir: the run folder; its ``config.yaml`` holds the settings.
    """

    name, version = "csv", ""

    def __init__(self, save_dir: str) -> None:
        super().__init__()
        self._path = expanded(save_dir) / METRICS
        self._rows: dict[Any, dict[str, Any]] = {}  # by epoch; None: not tied to an epoch

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
        """Does nothing: they are already in the run folder."""

    def resume(self, curves: Sequence[Mapping[str, float]]) -> None:
        for metrics in curves:
            self.log_metrics(dict(metrics), int(metrics["step"]))
