"""Fine-tuning: a network starts from another one's weights, and its stages are unfrozen one after the other.

Gradual unfreezing and lower learning rates for pretrained stages follow Howard & Ruder, "Universal language model
fine-tuning for text classification", ACL 2018.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

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


def stages_of(network: nn.Module) -> dict[str, nn.Module]:
    """The stages of a network: parts that thaw together, by name.

    A network that can be fine-tuned has them as ``stages``, from the input to the head, the layer that is replaced.

    Returns:
        From the head to the input.

    Raises:
        ArtistidError: the network does not define any.
    """
    stages: Mapping[str, nn.Module] | None = getattr(network, "stages", None)
    if stages is None:
        raise ArtistidError(
            f"{type(network).__name__} has no property stages, which names the parts that thaw together, from the "
            "input to the head: it cannot be trained with init_from"
        )
    return dict(reversed(list(stages.items())))


@dataclass(frozen=True, eq=False)
class Pretrained:
    """A checkpoint to start from, whose labels are artists or anything else, such as genres.

    Attributes:
        path: as in ``init_from``.
        specification: of the checkpoint.
        weights: of its network, by parameter name.
        sha256: of the file; for a saved folder, of its weights file.
    """

    path: str
    specification: Specification
    weights: Mapping[str, torch.Tensor]
    sha256: str

    @classmethod
    def of(cls, config: DictConfig) -> Pretrained:
        """Load the checkpoint that ``config.init_from`` names.

        Raises:
            ArtistidError: no file, not a checkpoint, or one that does not fit the model or its features.
        """
        path = expanded(str(config.init_from))
        if path.resolve().is_relative_to((expanded(config.run_dir) / CHECKPOINTS).resolve()):
            raise ArtistidError(
                f"init_from={config.init_from} is in run_dir={config.run_dir}, where the run would overwrite it"
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
            raise ArtistidError(f"init_from={path} was trained on other features: {_in_words('features', different)}")
        try:
            network = network_of(specification, weights, named(path), trusted(config))
        except ArtistidError as error:
            raise ArtistidError(f"init_from: {error}") from error
        weights = {name: value.clone() for name, value in network.state_dict().items()}  # the file may be overwritten
        return cls(str(config.init_from), specification, weights, _sha256(path))

    def plain(self) -> dict[str, Any]:
        """For the specification of the fine-tuned network."""
        return {
            "checkpoint": self.path,
            "sha256": self.sha256,
            "data": self.specification.data.get("name"),
            "artists": self.specification.artists,
            **self.specification.heard(),
        }

    def recordings_seen(self, subsets: Mapping[str, Catalog], store: Store) -> dict[str, list[str]]:
        """Track ids in validation and test that it was trained on, under any label; logs a warning for them."""
        pretraining = self.specification.heard()
        heard = Recordings(pretraining["recordings"], pretraining["fingerprints"], self.specification.build_features())
        heard.warn_if_deaf("init_from")
        seen = {subset: heard.among(subsets[subset], store) for subset in ("val", "test")}
        for subset, track_ids in seen.items():
            if track_ids:
                log.warning(
                    "%s: init_from was trained on %d of %s tested, so scores are optimistic: %s",
                    subset,
                    len(track_ids),
                    counted(len(subsets[subset]), "recording"),
                    ", ".join(track_ids),
                )
        return seen

    def require_artists(self, artists: Sequence[str]) -> None:
        """Raises ArtistidError unless these are the artists of its head, in the same order."""
        if self.specification.artists != list(artists):
            others = sorted(set(self.specification.artists) ^ set(artists))
            raise ArtistidError(
                f"fine_tuning.head=keep needs the artists of init_from={self.path}; {len(others)} are in only one of "
                f"the two: {abbreviate(others)}; fine_tuning.head=fresh takes any"
            )

    def hand_over(self, network: nn.Module, now: Specification, head: str) -> None:
        """Load these weights into a network; where ``head`` is ``fresh``, it keeps its own last layer.

        Args:
            network: as built from its specification.
            now: that specification.
            head: ``fresh`` or ``keep``.

        Raises:
            ArtistidError: a network of another shape, or a kept head with other artists.
        """
        if head == "keep":
            self.require_artists(now.artists)
        self.load_into(network, now.network, _head_weights(network) if head == "fresh" else {})
        log.info(
            "starts from %s, trained on %s of %s; head: %s",
            self.path,
            counted(len(self.specification.artists), "label"),
            self.specification.data.get("name"),
            head,
        )
        there, here = (each.clip.get("frames") for each in (self.specification, now))
        if there != here:
            log.info("init_from was trained on clips of %s frames; here they have %s", there, here)

    def load_into(self, network: nn.Module, settings: Mapping[str, Any], own: Mapping[str, torch.Tensor]) -> None:
        """Load the weights, except for those in ``own``, which the network keeps.

        Raises:
            ArtistidError: the shapes differ; it names the network's ``settings`` that differ.
        """
        try:
            network.load_state_dict({**self.weights, **own})
        except RuntimeError as error:
            raise self.unfit(settings, str(error)) from error

    def unfit(self, settings: Mapping[str, Any], fault: str) -> ArtistidError:
        """The error for weights that do not fit a network: its settings that differ, or else the fault."""
        difference = _in_words("model.network", differences(self.specification.network, settings))
        return ArtistidError(f"init_from={self.path} is a network of another shape: {difference or fault}")


def _sha256(path: Path) -> str:
    with (path / WEIGHTS_FILE if path.is_dir() else path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Settings that differ, as pairs of the value there and here; None where a setting is missing."""
    return {
        name: (there.get(name), here.get(name)) for name in sorted({*there, *here}) if there.get(name) != here.get(name)
    }


def _in_words(prefix: str, different: Mapping[str, tuple[Any, Any]]) -> str:
    return "; ".join(f"{prefix}.{name} is {there} there, {here} here" for name, (there, here) in different.items())


def _head_weights(network: nn.Module) -> dict[str, torch.Tensor]:
    """The head's entries in the network's state, by their names there."""
    head = next(iter(stages_of(network).values()))
    own = {id(tensor) for tensor in head.state_dict(keep_vars=True).values()}
    return {name: tensor for name, tensor in network.state_dict(keep_vars=True).items() if id(tensor) in own}


def thaw_epochs(thaw: Any, stages: Sequence[str]) -> dict[str, int | None]:
    """The epoch, from 0, at which each stage thaws; None: never.

    Args:
        thaw: epochs from stage to stage, or the epoch of each stage by name.
        stages: names, from the head, which is never frozen, to the input.

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
    """Raises ArtistidError for faults of ``init_from`` that can be found before any music is decoded."""
    settings = config.fine_tuning
    for name, choices in (("head", HEADS), ("batch_norm", MOVING)):
        require_choice(f"fine_tuning.{name}", settings[name], choices)
    factor = settings.lr_factor
    if not isinstance(factor, int | float) or isinstance(factor, bool) or not 0 < factor < float("inf"):
        raise ArtistidError(f"fine_tuning.lr_factor={factor}: expected a number above 0")
    pretrained = Pretrained.of(config)
    n_artists = len(pretrained.specification.artists)
    # On the meta device first: the number of artists comes from an untrusted file.
    described = with_width(plain(config.model.network), features_of(config))
    if fault := misfit(described, n_artists, pretrained.weights, trusted(config)):
        raise pretrained.unfit(described, fault)
    network: nn.Module = build(described, "model.network", n_artists=n_artists)
    thaw_epochs(plain(settings)["thaw"], list(stages_of(network)))
    pretrained.load_into(network, described, {})


class Thawing(BaseFinetuning):
    """Thaws the stages of a network one after the other, from the head to the input.

    A frozen stage is in eval mode: without dropout, and with the running statistics of batch norm unchanged.
    ``batch_norm`` can change the latter: with ``all``, the statistics of frozen stages follow the new music from the
    first epoch; with ``none`` they are never updated, which may suit small batches.

    Lightning's base class calls it at the right times, and restores the optimizer's parameter groups of a resumed run.

    Args:
        epochs: by stage, see :func:`thaw_epochs`.
        lr_factor: learning rate of all other stages, as a multiple of the head's.
        batch_norm: stages whose running statistics are updated: ``thawed``, ``all`` or ``none``.
    """

    def __init__(self, epochs: Mapping[str, int | None], lr_factor: float, batch_norm: str) -> None:
        super().__init__()
        self.epochs = epochs
        self.lr_factor = lr_factor
        self.batch_norm = batch_norm

    @property
    def last_epoch(self) -> int:
        """The epoch at which the last stage thaws."""
        return max(epoch for epoch in self.epochs.values() if epoch is not None)

    def check(self, trainer: L.Trainer) -> None:
        """Before training: warns of stages that will never thaw; raises ArtistidError for several processes."""
        if (processes := trainer.num_devices * trainer.num_nodes) > 1:
            # DDP would not synchronise gradients of parameters that were frozen when it wrapped the network.
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
        # Not by the base class's freeze, which would leave batch norm normalising by each batch's statistics.
        _, *others = stages_of(pl_module.network).values()
        for stage in others:
            stage.requires_grad_(False)

    def finetune_function(self, pl_module: L.LightningModule, epoch: int, optimizer: torch.optim.Optimizer) -> None:
        """Freeze or thaw every stage as due in this epoch, also in a resumed run."""
        assert isinstance(pl_module, ArtistClassifier)
        # By identity: the base class's filter takes parameters of equal values for the same one.
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
    """Early stopping that starts once the last stage has thawed, so that every stage has at least ``patience`` epochs.

    Its best epoch is among those with all stages thawed; it does not affect which checkpoint is kept.

    Args:
        monitor: name of the metric.
        patience: epochs without a new best value.
        mode: ``min`` or ``max``, whichever is best.
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
