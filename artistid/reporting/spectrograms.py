"""A network's input: an excerpt of a song's log-mel by each artist (paper, Fig. 1)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from artistid.data.catalog import Catalog, Track
from artistid.data.features import Features
from artistid.data.store import Store
from artistid.errors import ArtistidError
from artistid.evaluation.plots import as_written, save, shortened
from artistid.reporting.projection import open_run
from artistid.trust import Trust

# A frame whose loudest mel bin is more than this below the song's loudest counts as silent.
EXCERPT_AUDIBLE_DB = 40.0
# Excerpts are drawn from those with at least this share of the song's maximum of audible frames.
NEARLY_AS_AUDIBLE = 0.9


@dataclass(frozen=True, eq=False)
class Excerpt:
    """A short stretch of a song.

    Attributes:
        track: the song.
        start_s: where it begins, in seconds.
        log_mel: ``(frames, mel)`` float16, dB.
    """

    track: Track
    start_s: float
    log_mel: NDArray[np.float16]


def write_spectrograms(
    run_folder: str | Path,
    out: str | Path,
    seed: int = 0,
    seconds: float = 3.0,
    cache_dir: str | Path | None = None,
    workers: int | None = None,
    trust: Trust = (),
) -> Path:
    """Draw an excerpt by each artist of a finished run and save the figure at ``out``.

    Args:
        run_folder: of ``train``.
        out: the file, in the format of its suffix; the folder is made if needed.
        seed: draws the songs and the places in them.
        seconds: of each excerpt.
        cache_dir, workers, trust: see :func:`artistid.reporting.projection.open_run`.

    Returns:
        ``out``.

    Raises:
        ArtistidError: see :func:`artistid.reporting.projection.open_run`.
    """
    classifier, catalog, store = open_run(run_folder, cache_dir, workers, trust)
    features = classifier.specification.build_features()
    draw_spectrograms(draw_excerpts(catalog, store, features, seed, seconds), features, seconds, out, for_print=True)
    return Path(out)


def draw_excerpts(
    catalog: Catalog, store: Store, features: Features, seed: int = 0, seconds: float = 3.0
) -> list[Excerpt]:
    """A random excerpt of a random song by each artist, in the artists' order.

    Silence is avoided: excerpts are drawn from those with nearly as many audible frames as any in the song. If all
    songs of an artist are shorter than an excerpt, the whole of the longest is shown.

    Args:
        catalog: tracks, all of them in the store.
        store: their features.
        features: the type of features in the store.
        seed: of the random choice.
        seconds: length of each excerpt.

    Raises:
        ArtistidError: features that are not a spectrogram, or an excerpt shorter than a frame.
    """
    if features.frequencies is None:
        raise ArtistidError(f"features={features.name}: expected a spectrogram, such as features=logmel, to draw")
    hop_seconds = features.hop_length / features.sample_rate
    n_frames = round(seconds / hop_seconds)
    if n_frames < 1:
        raise ArtistidError(f"seconds={seconds}: expected at least one frame, {hop_seconds:.3f} s")
    generator = np.random.default_rng(seed)
    excerpts = []
    for tracks in catalog.by_artist().values():
        longest = max(tracks, key=lambda track: store.entries[track.track_id].frames)
        long_enough = [track for track in tracks if store.entries[track.track_id].frames >= n_frames] or [longest]
        track = long_enough[generator.integers(len(long_enough))]
        log_mel = store.track(track.track_id)
        start = int(generator.choice(_audible_starts(log_mel, n_frames)))
        excerpts.append(Excerpt(track, start * hop_seconds, log_mel[start : start + n_frames]))
    return excerpts


def _audible_starts(log_mel: NDArray[np.float16], n_frames: int) -> NDArray[np.integer]:
    """The possible first frames of an excerpt."""
    level = log_mel.max(axis=1)
    audible = level >= level.max() - EXCERPT_AUDIBLE_DB
    n_audible = np.convolve(audible, np.ones(min(n_frames, len(audible)), int), mode="valid")
    return np.flatnonzero(n_audible >= NEARLY_AS_AUDIBLE * n_audible.max())


def draw_spectrograms(
    excerpts: list[Excerpt], features: Features, seconds: float, path: str | Path, for_print: bool = False
) -> None:
    """Draw excerpts in a nearly square grid, with one colour scale, and save it at ``path``.

    Args:
        excerpts: one per artist, who is named above it; long names are shortened.
        features: their type of features.
        seconds: width of the panels' time axes; a shorter excerpt leaves the rest blank.
        path: where to save, in the format of its suffix; the folder is made if needed.
        for_print: see :func:`artistid.evaluation.plots.save`.
    """
    columns = math.ceil(math.sqrt(len(excerpts)))
    rows = math.ceil(len(excerpts) / columns)
    quietest = min(float(excerpt.log_mel.min()) for excerpt in excerpts)
    loudest = max(float(excerpt.log_mel.max()) for excerpt in excerpts)

    width, height = 2.0 * columns, 1.6 * rows  # inches
    figure = Figure(figsize=(width, height))
    # Labels and the colour bar lie outside the panels' area, and saving makes room for them.
    spacing = {"left": 0, "right": 1, "bottom": 0, "top": 1, "wspace": 0.06, "hspace": 0.22}
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False, gridspec_kw=spacing).ravel()
    for axes in grid[len(excerpts) :]:
        axes.remove()
    for number, (axes, excerpt) in enumerate(zip(grid, excerpts, strict=False)):
        image = axes.imshow(
            excerpt.log_mel.T.astype(np.float32),
            origin="lower",
            aspect="auto",
            interpolation="nearest",
            cmap="magma",
            vmin=quietest,
            vmax=loudest,
            extent=(0, len(excerpt.log_mel) * features.hop_length / features.sample_rate, 0, features.width),
        )
        as_written(axes.set_title(shortened(excerpt.track.artist), fontsize=8, pad=3))
        # The lowest panel of each column has the axis labels, even in the second last row.
        axes.tick_params(labelsize=7, labelbottom=number + columns >= len(excerpts))
    grid[0].set_xlim(0, seconds)
    grid[0].xaxis.set_major_locator(MaxNLocator(nbins=3, steps=[1, 2, 5, 10]))  # neighbours' labels must not touch
    figure.supxlabel("seconds", y=-0.25 / height, va="top", fontsize=10)
    figure.supylabel("mel bin", x=-0.4 / width, ha="right", fontsize=10)
    bar = figure.colorbar(image, cax=figure.add_axes((1 + 0.15 / width, 0, 0.12 / width, 1)), label="dB")
    bar.ax.tick_params(labelsize=7)
    save(figure, path, for_print)
