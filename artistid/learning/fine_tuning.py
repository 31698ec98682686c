"""Fine-tuning: a network begins with what another one has learned, and its stages begin to learn one after the other.

Gradual unfreezing and slower learning of what was learned before are after Howard & Ruder, "Universal language model
fine-tuning for text classification", ACL 2018.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import lightning as L
import torch
from lightning.pytorch.callbacks import BaseFinetuning, EarlyStopping
from omegaconf import DictConfig
from torch import nn

from artistid.config import build, plain
from artistid.data.catalog import Catalog
from artistid.data.features import Features, features_of
from artistid.data.recordings import Recordings
from artistid.data.store import Store
from artistid.errors import ArtistidError, abbreviate, counted, require_choice
from artistid.learning.classifier import ArtistClassifier
from artistid.learning.specification import (
    WEIGHTS_FILE,
    Specification,
    load_checkpoint,
    misfit,
    named,
    network_of,
    with_width,
)
from artistid.learning.system import CHECKPOINTS
from artistid.places import expanded
from artistid.trust import trusted

log = logging.getLogger(__name__)

HEADS = ("fresh", "keep")
MOVING = ("thawed", "all", "none")


@runtime_checkable
class StagedNetwork(Protocol):
    """What a network must offer beyond its logits to be fine-tuned."""

    @property
    def stages(self) -> Mapping[str, nn.Module]:
        """By name what thaws together, from the input to the head, the layer that is replaced."""
        ...


def stages_of(network: nn.Module) -> dict[str, nn.Module]:
    """The stages of a network, from the head to the input; raises ArtistidError where it doesn't say them."""
    if not isinstance(network, StagedNetwork):
        raise ArtistidError(
            f"{type(network).__name__} has no property stages, which names what thaws together, from the input to the "
            "head: it cannot be trained with init_from"
        )
    return dict(reversed(list(network.stages.items())))


@dataclass(frozen=True, eq=False)
class Pretrained:
    """A checkpoint to begin with, its labels artists or anything else, such as genres.

    Attributes:
        path: as ``init_from`` gives it.
        specification: what it was trained for.
        weights: of its network, by parameter name.
        sha256: of the file; of a saved folder, of its weights.
    """

    path: str
    specification: Specification
    weights: Mapping[str, torch.Tensor]
    sha256: str

    @classmethod
    def of(cls, config: DictConfig) -> Pretrained:
        """What ``config.init_from`` names.

        Raises:
            ArtistidError: no file, no checkpoint, or one that does not fit the model or its features.
        """
        path = expanded(str(config.init_from))
        if path.resolve().is_relative_to((expanded(config.run_dir) / CHECKPOINTS).resolve()):
            raise ArtistidError(
                f"init_from={config.init_from} lies in run_dir={config.run_dir}, and the run would write over it"
            )
        try:
            specification, weights = load_checkpoint(path, trusted(config))
        except ArtistidError as error:
            raise ArtistidError(f"init_from: {error}") from error
        there, here = specification.network, plain(config.model.get("network") or {})
        if there.get("_target_") != here.get("_target_"):
            raise ArtistidError(
                f"init_from={path} is a network {there.get('_target_')}, but model={config.model.name} is "
                f"{here.get('_target_', 'no network')}"
            )
        features: Features = features_of(config)
        if different := differences(specification.build_features().description(), features.description()):
            raise ArtistidError(f"init_from={path} has learned from other features: {_in_words('features', different)}")
        try:
            network = network_of(specification, weights, named(path), trusted(config))
        except ArtistidError as error:
            raise ArtistidError(f"init_from: {error}") from error
        weights = {name: value.clone() for name, value in network.state_dict().items()}  # the file may be overwritten
        return cls(str(config.init_from), specification, weights, _sha256(path))

    def plain(self) -> dict[str, Any]:
        """For the specification of what grows from it."""
        return {
            "checkpoint": self.path,
            "sha256": self.sha256,
            "data": self.specification.data.get("name"),
            "artists": self.specification.artists,
            **self.specification.heard(),
        }

    def recordings_seen(self, subsets: Mapping[str, Catalog], store: Store) -> dict[str, list[str]]:
        """Track ids in validation and test that it was trained on, under whatever label; warns of them."""
        pretraining = self.specification.heard()
        heard = Recordings(pretraining["recordings"], pretraining["fingerprints"], self.specification.build_features())
        heard.warn_if_deaf("init_from")
        seen = {subset: heard.among(subsets[subset], store) for subset in ("val", "test")}
        for subset, track_ids in seen.items():
            if track_ids:
                log.warning(
                    "%s: init_from was trained on %d of %s tested, so that scores flatter it: %s",
                    subset,
                    len(track_ids),
                    counted(len(subsets[subset]), "recording"),
                    ", ".join(track_ids),
                )
        return seen

    def require_artists(self, artists: Sequence[str]) -> None:
        """Raises ArtistidError unless these are the artists whom its head tells apart, in its order."""
        if self.specification.artists != list(artists):
            others = sorted(set(self.specification.artists) ^ set(artists))
            raise ArtistidError(
                f"fine_tuning.head=keep needs the artists of init_from={self.path}; in one only of the two are "
                f"{len(others)}: {abbreviate(others)}; fine_tuning.head=fresh takes any"
            )

    def hand_over(self, network: nn.Module, now: Specification, head: str) -> None:
        """Give a network these weights; where ``head`` is ``fresh``, it keeps its own last layer.

        Args:
            network: as its specification builds it.
            now: that specification.
            head: ``fresh`` or ``keep``.

        Raises:
            ArtistidError: a network of another shape, or a head to keep that is of other artists.
        """
        if head == "keep":
            self.require_artists(now.artists)
        self.load_into(network, now.network, _head_weights(network) if head == "fresh" else {})
        log.info(
            "begins with %s, trained on %s of %s; head: %s",
            self.path,
            counted(len(self.specification.artists), "label"),
            self.specification.data.get("name"),
            head,
        )
        there, here = (each.clip.get("frames") for each in (self.specification, now))
        if there != here:
            log.info("init_from heard clips of %s frames; here they have %s", there, here)

    def load_into(self, network: nn.Module, settings: Mapping[str, Any], own: Mapping[str, torch.Tensor]) -> None:
        """Load the weights, but for what the network keeps of its ``own``.

        Raises:
            ArtistidError: the shapes differ; it names the ``settings`` of the network that do.
        """
        try:
            network.load_state_dict({**self.weights, **own})
        except RuntimeError as error:
            raise self.unfit(settings, str(error)) from error

    def unfit(self, settings: Mapping[str, Any], fault: str) -> ArtistidError:
        """The error of a network that the weights don't fit, by its settings where they differ, else by the fault."""
        difference = _in_words("model.network", differences(self.specification.network, settings))
        return ArtistidError(f"init_from={self.path} is a network of another shape: {difference or fault}")


def _sha256(path: Path) -> str:
    with (path / WEIGHTS_FILE if path.is_dir() else path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Values of settings that are not the same, there and here; None where a setting is missing."""
    return {
        name: (there.get(name), here.get(name)) for name in sorted({*there, *here}) if there.get(name) != here.get(name)
    }


def _in_words(prefix: str, different: Mapping[str, tuple[Any, Any]]) -> str:
    return "; ".join(f"{prefix}.{name} is {there} there, {here} here" for name, (there, here) in different.items())


def _head_weights(network: nn.Module) -> dict[str, torch.Tensor]:
    """The head's own entries in the network's state, by their names there."""
    head = next(iter(stages_of(network).values()))
    own = {id(tensor) for tensor in head.state_dict(keep_vars=True).values()}
    return {name: tensor for name, tensor in network.state_dict(keep_vars=True).items() if id(tensor) in own}


def thaw_epochs(thaw: Any, stages: Sequence[str]) -> dict[str, int | None]:
    """The epoch, from 0, with which each stage begins to learn; None: never.

    Args:
        thaw: epochs from stage to stage, or the epoch of each stage by name.
        stages: names, from the head, which learns from the start, to the input.

    Raises:
        ArtistidError: neither of the two, an unknown stage, or a stage that would thaw before one nearer the head.
    """
    head, *others = stages
    if _is_epoch(thaw):
        return {stage: number * thaw for number, stage in enumerate(stages)}
    if not isinstance(thaw, Mapping) or not all(value is None or _is_epoch(value) for value in thaw.values()):
        raise ArtistidError(
            f"fine_tuning.thaw={thaw}: expected a number of epochs, 0 or more, or the epoch of each stage, such as "
            f"{{{others[0]}: 2}}"
        )
    if unknown := sorted(set(map(str, thaw)) - set(others)):
        raise ArtistidError(
            f"fine_tuning.thaw: {', '.join(unknown)}: expected one of {', '.join(others)}, the stages behind the head"
        )
    epochs = {head: 0, **{stage: thaw.get(stage) for stage in others}}
    for (nearer, before), (stage, epoch) in pairwise(epochs.items()):
        if epoch is not None and (before is None or epoch < before):
            raise ArtistidError(
                f"fine_tuning.thaw: {stage} would thaw at epoch {epoch}, before {nearer}, which is nearer the head "
                f"({'never' if before is None else f'epoch {before}'})"
            )
    return epochs


def _is_epoch(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def check_fine_tuning(config: DictConfig) -> None:
    """Before any music is decoded, what can be known of ``init_from`` by then; raises ArtistidError."""
    settings = config.fine_tuning
    for name, choices in (("head", HEADS), ("batch_norm", MOVING)):
        require_choice(f"fine_tuning.{name}", settings[name], choices)
    factor = settings.lr_factor
    if not isinstance(factor, int | float) or isinstance(factor, bool) or not 0 < factor < float("inf"):
        raise ArtistidError(f"fine_tuning.lr_factor={factor}: expected a number above 0")
    pretrained = Pretrained.of(config)
    n_artists = len(pretrained.specification.artists)
    # Without memory first: how many artists there are is a file's word.
    described = with_width(plain(config.model.network), features_of(config))
    if fault := misfit(described, n_artists, pretrained.weights, trusted(config)):
        raise pretrained.unfit(described, fault)
    network: nn.Module = build(described, "model.network", n_artists=n_artists)
    thaw_epochs(plain(settings)["thaw"], list(stages_of(network)))
    pretrained.load_into(network, described, {})


class Thawing(BaseFinetuning):
    """Lets the stages of a network begin to learn one after the other, from the head to the input.

    A frozen stage is in eval mode: it drops nothing, and its batch norm normalises by the statistics it came with,
    which stay as they are. ``batch_norm`` says otherwise: ``all`` lets the statistics of frozen stages follow the new
    music from the first epoch, ``none`` keeps them for good, which small batches may want.

    What Lightning's callback adds: it is asked at the right times, and a run that goes on finds the optimizer's groups
    again.

    Args:
        epochs: by stage, see :func:`thaw_epochs`.
        lr_factor: of the head's learning rate, for all other stages.
        batch_norm: whose running statistics move: ``thawed``, ``all`` or ``none``.
    """

    def __init__(self, epochs: Mapping[str, int | None], lr_factor: float, batch_norm: str) -> None:
        super().__init__()
        self.epochs = epochs
        self.lr_factor = lr_factor
        self.batch_norm = batch_norm

    @property
    def last_epoch(self) -> int:
        """With which the last stage thaws that ever does."""
        return max(epoch for epoch in self.epochs.values() if epoch is not None)

    def check(self, trainer: L.Trainer) -> None:
        """Before it trains: warns of stages that will never learn; raises ArtistidError for several processes."""
        if (processes := trainer.num_devices * trainer.num_nodes) > 1:
            # What was frozen when DDP wrapped the network would learn in each process by itself.
            raise ArtistidError(
                f"init_from: a network is fine-tuned in one process, but trainer.devices={trainer.num_devices} and "
                f"trainer.num_nodes={trainer.num_nodes} make {processes}"
            )
        late = [name for name, epoch in self.epochs.items() if epoch is not None and epoch >= (trainer.max_epochs or 0)]
        if late and trainer.max_epochs != -1:
            log.warning(
                "trainer.max_epochs=%s ends before these stages thaw (fine_tuning.thaw): %s",
                trainer.max_epochs,
                ", ".join(late),
            )

    def freeze_before_training(self, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, ArtistClassifier)
        # Not by the callback's own freeze, which would leave batch norm to the statistics of each batch.
        _, *others = stages_of(pl_module.network).values()
        for stage in others:
            stage.requires_grad_(False)

    def finetune_function(self, pl_module: L.LightningModule, epoch: int, optimizer: torch.optim.Optimizer) -> None:
        """Make every stage what it should be in this epoch, also where a run goes on with it."""
        assert isinstance(pl_module, ArtistClassifier)
        # By identity: the callback's own filter takes parameters of equal values for the same one.
        learning = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        for name, stage in stages_of(pl_module.network).items():
            begins = self.epochs[name]
            thawed = begins is not None and epoch >= begins
            stage.requires_grad_(thawed).train(thawed)
            new = [parameter for parameter in stage.parameters() if thawed and id(parameter) not in learning]
            if new:
                rate = self.lr_factor * optimizer.param_groups[0]["lr"]
                optimizer.add_param_group({"params": new, "lr": rate})
                log.info("epoch %d: %s thaws, at a learning rate of %g", epoch + 1, name, rate)
        if self.batch_norm != "thawed":
            for module in pl_module.network.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.train(self.batch_norm == "all")


class StopOnceThawed(EarlyStopping):
    """Early stopping that looks away until the last stage thaws, so that every stage has ``patience`` epochs at least.

    Its best epoch is that of all stages learning; which checkpoint is kept is not its business.

    Args:
        monitor: name of the metric.
        patience: epochs without a new best value.
        mode: ``min`` or ``max``, which is best.
        begin: first epoch that counts.
    """

    def __init__(self, monitor: str, patience: int, mode: str, begin: int) -> None:
        super().__init__(monitor, patience=patience, mode=mode)
        self.begin = begin

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.current_epoch >= self.begin:
            super().on_train_epoch_end(trainer, pl_module)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.current_epoch >= self.begin:
            super().on_validation_end(trainer, pl_module)
