"""The songs and artists of a collection that sound most like a song, whether it is in the collection or not."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artistid.data.catalog import folded
from artistid.data.song import SongFeatures
from artistid.data.tags import read_tags
from artistid.errors import ArtistidError, counted, require_choice
from artistid.inference.collection import ARTISTS_BY, Collection, SimilarArtist, SimilarSong
from artistid.inference.identifier import Identifier, song_vector
from artistid.inference.sources import audible, track_of_tags


@dataclass(frozen=True, eq=False)
class Query:
    """A song that others are compared with.

    Attributes:
        name: path, or track id of a song of the collection.
        artist, album: of it; empty where unknown.
        vector: ``(units,)``, its embedding.
        own: rows of the collection that are this very recording, by the SHA-1 of its samples, or this very file.
        warnings: anything odd about the audio, in sentences.
    """

    name: str
    artist: str
    album: str
    vector: NDArray[np.float32]
    own: tuple[int, ...]
    warnings: tuple[str, ...] = ()

    @classmethod
    def of_song(cls, identifier: Identifier, collection: Collection, path: Path, sound: SongFeatures) -> Query:
        """The query of a file; artist and album are those of the collection, or else of its tags.

        Raises:
            ArtistidError: the song is silent.
        """
        outputs = audible(identifier.infer(sound))
        own = tuple(map(int, collection.copies(sound.sha1, path)))
        if own:
            artist, album = (collection.songs[name].iloc[own[0]] for name in ("artist", "album"))
        else:
            track = track_of_tags(path, read_tags(path), set(collection.songs["artist"]))
            artist, album = track.artist, track.album
        return cls(str(path), artist, album, song_vector(outputs.embedding), own, outputs.warnings)

    @classmethod
    def of_row(cls, collection: Collection, row: int) -> Query:
        """The query of a song in the collection."""
        song = collection.songs.iloc[row]
        own = tuple(map(int, collection.copies(song["sha1"], song["path"])))
        return cls(song["track_id"], song["artist"], song["album"], collection.vectors[row], own)


@dataclass(frozen=True)
class Wanted:
    """What to answer to a query.

    Attributes:
        top: how many answers of each kind.
        same_artist, same_album: whether songs by the query's own artist, and of its own album, count.
        artists_by: one of :data:`artistid.inference.collection.ARTISTS_BY`.
        min_songs: of an artist, to be listed; songs left out do not count.

    Raises:
        ArtistidError: an unknown way to compare artists.
    """

    top: int = 10
    same_artist: bool = True
    same_album: bool = False
    artists_by: str = "centroid"
    min_songs: int = 1

    def __post_init__(self) -> None:
        require_choice("artists_by", self.artists_by, ARTISTS_BY)


@dataclass(frozen=True)
class LeftOut:
    """The songs of a collection that a query is not compared with.

    Attributes:
        rows: all of them.
        album: track ids of the query's own album, except its own recording.
        warnings: what limits this answer, in sentences.
    """

    rows: frozenset[int]
    album: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Similar:
    """What sounds like a song.

    Attributes:
        query: its name.
        songs: the nearest ones, the nearest first.
        artists: likewise.
        left_out: track ids of the query's own recording, which is not compared with itself.
        album_left_out: those of the other songs of its album, unless they are wanted.
        warnings: what limits this answer, in sentences.
    """

    query: str
    songs: tuple[SimilarSong, ...]
    artists: tuple[SimilarArtist, ...]
    left_out: tuple[str, ...]
    album_left_out: tuple[str, ...]
    warnings: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """As plain types, ready for JSON."""
        return asdict(self)


def find_similar(collection: Collection, query: Query, wanted: Wanted) -> Similar:
    """The nearest songs and artists.

    Args:
        collection: to look in.
        query: made by the same network.
        wanted: what to answer.

    Raises:
        ArtistidError: no song is left to compare with.
    """
    left_out = songs_to_leave_out(collection, query, wanted)
    warnings = list(left_out.warnings)
    if (compared := len(collection) - len(left_out.rows)) < wanted.top:
        warnings.append(f"the collection has only {counted(compared, 'other song')}: all are listed")
    artists = collection.nearest_artists(query.vector, wanted.top, left_out.rows, wanted.artists_by, wanted.min_songs)
    return Similar(
        query.name,
        tuple(collection.nearest_songs(query.vector, wanted.top, left_out.rows)),
        tuple(artists),
        tuple(collection.songs["track_id"].iloc[list(query.own)]),
        left_out.album,
        tuple(warnings),
    )


def songs_to_leave_out(collection: Collection, query: Query, wanted: Wanted) -> LeftOut:
    """The songs that a query is not compared with: its own recording, and its artist's or album's unless wanted.

    Raises:
        ArtistidError: no song is left to compare with.
    """
    rows, album, warnings = set(query.own), np.zeros(0, np.int64), list(query.warnings)
    of_artist = np.flatnonzero(collection.songs["artist"].to_numpy() == query.artist) if query.artist else album
    if not wanted.same_artist:
        rows |= set(of_artist.tolist())
        if not query.artist:
            warnings.append("its artist is unknown, so songs by the same artist could not be left out")
    elif not wanted.same_album:
        if query.artist and query.album:
            of_album = collection.songs["album"].iloc[of_artist].map(folded) == folded(query.album)
            album = np.setdiff1d(of_artist[of_album.to_numpy(bool)], query.own)
            rows |= set(album.tolist())
        else:
            what = "album" if query.artist else "artist"
            warnings.append(f"its {what} is unknown, so songs of the same album could not be left out")
    if len(rows) == len(collection):
        raise ArtistidError(
            f"the collection, of {counted(len(collection), 'song')}, has no other to compare it with"
            + ("; same_album=true compares it with those of its own album" if len(album) else "")
        )
    return LeftOut(frozenset(rows), tuple(collection.songs["track_id"].iloc[album]), tuple(warnings))
