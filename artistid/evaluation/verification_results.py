"""A run's results on artists that it was not trained on, as a table and as a figure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import ndtri

from artistid.evaluation.plots import save

TICKS = (0.001, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
NAMED = {"dir5": "named, at 5 % false alarms", "dir1": "named, at 1 % false alarms", "eer": "equal error rate"}
STYLES = ("-", "--", ":", "-.")
MARKERS = "oDs"


def verification_rows(told: Mapping[str, Any]) -> pd.DataFrame:
    """A row for each scorer and measure: ``scorer``, ``measure``, ``val``, ``test`` and its 95 % interval."""
    return pd.DataFrame(
        {
            **{"scorer": scorer, "measure": name, "val": system.get("val", {}).get(name), "test": found["value"]},
            **dict(zip(("low95", "high95"), found["ci95"], strict=True)),
        }
        for scorer, system in told["systems"].items()
        for name, found in system["test"].items()
    )


def draw_verification(told: Mapping[str, Any], path: Path, for_print: bool = False) -> None:
    """Draw DET curves of all scorers, and the chosen one's measures by the number of enrolled songs and artists.

    Args:
        told: see :func:`artistid.learning.verification.verify_unseen`.
        path, for_print: see :func:`artistid.evaluation.plots.save`.
    """
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    detection, by_songs, by_artists = figure.subplots(1, 3)
    _draw_det(detection, told)
    album = told["by_songs"][-1]
    songs = [*told["by_songs"][:-1], {**album, "songs": "album"}]
    _draw_by(by_songs, songs, "songs", "songs enrolled of each artist")
    _draw_by(by_artists, told["by_artists"], "artists", "artists enrolled, an album each")
    by_songs.legend(fontsize="small", frameon=False)
    save(figure, path, for_print)


def _draw_det(axes: Axes, told: Mapping[str, Any]) -> None:
    """Detection error trade-off (Martin et al. 1997): Gaussian scores are straight lines."""
    for number, (name, curve) in enumerate(told["curves"].items()):
        rates = [np.clip(curve[each], 1e-4, 1 - 1e-4) for each in ("false_alarm", "miss")]
        chosen = name == told["chosen"]
        style: dict[str, Any] = {"color": "black" if chosen else "0.6", "linewidth": 2 if chosen else 1}
        axes.plot(*map(ndtri, rates), linestyle=STYLES[number % len(STYLES)], label=name, **style)
    for set_ticks in (axes.set_xticks, axes.set_yticks):
        set_ticks(ndtri(TICKS), [f"{100 * tick:g}" for tick in TICKS])
    axes.set(xlabel="false claims accepted, %", ylabel="true claims rejected, %")
    axes.set(xlim=ndtri([0.0005, 0.85]), ylim=ndtri([0.0005, 0.85]))
    axes.legend(fontsize="x-small", frameon=False)


def _draw_by(axes: Axes, rows: Any, of: str, label: str) -> None:
    place = np.arange(len(rows))
    for (name, words), marker in zip(NAMED.items(), MARKERS, strict=True):
        if name not in rows[0]:
            continue
        value = np.array([row[name]["value"] for row in rows])
        low, high = np.array([row[name]["ci95"] for row in rows]).T
        reach = np.maximum([value - low, high - value], 0)
        axes.errorbar(place, value, reach, marker=marker, capsize=3, color="black", label=words, alpha=0.8)
    axes.set_xticks(place, [f"{row[of]:,}" if isinstance(row[of], int) else str(row[of]) for row in rows])
    axes.set(xlabel=label, ylim=(0, 1))
