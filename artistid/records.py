"""Records, one for each answer of a verb, written as a table for people or as JSON or CSV for other programs."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TextIO

from rich import box
from rich.table import Table as RichTable
from rich.text import Text

from artistid.errors import require_choice
from artistid.printing import printable
from artistid.terminal import Console

FORMATS = ("table", "json", "jsonl", "csv")


class Record(Protocol):
    """A record to write."""

    def plain(self) -> dict[str, Any]:
        """As plain types, ready for JSON."""
        ...


@dataclass(frozen=True)
class Layout:
    """The layout of one kind of record.

    Attributes:
        columns: of a CSV file.
        rows: the CSV rows of a record.
        show: prints a record for people.
    """

    columns: Sequence[str]
    rows: Callable[[Any], Iterable[Sequence[object]]]
    show: Callable[[Console, Any], None]


class RecordWriter:
    """Writes records as they come, each complete once written, except for the closing bracket of JSON.

    Args:
        format_: ``table``, ``json`` (one array of objects), ``jsonl`` (an object per line) or ``csv``. CSV is in UTF-8;
            a file name that is not UTF-8 keeps its bytes. JSON is in ASCII, and has lone surrogates for such bytes.
        layout: of the records.
        stream: to write to.
        single: whether there is exactly one record, which is then a JSON object instead of an array.

    Raises:
        ArtistidError: an unknown format.
    """

    def __init__(self, format_: str, layout: Layout, stream: TextIO, single: bool = False) -> None:
        require_choice("format", format_, FORMATS)
        self._stream = stream
        self._n_written = 0
        self._as_array = format_ == "json" and not single
        self.write: Callable[[Any], None] = self._write_json
        if format_ == "table":
            console = open_console(stream)
            self.write = lambda record: layout.show(console, record)
        elif format_ == "csv":
            _reconfigure(stream, encoding="utf-8", errors="surrogateescape")
            rows = csv.writer(stream, lineterminator="\n")
            rows.writerow(layout.columns)
            self.write = lambda record: self._write_rows(rows, layout.rows(record))

    def close(self) -> None:
        """Complete the output after the last record."""
        if self._as_array:
            self._stream.write("\n]\n" if self._n_written else "[]\n")
            self._stream.flush()

    def _write_json(self, record: Record) -> None:
        text = json.dumps(record.plain(), ensure_ascii=True, allow_nan=False)
        begin = "," if self._n_written else "["
        self._stream.write(f"{begin}\n{text}" if self._as_array else f"{text}\n")
        self._stream.flush()
        self._n_written += 1

    def _write_rows(self, writer: Any, rows: Iterable[Sequence[object]]) -> None:
        writer.writerows(rows)
        self._stream.flush()


def open_console(stream: TextIO) -> Console:
    """A console for tables on a stream, whatever its encoding."""
    _reconfigure(stream, errors="replace")
    return Console(file=stream, highlight=False, soft_wrap=True)


def table_of(rows: Iterable[Sequence[str]], headings: Sequence[str], right: Collection[int] = ()) -> RichTable:
    """A table of texts; ``right`` are the columns to align right."""
    table = RichTable(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 1))
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="right" if index in right else "left")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


def clock(seconds: float) -> str:
    """Minutes and seconds, and hours where there are any.

    Example:
        >>> clock(75.4), clock(3 * 3600 + 61)
        ('1:15', '3:01:01')
    """
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _reconfigure(stream: TextIO, **settings: str) -> None:
    """Change the encoding of a real stream; one in memory has none."""
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(**settings)
