"""Networks as systems of the study: trained, stopped early, resumed and tested by Lightning (paper III-E)."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig
from torch import nn

from artistid.config import build, plain
from artistid.data.clips import ClipSpec
from artistid.data.datamodule import ClipData, albums_of
from artistid.data.encoder import torch_device
from artistid.data.features import Features
from artistid.data.splits import Split
from artistid.errors import ArtistidError, counted, require_choice
from artistid.evaluation.open_set import OpenSetThreshold, calibrate
from artistid.evaluation.predictions import Predictions
from artistid.evaluation.scores import LEVELS, find_metrics
from artistid.evaluation.voting import MEAN_EMBEDDING, vote
from artistid.learning.acceleration import (
    cache_on_device,
    choose_memory_format,
    choose_precision,
    device_name,
    set_up_process,
)
from artistid.learning.archive import load_archive, readable
from artistid.learning.augmentation import Augmentations
from artistid.learning.auxiliary import Auxiliaries
from artistid.learning.backends import BackEndSettings, Front, add_back_end, heard_of, save_classifier
from artistid.learning.calibrating import around, calibrated
from artistid.learning.callbacks import SongVote, ValidatedEnd
from artistid.learning.classifier import ArtistClassifier, make_optimizer
from artistid.learning.fine_tuning import Pretrained, StopOnceThawed, Thawing, stages_of, thaw_epochs
from artistid.learning.resuming import LastState, save_whole
from artistid.learning.scheduling import RateLog, Scheduling, check_scheduler, mode_of
from artistid.learning.specification import (
    CHECKPOINT_KEY,
    NOTHING_BEFORE,
    Specification,
    load_checkpoint,
    named,
    with_width,
)
from artistid.learning.system import BEST, CHECKPOINTS, LAST, NETWORK
from artistid.learning.trainer import check_trainer, make_trainer, sentences, trainer_settings
from artistid.models.embedding import ToBottleneck, require_bottleneck
from artistid.models.published.base import Published
from artistid.settings import first_line
from artistid.trust import Trust, check_plain, trusted

log = logging.getLogger(__name__)

# With the best epoch in the last tenth of all epochs allowed, training was probably cut off.
UNDERTRAINED = 0.9
# Share of the highest learning rate at or below which a schedule counts as finished.
ANNEALED = 0.1
IN_FULL = "32-true"  # the precision of a back end's input

KEPT = "the content of a checkpoint"


class NetworkSystem:
    """A network that learns to classify artists.

    Args:
        config: ``model``, ``augment``, ``loss``, ``auxiliary``, ``optimizer``, ``scheduler``, ``callbacks``,
            ``trainer`` and the other settings of ``train``.
        data: the clips of all subsets.
        split: the split into these subsets.

    Attributes:
        extra_callbacks: more callbacks of training, for benchmarks.

    Raises:
        ArtistidError: settings that don't fit together.
    """

    rejects = True
    keeps_checkpoint = True
    extra_callbacks: tuple[Callback, ...] = ()

    def __init__(self, config: DictConfig, data: ClipData, split: Split) -> None:
        set_up()
        L.seed_everything(config.seed, workers=True, verbose=False)
        self.precision: str = choose_precision(config.trainer.precision, config.trainer.accelerator)
        self.trainer_settings = trainer_settings(config, self.precision)
        self.trust = trusted(config)
        self.data_device = config.data_device
        self.patience = config.early_stopping.patience
        self.monitor: str = config.monitor
        self.metrics = find_metrics(config.metrics)
        self.callbacks = list(named_parts(config, "callbacks", Callback).values())
        self.back_end = BackEndSettings.of(plain(config.backend)) if config.get("backend") else None
        self.temperature: str | None = config.temperature
        self._validation: Predictions | None = None  # kept where a back end is fitted after it
        self.scheduler: dict[str, Any] = plain(config)["scheduler"] if config.get("scheduler") else {}
        pretrained = Pretrained.of(config) if config.get("init_from") else None
        described = with_width(plain(config.model.network), data.store.features)
        self.specification = specify(config, data, split, described, self.precision, pretrained)
        self.memory_format = choose_memory_format(config.memory_format, config.trainer.accelerator)
        features = data.store.features
        augmentations = named_parts(config, "augment", nn.Module).values()
        network = self.specification.build()  # before anything else draws: a seed always gives the same weights
        artist_of_album = [data.artists.index(artist) for artist, _ in albums_of(data.subsets["train"])]
        self.classifier = ArtistClassifier(
            self.specification,
            build(optimizer_for(config, self.precision), "optimizer"),
            build(config.loss, "loss"),
            Augmentations(augmentations, len(data.artists), features) if augmentations else None,
            make_auxiliaries(config, features, data.clip_spec, artist_of_album),
            config.batch_norm_warm_up,
            self.memory_format,
            network,
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
            lineage = {name: value for name, value in pretrained.plain().items() if name not in NOTHING_BEFORE}
            self.begun_with = {
                **lineage,
                "thawed_at": epochs,
                "seen_in_pretraining": pretrained.recordings_seen(data.subsets, data.store),
            }
        self.parameters: int | None = sum(parameter.numel() for parameter in self.classifier.network.parameters())
        self.seconds = 0.0

    @classmethod
    def check_settings(cls, config: DictConfig, features: Features, clip_spec: ClipSpec) -> None:
        """Raises ArtistidError for settings with which no network can be built and trained, whatever the data."""
        if clip_spec.whole_songs:
            raise ArtistidError(
                f"model={config.model.name} is given batches of clips, all of one length: clip={clip_spec.name} "
                "has whole songs"
            )
        set_up()
        check_trainer(plain(config.trainer))
        make_optimizer(build(config.optimizer, "optimizer"), [nn.Parameter(torch.zeros(1))])
        network = without_memory(config, features)
        if config.get("backend"):
            BackEndSettings.of(plain(config.backend))
        if config.get("backend") or config.get("verification") or config.vote == MEAN_EMBEDDING:
            require_bottleneck(network)
        check_takes(network, config.model.name, features, clip_spec)
        check_learning(config, features, clip_spec, network)

    @classmethod
    def check_songs(cls, config: DictConfig, artists: Sequence[str], split: Split) -> None:
        """Raises ArtistidError for names that a checkpoint cannot store, or a kept head with other artists."""
        check_names(config, artists, split)
        if config.get("init_from") and config.fine_tuning.head == "keep":
            Pretrained.of(config).require_artists(artists)

    def check_unchanged(self, folder: Path) -> None:
        """Raises ArtistidError if the data have changed since a run was interrupted."""
        before, _ = load_checkpoint(folder / LAST, self.trust)
        then, now = (_without_fingerprints(specification.plain()) for specification in (before, self.specification))
        if changed := [name for name, value in then.items() if value != now[name]]:
            raise ArtistidError(
                f"{folder} holds an unfinished run that cannot be resumed, since this has changed: "
                f"{', '.join(changed)} (recordings: the training files themselves); overwrite=true starts again, "
                "run_dir=PATH keeps both"
            )

    def fit(self, data: ClipData, folder: Path, loggers: list[Logger], resume: bool) -> dict[str, Any]:
        """Train with early stopping, from the start or from the last state, and load the best weights.

        Returns:
            How training went, for the scores file.
        """
        mode = mode_of(self.monitor)
        name = Path(NETWORK if self.back_end or self.temperature else BEST).stem
        best = ModelCheckpoint(
            folder / CHECKPOINTS, filename=name, monitor=self.monitor, mode=mode, enable_version_counter=False
        )
        stop = EarlyStopping(self.monitor, patience=self.patience, mode=mode)
        last = LastState(folder / LAST, self.trust)
        votes = SongVote(data.clips, self.specification.vote, self.metrics)
        callbacks: list[Callback] = [*self.extra_callbacks, votes, ValidatedEnd(), RateLog(), *self.callbacks]
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
        device = device_name(self.trainer_settings["accelerator"])
        log.info("training on %s in %s, %s", device, self.precision, self.memory_format.replace("_", " "))
        reading = readable(folder / LAST, named(folder / LAST), self.trust) if resume else nullcontext()
        with sentences(), reading:
            trainer.fit(self.classifier, data, ckpt_path=folder / LAST if resume else None, weights_only=True)
        self.seconds = last.seconds
        if not best.best_model_path:
            raise ArtistidError("no epoch was trained and validated in full (trainer.*): there is nothing to test")
        path = Path(best.best_model_path)
        checkpoint = load_archive(path, named(path), self.trust)
        self.classifier.load_state_dict(checkpoint["state_dict"])
        best_epoch = checkpoint["epoch"]
        late = best_epoch + 1 >= UNDERTRAINED * (trainer.max_epochs or 0)
        if late and not stop.stopped_epoch and not annealed(last.curves):
            log.warning(
                "the best epoch, %d, is among the last of trainer.max_epochs=%s: training was cut off rather than "
                "finished",
                best_epoch + 1,
                trainer.max_epochs,
            )
        return {
            "epochs": last.epochs,
            "best_epoch": best_epoch,  # from 0, as in metrics.csv
            "best_val_loss": last.curves[best_epoch]["val/loss"],
            "stopped_early": bool(stop.stopped_epoch),
            "resumed_at": last.resumed_at,
            **({"init_from": self.begun_with} if self.begun_with else {}),
            **self._complete(data, folder),
        }

    def _complete(self, data: ClipData, folder: Path) -> dict[str, Any]:
        """Fit a back end or a temperature after training, if asked for, and add it to the best checkpoint.

        Returns:
            What was chosen, for the scores file.
        """
        network, specification = self.classifier.network, self.specification
        if self.back_end:
            self.trainer_settings["precision"] = IN_FULL
            described = replace(specification, network=around(ToBottleneck, specification), precision=IN_FULL)
            front = Front(ToBottleneck(network), described)
            device = torch_device("cpu" if self.trainer_settings["accelerator"] == "cpu" else "auto")
            self.classifier, self._validation, told = add_back_end(
                [front], self.back_end, data, folder, device, self._test
            )
            return told
        if self.temperature:
            network, specification = calibrated(network, specification, self.predict(data, "val"))
            self.classifier = ArtistClassifier(specification, memory_format=self.memory_format, network=network)
            save_classifier(self.classifier, folder / BEST)
            return {"temperature": network.temperature.item()}
        return {}

    def _test(self, classifier: ArtistClassifier, data: ClipData, subset: str) -> Predictions:
        return predict(classifier, data, subset, self.trainer_settings, self.data_device)

    def predict(self, data: ClipData, subset: str) -> Predictions:
        """The probabilities of all clips of a subset; for validation, those from before a back end was fitted to it."""
        if subset == "val" and self._validation:
            return self._validation
        return self._test(self.classifier, data, subset)

    def calibrate(self, validation: Predictions, folder: Path) -> OpenSetThreshold:
        """Set the open-set threshold by the validation songs, and store it in the best checkpoint."""
        return calibrate_open_set(validation, self.specification.vote, folder, self.trust)


def specify(
    config: DictConfig,
    data: ClipData,
    split: Split,
    network: dict[str, Any],
    precision: str,
    pretrained: Pretrained | None = None,
) -> Specification:
    """The specification for the checkpoints of a run.

    Raises:
        ArtistidError: settings that no checkpoint can store.
    """
    return checked(
        Specification(
            artists=list(data.artists),
            features=data.store.features.description(),
            clip=data.clip_spec.plain(),
            network=network,
            vote=config.vote,
            batch_size=config.batch_size,
            precision=precision,
            data=plain(config.data),
            split=split.plain(),
            pretrained_from=pretrained.plain() if pretrained else None,
            **heard_of(data.subsets["train"], data.store),
        )
    )


def checked(specification: Specification) -> Specification:
    """The specification; raises ArtistidError for settings that no checkpoint can store."""
    check_plain(specification.plain(), KEPT)
    specification.check()
    return specification


def check_names(config: DictConfig, artists: Sequence[str], split: Split) -> None:
    """Raises ArtistidError for names of artists, songs or files that no checkpoint can store."""
    check_plain({"artists": list(artists), "data": plain(config.data), "split": split.plain()}, KEPT)


def calibrate_open_set(validation: Predictions, method: str, folder: Path, trust: Trust) -> OpenSetThreshold:
    """Set the open-set threshold by the validation songs, and store it in the run's best checkpoint."""
    open_set = calibrate(vote(validation, method).confidence)
    songs = counted(open_set.n_songs, "validation song")
    log.info("none of them: below %.3f, by %s", open_set.threshold, songs)
    keep_open_set(folder / BEST, open_set, trust)
    return open_set


def check_takes(network: nn.Module, name: str, features: Features, clip_spec: ClipSpec) -> None:
    """Raises ArtistidError unless a network, on torch's device ``meta``, can process such clips."""
    shape = shape_of(features, clip_spec)
    try:
        with torch.no_grad():
            network(torch.empty(shape, device="meta"))
    except NotImplementedError:  # an operation without meta support: errors show in training
        return
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise ArtistidError(
            f"model={name} cannot be given features={features.name} in clips of clip={clip_spec.name}, "
            f"{shape[1:]} (width, rows): {first_line(error)}"
        ) from error


def annealed(curves: Sequence[Mapping[str, float]]) -> bool:
    """Whether a schedule has reduced the learning rate so far that more epochs would change little."""
    rates = [epoch["train/lr"] for epoch in curves if "train/lr" in epoch]
    return bool(rates) and rates[-1] <= ANNEALED * max(rates)


def optimizer_for(config: DictConfig, precision: str) -> dict[str, Any]:
    """The settings of the optimizer, not fused where gradients are clipped in a mixed precision.

    There Lightning assumes that a fused optimizer unscales gradients itself, and refuses to clip them.
    """
    settings: dict[str, Any] = plain(config.optimizer)
    clipped = bool(config.trainer.get("gradient_clip_val")) and precision.endswith("-mixed")
    return {**settings, "fused": False} if clipped and settings.get("fused") else settings


def without_memory(config: DictConfig, features: Features, n_artists: int = 2) -> nn.Module:
    """The network on torch's device ``meta``, in evaluation mode; raises ArtistidError where it cannot be built."""
    described = with_width(plain(config.model.network), features)
    with torch.device("meta"):
        network: nn.Module = build(described, "model.network", n_artists=n_artists)
    return network.eval()


def named_parts(config: DictConfig, group: str, kind: type, **arguments: Any) -> dict[str, Any]:
    """Build the parts of a group of the configuration, by name, in order.

    Args:
        config, group: the group's settings are ``config.group``.
        kind: their required type; raises ArtistidError for others.
        arguments: constructor arguments besides their settings.
    """
    settings = config.get(group) or {}
    parts = {name: build(described, f"{group}.{name}", **arguments) for name, described in settings.items()}
    for name, part in parts.items():
        if not isinstance(part, kind):
            raise ArtistidError(f"{group}.{name} is a {type(part).__name__}, expected a {kind.__name__}")
    return parts


def make_auxiliaries(
    config: DictConfig, features: Features, clip_spec: ClipSpec, artist_of_album: Sequence[int]
) -> Auxiliaries | None:
    """The auxiliary losses of ``config.auxiliary``; None where there are none.

    Args:
        config: of the run.
        features, clip_spec: the network's input.
        artist_of_album: label of each training album.

    Raises:
        ArtistidError: invalid settings, or a network without a bottleneck.
    """
    if not config.get("auxiliary"):
        return None
    network = require_bottleneck(without_memory(config, features), "auxiliary")
    with torch.no_grad():
        units = network.bottleneck(torch.empty(shape_of(features, clip_spec), device="meta")).shape[1]
    albums = torch.tensor(artist_of_album, dtype=torch.int64)
    return Auxiliaries(named_parts(config, "auxiliary", nn.Module, units=units, artist_of_album=albums))


def shape_of(features: Features, clip_spec: ClipSpec) -> tuple[int, int, int]:
    """The shape of a batch of two clips."""
    return 2, features.width, clip_spec.rows(features) or 1


def check_learning(config: DictConfig, features: Features, clip_spec: ClipSpec, network: nn.Module) -> None:
    """Raises ArtistidError for augmentations, losses, a scheduler, callbacks or a metric that training cannot use.

    Args:
        config: of the run.
        features, clip_spec: the network's input.
        network: on torch's device ``meta``.
    """
    known = ["val/loss", *(f"val/{level}/{name}" for level in LEVELS for name in find_metrics(config.metrics))]
    require_choice("monitor", config.monitor, known)
    if config.get("scheduler"):
        if config.get("init_from"):
            raise ArtistidError(
                "scheduler: with init_from, stages thaw one after the other at rates of their own; expected "
                "scheduler=null"
            )
        check_scheduler(plain(config)["scheduler"], config.monitor)
    named_parts(config, "callbacks", Callback)
    augment = Augmentations(named_parts(config, "augment", nn.Module).values(), 2, features)
    loss = build(config.loss, "loss")
    if hasattr(loss, "check_network"):
        loss.check_network(network)
    label = torch.tensor([0, 1])
    try:
        loss(torch.zeros(2, 2), label)
    except Exception as error:  # one of any package may be named
        raise ArtistidError(f"loss.*: {first_line(error)}") from error
    try:
        augment(torch.zeros(shape_of(features, clip_spec)), label)
    except Exception as error:
        raise ArtistidError(f"augment.*: {first_line(error)}") from error
    if make_auxiliaries(config, features, clip_spec, [0, 0, 1]) and augment.mixes:
        raise ArtistidError("auxiliary losses need clips of one artist each, but augment=… mixes several artists")


def _without_fingerprints(settings: dict[str, Any]) -> dict[str, Any]:
    """A specification's settings without fingerprints, which follow from the recordings; older runs have none."""
    pretrained_from = settings["pretrained_from"] and {**settings["pretrained_from"], "fingerprints": None}
    return {**settings, "fingerprints": None, "pretrained_from": pretrained_from}


@rank_zero_only
def keep_open_set(path: Path, open_set: OpenSetThreshold, trust: Trust = ()) -> None:
    """Write an open-set threshold into a checkpoint."""
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
    trainer = make_trainer(trainer_settings, [votes], logger=False, subset=subset)
    cache_on_device(data, trainer.strategy.root_device, data_device)
    with sentences():
        trainer.test(classifier, data.loader(subset), verbose=False)
    return votes.predictions["test"]


def set_up() -> None:
    """Called once per process, before networks are trained or tested.

    Silences Lightning's messages and recommendations for every trainer; what matters is logged by this package.
    """
    set_up_process()
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.pytorch.profilers").setLevel(logging.INFO)  # the output of trainer.profiler
    warnings.filterwarnings("ignore", ".*does not have many workers.*")  # the loaders need none, see ClipData
    warnings.filterwarnings("ignore", ".*in eval mode at the start of training.*")  # intended for frozen blocks
    warnings.filterwarnings("ignore", ".*treespec.*is deprecated.*")  # between Lightning and torch
    warnings.filterwarnings("ignore", ".*`srun` command is available.*")  # a cluster's login node, see make_trainer
    warnings.filterwarnings("ignore", ".*Checkpoint directory .* exists.*")
