"""Compares songs with the artists of a collection: which of them made a song, if any, and whether a claim is true.

A song counts as an artist's when its log-likelihood ratio is above a threshold, which is set by strangers: songs by
validation's artists, kept in the checkpoint, which none of the enrolled artists made. Scored against the enrolled
artists, at most a given share of the strangers lies above it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import normalize

from artistid.data.catalog import folded
from artistid.data.recordings import Recordings
from artistid.data.song import SongFeatures
from artistid.errors import ArtistidError, counted
from artistid.inference.collection import Collection
from artistid.inference.enrolment import require_artist
from artistid.inference.identifier import Identifier, song_vector
from artistid.inference.outputs import ClipOutputs
from artistid.inference.sources import audible
from artistid.models.verification import Enrolled, Floats, Songs, Verifier, threshold_of
from artistid.printing import printable


@dataclass(frozen=True)
class KnownArtist:
    """One of the artists that a song may be by.

    Attributes:
        rank: from 1.
        artist: name.
        llr: natural log of how much likelier the song is this artist's than an unknown one's.
        songs: number that the artist is enrolled by.
    """

    rank: int
    artist: str
    llr: float
    songs: int


@dataclass(frozen=True)
class Stretch:
    """Consecutive clips that sound like one artist, or all support or all contradict a claim.

    Attributes:
        start_s, end_s: seconds in the recording.
        artist: the likeliest; for a claim, the claimed one.
        llr: mean over the clips, each scored by itself.
    """

    start_s: float
    end_s: float
    artist: str
    llr: float


@dataclass(frozen=True)
class Recognition:
    """Which enrolled artist made a song, if any.

    Attributes:
        name: the file's path, or ``samples``.
        duration_s: seconds of audio.
        artist: who made it; None: nobody who is enrolled.
        llr: of the first of ``top``.
        threshold: of ``llr``, above which a song counts as an enrolled artist's.
        false_alarms: share of the strangers' songs allowed above it.
        strangers: number of songs that set it.
        enrolled: number of artists.
        top: the likeliest ones.
        timeline: which seconds sound like whom.
        left_out: track ids of copies of the recording, which are not counted among the enrolled songs.
        warnings: anything odd about the audio or the answer, in sentences.
    """

    name: str
    duration_s: float
    artist: str | None
    llr: float
    threshold: float
    false_alarms: float
    strangers: int
    enrolled: int
    top: tuple[KnownArtist, ...]
    timeline: tuple[Stretch, ...]
    left_out: tuple[str, ...]
    warnings: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """As plain types, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Verdict:
    """Whether a song is by the claimed artist.

    Attributes:
        name, duration_s: see :class:`Recognition`.
        artist: the claimed one.
        accepted: whether the ratio is above the threshold.
        llr: natural log of how much likelier the song is the artist's than an unknown one's.
        threshold: of ``llr``, for this artist.
        false_alarms: share of the strangers' songs that may be accepted as this artist's.
        strangers: number of songs that set the threshold.
        songs: number that the artist is enrolled by.
        segments: which seconds support the claim, by a ratio above 0, and which contradict it.
        left_out, warnings: see :class:`Recognition`.
    """

    name: str
    duration_s: float
    artist: str
    accepted: bool
    llr: float
    threshold: float
    false_alarms: float
    strangers: int
    songs: int
    segments: tuple[Stretch, ...]
    left_out: tuple[str, ...]
    warnings: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """As plain types, ready for JSON."""
        return asdict(self)


class Heard(NamedTuple):
    """A song, ready to be scored.

    Attributes:
        outputs: of the network.
        vector: ``(1, units)``, of length 1.
        copies: which of the enrolled songs are this very recording, in any encoding.
    """

    outputs: ClipOutputs
    vector: Floats
    copies: NDArray[np.intp]


class Enrolment(NamedTuple):
    """Enrolled artists.

    Attributes:
        names: ``(artists,)``.
        n_songs: ``(artists,)`` that each is enrolled by.
        enrolled: the scorer's representation of them.
        of_strangers: ``(strangers, artists)`` ratios.
    """

    names: NDArray[np.str_]
    n_songs: NDArray[np.int64]
    enrolled: Enrolled
    of_strangers: Floats


def require_verifier(identifier: Identifier) -> Verifier:
    """The verifier of a network; raises ArtistidError if it has none."""
    if identifier.verifier is None:
        raise ArtistidError(
            "the checkpoint has no verifier to score songs against enrolled artists: expected that of a run with "
            "split=artists"
        )
    return identifier.verifier


class Roster:
    """The artists of a collection, enrolled in a network's verifier.

    Args:
        collection: made by the network; songs without an artist are ignored.
        identifier: with the network and its verifier.
        false_alarms: share of the strangers that may be accepted.

    Attributes:
        names: ``(artists,)``, sorted.
        collection, false_alarms: as above.

    Raises:
        ArtistidError: another network's collection, one without artists, or a network without a verifier.
    """

    def __init__(self, collection: Collection, identifier: Identifier, false_alarms: float) -> None:
        verifier = require_verifier(identifier)
        collection.check_made_by(identifier)
        if not 0 <= false_alarms < 1:
            raise ArtistidError(f"false_alarms={false_alarms}: expected a share from 0, below 1")
        self.collection, self.false_alarms = collection, false_alarms
        self._identifier = identifier
        self._verifier = verifier
        named = (collection.songs["artist"] != "").to_numpy()
        self._rows = np.flatnonzero(named)
        if not len(self._rows):
            raise ArtistidError(
                f"collection={printable(collection.path)} has no songs with an artist: nobody is enrolled"
            )
        songs = collection.songs[named]
        self.names, artist = np.unique(songs["artist"].to_numpy(dtype=str), return_inverse=True)
        # An artist's songs without an album count as one album, so that they are not taken for many sessions.
        albums = [f"{name}\n{folded(album)}" for name, album in zip(songs["artist"], songs["album"], strict=True)]
        self._songs = Songs(collection.vectors[named], artist, np.unique(albums, return_inverse=True)[1])
        self._strangers = self._verifier.strangers_besides(set(self.names)).vector
        if not len(self._strangers):
            raise ArtistidError(
                "all strangers, by whom false alarms are counted, are enrolled: expected other artists than those of "
                "the checkpoint's validation"
            )

    @property
    def n_strangers(self) -> int:
        """Number of strangers' songs, by which false alarms are counted."""
        return len(self._strangers)

    @cached_property
    def _all(self) -> Enrolment:
        return self._enrolment(self._songs)

    def _enrolment(self, songs: Songs) -> Enrolment:
        """Enrol the artists of some of the songs."""
        counted_from_0, numbers = songs.counted()
        enrolled = self._verifier.scorer.enrol(counted_from_0)
        of_strangers = self._verifier.ratios(enrolled, self._strangers)
        return Enrolment(self.names[numbers], np.bincount(counted_from_0.artist), enrolled, of_strangers)

    @cached_property
    def _recordings(self) -> Recordings:
        songs = set(self.collection.songs["sha1"].iloc[self._rows])
        known = {sha1: text for sha1, text in self.collection.fingerprints.items() if sha1 in songs}
        return Recordings(songs - {""}, known, self._identifier.features)

    def hear(self, sound: SongFeatures, before_batch: Callable[[], object] | None = None) -> Heard:
        """Prepare a song to be scored.

        Args:
            sound: the song.
            before_batch: see :meth:`artistid.inference.identifier.Identifier.infer`.

        Raises:
            ArtistidError: it is silent.
        """
        outputs = audible(self._identifier.infer(sound, before_batch))
        same = self._recordings.which(sound.sha1, sound.array)
        copies = np.flatnonzero(self.collection.songs["sha1"].iloc[self._rows].isin(same))
        return Heard(outputs, song_vector(outputs.embedding)[None].astype(np.float64), copies)

    def recognise(self, heard: Heard, top: int = 5) -> Recognition:
        """Who made a song.

        Args:
            heard: the song.
            top: how many artists to list.

        Raises:
            ArtistidError: only copies of it are enrolled.
        """
        outputs, vector, copies = heard
        others = self._songs.select(np.setdiff1d(np.arange(len(self._rows)), copies))
        if not len(others.vector):
            raise ArtistidError("only copies of it are enrolled: there is nothing to compare it with")
        known = self._enrolment(others) if len(copies) else self._all
        ratios = self._verifier.ratios(known.enrolled, vector)[0]
        likeliest = np.argsort(-ratios, kind="stable")[:top]
        threshold, llr = threshold_of(known.of_strangers.max(axis=1), self.false_alarms), float(ratios[likeliest[0]])
        return Recognition(
            name=outputs.name,
            duration_s=outputs.duration_s,
            artist=str(known.names[likeliest[0]]) if llr > threshold else None,
            llr=llr,
            threshold=threshold,
            false_alarms=self.false_alarms,
            strangers=len(self._strangers),
            enrolled=len(known.names),
            top=tuple(
                KnownArtist(rank, str(known.names[each]), float(ratios[each]), int(known.n_songs[each]))
                for rank, each in enumerate(likeliest, start=1)
            ),
            timeline=tuple(self._timeline(outputs, known, likeliest)),
            left_out=self._titles(copies),
            warnings=tuple(self._doubts(outputs, copies)),
        )

    def verify(self, heard: Heard, artist: str) -> Verdict:
        """Whether a song is an artist's.

        Args:
            heard: the song.
            artist: the claimed one.

        Raises:
            ArtistidError: nobody of that name is enrolled, or only by copies of the song.
        """
        outputs, vector, copies = heard
        number = int(np.searchsorted(self.names, require_artist(self.collection, artist, "artist")))
        name = str(self.names[number])
        own = self._without(number, copies)
        if not len(own.vector):
            raise ArtistidError(f"{printable(name)} is enrolled only by copies of it: nothing is left to compare")
        clips = normalize(outputs.embedding.astype(np.float64))
        ratios = self._ratios_of(own, np.concatenate([vector, clips, self._strangers]))
        of_clips, of_strangers = ratios[1 : 1 + len(clips)], ratios[1 + len(clips) :]
        threshold = threshold_of(of_strangers, self.false_alarms)
        return Verdict(
            name=outputs.name,
            duration_s=outputs.duration_s,
            artist=name,
            accepted=bool(ratios[0] > threshold),
            llr=float(ratios[0]),
            threshold=threshold,
            false_alarms=self.false_alarms,
            strangers=len(self._strangers),
            songs=len(own.vector),
            segments=tuple(_stretches(outputs, of_clips > 0, [name] * len(of_clips), of_clips)),
            left_out=self._titles(copies),
            warnings=tuple(self._doubts(outputs, copies)),
        )

    def _without(self, number: int, left_out: NDArray[np.intp]) -> Songs:
        """The songs of an artist, without some."""
        return self._songs.select(np.setdiff1d(np.flatnonzero(self._songs.artist == number), left_out))

    def _ratios_of(self, songs: Songs, vectors: Floats) -> Floats:
        """``(n,)`` of vectors against the artist of some songs."""
        one, _ = songs.counted()
        return self._verifier.ratios(self._verifier.scorer.enrol(one), vectors)[:, 0]

    def _titles(self, copies: NDArray[np.intp]) -> tuple[str, ...]:
        return tuple(map(str, self.collection.songs["track_id"].iloc[self._rows[copies]]))

    def _timeline(self, outputs: ClipOutputs, known: Enrolment, likeliest: NDArray[np.intp]) -> Iterator[Stretch]:
        """Which seconds sound like which of the likeliest artists."""
        clips = normalize(outputs.embedding.astype(np.float64))
        ratios = self._verifier.ratios(known.enrolled, clips)[:, likeliest]
        best = ratios.argmax(axis=1)
        names = [str(known.names[likeliest[each]]) for each in best]
        yield from _stretches(outputs, best, names, ratios[np.arange(len(best)), best])

    def _doubts(self, outputs: ClipOutputs, copies: NDArray[np.intp]) -> Iterator[str]:
        yield from outputs.warnings
        if len(copies):
            yield (
                f"left out, since copies of the same recording prove nothing: {counted(len(copies), 'enrolled song')}"
            )
        if self.false_alarms * len(self._strangers) < 1:
            yield (
                f"{counted(len(self._strangers), 'song')} of strangers are too few for {100 * self.false_alarms:g} % "
                "false alarms: the threshold is the highest of their ratios"
            )


def _stretches(outputs: ClipOutputs, kind: NDArray[Any], names: Sequence[str], ratios: Floats) -> Iterator[Stretch]:
    """Consecutive clips of one kind."""
    for clips, start_s, end_s in outputs.neighbours(kind):
        yield Stretch(start_s, end_s, names[clips.start], float(ratios[clips].mean()))
