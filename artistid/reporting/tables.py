"""The report's tables: numbers as data, and as displayed."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from artistid.errors import ArtistidError, counted
from artistid.evaluation.album_reading import AlbumReading
from artistid.evaluation.calibration import Reliability
from artistid.evaluation.comparison import Comparison, compare_trials, holm
from artistid.evaluation.scores import mean_f1, mean_f1_interval
from artistid.reporting import published
from artistid.reporting.document import Column, RunNumbers, Table, short_revision
from artistid.runs.studies import SPLITS, LeftOut, Results, Run, Study, mean_and_sd
from artistid.runs.titles import data_title

DASH = "–"
Trial = tuple[tuple[str, str], ...]  # see Run.trial
MISPRINT_MARK = " †"


def score_table(study: Study, level: str, draws: int, seed: int) -> Table:
    """Table IV (``frame``) or V (``song``) of a study beside the paper's: a row per clip length and split."""
    cells = [
        (seconds, split)
        for seconds in sorted({*published.CLIPS, *study.clips})
        for split in study.splits
        if split in SPLITS or (split, seconds) in study.cells
    ]
    rows = [_score_row(study, level, split, seconds, draws, seed) for seconds, split in cells]
    columns = (
        Column.of("clip_s", clip_length, "clip"),
        Column.of("split"),
        Column("average ± sd", lambda row: with_sd(row["average"], row["sd"])),
        Column.of("best", _number),
        Column("95 % interval", lambda row: interval(row["ci95_low"], row["ci95_high"])),
        Column("trials", lambda row: _trials(row["trials"], row["split"])),
        Column("test songs", lambda row: _span(row["songs_min"], row["songs_max"])),
        Column("test clips", lambda row: _span(row["clips_min"], row["clips_max"])),
        Column(
            "published average ± sd",
            lambda row: with_sd(row["published_average"], row["published_sd"]) + _mark(row["misprinted_average"]),
        ),
        Column("published best", lambda row: _number(row["published_best"]) + _mark(row["misprinted_best"])),
        Column.of("runs", RunNumbers),
    )
    notes = [
        f"{MISPRINT_MARK.strip()} Computed from the authors' trials; the paper prints {_misprinted(row)}."
        for row in rows
        if _misprinted(row)
    ]
    notes += [
        f"{split}: a trial is {counted(n_folds, 'run')}, one per fold; their test predictions are scored as one test, "
        "in which each track appears once. This is not a mean over folds."
        for split, n_folds in sorted({(run.condition["split"], len(run.folds)) for run in study.runs if run.folds})
    ]
    if study.data != published.DATA:
        notes.append(f"The published figures are for {published.DATA}: other music than {data_title(study.data)}.")
    caption = (
        f"{published.TABLES[level]} for {study.title}: weighted F1 at {level} level, test; beside {published.PAPER} on "
        f"{published.DATA}."
    )
    return Table(
        f"{published.TABLES[level].lower().replace(' ', '_')}_{level}-{slug(study.name)}",
        caption,
        rows,
        columns,
        study.runs,
        notes,
    )


def _score_row(study: Study, level: str, split: str, seconds: float, draws: int, seed: int) -> dict[str, Any]:
    runs = study.cell(split, seconds)
    printed = published.cell(level, split, seconds)
    row: dict[str, Any] = {"level": level, "split": split, "clip_s": seconds, "trials": len(runs)}
    row |= dict.fromkeys(
        ("average", "sd", "best", "ci95_low", "ci95_high", "songs_min", "songs_max", "clips_min", "clips_max"), math.nan
    )
    if runs:
        f1 = [run.test(level)["f1_weighted"] for run in runs]
        row["average"], row["sd"] = mean_and_sd(f1)
        row["best"] = max(f1)
        row["ci95_low"], row["ci95_high"] = mean_f1_interval(
            [run.outcomes[level] for run in runs], draws=draws, seed=seed
        )
        for name, of_level in (("songs", "song"), ("clips", "frame")):
            n = [run.test(of_level)["n"] for run in runs]
            row[f"{name}_min"], row[f"{name}_max"] = min(n), max(n)
    row["published_average"] = printed.average if printed else math.nan
    row["published_sd"] = printed.sd if printed else math.nan
    row["published_best"] = printed.best if printed else math.nan
    row["published_trials"] = printed.trials if printed else 0
    for name in ("average", "best"):
        row[f"misprinted_{name}"] = printed.misprints.get(name, math.nan) if printed else math.nan
    row["runs"] = RunNumbers.of(runs)
    return row


def producer_effect(study: Study, draws: int, seed: int) -> pd.DataFrame:
    """The difference in F1 between the song split and the album split, where a study has both.

    Returns:
        A row per level and clip length: ``level``, ``clip_s``, ``difference`` of the means over trials, and its 95 %
        interval ``ci95_low``, ``ci95_high``; the splits' test songs are redrawn independently. Where the
        paper has that cell, ``published``.
    """
    rows = []
    for level in published.TABLES:
        for seconds in study.clips:
            song, album = (study.cell(split, seconds) for split in SPLITS)
            if not song or not album:
                continue
            generator = np.random.default_rng(seed)
            of_song, of_album = (
                mean_f1([run.outcomes[level] for run in runs], draws, generator) for runs in (song, album)
            )
            low, high = of_song.minus(of_album)
            rows.append(
                {
                    "level": level,
                    "clip_s": seconds,
                    "difference": of_song.value - of_album.value,
                    "ci95_low": low,
                    "ci95_high": high,
                    "published": published.effect(level, seconds),
                    "runs": RunNumbers.of((*song, *album)),
                }
            )
    return pd.DataFrame(rows)


def producer_table(study: Study, data: pd.DataFrame) -> Table:
    """The result of :func:`producer_effect` as a table."""
    columns = (
        Column.of("level"),
        Column.of("clip_s", clip_length, "clip"),
        Column.of("difference", _signed, "song − album"),
        Column("95 % interval", lambda row: signed_interval(row["ci95_low"], row["ci95_high"])),
        Column.of("published", _signed),
        Column.of("runs", RunNumbers),
    )
    return Table(
        f"producer_effect-{slug(study.name)}",
        f"The producer effect for {study.title}: weighted F1 of the song split minus that of the album split, means "
        "over trials.",
        _records(data),
        columns,
        _numbered(study.runs, data["runs"]),
    )


def published_systems_table() -> Table:
    """Table III as published, and results from its works' own abstracts."""
    frame = published.baselines()
    formats = {"artists": _whole, "accuracy": _number}
    headings = {"read_in": "read in"}
    columns = [Column.of(name, formats.get(name, str), headings.get(name, "")) for name in frame.columns]
    return Table(
        "table_iii-published",
        f"Table III as printed by {published.PAPER}, and what the authors of these works report themselves.",
        _records(frame),
        columns,
        notes=[
            "The paper quotes other works here: on other music, with other protocols, scored by accuracy. They give "
            "context for the measured scores, but do not show which system is better."
        ],
    )


def system_scores(studies: Sequence[Study]) -> pd.DataFrame:
    """A row per system, split and level: what :func:`system_table` shows and ``figures.systems`` draws."""
    rows = [
        _system_row(study, split, level) for study in studies for split in study.splits for level in published.TABLES
    ]
    return pd.DataFrame([row for row in rows if row])


def system_table(data: str, studies: Sequence[Study], frame: pd.DataFrame) -> Table:
    """Table III as measured on a data set, from :func:`system_scores`."""
    columns = (
        Column.of("system"),
        Column.of("split"),
        Column.of("level"),
        Column.of("clip_s", clip_length, "clip"),
        Column("accuracy ± sd", lambda row: with_sd(row["accuracy"], row["accuracy_sd"])),
        Column("weighted F1 ± sd", lambda row: with_sd(row["f1_weighted"], row["f1_weighted_sd"])),
        Column("trials", lambda row: _trials(row["trials"], row["split"])),
        Column.of("artists", _whole),
        Column.of("runs", RunNumbers),
    )
    notes = [
        "For a model with several clip lengths, the one with the best mean weighted F1 in validation, at that level.",
        "A system that describes whole songs has no frame level.",
    ]
    return Table(
        f"table_iii-{slug(data)}",
        f"Table III as measured on {data_title(data)}: comparison of systems, test, mean over trials.",
        _records(frame),
        columns,
        _numbered(tuple(chain.from_iterable(study.runs for study in studies)), frame["runs"]),
        notes,
    )


def _best_by_validation(study: Study, split: str, level: str) -> tuple[float, list[Run]] | None:
    """The clip length of a study that is best in validation, and its runs; None without runs."""
    cells = {
        seconds: [run for run in study.cell(split, seconds) if level in run.levels]
        for seconds in study.clips
        if study.cell(split, seconds)
    }
    cells = {seconds: runs for seconds, runs in cells.items() if runs}
    if not cells:
        return None
    validation = {
        seconds: np.mean([run.scores["val"][level]["f1_weighted"] for run in runs]) for seconds, runs in cells.items()
    }
    seconds = max(validation, key=validation.__getitem__)
    return seconds, cells[seconds]


def _system_row(study: Study, split: str, level: str) -> dict[str, Any] | None:
    """The scores of a study's best clip length by validation; None without runs."""
    best = _best_by_validation(study, split, level)
    if best is None:
        return None
    seconds, runs = best
    accuracy, accuracy_sd = mean_and_sd([run.test(level)["accuracy"] for run in runs])
    f1, f1_sd = mean_and_sd([run.test(level)["f1_weighted"] for run in runs])
    return {
        "system": study.system,
        "split": split,
        "level": level,
        "clip_s": seconds,
        "accuracy": accuracy,
        "accuracy_sd": accuracy_sd,
        "f1_weighted": f1,
        "f1_weighted_sd": f1_sd,
        "trials": len(runs),
        "artists": max(len(run.scores["artists"]) for run in runs),
        "runs": RunNumbers.of(runs),
    }


class Calibrated(NamedTuple):
    """A system's calibration, on a split and at a level, over all trials.

    Attributes:
        system, split, level: identify it.
        clip_s: clip length in seconds.
        runs: its trials.
    """

    system: str
    split: str
    level: str
    clip_s: float
    runs: tuple[Run, ...]

    @property
    def reliability(self) -> Reliability:
        """From the samples of all trials."""
        return Reliability.of(*map(np.concatenate, zip(*map(self._said, self.runs), strict=True)))

    @property
    def errors(self) -> list[float]:
        """The expected calibration error of each trial."""
        return [Reliability.of(*self._said(run)).error for run in self.runs]

    def _said(self, run: Run) -> tuple[np.ndarray, np.ndarray]:
        outcome = run.outcomes[self.level]
        return run.confidence[self.level], outcome.label == outcome.predicted


def calibration_of(studies: Sequence[Study]) -> list[Calibrated]:
    """Every system on each of its splits and levels, with the clip length that is best in validation."""
    return [
        Calibrated(study.system, split, level, seconds, tuple(runs))
        for study in studies
        for split in study.splits
        for level in published.TABLES
        if (best := _best_by_validation(study, split, level))
        for seconds, runs in [best]
    ]


def calibration_table(data: str, systems: Sequence[Calibrated]) -> Table:
    """The systems' confidence, accuracy and calibration error."""
    rows = []
    for system in systems:
        error, error_sd = mean_and_sd(system.errors)
        said, true, n = system.reliability
        rows.append(
            {
                **{name: getattr(system, name) for name in ("system", "split", "level", "clip_s")},
                "confidence": float(np.average(said, weights=n)),
                "accuracy": float(np.average(true, weights=n)),
                "calibration_error": error,
                "calibration_error_sd": error_sd,
                "trials": len(system.runs),
                "runs": RunNumbers.of(system.runs),
            }
        )
    columns = (
        Column.of("system"),
        Column.of("split"),
        Column.of("level"),
        Column.of("clip_s", clip_length, "clip"),
        Column.of("confidence", _number),
        Column.of("accuracy", _number),
        Column("calibration error ± sd", lambda row: with_sd(row["calibration_error"], row["calibration_error_sd"])),
        Column("trials", lambda row: _trials(row["trials"], row["split"])),
        Column.of("runs", RunNumbers),
    )
    return Table(
        f"calibration-{slug(data)}",
        f"Calibration on {data_title(data)}: confidence and accuracy of each system, test.",
        rows,
        columns,
        list(dict.fromkeys(run for system in systems for run in system.runs)),
    )


class SystemPair(NamedTuple):
    """Two systems to compare, and their runs in the trials that both have."""

    split: str
    first: str
    second: str
    trials: list[tuple[Run, Run]]


def chosen_pairs(results: Results, compare: Sequence[Sequence[str]]) -> list[SystemPair]:
    """Pairs of runs by their folders.

    Raises:
        ArtistidError: not a list of pairs, or a run that does not exist.
    """
    pairs = []
    for chosen in compare:
        if isinstance(chosen, str) or len(chosen) != 2:
            raise ArtistidError(f"compare={compare}: expected a list of pairs of run folders, [[first,second],…]")
        first, second = (results.find(path, "compare") for path in chosen)
        pairs.append(SystemPair(first.condition["split"], first.name, second.name, [(first, second)]))
    return pairs


def conditions_by_split(studies: Sequence[Study]) -> dict[str, dict[str, dict[Trial, Run]]]:
    """The runs of a data set by split, by condition (system and clip length), and by trial."""
    conditions: dict[str, dict[str, dict[Trial, Run]]] = {}
    for study in studies:
        for (split, seconds), runs in study.cells.items():
            name = f"{study.system}, {clip_length(seconds)}"
            conditions.setdefault(split, {})[name] = {run.trial: run for run in runs}
    return conditions


def best_condition(conditions: Mapping[str, Mapping[Trial, Run]]) -> str:
    """The condition with the highest mean song-level F1 among those with the most trials."""
    return max(conditions, key=lambda name: (len(conditions[name]), _mean_song_f1(conditions[name].values())))


def pairs_with_the_best(studies: Sequence[Study]) -> list[SystemPair]:
    """On each split of a data set, every condition paired with the best one, in the trials that both have."""
    pairs = []
    for split, conditions in conditions_by_split(studies).items():
        best = best_condition(conditions)
        for name, runs in conditions.items():
            trials = [(runs[trial], conditions[best][trial]) for trial in runs if trial in conditions[best]]
            if name != best and trials:
                pairs.append(SystemPair(split, name, best, trials))
    return pairs


def _mean_song_f1(runs: Iterable[Run]) -> float:
    return float(np.mean([run.test("song")["f1_weighted"] for run in runs]))


def comparison_table(title: str, pairs: Sequence[SystemPair], draws: int, seed: int) -> Table:
    """Paired comparisons at song level; a pair that can't be compared shows dashes, and a note says why."""
    compared: list[Comparison | None] = []
    notes = []
    for pair in pairs:
        votes = [(first.votes, second.votes) for first, second in pair.trials]
        try:
            compared.append(compare_trials(votes, draws=draws, seed=seed))
        except ArtistidError as error:
            compared.append(None)
            notes.append(f"{pair.first} and {pair.second} are not compared: {error}.")
    adjusted = iter(holm([comparison.p_value for comparison in compared if comparison]))
    rows = [
        _comparison_row(pair, comparison, float(next(adjusted)) if comparison else math.nan)
        for pair, comparison in zip(pairs, compared, strict=True)
    ]
    columns = (
        Column.of("split"),
        Column.of("first"),
        Column.of("second"),
        Column.of("difference", _signed, "first − second"),
        Column("95 % interval", lambda row: signed_interval(row["ci95_low"], row["ci95_high"])),
        Column("only first, second right", lambda row: f"{_whole(row['only_first'])}, {_whole(row['only_second'])}"),
        Column.of("p_mcnemar", p_value, "p"),
        Column.of("p_holm", p_value, "p (Holm)"),
        Column.of("songs", _whole),
        Column.of("trials"),
        Column.of("runs", RunNumbers),
    )
    runs = {member.number: member for pair in pairs for run in chain(*pair.trials) for member in run.members}
    return Table(
        f"comparisons-{slug(title)}",
        f"Paired comparisons for {data_title(title)}: difference of weighted F1 at song level, test.",
        rows,
        columns,
        [runs[number] for number in sorted(runs)],
        notes,
    )


def _comparison_row(pair: SystemPair, comparison: Comparison | None, p_holm: float) -> dict[str, Any]:
    row: dict[str, Any] = {"split": pair.split, "first": pair.first, "second": pair.second, "trials": len(pair.trials)}
    names = ("songs", "difference", "ci95_low", "ci95_high", "only_first", "only_second", "p_mcnemar")
    if comparison:
        numbers = (
            comparison.n,
            comparison.difference,
            *comparison.ci95,
            comparison.only_first,
            comparison.only_second,
            comparison.p_value,
        )
        row |= zip(names, numbers, strict=True)
    else:
        row |= dict.fromkeys(names, math.nan)
    return row | {"p_holm": p_holm, "runs": RunNumbers.of(list(chain.from_iterable(pair.trials)))}


def run_table(runs: Sequence[Run]) -> Table:
    """The list of runs that everything else refers to."""
    rows = [
        {
            "number": run.number,
            "folder": run.name,
            **run.condition,
            "frame_f1_weighted": run.test("frame")["f1_weighted"] if "frame" in run.levels else math.nan,
            "song_f1_weighted": run.test("song")["f1_weighted"],
            "revision": run.scores.get("revision"),
            "device": run.device,
            "precision": run.scores.get("precision"),
            "seconds": sum(run.scores.get("seconds", {}).values()),
            "left_out": len(run.scores.get("left_out", [])),
            "command": run.scores.get("command"),
        }
        for run in runs
    ]
    by_number = {run.number: run for run in runs}
    columns = (
        Column.of("number", heading="run"),
        Column.of("folder"),
        Column.of("seed"),
        Column("fold", lambda row: str(row.get("fold", DASH))),
        Column.of("vote"),
        Column.of("frame_f1_weighted", _number, "F1 frame"),
        Column.of("song_f1_weighted", _number, "F1 song"),
        Column("revision", lambda row: short_revision(by_number[row["number"]])),
        Column.of("device", _or_dash),
        Column.of("precision", _or_dash),
        Column.of("seconds", _whole),
        Column.of("left_out", heading="songs left out"),
        Column.of("command", _or_dash),
    )
    return Table("runs", "The runs behind this report.", rows, columns)


class AlbumsRead(NamedTuple):
    """How well a run classifies artists, and what its vectors retain of albums.

    Attributes:
        system: name of the system.
        run: of a network.
        reading: accuracy of the album within each artist.
    """

    system: str
    run: Run
    reading: AlbumReading

    @property
    def split(self) -> str:
        split: str = self.run.condition["split"]
        return split

    @property
    def f1(self) -> float:
        """Weighted F1 of the artists at song level, test."""
        return self.run.test("song")["f1_weighted"]

    @property
    def album(self) -> float:
        return self.reading.score


def album_table(data: str, found: Sequence[AlbumsRead]) -> Table:
    """How well runs classify artists, and how well a probe classifies an artist's albums."""
    rows = [
        {
            "system": each.system,
            "split": each.split,
            "clip_s": each.run.clip_seconds,
            "f1_weighted": each.f1,
            "album": each.album,
            "artists": each.reading.artists,
            "runs": RunNumbers.of([each.run]),
        }
        for each in found
    ]
    columns = (
        Column.of("system"),
        Column.of("split"),
        Column.of("clip_s", clip_length, "clip"),
        Column.of("f1_weighted", _number, "artists: weighted F1"),
        Column.of("album", _number, "albums of an artist"),
        Column.of("artists", _whole, "artists with two albums"),
        Column.of("runs", RunNumbers),
    )
    return Table(
        f"albums-{slug(data)}",
        f"Artists and albums in the networks' vectors for {data_title(data)}: weighted F1 at song level, test; and how "
        "well a linear probe classifies an artist's albums (0: chance, 1: all correct).",
        rows,
        columns,
        [each.run for each in found],
    )


def left_out_table(left_out: Sequence[LeftOut]) -> Table:
    """The run folders that are not part of the tables, and why."""
    rows = [{"folder": folder.name, "reason": folder.reason} for folder in left_out]
    columns = (Column.of("folder"), Column.of("reason"))
    return Table("left_out", "Run folders that are not part of the tables.", rows, columns)


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame."""
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _numbered(runs: Sequence[Run], numbers: Iterable[RunNumbers]) -> list[Run]:
    """The runs that have one of the numbers."""
    wanted = set(chain.from_iterable(numbers))
    return [member for run in runs for member in run.members if member.number in wanted]


def slug(text: str) -> str:
    """A title as part of a file name."""
    return re.sub(r"[^\w.=-]+", "-", text).strip("-")


def _mark(misprint: float) -> str:
    return "" if math.isnan(misprint) else MISPRINT_MARK


def _misprinted(row: Mapping[str, Any]) -> str:
    """The printed values that differ from the paper's trials."""
    names = [name for name in ("average", "best") if not math.isnan(row[f"misprinted_{name}"])]
    return " and ".join(f"{name} {_number(row[f'misprinted_{name}'])}" for name in names)


def _number(value: float) -> str:
    return DASH if math.isnan(value) else f"{value:.3f}"


def _signed(value: float) -> str:
    return DASH if math.isnan(value) else f"{value:+.3f}".replace("-", "−")


def with_sd(value: float, sd: float) -> str:
    """A mean and a standard deviation, which may be NaN, as displayed."""
    return _number(value) if math.isnan(sd) else f"{_number(value)} ± {sd:.3f}"


def interval(low: float, high: float) -> str:
    """As displayed."""
    return DASH if math.isnan(low) else f"{low:.3f} to {high:.3f}"


def signed_interval(low: float, high: float) -> str:
    """An interval of a difference, as displayed."""
    return DASH if math.isnan(low) else f"{_signed(low)} to {_signed(high)}"


def _span(low: float, high: float) -> str:
    if math.isnan(low):
        return DASH
    return f"{low:,.0f}" if low == high else f"{low:,.0f} to {high:,.0f}"


def _whole(value: float) -> str:
    return DASH if math.isnan(value) else f"{value:,.0f}"


def _trials(n: float, split: str) -> str:
    """Number of trials; as a fraction of the paper's three where it has that split."""
    if math.isnan(n):
        return DASH
    return f"{n:.0f}/{len(published.SEEDS)}" if n <= len(published.SEEDS) and split in SPLITS else f"{n:.0f}"


def _or_dash(value: Any) -> str:
    return str(value) if value else DASH


def p_value(p: float) -> str:
    """As displayed."""
    if math.isnan(p):
        return DASH
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def clip_length(value: float) -> str:
    """As displayed."""
    if math.isinf(value):
        return "whole song"
    return DASH if math.isnan(value) else f"{value:g} s"
