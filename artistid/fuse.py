"""Fuse finished runs into a system of its own: ``python -m artistid.fuse 'runs=[A,B]' run_dir=C``."""

from __future__ import annotations

if __name__ == "__main__":
    from artistid.cli import run

    run("fuse")

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

from artistid.config import plain
from artistid.data.catalog import Catalog
from artistid.data.clips import ClipSpec
from artistid.data.splits import Split
from artistid.errors import ArtistidError, counted, require_choice, require_path
from artistid.evaluation.fusion import fuse as fuse_votes
from artistid.evaluation.fusion import likeliest_weights
from artistid.evaluation.plots import draw_results
from artistid.evaluation.predictions import Predictions
from artistid.evaluation.score_table import print_scores
from artistid.evaluation.scores import Score, levels_of, score_levels
from artistid.evaluation.voting import SongVotes, vote
from artistid.old_names import FUSION_SYSTEM
from artistid.runs.folder import RunFolder
from artistid.runs.provenance import provenance
from artistid.runs.studies import Run, read_run
from artistid.trust import trusted

log = logging.getLogger(__name__)

WHOLE_SONG = ClipSpec(name="song", seconds=None, frames=None)
VOTE = "majority"  # of one clip per song
OF_SYSTEM = ("init_from", "variant")  # keys of a run's condition that concern a single system


def fuse(config: DictConfig) -> dict[str, Score]:
    """Fuse the song predictions of finished runs of one split, and write the result as a run of its own.

    The fusion is a weighted mean of the runs' log-probabilities of a song, each run with its own vote.

    Returns:
        The test scores, at song level.
    """
    runs, weights = checked(config)
    folder = RunFolder(config.run_dir)
    with folder.begin(config.overwrite):
        votes = {subset: [votes_of(run, subset) for run in runs] for subset in ("val", "test")}
        weights = likeliest_weights(votes["val"]) if weights is None else weights
        log.info(
            "weights: %s", ", ".join(f"{run.name} {weight:.3f}" for run, weight in zip(runs, weights, strict=True))
        )
        predictions = {subset: fuse_votes(systems, weights) for subset, systems in votes.items()}
        scores = {
            subset: score_levels(songs, VOTE, levels_of(whole_songs=True)) for subset, songs in predictions.items()
        }
        settings = settings_of_fusion(config, runs)
        first = runs[0].folder
        folder.write_setup(settings, Catalog.from_csv(first.catalog), Split.from_csv(first.split))
        folder.write_results(predictions, VOTE, scores)
        if config.figures:
            draw_results(folder.path, predictions["test"], vote(predictions["test"], VOTE), scores["test"])
        of_trial = {name: value for name, value in runs[0].condition.items() if name not in OF_SYSTEM}
        condition = {**of_trial, "clip": WHOLE_SONG.name, "model": settings.model.name, "vote": VOTE}
        folder.finish(
            {
                **scores,
                "condition": condition,
                "artists": list(predictions["test"].artists),
                "training": {"fused": {run.name: float(weight) for run, weight in zip(runs, weights, strict=True)}},
                **provenance({}),
            }
        )
    print_scores(scores["test"], condition, folder.path)
    return scores["test"]


def checked(config: DictConfig) -> tuple[list[Run], NDArray[np.float64] | None]:
    """The runs, and their weights; None: by validation.

    Raises:
        ArtistidError: bad settings, or runs that are unfinished or not of one split.
    """
    require_path(config, "run_dir", "the folder for the fusion")
    names = [config.runs] if isinstance(config.runs, str) else list(config.runs or [])
    if len(names) < 2:
        raise ArtistidError(f"runs={plain(config.runs) if names else None}: expected a list of two run folders or more")
    runs = []
    for name in names:
        try:
            runs.append(read_run(name, RunFolder(name), trusted(config)))
        except ArtistidError as error:
            raise ArtistidError(f"runs: {name}: {error}") from error
    for run in runs[1:]:
        if run.trial != runs[0].trial:
            raise ArtistidError(
                f"runs: {run.name} and {runs[0].name} are of different splits: expected the same split and seed"
            )
    if isinstance(config.weights, str):
        require_choice("weights", config.weights, ("validation", "equal"))
        return runs, None if config.weights == "validation" else np.full(len(runs), 1 / len(runs))
    weights = list(config.weights)
    if len(weights) != len(runs) or min(weights) < 0 or not sum(weights):
        raise ArtistidError(
            f"weights={weights}: expected validation, equal, or {counted(len(runs), 'number')} from 0, one of each run"
        )
    return runs, np.array(weights, np.float64)


def votes_of(run: Run, subset: str) -> SongVotes:
    """A run's votes on the songs of a subset."""
    return vote(Predictions.from_parquet(run.folder.predictions / f"{subset}.parquet"), run.condition["vote"])


def settings_of_fusion(config: DictConfig, runs: Sequence[Run]) -> DictConfig:
    """The configuration for the fusion's folder: the runs' data and split, and what was fused with which weights."""
    first = OmegaConf.load(runs[0].folder.config)
    kept = {name: value for name, value in plain(first).items() if name in ("data", "split", "seed", "unknown_artists")}
    system: dict[str, Any] = {
        "clip": {"name": WHOLE_SONG.name, "seconds": None, "frames": None},
        "model": {"name": config.name or "+".join(run.condition["model"] for run in runs), "system": FUSION_SYSTEM},
        "vote": VOTE,
        "fuse": {"runs": [str(run.folder.path.resolve()) for run in runs], "weights": plain(config)["weights"]},
    }
    return OmegaConf.create({**kept, **system, "run_dir": str(config.run_dir)})
