"""The paper's results, from the trials that its authors released."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pandas as pd

from artistid.runs.studies import SPLITS, mean_and_sd

PAPER = "Nasrullah & Zhao 2019"
DATA = "artist20"
CLIPS = (1, 3, 5, 10, 20, 30)  # seconds
SEEDS = (0, 21, 42)
TABLES = {"frame": "Table IV", "song": "Table V"}
# Where the printed tables differ from the trials: (level, split, seconds) to the printed values.
MISPRINTS: dict[tuple[str, str, float], dict[str, float]] = {
    ("frame", "song", 10): {"average": 0.787, "best": 0.772},  # swapped
    ("song", "album", 20): {"average": 0.568},
}


@dataclass(frozen=True)
class Cell:
    """One cell of the paper's tables: weighted F1 over its trials.

    Attributes:
        average: of the trials.
        sd: their standard deviation.
        best: of the trials.
        trials: number of trials.
        misprints: values of ``average`` or ``best`` printed in the paper instead; empty if it prints these.
    """

    average: float
    sd: float
    best: float
    trials: int
    misprints: Mapping[str, float]


@cache
def trials() -> pd.DataFrame:
    """A row per trial: split, clip_s, frames, level, trial_seed, f1_weighted, … (from the authors' repository)."""
    return pd.read_csv(Path(__file__).with_name("published_trials.csv"))


@cache
def baselines() -> pd.DataFrame:
    """Results of other works, as quoted in the paper's Table III, and from their authors' own abstracts."""
    return pd.read_csv(Path(__file__).with_name("published_baselines.csv"))


def cell(level: str, split: str, seconds: float) -> Cell | None:
    """The published figures of a cell; None where nothing was published."""
    rows = trials().query("level == @level and split == @split and clip_s == @seconds")
    if rows.empty:
        return None
    average, sd = mean_and_sd(rows["f1_weighted"].tolist())
    best = float(rows["f1_weighted"].max())
    return Cell(average, sd, best, len(rows), MISPRINTS.get((level, split, seconds), {}))


def effect(level: str, seconds: float) -> float:
    """Published average of the song split minus that of the album split; NaN where one is missing."""
    song, album = (cell(level, split, seconds) for split in SPLITS)
    return song.average - album.average if song and album else math.nan
