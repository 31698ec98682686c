"""The report's figures, over the runs of a study; ``artistid.evaluation.plots`` draws those of a single run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from artistid.errors import ArtistidError
from artistid.evaluation.plots import (
    ARTIST_COLOURS,
    CELLS,
    CURVES,
    LEVEL_STYLES,
    MARKERS,
    MOST_ARTISTS_WITH_COUNTS,
    as_written,
    by_epoch,
    confusion_matrix,
    save,
    shortened,
    split_style,
)
from artistid.evaluation.scores import LEVELS, confusion
from artistid.reporting import published
from artistid.reporting.tables import AlbumsRead, Calibrated
from artistid.runs.studies import Run, Study, mean_and_sd


def f1_by_clip(study: Study, path: Path) -> None:
    """Mean weighted F1 ± standard deviation over trials against clip length: a panel per level, a curve per split.

    The published means are dashed, with hollow markers.
    """
    figure = Figure(figsize=(9, 4.4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, level in zip(panels, LEVELS, strict=True):
        for index, split in enumerate(study.splits):
            cells = {seconds: runs for (of_split, seconds), runs in study.cells.items() if of_split == split}
            means = [mean_and_sd([run.test(level)["f1_weighted"] for run in runs]) for runs in cells.values()]
            if means:
                mean, sd = np.array(means).T
                beside = _aside(cells, index)
                axes.errorbar(beside, mean, np.nan_to_num(sd), **split_style(split), capsize=3, linewidth=2)
            averages = {seconds: _published_average(level, split, seconds) for seconds in published.CLIPS}
            _dashed(axes, averages, split_style(split))
        _against_clip_length(axes, study)
        axes.set_title(f"{level} level")
        axes.set_ylim(0, 1)
    panels[0].set_ylabel("weighted F1, test")
    _legend_below(figure, {f"{split} split": split_style(split) for split in study.splits})
    save(figure, path, for_print=True)


def producer_effect(study: Study, effect: pd.DataFrame, path: Path) -> None:
    """Song split minus album split against clip length, with 95 % intervals; the published differences are dashed.

    Args:
        study: with both splits.
        effect: of :func:`artistid.reporting.tables.producer_effect`.
        path: where to save.
    """
    figure = Figure(figsize=(6.5, 4.4), layout="constrained")
    axes = figure.subplots()
    for index, level in enumerate(LEVELS):
        rows = effect[effect["level"] == level]
        axes.errorbar(
            _aside(rows["clip_s"], index),
            rows["difference"],
            [rows["difference"] - rows["ci95_low"], rows["ci95_high"] - rows["difference"]],
            **LEVEL_STYLES[level],
            capsize=3,
            linewidth=2,
        )
        differences = {seconds: published.effect(level, seconds) for seconds in published.CLIPS}
        _dashed(axes, differences, LEVEL_STYLES[level])
    _against_clip_length(axes, study)
    axes.axhline(0, color="0.4", linewidth=1, zorder=0)
    axes.set_ylabel("weighted F1: song split − album split")
    _legend_below(figure, {f"{level} level": LEVEL_STYLES[level] for level in LEVELS})
    save(figure, path, for_print=True)


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
        for number, split in enumerate(splits):
            rows = scores[(scores["level"] == level) & (scores["split"] == split)]
            axes.errorbar(
                rows["f1_weighted"],
                [index[system] + 0.12 * (number - (len(splits) - 1) / 2) for system in rows["system"]],
                xerr=rows["f1_weighted_sd"].fillna(0),
                **split_style(split),
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
    handles = [Line2D([], [], **split_style(split), linestyle="none", label=f"{split} split") for split in splits]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    save(figure, path, for_print=True)


def reliability(systems: Sequence[Calibrated], path: Path) -> None:
    """Reliability diagrams, accuracy against confidence: a panel per system and level, a colour per split.

    A marker's area grows with its share of the samples; the diagonal is perfect calibration.
    """
    names = list(dict.fromkeys(system.system for system in systems))
    splits = list(dict.fromkeys(system.split for system in systems))
    figure = Figure(figsize=(6.5, 0.6 + 2.6 * len(names)), layout="constrained")
    panels = figure.subplots(len(names), len(LEVELS), sharex=True, sharey=True, squeeze=False)
    for name, row in zip(names, panels, strict=True):
        for level, axes in zip(LEVELS, row, strict=True):
            axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, zorder=0)
            for split in splits:
                style = split_style(split)
                of_split = [each for each in systems if each[:3] == (name, split, level)]
                for said, true, n in (each.reliability for each in of_split):
                    axes.plot(said, true, color=style["color"], linewidth=1)
                    axes.scatter(said, true, 150 * n / n.sum() + 4, **style)
            axes.set_xlim(-0.02, 1.02)
            axes.set_ylim(-0.02, 1.02)
            _plain_axes(axes)
        as_written(row[0].set_title(f"{shortened(name)}: {LEVELS[0]}"), row[1].set_title(LEVELS[1]))
        row[0].set_ylabel("accuracy")
    for axes in panels[-1]:
        axes.set_xlabel("confidence")
    handles = [Line2D([], [], **split_style(split), label=f"{split} split") for split in splits]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    save(figure, path, for_print=True)


def strengths(scores: pd.DataFrame, chance: float, path: Path) -> None:
    """Mean weighted F1 ± standard deviation against the strength of production: a panel per split, a curve per system.

    Args:
        scores: a row per ``system``, ``split`` and ``producer_strength``, with ``f1_weighted`` and ``f1_weighted_sd``.
        chance: a dotted line.
        path: where to save.
    """
    systems = list(dict.fromkeys(scores["system"]))
    splits = sorted(set(scores["split"]))
    styles: dict[str, dict[str, Any]] = {
        system: {"color": ARTIST_COLOURS[at % len(ARTIST_COLOURS)], "marker": MARKERS[at % len(MARKERS)]}
        for at, system in enumerate(systems)
    }
    figure = Figure(figsize=(9, 4.4), layout="constrained")
    panels = figure.subplots(1, max(len(splits), 2), sharey=True)
    for split, axes in zip(splits, panels, strict=False):
        for system, style in styles.items():
            rows = scores[(scores["split"] == split) & (scores["system"] == system)]
            sd = rows["f1_weighted_sd"].fillna(0)
            axes.errorbar(rows["producer_strength"], rows["f1_weighted"], sd, **style, linewidth=2, capsize=3)
        axes.axhline(chance, color="0.5", linewidth=1, linestyle=":")
        axes.set_xticks(sorted(set(scores["producer_strength"])))
        axes.set_ylim(0, 1.02)
        axes.set_title(f"{split} split")
        axes.set_xlabel("strength of production")
        _plain_axes(axes)
    for axes in panels[len(splits) :]:
        axes.set_axis_off()
    panels[0].set_ylabel("weighted F1, song level, test")
    handles = [Line2D([], [], linewidth=2, label=shortened(system), **style) for system, style in styles.items()]
    legend = figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 3), frameon=False)
    as_written(*legend.get_texts())
    save(figure, path, for_print=True)


def albums(found: Sequence[AlbumsRead], path: Path) -> None:
    """Scores for artists, and beside them for the albums of one artist: a row per system, a marker per run."""
    order = sorted({each.system for each in found}, key=lambda name: max(e.f1 for e in found if e.system == name))
    splits = list(dict.fromkeys(each.split for each in found))
    figure = Figure(figsize=(9, 1.6 + 0.36 * len(order)), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, value in zip(panels, ("f1", "album"), strict=True):
        for split in splits:
            of_split = [each for each in found if each.split == split]
            rows = [order.index(each.system) for each in of_split]
            axes.plot([getattr(each, value) for each in of_split], rows, **split_style(split), linestyle="none")
        axes.set_ylim(-0.6, len(order) - 0.4)
        _plain_axes(axes)
    panels[0].set_xlim(0, 1.02)
    panels[0].set_xlabel("weighted F1, song level, test")
    panels[0].set_title("artists")
    panels[1].set_xlim(min(-0.05, *(each.album - 0.05 for each in found)), 1.02)
    panels[1].set_xlabel("accuracy of a linear probe (0: chance, 1: all correct)")
    panels[1].set_title("albums of an artist")
    panels[1].axvline(0, color="0.6", linewidth=1, zorder=0)
    panels[0].set_yticks(range(len(order)), [shortened(system) for system in order])
    as_written(*panels[0].get_yticklabels())
    handles = [Line2D([], [], **split_style(split), linestyle="none", label=f"{split} split") for split in splits]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    save(figure, path, for_print=True)


def learning_curves(runs: Sequence[Run], path: Path) -> list[Run]:
    """Loss and validation F1 over the epochs of all runs of a condition: a shade of its split and a marker per run.

    Returns:
        The runs drawn: a model that is not trained in epochs has no curves. If there are none, no file is written.
    """
    curves = {run: epochs for run in runs if (epochs := _epochs(run)) is not None}
    if not curves:
        return []
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    loss_axes, f1_axes = figure.subplots(1, 2)
    styles = _trial_styles(runs[0].condition["split"], len(curves))
    for axes, (quantity, columns) in zip((loss_axes, f1_axes), CURVES.items(), strict=True):
        for style, epochs in zip(styles, curves.values(), strict=True):
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
    handles = [Line2D([], [], **style, label=_trial(run)) for style, run in zip(styles, curves, strict=True)]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 4), frameon=False)
    save(figure, path, for_print=True)
    return list(curves)


def confusion_over_trials(runs: Sequence[Run], level: str, title: str, path: Path) -> None:
    """Confusion matrix, summed over trials of the same artists."""
    outcomes = [run.outcomes[level] for run in runs]
    label = np.concatenate([outcome.label for outcome in outcomes])
    predicted = np.concatenate([outcome.predicted for outcome in outcomes])
    confusion_matrix(label, predicted, runs[0].votes.artists, title, path, for_print=True)


def f1_per_artist(cells: Mapping[float, Sequence[Run]], artists: Sequence[str], path: Path) -> None:
    """Each artist's F1 by clip length, counted over all trials: a panel per level, the easiest artist on top.

    Args:
        cells: clip length in seconds to its trials, all with the same artists.
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
        axes.set_title(f"{level} level")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        if len(artists) <= MOST_ARTISTS_WITH_COUNTS:
            _print_shares(axes, f1[level][order])
    panels[0].set_yticks(range(len(artists)), [shortened(artists[number]) for number in order])
    as_written(*panels[0].get_yticklabels())
    figure.supxlabel("clip length, seconds", fontsize="medium")
    figure.colorbar(image, ax=panels, label="F1", shrink=min(1, 3 / size[1]))
    save(figure, path, for_print=True)


def f1_over_trials(runs: Sequence[Run], level: str, n_artists: int) -> NDArray[np.float64]:
    """``(artists,)`` F1 of the pooled samples of all trials; NaN for an artist neither tested nor predicted."""
    counts = sum(confusion(run.outcomes[level].label, run.outcomes[level].predicted, n_artists) for run in runs)
    named_or_true = counts.sum(axis=0) + counts.sum(axis=1)  # type: ignore[union-attr]
    with np.errstate(invalid="ignore"):
        return 2 * counts.diagonal() / named_or_true  # type: ignore[union-attr]


def _print_shares(axes: Axes, values: NDArray[np.floating]) -> None:
    for (row, column), value in np.ndenumerate(values):
        text = "–" if math.isnan(value) else f"{value:.2f}"
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color="white" if value > 0.5 else "black")


def _trial_styles(split: str, n: int) -> list[dict[str, Any]]:
    """Shades of a split's colour, from the colour itself to lighter ones, and a marker for each of ``n`` trials."""
    colour = np.array(to_rgb(split_style(split)["color"]))
    lighter = np.linspace(0, 0.6, max(n, 2))[:n]
    return [
        {"color": tuple(colour + (1 - colour) * share), "marker": MARKERS[index % len(MARKERS)]}
        for index, share in enumerate(lighter)
    ]


def _epochs(run: Run) -> pd.DataFrame | None:
    """A run's metrics, a row per epoch; None where it has none."""
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
    """Clip lengths shifted slightly from their tick, so that the error bars of several curves do not overlap."""
    return [value * (1.04 if index % 2 else 0.96) for value in seconds]


def _dashed(axes: Axes, values: Mapping[int, float], style: Mapping[str, Any]) -> None:
    """Draw a published curve."""
    hollow = {**style, "linestyle": "--", "markerfacecolor": "white", "alpha": 0.8}
    axes.plot(list(values), list(values.values()), **hollow)


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


def _legend_below(figure: Figure, styles: Mapping[str, Mapping[str, Any]]) -> None:
    """A legend of the curves, with dashed ones as published."""
    handles = [Line2D([], [], linewidth=2, label=name, **style) for name, style in styles.items()]
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
