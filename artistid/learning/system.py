"""What a system of the study is, a network or a baseline, and where its files lie in a run folder."""

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
NETWORK = f"{CHECKPOINTS}/network.ckpt"  # the best as it was trained, where the former has a back end or a temperature
LAST = f"{CHECKPOINTS}/last.ckpt"  # the state after the last epoch, from which training can go on
METRICS = "metrics.csv"
GRID = "grid.csv"
SPLIT = "split.csv"
DASHBOARDS = ("wandb", "tensorboard")  # folders of loggers' records


class System(Protocol):
    """What learns to name artists: a network or a baseline.

    Attributes:
        parameters: number of trained ones; None where that says nothing.
        precision: in which it computes.
        seconds: that fitting took.
        rejects: whether it can say that a song is by none of its artists.
        keeps_checkpoint: whether its network and its source are named in a checkpoint, to be built again.
    """

    parameters: int | None
    precision: str
    seconds: float
    rejects: bool
    keeps_checkpoint: bool

    def __init__(self, config: DictConfig, data: ClipData, split: Split) -> None: ...

    @classmethod
    def check_settings(cls, config: DictConfig, features: Features, clip_spec: ClipSpec) -> None:
        """Raises ArtistidError for settings of which no such system can be made, whatever the data."""

    @classmethod
    def check_songs(cls, config: DictConfig, artists: Sequence[str], split: Split) -> None:
        """Raises ArtistidError for artists and songs that no such system can learn, before any is decoded."""

    def check_unchanged(self, folder: Path) -> None:
        """Raises ArtistidError if an interrupted run was about other data than there are now."""

    def fit(self, data: ClipData, folder: Path, loggers: list[Logger], resume: bool) -> dict[str, Any]:
        """Learn from the training subset, choose by validation; returns how it went, for the scores file."""
        ...

    def predict(self, data: ClipData, subset: str) -> Predictions:
        """The probabilities of all clips of a subset."""
        ...

    def calibrate(self, validation: Predictions, folder: Path) -> OpenSetThreshold | None:
        """When a song is by none of the artists, kept in the run's best checkpoint; None: the system cannot say."""
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
        raise ArtistidError(f"model.system={name}: expected the dotted name of a class that is a system")
    return found


# Groups that only what is trained by gradients has a use for; without a choice but where one is asked for.
OF_TRAINING = ("augment", "auxiliary", "sampler", "callbacks")


def check_without_effect(config: DictConfig, *others: str) -> None:
    """Refuse choices that would name a run and do nothing in it.

    Args:
        config: of a system that is not trained by gradients.
        others: groups that it has no use for either.

    Raises:
        ArtistidError: there is such a choice.
    """
    switches = [name for name, about in (config.get("switch") or {}).items() if about.partition(".")[0] != "clip"]
    groups = [group for group in (*OF_TRAINING, *others) if config.get(group)]
    found = f"switch=[{','.join(switches)}]" if switches else f"{groups[0]}=…" if groups else ""
    if found:
        raise ArtistidError(f"{found} has no effect on model={config.model.name}, which is not trained by gradients")
