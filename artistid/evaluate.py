"""Score a checkpoint: ``python -m artistid.evaluate checkpoint=runs/…/checkpoints/best.ckpt``."""

from __future__ import annotations

if __name__ == "__main__":
    from artistid.cli import run

    run("evaluate")

import logging
from dataclasses import replace

from omegaconf import DictConfig

from artistid.config import plain
from artistid.data.catalog import Catalog
from artistid.data.datamodule import ClipData, require_known_artists
from artistid.data.splits import SUBSETS, Split
from artistid.errors import ArtistidError, counted, require_choice, require_path
from artistid.evaluation.plots import draw_results
from artistid.evaluation.score_table import print_scores
from artistid.evaluation.scores import Score, find_metrics, score_levels
from artistid.evaluation.voting import find_vote, vote
from artistid.learning.acceleration import device_name
from artistid.learning.classifier import ArtistClassifier
from artistid.learning.dashboards import Results, log_results
from artistid.learning.loggers import check_loggers, open_loggers
from artistid.learning.networks import predict, set_up
from artistid.learning.specification import Specification
from artistid.learning.system import CHECKPOINTS
from artistid.learning.trainer import check_trainer, trainer_settings
from artistid.places import below, expanded
from artistid.prepare import find_described, limits_of, make_features
from artistid.runs.folder import RunFolder
from artistid.runs.provenance import provenance, stopwatch
from artistid.settings import literal
from artistid.trust import trusted

log = logging.getLogger(__name__)


def evaluate(config: DictConfig) -> dict[str, Score]:
    """Score a trained network, on its own test tracks or on another catalog of the same artists.

    Returns:
        The scores of both levels.
    """
    require_path(config, "checkpoint", "the best.ckpt of a run folder")
    classifier = ArtistClassifier.from_checkpoint(config.checkpoint, trusted(config))
    specification = classifier.specification
    elsewhere = config.get("data") is not None
    data = config.data if elsewhere else specification.data
    config.vote = config.vote or specification.vote
    config.subset = config.subset or ("all" if elsewhere else "test")
    find_vote(config.vote, trusted(config))
    find_metrics(config.metrics)
    classifier.specification = replace(specification, vote=config.vote)  # which says what is to be heard
    set_up()
    check_trainer(plain(config.trainer))
    check_loggers(config)
    require_choice("subset", config.subset, (*SUBSETS, "all"))
    path = expanded(config.checkpoint).resolve()
    in_run = path.parent.name == CHECKPOINTS
    beside = RunFolder(path.parent.parent if in_run else path.parent).evaluations
    name = f"{path.stem}-{data.get('name')}-{config.subset}-{config.vote}"
    folder = RunFolder(config.run_dir or below(beside, name, "data.name in the evaluation's"))
    config.run_dir = literal(str(folder.path))
    with folder.begin(config.overwrite):
        return _evaluate(config, classifier, folder)


def _evaluate(config: DictConfig, classifier: ArtistClassifier, folder: RunFolder) -> dict[str, Score]:
    specification, subset = classifier.specification, config.subset
    seconds: dict[str, float] = {}
    features, trust = specification.build_features(), trusted(config)
    found = find_described(config, specification.data, trust)
    _tested(found.catalog, config, specification)  # before hours of decoding, since much is refused here
    prepared, store, left_out = make_features(config, found, features)
    catalog = _tested(prepared, config, specification)
    trained_on, before = specification.trained_on(), specification.pretraining_recordings()
    for recordings, whose in ((trained_on, "the checkpoint"), (before, "what the checkpoint grew from")):
        recordings.warn_if_deaf(whose)
    seen = trained_on.among(catalog, store)
    if seen and subset != "train":
        log.warning(
            "the network was trained on %d of %s tested: %s",
            *(len(seen), counted(len(catalog), "recording"), ", ".join(seen)),
        )
    seen_before = before.among(catalog, store)
    if seen_before:
        log.warning(
            "before fine-tuning, under other labels, it was trained on %d of %s tested: %s",
            len(seen_before),
            counted(len(catalog), "recording"),
            ", ".join(seen_before),
        )
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
            "precision": settings["precision"],
            **provenance(seconds),
        }
    )
    print_scores(scores, condition, folder.path)
    return scores


def _tested(catalog: Catalog, config: DictConfig, specification: Specification) -> Catalog:
    """The tracks of a catalog that are tested; raises ArtistidError where there are none, or by unknown artists."""
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
