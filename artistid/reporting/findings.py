"""A report's findings in words, with their statistical uncertainty."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from artistid.errors import counted
from artistid.evaluation.scores import estimate_of, f1_draws, mean_f1_interval
from artistid.reporting import tables
from artistid.reporting.document import Table
from artistid.runs.studies import SPLITS, Run, Study, mean_and_sd

NOT_TOLD = "a difference not distinguishable from zero on these test songs"


def findings(studies: Sequence[Study], comparisons: Table | None, draws: int, seed: int) -> str:
    """The findings on one data set: the best conditions, votes, systems, and the producer effect.

    Args:
        studies: of the data set.
        comparisons: paired comparisons of its systems; None where there are none.
        draws: number of bootstrap draws.
        seed: of the bootstrap.
    """
    sentences: list[str] = []
    for split, conditions in tables.conditions_by_split(studies).items():
        best = tables.best_condition(conditions)
        runs = list(conditions[best].values())
        sentences.append(_highest(split, best, len(conditions), runs, draws, seed))
        sentences += _vote(runs, draws, seed)
        sentences += _nearest(split, best, comparisons)
    for study in (study for study in studies if not study.is_baseline):
        sentences += _producers(study, draws, seed)
    return " ".join(sentences)


def pair_in_words(row: Mapping[str, Any]) -> str:
    """A paired comparison: the difference between the systems, and whether it is significant."""
    quoted = f"“{row['second']}”"
    return (
        f"“{row['first']}” is {_apart(row['difference'], quoted)} at song level on the same songs "
        f"({_interval(row['ci95_low'], row['ci95_high'], signed=True)}, p {_p(row['p_holm'])} by McNemar's test after "
        f"Holm){_unless_told(row['ci95_low'], row['ci95_high'])}."
    )


def _highest(split: str, best: str, of: int, runs: Sequence[Run], draws: int, seed: int) -> str:
    """The best condition of a split."""
    f1, sd = mean_and_sd([run.test("song")["f1_weighted"] for run in runs])
    spread = "" if math.isnan(sd) else f" ± {sd:.3f}"
    low, high = mean_f1_interval([run.outcomes["song"] for run in runs], draws=draws, seed=seed)
    which = f"the best of {counted(of, 'condition')} is “{best}”" if of > 1 else f"the one condition is “{best}”"
    return (
        f"On the {split} split {which}, with a weighted F1 of {f1:.3f}{spread} at song level "
        f"({counted(len(runs), 'trial')}, {_interval(low, high)})."
    )


def _vote(runs: Sequence[Run], draws: int, seed: int) -> Iterator[str]:
    """Song level against frame level, with the same songs redrawn for both; none for systems without frame level."""
    if "frame" not in runs[0].levels:
        return
    generator = np.random.default_rng(seed)
    levels = [[run.outcomes[level] for run in runs] for level in ("song", "frame")]
    redrawn = [f1_draws(of_run, draws, generator) for of_run in zip(*levels, strict=True)]
    song, frame = (estimate_of(level, [draw[at] for draw in redrawn]) for at, level in enumerate(levels))
    low, high = song.minus(frame)
    yield (
        f"There, votes of whole songs are {_apart(song.value - frame.value, 'single clips')}, {song.value:.3f} "
        f"against {frame.value:.3f} ({_interval(low, high, signed=True)}){_unless_told(low, high)}."
    )


def _nearest(split: str, best: str, comparisons: Table | None) -> Iterator[str]:
    """The other system that comes closest to the best one."""
    rows = [
        row
        for row in (comparisons.rows if comparisons else ())
        if row["split"] == split and not math.isnan(row["difference"]) and _system(row["first"]) != _system(best)
    ]
    if rows:
        yield f"Of other systems {pair_in_words(max(rows, key=lambda row: row['difference']))}"


def _producers(study: Study, draws: int, seed: int) -> Iterator[str]:
    """The producer effect of a network at song level, with the clip length that is best on the album split."""
    effect = tables.producer_effect(study, draws, seed)
    if effect.empty:
        return
    rows = effect[effect["level"] == "song"]
    album = SPLITS[1]
    best = max(rows["clip_s"], key=lambda s: np.mean([run.test("song")["f1_weighted"] for run in study.cell(album, s)]))
    row = rows[rows["clip_s"] == best].iloc[0]
    low, high = row["ci95_low"], row["ci95_high"]
    yield (
        f"The producer effect: “{study.system}, {tables.clip_length(best)}” scores "
        f"{_apart(row['difference'], 'the album split')} on the song split, where it was trained on the tested albums, "
        f"at song level ({_interval(low, high, signed=True)}){_unless_told(low, high)}."
    )


def _system(condition: str) -> str:
    """A condition's name without the clip length."""
    return condition.rpartition(", ")[0]


def _apart(difference: float, other: str) -> str:
    return f"{abs(difference):.3f} {'above' if difference >= 0 else 'below'} {other}"


def _interval(low: float, high: float, signed: bool = False) -> str:
    return f"95 % interval {tables.signed_interval(low, high) if signed else tables.interval(low, high)}"


def _unless_told(low: float, high: float) -> str:
    return f", {NOT_TOLD}" if low <= 0 <= high else ""


def _p(value: float) -> str:
    words = tables.p_value(value)
    return words if words.startswith("<") else f"= {words}"
