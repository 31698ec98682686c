"""Answers as they are written: for people, or for other programs."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, Protocol, TextIO

from rich import box
from rich.table import Table as RichTable
from rich.text import Text

from artistid.inference.identification import Identification
from artistid.printing import printable
from artistid.terminal import Console

COLUMNS = ("path", "duration_s", "answer", "score", "threshold", "rank", "artist", "probability", "share", "warnings")
NOBODY = "none of them"


class Writer(Protocol):
    """Writes answers as they come."""

    def __init__(self, stream: TextIO) -> None: ...

    def write(self, answer: Identification) -> None:
        """One song's answer."""

    def close(self) -> None:
        """After the last."""


class Table:
    """For people: the answer, the likeliest artists, and which seconds sound like whom."""

    def __init__(self, stream: TextIO, timeline: bool = True) -> None:
        self._timeline = timeline
        self._console = open_console(stream)

    def write(self, answer: Identification) -> None:
        console = self._console
        console.print(Text(f"{printable(answer.name)}  {clock(answer.duration_s)}", style="bold"))
        console.print(Text(f"  {verdict(answer)}"))
        for warning in answer.warnings:
            console.print(Text(f"  warning: {warning}", style="yellow"))
        rows = [(each.artist, f"{each.probability:.3f}", f"{each.share:.0%}") for each in answer.top]
        console.print(table_of(rows, ("artist", "probability", "clips"), right=(1, 2)), soft_wrap=False)
        if self._timeline:
            for stretch in answer.timeline:
                span = f"{clock(stretch.start_s)}–{clock(stretch.end_s)}"
                console.print(Text(f"  {span:>13}  {printable(stretch.artist)} {stretch.probability:.2f}"))
        console.print()

    def close(self) -> None:
        """Nothing to end."""


class Answer(Protocol):
    """Whatever is told of a song."""

    def plain(self) -> dict[str, Any]:
        """As plain types, ready for JSON."""
        ...


class Json:
    """One array of objects, complete once all songs are answered."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._n_written = 0

    def write(self, answer: Answer) -> None:
        self._stream.write(("[" if self._n_written == 0 else ",") + "\n" + _json(answer))
        self._stream.flush()
        self._n_written += 1

    def close(self) -> None:
        self._stream.write("\n]\n" if self._n_written else "[]\n")
        self._stream.flush()


class JsonLines:
    """One object per line, each complete as soon as its song is answered."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, answer: Answer) -> None:
        self._stream.write(_json(answer) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Nothing to end."""


class CsvRows:
    """Rows of any answers, in UTF-8; a file name that is none comes as the bytes that it is.

    Args:
        stream: to write to.
        columns: names.
        rows: those of an answer.
    """

    def __init__(
        self, stream: TextIO, columns: Sequence[str], rows: Callable[[Any], Iterable[Sequence[object]]]
    ) -> None:
        _reconfigure(stream, encoding="utf-8", errors="surrogateescape")
        self._stream = stream
        self._rows = rows
        self._writer = csv.writer(stream, lineterminator="\n")
        self._writer.writerow(columns)

    def write(self, answer: Any) -> None:
        self._writer.writerows(self._rows(answer))
        self._stream.flush()

    def close(self) -> None:
        """Nothing to end."""


class Csv(CsvRows):
    """A row per song and artist."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream, COLUMNS, _csv_rows)


def _csv_rows(answer: Identification) -> Iterator[Sequence[object]]:
    of_song = (answer.name, f"{answer.duration_s:.3f}", answer.artist or NOBODY, f"{answer.score:.6f}")
    threshold = "" if answer.threshold is None else f"{answer.threshold:.6f}"
    for rank, candidate in enumerate(answer.top, start=1):
        of_artist = (rank, candidate.artist, f"{candidate.probability:.6f}", f"{candidate.share:.6f}")
        yield (*of_song, threshold, *of_artist, "; ".join(answer.warnings))


WRITERS: dict[str, type[Writer]] = {"table": Table, "json": Json, "jsonl": JsonLines, "csv": Csv}


def verdict(answer: Identification) -> str:
    """The answer in words."""
    first = answer.top[0]
    if answer.artist is not None:
        return (
            f"{printable(answer.artist)}, probability {first.probability:.2f}, named by {first.share:.0%} of its clips"
        )
    if answer.threshold is None or answer.score >= answer.threshold:
        return NOBODY
    return f"{NOBODY}: likest to {printable(first.artist)}, but {answer.score:.2f} is less than {answer.threshold:.2f}"


def open_console(stream: TextIO) -> Console:
    """For tables on a stream, whatever its encoding can show."""
    _reconfigure(stream, errors="replace")
    return Console(file=stream, highlight=False, soft_wrap=True)


def table_of(rows: Iterable[Sequence[str]], headings: Sequence[str], right: Collection[int] = ()) -> RichTable:
    """A table of texts; ``right`` are the columns of numbers."""
    table = RichTable(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 1))
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place in right else "left")
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


def _json(answer: Answer) -> str:
    """In ASCII, whatever the terminal's encoding; bytes of a file's name that are no UTF-8 are lone surrogates."""
    return json.dumps(answer.plain(), ensure_ascii=True, allow_nan=False)


def _reconfigure(stream: TextIO, **settings: str) -> None:
    """Change how a real stream encodes; one in memory has no encoding."""
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(**settings)
