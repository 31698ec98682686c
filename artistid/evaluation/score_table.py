"""Scores as tables for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_only
from rich import box
from rich.table import Table

from artistid.errors import counted
from artistid.evaluation.scores import Score
from artistid.places import nearby
from artistid.printing import say
from artistid.terminal import Console

UNITS = {"frame": "clips", "song": "songs"}
# Measures for artists that were not trained on; the first four are over claims, the others over songs.
MEASURES = {
    "eer": "EER",
    "min_dcf": "minDCF",
    "cllr": "Cllr",
    "min_cllr": "minCllr",
    "auroc": "AUROC",
    "fpr95": "FPR95",
    "dir1": "DIR1",
    "dir5": "DIR5",
}


def scores_table(scores: Mapping[str, Score], title: str | None = None) -> Table:
    """One row per level, in the given order; readable without colour.

    Args:
        scores: level (``frame``, ``song``) to score, as from :func:`artistid.evaluation.scores.score_levels`. A score
            without an interval shows a dash.
        title: printed above the table.
    """
    table = Table(title=title, box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))  # fits 80 columns
    table.add_column("level", no_wrap=True)
    for heading in ("weighted F1", "95 % interval", "macro F1", "accuracy", "top-3", "n"):
        table.add_column(heading, justify="right", no_wrap=True)
    for level, score in scores.items():
        table.add_row(
            level,
            f"{score['f1_weighted']:.3f}",
            _interval(score),
            f"{score['f1_macro']:.3f}",
            f"{score['accuracy']:.3f}",
            f"{score['top3']:.3f}",
            f"{score['n']:,} {UNITS[level]}",
        )
    return table


def _interval(score: Score) -> str:
    if "f1_weighted_ci95" not in score:
        return "-"
    low, high = score["f1_weighted_ci95"]
    return f"{low:.3f}-{high:.3f}"


@rank_zero_only
def print_verification(told: Mapping[str, Any]) -> None:
    """Print a network's measures for artists it was not trained on, see :mod:`artistid.learning.verification`."""
    counts = told["artists"]
    title = (
        f"{counted(counts['enrolled'], 'artist')} enrolled by an album, {counted(counts['impostors'], 'impostor')}; "
        "*: chosen by validation"
    )
    by_scorer = {name: system["test"] for name, system in told["systems"].items()}
    Console().print(measures_table(by_scorer, title, mark=told["chosen"]))


@rank_zero_only
def print_unknown_artists(unlike: Mapping[str, Any]) -> None:
    """Print how well several scores detect unknown artists, see :mod:`artistid.learning.unknown_artists`."""
    songs, artists = counted(unlike["unknown"], "song"), counted(len(unlike["artists"]), "unknown artist")
    title = f"{songs} of {artists}, among {unlike['known']:,} of known ones"
    Console().print(measures_table(unlike["by_score"], title))


def measures_table(by_score: Mapping[str, Mapping[str, Any]], title: str, mark: str = "") -> Table:
    """A row per score, and a column for each of :data:`MEASURES` that any of them has."""
    table = Table(title=title, box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("score", no_wrap=True)
    there = [name for name in MEASURES if any(name in found for found in by_score.values())]
    for name in there:
        table.add_column(MEASURES[name], justify="right", no_wrap=True)
    for score, found in by_score.items():
        table.add_row(f"{score} *" if score == mark else score, *(f"{found[name]['value']:.3f}" for name in there))
    return table


@rank_zero_only
def print_scores(scores: Mapping[str, Score], condition: Mapping[str, Any], path: Path) -> None:
    """Print the table that a run ends with.

    Args:
        scores: by level.
        condition: settings that distinguish the run.
        path: of the run folder.
    """
    console = Console()
    if "fold" in condition:
        console.print("one fold of a jackknife; python -m artistid.report scores its folds together")
    title = " ".join(f"{name}={value}" for name, value in condition.items() if name != "variant")  # the folder has it
    console.print(scores_table(scores, title))
    print_place(path)


@rank_zero_only
def print_place(path: Path) -> None:
    """Print where the run folder is."""
    say(f"everything behind these numbers: {nearby(path)}")
