"""What sounds like a song, as it is written: for people, or for other programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TextIO

from rich.text import Text

from artistid.errors import ArtistidError, listing
from artistid.inference.neighbours import Similar
from artistid.inference.sound import printable
from artistid.inference.writers import CsvRows, Json, JsonLines, open_console, table_of

SIMILAR_COLUMNS = (
    *("query", "kind", "rank", "similarity", "artist", "album", "title", "track_id", "path", "songs"),
    *("left_out", "warnings"),
)


class SimilarTable:
    """For people: the nearest songs, and the nearest artists."""

    def __init__(self, stream: TextIO) -> None:
        self._console = open_console(stream)

    def write(self, answer: Similar) -> None:
        console = self._console
        console.print(Text(printable(answer.query), style="bold"))
        if answer.left_out:
            console.print(Text(f"  left out, as its own recording: {listing(answer.left_out)}"))
        for warning in answer.warnings:
            console.print(Text(f"  warning: {warning}", style="yellow"))
        songs = [
            (str(song.rank), f"{song.similarity:.3f}", song.artist or "?", song.title or song.track_id, song.album)
            for song in answer.songs
        ]
        console.print(table_of(songs, ("", "similarity", "artist", "song", "album"), right=(0, 1)), soft_wrap=False)
        artists = [(str(each.rank), f"{each.similarity:.3f}", each.artist, str(each.songs)) for each in answer.artists]
        if artists:
            console.print()
            console.print(table_of(artists, ("", "similarity", "artist", "songs"), right=(0, 1, 3)), soft_wrap=False)
        console.print()

    def close(self) -> None:
        """Nothing to end."""


def similar_rows(answer: Similar) -> Iterator[Sequence[object]]:
    """A row per song, then a row per artist."""
    last = ("; ".join(answer.left_out), "; ".join(answer.warnings))
    for song in answer.songs:
        names = (song.artist, song.album, song.title, song.track_id, song.path)
        yield (answer.query, "song", song.rank, f"{song.similarity:.6f}", *names, "", *last)
    for artist in answer.artists:
        names = (artist.artist, "", "", "", "")
        yield (answer.query, "artist", artist.rank, f"{artist.similarity:.6f}", *names, artist.songs, *last)


class SimilarWriter(Protocol):
    """Writes answers of one kind as they come."""

    def write(self, answer: Any) -> None:
        """What one query gave."""

    def close(self) -> None:
        """After the last."""


TABLES = {"songs": SimilarTable}
ROWS = {"songs": (SIMILAR_COLUMNS, similar_rows)}
FORMATS = ("table", "json", "jsonl", "csv")


def open_writer(view: str, format_: str, stream: TextIO) -> SimilarWriter:
    """What writes the answers of a view in one of the formats.

    Raises:
        ArtistidError: an unknown format.
    """
    if format_ not in FORMATS:
        raise ArtistidError(f"format={format_!r} is none of {', '.join(FORMATS)}")
    if format_ == "csv":
        return CsvRows(stream, *ROWS[view])
    if format_ == "table":
        return TABLES[view](stream)
    return Json(stream) if format_ == "json" else JsonLines(stream)
