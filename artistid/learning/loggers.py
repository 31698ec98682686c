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
    """Loggers that know the composed configuration, closed at the end in every case: a run of wandb per job of ours.

    Args:
        config: ``logger.*`` are the loggers.
        resume: whether a run goes on; its run of wandb then does so as well.
        resolved: what settings such as ``auto`` have come to, listed beside them.
    """
    settings = {name: plain(logger) for name, logger in (config.get("logger") or {}).items()}
    if "wandb" in settings:
        settings["wandb"] = accepted_settings(settings["wandb"], resume)
    warnings.filterwarnings("ignore", ".*Experiment logs directory .* exists.*")  # our run folder, of course
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
    """Raises ArtistidError where wandb was told to be online and cannot be: before the work, not after it."""
    settings = (config.get("logger") or {}).get("wandb")
    if settings is not None and wanted_mode(settings) == "online":
        possible_mode(plain(settings))


class CSVLogger(RunLogger):
    """Writes ``metrics.csv``: a row per epoch, and one of the test. The file is always whole.

    Metrics of one epoch make one row, in whatever portions they come, so that a run that went on from the end of an
    epoch leaves the same file as one that was never interrupted.

    Args:
        save_dir: the run folder; its ``config.yaml`` has the settings.
    """

    name, version = "csv", ""

    def __init__(self, save_dir: str) -> None:
        super().__init__()
        self._path = expanded(save_dir) / METRICS
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

    def resume(self, curves: Sequence[Mapping[str, float]]) -> None:
        for metrics in curves:
            self.log_metrics(dict(metrics), int(metrics["step"]))
