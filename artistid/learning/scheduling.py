"""How the learning rate changes over training, and what training watches to change it, to stop and to keep the best."""

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
    """Whether what is monitored is to fall, as losses do, or to rise."""
    return "min" if monitor.endswith("loss") else "max"


def make_scheduler(
    settings: Mapping[str, Any], optimizer: torch.optim.Optimizer, monitor: str, steps: float = math.inf
) -> Any:
    """The scheduler of an optimizer.

    Args:
        settings: of what is called with the optimizer. ``total_steps: null`` stands for all steps of training; one
            that waits for a plateau is told by ``monitor`` whether it falls or rises.
        optimizer: whose rate it changes.
        monitor: what training watches.
        steps: of the optimizer in all of training; infinite where it has no end.

    Raises:
        ArtistidError: settings that it does not take.
    """
    described = {name: value for name, value in settings.items() if name != "interval"}
    if "total_steps" in described and described["total_steps"] is None:
        if math.isinf(steps):
            raise ArtistidError("scheduler.total_steps=null is as long as trainer.max_epochs, which has no end here")
        described["total_steps"] = int(steps)
    factory = build({**described, "_partial_": True}, "scheduler")
    if isinstance(factory.func, type) and issubclass(factory.func, ReduceLROnPlateau):
        factory.keywords.setdefault("mode", mode_of(monitor))
    try:
        return factory(optimizer)
    except Exception as error:  # one of any package may be named
        raise ArtistidError(f"scheduler.*: {first_line(error)}") from error


def check_scheduler(settings: Mapping[str, Any], monitor: str) -> None:
    """Raises ArtistidError for settings of which no scheduler can be made."""
    require_choice("scheduler.interval", settings.get("interval", "epoch"), INTERVALS)
    make_scheduler(settings, torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0), monitor, steps=100)


class RateLog(Callback):
    """Logs ``train/lr``, the rate that an epoch ends with; of stages that learn at several rates, that of the head.

    It stands before whatever changes the rate for the next epoch.
    """

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        pl_module.log("train/lr", trainer.optimizers[0].param_groups[0]["lr"], sync_dist=True)


class Scheduling(Callback):
    """Steps a scheduler after each epoch or, with ``interval: step``, after each step of the optimizer.

    Lightning would step it after the epoch's state is written, so that a run that goes on from there had to guess what
    the scheduler saw. Here the state has it, and a run that goes on has the rates of one that was not interrupted.

    Args:
        settings: see :func:`make_scheduler`.
        monitor: the metric that a plateau is looked for in.
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
                group.update(before)  # making a scheduler begins its schedule

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        if self.by_step and trainer.global_step > self._steps:  # it may take several batches for one step
            self._steps = trainer.global_step
            if self._steps < self._all_steps:  # after the last one a cycle would go up again
                self.scheduler.step()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.by_step:
            return
        if not isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step()
        elif (value := trainer.callback_metrics.get(self.monitor)) is not None:
            self.scheduler.step(value.item())
