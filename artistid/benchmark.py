"""How fast this machine decodes, reads, trains and predicts: ``python -m artistid.benchmark``."""

from __future__ import annotations

if __name__ == "__main__":
    from artistid.cli import run

    run("benchmark")

import io
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
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
from artistid.records import Layout, RecordWriter
from artistid.terminal import Console

COLUMNS = ("part", "figure", "here", "beside", "ratio", "rounds")
WIDTH = 140  # of the table, even if a narrow terminal wraps it


def benchmark(config: DictConfig) -> dict[str, list[Figure]]:
    """Measure the requested parts, and print the figures.

    Returns:
        The figures of each part.

    Raises:
        ArtistidError: an unknown part or format, or a peer that does not run.
    """
    writer = RecordWriter(config.format, LAYOUT, sys.stdout, single=True)
    figures: dict[str, list[Figure]] = {}
    for part in chosen_parts(config.only):
        say(f"measuring {part} …", to=sys.stderr)
        # In the cache: on the disk where features are kept, which has room for them.
        cache = expanded(config.cache_dir)
        cache.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix="benchmark-", dir=cache) as folder, quiet():
            figures[part] = PARTS[part](config, Path(folder))
    writer.write(Report(machine(), figures))
    writer.close()
    return figures


def chosen_parts(only: str | ListConfig | None) -> list[str]:
    """The parts to measure; raises ArtistidError for an unknown one."""
    by_default = [part for part in PARTS if part not in LEFT_OUT]
    asked = by_default if only is None else [only] if isinstance(only, str) else list(only)
    if unknown := [str(part) for part in asked if part not in PARTS]:
        raise ArtistidError(f"only={','.join(unknown)}: expected some of {', '.join(PARTS)}")
    return asked


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress a run's own output, except warnings."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.WARNING)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        root.setLevel(level)


@dataclass(frozen=True)
class Report:
    """All figures, and the machine they were measured on.

    Attributes:
        machine: see :func:`artistid.benchmarking.measuring.machine`.
        figures: of each part.
    """

    machine: dict[str, Any]
    figures: dict[str, list[Figure]]

    def plain(self) -> dict[str, Any]:
        """The machine and each part's figures by name, as plain types."""
        return {"machine": self.machine, **{part: self._of_part(figures) for part, figures in self.figures.items()}}

    @staticmethod
    def _of_part(figures: list[Figure]) -> dict[str, Any]:
        plain: dict[str, Any] = {"rounds": max(len(figure.values) for figure in figures)}
        for figure in figures:
            plain |= figure.plain()
        return plain

    def rows(self) -> Iterator[tuple[str, ...]]:
        """A row per figure: median and range over the rounds, those of the peer, and the ratio to it."""
        for part, figures in self.figures.items():
            for figure in figures:
                beside, ratio = "", ""
                if figure.peer:
                    beside, ratio = f"{figure.peer}: {spread(figure.peer_values)}", spread(figure.ratios)
                yield part, figure.name, spread(figure.values), beside, ratio, str(len(figure.values))

    def show(self, console: Console) -> None:
        """Print the rows as a table."""
        console.width = max(console.width, WIDTH)
        title = f"{self.machine['device']}; torch {self.machine['versions']['torch']}; median (lowest to highest)"
        table = Table(title=title)
        for name in COLUMNS:
            table.add_column(name, no_wrap=True)
        for row in self.rows():
            table.add_row(*row)
        console.print(table, soft_wrap=False)


LAYOUT = Layout(COLUMNS, Report.rows, lambda console, report: report.show(console))
