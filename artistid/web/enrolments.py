"""Artists being enrolled: their songs arrive one by one, and are enrolled together or not at all."""

from __future__ import annotations

import secrets
from collections import Counter
from dataclasses import dataclass, field
from http import HTTPStatus

import anyio

from artistid.data.catalog import Track
from artistid.inference.collection_writer import EmbeddedSong
from artistid.web.guests import AGAIN, SHARE
from artistid.web.uploads import RETRY_SECONDS, RefusedError

MOST_DRAFTS = 32
MOST_SONGS = 1000  # of one artist
REST_SECONDS = 900.0  # after which a draft that nothing was added to is dropped


@dataclass(eq=False)
class Draft:
    """An artist who is about to be enrolled.

    Attributes:
        address: of whoever sends the songs.
        artist: name.
        more: whether the artist may be enrolled already.
        touched: when a song was added last, on the event loop's clock.
        songs, tracks: received so far.
    """

    address: str
    artist: str
    more: bool
    touched: float = field(default_factory=anyio.current_time)
    songs: list[EmbeddedSong] = field(default_factory=list)
    tracks: list[Track] = field(default_factory=list)


class Drafts:
    """All drafts, by a token that only the sender of the songs has; for one event loop."""

    def __init__(self) -> None:
        self._drafts: dict[str, Draft] = {}

    def begin(self, address: str, artist: str, more: bool) -> str:
        """Begin a draft.

        Args:
            address: whose limit it counts against.
            artist: name.
            more: whether the artist may be enrolled already.

        Returns:
            Its token.

        Raises:
            RefusedError: there are too many.
        """
        now = anyio.current_time()
        self._drafts = {token: each for token, each in self._drafts.items() if now - each.touched < REST_SECONDS}
        own = Counter(draft.address for draft in self._drafts.values())[address]
        if own >= MOST_DRAFTS // SHARE or len(self._drafts) >= MOST_DRAFTS:
            raise RefusedError(
                HTTPStatus.TOO_MANY_REQUESTS, f"Too many artists are being enrolled at once. {AGAIN}", RETRY_SECONDS
            )
        token = secrets.token_urlsafe(16)
        self._drafts[token] = Draft(address, artist, more)
        return token

    def get(self, token: str) -> Draft:
        """The draft of a token; raises RefusedError if there is none."""
        if token not in self._drafts:
            raise RefusedError(HTTPStatus.NOT_FOUND, "This enrolment has ended or timed out: start it again.")
        return self._drafts[token]

    def add(self, token: str, song: EmbeddedSong, track: Track) -> None:
        """Add a song to a draft.

        Raises:
            RefusedError: no such draft, a recording that it has already, or too many songs.
        """
        draft = self.get(token)
        if len(draft.songs) >= MOST_SONGS:
            raise RefusedError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"This page enrols an artist from {MOST_SONGS:,} songs at most; python -m artistid.enrol takes more.",
            )
        for other, its in zip(draft.songs, draft.tracks, strict=True):
            if other.sha1 == song.sha1:
                raise RefusedError(HTTPStatus.CONFLICT, f"{track.title} is the same recording as {its.title}.")
        draft.songs.append(song)
        draft.tracks.append(track)
        draft.touched = anyio.current_time()

    def end(self, token: str) -> Draft:
        """Remove and return the draft of a token; raises RefusedError if there is none."""
        draft = self.get(token)
        del self._drafts[token]
        return draft
