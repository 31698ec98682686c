"""The interface of a system of the study, a network or a baseline, and the places of its files in a run folder."""

from __future__ import annotations

import pydoc
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig

from artistid.data.clips import ClipSpec
from artistid.data.datamodule import ClipData
from artistid.data.features import Features
from artistid.data.splits import Split
from artistid.errors import ArtistidError
from artistid.evaluation.open_set import OpenSetThreshold
from artistid.evaluation.predictions import Predictions

# Files of a system and its loggers, below its run folder.
CHECKPOINTS = "checkpoints"
BEST = f"{CHECKPOINTS}/best.ckpt"
NETWORK = f"{CHECKPOINTS}/network.ckpt"  # the best epoch's network, where BEST adds a back end or a temperature to it
LAST = f"{CHECKPOINTS}/last.ckpt"  # the state after the last epoch, from which training can resume
METRICS = "metrics.csv"
GRID = "grid.csv"
SPLIT = "split.csv"
DASHBOARDS = ("wandb", "tensorboard")  # folders that loggers write to


class System(Protocol):
    """A system that learns to classify artists: a network or a baseline.

    Attributes:
        parameters: number of trained parameters; None where it is not meaningful.
        precision: of its computations.
        seconds: duration of fitting.
        rejects: whether it can decide that a song is by none of its artists.
        keeps_checkpoint: whether a checkpoint names its network and its source, so that they can be rebuilt.
    """

    parameters: int | None
    precision: str
    seconds: float
    rejects: bool
    keeps_checkpoint: bool

    def __init__(self, config: DictConfig, data: ClipData, split: Split) -> None: ...

    @classmethod
    def check_settings(cls, config: DictConfig, features: Features, clip_spec: ClipSpec) -> None:
        """Raises ArtistidError for settings that are invalid for the system, whatever the data."""

    @classmethod
    def check_songs(cls, config: DictConfig, artists: Sequence[str], split: Split) -> None:
        """Raises ArtistidError, before anything is decoded, for artists and songs that the system cannot learn."""

    def check_unchanged(self, folder: Path) -> None:
        """Raises ArtistidError if the data have changed since a run was interrupted."""

    def fit(self, data: ClipData, folder: Path, loggers: list[Logger], resume: bool) -> dict[str, Any]:
        """Train on the training subset, choose by validation; returns a summary for the scores file."""
        ...

    def predict(self, data: ClipData, subset: str) -> Predictions:
        """The probabilities of all clips of a subset."""
        ...

    def calibrate(self, validation: Predictions, folder: Path) -> OpenSetThreshold | None:
        """Set the open-set threshold, stored in the run's best checkpoint; None: the system has none."""
        ...


def system_of(config: DictConfig) -> type[System]:
    """The class that ``model.system`` names.

    Raises:
        ArtistidError: there is no such class.
    """
    name = config.model.system
    try:
        found = pydoc.locate(name)
    except pydoc.ErrorDuringImport as error:
        raise ArtistidError(f"model.system={name} cannot be imported: {error.value}") from error
    if not isinstance(found, type):
        raise ArtistidError(f"model.system={name}: expected the dotted name of a system's class")
    return found


# Groups that only affect systems trained by gradients; empty unless set.
OF_TRAINING = ("augment", "auxiliary", "sampler", "callbacks")


def check_without_effect(config: DictConfig, *others: str) -> None:
    """Refuse choices that would appear in a run's name but have no effect on it.

    Args:
        config: of a system that is not trained by gradients.
        others: further groups that do not affect it.

    Raises:
        ArtistidError: such a choice was made.
    """
    switches = [name for name, about in (config.get("switch") or {}).items() if about.partition(".")[0] != "clip"]
    groups = [group for group in (*OF_TRAINING, *others) if config.get(group)]
    found = f"switch=[{','.join(switches)}]" if switches else f"{groups[0]}=…" if groups else ""
    if found:
        raise ArtistidError(f"{found} has no effect on model={config.model.name}, which is not trained by gradients")
