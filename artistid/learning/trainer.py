"""Lightning's Trainer from ``trainer.*``: each of its arguments works, or is refused before any work starts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import lightning as L
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.plugins.environments import LightningEnvironment, SLURMEnvironment
from lightning.pytorch.strategies import ParallelStrategy
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig

from artistid.config import plain
from artistid.errors import ArtistidError, counted
from artistid.learning.progress import bars
from artistid.learning.resuming import WholeCheckpoints
from artistid.places import expanded
from artistid.settings import first_line

# With 0 there would be nothing to choose by validation, or to test.
NEEDED = ("max_epochs", "max_steps", "limit_train_batches", "limit_val_batches", "limit_test_batches")

# Those that keep weights and optimizer state in single precision.
PRECISIONS = ("32-true", "16-mixed", "bf16-mixed")

# Lightning's arguments that a run sets itself, and the settings to use instead.
OURS = {
    "logger": "logger=csv, wandb or tensorboard",
    "callbacks": "callbacks.*",
    "plugins": "trainer.precision and trainer.strategy",
    "enable_checkpointing": "checkpoints/ in the run folder",
    "default_root_dir": "run_dir",
    "model_registry": "run_dir",
    "barebones": "python -m artistid.benchmark",
}


def fast_dev_run(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Replace ``fast_dev_run`` by equivalent settings: one epoch of so many batches, through all steps of a run.

    With Lightning's own there would be no checkpoint, and so no test.
    """
    batches = int(settings.get("fast_dev_run") or 0)
    if not batches:
        return dict(settings)
    once = {"fast_dev_run": False, "max_epochs": 1, "max_steps": -1, "max_time": None, "overfit_batches": 0.0}
    once |= {"num_sanity_val_steps": 0, "check_val_every_n_epoch": 1}
    return {**settings, **once, **{f"limit_{part}_batches": batches for part in ("train", "val", "test")}}


def trainer_settings(config: DictConfig, precision: str) -> dict[str, Any]:
    """The settings of a run's Trainer: ``trainer.*``, with its precision, and Lightning's own files in the run folder.

    Otherwise a profiler's traces would be written to the current working directory.
    """
    return {**plain(config.trainer), "precision": precision, "default_root_dir": str(expanded(config.run_dir))}


def check_trainer(settings: Mapping[str, Any]) -> None:
    """Raises ArtistidError for settings that make no trainer on this machine, or leave nothing to test."""
    settings = fast_dev_run(settings)
    for name in NEEDED:
        if settings.get(name) == 0:
            raise ArtistidError(f"trainer.{name}={settings[name]} leaves nothing to train, to validate or to test")
    for name, instead in OURS.items():
        if name in settings:
            raise ArtistidError(f"trainer.{name} is set by the run itself: leave it out; see {instead}")
    interval = settings.get("val_check_interval")
    if not (interval is None or (isinstance(interval, float) and interval == 1)):
        raise ArtistidError(
            f"trainer.val_check_interval={interval}: expected null, as each epoch is validated at its end; "
            "trainer.limit_train_batches, such as 0.5, makes epochs shorter"
        )
    every, epochs = settings.get("check_val_every_n_epoch", 1), settings.get("max_epochs")
    if every is not None and 0 < (epochs or 0) < every:
        raise ArtistidError(
            f"trainer.check_val_every_n_epoch={every}: of trainer.max_epochs={epochs} none would be validated"
        )
    precision = settings.get("precision", "auto")
    trainer = make_trainer({**settings, "precision": "32-true" if precision == "auto" else precision}, [], False)
    _check_precision(trainer, precision)
    _check_processes(trainer)


def _check_precision(trainer: L.Trainer, asked: Any) -> None:
    """Raises ArtistidError for a precision that does not keep weights in float32, or that Lightning replaced."""
    other = str(asked) in ("16", "16-mixed") and trainer.precision != "16-mixed"
    if other or trainer.precision not in PRECISIONS:
        raise ArtistidError(
            f"trainer.precision={asked}: weights are kept in single precision; expected 32-true, bf16-mixed or, on a "
            "GPU, 16-mixed"
        )


def _check_processes(trainer: L.Trainer) -> None:
    """Raises ArtistidError for too many processes, or those that cannot connect or return their weights."""
    cores = os.cpu_count() or 1
    if isinstance(trainer.accelerator, CPUAccelerator) and trainer.num_devices > cores:
        raise ArtistidError(
            f"trainer.devices={trainer.num_devices}: each is a process, but this machine has {counted(cores, 'core')}"
        )
    strategy = trainer.strategy
    if isinstance(strategy.launcher, _MultiProcessingLauncher):
        raise ArtistidError(
            "trainer.strategy: weights trained in forked or spawned processes are not returned to this one; "
            "expected ddp, which runs the command once for each process"
        )
    alone = isinstance(strategy, ParallelStrategy) and isinstance(strategy.cluster_environment, LightningEnvironment)
    if trainer.num_nodes > 1 and alone and "MASTER_ADDR" not in os.environ:
        raise ArtistidError(
            f"trainer.num_nodes={trainer.num_nodes}: expected 1 on a machine outside a cluster; in a cluster, SLURM, "
            "torchrun or MASTER_ADDR must give the address of the main node"
        )


def make_trainer(
    settings: Mapping[str, Any], callbacks: list[Callback], logger: Any, subset: str = "test"
) -> L.Trainer:
    """Lightning's Trainer.

    Args:
        settings: ``trainer.*``.
        callbacks: all but the progress bar.
        logger: one, several, or false.
        subset: the tested subset.

    Raises:
        ArtistidError: settings that make no trainer on this machine.
    """
    settings = fast_dev_run(settings)
    shown = bars(settings.get("enable_progress_bar", True), subset)
    keeps = any(isinstance(callback, ModelCheckpoint) for callback in callbacks)
    # In a SLURM job, Lightning would take the job's tasks for its processes, and requeue the job. On one machine it
    # starts its own processes; on several, requeueing is left to the launcher.
    one_machine = settings.get("num_nodes", 1) == 1
    plugins: list[Any] = [WholeCheckpoints()]
    if SLURMEnvironment.detect():
        plugins += [LightningEnvironment() if one_machine else SLURMEnvironment(auto_requeue=False)]
    ours = {"callbacks": [*callbacks, *shown], "logger": logger, "plugins": plugins, "enable_checkpointing": keeps}
    try:
        return L.Trainer(**{**settings, "enable_progress_bar": bool(shown), **ours})
    except Exception as error:  # Lightning raises AssertionError, KeyError and others
        raise ArtistidError(f"trainer.*: {first_line(error)}") from error


@contextmanager
def sentences() -> Iterator[None]:
    """Turns Lightning's exception for settings that do not fit the data into an ArtistidError."""
    try:
        yield
    except MisconfigurationException as error:
        raise ArtistidError(f"trainer.*: {' '.join(str(error).split())}") from error
