"""The songs and artists of a collection that sound most like a song, whether it is in the collection or not."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artistid.data.credits import candidates
from artistid.data.song import SongFeatures
from artistid.data.tags import read_tags
from artistid.errors import ArtistidError, counted
from artistid.inference.collection import Collection, SimilarArtist, SimilarSong
from artistid.inference.identifier import Identifier, song_vector
from artistid.inference.sources import audible, track_of_tags


@dataclass(frozen=True, eq=False)
class Query:
    """A song that others are compared with.

    Attributes:
        name: path, or track id of a song of the collection.
        artist: who made it; empty where unknown.
        vector: ``(units,)``, its embedding.
        own: rows of the collection that are this very recording, by the SHA-1 of its samples, or this very file.
        warnings: anything odd about the audio, in sentences.
    """

    name: str
    artist: str
    vector: NDArray[np.float32]
    own: tuple[int, ...]
    warnings: tuple[str, ...] = ()

    @classmethod
    def of_song(cls, identifier: Identifier, collection: Collection, path: Path, sound: SongFeatures) -> Query:
        """A file's; its artist is what the collection says, or else its tags.

        Raises:
            ArtistidError: the song is silent.
        """
        outputs = audible(identifier.infer(sound))
        own = tuple(map(int, collection.copies(sound.sha1, path)))
        artist = collection.songs["artist"].iloc[own[0]] if own else _artist_by_tags(path, collection)
        return cls(str(path), artist, song_vector(outputs.embedding), own, outputs.warnings)

    @classmethod
    def of_row(cls, collection: Collection, row: int) -> Query:
        """A song's of the collection."""
        song = collection.songs.iloc[row]
        own = tuple(map(int, collection.copies(song["sha1"], song["path"])))
        return cls(song["track_id"], song["artist"], collection.vectors[row], own)


def _artist_by_tags(path: Path, collection: Collection) -> str:
    """The artist by a file's tags, which may name guests: preferably one of the collection."""
    known = set(collection.songs["artist"])
    return next(filter(known.__contains__, candidates(read_tags(path))), track_of_tags(path).artist)


@dataclass(frozen=True)
class Similar:
    """What sounds like a song.

    Attributes:
        query: its name.
        songs: the nearest ones, the nearest first.
        artists: the same.
        left_out: track ids of the query's own recording, which is not compared with itself.
        warnings: what limits this answer, in sentences.
    """

    query: str
    songs: tuple[SimilarSong, ...]
    artists: tuple[SimilarArtist, ...]
    left_out: tuple[str, ...]
    warnings: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """As plain types, ready for JSON."""
        return asdict(self)


def find_similar(collection: Collection, query: Query, top: int = 10, same_artist: bool = True) -> Similar:
    """The nearest songs and artists.

    Args:
        collection: to look in.
        query: made by the same network.
        top: how many of each.
        same_artist: whether songs of the query's own artist count.

    Raises:
        ArtistidError: no song is left to compare with.
    """
    without, warnings = songs_to_leave_out(collection, query, same_artist)
    if (compared := len(collection) - len(without)) < top:
        warnings.append(f"the collection has only {counted(compared, 'other song')}: all are listed")
    return Similar(
        query.name,
        tuple(collection.nearest_songs(query.vector, top, without)),
        tuple(collection.nearest_artists(query.vector, top, without)),
        tuple(collection.songs["track_id"].iloc[list(query.own)]),
        tuple(warnings),
    )


def songs_to_leave_out(collection: Collection, query: Query, same_artist: bool) -> tuple[set[int], list[str]]:
    """The rows of the songs that a query is not compared with, and what limits this answer.

    Raises:
        ArtistidError: no song is left to compare with.
    """
    without, warnings = set(query.own), list(query.warnings)
    if not same_artist and query.artist:
        without |= set(np.flatnonzero(collection.songs["artist"].to_numpy() == query.artist).tolist())
    elif not same_artist:
        warnings.append("its artist is unknown, so songs by the same artist could not be left out")
    if len(without) == len(collection):
        raise ArtistidError(f"the collection, of {counted(len(collection), 'song')}, has no other to compare it with")
    return without, warnings
