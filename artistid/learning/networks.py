"""Networks as systems of the study: trained, stopped early, resumed and tested by Lightning (paper III-E)."""

from __future__ import annotations

import logging
import os
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.environments import LightningEnvironment, SLURMEnvironment
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig
from torch import nn

from artistid.config import build, plain
from artistid.data.clips import ClipSpec
from artistid.data.datamodule import ClipData
from artistid.data.features import Features
from artistid.data.recordings import kept_fingerprints
from artistid.data.splits import Split
from artistid.errors import ArtistidError, require_choice
from artistid.evaluation.open_set import OpenSetThreshold, calibrate
from artistid.evaluation.predictions import Predictions
from artistid.evaluation.scores import LEVELS, find_metrics
from artistid.evaluation.voting import vote
from artistid.learning.acceleration import (
    cache_on_device,
    choose_memory_format,
    choose_precision,
    device_name,
    set_up_process,
)
from artistid.learning.archive import load_archive, readable
from artistid.learning.augmentation import Augmentations
from artistid.learning.callbacks import SongVote
from artistid.learning.classifier import ArtistClassifier, make_optimizer
from artistid.learning.fine_tuning import Pretrained, StopOnceThawed, Thawing, stages_of, thaw_epochs
from artistid.learning.resuming import LastState, WholeCheckpoints, save_whole
from artistid.learning.scheduling import Scheduling, check_scheduler, mode_of
from artistid.learning.specification import (
    CHECKPOINT_KEY,
    NOTHING_BEFORE,
    Specification,
    load_checkpoint,
    named,
    with_width,
)
from artistid.learning.system import BEST, CHECKPOINTS, LAST
from artistid.models.published.base import Published
from artistid.settings import first_line
from artistid.trust import Trust, check_plain, trusted

log = logging.getLogger(__name__)

# A best epoch in the last tenth of all epochs allowed: training would have gone on.
UNDERTRAINED = 0.9


# Settings of the trainer of which 0 would leave nothing to be chosen by validation, or to be tested.
NEEDED_OF_TRAINER = ("max_epochs", "max_steps", "limit_train_batches", "limit_val_batches", "limit_test_batches")


class NetworkSystem:
    """A network that learns to name artists.

    Args:
        config: ``model``, ``augment``, ``loss``, ``optimizer``, ``scheduler``, ``callbacks``, ``trainer`` and the other
            settings of ``train``.
        data: the clips of all subsets.
        split: that the subsets are of.

    Attributes:
        extra_callbacks: more callbacks of training, for whoever measures it.

    Raises:
        ArtistidError: settings that don't fit together.
    """

    rejects = True
    keeps_checkpoint = True
    extra_callbacks: tuple[Callback, ...] = ()

    def __init__(self, config: DictConfig, data: ClipData, split: Split) -> None:
        set_up()
        L.seed_everything(config.seed, workers=True, verbose=False)
        self.trainer_settings = plain(config.trainer)
        self.precision: str = choose_precision(config.trainer.precision, config.trainer.accelerator)
        self.trainer_settings["precision"] = self.precision
        self.trust = trusted(config)
        self.data_device = config.data_device
        self.patience = config.early_stopping.patience
        self.monitor: str = config.monitor
        self.metrics = find_metrics(config.metrics)
        self.callbacks = named_parts(config, "callbacks", Callback)
        self.scheduler: dict[str, Any] = plain(config)["scheduler"] if config.get("scheduler") else {}
        pretrained = Pretrained.of(config) if config.get("init_from") else None
        self.specification = Specification(
            artists=list(data.artists),
            features=data.store.features.description(),
            clip=data.clip_spec.plain(),
            network=with_width(plain(config.model.network), data.store.features),
            vote=config.vote,
            batch_size=config.batch_size,
            precision=self.precision,
            data=plain(config.data),
            split={"rule": split.rule, "seed": split.seed, "subsets": dict(split.subsets)},
            recordings=sorted({track.sha1 for track in data.subsets["train"] if track.sha1}),
            pretrained_from=pretrained.plain() if pretrained else None,
            fingerprints=kept_fingerprints(data.subsets["train"], data.store),
        )
        check_plain(self.specification.plain(), "what a checkpoint is to keep")
        self.specification.check()
        self.memory_format = choose_memory_format(config.memory_format, config.trainer.accelerator)
        augmentations = named_parts(config, "augment", nn.Module)
        self.classifier = ArtistClassifier(
            self.specification,
            build(config.optimizer, "optimizer"),
            build(config.loss, "loss"),
            Augmentations(augmentations, len(data.artists)) if augmentations else None,
            config.batch_norm_warm_up,
            self.memory_format,
        )
        for part in self.classifier.network.modules():
            if isinstance(part, Published):
                part.load()
        self.thawing: Thawing | None = None
        self.begun_with: dict[str, Any] = {}
        if pretrained:
            settings = plain(config.fine_tuning)
            network = self.classifier.network
            epochs = thaw_epochs(settings["thaw"], list(stages_of(network)))
            pretrained.hand_over(network, self.specification, settings["head"])
            self.thawing = Thawing(epochs, settings["lr_factor"], settings["batch_norm"])
            told = {name: value for name, value in pretrained.plain().items() if name not in NOTHING_BEFORE}
            self.begun_with = {
                **told,
                "thawed_at": epochs,
                "seen_in_pretraining": pretrained.recordings_seen(data.subsets, data.store),
            }
        self.parameters: int | None = sum(parameter.numel() for parameter in self.classifier.network.parameters())
        self.seconds = 0.0

    @classmethod
    def check_settings(cls, config: DictConfig, features: Features, clip_spec: ClipSpec) -> None:
        """Raises ArtistidError for settings of which no network can be built and trained, whatever the data."""
        if clip_spec.whole_songs:
            raise ArtistidError(
                f"model={config.model.name} is given batches of clips, all of one length: clip={clip_spec.name} "
                "has whole songs"
            )
        set_up()
        settings = plain(config.trainer)
        for name in NEEDED_OF_TRAINER:
            if settings.get(name) == 0 and not settings.get("fast_dev_run"):
                raise ArtistidError(f"trainer.{name}={settings[name]} leaves nothing to train, to validate or to test")
        check_trainer(settings)
        make_optimizer(build(config.optimizer, "optimizer"), [nn.Parameter(torch.zeros(1))])
        check_learning(config)
        described = with_width(plain(config.model.network), features)
        with torch.device("meta"):
            network: nn.Module = build(described, "model.network", n_artists=2)
        check_takes(network, config.model.name, features, clip_spec)

    def check_unchanged(self, folder: Path) -> None:
        """Raises ArtistidError if an interrupted run was about other data than there are now."""
        before, _ = load_checkpoint(folder / LAST, self.trust)
        then, now = (_without_fingerprints(specification.plain()) for specification in (before, self.specification))
        if changed := [name for name, value in then.items() if value != now[name]]:
            raise ArtistidError(
                f"{folder} holds an unfinished run that can't go on, since this has changed: "
                f"{', '.join(changed)} (recordings: the training files themselves); overwrite=true starts it anew, "
                "run_dir=PATH keeps both"
            )

    def fit(self, data: ClipData, folder: Path, loggers: list[Logger], resume: bool) -> dict[str, Any]:
        """Train with early stopping, from the start or from the last state, and take the best weights.

        Returns:
            How training went, for the scores file.
        """
        mode = mode_of(self.monitor)
        best = ModelCheckpoint(
            folder / CHECKPOINTS, filename="best", monitor=self.monitor, mode=mode, enable_version_counter=False
        )
        stop = EarlyStopping(self.monitor, patience=self.patience, mode=mode)
        last = LastState(folder / LAST, self.trust)
        votes = SongVote(data.clips, self.specification.vote, self.metrics)
        callbacks: list[Callback] = [*self.extra_callbacks, votes, *self.callbacks]
        if self.thawing:
            stop = StopOnceThawed(self.monitor, self.patience, mode, begin=self.thawing.last_epoch)
            callbacks.append(self.thawing)
        if self.scheduler:
            callbacks.append(Scheduling(self.scheduler, self.monitor))
        callbacks += [stop, best, last]
        trainer = make_trainer(self.trainer_settings, callbacks, logger=loggers)
        cache_on_device(data, trainer.strategy.root_device, self.data_device)
        if self.thawing:
            self.thawing.check(trainer)
        log.info("training on %s in %s, %s", device_name(), self.precision, self.memory_format.replace("_", " "))
        with readable(folder / LAST, named(folder / LAST), self.trust) if resume else nullcontext():
            trainer.fit(self.classifier, data, ckpt_path=folder / LAST if resume else None, weights_only=True)
        self.seconds = last.seconds
        if not best.best_model_path:
            raise ArtistidError("no epoch was trained and validated to its end (trainer.*): there is nothing to test")
        path = Path(best.best_model_path)
        checkpoint = load_archive(path, named(path), self.trust)
        self.classifier.load_state_dict(checkpoint["state_dict"])
        best_epoch = checkpoint["epoch"]
        if best_epoch + 1 >= UNDERTRAINED * (trainer.max_epochs or 0) and not stop.stopped_epoch:
            log.warning(
                "the best epoch, %d, is among the last of trainer.max_epochs=%s: training was cut off rather than "
                "finished",
                best_epoch,
                trainer.max_epochs,
            )
        return {
            "epochs": last.epochs,
            "best_epoch": best_epoch,  # from 0, as in metrics.csv
            "best_val_loss": last.curves[best_epoch]["val/loss"],
            "stopped_early": bool(stop.stopped_epoch),
            "resumed_at": last.resumed_at,
            **({"init_from": self.begun_with} if self.begun_with else {}),
        }

    def predict(self, data: ClipData, subset: str) -> Predictions:
        """The probabilities of all clips of a subset."""
        return predict(self.classifier, data, subset, self.trainer_settings, self.data_device)

    def calibrate(self, validation: Predictions, folder: Path) -> OpenSetThreshold:
        """When a song is by none of the artists, by the validation's songs; kept in the best checkpoint."""
        open_set = calibrate(vote(validation, self.specification.vote).confidence)
        log.info("none of them: below %.3f, by %d validation songs", open_set.threshold, open_set.n_songs)
        keep_open_set(folder / BEST, open_set, self.trust)
        return open_set


def check_takes(network: nn.Module, name: str, features: Features, clip_spec: ClipSpec) -> None:
    """Raises ArtistidError unless a network without memory (on torch's device ``meta``) can be given such clips."""
    shape = (2, features.width, clip_spec.rows(features) or 1)
    try:
        with torch.no_grad():
            network.eval()(torch.empty(shape, device="meta"))
    except NotImplementedError:  # an operation that knows no meta: it is seen when it is trained
        return
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise ArtistidError(
            f"model={name} cannot be given features={features.name} in clips of clip={clip_spec.name}, "
            f"{shape[1:]} (width, rows): {first_line(error)}"
        ) from error


def named_parts(config: DictConfig, group: str, kind: type) -> list[Any]:
    """What a group of the configuration has by name, in its order; raises ArtistidError for what is no ``kind``."""
    parts = {name: build(settings, f"{group}.{name}") for name, settings in (config.get(group) or {}).items()}
    for name, part in parts.items():
        if not isinstance(part, kind):
            raise ArtistidError(f"{group}.{name} is a {type(part).__name__}, expected a {kind.__name__}")
    return list(parts.values())


def check_learning(config: DictConfig) -> None:
    """Raises ArtistidError for augmentations, a loss, a scheduler, callbacks or a metric that training cannot use."""
    known = ["val/loss", *(f"val/{level}/{name}" for level in LEVELS for name in find_metrics(config.metrics))]
    require_choice("monitor", config.monitor, known)
    if config.get("scheduler"):
        if config.get("init_from"):
            raise ArtistidError(
                "scheduler: the rates of stages that thaw one after the other follow no schedule; with init_from "
                "expected scheduler=null"
            )
        check_scheduler(plain(config)["scheduler"], config.monitor)
    named_parts(config, "callbacks", Callback)
    augment = Augmentations(named_parts(config, "augment", nn.Module), 2)
    loss = build(config.loss, "loss")
    label = torch.tensor([0, 1])
    try:
        loss(torch.zeros(2, 2), label)
    except Exception as error:  # one of any package may be named
        raise ArtistidError(f"loss.*: {first_line(error)}") from error
    try:
        augment(torch.zeros(2, 128, 32), label)
    except Exception as error:
        raise ArtistidError(f"augment.*: {first_line(error)}") from error


def _without_fingerprints(settings: dict[str, Any]) -> dict[str, Any]:
    """Those of a specification; fingerprints follow from the recordings, and runs of before have none."""
    pretrained_from = settings["pretrained_from"] and {**settings["pretrained_from"], "fingerprints": None}
    return {**settings, "fingerprints": None, "pretrained_from": pretrained_from}


@rank_zero_only
def keep_open_set(path: Path, open_set: OpenSetThreshold, trust: Trust = ()) -> None:
    """Write into a checkpoint when a song is by none of its artists."""
    checkpoint = load_archive(path, named(path), trust)
    checkpoint[CHECKPOINT_KEY]["open_set"] = open_set.plain()
    save_whole(checkpoint, path)


def predict(
    classifier: ArtistClassifier,
    data: ClipData,
    subset: str,
    trainer_settings: dict[str, Any],
    data_device: str = "auto",
) -> Predictions:
    """The probabilities of all clips of a subset."""
    votes = SongVote({"test": data.clips[subset]}, classifier.specification.vote)
    trainer = make_trainer(trainer_settings, [votes], logger=False)
    cache_on_device(data, trainer.strategy.root_device, data_device)
    trainer.test(classifier, data.loader(subset), verbose=False)
    return votes.predictions["test"]


def check_trainer(settings: dict[str, Any]) -> None:
    """Raises ArtistidError for settings of which no trainer can be made here; ``auto`` as precision is any."""
    precision = settings.get("precision", "auto")
    tried = {**settings, "precision": "32-true" if precision == "auto" else precision, "enable_progress_bar": False}
    trainer = make_trainer(tried, [], logger=False)
    cores = os.cpu_count() or 1
    if isinstance(trainer.accelerator, CPUAccelerator) and trainer.num_devices > cores:
        raise ArtistidError(f"trainer.devices={settings['devices']}: each is a process, and there are {cores} cores")


def make_trainer(settings: dict[str, Any], callbacks: list[Callback], logger: Any) -> L.Trainer:
    """Lightning's Trainer from ``trainer.*``."""
    if settings.get("enable_progress_bar", True):
        callbacks = [*callbacks, RichProgressBar()]
    keeps = any(isinstance(callback, ModelCheckpoint) for callback in callbacks)
    # In a job of SLURM Lightning would take the job's tasks for its processes, and requeue it by itself. On one machine
    # it starts its own; on several, requeueing is the launcher's business.
    one_machine = settings.get("num_nodes", 1) == 1
    plugins: list[Any] = [WholeCheckpoints()]
    if SLURMEnvironment.detect():
        plugins += [LightningEnvironment() if one_machine else SLURMEnvironment(auto_requeue=False)]
    try:
        return L.Trainer(**settings, enable_checkpointing=keeps, callbacks=callbacks, logger=logger, plugins=plugins)
    except Exception as error:  # Lightning asserts some, and looks others up
        raise ArtistidError(f"trainer.*: {first_line(error)}") from error


def set_up() -> None:
    """Once per process, before networks are trained or tested.

    Lightning tells of every trainer what it found, and recommends; what matters of it is in our own log.
    """
    set_up_process()
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.pytorch.profilers").setLevel(logging.INFO)  # what trainer.profiler was asked for
    warnings.filterwarnings("ignore", ".*does not have many workers.*")  # the loaders need none, see ClipData
    warnings.filterwarnings("ignore", ".*treespec.*is deprecated.*")  # between Lightning and torch
    warnings.filterwarnings("ignore", ".*`srun` command is available.*")  # a cluster's login node, see make_trainer
    warnings.filterwarnings("ignore", ".*Checkpoint directory .* exists.*")
