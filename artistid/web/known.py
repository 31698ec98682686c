"""What the page knows besides its network: the collection to compare songs with, and the artists enrolled in it.

The collection is a file that the page or ``python -m artistid.enrol`` may change while the page runs; it is then read
again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pandas as pd

from artistid.data.catalog import Track, folded
from artistid.errors import ArtistidError, counted
from artistid.inference.collection import Collection, Origin, as_text, data_set
from artistid.inference.collection_writer import EmbeddedSong, named, song_table
from artistid.inference.enrolment import (
    AlreadyEnrolledError,
    TooLittleSoundError,
    add_songs,
    artists_of,
    changing,
    check_names,
    check_sound,
    title_of,
)
from artistid.inference.identifier import Identifier
from artistid.inference.roster import Roster, require_verifier
from artistid.places import expanded
from artistid.printing import printable
from artistid.web.neighbourhood import Neighbourhood
from artistid.web.uploads import RefusedError

log = logging.getLogger(__name__)

NOBODY_YET = "Nobody is enrolled yet, so there is nobody to recognise: enrol an artist first."


@dataclass(frozen=True)
class KnownSettings:
    """How a collection is used.

    Attributes:
        n_nearest: how many of its songs to list beside an answer.
        false_alarms: share of songs by artists not enrolled for which an enrolled one may be named.
        enrol: whether the page may add artists.
        min_seconds: of sound needed for a new artist.
    """

    n_nearest: int = 10
    false_alarms: float = 0.05
    enrol: bool = False
    min_seconds: float = 30.0


@dataclass(frozen=True, eq=False)
class Known:
    """A collection as its file was at one time.

    Attributes:
        state: of the file, to notice its changes.
        neighbourhood: its songs; None before the first is enrolled.
        roster: its artists; None if the network names its own artists, or nobody is enrolled yet.
    """

    state: tuple[tuple[str, int, int, int], ...]
    neighbourhood: Neighbourhood | None
    roster: Roster | None


class KnownSongs:
    """A collection that is read again whenever its file has changed; thread-safe.

    With a network that scores songs against enrolled artists, the page names the artists of the collection.

    Args:
        path: of the collection; if artists may be added, it is created with the first.
        identifier: that made it.
        settings: how it is used.

    Attributes:
        names_enrolled: whether the collection's artists are named, instead of those that the network was trained on.
        settings: as above.

    Raises:
        ArtistidError: see :meth:`Collection.read`; another network made it; or, if artists may be added, a folder,
            or a network that cannot score songs against them.
    """

    def __init__(self, path: str | Path, identifier: Identifier, settings: KnownSettings) -> None:
        self.settings = settings
        self._path = expanded(path)
        self._identifier = identifier
        self._lock = threading.Lock()
        if settings.enrol:
            require_verifier(identifier)
            if self._path.is_dir():
                raise ArtistidError(
                    f"collection={printable(path)} is a folder: with enrol=true expected a file, such as "
                    "artists.parquet in it"
                )
        self._known = self._read()
        self.names_enrolled = settings.enrol or self._known.roster is not None

    def now(self) -> Known:
        """The collection as it is now, or as it was if it has become unreadable, which is logged."""
        with self._lock:
            if self._state() != self._known.state:
                try:
                    self._known = self._read()
                except ArtistidError as error:
                    log.warning("warning: %s; the page keeps using what it has read before", error)
                    self._known = replace(self._known, state=self._state())
            return self._known

    def require_roster(self) -> Roster:
        """The enrolled artists; raises RefusedError if there are none."""
        if (roster := self.now().roster) is None:
            raise RefusedError(HTTPStatus.CONFLICT, NOBODY_YET)
        return roster

    def artists(self) -> dict[str, Any]:
        """Who is enrolled, as plain types.

        Returns:
            ``artists``, each with its ``songs``; ``songs`` of the whole collection; ``false_alarms``, a share; and
            ``strangers``, the number of songs by artists not enrolled that it was set by.
        """
        known = self.now()
        roster = known.roster
        songs = {} if roster is None else artists_of(roster.collection)
        return {
            "artists": [
                {"artist": printable(name), "songs": songs[name]}
                for name in sorted(songs, key=lambda name: folded(name))
            ],
            "songs": 0 if known.neighbourhood is None else len(known.neighbourhood.collection),
            "false_alarms": self.settings.false_alarms,
            "strangers": 0 if roster is None else roster.n_strangers,
        }

    def check_new(self, artist: str, more: bool) -> None:
        """Raises RefusedError for an artist who is enrolled already, unless more of their songs are wanted."""
        roster = self.now().roster
        known = artists_of(roster.collection) if roster else {}
        if as_text(artist) in known and not more:
            raise _already(artist, known[as_text(artist)])

    def check_unknown(self, song: EmbeddedSong, name: str) -> None:
        """Raises RefusedError for a recording that the collection has already."""
        if neighbourhood := self.now().neighbourhood:
            _check_no_copy(neighbourhood.collection, song, name)

    def enrol(self, songs: Sequence[EmbeddedSong], tracks: Sequence[Track], more: bool) -> int:
        """Add songs to the collection.

        Args:
            songs: at least one.
            tracks: their metadata.
            more: whether they may be of artists who are enrolled.

        Returns:
            How many artists are enrolled now.

        Raises:
            RefusedError: an artist who is enrolled already, too little sound, or a recording that is there already.
            ArtistidError: a folder that can't be written.
        """
        with changing(self._path):
            before = Collection.read(self._path) if self._path.exists() else None
            known = artists_of(before) if before else {}
            try:
                check_names(known, tracks, more)
                sound = {"artist": [each.artist for each in tracks], "duration_s": [each.duration_s for each in songs]}
                check_sound(known, pd.DataFrame(sound), self.settings.min_seconds)
            except AlreadyEnrolledError as error:
                raise _already(error.artist, error.songs) from error
            except TooLittleSoundError as error:
                raise RefusedError(
                    HTTPStatus.UNPROCESSABLE_ENTITY,
                    f"{printable(error.artist)} has {error.seconds:.3g} s of sound, too little to enrol: "
                    f"expected {self.settings.min_seconds:g} s or more.",
                ) from error
            taken: set[str] = set()
            if before:
                before.check_made_by(self._identifier)
                taken = set(before.songs["track_id"])
                for song, track in zip(songs, tracks, strict=True):
                    _check_no_copy(before, song, track.title)
            tracks = [replace(track, track_id=_unique(track.track_id, taken)) for track in tracks]
            files = [(as_text(track.track_id), 0, 0) for track in tracks]  # they are not files here
            add_songs(self._path, [named(song_table(songs, files), tracks)], Origin.of(self._identifier))
            return len({*known, *(as_text(track.artist) for track in tracks)})

    def _state(self) -> tuple[tuple[str, int, int, int], ...]:
        try:
            stats = [(file.name, file.stat()) for file in data_set(self._path)]
        except OSError:
            return ()
        return tuple((name, stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in stats)

    def _read(self) -> Known:
        state = self._state()
        if self.settings.enrol and not state:
            return Known(state, None, None)
        collection = Collection.read(self._path)
        collection.check_made_by(self._identifier)
        roster = None
        if self._identifier.verifier is not None and artists_of(collection):
            roster = Roster(collection, self._identifier, self.settings.false_alarms)
        return Known(state, Neighbourhood(collection, self.settings.n_nearest), roster)


def _already(artist: str, songs: int) -> RefusedError:
    return RefusedError(HTTPStatus.CONFLICT, f"{printable(artist)} is enrolled already, by {counted(songs, 'song')}.")


def _check_no_copy(collection: Collection, song: EmbeddedSong, name: str) -> None:
    if len(copies := collection.copies(song.sha1)):
        same = title_of(collection, int(copies[0]))
        raise RefusedError(HTTPStatus.CONFLICT, f"{printable(name)}: this recording is enrolled already, as {same}.")


def _unique(name: str, taken: set[str]) -> str:
    """A name that is not taken yet, and now is."""
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name} ({number})"
    taken.add(found)
    return found
