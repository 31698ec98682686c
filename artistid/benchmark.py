"""How fast this machine decodes, reads, trains and predicts: ``python -m artistid.benchmark``."""

from __future__ import annotations

if __name__ == "__main__":
    from artistid.cli import run

    run("benchmark")

import io
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from omegaconf import DictConfig, ListConfig
from rich.table import Table

from artistid.benchmarking.measuring import Figure, machine, spread
from artistid.benchmarking.parts import LEFT_OUT, PARTS
from artistid.errors import ArtistidError
from artistid.places import expanded
from artistid.printing import say
from artistid.terminal import Console

FORMATS = ("table", "json")
WIDTH = 140  # of the table, also where a narrow terminal will fold it


def benchmark(config: DictConfig) -> dict[str, list[Figure]]:
    """Measure the parts that are asked for, and print the figures.

    Returns:
        The figures of each part.

    Raises:
        ArtistidError: an unknown part or format, or a peer that does not run.
    """
    if config.format not in FORMATS:
        raise ArtistidError(f"format={config.format} is none of {', '.join(FORMATS)}")
    figures: dict[str, list[Figure]] = {}
    for part in chosen_parts(config.only):
        say(f"measuring {part} …", to=sys.stderr)
        # Below the cache: a disk where features are kept, and large enough for them.
        cache = expanded(config.cache_dir)
        cache.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix="benchmark-", dir=cache) as folder, quiet():
            figures[part] = PARTS[part](config, Path(folder))
    if config.format == "json":
        say(json.dumps({"machine": machine(), **{part: plain(of_part) for part, of_part in figures.items()}}))
    else:
        Console(width=max(Console().width, WIDTH)).print(table(figures))
    return figures


def chosen_parts(only: str | ListConfig | None) -> list[str]:
    """The parts to measure; raises ArtistidError for one that is none."""
    by_default = [part for part in PARTS if part not in LEFT_OUT]
    asked = by_default if only is None else [only] if isinstance(only, str) else list(only)
    if unknown := [str(part) for part in asked if part not in PARTS]:
        raise ArtistidError(f"only={','.join(unknown)} is none of {', '.join(PARTS)}")
    return asked


@contextmanager
def quiet() -> Iterator[None]:
    """Without what a run tells of itself; warnings are let through."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.WARNING)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        root.setLevel(level)


def plain(figures: list[Figure]) -> dict[str, Any]:
    """A part's figures as one plain dict."""
    told: dict[str, Any] = {"rounds": max(len(figure.values) for figure in figures)}
    for figure in figures:
        told |= figure.plain()
    return told


def table(figures: dict[str, list[Figure]]) -> Table:
    """A row per figure: median and range over the rounds, and the peer's, and the ratio to it."""
    about = machine()
    shown = Table(title=f"{about['device']}; torch {about['versions']['torch']}; median (lowest to highest)")
    for name in ("part", "figure", "here", "beside", "ratio", "rounds"):
        shown.add_column(name, no_wrap=True)
    for part, of_part in figures.items():
        for figure in of_part:
            beside, ratio = "", ""
            if figure.peer:
                beside, ratio = f"{figure.peer}: {spread(figure.peer_values)}", spread(figure.ratios)
            shown.add_row(part, figure.name, spread(figure.values), beside, ratio, str(len(figure.values)))
    return shown
