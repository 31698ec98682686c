"""What a report consists of: sections of paragraphs, tables and figures, whatever they are written as."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig

from artistid.runs.studies import Results, Run
from artistid.trust import trusted


@dataclass(frozen=True, eq=False)
class ReportContext:
    """What sections are made from.

    Attributes:
        results: the runs.
        out: the report's folder; figures belong in ``out / "figures"``.
        config: the verb's settings.
    """

    results: Results
    out: Path
    config: DictConfig

    @property
    def figures(self) -> Path:
        return self.out / "figures"

    @property
    def opening(self) -> dict[str, Any]:
        """What a run's network and data are opened with: this command's places, whatever the run folder says."""
        return {"cache_dir": self.config.cache_dir, "workers": self.config.workers, "trust": trusted(self.config)}


@dataclass(frozen=True, eq=False)
class Table:
    """A table, as read and as data.

    Attributes:
        name: of its CSV file, without ending.
        caption: what it shows.
        cells: as read: text, or :class:`RunNumbers`.
        data: as written to CSV, unrounded.
        runs: it was made from.
        notes: below it.
    """

    name: str
    caption: str
    cells: pd.DataFrame
    data: pd.DataFrame
    runs: Sequence[Run]
    notes: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure.

    Attributes:
        path: PNG below the report's folder.
        caption: what it shows.
        runs: it was made from.
        interactive: HTML file below the report's folder that shows the same to look around in; it is linked.
        inline: put that file into the page too, which then holds all of it.
    """

    path: Path
    caption: str
    runs: Sequence[Run]
    interactive: Path | None = None
    inline: bool = False


@dataclass(frozen=True, eq=False)
class Section:
    """A heading and what stands below it: paragraphs as text, tables, figures, and then further sections."""

    title: str
    blocks: Sequence[str | Table | Picture] = ()
    sections: Sequence[Section] = field(default=())


class RunNumbers(tuple[int, ...]):
    """Numbers of runs; written with links to the list of runs, neighbours as a range."""

    __slots__ = ()

    @classmethod
    def of(cls, runs: Sequence[Run]) -> RunNumbers:
        return cls(sorted(member.number for run in runs for member in run.members))

    def ranges(self) -> list[tuple[int, int]]:
        """First and last of each unbroken range.

        Example:
            >>> RunNumbers((1, 2, 3, 7)).ranges()
            [(1, 3), (7, 7)]
        """
        ranges: list[tuple[int, int]] = []
        for number in self:
            if ranges and ranges[-1][1] == number - 1:
                ranges[-1] = (ranges[-1][0], number)
            else:
                ranges.append((number, number))
        return ranges


def origin(runs: Sequence[Run]) -> str:
    """Of which code, and on what, runs were made; the list of runs has the commands."""
    members = [member for run in runs for member in run.members]
    revisions = sorted({short_revision(run) for run in members})
    devices = sorted({str(run.scores.get("device", "unknown")) for run in members})
    return f"revision {', '.join(revisions)}; on {'; '.join(devices)}; commands in the list of runs"


def short_revision(run: Run) -> str:
    """The first letters of the Git commit, and whether files differed from it."""
    revision = run.scores.get("revision")
    if not revision:
        return f"unknown (artistid {run.scores.get('versions', {}).get('artistid', 'unknown')})"
    commit, plus, changes = revision.partition("+")
    return commit[:7] + plus + changes
