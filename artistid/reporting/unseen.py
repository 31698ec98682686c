"""The report's section on artists that were not trained on: enrolled ones, and unknown ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from artistid.errors import counted
from artistid.evaluation.score_table import MEASURES
from artistid.evaluation.verification_results import draw_verification
from artistid.reporting.document import Column, Picture, ReportContext, RunNumbers, Section, Table
from artistid.reporting.tables import DASH, interval
from artistid.runs.studies import Run
from artistid.runs.titles import data_title

CLAIMS = ("eer", "min_dcf", "cllr", "min_cllr")
SONGS = ("auroc", "fpr95", "dir1", "dir5")
WORDS_OF_CLAIMS = (
    "EER: the error rate at which equal shares of true claims are rejected and of false ones accepted; minDCF: the "
    "minimum detection cost over thresholds, relative to that of the cheaper constant answer; Cllr: the cost in bits "
    "per claim of scores as log-likelihood ratios, and minCllr the same with optimal calibration."
)
WORDS_OF_SONGS = (
    "AUROC: the probability that a song of a known artist has a higher score than one of an unknown artist; FPR95: the "
    "share of unknown artists' songs accepted where 95 % of the known ones are; DIR: the share of known artists' songs "
    "accepted and identified correctly where 1 % or 5 % of the unknown ones are accepted. Intervals are 95 %, over "
    "artists."
)


def unseen_artists(context: ReportContext) -> Iterator[Section]:
    """For each run with such results: scorers on enrolled artists, and scores that detect unknown ones."""
    blocks: list[str | Table | Picture] = []
    members = _members(context)
    for run in members:
        if told := run.scores.get("verification"):
            blocks += [_scorers(run, told), *_numbers(run, told), _picture(context, run, told)]
        if by_score := (run.scores.get("unknown") or {}).get("by_score"):
            blocks.append(_scores(run, by_score))
    if blocks:
        claims = [WORDS_OF_CLAIMS] if any(run.scores.get("verification") for run in members) else []
        yield Section("Artists never trained on", [*claims, WORDS_OF_SONGS, *blocks])


def _members(context: ReportContext) -> list[Run]:
    return [member for run in context.results.runs for member in run.members]


def _of(run: Run) -> str:
    return f"{run.condition['model']} on {data_title(run.condition['data'])} (run {run.number})"


def _scorers(run: Run, told: Mapping[str, Any]) -> Table:
    counts = told["artists"]
    rows = [
        {"scorer": name, "chosen": name == told["chosen"], **_values(system["test"]), "runs": RunNumbers.of([run])}
        for name, system in told["systems"].items()
    ]
    columns = (
        Column("scorer", lambda row: f"{row['scorer']} *" if row["chosen"] else row["scorer"]),
        *_columns((*CLAIMS, *SONGS), rows),
        Column.of("runs", RunNumbers),
    )
    better = told["over_cosine"].get("eer")
    notes = ["* Chosen by minCllr in validation."]
    if better:
        low, high = better["ci95"]
        notes.append(
            f"Its EER differs from that of the cosine of raw vectors by {better['value']:+.3f} ({low:+.3f} to "
            f"{high:+.3f})."
        )
    return Table(
        f"verification-run{run.number}",
        f"Artists enrolled without training: {_of(run)}; {counted(counts['enrolled'], 'artist')} enrolled by an album "
        f"each, tested on songs of their other albums and of {counted(counts['impostors'], 'impostor')}.",
        rows,
        columns,
        [run],
        notes,
    )


def _numbers(run: Run, told: Mapping[str, Any]) -> Iterator[Table]:
    """Measures by the number of enrolled songs and artists, and found false-alarm rates beside the stated ones."""
    for of, heading in (("songs", "songs of each artist"), ("artists", "artists")):
        rows = [
            {of: "album" if row[of] is None else row[of], **_values(row), "runs": RunNumbers.of([run])}
            for row in told[f"by_{of}"]
        ]
        yield Table(
            f"verification_by_{of}-run{run.number}",
            f"By the number of enrolled {heading}: {told['chosen']} of {_of(run)}.",
            rows,
            (Column.of(of, str, heading), *_columns(("eer", *SONGS), rows), Column.of("runs", RunNumbers)),
            [run],
        )
    rates = ("false_alarms", "unknown_accepted", "known_named", "false_accepted", "true_accepted")
    headings = ("stated", "unknown accepted", "known identified", "false claims accepted", "true claims accepted")
    yield Table(
        f"verification_stated-run{run.number}",
        f"False alarms as stated, by the validation artists, and as found: {told['chosen']} of {_of(run)}.",
        [{**row, "runs": RunNumbers.of([run])} for row in told["stated"]],
        (
            *(Column.of(name, "{:.1%}".format, heading) for name, heading in zip(rates, headings, strict=True)),
            Column.of("runs", RunNumbers),
        ),
        [run],
    )


def _picture(context: ReportContext, run: Run, told: Mapping[str, Any]) -> Picture:
    path = context.figures / f"verification-run{run.number}.png"
    draw_verification(told, path, for_print=True)
    caption = (
        f"Artists enrolled without training, {_of(run)}: detection error trade-off of all scorers, the chosen one in "
        "black; and the latter's measures by the number of enrolled songs and artists. Bars are 95 % intervals over "
        "artists."
    )
    return Picture(path, caption, [run])


def _scores(run: Run, by_score: Mapping[str, Any]) -> Table:
    rows = [{"score": name, **_values(found), "runs": RunNumbers.of([run])} for name, found in by_score.items()]
    notes = [
        f"{name}: AUROC {found['auroc']['value'] - by_score['msp']['auroc']['value']:+.3f} "
        "({:+.3f} to {:+.3f}) against msp.".format(*found["auroc"]["over_msp_ci95"])
        for name, found in by_score.items()
        if name != "msp"
    ]
    return Table(
        f"unknown_artists-run{run.number}",
        f"Songs of unknown artists detected among test songs by several scores: {_of(run)}.",
        rows,
        (Column.of("score"), *_columns(SONGS, rows), Column.of("runs", RunNumbers)),
        [run],
        notes,
    )


def _values(measures: Mapping[str, Any]) -> dict[str, float]:
    """Value and interval of each measure, as flat columns."""
    found = {name: each for name, each in measures.items() if name in MEASURES}
    ends = {f"{name}_{end}": each["ci95"][at] for name, each in found.items() for at, end in enumerate(("low", "high"))}
    return {**{name: each["value"] for name, each in found.items()}, **ends}


def _columns(names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Iterator[Column]:
    """A column for each measure that any row has."""
    for name in names:
        if any(name in row for row in rows):
            yield Column(MEASURES[name], partial(_cell, name))


def _cell(name: str, row: Mapping[str, Any]) -> str:
    return f"{row[name]:.3f} ({interval(row[f'{name}_low'], row[f'{name}_high'])})" if name in row else DASH
