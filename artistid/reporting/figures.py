"""The report's figures, over the runs of a study; ``artistid.evaluation.plots`` draws those of a single run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from artistid.errors import ArtistidError
from artistid.evaluation.plots import (
    CELLS,
    MARKERS,
    MOST_ARTISTS_WITH_COUNTS,
    PALETTE,
    PRINT_DPI,
    as_written,
    by_epoch,
    confusion_matrix,
    save,
    shortened,
)
from artistid.evaluation.scores import LEVELS, confusion
from artistid.reporting import published
from artistid.reporting.tables import Calibrated
from artistid.runs.studies import Run, Study, mean_and_sd


def f1_by_clip(study: Study, path: Path) -> None:
    """Mean weighted F1 ± standard deviation over trials against clip length: a panel per level, a curve per split.

    The published means are dashed, with hollow markers.
    """
    figure = Figure(figsize=(9, 4.4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, level in zip(panels, LEVELS, strict=True):
        for index, (split, colour, marker) in enumerate(zip(study.splits, PALETTE, MARKERS, strict=False)):
            cells = {seconds: runs for (of_split, seconds), runs in study.cells.items() if of_split == split}
            means = [mean_and_sd([run.test(level)["f1_weighted"] for run in runs]) for runs in cells.values()]
            if means:
                mean, sd = np.array(means).T
                axes.errorbar(
                    _aside(cells, index), mean, np.nan_to_num(sd), color=colour, marker=marker, capsize=3, linewidth=2
                )
            _dashed(
                axes,
                {seconds: _published_average(level, split, seconds) for seconds in published.CLIPS},
                colour,
                marker,
            )
        _against_clip_length(axes, study)
        axes.set_title(f"{level} level")
        axes.set_ylim(0, 1)
    panels[0].set_ylabel("weighted F1, test")
    _legend_below(figure, [f"{split} split" for split in study.splits])
    save(figure, path, PRINT_DPI)


def producer_effect(study: Study, effect: pd.DataFrame, path: Path) -> None:
    """Song split minus album split against clip length, with 95 % intervals; the published differences are dashed.

    Args:
        study: with both splits.
        effect: of :func:`artistid.reporting.tables.producer_effect`.
        path: where to save.
    """
    figure = Figure(figsize=(6.5, 4.4), layout="constrained")
    axes = figure.subplots()
    for index, (level, colour, marker) in enumerate(zip(LEVELS, PALETTE, MARKERS, strict=False)):
        rows = effect[effect["level"] == level]
        axes.errorbar(
            _aside(rows["clip_s"], index),
            rows["difference"],
            [rows["difference"] - rows["ci95_low"], rows["ci95_high"] - rows["difference"]],
            color=colour,
            marker=marker,
            capsize=3,
            linewidth=2,
        )
        _dashed(axes, {seconds: published.effect(level, seconds) for seconds in published.CLIPS}, colour, marker)
    _against_clip_length(axes, study)
    axes.axhline(0, color="0.4", linewidth=1, zorder=0)
    axes.set_ylabel("weighted F1: song split − album split")
    _legend_below(figure, [f"{level} level" for level in LEVELS])
    save(figure, path, PRINT_DPI)


def systems(scores: pd.DataFrame, path: Path) -> None:
    """Mean weighted F1 ± standard deviation of systems: a panel per level, a colour and marker per split.

    Args:
        scores: of :func:`artistid.reporting.tables.system_scores`.
        path: where to save.
    """
    order = scores[scores["level"] == "song"].groupby("system")["f1_weighted"].mean().sort_values()
    index = {system: number for number, system in enumerate(order.index)}
    splits = list(dict.fromkeys(scores["split"]))
    figure = Figure(figsize=(9, 1.6 + 0.36 * len(index)), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, level in zip(panels, LEVELS, strict=True):
        for number, (split, colour, marker) in enumerate(zip(splits, PALETTE, MARKERS, strict=False)):
            rows = scores[(scores["level"] == level) & (scores["split"] == split)]
            axes.errorbar(
                rows["f1_weighted"],
                [index[system] + 0.12 * (number - (len(splits) - 1) / 2) for system in rows["system"]],
                xerr=rows["f1_weighted_sd"].fillna(0),
                color=colour,
                marker=marker,
                linestyle="none",
                capsize=3,
            )
        axes.set_xlim(0, 1.02)
        axes.set_ylim(-0.6, len(index) - 0.4)
        axes.set_xlabel("weighted F1, test")
        axes.set_title(f"{level} level")
        _plain_axes(axes)
    panels[0].set_yticks(range(len(index)), [shortened(system) for system in index])
    as_written(*panels[0].get_yticklabels())
    handles = [
        Line2D([], [], color=colour, marker=marker, linestyle="none", label=f"{split} split")
        for split, colour, marker in zip(splits, PALETTE, MARKERS, strict=False)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    save(figure, path, PRINT_DPI)


def reliability(systems: Sequence[Calibrated], path: Path) -> None:
    """How often each system is right against how sure it is: a panel per system and level, a colour per split.

    A marker's area grows with its share of the samples; the diagonal is a system that is right as often as it says.
    """
    names = list(dict.fromkeys(system.system for system in systems))
    splits = list(dict.fromkeys(system.split for system in systems))
    figure = Figure(figsize=(6.5, 0.6 + 2.6 * len(names)), layout="constrained")
    panels = figure.subplots(len(names), len(LEVELS), sharex=True, sharey=True, squeeze=False)
    for name, row in zip(names, panels, strict=True):
        for level, axes in zip(LEVELS, row, strict=True):
            axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, zorder=0)
            for split, colour, marker in zip(splits, PALETTE, MARKERS, strict=False):
                of_split = [each for each in systems if each[:3] == (name, split, level)]
                for said, true, n in (each.reliability for each in of_split):
                    axes.plot(said, true, color=colour, linewidth=1)
                    axes.scatter(said, true, 150 * n / n.sum() + 4, color=colour, marker=marker)
            axes.set_xlim(-0.02, 1.02)
            axes.set_ylim(-0.02, 1.02)
            _plain_axes(axes)
        as_written(row[0].set_title(f"{shortened(name)}: {LEVELS[0]}"), row[1].set_title(LEVELS[1]))
        row[0].set_ylabel("share that is right")
    for axes in panels[-1]:
        axes.set_xlabel("probability of whom it names")
    handles = [
        Line2D([], [], color=colour, marker=marker, label=f"{split} split")
        for split, colour, marker in zip(splits, PALETTE, MARKERS, strict=False)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    save(figure, path, PRINT_DPI)


def learning_curves(runs: Sequence[Run], path: Path) -> list[Run]:
    """Loss and validation F1 over the epochs of all runs of a condition, a colour and marker per run.

    Returns:
        The runs drawn: a model that is not trained by epochs has no curves. Without any there is no file.
    """
    curves = {run: epochs for run in runs if (epochs := _epochs(run)) is not None}
    if not curves:
        return []
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    loss_axes, f1_axes = figure.subplots(1, 2)
    panels = (
        (loss_axes, "loss", (("val/loss", "validation", "-"), ("train/loss", "train", ":"))),
        (
            f1_axes,
            "weighted F1, validation",
            (("val/song/f1_weighted", "song level", "-"), ("val/frame/f1_weighted", "frame level", ":")),
        ),
    )
    for axes, quantity, columns in panels:
        for index, epochs in enumerate(curves.values()):
            style = {"color": PALETTE[index % len(PALETTE)], "marker": MARKERS[index % len(MARKERS)]}
            best = epochs["val/loss"].idxmin()
            for column, _, line in columns:
                if column in epochs:
                    curve = epochs[column].dropna()
                    now_and_then = max(1, len(curve) // 8)
                    axes.plot(curve.index, curve, line, markevery=now_and_then, markersize=4, **style)
                    axes.plot(curve[curve.index == best], markersize=11, markerfacecolor="none", **style)
        axes.set_xlabel("epoch")
        axes.set_ylabel(quantity)
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.legend(
            handles=[axes.plot([], [], line, color="0.3", label=name)[0] for _, name, line in columns], frameon=False
        )
        _plain_axes(axes)
    loss_axes.set_ylim(bottom=0)
    f1_axes.set_ylim(-0.02, 1.02)
    handles = [
        Line2D([], [], color=PALETTE[index % len(PALETTE)], marker=MARKERS[index % len(MARKERS)], label=_trial(run))
        for index, run in enumerate(curves)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 4), frameon=False)
    save(figure, path, PRINT_DPI)
    return list(curves)


def confusion_over_trials(runs: Sequence[Run], level: str, title: str, path: Path) -> None:
    """Who is confused with whom, summed over trials of the same artists."""
    outcomes = [run.outcomes[level] for run in runs]
    label = np.concatenate([outcome.label for outcome in outcomes])
    predicted = np.concatenate([outcome.predicted for outcome in outcomes])
    confusion_matrix(label, predicted, runs[0].votes.artists, title, path, PRINT_DPI)


def f1_per_artist(cells: Mapping[float, Sequence[Run]], artists: Sequence[str], path: Path) -> None:
    """Each artist's F1 by clip length, counted over all trials: a panel per level, the easiest artist on top.

    Args:
        cells: clip length in seconds to its trials; all know the same artists.
        artists: their names.
        path: where to save.
    """
    f1 = {
        level: np.stack([f1_over_trials(runs, level, len(artists)) for runs in cells.values()], axis=1)
        for level in LEVELS
    }  # (artists, clip lengths)
    order = np.argsort(-np.nanmean(f1["song"], axis=1), kind="stable")
    row_height = 0.3 if len(artists) <= MOST_ARTISTS_WITH_COUNTS else 0.16
    size = (3.6 + 1.3 * len(cells), 1.4 + row_height * len(artists))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, level in zip(panels, LEVELS, strict=True):
        image = axes.imshow(f1[level][order], aspect="auto", **CELLS)
        axes.set_xticks(range(len(cells)), [f"{seconds:g}" for seconds in cells])
        axes.set_xlabel("clip length, seconds")
        axes.set_title(f"{level} level")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        if len(artists) <= MOST_ARTISTS_WITH_COUNTS:
            _print_shares(axes, f1[level][order])
    panels[0].set_yticks(range(len(artists)), [shortened(artists[number]) for number in order])
    as_written(*panels[0].get_yticklabels())
    figure.colorbar(image, ax=panels, label="F1", shrink=min(1, 3 / size[1]))
    save(figure, path, PRINT_DPI)


def f1_over_trials(runs: Sequence[Run], level: str, n_artists: int) -> NDArray[np.float64]:
    """``(artists,)`` F1 of the trials' samples taken together; NaN for an artist neither tested nor predicted."""
    counts = sum(confusion(run.outcomes[level].label, run.outcomes[level].predicted, n_artists) for run in runs)
    named_or_true = counts.sum(axis=0) + counts.sum(axis=1)  # type: ignore[union-attr]
    with np.errstate(invalid="ignore"):
        return 2 * counts.diagonal() / named_or_true  # type: ignore[union-attr]


def _print_shares(axes: Axes, values: NDArray[np.floating]) -> None:
    for (row, column), value in np.ndenumerate(values):
        text = "–" if math.isnan(value) else f"{value:.2f}"
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color="white" if value > 0.5 else "black")


def _epochs(run: Run) -> pd.DataFrame | None:
    """A row per epoch of a run's metrics; None where it has none."""
    if not run.folder.metrics.exists():
        return None
    try:
        return by_epoch(pd.read_csv(run.folder.metrics), "val/loss")
    except (ArtistidError, pd.errors.EmptyDataError):
        return None


def _trial(run: Run) -> str:
    fold = f", fold {run.condition['fold']}" if "fold" in run.condition else ""
    return f"run {run.number}, seed {run.condition['seed']}{fold}"


def _published_average(level: str, split: str, seconds: float) -> float:
    cell = published.cell(level, split, seconds)
    return cell.average if cell else math.nan


def _aside(seconds: Iterable[float], index: int) -> list[float]:
    """Clip lengths a little beside their tick, so that the bars of several curves don't hide one another."""
    return [value * (1.04 if index % 2 else 0.96) for value in seconds]


def _dashed(axes: Axes, values: Mapping[int, float], colour: str, marker: str) -> None:
    """A published curve."""
    axes.plot(
        list(values), list(values.values()), "--", color=colour, marker=marker, markerfacecolor="white", alpha=0.8
    )


def _against_clip_length(axes: Axes, study: Study) -> None:
    lengths = sorted({*published.CLIPS, *study.clips})
    axes.set_xscale("log")
    axes.set_xticks(lengths, [f"{seconds:g}" for seconds in lengths])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("clip length, seconds")
    _plain_axes(axes)


def _plain_axes(axes: Axes) -> None:
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _legend_below(figure: Figure, names: Sequence[str]) -> None:
    """What the curves are, and that dashed ones are published."""
    handles = [
        Line2D([], [], color=colour, marker=marker, linewidth=2, label=name)
        for name, colour, marker in zip(names, PALETTE, MARKERS, strict=False)
    ]
    dashed = Line2D(
        [],
        [],
        color="0.3",
        linestyle="--",
        marker="o",
        markerfacecolor="white",
        label=f"{published.PAPER}, {published.DATA}",
    )
    figure.legend(handles=[*handles, dashed], loc="outside lower center", ncols=len(handles) + 1, frameon=False)
