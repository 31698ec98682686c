"""Train, test and report one run: ``python -m artistid.train split=album clip=3s data=folder data.root=PATH``."""

from __future__ import annotations

if __name__ == "__main__":
    from artistid.cli import run

    run("train")

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from omegaconf import DictConfig, open_dict

from artistid.config import build, check_switches, plain
from artistid.data.catalog import Catalog
from artistid.data.datamodule import ClipData
from artistid.data.duplicates import check_policy, find_leakage
from artistid.data.features import features_of
from artistid.data.splits import SUBSETS, Split
from artistid.data.splits.drawing import hold_out_artists
from artistid.data.store import Store
from artistid.errors import ArtistidError, counted, require_choice
from artistid.evaluation.open_set import OpenSetScores, score_open_set
from artistid.evaluation.plots import draw_results
from artistid.evaluation.predictions import Predictions
from artistid.evaluation.score_table import print_scores, print_unknown_artists, print_verification
from artistid.evaluation.scores import Score, find_metrics, levels_of, monitored_score, score_levels
from artistid.evaluation.voting import find_vote, vote
from artistid.inference.identifier import Identifier
from artistid.learning.acceleration import MEMORY_FORMATS, PLACES, device_name
from artistid.learning.dashboards import Results, log_results, log_verification
from artistid.learning.fine_tuning import check_fine_tuning
from artistid.learning.kept_verifier import keep_verifier
from artistid.learning.loggers import check_loggers, open_loggers
from artistid.learning.specification import targets_of
from artistid.learning.system import BEST, system_of
from artistid.learning.unknown_artists import compare_scores
from artistid.learning.verification import Verification, verify_unseen
from artistid.naming import condition_name, condition_of
from artistid.prepare import find_songs, limits_of, make_features
from artistid.runs.folder import RunFolder
from artistid.runs.provenance import provenance, stopwatch
from artistid.sweeps import in_sweep, record
from artistid.trust import is_within, trusted

log = logging.getLogger(__name__)


def train(config: DictConfig) -> float:
    """Train a system, test its best checkpoint and write the run folder.

    An interrupted run resumes after its last completed epoch. In a sweep, finished runs are left as they are, so that
    starting it again completes it.

    Returns:
        The validation's weighted F1, at frame level where there is one.
    """
    check_settings(config)
    folder = RunFolder(config.run_dir)
    if in_sweep() and not config.overwrite and (scores := folder.finished(config)):
        log.info("%s: finished already, left as it is", folder.path)
        record_run("skipped", config, folder, scores["test"])
        return monitored_score(scores["val"])
    with folder.begin(config.overwrite):
        return run_experiment(config, folder)


def run_experiment(config: DictConfig, folder: RunFolder) -> float:
    """Data, split, clips, system, fit, predict, score, write; see :func:`train`."""
    resume = not config.overwrite and folder.interrupted(config)
    seconds: dict[str, float] = {}
    with stopwatch(seconds, "prepare"):
        found = find_songs(config)
        known, split = draw_split(config, found.catalog)  # before hours of decoding: refuses most bad input
        require_verification(config, split)
        system_of(config).check_songs(config, split.seen(known).artists, split)
        catalog, store, left_out = make_features(config, found, features_of(config))
        if left_out:
            _, split = draw_split(config, catalog)
    catalog, unknown = hold_out_artists(catalog, plain(config)["unknown_artists"], config.seed)
    if unknown:
        log.info("unknown artists, not trained on: %s: %s", ", ".join(unknown.artists), counted(len(unknown), "song"))
    with stopwatch(seconds, "split"):
        split, leakage = find_leakage(split, catalog, store, config.split.duplicates)
        split.check(catalog)
    data = clips_of(config, catalog, split, store)
    system = system_of(config)(config, data, split)
    levels = levels_of(data.clip_spec.whole_songs)
    if resume:
        system.check_unchanged(folder.path)
    folder.write_setup(config, catalog, split, leakage, resume=resume)
    device = device_name(config.trainer.accelerator)
    opened = open_loggers(config, resume, precision=system.precision, device=device, parameters=system.parameters)
    with opened as loggers:
        training = system.fit(data, folder.path, loggers, resume)
        seconds["fit"] = system.seconds
        with stopwatch(seconds, "test"):
            predictions = {subset: system.predict(data, subset) for subset in ("val", "test")}
            open_set = system.calibrate(predictions["val"], folder.path)
            unlike = score_unknown_artists(folder, predictions["test"], unknown, data, config) if unknown else None
            verified = verify(folder, split, catalog, store, config) if split.has_unseen else None
        metrics = find_metrics(config.metrics)
        scores = {
            subset: score_levels(clips, config.vote, levels, metrics=metrics) for subset, clips in predictions.items()
        }
        folder.write_results(predictions, config.vote, scores)
        songs = vote(predictions["test"], config.vote)
        if config.figures:
            draw_results(folder.path, predictions["test"], songs, scores["test"])
        tested = data.subsets["test"], data.clip_spec.tiling, limits_of(config)
        log_results(loggers, Results(scores["test"], predictions["test"], songs, *tested, folder.path, training))
        if verified:
            log_verification(loggers, verified)

    condition = condition_of(config)
    folder.finish(
        {
            **scores,
            "condition": condition,
            "artists": list(data.artists),
            "counts": {subset: clips.counts for subset, clips in data.clips.items()},
            "left_out": left_out,
            "duplicates": leakage.plain,
            "parameters": system.parameters,
            "training": training,
            "open_set": open_set.plain() if open_set else None,
            "unknown": unlike,
            "verification": verified,
            "precision": system.precision,
            **provenance(seconds),
        }
    )
    print_scores(scores["test"], condition, folder.path)
    if verified:
        print_verification(verified)
    if unlike:
        print_unknown_artists(unlike)
    record_run("resumed" if resume else "trained", config, folder, scores["test"])
    return monitored_score(scores["val"])


def clips_of(config: DictConfig, catalog: Catalog, split: Split, store: Store) -> ClipData:
    """The clips of the artists trained on."""
    subsets = {subset: split.select(catalog, subset) for subset in SUBSETS}
    sampler = build(config.sampler, "sampler") if config.get("sampler") else None
    clip_spec = build(config.clip, "clip")
    return ClipData(subsets, store, split.seen(catalog).artists, clip_spec, config.batch_size, config.seed, sampler)


def record_run(outcome: str, config: DictConfig, folder: RunFolder, scores: Mapping[str, Score]) -> None:
    """Record the run for the summary of a sweep."""
    f1 = {level: {"f1_weighted": score["f1_weighted"]} for level, score in scores.items()}
    record(outcome, run=str(folder.path.absolute()), condition=condition_name(config), scores=f1)


def check_settings(config: DictConfig) -> None:
    """Check the settings before any work, and remove those without effect from the run; raises ArtistidError."""
    if not config.init_from:
        with open_dict(config):
            del config.init_from, config.fine_tuning
    if not config.features.stem:
        with open_dict(config.features):
            del config.features.stem, config.features.separator
    check_switches(config)
    find_vote(config.vote, trusted(config))
    find_metrics(config.metrics)
    check_policy(config.split.duplicates)
    for name, choices in (("data_device", PLACES), ("memory_format", ("auto", *MEMORY_FORMATS))):
        require_choice(name, config[name], choices)
    require_choice("temperature", config.temperature, (None, "validation"))
    system = system_of(config)
    if system.keeps_checkpoint:
        check_foreign(config)
    check_loggers(config)
    if config.unknown_artists and not system.rejects:
        raise ArtistidError(
            f"unknown_artists={plain(config)['unknown_artists']}: expected 0, since model={config.model.name} is a "
            "baseline, which has no rejection threshold"
        )
    if config.get("verification"):
        verification_of(config)
        if not system.rejects:
            raise ArtistidError(f"split=artists is for networks: model={config.model.name} has no vectors to compare")
    if "init_from" in config:
        if not system.keeps_checkpoint:
            raise ArtistidError(
                f"init_from={config.init_from} is for networks: model={config.model.name} is a baseline, which has no "
                "weights to start from"
            )
        check_fine_tuning(config)
    features = features_of(config)
    _, clip_spec = (build(config[group], group) for group in ("data", "clip"))
    split_rule(config)
    system.check_settings(config, features, clip_spec)


def check_foreign(config: DictConfig) -> None:
    """Raises ArtistidError for a network, features or a source of another package that ``trust`` does not name.

    The checkpoint names all of them, and could not be opened, not even for this run's own test.
    """
    trust = trusted(config)
    for part, targets in (
        ("model.network", targets_of(plain(config.model.network))),
        ("features", filter(None, targets_of(plain(config.features)))),
        ("data", [config.data._target_]),
    ):
        for target in targets:
            package = str(target).partition(".")[0]
            if package != "artistid" and not is_within(str(target), trust):
                raise ArtistidError(
                    f"{part} calls {target}, which is not part of artistid: its checkpoints could not be opened; if "
                    f"{package} is yours, set trust=[{package}] here and wherever they are used (docs/extending.md)"
                )


def score_unknown_artists(
    folder: RunFolder, known: Predictions, unknown: Catalog, data: ClipData, config: DictConfig
) -> dict[str, Any]:
    """How well the best checkpoint, used as for predictions, separates songs of unknown artists from the test songs.

    Returns:
        The unknown artists, their :class:`artistid.evaluation.open_set.OpenSetScores`, and those of other scores.
    """
    identifier = Identifier.from_checkpoint(folder.path / BEST, trust=trusted(config))
    store = data.store
    scores = [identifier.identify(identifier.infer(store.song(track))).score for track in unknown]
    open_set = identifier.specification.open_set_threshold()
    assert open_set is not None, "a network is calibrated before it is tested"
    songs = vote(known, config.vote)
    found: OpenSetScores = score_open_set(songs.confidence, scores, open_set)
    log.info(
        "unknown artists: AUROC %.3f of %s against %s; at the threshold %.3f, %.0f %% of the unknown and %.0f %% of "
        "the known are accepted",
        found["auroc"],
        counted(found["unknown"], "song"),
        counted(found["known"], "test song"),
        open_set.threshold,
        100 * found["unknown_accepted"],
        100 * found["known_accepted"],
    )
    by_score = compare_scores(folder.path / BEST, songs, np.array(scores), unknown, data, trusted(config))
    return {"artists": list(unknown.artists), **found, "by_score": by_score}


def verify(folder: RunFolder, split: Split, catalog: Catalog, store: Store, config: DictConfig) -> dict[str, Any]:
    """Evaluate the best checkpoint on artists not trained on, and store the best scorer in it.

    Returns:
        See :func:`artistid.learning.verification.verify_unseen`.
    """
    path, trust = folder.path / BEST, trusted(config)
    identifier = Identifier.from_checkpoint(path, trust=trust)
    verifier, told = verify_unseen(identifier, split, catalog, store, verification_of(config))
    keep_verifier(path, verifier, trust)
    folder.write_verification(told, config.figures)
    return told


def verification_of(config: DictConfig) -> Verification:
    """Build ``config.verification``; raises ArtistidError for settings that describe no scorer."""
    found = build(config.verification, "verification")
    if not isinstance(found, Verification):
        raise ArtistidError(f"verification: expected a Verification, found a {type(found).__name__}")
    return found


def require_verification(config: DictConfig, split: Split) -> None:
    """Raises ArtistidError for a split with artists not trained on, if no verification is set."""
    if split.has_unseen and not config.get("verification"):
        raise ArtistidError(
            "verification=null: expected artists, as split=artists sets it, since the split has artists not trained on"
        )


def draw_split(config: DictConfig, catalog: Catalog) -> tuple[Catalog, Split]:
    """The songs of the artists trained on, and their split, drawn from names alone and checked."""
    if len(catalog.artists) < 2:
        raise ArtistidError(f"training needs two artists or more, found only {catalog.artists[0]!r}")
    known, _ = hold_out_artists(catalog, plain(config)["unknown_artists"], config.seed)
    split: Split = split_rule(config).draw(known, config.seed)
    split.check(known)
    split.warn_of_spellings(known)
    return known, split


def split_rule(config: DictConfig) -> Any:
    """The rule that draws the split: ``config.split`` without the setting that all rules share."""
    return build({name: value for name, value in plain(config.split).items() if name != "duplicates"}, "split")
