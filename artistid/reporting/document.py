"""The parts of a report, and its files.

These are one self-contained HTML page, Markdown with figures as PNG, PDF and SVG, and tables as CSV and LaTeX.
"""

from __future__ import annotations

import base64
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from omegaconf import DictConfig
from PIL import Image
from plotly.offline import get_plotlyjs

from artistid.errors import ArtistidError
from artistid.evaluation.plots import PRINT_FORMATS
from artistid.learning.system import DASHBOARDS
from artistid.places import expanded
from artistid.reporting.latex import as_latex
from artistid.runs.provenance import provenance
from artistid.runs.studies import Results, Run
from artistid.trust import trusted
from artistid.writing import sweep, write_csv, write_text


@dataclass(frozen=True, eq=False)
class ReportContext:
    """The input of sections.

    Attributes:
        results: the runs.
        out: the report's folder; figures go to ``out / "figures"``.
        config: the verb's settings.
    """

    results: Results
    out: Path
    config: DictConfig

    @property
    def figures(self) -> Path:
        return self.out / "figures"

    @property
    def page(self) -> Path:
        return self.out / PAGE

    @property
    def opening(self) -> dict[str, Any]:
        """Arguments to open a run's network and data with: this command's places, not those of the run folder."""
        return {"cache_dir": self.config.cache_dir, "workers": self.config.workers, "trust": trusted(self.config)}


class Column(NamedTuple):
    """A column of a table, as displayed.

    Attributes:
        heading: above it.
        cell: from a row's values to the text displayed, or to :class:`RunNumbers`.
    """

    heading: str
    cell: Callable[[Mapping[str, Any]], Any]

    @classmethod
    def of(cls, name: str, format_: Callable[[Any], Any] = str, heading: str = "") -> Column:
        """The column of one value, headed by its own name if no other is given."""
        return cls(heading or name, lambda row: format_(row[name]))


@dataclass(frozen=True, eq=False)
class Table:
    """A table, as displayed and as data.

    Attributes:
        name: of its CSV and LaTeX files, without ending.
        caption: above it.
        rows: of values by name, unrounded.
        columns: the columns displayed.
        runs: the runs that it was made from.
        notes: below it.
    """

    name: str
    caption: str
    rows: Sequence[Mapping[str, Any]]
    columns: Sequence[Column]
    runs: Sequence[Run] = ()
    notes: Sequence[str] = ()

    @property
    def cells(self) -> pd.DataFrame:
        """As displayed."""
        return pd.DataFrame({column.heading: [column.cell(row) for row in self.rows] for column in self.columns})

    @property
    def data(self) -> pd.DataFrame:
        """As written to CSV."""
        return pd.DataFrame([{name: _as_data(value) for name, value in row.items()} for row in self.rows])


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure.

    Attributes:
        path: PNG below the report's folder; the print formats are beside it.
        caption: below it.
        runs: the runs that it was made from.
        interactive: an interactive version as an HTML document, for a frame of the page; it may load plotly.js from the
            page's element ``plotly-js``.
    """

    path: Path
    caption: str
    runs: Sequence[Run]
    interactive: str | None = None

    @property
    def files(self) -> dict[str, Path]:
        """Its existing files, by format: PNG, PDF, SVG."""
        paths = [self.path.with_suffix(suffix) for suffix in (".png", *PRINT_FORMATS)]
        return {path.suffix[1:].upper(): path for path in paths if path.exists()}


@dataclass(frozen=True, eq=False)
class Section:
    """A heading with paragraphs as text, tables and figures, followed by subsections."""

    title: str
    blocks: Sequence[str | Table | Picture] = ()
    sections: Sequence[Section] = field(default=())


class RunNumbers(tuple[int, ...]):
    """Numbers of runs; displayed as links to the list of runs, consecutive ones as a range."""

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


def is_number(cell: Any) -> bool:
    """Whether a cell's text is a number, with signs such as ± or an interval, or a dash for a missing one."""
    return isinstance(cell, str) and bool(NUMBER.fullmatch(cell))


def _as_data(value: Any) -> Any:
    return " ".join(map(str, value)) if isinstance(value, RunNumbers) else value


def origin(runs: Sequence[Run]) -> str:
    """The code revisions and devices that runs were made with; the list of runs has the commands."""
    members = [member for run in runs for member in run.members]
    revisions = sorted({short_revision(run) for run in members})
    devices = sorted({run.device or "unknown" for run in members})
    return f"revision {', '.join(revisions)}; on {'; '.join(devices)}; commands in the list of runs"


def short_revision(run: Run) -> str:
    """The first digits of the Git commit, and whether files differed from it."""
    revision = run.scores.get("revision")
    if not revision:
        return f"unknown (artistid {run.scores.get('versions', {}).get('artistid', 'unknown')})"
    commit, plus, changes = revision.partition("+")
    return commit[:7] + plus + changes


REPORT_MARK = ".artistid-report"
PAGE, MARKDOWN, TABLE_FOLDER, FIGURES = "report.html", "report.md", "tables", "figures"
GENERATOR = '<meta name="generator" content="artistid.report">'
TITLE = "Music artist classification: report"
NUMBER = re.compile(r"(to|[\d\s.,/–−+†±<])*")
MARKDOWN_SIGNS = re.compile(r"([\\`*_<>\[\]|#~])")


def begin_folder(path: str | Path) -> Path:
    """Make the report's folder, and remove an earlier report from it.

    Until the report is written, a page says that it is unfinished. A mark file is written first, so that the folder is
    recognised as a report's even if the process is killed.

    Raises:
        ArtistidError: it contains something else, or cannot be written.
    """
    out = expanded(path)
    page = out / PAGE
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()) and not _is_report(out):
            raise ArtistidError(f"out={path} is not empty and holds no report of artistid; choose another folder")
        (out / REPORT_MARK).touch()
        write_text(page, f"<!DOCTYPE html>{GENERATOR}<p>This report is not finished.")
        sweep(out)
        for name in (TABLE_FOLDER, FIGURES, *DASHBOARDS):
            if (out / name).exists():
                shutil.rmtree(out / name)
        (out / MARKDOWN).unlink(missing_ok=True)
    except OSError as error:
        raise ArtistidError(f"cannot write the report to out={path}: {error}") from error
    return out


def _is_report(out: Path) -> bool:
    """Whether a report was started here; earlier versions wrote no mark, only the page."""
    page = out / PAGE
    return (out / REPORT_MARK).exists() or (page.exists() and GENERATOR in page.read_text(encoding="utf-8"))


def write_report(sections: Sequence[Section], out: Path) -> Path:
    """Write sections as HTML, Markdown, CSV and LaTeX; their figures are already in ``out``.

    Returns:
        The HTML page.
    """
    (out / TABLE_FOLDER).mkdir(exist_ok=True)
    environment = _environment(out)
    made = provenance({})
    for table in tables_in(sections):
        write_csv(out / TABLE_FOLDER / f"{table.name}.csv", table.data)
        write_text(out / TABLE_FOLDER / f"{table.name}.tex", _latex(table, made["command"]))
    moves = any(isinstance(block, Picture) and block.interactive for block in _blocks(sections))
    for name in (MARKDOWN, PAGE):
        text = environment.get_template(f"{name}.jinja").render(
            title=TITLE, generator=GENERATOR, sections=sections, made=made, plotly_js=get_plotlyjs() if moves else ""
        )
        write_text(out / name, text)
    return out / PAGE


def tables_in(sections: Sequence[Section]) -> list[Table]:
    """All tables, in order."""
    return [block for block in _blocks(sections) if isinstance(block, Table)]


def _latex(table: Table, command: str) -> str:
    """A table for a paper, without the run numbers, which are meaningless there."""
    cells = table.cells
    shown = cells[[column for column in cells if not any(isinstance(cell, RunNumbers) for cell in cells[column])]]
    numbers = [column for column in shown if all(map(is_number, shown[column]))]
    return as_latex(table.name, table.caption, shown, table.notes, numbers, f"Made by {command}")


def _blocks(sections: Sequence[Section]) -> Iterator[str | Table | Picture]:
    """All blocks of the sections, in order."""
    for section in _walk(sections):
        yield from section.blocks


def _walk(sections: Sequence[Section]) -> list[Section]:
    """All sections, including nested ones."""
    return [found for section in sections for found in (section, *_walk(section.sections))]


def _environment(out: Path) -> Environment:
    def below_out(path: Path) -> str:
        return path.relative_to(out).as_posix()

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=select_autoescape(("html.jinja",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests |= {
        "table": lambda block: isinstance(block, Table),
        "picture": lambda block: isinstance(block, Picture),
        "run_numbers": lambda cell: isinstance(cell, RunNumbers),
        "a_number": is_number,
    }
    environment.filters |= {
        "below_out": below_out,
        "data_uri": lambda path: f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}",
        "inches": _inches,
        "origin": origin,
        "run_numbers": RunNumbers.of,
        "markdown": lambda text: MARKDOWN_SIGNS.sub(r"\\\1", str(text)),
        "rows": _rows,
    }
    return environment


def _rows(table: Table) -> list[list[Any]]:
    return [list(row) for row in table.cells.itertuples(index=False, name=None)]


def _inches(path: Path) -> float:
    """The intended width of a PNG, in inches."""
    with Image.open(path) as image:
        return image.width / image.info.get("dpi", (96,))[0]
