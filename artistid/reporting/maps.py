"""The map of a run: its test clips and songs, laid out by similarity, as a picture and as a page that plays them.

The page is for a frame of the report, which contains plotly.js once for all maps, so that it works offline. The audio
is not copied, and is found as long as report and music keep their relative places.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import cycle, product
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from jinja2 import Environment, FileSystemLoader
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from artistid.data.catalog import Catalog, folded, nfc, read_rows
from artistid.data.splits import Split
from artistid.errors import ArtistidError, counted
from artistid.evaluation.album_reading import AlbumReading, read_albums
from artistid.evaluation.plots import ARTIST_COLOURS, as_written, save, shortened
from artistid.evaluation.score_table import UNITS
from artistid.reporting.projection import NEIGHBOURS, Clustering, Embedding, embed, open_run
from artistid.runs.folder import RunFolder
from artistid.trust import Trust

# Matplotlib's and plotly's names of the same shapes, and widths at which they look equally large. As the numbers of
# colours and shapes, 7 and 8, are coprime, 56 artists look different, and neighbours in the legend differ in both.
SHAPES = (
    ("o", "circle", 1.0),
    ("s", "square", 0.9),
    ("^", "triangle-up", 1.2),
    ("D", "diamond", 0.9),
    ("v", "triangle-down", 1.2),
    ("P", "cross", 1.2),
    ("X", "x", 1.1),
    ("*", "star", 1.4),
)
LEGEND_ROWS = 25
PIXELS_PER_POINT = 4 / 3
# As SVG, each point is an element of its own; beyond this many, browsers become slow and WebGL draws them.
MOST_POINTS_AS_SVG = 5000
# Buttons of plotly.js to upload the plot, unwanted here, and to select points, without effect here, are removed.
CONFIG = {
    "displaylogo": False,
    "scrollZoom": True,
    "plotlyServerURL": "",
    "modeBarButtonsToRemove": ["sendChartToCloud", "sendDataToCloud", "select2d", "lasso2d"],
}


class MapStyle(NamedTuple):
    """The style of an artist's points, by matplotlib's and plotly's names; ``scale`` multiplies their width."""

    colour: str
    marker: str
    symbol: str
    scale: float


@dataclass(frozen=True)
class Map:
    """A run's test clips and songs, laid out.

    Attributes:
        levels: embeddings of ``frame`` and ``song``, with places.
        scores: clustering by level and by label (``artist``, and ``genre`` where there are genres); points can be
            coloured by these labels.
        catalog: the tracks, with the paths of their audio.
        title: settings that identify the run.
        albums: how well an artist's albums can be classified, on songs that were not trained on; None where no artist
            has two albums among them.
    """

    levels: Mapping[str, Embedding]
    scores: Mapping[str, Mapping[str, Clustering]]
    catalog: Catalog
    title: str
    albums: AlbumReading | None = None

    def write(self, folder: Path) -> Path:
        """Write ``map.png``, for print as well, ``map_frame.parquet`` and ``map_song.parquet``; returns the first."""
        png = folder / "map.png"
        draw_map(self.levels, self.scores, png)
        for level, points in self.levels.items():
            points.to_parquet(folder / f"map_{level}.parquet")
        return png


def make_map(
    run_folder: str | Path,
    seed: int = 0,
    k: int = NEIGHBOURS,
    genres: Mapping[str, str] | None = None,
    cache_dir: str | Path | None = None,
    workers: int | None = None,
    trust: Trust = (),
) -> Map:
    """Map the test clips and songs of a finished run by its network's bottleneck.

    Args:
        run_folder: of ``train``.
        seed: of t-SNE.
        k: number of neighbours for the purity.
        genres: by track id or by artist, see :func:`read_genres`; the page then colours by genre as well.
        cache_dir, workers, trust: see :func:`artistid.reporting.projection.open_run`.

    Raises:
        ArtistidError: see :func:`artistid.reporting.projection.open_run` and
            :func:`artistid.reporting.projection.embed`;
            also for a song without a genre where ``genres`` are given.
    """
    classifier, catalog, store = open_run(run_folder, cache_dir, workers, trust)
    split = Split(**classifier.specification.split)
    validated, tested = (split.select(catalog, subset) for subset in ("val", "test"))
    clips = embed(classifier, tested, store)
    albums = album_reading(clips, embed(classifier, validated, store))
    if genres is not None:
        clips = Embedding(clips.points.assign(genre=_genre_of_each(clips.points, genres)), clips.vectors)
    levels = {"frame": clips.placed(seed), "song": clips.by_song().placed(seed)}
    labels = ("artist",) if genres is None else ("artist", "genre")
    scores = {level: {label: points.clustering(label, k) for label in labels} for level, points in levels.items()}
    condition = json.loads(RunFolder(run_folder).scores.read_text(encoding="utf-8"))["condition"]
    title = " ".join(f"{name}={value}" for name, value in condition.items())
    return Map(levels, scores, tested, title, albums)


def album_reading(*parts: Embedding) -> AlbumReading | None:
    """How well an artist's albums can be classified from clips; those without an album are left out."""
    points = pd.concat([part.points for part in parts])
    vectors = np.concatenate([part.vectors for part in parts])
    on_album = (points["album"] != "").to_numpy()
    points = points[on_album]
    album = points["album"].map(folded)  # spellings of one album often differ
    return read_albums(vectors[on_album], points["artist"], album, points["track_id"])


def read_genres(path: str | Path) -> dict[str, str]:
    """Genres by track id, or by artist, from a CSV file with a column ``genre`` and ``track_id`` or ``artist``.

    If a file has both, such as a run's ``catalog.csv`` with a column added, the track id is used.

    Raises:
        ArtistidError: no such file, columns missing, a name without a genre, or one with two.
    """
    genres: dict[str, str] = {}
    for row in read_rows(Path(path), ("genre",), "table of genres"):
        name = row.get("track_id") or row.get("artist")
        if not name or not row["genre"]:
            raise ArtistidError(f"{path}: expected a genre, and a track_id or an artist, in every row; found {row}")
        if genres.setdefault(nfc(name), row["genre"]) != row["genre"]:
            raise ArtistidError(f"{path}: {name!r} has two genres, {genres[nfc(name)]!r} and {row['genre']!r}")
    return genres


def _genre_of_each(points: pd.DataFrame, genres: Mapping[str, str]) -> pd.Series:
    """The genre of each track, or else of its artist."""
    assigned = points["track_id"].map(genres).fillna(points["artist"].map(genres))
    if missing := sorted(set(points["artist"][assigned.isna()])):
        raise ArtistidError(
            f"genres: none by track id or by artist for {points['track_id'][assigned.isna()].nunique()} of "
            f"{counted(points['track_id'].nunique(), 'test song')}, by {', '.join(missing)}"
        )
    return assigned


def styles(names: Sequence[str]) -> dict[str, MapStyle]:
    """A style for each name, in order; from the 57th on, styles repeat."""
    looks = zip(cycle(ARTIST_COLOURS), cycle(SHAPES), strict=False)
    return {name: MapStyle(colour, *shape) for name, (colour, shape) in zip(names, looks, strict=False)}


def draw_map(levels: Mapping[str, Embedding], scores: Mapping[str, Mapping[str, Clustering]], path: str | Path) -> None:
    """Draw the maps of both levels side by side, by artist, and save them at ``path``, and for print beside it.

    Args:
        levels: embeddings of ``frame`` and ``song``, with places.
        scores: by level and label, for the titles.
        path: where to save; the folder is made if needed.
    """
    looks = styles(sorted(levels["frame"].points["artist"].unique()))
    figure = Figure(figsize=(12, 5.6))
    panels = figure.subplots(1, 2, gridspec_kw={"left": 0, "right": 1, "bottom": 0, "top": 1, "wspace": 0.04})
    for axes, (level, embedding) in zip(panels, levels.items(), strict=True):
        score = scores[level]["artist"]
        for artist, look in looks.items():
            points = embedding.points[embedding.points["artist"] == artist]
            axes.scatter(
                points["x"],
                points["y"],
                s=(look.scale * _width(score.n)) ** 2,
                c=look.colour,
                marker=look.marker,
                linewidths=0.3,
                edgecolors="white",
            )
        axes.set_title(f"{UNITS[level]} (n = {score.n}): {score}", fontsize=10)
        axes.set_aspect("equal", adjustable="datalim")
        axes.set(xticks=[], yticks=[])  # t-SNE's axes mean nothing
    legend = figure.legend(
        handles=[
            Line2D([], [], linestyle="", marker=look.marker, color=look.colour, markersize=6 * look.scale)
            for artist, look in looks.items()
        ],
        labels=[shortened(artist) for artist in looks],
        loc="center left",
        bbox_to_anchor=(1.01, 0.5),
        ncols=math.ceil(len(looks) / LEGEND_ROWS),
        frameon=False,
        fontsize=9,
    )
    as_written(*legend.get_texts())
    save(figure, path, for_print=True)


def map_page(drawn: Map, within: Path) -> str:
    """The interactive map as HTML for a frame: hovering names a point, a click plays it, the legend hides artists.

    Args:
        drawn: the map.
        within: the page around the frame, to which audio paths are relative. It has plotly.js, once for all its maps,
            as the text of its element ``plotly-js``.
    """
    labels = list(drawn.scores["frame"])
    figure = go.Figure(list(_traces(drawn.levels, labels)))
    figure.update_layout(
        template="simple_white",
        margin={"l": 10, "r": 10, "t": 40, "b": 10},  # so that the toolbar does not cover the legend
        legend={"itemsizing": "constant"},
        hoverlabel={"align": "left"},
        xaxis={"visible": False},
        yaxis={"visible": False, "scaleanchor": "x"},
    )
    template = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True).get_template("map.html")
    return template.render(
        title=drawn.title,
        figure=figure.to_json(),  # escaped, so that it cannot end the script
        config=CONFIG,
        levels=UNITS,
        labels=labels,
        scores={
            level: {label: f"n = {score.n}: {score}" for label, score in by_label.items()}
            for level, by_label in drawn.scores.items()
        },
        k=drawn.scores["frame"]["artist"].k,
        audio={track.track_id: audio_uri(track.path, within) for track in drawn.catalog},
    )


def _traces(levels: Mapping[str, Embedding], labels: Sequence[str]) -> Iterator[go.Scatter | go.Scattergl]:
    """A trace for each artist or genre and level; the page shows those of one level and one label."""
    scatter = go.Scatter if len(levels["frame"].vectors) <= MOST_POINTS_AS_SVG else go.Scattergl
    for label in labels:
        looks = styles(sorted(levels["frame"].points[label].unique()))
        for (level, embedding), (name, look) in product(levels.items(), looks.items()):
            points = embedding.points[embedding.points[label] == name]
            yield scatter(
                x=points["x"],
                y=points["y"],
                mode="markers",
                name=escape(shortened(name), quote=False),
                marker={
                    "color": look.colour,
                    "symbol": look.symbol,
                    "size": look.scale * _width(len(embedding.points)) * PIXELS_PER_POINT,
                    "line": {"width": 0.5, "color": "white"},
                },
                customdata=_hover_data(points),
                hovertemplate="<br>".join(f"%{{customdata[{index}]}}" for index in range(4)) + "<extra></extra>",
                visible=(level, label) == ("frame", labels[0]),
                showlegend=True,
                meta={"level": level, "label": label},
            )


def _hover_data(points: pd.DataFrame) -> list[tuple[object, ...]]:
    """Artist, title, album and time, as HTML-escaped text, since plotly interprets tags; track id, start and end."""
    start, end = points["start_s"].round(3), points["end_s"].round(3)
    time = [f"{_clock(first)} to {_clock(last)}" for first, last in zip(start, end, strict=True)]
    words = ([escape(text, quote=False) for text in points[name]] for name in ("artist", "title", "album"))
    return list(zip(*words, time, points["track_id"], start, end, strict=True))


def _width(n: int) -> float:
    """The width of each of ``n`` points, in typographic points: smaller if there are many."""
    return math.sqrt(min(40, max(6, 12_000 / n)))


def _clock(seconds: float) -> str:
    """A time such as 2:03.5; rounded before it is split, so that seconds stay below 60."""
    tenths = round(10 * seconds)
    return f"{tenths // 600}:{tenths % 600 / 10:04.1f}"


def audio_uri(audio: Path, page: Path) -> str | None:
    """The URI of an audio file, relative to a page where possible; None if the file does not exist."""
    if not audio.is_file():
        return None
    try:
        relative = os.path.relpath(audio.absolute(), page.absolute().parent)
    except ValueError:  # on another drive, on Windows
        return audio.absolute().as_uri()
    return quote(os.fsencode(Path(relative).as_posix()))
