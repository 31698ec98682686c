"""What sounds like a song, as it is written: for people, or for other programs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, TextIO

from rich.text import Text

from artistid.errors import ArtistidError, abbreviate
from artistid.inference.matching import Matches
from artistid.inference.neighbours import Similar
from artistid.inference.retrieval_scores import RetrievalScores
from artistid.inference.writers import CsvRows, Json, JsonLines, clock, open_console, table_of
from artistid.printing import printable
from artistid.terminal import Console

SIMILAR_COLUMNS = (
    *("query", "kind", "rank", "similarity", "artist", "album", "title", "track_id", "path", "songs"),
    *("left_out", "warnings"),
)
MATCH_COLUMNS = (
    *("query", "rank", "similarity", "start_s", "end_s", "song_start_s", "song_end_s", "clips"),
    *("artist", "album", "title", "track_id", "path", "alike", "left_out", "warnings"),
)
FINDING_COLUMNS = ("queries", "measure", "value", "low95", "high95", "chance", "n")
TEST_QUERIES = "songs of the test subset, of albums that were not trained on, find their artist"
UNKNOWN_QUERIES = "songs of artists that were not trained on find their artist"


class SimilarTable:
    """For people: the nearest songs, and the nearest artists."""

    def __init__(self, stream: TextIO) -> None:
        self._console = open_console(stream)

    def write(self, answer: Similar) -> None:
        console = self._console
        _write_head(console, answer)
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


class MatchesTable:
    """For people: which stretches of the query sound like which stretches of which songs."""

    def __init__(self, stream: TextIO) -> None:
        self._console = open_console(stream)

    def write(self, answer: Matches) -> None:
        _write_head(self._console, answer)
        rows = [
            (
                *(str(match.rank), f"{match.similarity:.3f}", _span(match.start_s, match.end_s)),
                *(_span(match.song_start_s, match.song_end_s), match.artist or "?"),
                *(match.title or match.track_id, match.album),
            )
            for match in answer.matches
        ]
        headings = ("", "similarity", "query", "song at", "artist", "song", "album")
        self._console.print(table_of(rows, headings, right=range(4)), soft_wrap=False)
        self._console.print()

    def close(self) -> None:
        """Nothing to end."""


def match_rows(answer: Matches) -> Iterator[Sequence[object]]:
    """A row per match."""
    last = (f"{answer.alike:.6f}", "; ".join(answer.left_out), "; ".join(answer.warnings))
    for match in answer.matches:
        times = (match.start_s, match.end_s, match.song_start_s, match.song_end_s)
        names = (match.artist, match.album, match.title, match.track_id, match.path)
        yield (
            *(answer.query, match.rank, f"{match.similarity:.6f}", *(f"{time:.3f}" for time in times), match.clips),
            *(*names, *last),
        )


class FindingsTable:
    """For people: a row per measure."""

    def __init__(self, stream: TextIO) -> None:
        self._console = open_console(stream)

    def write(self, answer: RetrievalScores) -> None:
        for title, found in ((TEST_QUERIES, answer.test), (UNKNOWN_QUERIES, answer.unknown)):
            if found is None:
                continue
            rows = [
                (name, f"{each.value:.3f}", f"{each.ci95[0]:.3f}–{each.ci95[1]:.3f}", f"{each.chance:.3f}")
                for name, each in found.measures.items()
            ]
            self._console.print(Text(title, style="bold"))
            self._console.print(
                f"  {found.n} queries by {found.artists} artists, among {found.gallery} songs; {found.without_answer} "
                "more have no song of their artist outside their album"
            )
            self._console.print(
                table_of(rows, ("", "value", "95 % interval", "chance"), right=(1, 2, 3)), soft_wrap=False
            )
            self._console.print()
        if answer.without_artist:
            self._console.print(f"left out: {answer.without_artist} songs without an artist")

    def close(self) -> None:
        """Nothing to end."""


def finding_rows(answer: RetrievalScores) -> Iterator[Sequence[object]]:
    """A row per kind of queries and measure."""
    for kind, found in (("test", answer.test), ("unknown", answer.unknown)):
        if found:
            for name, each in found.measures.items():
                yield (kind, name, *(f"{value:.6f}" for value in (each.value, *each.ci95, each.chance)), found.n)


def _write_head(console: Console, answer: Similar | Matches) -> None:
    console.print(Text(printable(answer.query), style="bold"))
    if answer.left_out:
        console.print(Text(f"  left out, as its own recording: {abbreviate(answer.left_out)}"))
    for warning in answer.warnings:
        console.print(Text(f"  warning: {warning}", style="yellow"))


def _span(start_s: float, end_s: float) -> str:
    return f"{clock(start_s)}–{clock(end_s)}"


class SimilarWriter(Protocol):
    """Writes answers of one kind as they come."""

    def write(self, answer: Any) -> None:
        """What one query gave."""

    def close(self) -> None:
        """After the last."""


TABLES: dict[str, Callable[[TextIO], SimilarWriter]] = {
    "songs": SimilarTable,
    "matches": MatchesTable,
    "retrieval": FindingsTable,
}
ROWS: dict[str, tuple[Sequence[str], Callable[[Any], Iterable[Sequence[object]]]]] = {
    "songs": (SIMILAR_COLUMNS, similar_rows),
    "matches": (MATCH_COLUMNS, match_rows),
    "retrieval": (FINDING_COLUMNS, finding_rows),
}
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
