"""One experiment from sound to scores: the stories that ``train`` and ``evaluate`` tell."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, open_dict

from artistid.config import build, in_sweep, plain
from artistid.data.catalog import Catalog
from artistid.data.clips import ClipSpec
from artistid.data.datamodule import ClipData
from artistid.data.duplicates import Leakage, check_policy, find_leakage
from artistid.data.features import Features
from artistid.data.song import SongFeatures
from artistid.data.splits import SUBSETS, Split
from artistid.data.store import Store
from artistid.data.unknown import hold_out_artists
from artistid.errors import ArtistidError
from artistid.evaluation.open_set import OpenSetScores, OpenSetThreshold, max_softmax_probability, score_open_set
from artistid.evaluation.predictions import Predictions
from artistid.evaluation.scores import Score, levels_of, monitored_score, score_levels
from artistid.evaluation.tables import scores_table
from artistid.evaluation.votes import METHODS
from artistid.evaluation.voting import vote
from artistid.inference.identifier import Identifier
from artistid.learning.acceleration import MEMORY_FORMATS, PLACES
from artistid.learning.baselines import Baseline
from artistid.learning.classifier import ArtistClassifier
from artistid.learning.fine_tuning import check_fine_tuning
from artistid.learning.loggers import check_loggers, log_results, open_loggers
from artistid.learning.networks import Network, check_trainer, predict, set_up
from artistid.learning.specification import targets_of
from artistid.places import below, expanded
from artistid.preparation import prepare_data, prepare_described
from artistid.runs import RunFolder, condition_of, provenance
from artistid.terminal import Console
from artistid.trust import is_within, trusted

log = logging.getLogger(__name__)


class System(Protocol):
    """What learns to name artists: a network or a baseline.

    Attributes:
        parameters: number of trained ones; None where that says nothing.
        precision: in which it computes.
        seconds: that fitting took.
    """

    parameters: int | None
    precision: str
    seconds: float

    def __init__(self, config: DictConfig, data: ClipData, split: Split) -> None: ...

    @classmethod
    def check_settings(cls, config: DictConfig, features: Features, clip_spec: ClipSpec) -> None:
        """Raises ArtistidError for settings of which no such system can be made, whatever the data."""

    def check_unchanged(self, folder: RunFolder) -> None:
        """Raises ArtistidError if an interrupted run was about other data than there are now."""

    def fit(self, data: ClipData, folder: RunFolder, loggers: list[Logger], resume: bool) -> dict[str, Any]:
        """Learn from the training subset, choose by validation; returns how it went, for the scores file."""
        ...

    def predict(self, data: ClipData, subset: str) -> Predictions:
        """The probabilities of all clips of a subset."""
        ...

    def calibrate(self, validation: Predictions, folder: RunFolder) -> OpenSetThreshold | None:
        """When a song is by none of the artists, kept in the run's best checkpoint; None: the system cannot say."""
        ...


def train(config: DictConfig) -> float:
    """Train a system, test it at its best and write the run folder.

    A run that was interrupted goes on from the end of its last epoch. In a sweep, a run that is finished already is
    left as it is: a sweep is completed by starting it again.

    Returns:
        The validation's weighted F1, at frame level where there is one.
    """
    check_settings(config)
    folder = RunFolder(config.run_dir)
    if in_sweep() and not config.overwrite and (scores := folder.finished(config)):
        log.info("%s: finished already, left as it is", folder.path)
        return monitored_score(scores["val"])
    with folder.begin(config.overwrite):
        return _train(config, folder, resume=not config.overwrite and folder.interrupted(config))


def _train(config: DictConfig, folder: RunFolder, resume: bool) -> float:
    seconds: dict[str, float] = {}
    with stopwatch(seconds, "prepare"):
        catalog, store, left_out = prepare_data(config, build(config.features, "features"))
    if len(catalog.artists) < 2:
        raise ArtistidError(
            f"there is one artist only, {catalog.artists[0]!r}: telling artists apart needs two or more"
        )
    catalog, unknown = hold_out_artists(catalog, plain(config)["unknown_artists"], config.seed)
    if unknown:
        log.info("unknown artists, not trained on: %s: %d songs", ", ".join(unknown.artists), len(unknown))
    with stopwatch(seconds, "split"):
        split, leakage = draw_split(config, catalog, store)
    clip_spec = build(config.clip, "clip")
    subsets = {subset: split.select(catalog, subset) for subset in SUBSETS}
    data = ClipData(subsets, store, catalog.artists, clip_spec, config.batch_size)
    system = learner_of(config)(config, data, split)
    levels = levels_of(clip_spec.whole_songs)
    if resume:
        system.check_unchanged(folder)
    folder.write_setup(config, catalog, split, leakage, resume=resume)
    with open_loggers(config, resume) as loggers:
        training = system.fit(data, folder, loggers, resume)
        seconds["fit"] = system.seconds
        with stopwatch(seconds, "test"):
            predictions = {subset: system.predict(data, subset) for subset in ("val", "test")}
            open_set = system.calibrate(predictions["val"], folder)
            unlike = score_unknown_artists(folder, predictions["test"], unknown, store, config) if unknown else None
        scores = {subset: score_levels(clips, config.vote, levels) for subset, clips in predictions.items()}
        folder.write_results(predictions, config.vote, scores)
        log_results(loggers, scores["test"], predictions["test"], vote(predictions["test"], config.vote))

    condition = condition_of(config)
    folder.finish(
        {
            **scores,
            "condition": condition,
            "artists": list(catalog.artists),
            "counts": {subset: clips.counts for subset, clips in data.clips.items()},
            "left_out": left_out,
            "duplicates": leakage.plain,
            "parameters": system.parameters,
            "training": training,
            "open_set": open_set.plain() if open_set else None,
            "unknown": unlike,
            "precision": system.precision,
            **provenance(seconds),
        }
    )
    show(scores["test"], condition, folder)
    return monitored_score(scores["val"])


def score_unknown_artists(
    folder: RunFolder, known: Predictions, unknown: Catalog, store: Store, config: DictConfig
) -> dict[str, Any]:
    """How the best checkpoint, at work, tells songs of unknown artists from the test songs.

    Returns:
        The unknown artists, and their :class:`artistid.evaluation.open_set.OpenSetScores`.
    """
    identifier = Identifier.from_checkpoint(folder.checkpoints / "best.ckpt", trust=trusted(config))
    sounds = (
        SongFeatures(
            track.track_id, store.track(track.track_id), store.entries[track.track_id].pad_value, track.duration_s or 0
        )
        for track in unknown
    )
    scores = [identifier.identify(identifier.infer(sound)).score for sound in sounds]
    open_set = identifier.specification.open_set_threshold()
    assert open_set is not None, "a network is calibrated before it is tested"
    found: OpenSetScores = score_open_set(
        max_softmax_probability(vote(known, config.vote).probability), scores, open_set
    )
    log.info(
        "unknown artists: AUROC %.3f of %d songs against %d test songs; at the threshold %.3f, %.0f %% of the unknown "
        "and %.0f %% of the known are accepted",
        found["auroc"],
        found["unknown"],
        found["known"],
        open_set.threshold,
        100 * found["unknown_accepted"],
        100 * found["known_accepted"],
    )
    return {"artists": list(unknown.artists), **found}


def draw_split(config: DictConfig, catalog: Catalog, store: Store) -> tuple[Split, Leakage]:
    """The split that ``config.split`` draws, checked, and the recordings that it has in two subsets."""
    split = split_rule(config).draw(catalog, config.seed)
    split, leakage = find_leakage(split, catalog, store, config.split.duplicates)
    split.check(catalog)
    return split, leakage


def split_rule(config: DictConfig) -> Any:
    """What draws the split: ``config.split`` without what concerns every rule."""
    return build({name: value for name, value in plain(config.split).items() if name != "duplicates"}, "split")


def evaluate(config: DictConfig) -> dict[str, Score]:
    """Score a trained network, on its own test tracks or on another catalog of the same artists.

    Returns:
        The scores of both levels.
    """
    if not config.checkpoint:
        raise ArtistidError("checkpoint=PATH is missing: the best.ckpt of a run folder")
    classifier = ArtistClassifier.from_checkpoint(config.checkpoint, trusted(config))
    specification = classifier.specification
    elsewhere = config.get("data") is not None
    data = config.data if elsewhere else specification.data
    config.vote = config.vote or specification.vote
    config.subset = config.subset or ("all" if elsewhere else "test")
    check_vote(config.vote)
    set_up()
    check_trainer(plain(config.trainer))
    if config.subset not in (*SUBSETS, "all"):
        raise ArtistidError(f"subset={config.subset!r} is none of {', '.join(SUBSETS)}, all")
    path = expanded(config.checkpoint).resolve()
    in_run = path.parent.name == RunFolder.checkpoints_name
    beside = RunFolder(path.parent.parent if in_run else path.parent).evaluations
    name = f"{path.stem}-{data.get('name')}-{config.subset}-{config.vote}"
    folder = RunFolder(config.run_dir or below(beside, name, "data.name in the evaluation's"))
    with folder.begin(config.overwrite):
        return _evaluate(config, classifier, folder)


def _evaluate(config: DictConfig, classifier: ArtistClassifier, folder: RunFolder) -> dict[str, Score]:
    specification, subset = classifier.specification, config.subset
    seconds: dict[str, float] = {}
    catalog, store, left_out = prepare_described(config, specification.data, specification.log_mel(), trusted(config))
    if subset != "all":
        if not specification.split:
            raise ArtistidError(
                f"the checkpoint does not say how its data was split: subset={subset} is not known, all is"
            )
        catalog = Split(**specification.split).select(catalog, subset)
        if not len(catalog):
            raise ArtistidError(
                f"none of the tracks of data={config.data.name} is in subset={subset} of the network's split"
            )
    trained_on, before = specification.trained_on(), specification.pretraining_recordings()
    for recordings, whose in ((trained_on, "the checkpoint"), (before, "what the checkpoint grew from")):
        recordings.warn_if_deaf(whose)
    seen = trained_on.among(catalog, store)
    if seen and subset != "train":
        log.warning(
            "the network was trained on %d of these %d recordings: %s", len(seen), len(catalog), ", ".join(seen)
        )
    seen_before = before.among(catalog, store)
    if seen_before:
        log.warning(
            "before fine-tuning, under other labels, it was trained on %d of these %d recordings: %s",
            len(seen_before),
            len(catalog),
            ", ".join(seen_before),
        )
    data = ClipData(
        {subset: catalog}, store, specification.artists, specification.clip_spec(), specification.batch_size
    )
    folder.write_setup(config, catalog)

    trainer_settings = plain(config.trainer)
    if trainer_settings["precision"] == "auto":
        trainer_settings["precision"] = specification.precision
    with stopwatch(seconds, "test"):
        predictions = predict(classifier, data, subset, trainer_settings)
    scores = score_levels(predictions, config.vote)
    folder.write_results({"test": predictions}, config.vote, {"test": scores})
    condition = {"checkpoint": str(config.checkpoint), "data": config.data.name, "subset": subset, "vote": config.vote}
    folder.finish(
        {
            "test": scores,
            "condition": condition,
            "artists": specification.artists,
            "counts": {subset: data.clips[subset].counts},
            "left_out": left_out,
            "seen_in_training": seen,
            "seen_in_pretraining": seen_before,
            "precision": trainer_settings["precision"],
            **provenance(seconds),
        }
    )
    show(scores, condition, folder)
    return scores


def check_settings(config: DictConfig) -> None:
    """Before the work, not after it; raises ArtistidError. What has no effect is then no setting of the run."""
    if not config.init_from:
        with open_dict(config):
            del config.init_from, config.fine_tuning
    check_vote(config.vote)
    check_policy(config.split.duplicates)
    for name, choices in (("data_device", PLACES), ("memory_format", ("auto", *MEMORY_FORMATS))):
        if config[name] not in choices:
            raise ArtistidError(f"{name}={config[name]} is none of {', '.join(choices)}")
    check_foreign(config)
    check_loggers(config)
    check_unknown(plain(config)["unknown_artists"], "estimator" in config.model, config.model.name)
    if "init_from" in config:
        check_fine_tuning(config)
    features, _, clip_spec = (build(config[subset], subset) for subset in ("features", "data", "clip"))
    split_rule(config)
    learner_of(config).check_settings(config, features, clip_spec)


def learner_of(config: DictConfig) -> type[System]:
    """The kind of system that ``model`` describes."""
    return Baseline if "estimator" in config.model else Network


def check_foreign(config: DictConfig) -> None:
    """Raises ArtistidError for a network or a source of another package that ``trust`` does not name.

    Both go into the checkpoint by name, and whoever opens it would be refused, this run's own test included.
    """
    trust = trusted(config)
    if "estimator" in config.model:  # which leaves no checkpoint
        return
    for subset, targets in (
        ("model.network", targets_of(plain(config.model.network))),
        ("data", [config.data._target_]),
    ):
        for target in targets:
            package = str(target).partition(".")[0]
            if package != "artistid" and not is_within(str(target), trust):
                raise ArtistidError(
                    f"{subset} calls {target}, which is no part of artistid: its checkpoints could not be opened; if "
                    f"{package} is yours, say trust=[{package}] here and wherever they are used (docs/own-network.md)"
                )


def check_unknown(unknown: Any, is_baseline: bool, model: str) -> None:
    """Raises ArtistidError for unknown artists of a baseline."""
    if unknown and is_baseline:
        raise ArtistidError(
            f"unknown_artists={unknown}: model={model} is a baseline, which knows no threshold; a network does"
        )


def check_vote(method: str) -> None:
    """Raises ArtistidError for an unknown vote."""
    if method not in METHODS:
        raise ArtistidError(f"vote={method!r} is none of {', '.join(METHODS)}")


@rank_zero_only
def show(scores: dict[str, Score], condition: dict[str, Any], folder: RunFolder) -> None:
    """Print the table that a run ends with."""
    console = Console()
    if "fold" in condition:
        console.print("one fold of a jackknife; python -m artistid.report scores its folds together")
    console.print(scores_table(scores, " ".join(f"{name}={value}" for name, value in condition.items())))
    console.print(f"everything behind these numbers: {folder.path}", soft_wrap=True, highlight=False)


@contextmanager
def stopwatch(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Write down how many seconds a stage takes."""
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start
