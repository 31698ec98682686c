"""TensorBoard's records of a job: one file of events, with curves, figures, tables and hyperparameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import indent
from typing import Any

import numpy as np
import pandas as pd
from lightning.pytorch import loggers
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image

from artistid.learning.dashboards import Results, RunLogger


class TensorBoardLogger(RunLogger, loggers.TensorBoardLogger):
    """Writes ``tensorboard/`` into a folder.

    A resumed run writes its event file again, as if it had never been interrupted.

    Args:
        save_dir: the folder.
        settings: other arguments of torch's ``SummaryWriter``.
    """

    def __init__(self, save_dir: str, **settings: Any) -> None:
        super().__init__(save_dir, name="", version="tensorboard", default_hp_metric=False, **settings)

    @rank_zero_only
    def resume(self, curves: Sequence[Mapping[str, float]]) -> None:
        self.experiment.close()  # Lightning has already started a file
        for earlier in Path(self.log_dir).glob("events.out.tfevents.*"):
            earlier.unlink()
        for metrics in curves:
            self.log_metrics({name: metrics[name] for name in metrics if name != "step"}, int(metrics["step"]))

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log metrics over steps, without the epoch number that Lightning adds."""
        super().log_metrics({name: value for name, value in metrics.items() if name != "epoch"}, step)

    @rank_zero_only
    def show(self, results: Results) -> None:
        self.log_hyperparams(self.hparams, results.metrics)
        for path in sorted(results.folder.glob("*.png")):
            with Image.open(path) as picture:
                self.experiment.add_image(path.stem, np.asarray(picture.convert("RGB")), dataformats="HWC")
        for name, frame in results.tables.items():
            self.show_table(name, frame)

    @rank_zero_only
    def show_table(self, name: str, frame: pd.DataFrame) -> None:
        self.experiment.add_text(name, indent(frame.to_string(index=False), "    "))  # as it is, in Markdown

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Only saves after training: later records go into the same file."""
        self.save()

    @rank_zero_only
    def close(self, status: str) -> None:
        super().finalize(status)
