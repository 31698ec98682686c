"""Score a checkpoint: ``python -m artistid.evaluate checkpoint=runs/…/checkpoints/best.ckpt``."""

from __future__ import annotations

if __name__ == "__main__":
    from artistid.cli import run

    run("evaluate")

import logging
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any, NamedTuple

from omegaconf import DictConfig

from artistid.config import build, plain
from artistid.data.catalog import Catalog
from artistid.data.datamodule import ClipData, require_known_artists
from artistid.data.splits import SUBSETS, EnrolmentSplit, Split
from artistid.data.store import Store
from artistid.errors import ArtistidError, abbreviate, counted, require_choice, require_path
from artistid.evaluation.plots import draw_results
from artistid.evaluation.score_table import print_place, print_scores, print_verification
from artistid.evaluation.scores import Score, find_metrics, score_levels
from artistid.evaluation.voting import find_vote, vote
from artistid.inference.identifier import Identifier
from artistid.inference.roster import require_verifier
from artistid.learning.acceleration import device_name
from artistid.learning.classifier import ArtistClassifier
from artistid.learning.dashboards import Results, log_results, log_verification
from artistid.learning.loggers import check_loggers, open_loggers
from artistid.learning.networks import predict, set_up
from artistid.learning.specification import Specification
from artistid.learning.system import CHECKPOINTS
from artistid.learning.trainer import check_trainer, trainer_settings
from artistid.learning.verification import COSINE, Verification, verify_elsewhere
from artistid.places import below, expanded
from artistid.prepare import find_described, limits_of, make_features
from artistid.runs.folder import RunFolder
from artistid.runs.provenance import provenance, stopwatch
from artistid.settings import literal
from artistid.trust import trusted

log = logging.getLogger(__name__)


UNSEEN = "unseen"  # a ``subset``: artists not trained on, who are enrolled


def evaluate(config: DictConfig) -> dict[str, Any]:
    """Score a trained network, on its own test tracks or on another catalog.

    Returns:
        The scores of both levels; of ``subset=unseen`` see :func:`artistid.learning.verification.verify_elsewhere`.
    """
    require_path(config, "checkpoint", "the best.ckpt of a run folder")
    classifier = ArtistClassifier.from_checkpoint(config.checkpoint, trusted(config))
    specification = classifier.specification
    elsewhere = config.get("data") is not None
    data = config.data if elsewhere else specification.data
    config.vote = config.vote or specification.vote
    config.subset = config.subset or ("all" if elsewhere else "test")
    rule = build(config.unseen, "unseen") if elsewhere else None
    find_vote(config.vote, trusted(config))
    find_metrics(config.metrics)
    classifier.specification = replace(specification, vote=config.vote)  # by which it embeds clips or not
    set_up()
    check_trainer(plain(config.trainer))
    check_loggers(config)
    require_choice("subset", config.subset, (*SUBSETS, "all", UNSEEN))
    path = expanded(config.checkpoint).resolve()
    in_run = path.parent.name == CHECKPOINTS
    beside = RunFolder(path.parent.parent if in_run else path.parent).evaluations
    how = f"seed{config.seed}" if config.subset == UNSEEN else config.vote
    name = f"{path.stem}-{data.get('name')}-{config.subset}-{how}"
    folder = RunFolder(config.run_dir or below(beside, name, "data.name in the evaluation's"))
    config.run_dir = literal(str(folder.path))
    with folder.begin(config.overwrite):
        if config.subset == UNSEEN:
            return _evaluate_unseen(config, specification, folder, rule)
        return _evaluate(config, classifier, folder)


class Prepared(NamedTuple):
    """The tracks to score.

    Attributes:
        catalog, store: the tracks and their features.
        told: for ``scores.json``: files that could not be decoded, and recordings that were trained on.
    """

    catalog: Catalog
    store: Store
    told: dict[str, list[str]]


def _prepare(config: DictConfig, specification: Specification, scored: Callable[[Catalog], Catalog]) -> Prepared:
    """Find the tracks to score, compute their features, and warn of recordings that were trained on."""
    found = find_described(config, specification.data, trusted(config))
    scored(found.catalog)  # before hours of decoding, since most bad input is refused here
    prepared, store, left_out = make_features(config, found, specification.build_features())
    catalog = scored(prepared)
    trained_on, before = specification.trained_on(), specification.pretraining_recordings()
    for recordings, whose in ((trained_on, "the checkpoint"), (before, "what the checkpoint was fine-tuned from")):
        recordings.warn_if_deaf(whose)
    seen, seen_before = (recordings.among(catalog, store) for recordings in (trained_on, before))
    if seen and config.subset != "train":
        log.warning(
            "the network was trained on %d of %s tested: %s",
            *(len(seen), counted(len(catalog), "recording"), ", ".join(seen)),
        )
    if seen_before:
        log.warning(
            "before fine-tuning, under other labels, it was trained on %d of %s tested: %s",
            len(seen_before),
            counted(len(catalog), "recording"),
            ", ".join(seen_before),
        )
    told = {"left_out": left_out, "seen_in_training": seen, "seen_in_pretraining": seen_before}
    return Prepared(catalog, store, told)


def _evaluate(config: DictConfig, classifier: ArtistClassifier, folder: RunFolder) -> dict[str, Score]:
    """Score the artists that the network was trained on."""
    specification, subset = classifier.specification, config.subset
    seconds: dict[str, float] = {}
    catalog, store, told = _prepare(config, specification, lambda found: _tested(found, config, specification))
    data = ClipData(
        {subset: catalog}, store, specification.artists, specification.clip_spec(), specification.batch_size
    )
    folder.write_setup(config, catalog)

    asked = config.trainer.precision
    settings = trainer_settings(config, specification.precision if asked == "auto" else asked)
    device = device_name(config.trainer.accelerator)
    parameters = sum(parameter.numel() for parameter in classifier.network.parameters())
    opened = open_loggers(config, precision=settings["precision"], device=device, parameters=parameters)
    with opened as loggers:
        with stopwatch(seconds, "test"):
            predictions = predict(classifier, data, subset, settings)
        scores = score_levels(predictions, config.vote, metrics=find_metrics(config.metrics))
        folder.write_results({"test": predictions}, config.vote, {"test": scores})
        songs = vote(predictions, config.vote)
        if config.figures:
            draw_results(folder.path, predictions, songs, scores)
        tested = catalog, specification.clip_spec().tiling, limits_of(config)
        log_results(loggers, Results(scores, predictions, songs, *tested, folder.path, training={}))
    condition = _condition(config)
    folder.finish(
        {
            "test": scores,
            "condition": condition,
            "artists": specification.artists,
            "counts": {subset: data.clips[subset].counts},
            **told,
            "precision": settings["precision"],
            **provenance(seconds),
        }
    )
    print_scores(scores, condition, folder.path)
    return scores


def _evaluate_unseen(
    config: DictConfig, specification: Specification, folder: RunFolder, rule: EnrolmentSplit | None
) -> dict[str, Any]:
    """Score artists not trained on; the rule decides who is enrolled, None: the network's own split."""
    identifier = Identifier.from_checkpoint(config.checkpoint, trust=trusted(config))
    trained = {*specification.artists, *require_verifier(identifier).names}
    seconds: dict[str, float] = {}

    def enrolment(found: Catalog) -> Split:
        return _drawn(found, rule, config.seed, trained) if rule else _of_training(found, specification)

    def scored(found: Catalog) -> Catalog:
        subsets = enrolment(found).subsets
        return Catalog(track for track in found if track.track_id in subsets)

    catalog, store, told = _prepare(config, specification, scored)
    split = enrolment(catalog)
    folder.write_setup(config, catalog, split)
    with open_loggers(config) as loggers, stopwatch(seconds, "test"):
        settings = Verification(scorers={COSINE: None}, draws=config.draws)
        verified = verify_elsewhere(identifier, split, catalog, store, settings)
        log_verification(loggers, verified)
    folder.write_verification(verified, config.figures)
    scores = {"condition": _condition(config), "artists": list(catalog.artists), "verification": verified}
    folder.finish({**scores, **told, **provenance(seconds)})
    print_verification(verified)
    print_place(folder.path)
    return verified


def _condition(config: DictConfig) -> dict[str, str]:
    """What identifies an evaluation."""
    condition = {"checkpoint": str(config.checkpoint), "data": config.data.name, "subset": config.subset}
    return condition if config.subset == UNSEEN else {**condition, "vote": config.vote}


def _of_training(catalog: Catalog, specification: Specification) -> Split:
    """The artists that the network's own split enrols for the test; raises ArtistidError if there are none."""
    split = Split(**specification.split) if specification.split else Split({}, "", 0)
    tested = {
        track.track_id: subset
        for track in catalog
        if (subset := split.subsets.get(track.track_id)) in ("enrol", "claims")
    }
    if not tested:
        raise ArtistidError(
            "subset=unseen: expected a checkpoint of split=artists, or data= of other artists; found no artists in the "
            "network's own data that it was not trained on"
        )
    return replace(split, subsets=tested)


def _drawn(catalog: Catalog, rule: EnrolmentSplit, seed: int, trained: Collection[str]) -> Split:
    """Draw a split of artists; none may have been trained on or used to calibrate the verifier."""
    if known := [artist for artist in catalog.artists if artist in trained]:
        raise ArtistidError(
            f"subset=unseen: the network was trained on {len(known)} of {counted(len(catalog.artists), 'artist')}: "
            f"{abbreviate(known)}; data.artists=[…] names those to use"
        )
    return rule.draw(catalog, seed)


def _tested(catalog: Catalog, config: DictConfig, specification: Specification) -> Catalog:
    """The tracks to test; raises ArtistidError if there are none, or some are by unknown artists."""
    subset = config.subset
    if subset != "all":
        if not specification.split:
            raise ArtistidError("the checkpoint does not say how its data was split: only subset=all is possible")
        catalog = Split(**specification.split).select(catalog, subset)
        if not len(catalog):
            raise ArtistidError(
                f"none of the tracks of data={config.data.name} is in subset={subset} of the network's split"
            )
    require_known_artists(catalog, specification.artists, subset)
    return catalog
