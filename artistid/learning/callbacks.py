"""Callbacks of training: the song vote, with scores at both levels after each validation, and averaged weights."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, WeightAveraging
from lightning.pytorch.trainer.states import TrainerFn

from artistid.data.clips import Clips
from artistid.data.datamodule import Batch
from artistid.errors import ArtistidError, counted
from artistid.evaluation.predictions import Predictions
from artistid.evaluation.scores import METRICS, Metric, score_levels
from artistid.hints import Whole
from artistid.learning.classifier import ArtistClassifier
from artistid.learning.logits import predictions_from_logits

log = logging.getLogger(__name__)

EPOCHS_BEFORE = 10  # whose weights are too far from the later ones to be averaged with them


class SongVote(Callback):
    """Lets the clips of every song vote; logs ``val/loss``, ``val/frame/f1_weighted``, ``val/song/f1_weighted``, ….

    Under DDP the logits of all processes are gathered, and clips that a distributed sampler repeats to fill the last
    batch are counted once, so that every process has the scores that a single process would have.

    Args:
        clips: of each subset; a test predicts ``clips["test"]``.
        vote: method of the song vote.
        metrics: by name, see :func:`artistid.evaluation.scores.find_metrics`.

    Attributes:
        predictions: of the last validation and of the last test, by subset.
    """

    def __init__(self, clips: dict[str, Clips], vote: str, metrics: Mapping[str, Metric] = METRICS) -> None:
        self.clips = clips
        self.vote = vote
        self.metrics = metrics
        self.predictions: dict[str, Predictions] = {}
        self._heard: dict[str, list[torch.Tensor]] = defaultdict(list)
        self._clip: list[torch.Tensor] = []

    def on_validation_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Batch, *_: Any
    ) -> None:
        self._collect(outputs, batch)

    def on_test_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Batch, *_: Any
    ) -> None:
        self._collect(outputs, batch)

    def on_validation_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        loss, predictions = self._gather(module, "val", fitting=trainer.state.fn == TrainerFn.FITTING)
        if trainer.sanity_checking:
            return
        self.predictions["val"] = predictions
        metrics = {"val/loss": loss}
        for level, scores in score_levels(predictions, self.vote, metrics=self.metrics, draws=0).items():
            metrics |= {f"val/{level}/{name}": float(scores[name]) for name in self.metrics}  # type: ignore[literal-required]
        module.log_dict(metrics, sync_dist=True)  # the same in every process
        if not trainer.is_global_zero:
            return
        log.info(
            "epoch %d: val/loss %.3f, weighted F1 %.3f at frame and %.3f at song level",
            trainer.current_epoch + 1,
            loss,
            metrics["val/frame/f1_weighted"],
            metrics["val/song/f1_weighted"],
        )

    def on_test_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        _, self.predictions["test"] = self._gather(module, "test")

    def _collect(self, heard: Mapping[str, torch.Tensor], batch: Batch) -> None:
        for name, values in heard.items():
            self._heard[name].append(values.detach())
        self._clip.append(batch["clip"])

    def _gather(self, module: L.LightningModule, subset: str, *, fitting: bool = False) -> tuple[float, Predictions]:
        """Mean cross-entropy and predictions of all clips, those of the other processes included."""
        assert isinstance(module, ArtistClassifier)
        gathered = {
            name: module.all_gather(torch.cat(values)).flatten(0, -2)  # type: ignore[union-attr]  # (clips, columns)
            for name, values in self._heard.items()
        }
        clip = module.all_gather(torch.cat(self._clip)).flatten()  # type: ignore[union-attr]  # (clips,)
        self._heard.clear()
        self._clip.clear()
        if fitting and not gathered["logits"].isfinite().all():
            raise ArtistidError(_divergence(module))
        rows, first = np.unique(clip.cpu().numpy(), return_index=True)
        heard = {name: values.cpu()[first] for name, values in gathered.items()}
        clips = self.clips[subset]
        return predictions_from_logits(
            heard["logits"],
            rows,
            clips,
            tuple(module.specification.artists),
            module.name_songs(heard["vectors"], clips.track[rows]) if "vectors" in heard else None,
        )


def _divergence(module: L.LightningModule) -> str:
    rates = sorted({float(group["lr"]) for each in module.trainer.optimizers for group in each.param_groups})
    return (
        f"training diverged in epoch {module.current_epoch + 1}: the network's outputs are not finite (NaN or "
        f"infinite); a lower optimizer.lr (it is {', '.join(f'{rate:g}' for rate in rates)}) or "
        "trainer.gradient_clip_val helps"
    )


class ValidatedEnd(Callback):
    """Validates also where ``trainer.max_steps`` ends training within an epoch, as with ``trainer.max_time``."""

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        if 0 <= trainer.max_steps <= trainer.global_step:
            trainer.should_stop = True


class EpochAverage(WeightAveraging):
    """Stochastic weight averaging (Izmailov et al., UAI 2018): the mean of the weights at the ends of epochs.

    Validation uses the mean, and the best checkpoint stores it, while training continues from the latest weights.
    Lightning's own ``StochasticWeightAveraging`` has its mean only after training, when it is no longer validated.

    Args:
        start_epoch: epochs before the mean begins, in which the latest weights are used; None: :data:`EPOCHS_BEFORE`,
            or half of the trainer's if that is fewer.
    """

    def __init__(self, start_epoch: Whole | None = None) -> None:
        super().__init__()
        self.start_epoch = start_epoch

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        most = trainer.max_epochs
        before = EPOCHS_BEFORE if most is None or most < 0 else min(EPOCHS_BEFORE, most // 2)
        self._first = before if self.start_epoch is None else self.start_epoch

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_fit_end(trainer, pl_module)
        if trainer.current_epoch < self._first + 2:
            log.warning(
                "no weights were averaged: training ended after %s, and callbacks.*.start_epoch is %d",
                counted(trainer.current_epoch, "epoch"),
                self._first,
            )

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *arguments: Any) -> None:
        if trainer.is_last_batch:
            assert self._average_model is not None
            if trainer.current_epoch <= self._first:
                self._average_model.n_averaged.zero_()
            super().on_train_batch_end(trainer, pl_module, *arguments)
