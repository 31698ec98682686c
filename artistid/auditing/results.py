"""What an audit found, as a table for people and as JSON or CSV for other programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from artistid.auditing.findings import MixedAlbum, SameArtist, Song
from artistid.data.catalog import Catalog
from artistid.data.duplicates import DuplicatePair
from artistid.errors import counted
from artistid.records import Layout, table_of
from artistid.terminal import Console

SUSPECT_COLUMNS = ("track_id", "artist", "album", "title", "path", "proposed", "probability", "own_probability")


@dataclass(frozen=True)
class Copies:
    """Two tracks that are near-identical recordings.

    Attributes:
        first: track id.
        second: track id.
        artists: whom each is filed under.
        score: share of equal bits of their fingerprints; 1 for identical samples.
    """

    first: str
    second: str
    artists: tuple[str, str]
    score: float

    @classmethod
    def of_pairs(cls, pairs: Sequence[DuplicatePair], catalog: Catalog) -> list[Copies]:
        """Make them of pairs, with the artists of their tracks; those under two artists first."""
        artist_of = {track.track_id: track.artist for track in catalog}
        found = [
            cls(pair.first, pair.second, (artist_of[pair.first], artist_of[pair.second]), round(pair.score, 4))
            for pair in pairs
        ]
        return sorted(found, key=lambda each: each.artists[0] == each.artists[1])

    def plain(self) -> dict[str, Any]:
        """As plain types."""
        return asdict(self)


@dataclass(frozen=True)
class Audit:
    """All findings.

    Attributes:
        songs: that were audited, the most suspicious first.
        by_songs: artists with at most one album, whose songs were held out one by one, and the numbers of these songs.
        left_out: the reasons why songs were not audited, by track id.
        albums: that may mix two artists.
        artists: names that may be one artist's.
        copies: near-identical recordings, those under two artists first.
        planted: how well planted errors were found; None: none were planted.
        table: of all songs, to be corrected.
        top: how many rows a table shows.
    """

    songs: Sequence[Song]
    by_songs: Mapping[str, int]
    left_out: Mapping[str, str]
    albums: Sequence[MixedAlbum]
    artists: Sequence[SameArtist]
    copies: Sequence[Copies]
    planted: Mapping[str, float] | None
    table: Path
    top: int

    @property
    def suspects(self) -> list[Song]:
        """The songs that are probably under the wrong artist."""
        return [song for song in self.songs if song.suspect]

    def plain(self) -> dict[str, Any]:
        """As plain types, ready for JSON."""
        return {
            "audited": len(self.songs),
            "audited_by_songs": dict(self.by_songs),
            "left_out": dict(self.left_out),
            "suspects": [song.plain() for song in self.suspects],
            "albums": [album.plain() for album in self.albums],
            "artists": [pair.plain() for pair in self.artists],
            "duplicates": [pair.plain() for pair in self.copies],
            "planted": dict(self.planted) if self.planted else None,
            "table": str(self.table),
        }

    def rows(self) -> Iterator[list[object]]:
        """A CSV row per suspect."""
        for song in self.suspects:
            yield [song.plain()[name] for name in SUSPECT_COLUMNS]

    def show(self, console: Console) -> None:
        """Print the first findings of each kind."""
        self._part(
            console,
            f"{counted(len(self.suspects), 'song')} of {len(self.songs):,} probably under the wrong artist",
            ("song", "album", "filed under", "", "sounds like", ""),
            [
                (
                    *(song.track.title, song.track.album),
                    *(song.track.artist, f"{song.own_probability:.3f}"),
                    *(song.proposed, f"{song.probability:.3f}"),
                )
                for song in self.suspects
            ],
            right=(3, 5),
        )
        self._part(
            console,
            f"{counted(len(self.albums), 'album')} that may mix two artists, or be another's",
            ("album", "filed under", "songs", "sounds like", "songs"),
            [(each.album, each.artist, str(each.songs), each.other, str(each.others_songs)) for each in self.albums],
            right=(2, 4),
        )
        self._part(
            console,
            f"{counted(len(self.artists), 'pair')} of names that may be one artist's",
            ("name", "songs", "name", "songs", "spelled", "probability ratio"),
            [
                (
                    *(pair.names[0], str(pair.songs[0]), pair.names[1], str(pair.songs[1])),
                    *("alike" if pair.alike else "", "" if pair.taken is None else f"{pair.taken:.2f} ×"),
                )
                for pair in self.artists
            ],
            right=(1, 3, 5),
        )
        self._part(
            console,
            f"{counted(len(self.copies), 'pair')} of near-identical recordings",
            ("song", "song", "alike", "artists"),
            [(pair.first, pair.second, f"{pair.score:.2f}", _whose(pair)) for pair in self.copies],
            right=(2,),
        )
        if self.planted:
            self._show_planted(console, self.planted)
        if self.by_songs:
            n_songs = counted(sum(self.by_songs.values()), "song")
            console.print(
                f"{counted(len(self.by_songs), 'artist')} with at most one album, held out song by song: {n_songs}"
            )
        for why, number in Counter(_kind(why) for why in self.left_out.values()).items():
            console.print(f"not audited, {why}: {counted(number, 'song')}")
        console.print(f"all songs, to be corrected: {self.table}")

    def _part(
        self,
        console: Console,
        title: str,
        headings: Sequence[str],
        rows: Sequence[Sequence[str]],
        right: Sequence[int],
    ) -> None:
        console.print(title)
        if rows:
            console.print(table_of(rows[: self.top], headings, right))
            if len(rows) > self.top:
                console.print(f" and {len(rows) - self.top:,} more")
        console.print()

    def _show_planted(self, console: Console, planted: Mapping[str, float]) -> None:
        console.print(
            f"planted: {counted(int(planted['planted']), 'error')}; among as many of the most suspicious songs, "
            f"precision and recall are {planted['precision']:.2f}, and {planted['named']:.2f} of those found have "
            f"their own artist proposed; among the {counted(int(planted['listed']), 'song')} listed, precision is "
            f"{planted['precision_listed']:.2f} and recall {planted['recall_listed']:.2f}"
        )


def _whose(pair: Copies) -> str:
    first, second = pair.artists
    return first if first == second else f"{first}, {second}"


def _kind(why: str) -> str:
    """A reason without the song that it names."""
    return why.partition(" as ")[0]


LAYOUT = Layout(SUSPECT_COLUMNS, Audit.rows, lambda console, audit: audit.show(console))
