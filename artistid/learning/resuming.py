"""Resuming a run that was killed: at most the current epoch is lost, and the result does not change."""

from __future__ import annotations

import logging
import random
import time
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from artistid.errors import ArtistidError
from artistid.learning.archive import readable
from artistid.learning.dashboards import RunLogger
from artistid.trust import Trust
from artistid.writing import whole

log = logging.getLogger(__name__)


class LastState(Checkpoint):
    """Writes a checkpoint at the end of every epoch, from which training resumes as if it had never stopped.

    To Lightning's state (weights, optimizer, loops, callbacks) it adds the random generators, whether training had
    ended, the learning curves so far and the training time. As a ``Checkpoint`` after ``ModelCheckpoint`` in the
    trainer's list, it is called after all other callbacks: once its file is written, the epoch's other files are, too.

    Args:
        path: of the checkpoint; once written, the file is always complete.
        trust: packages whose objects may be in it.

    Attributes:
        seconds: spent on training, including earlier processes.
        resumed_at: epochs, from 0, at which training was resumed.
        curves: the metrics of each epoch.
    """

    def __init__(self, path: Path, trust: Trust = ()) -> None:
        self.path = path
        self.trust = trust
        self.seconds = 0.0
        self.resumed_at: list[int] = []
        self.curves: list[dict[str, float]] = []
        self._random: dict[str, Any] | None = None
        self._validated = False
        self._since = 0.0

    @property
    def epochs(self) -> int:
        """Number of completed epochs; the trainer counts one less where a finished run is resumed."""
        return len(self.curves)

    def state_dict(self) -> dict[str, Any]:
        return {
            "seconds": self.seconds,
            "resumed_at": self.resumed_at,
            "curves": self.curves,
            "random": random_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seconds = state["seconds"]
        self.resumed_at = state["resumed_at"]
        self.curves = state["curves"]
        self._random = state["random"]

    def on_save_checkpoint(self, trainer: L.Trainer, module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint["should_stop"] = trainer.should_stop

    def on_load_checkpoint(self, trainer: L.Trainer, module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        # Lightning does not store that training had ended, and would train one more epoch.
        trainer.should_stop = checkpoint["should_stop"]
        # The folder may have been moved, and ModelCheckpoint would then forget which epoch was the best.
        for state in checkpoint["callbacks"].values():
            if state.get("best_model_path"):
                folder = self.path.parent.resolve()
                state |= {"dirpath": str(folder), "best_model_path": str(folder / Path(state["best_model_path"]).name)}

    def on_fit_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if self._random is None:
            return
        for logger in trainer.loggers:
            if isinstance(logger, RunLogger):
                logger.resume(self.curves)
        # Before the loader's first batch, which draws the order of all.
        set_random_state(self._random)

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._since = time.perf_counter()
        if self._random is not None:
            self.resumed_at = [*self.resumed_at, trainer.current_epoch]
            log.info("going on with epoch %d", trainer.current_epoch + 1)

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._validated = True

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        now = time.perf_counter()
        self.seconds += now - self._since
        self._since = now
        metrics = {
            name: value.item()
            for name, value in trainer.callback_metrics.items()
            if self._validated or not name.startswith("val/")  # else from an earlier epoch
        }
        self._validated = False
        self.curves.append({**metrics, "epoch": trainer.current_epoch, "step": trainer.global_step - 1})
        is_first = not self.path.exists()
        trainer.save_checkpoint(self.path)
        if is_first and trainer.is_global_zero:
            self._check_readable()

    def _check_readable(self) -> None:
        """Raises ArtistidError after the first epoch, rather than after training, when the best is loaded."""
        try:
            with readable(self.path, "optimizer.*, callbacks.*: the state of this run", self.trust):
                pass
        except ArtistidError:
            self.path.unlink()
            raise


class WholeCheckpoints(TorchCheckpointIO):
    """Writes Lightning's checkpoints atomically, which its own class does not: it copies across file systems."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        save_whole(checkpoint, Path(path))


def save_whole(checkpoint: dict[str, Any], path: Path) -> None:
    """Write a checkpoint atomically: once there is one, the file is always complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path, "wb") as file:
        try:
            torch.save(checkpoint, file)
        except RuntimeError as error:  # torch's error on closing its archive hides why it could not be written
            if isinstance(error.__context__, OSError):
                raise error.__context__ from error
            raise


def random_state() -> dict[str, Any]:
    """State of the generators of torch, NumPy and Python, in types that ``torch.load(…, weights_only=True)`` reads."""
    numpy: dict[str, Any] = np.random.get_state(legacy=False)
    key = torch.from_numpy(numpy["state"]["key"].astype(np.int64))
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all(),
        "numpy": {**numpy, "state": {**numpy["state"], "key": key}},
        "python": random.getstate(),
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Restore a :func:`random_state`; those of GPUs only if their number is the same."""
    torch.set_rng_state(state["torch"])
    if len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
    numpy = state["numpy"]
    key = numpy["state"]["key"].numpy().astype(np.uint32)
    np.random.set_state({**numpy, "state": {**numpy["state"], "key": key}})
    random.setstate(state["python"])
