"""The runs that a report is made of: found, read, and grouped into studies."""

from __future__ import annotations

import json
import logging
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from artistid.errors import ArtistidError, abbreviate, counted
from artistid.evaluation.calibration import confidences
from artistid.evaluation.predictions import Predictions
from artistid.evaluation.scores import Outcome, Score, outcomes, score_levels
from artistid.evaluation.voting import SongVotes, find_vote, vote
from artistid.naming import WITHOUT_EFFECT
from artistid.old_names import BASELINE_SYSTEM, FUSION_SYSTEM, one_is_singular
from artistid.places import expanded
from artistid.runs.folder import RunFolder, run_folders, settings_of
from artistid.runs.titles import data_title
from artistid.trust import Trust

log = logging.getLogger(__name__)

CONDITION = ("data", "split", "clip", "model", "seed", "vote")
SPLITS = ("song", "album")  # the paper's, in its order
# Prefixes of the names of settings that say where a run was made.
OF_PLACE = ("data.root", "split.lists", "trainer.accelerator", "fuse.runs")
# Prefixes of those that may differ between the cells and the trials of one study.
OF_CELL_OR_TRIAL = (*WITHOUT_EFFECT, *OF_PLACE, "seed", "split.", "clip.name", "clip.seconds", "clip.frames")
FOLD = "split.fold"


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run, or the runs of all folds of a jackknife combined, with the test tracks of all.

    Attributes:
        name: of its folder, as listed.
        folder: its files; for several runs, those of the first.
        scores: the contents of its scores file; for several runs, the scores of their pooled test predictions, and the
            mean of their validations' weighted F1.
        settings: its configuration, by dotted name.
        votes: the test songs' votes.
        outcomes: of the test, by level; whole songs have no frame level.
        confidence: ``(n,)`` of the test, by level: the probability of the predicted artist.
        number: in the report's list of runs, from 1; 0 for a run that is on no list.
        folds: the combined runs; empty for a single run.
    """

    name: str
    folder: RunFolder
    scores: Mapping[str, Any]
    settings: Mapping[str, Any]
    votes: SongVotes
    outcomes: Mapping[str, Outcome]
    confidence: Mapping[str, NDArray[np.floating]]
    number: int = 0
    folds: tuple[Run, ...] = ()

    @property
    def members(self) -> tuple[Run, ...]:
        """The runs behind it, as listed: itself, or its folds."""
        return self.folds or (self,)

    @property
    def condition(self) -> Mapping[str, Any]:
        return self.scores["condition"]

    @property
    def clip_seconds(self) -> float:
        """Nominal length; infinite where a clip is a whole song."""
        seconds = self.settings["clip.seconds"]
        return math.inf if seconds is None else float(seconds)

    @property
    def levels(self) -> tuple[str, ...]:
        """The levels that it is scored at."""
        return tuple(self.scores["test"])

    @property
    def is_baseline(self) -> bool:
        """Whether it is not a network."""
        return self.settings["model.system"] in (BASELINE_SYSTEM, FUSION_SYSTEM)

    @property
    def device(self) -> str:
        """The device that it was made on; empty if unknown."""
        return one_is_singular(str(self.scores.get("device") or ""))

    @property
    def threads(self) -> int | None:
        """The threads that it was trained on; None if unknown, as for older runs, or irrelevant, as on a GPU."""
        known = self.device.endswith((" thread", " threads")) and "threads" in self.scores
        return self.scores["threads"]["torch"] if known else None

    @property
    def trial(self) -> tuple[tuple[str, str], ...]:
        """What runs on the same test songs have in common: the seed, and how the split was drawn."""
        of_trial = {name: value for name, value in self.settings.items() if name == "seed" or name.startswith("split.")}
        return _setting_key({name: value for name, value in of_trial.items() if value is not None}, OF_PLACE)

    def test(self, level: str) -> Score:
        """The test scores of a level."""
        return self.scores["test"][level]


@dataclass(frozen=True)
class LeftOut:
    """A run folder that is not part of the tables, and why."""

    name: str
    reason: str


@dataclass(frozen=True, eq=False)
class Study:
    """The runs of one model on one data set: cells of split and clip length, each with its trials.

    Attributes:
        data: name of the data set.
        model: name of the model.
        variant: settings that distinguish it from other studies of the same data and model; mostly none.
        runs: its trials; the folds of a jackknife are one.
    """

    data: str
    model: str
    variant: str
    runs: tuple[Run, ...]

    @property
    def system(self) -> str:
        """The system that is studied, whatever the data."""
        return f"{self.model} ({self.variant})" if self.variant else self.model

    @property
    def name(self) -> str:
        """The exact name, for its files."""
        return f"{self.system} on {self.data}"

    @property
    def title(self) -> str:
        """The readable name."""
        return f"{self.system} on {data_title(self.data)}"

    @property
    def is_baseline(self) -> bool:
        """Whether its model is not a network."""
        return self.runs[0].is_baseline

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """The paper's splits, then any others of the runs."""
        return (*SPLITS, *sorted({run.condition["split"] for run in self.runs} - set(SPLITS)))

    @cached_property
    def clips(self) -> dict[float, str]:
        """Clip lengths of the runs: seconds to name, ascending."""
        return dict(sorted({run.clip_seconds: run.condition["clip"] for run in self.runs}.items()))

    def cell(self, split: str, seconds: float) -> tuple[Run, ...]:
        """The trials of a split and clip length; none where they are missing."""
        return tuple(run for run in self.runs if (run.condition["split"], run.clip_seconds) == (split, seconds))

    @cached_property
    def cells(self) -> dict[tuple[str, float], tuple[Run, ...]]:
        """The trials of all cells that are not empty, by split and clip length."""
        every = {(split, seconds): self.cell(split, seconds) for split in self.splits for seconds in self.clips}
        return {cell: runs for cell, runs in every.items() if runs}


@dataclass(frozen=True, eq=False)
class Results:
    """All runs of a report.

    Attributes:
        runs: finished runs, by number; each fold is one.
        left_out: run folders that are not part of the tables.
        studies: the runs by data set and model, folds pooled.
    """

    runs: tuple[Run, ...]
    left_out: tuple[LeftOut, ...]
    studies: tuple[Study, ...]

    def find(self, path: str, setting: str) -> Run:
        """The run of a folder.

        Args:
            path: of its folder, or its name in the list of runs.
            setting: that names it, for the error.

        Raises:
            ArtistidError: it is not among the runs.
        """
        resolved = expanded(path).resolve()
        for run in self.runs:
            if path == run.name or resolved == run.folder.path.resolve():
                return run
        known = abbreviate([run.name for run in self.runs], 5)
        raise ArtistidError(f"{setting} names {path}, which is not a finished run below runs=…; there are {known}")


def collect(roots: Sequence[str | Path], trust: Trust = ()) -> Results:
    """Read all runs at and below folders.

    Args:
        roots: the folders.
        trust: packages whose votes may be used.

    Raises:
        ArtistidError: a folder that does not exist, or no finished run in any.
    """
    runs: list[Run] = []
    left_out: list[LeftOut] = []
    for name, folder in _named_folders(roots):
        try:
            run = read_run(name, folder, trust)
        except ArtistidError as error:
            left_out.append(LeftOut(name, str(error)))
        else:
            runs.append(run)
    runs, repeated = _without_repeats(runs)
    runs, partial = _without_partial_jackknives(runs)
    left_out += [*repeated, *partial]
    runs = [replace(run, number=number) for number, run in enumerate(runs, start=1)]
    if not runs:
        found = f"; of {counted(len(left_out), 'other')}, {left_out[0].name}: {left_out[0].reason}" if left_out else ""
        raise ArtistidError(f"no finished run is in runs={', '.join(map(str, roots))}{found}")
    log.info("%s, %s left out", counted(len(runs), "finished run"), counted(len(left_out), "folder"))
    return Results(tuple(runs), tuple(left_out), tuple(_studies(_with_folds_pooled(runs))))


def _named_folders(roots: Sequence[str | Path]) -> list[tuple[str, RunFolder]]:
    """Every run folder once, and its name: its path below its root, preceded by the root's if there are several."""
    folders: dict[Path, tuple[str, RunFolder]] = {}
    for given in roots:
        root = expanded(given)
        if not root.is_dir():
            raise ArtistidError(f"runs={given} is not a folder (seen from {Path.cwd()})")
        for folder in run_folders(root):
            below = folder.path.relative_to(root)
            name = (below if len(roots) == 1 and below.parts else folder.path).as_posix()
            folders.setdefault(folder.path.resolve(), (name, folder))
    return list(folders.values())


def read_run(name: str, folder: RunFolder, trust: Trust = ()) -> Run:
    """Read a finished run.

    Raises:
        ArtistidError: it is not finished, or not a training run, or a file is missing or invalid.
    """
    if not folder.scores.exists():
        raise ArtistidError(f"not finished: {_last_words(folder.log)}")
    try:
        scores = json.loads(folder.scores.read_text(encoding="utf-8"))
        settings = settings_of(OmegaConf.load(folder.config))
    except (OSError, ValueError, YAMLError, OmegaConfBaseException) as error:
        raise ArtistidError(f"{folder.scores.name} or {folder.config.name} cannot be read: {error}") from error
    if "split" not in scores.get("condition", {}):
        raise ArtistidError("an evaluation of a checkpoint, which is not a trial of its own")
    missing = [f"condition.{key}" for key in CONDITION if key not in scores["condition"]]
    missing += [key for key in ("val", "test", "artists") if key not in scores]
    if missing or "clip.seconds" not in settings:
        raise ArtistidError(f"it lacks {', '.join(missing) or 'the setting clip.seconds'}")
    find_vote(scores["condition"]["vote"], trust)
    test = Predictions.from_parquet(folder.predictions / "test.parquet")
    votes = vote(test, scores["condition"]["vote"])
    named = {str(key): value for key, value in settings.items()}
    return Run(
        name, folder, scores, named, votes, outcomes(test, votes, tuple(scores["test"])), confidences(test, votes)
    )


def _last_words(run_log: Path) -> str:
    """Why a run failed, or the last line that it logged."""
    logged = run_log.read_text(encoding="utf-8", errors="replace") if run_log.exists() else ""
    lines = logged.strip().splitlines()
    failures = [line for line in lines if " failed: " in line]
    return (failures or lines or ["its log is empty"])[-1]


def _without_repeats(runs: Sequence[Run]) -> tuple[list[Run], list[LeftOut]]:
    """Of runs with the same settings, seed included, only the last listed: a repeated run is no further trial."""
    last = {_setting_key(run.settings, WITHOUT_EFFECT): run for run in runs}
    used = {run: last[_setting_key(run.settings, WITHOUT_EFFECT)] for run in runs}
    kept = [run for run in runs if used[run] is run]
    left_out = [
        LeftOut(run.name, f"the same settings and seed as {other.name}, which is used")
        for run, other in used.items()
        if other is not run
    ]
    return kept, left_out


def _without_partial_jackknives(runs: Sequence[Run]) -> tuple[list[Run], list[LeftOut]]:
    """The folds of a jackknife are scored together or not at all."""
    left_out = {
        run: LeftOut(run.name, reason) for folds in _jackknives(runs) if (reason := _not_pooled(folds)) for run in folds
    }
    return [run for run in runs if run not in left_out], list(left_out.values())


def _not_pooled(folds: Sequence[Run]) -> str:
    """Why folds do not make one test of all tracks; empty if they do."""
    there = Counter(run.settings[FOLD] for run in folds)
    n_folds = folds[0].settings["split.n_folds"]
    if missing := sorted(set(range(n_folds)) - set(there)):
        listed = ", ".join(map(str, missing))
        return (
            f"its jackknife has {counted(n_folds, 'fold')}, which are scored together; without a finished run: {listed}"
        )
    if repeated := [fold for fold, times in there.items() if times > 1]:
        return f"of its jackknife, which has each fold once, there are several runs of fold {repeated[0]}"
    if len({run.votes.artists for run in folds}) > 1:
        return "the folds of its jackknife name different artists"
    tested = Counter(track_id for run in folds for track_id in run.votes.track_id)
    if twice := sorted(track_id for track_id, times in tested.items() if times > 1):
        return f"several folds of its jackknife test {counted(len(twice), 'track')}: {', '.join(twice[:5])}"
    return ""


def _jackknives(runs: Iterable[Run]) -> list[list[Run]]:
    """The runs that are folds, grouped by jackknife."""
    groups: dict[tuple[tuple[str, str], ...], list[Run]] = defaultdict(list)
    for run in runs:
        if FOLD in run.settings:
            others = {name: value for name, value in run.settings.items() if name != FOLD}
            groups[_setting_key(others, (*WITHOUT_EFFECT, *OF_PLACE))].append(run)
    return list(groups.values())


def _with_folds_pooled(runs: Sequence[Run]) -> list[Run]:
    """Single runs as they are, and of each jackknife one that is all its folds."""
    return [run for run in runs if FOLD not in run.settings] + [pooled(folds) for folds in _jackknives(runs)]


def pooled(folds: Sequence[Run]) -> Run:
    """All folds of a jackknife as one trial: their test predictions are scored as one effective test set.

    Validation sets overlap, so only the mean of their weighted F1 is kept.

    Raises:
        ArtistidError: the folds name different artists or have tested the same track.
    """
    folds = sorted(folds, key=lambda run: run.settings[FOLD])
    first = folds[0]
    test = Predictions.pooled([Predictions.from_parquet(run.folder.predictions / "test.parquet") for run in folds])
    votes = vote(test, first.condition["vote"])
    validation = {
        level: {"f1_weighted": float(np.mean([run.scores["val"][level]["f1_weighted"] for run in folds]))}
        for level in first.levels
    }
    scores = {
        "condition": {name: value for name, value in first.condition.items() if name != "fold"},
        "artists": first.scores["artists"],
        "val": validation,
        "test": score_levels(test, first.condition["vote"], first.levels, draws=0),
    }
    settings = {name: value for name, value in first.settings.items() if name != FOLD}
    name = f"{first.name} to {folds[-1].name}"
    of_levels = outcomes(test, votes, first.levels), confidences(test, votes)
    return Run(name, first.folder, scores, settings, votes, *of_levels, folds=tuple(folds))


def _setting_key(settings: Mapping[str, Any], without: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, repr(value)) for name, value in settings.items() if not name.startswith(without)))


def _studies(runs: Iterable[Run]) -> list[Study]:
    """Runs by data set, model and initial checkpoint, and by further settings if a cell would otherwise mix them."""
    groups: dict[tuple[str, str, str], list[Run]] = defaultdict(list)
    for run in runs:
        groups[run.condition["data"], run.condition["model"], run.condition.get("init_from", "")].append(run)
    return [study for (data, model, _), group in sorted(groups.items()) for study in _variants(data, model, group)]


def _variants(data: str, model: str, runs: list[Run]) -> list[Study]:
    """One study, or several if runs of one cell differ in settings other than the seed."""
    by_cell: dict[tuple[str, float], list[Run]] = defaultdict(list)
    for run in runs:
        by_cell[run.condition["split"], run.clip_seconds].append(run)
    telling = sorted({name for trials in by_cell.values() for name in differing_settings(trials)})
    groups: dict[tuple[Any, ...], list[Run]] = defaultdict(list)
    for run in runs:
        groups[tuple(repr(run.settings.get(name)) for name in telling)].append(run)
    return [Study(data, model, _variant(group[0], telling), tuple(group)) for _, group in sorted(groups.items())]


def _variant(run: Run, telling: Sequence[str]) -> str:
    """In words, what distinguishes runs like this one from others of the same data and model."""
    origin = [f"init_from={run.condition['init_from']}"] if "init_from" in run.condition else []
    return ", ".join(origin + [f"{name}={run.settings.get(name)}" for name in telling])


def differing_settings(runs: Sequence[Run]) -> list[str]:
    """Names of the settings in which runs differ, besides those that distinguish cells and trials."""
    names = sorted({name for run in runs for name in run.settings if not name.startswith(OF_CELL_OR_TRIAL)})
    return [name for name in names if len({repr(run.settings.get(name)) for run in runs}) > 1]


def mean_and_sd(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and standard deviation of the sample; the latter NaN for a single value."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
