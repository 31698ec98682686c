"""Your library: artists and albums by the files' tags, and a CSV file to correct them."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from artistid.data.catalog import Catalog, Track, folded, nfc
from artistid.data.credits import Credits, credits_of
from artistid.data.sources.base import DatasetCard, Source, absolute
from artistid.data.sources.catalog_file import CatalogFile, CatalogRow, tracks_of, write_rows
from artistid.data.sources.folder import audio_files
from artistid.data.tags import Tags, log_unread, read_all_tags
from artistid.errors import ArtistidError, abbreviate, counted
from artistid.places import below, expanded

log = logging.getLogger(__name__)

LIBRARY_COLUMNS = ("path", "artist", "album", "title", "disc", "number", "note")

_DISC = r"(?:cd|dis[ck])\s*\.?\s*#?\s*(?P<{}>\d{{1,2}}|one|two|three|four|i{{1,3}}|iv)\b"
# "Tago Mago (Disc 2: Peking O)", "Tago Mago, CD 2"; "Volume 2" is another album.
DISC = re.compile(rf"\s*[(\[]{_DISC.format('bracketed')}[^)\]]*[)\]]$|[\s,;:–-]+{_DISC.format('bare')}$", re.IGNORECASE)

_VERSION = (
    r"[^)\]]*\b(?:live|unplugged|re-?master(?:ed)?|mono|stereo|demo|acoustic|alternat(?:e|ive)|outtake|rehearsal"
    r"|session|take|edit|version|(?:re)?mix|re-?recorded|bonus|deluxe)\b[^)\]]*"
)
# "Vitamin C (Live at the BBC)", "Vitamin C - 2004 Remaster"
VERSION_SUFFIX = re.compile(rf"\s*[(\[]{_VERSION}[)\]]|\s+[–-]\s+{_VERSION}$", re.IGNORECASE)


@dataclass(kw_only=True)
class Library(CatalogFile):
    """Tracks by their tags: the album's artist first, compilations left out, the discs of a set joined to one album.

    The artist of each is decided from the tags of all, see :mod:`artistid.data.credits`.

    Args:
        csv: a table to correct by hand. It is written if it does not exist; otherwise it is read instead of the tags,
            and files that it does not list are left out and counted. To use a track under another name, or not at all,
            change or clear its artist.
        keep_compilations: take the tracks of compilations, too, each as its own artist's.
        tag_encoding: see :func:`artistid.data.tags.read_tags`.
        reread: read the tags of all files again, for file systems that do not record changes.
        cache_dir: the tags are cached below it, and read again only for files that have changed.
        workers: processes that read tags; None takes one per core.
    """

    csv: str | Path | None = None
    keep_compilations: bool = False
    tag_encoding: str | None = None
    reread: bool = False
    cache_dir: str | Path
    workers: int | None = None

    card: ClassVar[DatasetCard] = DatasetCard(
        title="a library of music",
        licence="that of your music",
        citation="none",
        how_to_get="any mp3, flac, ogg, m4a … files whose tags name artist, album and title, in folders as you like",
        layout="ROOT/**/*.mp3",
    )

    def __post_init__(self) -> None:
        """Unlike in :class:`CatalogFile`, the root does not default to the table's folder."""

    def catalog(self) -> Catalog:
        return Source.catalog(self)

    def scan(self, root: Path) -> list[Track]:
        root = absolute(root)
        files = audio_files(root)
        if not files:
            return []
        table = None if self.csv is None else expanded(self.csv)
        correct = table is not None and table.is_file()
        if self.read_only and not correct and table is not None:
            raise ArtistidError(
                f"data.csv={table} does not exist and is not written, since it is a checkpoint's setting: data=library "
                "data.root=… data.csv=… on the command line, with subset=test where scores are wanted, writes it again"
            )
        rows = self.read(root) if correct else self._rows_by_tags(files, root)
        if unnamed := [nfc(path.relative_to(root).as_posix()) for path in files if path not in rows]:
            n_files = counted(len(unnamed), "file")
            log.warning("left out %s that %s does not name: %s", n_files, table, abbreviate(unnamed))
        try:
            tracks = tracks_of(rows, root, str(table) if correct else f"the tags in data.root={root}")
        except ArtistidError as error:
            if correct:
                raise
            if table is None:
                raise ArtistidError(
                    f"{error}\ndata.csv=music.csv writes a table to name them in; data=folder goes by folders' names"
                ) from error
            _write_table(table, rows, [], root)
            raise ArtistidError(f"{error}\n{table} lists them: name their artists there and start again") from error
        groups = versions(tracks)
        if groups:
            log.warning(
                "%s more than once (live, remastered, on another album), which parts of a split may share: %s",
                *(
                    counted(len(groups), "song exists", "songs exist"),
                    abbreviate([" = ".join(map(_described, group)) for group in groups]),
                ),
            )
        if table is not None and not correct:
            _write_table(table, rows, groups, root)
        return tracks

    def _rows_by_tags(self, files: list[Path], root: Path) -> dict[Path, CatalogRow]:
        cache = below(expanded(self.cache_dir), self.name, "data.name") / "tags.json"
        read = read_all_tags(files, cache, self.tag_encoding, self.workers, self.reread)
        tags = dict(zip(files, read, strict=True))
        _report(tags, root)
        credits = credits_of(tags)
        credits.log_decisions()
        if not self.keep_compilations:
            _report_guesses(credits, tags, root)
        rows = {
            path: _row(path.relative_to(root), each, credits.artists[path], self._why_left_out(credits, path, each))
            for path, each in tags.items()
        }
        if joined := {(row["artist"], row["album"]) for path, row in rows.items() if tags[path].album != row["album"]}:
            log.info(
                "joined the discs of %s: %s", counted(len(joined), "album"), abbreviate(sorted(map(" – ".join, joined)))
            )
        return rows

    def _why_left_out(self, credits: Credits, path: Path, tags: Tags) -> str:
        """Why a track counts as a compilation's and is left out; empty for others."""
        if self.keep_compilations or path not in credits.compilations:
            return ""
        by = f", by {tags.artist}" if tags.artist else ""
        return f"on a compilation{by}" + (f": {credits.compilations[path]}" if path in credits.guessed else "")


def _report(tags: Mapping[Path, Tags], root: Path) -> None:
    """Warn of tags that cannot be read, or are probably in another encoding."""
    log_unread({nfc(path.relative_to(root).as_posix()): each for path, each in tags.items()})
    if doubtful := sorted({read.artist or read.title for read in tags.values() if read.doubtful}):
        log.warning(
            "tags that claim to be Latin-1 but hardly are (data.tag_encoding=cp1251, cp932 or another may fix them), "
            "of %s: %s",
            *(counted(len(doubtful), "artist"), abbreviate(doubtful)),
        )


def _report_guesses(credits: Credits, tags: Mapping[Path, Tags], root: Path) -> None:
    """Warn of tracks left out as a compilation's though not tagged as such: why, and how to keep them."""
    albums = {
        f"{tags[path].album} ({nfc(path.parent.relative_to(root).as_posix())}: {credits.compilations[path]})"
        for path in credits.guessed
    }
    if albums:
        log.warning(
            "taken for compilations, since no album artist is named, and left out: %s of %s "
            "(data.keep_compilations=true keeps all such tracks, data.csv=… or an album artist's tag these): %s",
            *(counted(len(credits.guessed), "track"), counted(len(albums), "album"), abbreviate(sorted(albums))),
        )


def _row(path: Path, tags: Tags, artist: str, left_out: str) -> CatalogRow:
    """A track's row in the table."""
    if left_out:
        artist = "Various Artists"
    disc = DISC.search(tags.album)
    return {
        "path": path.as_posix(),
        "artist": artist,
        "album": tags.album[: disc.start()] if disc and disc.start() else tags.album,
        "title": tags.title,
        "disc": tags.disc or (disc["bracketed"] or disc["bare"] if disc else ""),
        "number": tags.number,
        "note": left_out or (f"tags cannot be read: {tags.error}" if tags.error else "" if artist else "no artist"),
    }


def versions(tracks: Iterable[Track]) -> list[list[Track]]:
    """Songs that an artist has more than once under one title, ignoring suffixes that name a version."""
    groups: dict[tuple[str, str], list[Track]] = defaultdict(list)
    for track in sorted(tracks, key=lambda track: track.track_id):
        title = "".join(filter(str.isalnum, folded(VERSION_SUFFIX.sub("", track.title))))
        same = groups[track.artist, title]
        if not same or same[-1].track_id != track.track_id:  # else another format, of which data.prefer takes one
            same.append(track)
    return [group for (_, title), group in sorted(groups.items()) if title and len(group) > 1]


def _described(track: Track) -> str:
    return f"{track.artist} – {track.title} ({track.album or 'no album'})"


def _write_table(table: Path, rows: Mapping[Path, CatalogRow], groups: list[list[Track]], root: Path) -> None:
    """Write the tags, with notes on what is odd, for the user to correct."""
    also = {
        track.path: ", ".join(other.path.relative_to(root).as_posix() for other in group if other is not track)
        for group in groups
        for track in group
    }
    noted = [row | {"note": f"also {also[path]}"} if path in also else row for path, row in rows.items()]
    try:
        write_rows(table, LIBRARY_COLUMNS, noted)
    except OSError as error:
        raise ArtistidError(f"data.csv={table} cannot be written: {error}") from error
    log.info("wrote %s: correct it, and the next run reads it instead of the tags", table)
