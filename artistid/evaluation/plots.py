"""Figures of a run: confusion matrices and learning curves.

Drawn on matplotlib's ``Figure`` itself, without ``pyplot``: there is no window, no global state and nothing to close,
so they can be drawn in a training loop or in a thread.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from lightning.pytorch.utilities import rank_zero_only
from matplotlib import font_manager, rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from artistid.errors import ArtistidError
from artistid.evaluation.predictions import Predictions
from artistid.evaluation.score_table import UNITS
from artistid.evaluation.scores import Score, confusion, outcomes
from artistid.evaluation.voting import SongVotes
from artistid.writing import whole

DPI = 150
PRINT_DPI = 300
PRINT_FORMATS = (".pdf", ".svg")
PAGE_INCHES = 7  # text width of a printed page; a larger figure is scaled down to it, and needs fewer dots per inch
# Beyond this many artists, cells are too small for numbers, and the figure shows colours only.
MOST_ARTISTS_WITH_COUNTS = 25
LONGEST_LABEL = 32
# Matplotlib's own font has Latin, Greek and Cyrillic; these, where installed, have other scripts.
FONTS = (
    "DejaVu Sans",
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Hiragino Sans",
    "Yu Gothic",
    "Microsoft YaHei",
    "Malgun Gothic",
    "Apple SD Gothic Neo",
    "WenQuanYi Zen Hei",
    "Arial Unicode MS",
)
# In all figures a colour means a split (Okabe & Ito's palette, for every kind of colour vision), except for the artists
# of a map, which have others (Tol's "muted", without its faint ones). Levels and subsets differ by line style and grey,
# trials by marker and shade, shares by grey alone, so that every figure can be read in black and white.
SPLIT_COLOURS = {
    "song": "#D55E00",
    "album": "#0072B2",
    "canonical": "#009E73",
    "jackknife": "#CC79A7",
    "file": "#E69F00",
}
OTHER_SPLIT = "#56B4E9"
SPLIT_MARKERS = {"song": "s", "album": "o", "canonical": "D", "jackknife": "^", "file": "v"}
LEVEL_STYLES: Mapping[str, Mapping[str, Any]] = {
    "frame": {"color": "0.55", "linestyle": ":", "marker": "v"},
    "song": {"color": "black", "linestyle": "-", "marker": "D"},
}
ARTIST_COLOURS = ("#332288", "#CC6677", "#117733", "#AA4499", "#999933", "#44AA99", "#882255")
MARKERS = "osD^vPX"
# How shares are coloured: before scaling, as after it every pixel of the print would be mapped to a colour.
CELLS: dict[str, Any] = {
    "cmap": "Greys",
    "vmin": 0,
    "vmax": 1,
    "interpolation": "nearest",
    "interpolation_stage": "rgba",
}
# By quantity: the metric, its label, and its line style.
CURVES: Mapping[str, Sequence[tuple[str, str, str]]] = {
    "loss": (("val/loss", "validation", "-"), ("train/loss", "train", ":")),
    "weighted F1, validation": (
        ("val/song/f1_weighted", "song level", "-"),
        ("val/frame/f1_weighted", "frame level", ":"),
    ),
}


@rank_zero_only
def draw_results(folder: Path, predictions: Predictions, votes: SongVotes, scores: Mapping[str, Score]) -> None:
    """Draw confusion matrices of each level and, if there are metrics, the learning curves into a run folder.

    Args:
        folder: of the run.
        predictions: of the test clips.
        votes: of the test songs.
        scores: by level.
    """
    for level, outcome in outcomes(predictions, votes, tuple(scores)).items():
        score = scores[level]
        title = f"Test, {level} level: weighted F1 {score['f1_weighted']:.3f}, n = {score['n']} {UNITS[level]}"
        path = folder / f"confusion_{level}.png"
        confusion_matrix(outcome.label, outcome.predicted, predictions.artists, title, path)
    path = folder / "metrics.csv"
    if path.exists() and "val/loss" in (metrics := pd.read_csv(path)):
        learning_curves(metrics, folder / "learning_curves.png")


def confusion_matrix(
    label: NDArray[np.integer],
    predicted: NDArray[np.integer],
    artists: Sequence[str],
    title: str,
    path: str | Path,
    for_print: bool = False,
) -> None:
    """Draw a confusion matrix and save it at ``path``, in the format of its suffix.

    Rows are the true artists, columns the predicted ones. Colour is the share of the row; for up to 25 artists, counts
    above 0 are printed as well. The row of an artist without samples is blank. Names longer than 32 characters are
    shortened; the figure grows with the number of artists.

    Args:
        label: ``(n,)`` index of the true artist of each clip or song.
        predicted: ``(n,)`` index of the predicted artist.
        artists: all artists, in the order of those indices.
        title: above the matrix.
        path: where to save; the folder is made if needed.
        for_print: see :func:`save`.
    """
    n_artists = len(artists)
    counts = confusion(label, predicted, n_artists)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    with_counts = n_artists <= MOST_ARTISTS_WITH_COUNTS
    inches = max(2.4, n_artists * (0.42 if with_counts else 0.13))
    font_size = 9 if with_counts else 7
    heading_size = max(11, 0.6 * inches)

    figure = Figure(figsize=(inches, inches))
    axes = figure.add_axes((0, 0, 1, 1))  # labels and title lie outside and saving makes room for them
    image = axes.imshow(share, **CELLS)
    names = [shortened(name) for name in artists]
    axes.set_xticks(range(n_artists), names, rotation=90, fontsize=font_size)
    axes.set_yticks(range(n_artists), names, fontsize=font_size)
    as_written(*axes.get_xticklabels(), *axes.get_yticklabels())
    _grid_between_cells(axes, n_artists)
    if with_counts:
        _print_counts(axes, counts, share)
    axes.set_xlabel("predicted artist", fontsize=heading_size, labelpad=8)
    axes.set_ylabel("true artist", fontsize=heading_size, labelpad=8)
    as_written(axes.set_title(textwrap.fill(title, width=40 + int(4 * inches)), fontsize=heading_size, pad=10))
    bar = figure.colorbar(image, cax=figure.add_axes((1 + 0.25 / inches, 0, 0.18 / inches, 1)))
    bar.ax.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    bar.set_label("share of the row", fontsize=heading_size)
    bar.ax.tick_params(labelsize=font_size)
    save(figure, path, for_print)


def learning_curves(metrics: pd.DataFrame, path: str | Path, monitor: str = "val/loss") -> None:
    """Draw loss (train, validation) and validation F1 (frame, song level) over the epochs and save it at ``path``.

    Args:
        metrics: of a run: rows with ``epoch`` and a column per metric, NaN where a metric was not logged. Several
            values of one epoch are averaged. A curve that was never logged is left out.
        path: where to save, in the format of its suffix; the folder is made if needed.
        monitor: the metric that says which epoch is best: the lowest if it is a loss, else the highest.

    Raises:
        ArtistidError: if ``epoch`` or the monitored metric is missing or was never logged.
    """
    epochs = by_epoch(metrics, monitor)
    lowest = monitor.endswith("loss")
    best = epochs[monitor].idxmin() if lowest else epochs[monitor].idxmax()

    figure = Figure(figsize=(10, 4), layout=ConstrainedLayoutEngine(wspace=0.06))
    loss_axes, f1_axes = figure.subplots(1, 2)
    for axes, (quantity, curves) in zip((loss_axes, f1_axes), CURVES.items(), strict=True):
        for column, name, line in curves:
            if column in epochs:
                curve = epochs[column].dropna()
                size = marker_size(len(epochs))
                axes.plot(curve.index, curve, line, color="black", label=name, marker="o", markersize=size)
        axes.axvline(best, color="0.6", linestyle="--", linewidth=1, zorder=0, label=f"best epoch: {best}")
        axes.set_xlabel("epoch")
        axes.set_ylabel(quantity)
        axes.set_xlim(epochs.index.min() - 0.5, epochs.index.max() + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    loss_axes.update_datalim([(best, 0)])
    loss_axes.autoscale_view(scalex=False)
    loss_axes.set_ylim(bottom=0)
    f1_axes.set_ylim(-0.02, 1.02)  # room for the dot of a run at 0 or 1
    figure.suptitle(f"Learning curves; best epoch by {'lowest' if lowest else 'highest'} {monitor}", fontsize=12)
    save(figure, path)


def by_epoch(metrics: pd.DataFrame, monitor: str) -> pd.DataFrame:
    """One row per epoch, counted from 1, and a column per metric."""
    for column in ("epoch", monitor):
        if column not in metrics or metrics[column].isna().all():
            logged = ", ".join(map(str, metrics.columns[metrics.notna().any()])) or "nothing"
            raise ArtistidError(f"learning curves need {column!r} among the metrics; logged was: {logged}")
    epochs = metrics.groupby("epoch").mean(numeric_only=True)
    return epochs.set_index(epochs.index.astype(int) + 1)


def split_style(split: str) -> dict[str, Any]:
    """The colour and the marker of a split, the same in all figures."""
    return {"color": SPLIT_COLOURS.get(split, OTHER_SPLIT), "marker": SPLIT_MARKERS.get(split, "X")}


def marker_size(n_epochs: int) -> float:
    """Size in points: a single epoch is a visible dot, hundreds are a plain line."""
    return 5 if n_epochs <= 30 else 0


def shortened(name: str) -> str:
    """A name that fits beside an axis or in a legend: at most 32 characters, with an ellipsis if shortened."""
    return name if len(name) <= LONGEST_LABEL else f"{name[: LONGEST_LABEL - 1].rstrip()}…"


def as_written(*texts: Text) -> None:
    """Draw names literally: in a font that has their letters, and "$" as a dollar sign, not as a formula."""
    for text in texts:
        text.set_parse_math(False)
        text.set_fontfamily(_installed_fonts())


@cache
def _installed_fonts() -> list[str]:
    installed = set(font_manager.get_font_names())
    return [name for name in FONTS if name in installed]


def _grid_between_cells(axes: Axes, n_artists: int) -> None:
    between = np.arange(n_artists - 1) + 0.5
    axes.set_xticks(between, minor=True)
    axes.set_yticks(between, minor=True)
    axes.grid(which="minor", color="0.9", linewidth=0.5)
    axes.tick_params(which="minor", length=0)


def _print_counts(axes: Axes, counts: NDArray[np.integer], share: NDArray[np.floating]) -> None:
    for row, column in zip(*counts.nonzero(), strict=True):
        colour = "white" if share[row, column] > 0.5 else "black"
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=8, color=colour)


def save(figure: Figure, path: str | Path, for_print: bool = False) -> None:
    """Save a figure, including everything outside its axes; the folder is made if needed.

    Args:
        figure: the figure.
        path: where to save, in the format of its suffix.
        for_print: in higher resolution, and beside it as PDF and SVG, with portable letters: TrueType in a PDF, as
            publishers require, outlines in an SVG.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure)
    on_page = PRINT_DPI * min(1, PAGE_INCHES / max(figure.get_size_inches()))
    dpi = max(DPI, on_page) if for_print else DPI
    figure.draw_without_rendering()  # lays it out, once for all formats
    figure.set_layout_engine("none")
    everything = figure.get_tightbbox().padded(0.15)
    with rc_context({"pdf.fonttype": 42, "svg.fonttype": "path"}):
        for suffix in dict.fromkeys((path.suffix, *(PRINT_FORMATS if for_print else ()))):
            with whole(path.with_suffix(suffix), "wb") as file:
                figure.savefig(file, format=suffix[1:], dpi=dpi, bbox_inches=everything)
