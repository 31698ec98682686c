"""A catalog made by hand: a CSV file that names the tracks."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from artistid.data.catalog import Catalog, Track, clean, folded, nfc, read_rows
from artistid.data.credits import VARIOUS
from artistid.data.sources.base import DatasetCard, Source, absolute, path_below
from artistid.errors import ArtistidError, abbreviate, counted
from artistid.places import expanded
from artistid.writing import whole

log = logging.getLogger(__name__)

CatalogRow = dict[str, str]


@dataclass(kw_only=True)
class CatalogFile(Source):
    """Tracks by the rows of a CSV or TSV file.

    Args:
        csv: the file, with the columns path and artist, and optionally album, title, track_id, and production or year:
            what may make tracks by several artists sound alike. Other columns are ignored. A row without an artist, or
            by "Various Artists", is left out and counted.
        root: the folder to which paths are relative; None: that of the file.
    """

    csv: str | Path | None
    root: str | Path | None = None

    card: ClassVar[DatasetCard] = DatasetCard(
        title="a catalog of your own",
        licence="that of your music",
        citation="none",
        how_to_get="write it by hand, or have data=library write one from the files' tags",
        layout="a CSV with the columns path and artist, optionally album, title and track_id; paths relative to ROOT",
    )

    def __post_init__(self) -> None:
        if self.root is None and self.csv is not None:
            self.root = expanded(self.csv).absolute().parent

    def catalog(self) -> Catalog:
        """The selected tracks.

        Raises:
            ArtistidError: no such file, columns missing, a path that leads out of the root, a duplicate track, or
                nothing left; and those of :meth:`Source.catalog`.
        """
        if self.csv is None:
            raise ArtistidError(f"data.csv is not set: say which file holds the catalog\n{self.expected()}")
        if not expanded(self.csv).is_file():
            raise ArtistidError(f"data.csv={self.csv} is not a file (seen from {Path.cwd()})\n{self.expected()}")
        return super().catalog()

    def scan(self, root: Path) -> list[Track]:
        root = absolute(root)
        return tracks_of(self.read(root), root, str(self.csv))

    def read(self, root: Path) -> dict[Path, CatalogRow]:
        """The rows of the file by the audio files that they name."""
        table = expanded(str(self.csv))
        rows = place(read_rows(table, ("path", "artist"), "catalog"), root, table)
        if not rows:
            raise ArtistidError(f"data.csv={table} names no tracks: expected a row for each")
        if absent := [str(path) for path in rows if not path.exists()]:
            if len(absent) == len(rows):
                raise ArtistidError(
                    f"of {counted(len(rows), 'file')} that {table} names none exists: {abbreviate(absent, 3)}; paths "
                    f"are relative to data.root={root}"
                )
            log.warning(
                "of %s that %s names, %d cannot be found: %s",
                *(counted(len(rows), "file"), table, len(absent), abbreviate(absent)),
            )
        return rows


def place(rows: list[CatalogRow], root: Path, table: Path) -> dict[Path, CatalogRow]:
    """The rows by their files below ``root``.

    Raises:
        ArtistidError: text that is not UTF-8, a path that leads out of ``root``, or a file that appears twice.
    """
    placed: dict[Path, CatalogRow] = {}
    for row in rows:
        path = path_below(root, row["path"], table)
        for column in ("artist", "album", "title"):
            if not _is_unicode(row.get(column, "")):
                raise ArtistidError(
                    f"{table}: the {column} {nfc(row[column])!r} of {row['path']!r} is not UTF-8; "
                    "have your spreadsheet save the file as UTF-8"
                )
        if path in placed:
            albums = " and ".join(repr(entry.get("album", "")) for entry in (placed[path], row))
            raise ArtistidError(
                f"{table}: the file {row['path']!r} appears twice, in the albums {albums}; a track belongs to one"
            )
        placed[path] = row
    return placed


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write a table that spreadsheets open and :class:`CatalogFile` reads, whole or not at all."""
    # The byte order mark tells spreadsheets that it is UTF-8; paths need not be Unicode.
    with whole(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def _is_unicode(text: str) -> bool:
    return text.isascii() or not any("\udc80" <= letter <= "\udcff" for letter in text)


def tracks_of(rows: dict[Path, CatalogRow], root: Path, where: str) -> list[Track]:
    """The tracks of rows that name an artist; compilations are left out, and all that is left out is counted.

    Args:
        rows: by the audio files that they name.
        root: the folder that ids of tracks without track_id are relative to.
        where: source of the rows, for the log.
    """
    tracks, nameless, various = [], [], []
    for path, row in rows.items():
        name = path.relative_to(root).with_suffix("").as_posix()
        artist = clean(row["artist"])
        if not artist:
            nameless.append(nfc(name))
        elif folded(artist) in VARIOUS:
            various.append(nfc(name))
        else:
            tracks.append(
                Track(
                    track_id=nfc(row.get("track_id") or name),
                    artist=artist,
                    album=clean(row.get("album", "")),
                    title=clean(row.get("title", "")) or nfc(path.stem),
                    path=path,
                    production=clean(row.get("production") or row.get("year") or ""),
                )
            )
    for names, why in ((nameless, "without an artist"), (various, "on compilations, by various artists")):
        if names:
            log.warning(
                "%s: left out %d of %s, %s: %s", where, len(names), counted(len(rows), "track"), why, abbreviate(names)
            )
    if not tracks:
        raise ArtistidError(f"{where}: none of {counted(len(rows), 'track')} names an artist of its own")
    return tracks
