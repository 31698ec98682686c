"""The catalog: one row per track, sorted by track id so that nothing depends on a file system's order."""

from __future__ import annotations

import codecs
import csv
import logging
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import overload

from artistid.errors import ArtistidError, abbreviate, counted
from artistid.writing import whole

log = logging.getLogger(__name__)

NOTHING_RENAMED: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Track:
    """One recording of a song.

    Attributes:
        track_id: unique, stable identifier in Unicode NFC: the collection's own where it has one, else the path below
            its root without its suffix.
        artist: name as given by the source.
        album: name as given by the source; empty for a track that belongs to none.
        title: as given by the source.
        path: the audio file.
        duration_s: seconds of decoded audio; None until the track has been prepared.
        sha1: SHA-1 of the decoded samples, so that a copy with other tags counts as the same recording; None until
            prepared.
        production: what may make it sound like other artists' tracks, where the source knows it: the year, the studio,
            the producer.
    """

    track_id: str
    artist: str
    album: str
    title: str
    path: Path
    duration_s: float | None = None
    sha1: str | None = None
    production: str = ""

    @property
    def album_key(self) -> tuple[str, str]:
        """Identifies an album: the artist, and the album's name without case, accents and blanks.

        A pair, since joined by a character, AC with an album "DC/x" would be AC/DC with an album "x".
        """
        return self.artist, folded(self.album)

    @property
    def session_key(self) -> tuple[str, ...]:
        """Identifies a session: the album; a song without an album is one by itself."""
        return self.album_key if self.album else (self.track_id,)


TRACK_COLUMNS = tuple(field.name for field in fields(Track))
ADDED_COLUMNS = ("production",)  # catalogs of earlier versions lack them
HALVES = re.compile("[\ud800-\udc7f\udd00-\udfff]")  # the other surrogates stand for bytes, as in a file's name


@dataclass(frozen=True)
class Catalog(Sequence[Track]):
    """Tracks sorted by track id.

    Raises:
        ArtistidError: a track id that appears twice.
    """

    tracks: tuple[Track, ...]

    def __init__(self, tracks: Iterable[Track]) -> None:
        ordered = tuple(sorted(tracks, key=lambda track: track.track_id))
        for first, second in pairwise(ordered):
            if first.track_id == second.track_id:
                raise ArtistidError(
                    f"the track {first.track_id!r} appears twice: {first.path} and {second.path}; remove or rename one"
                )
        object.__setattr__(self, "tracks", ordered)

    def __len__(self) -> int:
        return len(self.tracks)

    @overload
    def __getitem__(self, index: int) -> Track: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Track, ...]: ...
    def __getitem__(self, index: int | slice) -> Track | tuple[Track, ...]:
        return self.tracks[index]

    def __iter__(self) -> Iterator[Track]:
        return iter(self.tracks)

    @property
    def artists(self) -> tuple[str, ...]:
        """The artists' names, sorted: their positions are the class labels."""
        return tuple(sorted({track.artist for track in self}))

    @property
    def albums(self) -> dict[str, tuple[str, ...]]:
        """The albums of each artist, sorted; tracks without an album are not counted.

        Of several spellings of one album (:attr:`Track.album_key`) the first is listed.
        """
        names_of: dict[str, tuple[str, ...]] = {}
        for artist, tracks in self.by_artist().items():
            names = sorted({track.album for track in tracks if track.album}, reverse=True)
            names_of[artist] = tuple(sorted({folded(name): name for name in names}.values()))
        return names_of

    def by_artist(self) -> dict[str, tuple[Track, ...]]:
        """The tracks of each artist, artists and tracks sorted."""
        tracks_of: dict[str, list[Track]] = defaultdict(list)
        for track in self:
            tracks_of[track.artist].append(track)
        return {artist: tuple(tracks_of[artist]) for artist in sorted(tracks_of)}

    def select(
        self,
        artists: Collection[str] | None = None,
        min_albums: int = 0,
        min_songs: int = 0,
        exclude: Collection[str] = (),
        albums_only: bool = False,
    ) -> Catalog:
        """The part of the catalog that an experiment uses.

        Args:
            artists: keep these artists only; None keeps all.
            min_albums: keep artists with at least this many albums, counted after ``exclude``.
            min_songs: keep artists with at least this many songs, counted after ``exclude``.
            exclude: track ids to leave out.
            albums_only: leave out tracks that belong to no album.

        Raises:
            ArtistidError: a name that is not in the catalog, or nothing left.
        """
        for names, setting in ((artists, "data.artists"), (exclude, "data.exclude")):
            require_list(names, setting)
        excluded = {nfc(name) for name in exclude}
        wanted = set(self.artists) if artists is None else {nfc(name) for name in artists}
        _require_known(excluded, {track.track_id for track in self}, "data.exclude", "track ids")
        _require_known(wanted, set(self.artists), "data.artists", "artists")
        remaining = Catalog(track for track in self if track.artist in wanted and track.track_id not in excluded)
        if albums_only:
            remaining = remaining._without_loose_tracks()
        albums, songs = remaining.albums, Counter(track.artist for track in remaining)
        kept = {name for name in albums if len(albums[name]) >= min_albums and songs[name] >= min_songs}
        minimum = f"data.min_albums={min_albums}, data.min_songs={min_songs}"
        if not kept:
            most_albums = counted(max(map(len, albums.values()), default=0), "album")
            most_songs = counted(max(songs.values(), default=0), "song")
            raise ArtistidError(
                f"no artist is left of {len(self.artists)} with {minimum}, {len(wanted)} wanted by data.artists and "
                f"{counted(len(excluded), 'track')} left out by data.exclude; the most that one of them has: "
                f"{most_albums}, {most_songs}"
            )
        if few := sorted(set(albums) - kept):
            log.info("left out %d of %s (%s): %s", len(few), counted(len(albums), "artist"), minimum, ", ".join(few))
        return Catalog(track for track in remaining if track.artist in kept)

    def _without_loose_tracks(self) -> Catalog:
        loose = [track.track_id for track in self if not track.album]
        if loose:
            log.info(
                "left out %s without an album (data.albums_only=true): %s",
                *(counted(len(loose), "track"), abbreviate(loose)),
            )
        return Catalog(track for track in self if track.album)

    def with_facts(self, facts: Mapping[str, tuple[float, str]]) -> Catalog:
        """The tracks named in ``facts`` (track id to seconds and SHA-1), completed with them; others are left out."""
        return Catalog(
            replace(track, duration_s=facts[track.track_id][0], sha1=facts[track.track_id][1])
            for track in self
            if track.track_id in facts
        )

    def to_csv(self, path: Path) -> None:
        """Write one row per track, in the columns of :class:`Track`."""
        # surrogateescape: a path need not be valid Unicode, and must be the same when read back.
        with whole(path, errors="surrogateescape", newline="") as file:
            writer = csv.DictWriter(file, TRACK_COLUMNS)
            writer.writeheader()
            writer.writerows(asdict(track) for track in self)

    @classmethod
    def from_csv(cls, path: Path) -> Catalog:
        """Read what :meth:`to_csv` wrote.

        Raises:
            ArtistidError: no such file, columns missing, a duration that is not a number, or a track that appears
                twice.
        """
        rows = read_rows(path, [name for name in TRACK_COLUMNS if name not in ADDED_COLUMNS], "catalog")
        try:
            return cls(
                Track(
                    **{name: row[name] for name in ("track_id", "artist", "album", "title")},
                    path=Path(row["path"]),
                    duration_s=float(row["duration_s"]) if row["duration_s"] else None,
                    sha1=row["sha1"] or None,
                    production=row.get("production", ""),
                )
                for row in rows
            )
        except ValueError as error:
            raise ArtistidError(f"{path} is not a catalog: a duration_s is not in seconds: {error}") from error


def require_list(names: object, setting: str) -> None:
    """Raises ArtistidError for a single name where a list of them is expected."""
    if isinstance(names, str):
        raise ArtistidError(f"{setting}={names} is not a list: write {setting}=[{names}]")


def nfc(text: str) -> str:
    """Text in Unicode NFC, since some file systems return decomposed names; what is not text becomes U+FFFD.

    That is, bytes of a file's name that are not UTF-8, and lone surrogates, which JSON can contain.
    """
    if text.isascii():
        return text
    as_bytes = HALVES.sub("\ufffd", text).encode("utf-8", "surrogateescape")
    return unicodedata.normalize("NFC", as_bytes.decode("utf-8", "replace"))


def clean(name: str) -> str:
    """A name from a table or a tag, in Unicode NFC with single blanks between words."""
    return nfc(" ".join(name.split()))


def folded(name: str) -> str:
    """A name without case, accents and blanks, to find those that are spelled almost alike.

    Example:
        >>> folded("Sigur Rós") == folded("SIGUR ROS")
        True
    """
    letters = "".join(unicodedata.normalize("NFKD", name.casefold()).split())
    if letters.isascii():
        return letters
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def spellings(names: Iterable[str]) -> list[list[str]]:
    """The names that differ only in case, accents or blanks, sorted, in groups of two or more."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in sorted(set(names)):
        groups[folded(name)].append(name)
    return [group for group in groups.values() if len(group) > 1]


def read_rows(
    path: Path, required: Collection[str], what: str, earlier_names: Mapping[str, str] = NOTHING_RENAMED
) -> list[dict[str, str]]:
    """The rows of a CSV or TSV file by column name, as spreadsheets write them.

    Args:
        path: UTF-8 with or without a byte order mark, or UTF-16 with one; cells separated by commas, semicolons or
            tabs, any line endings. Column names may be in capitals; rows of empty cells are skipped.
        required: columns that must be present; others may be.
        what: what the file should be, for error messages.
        earlier_names: current name of a column by an earlier one.

    Raises:
        ArtistidError: no such file, columns missing or duplicated, a row with fewer or more cells than the header, or
            text that is cut within a character.
    """
    if not path.is_file():
        raise ArtistidError(f"the {what} {path} is not a file (seen from {Path.cwd()})")
    encoding = _encoding(path)
    try:
        return _rows(path, encoding, required, what, earlier_names)
    except UnicodeError as error:  # not for UTF-8, of which undecodable bytes are kept
        reason = error.reason if isinstance(error, UnicodeDecodeError) else str(error)
        raise ArtistidError(f"{path} is not a {what}: it is not valid {encoding.upper()} text: {reason}") from error


def _rows(
    path: Path, encoding: str, required: Collection[str], what: str, earlier_names: Mapping[str, str]
) -> list[dict[str, str]]:
    # Undecodable bytes kept in UTF-16 would shift the rest by a byte.
    errors = "surrogateescape" if encoding == "utf-8-sig" else "strict"
    with path.open(encoding=encoding, errors=errors, newline="") as file:
        delimiter = max(",;\t", key=file.readline().count)
        file.seek(0)
        reader = csv.reader(file, delimiter=delimiter)
        try:
            columns = [name.strip().lower() for name in next(reader, [])]
            columns = [earlier_names.get(name, name) for name in columns]
            _require_columns(columns, required, f"{path} is not a {what}")
            rows = []
            for cells in reader:
                if not any(cells):
                    continue
                if len(cells) != len(columns):
                    raise ArtistidError(
                        f"{path}, line {reader.line_num}: expected {counted(len(columns), 'cell')} ({columns}), found "
                        f"{len(cells)}"
                    )
                rows.append(dict(zip(columns, cells, strict=True)))
            return rows
        except csv.Error as error:
            raise ArtistidError(f"{path} is not a {what}: line {reader.line_num}: {error}") from error


def _encoding(path: Path) -> str:
    with path.open("rb") as file:
        return "utf-16" if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"


def _require_columns(columns: list[str], required: Collection[str], where: str) -> None:
    if missing := [name for name in required if name not in columns]:
        raise ArtistidError(f"{where}: it lacks the columns {', '.join(missing)}; found {columns}")
    if twice := [name for name, count in Counter(columns).items() if name and count > 1]:
        raise ArtistidError(f"{where}: the columns {', '.join(twice)} appear twice")


def _require_known(names: Collection[str], known: Collection[str], setting: str, what: str) -> None:
    if unknown := sorted(set(names) - set(known)):
        raise ArtistidError(
            f"{setting} names {what} that the collection does not have: {unknown}; it has {abbreviate(sorted(known))}"
        )
