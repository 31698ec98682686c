"""Answers as they are written: for people, or for other programs."""

from __future__ import annotations

import csv
import json
from typing import Protocol, TextIO

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from artistid.inference.identification import Identification
from artistid.inference.sound import printable

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
        _reconfigure(stream, errors="replace")
        self._timeline = timeline
        self._console = Console(file=stream, highlight=False, soft_wrap=True)

    def write(self, answer: Identification) -> None:
        console = self._console
        console.print(Text(f"{printable(answer.name)}  {clock(answer.duration_s)}", style="bold"))
        console.print(Text(f"  {verdict(answer)}"))
        for warning in answer.warnings:
            console.print(Text(f"  warning: {warning}", style="yellow"))
        table = RichTable(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 1))
        for heading in ("artist", "probability", "clips"):
            table.add_column(heading, justify="left" if heading == "artist" else "right")
        for candidate in answer.top:
            table.add_row(Text(printable(candidate.artist)), f"{candidate.probability:.3f}", f"{candidate.share:.0%}")
        console.print(table, soft_wrap=False)
        if self._timeline:
            for stretch in answer.timeline:
                span = f"{clock(stretch.start_s)}–{clock(stretch.end_s)}"
                console.print(Text(f"  {span:>13}  {printable(stretch.artist)} {stretch.probability:.2f}"))
        console.print()

    def close(self) -> None:
        """Nothing to end."""


class Json:
    """One array of objects, complete once all songs are answered."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._n_written = 0

    def write(self, answer: Identification) -> None:
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

    def write(self, answer: Identification) -> None:
        self._stream.write(_json(answer) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Nothing to end."""


class Csv:
    """A row per song and artist, in UTF-8; a file name that is none comes as the bytes that it is."""

    def __init__(self, stream: TextIO) -> None:
        _reconfigure(stream, encoding="utf-8", errors="surrogateescape")
        self._stream = stream
        self._rows = csv.writer(stream, lineterminator="\n")
        self._rows.writerow(COLUMNS)

    def write(self, answer: Identification) -> None:
        of_song = (answer.name, f"{answer.duration_s:.3f}", answer.artist or NOBODY, f"{answer.score:.6f}")
        threshold = "" if answer.threshold is None else f"{answer.threshold:.6f}"
        for rank, candidate in enumerate(answer.top, start=1):
            of_artist = (rank, candidate.artist, f"{candidate.probability:.6f}", f"{candidate.share:.6f}")
            self._rows.writerow((*of_song, threshold, *of_artist, "; ".join(answer.warnings)))
        self._stream.flush()

    def close(self) -> None:
        """Nothing to end."""


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


def clock(seconds: float) -> str:
    """Minutes and seconds, and hours where there are any.

    Example:
        >>> clock(75.4), clock(3 * 3600 + 61)
        ('1:15', '3:01:01')
    """
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _json(answer: Identification) -> str:
    """In ASCII, whatever the terminal's encoding; bytes of a file's name that are no UTF-8 are lone surrogates."""
    return json.dumps(answer.plain(), ensure_ascii=True, allow_nan=False)


def _reconfigure(stream: TextIO, **settings: str) -> None:
    """Change how a real stream encodes; one in memory has no encoding."""
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(**settings)
