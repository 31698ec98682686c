"""What the page shows about one song: its artist, whether it is by the claimed artist, and similar songs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import Any

from artistid.data.audio import DecodingError
from artistid.data.catalog import Track, clean
from artistid.data.song import Limits, SongFeatures, SongReader
from artistid.errors import ArtistidError
from artistid.inference.collection import as_text
from artistid.inference.collection_writer import EmbeddedSong
from artistid.inference.identifier import Identifier
from artistid.inference.roster import Roster
from artistid.inference.sources import audible, embedded, track_of_tags
from artistid.printing import printable
from artistid.web.known import KnownSongs
from artistid.web.spectrogram import picture
from artistid.web.uploads import RefusedError, refusal

StillWanted = Callable[[], object]  # called from time to time; what it raises ends the work


@dataclass(frozen=True)
class SongService:
    """Answers one song at a time.

    Attributes:
        identifier: the network that names the artist.
        max_minutes: of a song.
        top: how many artists to list.
        known: a collection to compare it with, if there is one.
        limits: of the process that decodes a song of up to ``max_minutes``.
    """

    identifier: Identifier
    max_minutes: float
    top: int
    known: KnownSongs | None = None
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        _ = self._reader  # started before the first song comes

    @cached_property
    def _reader(self) -> SongReader:
        return SongReader(replace(self.limits, hours=self.max_minutes / 60))

    def answer(self, path: Path, name: str, still_wanted: StillWanted | None = None) -> dict[str, Any]:
        """Everything the page shows about a song, as plain types.

        Args:
            path: of the audio.
            name: as given by its sender.
            still_wanted: called from time to time; what it raises ends the inference.

        Raises:
            artistid.web.uploads.RefusedError: too long, undecodable, or nobody to compare it with.
        """
        roster = self.known.require_roster() if self.known and self.known.names_enrolled else None
        sound = self._read(path, name)
        if roster:
            with _refusing(name):
                heard = roster.hear(sound, still_wanted)
                answer = roster.recognise(heard, self.top).plain()
            outputs = heard.outputs
        else:
            outputs = self.identifier.infer(sound, still_wanted)
            answer = self.identifier.identify(outputs, self.top).plain()
        neighbourhood = self.known and self.known.now().neighbourhood
        return {
            **answer,
            "name": name,
            "silent": outputs.silent,
            "neighbourhood": neighbourhood and neighbourhood.around(outputs),
            "spectrogram": picture(sound, self.identifier.features),
        }

    def check(
        self, path: Path, name: str, still_wanted: StillWanted | None = None, *, artist: str = "", folder: str = ""
    ) -> dict[str, Any]:
        """Whether a song is by the claimed artist, as plain types.

        Args:
            path, name, still_wanted: see :meth:`answer`.
            artist: the one claimed; empty: the one in its tags.
            folder: the one claimed if the tags name none either.

        Returns:
            ``name``; the claimed ``artist``, and ``by``, the source: ``list``, ``tags``, ``folder`` or ``nothing``; the
            ``verdict``, see :class:`artistid.inference.roster.Verdict`, or null and the reason, a sentence, in
            ``problem``; and ``sounds_like``, see :class:`artistid.inference.roster.Recognition`.

        Raises:
            artistid.web.uploads.RefusedError: as for :meth:`answer`.
        """
        assert self.known is not None
        roster = self.known.require_roster()
        claimed, by = self._claim(path, roster, artist, folder)
        sound = self._read(path, name)
        with _refusing(name):
            heard = roster.hear(sound, still_wanted)
            recognised = replace(roster.recognise(heard, self.top), name=name)
        verdict, problem = None, ""
        if not claimed:
            problem = "Neither its tags nor its folder name an artist."
        elif as_text(claimed) not in roster.names:
            problem = f"{printable(claimed)} is not enrolled."
        else:
            try:
                verdict = replace(roster.verify(heard, claimed), name=name).plain()
            except ArtistidError as error:  # enrolled from copies of this very song only
                problem = _sentence(error)
        return {
            "name": name,
            "artist": printable(claimed),
            "by": by,
            "verdict": verdict,
            "problem": problem,
            "sounds_like": recognised.plain(),
        }

    def embed(
        self, path: Path, name: str, still_wanted: StillWanted | None = None, *, artist: str, album: str = ""
    ) -> tuple[EmbeddedSong, Track, tuple[str, ...]]:
        """A song to enrol, its metadata, and warnings about its sound, in sentences.

        Args:
            path, name, still_wanted: see :meth:`answer`.
            artist: of the song.
            album: of the song, if its tags name none.

        Raises:
            artistid.web.uploads.RefusedError: as for :meth:`answer`; or a recording that is enrolled already.
        """
        assert self.known is not None
        tagged = track_of_tags(Path(name), self._reader.tags(path))
        album = tagged.album or album
        track = replace(tagged, track_id="/".join(filter(None, (artist, album, name))), artist=artist, album=album)
        sound = self._read(path, name)
        with _refusing(name):
            outputs = audible(self.identifier.infer(sound, still_wanted))
        song = embedded(outputs, Path(name), sound, self.identifier.features)
        self.known.check_unknown(song, name)
        return song, track, outputs.warnings

    def _claim(self, path: Path, roster: Roster, artist: str, folder: str) -> tuple[str, str]:
        """The artist claimed for a song, and the source of the claim."""
        if artist:
            return clean(artist), "list"
        tagged = track_of_tags(path, self._reader.tags(path), set(roster.names)).artist
        return (tagged, "tags") if tagged else (clean(folder), "folder") if folder else ("", "nothing")

    def _read(self, path: Path, name: str) -> SongFeatures:
        try:
            return self._reader.read(path, self.identifier.features)
        except DecodingError as error:
            raise refusal(error, path, name, self.max_minutes) from error


@contextmanager
def _refusing(name: str) -> Iterator[None]:
    """Refuses a song that cannot be compared with others: a silent one, or the only one enrolled."""
    try:
        yield
    except ArtistidError as error:
        raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{name}: {error}.") from error


def _sentence(error: ArtistidError) -> str:
    words = str(error)
    return f"{words[0].upper()}{words[1:]}."
