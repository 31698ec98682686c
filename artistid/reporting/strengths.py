"""The report's section on composed music, where it is known how far apart productions lie: scores by that strength."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from artistid.reporting import figures
from artistid.reporting.document import Column, Picture, ReportContext, RunNumbers, Section, Table
from artistid.reporting.tables import clip_length, slug, with_sd
from artistid.runs.studies import Run, mean_and_sd
from artistid.runs.titles import producers_of


def strengths(context: ReportContext) -> Iterator[Section]:
    """For music composed with several strengths of production: each system's F1 at song level by strength."""
    blocks: list[str | Table | Picture] = []
    for title, cells in _by_music(context).items():
        if len({strength for _, _, strength in cells}) > 1:
            blocks += _music(context, title, cells)
    if blocks:
        words = (
            "Composed music says how far apart the productions of albums lie: 0 makes all alike, 1 is the default. A "
            "system that classifies artists by their productions is worse on unheard albums the stronger these are."
        )
        yield Section("Scores by strength of production", [words, *blocks])


def _by_music(context: ReportContext) -> Mapping[str, Mapping[tuple[str, str, float], list[Run]]]:
    """Runs on composed music, by its title but for producers and seed; then by system, split and strength."""
    found: dict[str, dict[tuple[str, str, float], list[Run]]] = defaultdict(lambda: defaultdict(list))
    for study in context.results.studies:
        if producers := producers_of(study.data):
            for run in study.runs:
                system = f"{study.system}, {clip_length(run.clip_seconds)}"
                found[producers.of][system, run.condition["split"], producers.strength].append(run)
    return found


def _music(
    context: ReportContext, title: str, cells: Mapping[tuple[str, str, float], Sequence[Run]]
) -> Iterator[Table | Picture]:
    rows = [
        {"system": system, "split": split, "producer_strength": strength, **_score(runs)}
        for (system, split, strength), runs in sorted(cells.items())
    ]
    runs = [run for trials in cells.values() for run in trials]
    path = context.figures / slug(title) / "strengths.png"
    n_artists = max(len(run.scores["artists"]) for run in runs)
    figures.strengths(pd.DataFrame(rows), 1 / n_artists, path)
    caption = f"Weighted F1 at song level, test, by strength of production, for {title}: mean over trials"
    yield Picture(path, f"{caption}, bars one standard deviation; dotted: chance.", runs)
    columns = (
        Column.of("system"),
        Column.of("split"),
        Column.of("producer_strength", "{:g}".format, "producers"),
        Column("weighted F1 ± sd", lambda row: with_sd(row["f1_weighted"], row["f1_weighted_sd"])),
        Column.of("trials", str),
        Column.of("runs", RunNumbers),
    )
    yield Table(f"strengths-{slug(title)}", f"{caption}.", rows, columns, runs)


def _score(runs: Sequence[Run]) -> dict[str, Any]:
    f1, sd = mean_and_sd([run.test("song")["f1_weighted"] for run in runs])
    return {"f1_weighted": f1, "f1_weighted_sd": sd, "trials": len(runs), "runs": RunNumbers.of(runs)}
