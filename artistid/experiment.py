"""One experiment from sound to scores: the stories that ``train``, ``evaluate`` and ``prepare`` tell."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
import torch
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.environments import LightningEnvironment, SLURMEnvironment
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, open_dict
from rich.console import Console

from artistid.config import in_sweep, plain
from artistid.data.catalog import Catalog
from artistid.data.datamodule import ClipData
from artistid.data.features import LogMel
from artistid.data.splits import PARTS, Split
from artistid.data.store import Store, prepare
from artistid.errors import ArtistidError
from artistid.evaluation.predictions import Predictions
from artistid.evaluation.scores import Score, score_levels
from artistid.evaluation.tables import scores_table
from artistid.evaluation.voting import METHODS, vote
from artistid.learning.acceleration import choose_precision, device_name, set_up_process
from artistid.learning.callbacks import SongVote
from artistid.learning.classifier import ArtistClassifier
from artistid.learning.loggers import log_results, open_loggers
from artistid.learning.resuming import LastState
from artistid.learning.specification import Specification, load_checkpoint
from artistid.runs import RunFolder, provenance

log = logging.getLogger(__name__)

# A best epoch in the last tenth of all epochs allowed: training would have gone on.
UNDERTRAINED = 0.9


def train(config: DictConfig) -> float:
    """Train a network, test its best state and write the run folder.

    A run that was interrupted goes on from the end of its last epoch. In a sweep, a run that is finished already is
    left as it is: a sweep is completed by starting it again.

    Returns:
        The validation's weighted F1 at frame level.
    """
    check_settings(config)
    folder = RunFolder(config.run_dir)
    if in_sweep() and not config.overwrite and (scores := folder.finished(config)):
        log.info("%s: finished already, left as it is", folder.path)
        return scores["val"]["frame"]["f1_weighted"]
    with folder.begin(config.overwrite):
        return _train(config, folder, resume=not config.overwrite and folder.interrupted(config))


def _train(config: DictConfig, folder: RunFolder, resume: bool) -> float:
    seconds: dict[str, float] = {}
    with stopwatch(seconds, "prepare"):
        features: LogMel = instantiate(config.features)
        catalog, store, left_out = prepare_data(config, features)
    if len(catalog.artists) < 2:
        raise ArtistidError(
            f"there is one artist only, {catalog.artists[0]!r}: telling artists apart needs two or more"
        )
    split: Split = instantiate(config.split).draw(catalog, config.seed)
    split.check(catalog)
    clipping = instantiate(config.clip)
    parts = {part: split.select(catalog, part) for part in PARTS}
    data = ClipData(parts, store, catalog.artists, clipping, config.batch_size)

    quieten_lightning()
    set_up_process()
    L.seed_everything(config.seed, workers=True, verbose=False)
    trainer_settings = plain(config.trainer)
    trainer_settings["precision"] = choose_precision(config.trainer.precision, config.trainer.accelerator)
    specification = Specification(
        artists=list(catalog.artists),
        features=features.plain(),
        clip=clipping.plain(),
        network=plain(config.model.network),
        vote=config.vote,
        batch_size=config.batch_size,
        precision=trainer_settings["precision"],
        data=plain(config.data),
        split={"rule": split.rule, "seed": split.seed, "parts": dict(split.parts)},
        recordings=sorted({track.sha1 for track in parts["train"] if track.sha1}),
    )
    classifier = ArtistClassifier(specification, instantiate(config.optimizer), config.batch_norm_warm_up)
    if resume:
        check_unchanged(folder, specification)
    folder.write_setup(config, catalog, split, resume=resume)
    with open_loggers(config, resume) as loggers:
        last = LastState(folder.last)
        training = fit(classifier, data, folder, loggers, trainer_settings, config.early_stopping, last, resume)
        seconds["fit"] = last.seconds
        with stopwatch(seconds, "test"):
            predictions = {part: predict(classifier, data, part, trainer_settings) for part in ("val", "test")}
        scores = {part: score_levels(clips, config.vote) for part, clips in predictions.items()}
        folder.write_results(predictions, config.vote, scores)
        log_results(loggers, scores["test"], predictions["test"], vote(predictions["test"], config.vote))

    condition = {name: config[name].name for name in ("data", "split", "clip", "model")}
    condition |= {"seed": config.seed, "vote": config.vote}
    folder.finish(
        {
            **scores,
            "condition": condition,
            "artists": list(catalog.artists),
            "counts": {part: clips.counts for part, clips in data.clips.items()},
            "left_out": left_out,
            "parameters": sum(parameter.numel() for parameter in classifier.network.parameters()),
            "training": training,
            "precision": trainer_settings["precision"],
            **provenance(seconds),
        }
    )
    show(scores["test"], condition, folder)
    return scores["val"]["frame"]["f1_weighted"]


def prepare_data(config: DictConfig, features: LogMel) -> tuple[Catalog, Store, list[str]]:
    """The catalog of ``config.data`` and its features, made where they are missing.

    Returns:
        catalog: the tracks that are in the store.
        store: their features.
        left_out: track ids that could not be decoded (``on_error=skip``).
    """
    source = instantiate(config.data)
    found = source.catalog()
    log.info("%s: %d songs by %d artists", source.name, len(found), len(found.artists))
    folder = Path(config.cache_dir).expanduser() / source.name
    catalog, store = prepare(found, features, folder, config.workers, config.on_error)
    left_out = {track.track_id for track in found} - {track.track_id for track in catalog}
    return catalog, store, sorted(left_out)


def fit(
    classifier: ArtistClassifier,
    data: ClipData,
    folder: RunFolder,
    loggers: list[Logger],
    trainer_settings: dict[str, Any],
    early_stopping: DictConfig,
    last: LastState,
    resume: bool,
) -> dict[str, Any]:
    """Train with early stopping, from the start or from the last state, and put the best weights into ``classifier``.

    Returns:
        How training went, for the scores file.
    """
    best = ModelCheckpoint(folder.checkpoints, filename="best", monitor="val/loss", enable_version_counter=False)
    stop = EarlyStopping("val/loss", patience=early_stopping.patience)
    callbacks: list[Callback] = [SongVote(data.clips, classifier.specification.vote), stop, best, last]
    trainer = make_trainer(trainer_settings, callbacks, logger=loggers)
    log.info("training on %s in %s", device_name(), trainer_settings["precision"])
    trainer.fit(classifier, data, ckpt_path=folder.last if resume else None, weights_only=True)
    if not best.best_model_path:
        raise ArtistidError("no epoch was trained and validated to its end (trainer.*): there is nothing to test")
    checkpoint = torch.load(best.best_model_path, map_location="cpu", weights_only=True)
    classifier.load_state_dict(checkpoint["state_dict"])
    best_epoch = checkpoint["epoch"]
    if best_epoch + 1 >= UNDERTRAINED * (trainer.max_epochs or 0) and not stop.stopped_epoch:
        log.warning(
            "the best epoch, %d, is among the last of trainer.max_epochs=%s: training was cut off rather than finished",
            best_epoch,
            trainer.max_epochs,
        )
    return {
        "epochs": trainer.current_epoch,
        "best_epoch": best_epoch,  # from 0, as in metrics.csv
        "best_val_loss": float(best.best_model_score),  # type: ignore[arg-type]
        "stopped_early": bool(stop.stopped_epoch),
        "resumed_at": last.resumed_at,
    }


def check_unchanged(folder: RunFolder, specification: Specification) -> None:
    """Raises ArtistidError if an interrupted run was about other data than there are now."""
    before, _ = load_checkpoint(folder.last)
    now = specification.plain()
    if changed := [name for name, value in before.plain().items() if value != now[name]]:
        raise ArtistidError(
            f"{folder.path} holds an unfinished run that can't go on, since this has changed: {', '.join(changed)} "
            "(recordings: the training files themselves); overwrite=true starts it anew, run_dir=PATH keeps both"
        )


def predict(classifier: ArtistClassifier, data: ClipData, part: str, trainer_settings: dict[str, Any]) -> Predictions:
    """The probabilities of all clips of a part."""
    votes = SongVote({"test": data.clips[part]}, classifier.specification.vote)
    trainer = make_trainer(trainer_settings, [votes], logger=False)
    trainer.test(classifier, data.loader(part), verbose=False)
    return votes.predictions["test"]


def make_trainer(settings: dict[str, Any], callbacks: list[Callback], logger: Any) -> L.Trainer:
    """Lightning's Trainer from ``trainer.*``."""
    if settings.get("enable_progress_bar", True):
        callbacks = [*callbacks, RichProgressBar()]
    keeps = any(isinstance(callback, ModelCheckpoint) for callback in callbacks)
    # In a job of SLURM Lightning would take the job's tasks for its processes, and requeue it by itself. On one machine
    # it starts its own; on several, requeueing is the launcher's business.
    one_machine = settings.get("num_nodes", 1) == 1
    plugins: list[Any] = []
    if SLURMEnvironment.detect():
        plugins = [LightningEnvironment() if one_machine else SLURMEnvironment(auto_requeue=False)]
    try:
        return L.Trainer(**settings, enable_checkpointing=keeps, callbacks=callbacks, logger=logger, plugins=plugins)
    except (ValueError, TypeError, MisconfigurationException) as error:
        raise ArtistidError(f"trainer.*: {error}") from error


def evaluate(config: DictConfig) -> dict[str, Score]:
    """Score a trained network, on its own test tracks or on another catalog of the same artists.

    Returns:
        The scores of both levels.
    """
    if not config.checkpoint:
        raise ArtistidError("checkpoint=PATH is missing: the best.ckpt of a run folder")
    classifier = ArtistClassifier.from_checkpoint(config.checkpoint)
    specification = classifier.specification
    elsewhere = config.get("data") is not None
    if not elsewhere:
        with open_dict(config):
            config.data = specification.data
    config.vote = config.vote or specification.vote
    config.part = config.part or ("all" if elsewhere else "test")
    check_vote(config.vote)
    if config.part not in (*PARTS, "all"):
        raise ArtistidError(f"part={config.part!r} is none of {', '.join(PARTS)}, all")
    path = Path(config.checkpoint).expanduser().resolve()
    in_run = path.parent.name == RunFolder.checkpoints_name
    beside = RunFolder(path.parent.parent if in_run else path.parent).evaluations
    folder = RunFolder(config.run_dir or beside / f"{path.stem}-{config.data.name}-{config.part}-{config.vote}")
    with folder.begin(config.overwrite):
        return _evaluate(config, classifier, folder)


def _evaluate(config: DictConfig, classifier: ArtistClassifier, folder: RunFolder) -> dict[str, Score]:
    specification, part = classifier.specification, config.part
    seconds: dict[str, float] = {}
    catalog, store, left_out = prepare_data(config, specification.log_mel())
    if part != "all":
        catalog = Split(**specification.split).select(catalog, part)
        if not len(catalog):
            raise ArtistidError(
                f"none of the tracks of data={config.data.name} is in part={part} of the network's split"
            )
    trained_on = set(specification.recordings)
    seen = [track.track_id for track in catalog if track.sha1 in trained_on]
    if seen and part != "train":
        log.warning(
            "the network was trained on %d of these %d recordings: %s", len(seen), len(catalog), ", ".join(seen)
        )
    data = ClipData({part: catalog}, store, specification.artists, specification.clipping(), specification.batch_size)
    folder.write_setup(config, catalog, None)

    quieten_lightning()
    set_up_process()
    trainer_settings = plain(config.trainer)
    if trainer_settings["precision"] == "auto":
        trainer_settings["precision"] = specification.precision
    with stopwatch(seconds, "test"):
        predictions = predict(classifier, data, part, trainer_settings)
    scores = score_levels(predictions, config.vote)
    folder.write_results({"test": predictions}, config.vote, {"test": scores})
    condition = {"checkpoint": str(config.checkpoint), "data": config.data.name, "part": part, "vote": config.vote}
    folder.finish(
        {
            "test": scores,
            "condition": condition,
            "artists": specification.artists,
            "counts": {part: data.clips[part].counts},
            "left_out": left_out,
            "seen_in_training": seen,
            "precision": trainer_settings["precision"],
            **provenance(seconds),
        }
    )
    show(scores, condition, folder)
    return scores


def quieten_lightning() -> None:
    """Lightning tells of every trainer what it found, and recommends; what matters of it is in our own log."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*does not have many workers.*")  # the loaders need none, see ClipData
    warnings.filterwarnings("ignore", ".*treespec.*is deprecated.*")  # between Lightning and torch
    warnings.filterwarnings("ignore", ".*Experiment logs directory .* exists.*")  # our run folder, of course
    warnings.filterwarnings("ignore", ".*`srun` command is available.*")  # a cluster's login node, see make_trainer
    warnings.filterwarnings("ignore", ".*Checkpoint directory .* exists.*")


def check_settings(config: DictConfig) -> None:
    """Before the work, not after it; raises ArtistidError."""
    check_vote(config.vote)
    for name, lowest, highest in (("seed", 0, 2**32 - 1), ("batch_size", 1, 2**31)):
        value = config[name]
        if not isinstance(value, int) or not lowest <= value <= highest:
            raise ArtistidError(f"{name}={value}: expected a whole number from {lowest} to {highest}")
    if not isinstance(config.early_stopping.patience, int) or config.early_stopping.patience < 1:
        raise ArtistidError(f"early_stopping.patience={config.early_stopping.patience}: expected 1 epoch or more")


def check_vote(method: str) -> None:
    """Raises ArtistidError for an unknown vote."""
    if method not in METHODS:
        raise ArtistidError(f"vote={method!r} is none of {', '.join(METHODS)}")


@rank_zero_only
def show(scores: dict[str, Score], condition: dict[str, Any], folder: RunFolder) -> None:
    """Print the table that a run ends with."""
    console = Console()
    console.print(scores_table(scores, " ".join(f"{name}={value}" for name, value in condition.items())))
    console.print(f"everything behind these numbers: {folder.path}", soft_wrap=True, highlight=False)


@contextmanager
def stopwatch(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Write down how many seconds a stage takes."""
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start
