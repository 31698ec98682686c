"""Learning rate schedules, and whether the monitored metric is to be minimised or maximised."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch.optim.lr_scheduler import ReduceLROnPlateau

from artistid.config import build
from artistid.errors import ArtistidError, require_choice
from artistid.settings import first_line

INTERVALS = ("epoch", "step")


def mode_of(monitor: str) -> str:
    """``min`` for a monitored metric that is a loss, else ``max``."""
    return "min" if monitor.endswith("loss") else "max"


def make_scheduler(
    settings: Mapping[str, Any], optimizer: torch.optim.Optimizer, monitor: str, steps: float = math.inf
) -> Any:
    """The scheduler of an optimizer.

    Args:
        settings: of a callable that takes the optimizer. ``total_steps: null`` stands for all steps of training;
            ``ReduceLROnPlateau`` gets its ``mode`` from ``monitor``.
        optimizer: the optimizer whose rate it changes.
        monitor: the monitored metric.
        steps: number of optimizer steps in all of training; infinite where it has no end.

    Raises:
        ArtistidError: settings that the scheduler does not accept.
    """
    described = {name: value for name, value in settings.items() if name != "interval"}
    if "total_steps" in described and described["total_steps"] is None:
        if math.isinf(steps):
            raise ArtistidError("scheduler.total_steps=null follows trainer.max_epochs, which sets no end here")
        described["total_steps"] = int(steps)
    factory = build({**described, "_partial_": True}, "scheduler")
    if isinstance(factory.func, type) and issubclass(factory.func, ReduceLROnPlateau):
        factory.keywords.setdefault("mode", mode_of(monitor))
    try:
        return factory(optimizer)
    except Exception as error:  # one of any package may be named
        raise ArtistidError(f"scheduler.*: {first_line(error)}") from error


def check_scheduler(settings: Mapping[str, Any], monitor: str) -> None:
    """Raises ArtistidError for settings with which no scheduler can be built."""
    require_choice("scheduler.interval", settings.get("interval", "epoch"), INTERVALS)
    make_scheduler(settings, torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0), monitor, steps=100)


class RateLog(Callback):
    """Logs ``train/lr``, the learning rate at the end of an epoch; with several rates, that of the head.

    It must come before callbacks that change the rate for the next epoch.
    """

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        pl_module.log("train/lr", trainer.optimizers[0].param_groups[0]["lr"], sync_dist=True)


class Scheduling(Callback):
    """Steps a scheduler after each epoch or, with ``interval: step``, after each step of the optimizer.

    Lightning would step it after the epoch's state is written, so that a resumed run would not know what the scheduler
    had seen. Here its state is in the checkpoint, and a resumed run has the rates of an uninterrupted one.

    Args:
        settings: see :func:`make_scheduler`.
        monitor: the metric that is watched for a plateau.
    """

    def __init__(self, settings: Mapping[str, Any], monitor: str) -> None:
        self.settings = settings
        self.monitor = monitor
        self.by_step = settings.get("interval", "epoch") == "step"
        self.scheduler: Any = None
        self._state: dict[str, Any] | None = None
        self._steps = 0
        self._all_steps = math.inf

    def state_dict(self) -> dict[str, Any]:
        return {"scheduler": self.scheduler.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._state = state_dict["scheduler"]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        [optimizer] = trainer.optimizers
        restored = [dict(group) for group in optimizer.param_groups]
        self._steps = trainer.global_step
        self._all_steps = trainer.estimated_stepping_batches
        self.scheduler = make_scheduler(self.settings, optimizer, self.monitor, self._all_steps)
        if self._state is not None:
            self.scheduler.load_state_dict(self._state)
            for group, before in zip(optimizer.param_groups, restored, strict=True):
                group.update(before)  # constructing a scheduler sets the initial rate

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        if self.by_step and trainer.global_step > self._steps:  # a step may accumulate several batches
            self._steps = trainer.global_step
            if self._steps < self._all_steps:  # a further step would raise a cyclic rate again
                self.scheduler.step()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.by_step:
            return
        if not isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step()
        elif (value := trainer.callback_metrics.get(self.monitor)) is not None:
            self.scheduler.step(value.item())
