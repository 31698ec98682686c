"""Changes to a collection's artists: adding songs, removing and renaming artists.

A collection is rewritten and replaces the old file when it is complete, so that nothing is lost if the process dies.
One process at a time changes it; others wait.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from artistid.data.catalog import Track, folded
from artistid.errors import ArtistidError, abbreviate, counted
from artistid.inference.collection import COLUMNS, FINGERPRINT, Collection, Origin, as_text
from artistid.inference.collection_writer import read_rows, write_rows
from artistid.printing import printable
from artistid.processes import lock


class AlreadyEnrolledError(ArtistidError):
    """An artist of this name is enrolled.

    Attributes:
        artist: name.
        songs: number that the artist is enrolled by.
    """

    def __init__(self, artist: str, songs: int) -> None:
        super().__init__(
            f"artist={printable(artist)} is enrolled already, by {counted(songs, 'song')}: more=true adds to them, "
            "remove=NAME takes them out"
        )
        self.artist, self.songs = artist, songs


class TooLittleSoundError(ArtistidError):
    """A new artist has too little audio to be enrolled.

    Attributes:
        artist: name.
        seconds: of audio.
    """

    def __init__(self, artist: str, seconds: float, songs: int, min_seconds: float) -> None:
        super().__init__(
            f"artist={printable(artist)} has {seconds:.3g} s of audio in {counted(songs, 'song')}, too little to "
            f"enrol: expected min_seconds={min_seconds:g} or more"
        )
        self.artist, self.seconds = artist, seconds


@contextmanager
def changing(path: Path) -> Iterator[None]:
    """Lock a collection against changes by other processes.

    Raises:
        ArtistidError: a folder that can't be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with lock(path.parent, f".{path.name}.lock"):
            yield
    except OSError as error:
        raise ArtistidError(f"collection={printable(path)} cannot be written: {error}") from error


def artists_of(collection: Collection) -> dict[str, int]:
    """Number of songs of each enrolled artist, by name; songs without an artist are ignored."""
    counts = collection.songs["artist"].value_counts(sort=False)
    return {str(name): int(n) for name, n in counts.items() if name}


def title_of(collection: Collection, row: int) -> str:
    """A song of a collection in words: its title and artist."""
    song = collection.songs.iloc[row]
    return printable(f"{song['title'] or song['track_id']} by {song['artist'] or 'nobody known'}")


def require_artist(collection: Collection, name: str, setting: str) -> str:
    """The artist's name as written in the collection.

    Raises:
        ArtistidError: the collection has no such artist.
    """
    known = artists_of(collection)
    if (name := as_text(name)) in known:
        return name
    near = [each for each in known if folded(name) in folded(each) or folded(each) in folded(name)]
    hint = f"; similar ones are {abbreviate(near, 5)}" if near else ""
    raise ArtistidError(
        f"{setting}={printable(name)} is not enrolled in collection={printable(collection.path)}, which has "
        f"{counted(len(known), 'artist')}{hint}"
    )


def add_songs(path: Path, new: Iterable[pa.Table], origin: Origin) -> int:
    """Append songs to a collection; returns the number of all its songs.

    Args:
        path: of the collection, which need not exist.
        new: rows of the songs.
        origin: what made them, and all others in the collection.
    """
    before = read_rows(path) if path.exists() else ()
    return write_rows(path, (table.select([*COLUMNS, FINGERPRINT]) for table in chain(before, new)), origin)


def remove_artist(collection: Collection, name: str) -> int:
    """Write the collection without an artist; returns how many songs were removed.

    Raises:
        ArtistidError: the collection has no such artist, or no other songs.
    """
    name = require_artist(collection, name, "remove")
    own = artists_of(collection)[name]
    if own == len(collection):
        raise ArtistidError(
            f"remove={printable(name)} would leave nothing of collection={printable(collection.path)}: delete the file"
        )
    _rewrite(collection, lambda table: table.filter(pc.not_equal(table["artist"], name)))
    return own


def rename_artist(collection: Collection, name: str, into: str) -> int:
    """Write the collection with an artist under another name; returns how many songs have it.

    Raises:
        ArtistidError: the collection has no such artist, or one of the new name.
    """
    name, into = require_artist(collection, name, "rename"), as_text(into)
    if into in artists_of(collection):
        raise ArtistidError(f"into={printable(into)} is enrolled already in collection={printable(collection.path)}")

    def renamed(table: pa.Table) -> pa.Table:
        place = table.column_names.index("artist")
        names = pc.if_else(pc.equal(table["artist"], name), into, table["artist"])
        return table.set_column(place, "artist", names)

    _rewrite(collection, renamed)
    return artists_of(collection)[name]


def _rewrite(collection: Collection, change: Callable[[pa.Table], pa.Table]) -> None:
    write_rows(collection.path, map(change, read_rows(collection.path)), collection.origin)


def check_names(known: Mapping[str, int], tracks: Iterable[Track], more: bool) -> None:
    """Raises ArtistidError for songs without an artist, and AlreadyEnrolledError for artists who are enrolled.

    Args:
        known: number of songs by enrolled artist.
        tracks: to be enrolled.
        more: whether songs may be by enrolled artists.
    """
    tracks = list(tracks)
    if nameless := [printable(track.track_id) for track in tracks if not track.artist]:
        raise ArtistidError(
            f"{counted(len(nameless), 'song')} have no artist, neither in their tags nor by their folders: expected "
            f"artist=NAME; {abbreviate(nameless, 5)}"
        )
    twice = sorted({as_text(track.artist) for track in tracks} & set(known))
    if twice and not more:
        raise AlreadyEnrolledError(twice[0], known[twice[0]])


def check_sound(known: Container[str], songs: pd.DataFrame, min_seconds: float) -> None:
    """Raises TooLittleSoundError for a new artist with too little audio.

    Args:
        known: names of the enrolled artists.
        songs: to be enrolled: ``artist`` and ``duration_s``.
        min_seconds: of audio.
    """
    for name, own in songs.groupby("artist"):
        if name not in known and (seconds := own["duration_s"].sum()) < min_seconds:
            raise TooLittleSoundError(str(name), float(seconds), len(own), min_seconds)
