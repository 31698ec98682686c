"""Probes as systems of the study: a front that is not trained, and a back end fitted to its output."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import torch
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig
from torch import nn

from artistid.config import build, plain
from artistid.data.clips import ClipSpec
from artistid.data.datamodule import ClipData
from artistid.data.encoder import torch_device
from artistid.data.features import Features
from artistid.data.splits import Split
from artistid.errors import ArtistidError
from artistid.evaluation.open_set import OpenSetThreshold
from artistid.evaluation.predictions import Predictions
from artistid.learning.backends import BackEndSettings, Front, add_back_end
from artistid.learning.choosing import points_of
from artistid.learning.classifier import ArtistClassifier
from artistid.learning.networks import (
    IN_FULL,
    calibrate_open_set,
    check_names,
    check_takes,
    checked,
    predict,
    set_up,
    specify,
)
from artistid.learning.specification import with_width
from artistid.learning.system import check_without_effect
from artistid.learning.trainer import check_trainer, trainer_settings
from artistid.trust import trusted


class Learn(Protocol):
    """The method ``learn`` of a front that is fitted to the training clips without their labels, such as i-vectors."""

    def __call__(self, clips: Iterator[torch.Tensor], seed: int) -> None:
        """Fit to batches ``(batch, width, time)`` of clips."""


class ProbeSystem:
    """A front and a back end: nothing is trained by gradients.

    Args:
        config: ``model.network``, the front, from clips ``(batch, width, time)`` to vectors ``(batch, columns)``;
            ``model.grid``, values for settings of the front, of which validation chooses; ``backend``;
            ``trainer.accelerator`` and the other settings of ``train``.
        data: the clips of all subsets.
        split: the split into these subsets.
    """

    rejects = True
    keeps_checkpoint = True
    precision = IN_FULL

    def __init__(self, config: DictConfig, data: ClipData, split: Split) -> None:
        set_up()
        self.seed = config.seed
        self.settings = BackEndSettings.of(plain(config.backend))
        self.trainer_settings = trainer_settings(config, self.precision)
        self.data_device = config.data_device
        self.trust = trusted(config)
        fronts = list(fronts_of(config, data.store.features))
        specification = specify(config, data, split, fronts[0][1], self.precision)  # once: it reads fingerprints
        self.fronts = [
            Front(build(described, "model.network"), checked(replace(specification, network=described)), point)
            for point, described in fronts
        ]
        self.device = torch_device("cpu" if config.trainer.accelerator == "cpu" else "auto")
        self.parameters: int | None = None
        self.seconds = 0.0

    @classmethod
    def check_settings(cls, config: DictConfig, features: Features, clip_spec: ClipSpec) -> None:
        """Raises ArtistidError for settings that are invalid for a probe, whatever the data."""
        check_without_effect(config)
        if not config.get("backend"):
            raise ArtistidError(
                f"model={config.model.name} is a front and a back end: expected backend=lda, or another"
            )
        if clip_spec.whole_songs:
            raise ArtistidError(f"model={config.model.name} needs clips of one length: clip=song has whole songs")
        if clip_spec.crop:
            raise ArtistidError(f"clip.crop={clip_spec.crop} is drawn anew in each epoch, but a probe has no epochs")
        set_up()
        check_trainer(plain(config.trainer))
        BackEndSettings.of(plain(config.backend))
        for _, described in fronts_of(config, features):
            with torch.device("meta"):
                front: nn.Module = build(described, "model.network")
            check_takes(front, config.model.name, features, clip_spec)

    @classmethod
    def check_songs(cls, config: DictConfig, artists: Sequence[str], split: Split) -> None:
        """Raises ArtistidError for names that a checkpoint cannot store."""
        check_names(config, artists, split)

    def check_unchanged(self, folder: Path) -> None:
        """Nothing to check: an interrupted probe starts again."""

    def fit(self, data: ClipData, folder: Path, loggers: list[Logger], resume: bool) -> dict[str, Any]:
        """Fit fronts and back ends, and choose by validation.

        Returns:
            The choice, for the scores file; all grid points are in ``grid.csv``.
        """
        start = time.perf_counter()
        for front in self.fronts:
            learn: Learn | None = getattr(front.module, "learn", None)
            if learn is not None:
                learn((batch["features"].float() for batch in data.loader("train")), self.seed)
        self.classifier, self._validation, told = add_back_end(
            self.fronts, self.settings, data, folder, self.device, self._test
        )
        self.parameters = sum(parameter.numel() for parameter in self.classifier.network.parameters())
        self.seconds = time.perf_counter() - start
        return told

    def _test(self, classifier: ArtistClassifier, data: ClipData, subset: str) -> Predictions:
        return predict(classifier, data, subset, self.trainer_settings, self.data_device)

    def predict(self, data: ClipData, subset: str) -> Predictions:
        """The probabilities of all clips of a subset; for validation, those from before it was fitted to."""
        return self._validation if subset == "val" else self._test(self.classifier, data, subset)

    def calibrate(self, validation: Predictions, folder: Path) -> OpenSetThreshold:
        """Set the open-set threshold by the validation songs, and store it in the best checkpoint."""
        return calibrate_open_set(validation, self.classifier.specification.vote, folder, self.trust)


def fronts_of(config: DictConfig, features: Features) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The points of ``model.grid``, and the configuration of ``model.network`` at each; raises ArtistidError."""
    model = plain(config.model)
    network, grid = model["network"], model.get("grid") or {}
    if both := sorted(set(network) & set(grid)):
        raise ArtistidError(f"model.grid: {', '.join(both)} is in model.network as well, expected in one of them")
    for point in points_of(grid, "model.grid"):
        yield point, with_width({**network, **point}, features)
