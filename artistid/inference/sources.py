"""Where the songs of a collection come from, their names, and their embeddings."""

from __future__ import annotations

import logging
import sys
from collections.abc import Collection
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Protocol

from omegaconf import DictConfig

from artistid.config import plain
from artistid.data.catalog import Track, nfc
from artistid.data.credits import candidates, credits_of
from artistid.data.features import Features
from artistid.data.recordings import kept_fingerprint
from artistid.data.shards import Shard
from artistid.data.song import SongFeatures, SongReader
from artistid.data.sources.base import track_from_path
from artistid.data.tags import Tags, log_unread, read_tags
from artistid.errors import ArtistidError, abbreviate, counted
from artistid.inference.batch import Songs, read_ahead
from artistid.inference.collection import as_text
from artistid.inference.collection_writer import EmbeddedSong
from artistid.inference.files import find_audio
from artistid.inference.identifier import Identifier, song_vector
from artistid.inference.outputs import ClipOutputs
from artistid.places import expanded
from artistid.prepare import find_described, limits_of, make_features
from artistid.printing import printable, say
from artistid.trust import trusted

log = logging.getLogger(__name__)


def embed_song(identifier: Identifier, path: Path, sound: SongFeatures) -> EmbeddedSong:
    """A song's entry in a collection; warnings are logged.

    Raises:
        ArtistidError: the song is silent.
    """
    outputs = audible(identifier.infer(sound))
    for warning in outputs.warnings:
        log.warning("warning: %s: %s", printable(path), warning)
    return embedded(outputs, path, sound, identifier.features)


def embedded(outputs: ClipOutputs, path: Path, sound: SongFeatures, features: Features) -> EmbeddedSong:
    """A song's entry in a collection, from a network's outputs and the features."""
    return EmbeddedSong(
        path=path,
        sha1=sound.sha1,
        duration_s=sound.duration_s,
        vector=song_vector(outputs.embedding),
        start_s=outputs.start_s,
        end_s=outputs.end_s,
        clip_vectors=outputs.embedding,
        fingerprint=kept_fingerprint(sound.array, features),
    )


def audible(outputs: ClipOutputs) -> ClipOutputs:
    """The outputs as they are; raises ArtistidError for a silent song, which cannot be compared with anything."""
    if outputs.silent:
        raise ArtistidError("it is silent: there is nothing to embed")
    if not song_vector(outputs.embedding).any():
        raise ArtistidError("its clips' embeddings cancel out: their mean is zero")
    return outputs


class Source(Protocol):
    """Where the songs of a collection come from.

    Attributes:
        paths: of all songs, in order.
        n_lost: number of songs that failed beforehand.
    """

    paths: list[Path]
    n_lost: int

    def songs(self, paths: list[Path]) -> Songs:
        """Some of the songs, to be embedded."""

    def track(self, path: Path) -> Track:
        """A song's names."""

    def log_names(self) -> None:
        """Log how songs got their artists, where that may be in doubt."""


class Files:
    """Files, folders, patterns and playlists; songs are named by their tags.

    What the tags lack is taken from the song's place in a given folder, artist/album/track, as ``data=folder`` does. A
    shard reads the tags of all files, since the names of some depend on the others.
    """

    n_lost = 0

    def __init__(self, config: DictConfig, identifier: Identifier, shard: Shard | None = None) -> None:
        wanted = plain(config)["audio"]
        self._all = find_audio(wanted)
        self.paths = [path for path in self._all if not shard or shard.holds(as_text(path))]
        self._limits = limits_of(config)
        names = [wanted] if isinstance(wanted, str) else wanted
        self._folders = [path for path in (expanded(name) for name in names) if path.is_dir()]
        self._identifier = identifier
        self._artists: dict[str, dict[Path, str]] = {"tags": {}, "folders": {}, "nothing": {}}

    def songs(self, paths: list[Path]) -> Songs:
        return read_ahead(SongReader(self._limits), self._identifier.features, paths)

    def track(self, path: Path) -> Track:
        """Its id is its path as given; without a title, the file's name is the title."""
        tagged, placed = self._tagged[path], self._placed(path)
        artist, album = tagged.artist or placed.artist, tagged.album or placed.album
        by = "tags" if tagged.artist else "folders" if artist else "nothing"
        self._artists[by][path] = artist
        return replace(tagged, artist=artist, album=album)

    @cached_property
    def _tagged(self) -> dict[Path, Track]:
        """The songs' names, from the tags of all together."""
        tags = {path: read_tags(path) for path in self._all}
        log_unread({printable(path): each for path, each in tags.items()})
        credits = credits_of(tags)
        credits.log_decisions()
        return {path: _track(path, each, credits.artists[path]) for path, each in tags.items()}

    def log_names(self) -> None:
        counts = {by: len(artists) for by, artists in self._artists.items()}
        log.info("artists: %s named by tags, %d by folders", counted(counts["tags"], "file"), counts["folders"])
        if named := sorted(set(self._artists["folders"].values())):
            log.warning(
                "without an artist in the tags, named by the folders, artist/album/track below %s: %s; artists: %d, %s",
                *(
                    abbreviate([printable(folder) for folder in self._folders]),
                    counted(counts["folders"], "file"),
                    len(named),
                ),
                abbreviate(named),
            )
        if nameless := self._artists["nothing"]:
            log.warning(
                "without an artist, in tags or as a folder below one of audio: %d of %s: %s",
                *(len(nameless), counted(len(self.paths), "file"), abbreviate([printable(path) for path in nameless])),
            )

    def _placed(self, path: Path) -> Track:
        """A song's names by its place below a given folder; empty where it lies in none."""
        for folder in self._folders:
            if path.is_relative_to(folder) and path.parent != folder:
                return track_from_path(path, folder)
        return Track(as_text(path), "", "", "", path)


class Prepared:
    """A source of the package, by default the one that the network was trained on. Features are made only once."""

    def __init__(self, config: DictConfig, identifier: Identifier, shard: Shard | None = None) -> None:
        specification = identifier.specification
        found = find_described(config, specification.data, trusted(config))
        catalog, self._store, lost = make_features(config, found, identifier.features, shard)
        for track_id in lost:
            say(f"error: {printable(track_id)}: it cannot be decoded", to=sys.stderr)
        self.n_lost = len(lost)
        self._tracks = {track.path: track for track in catalog}
        self.paths = list(self._tracks)

    def songs(self, paths: list[Path]) -> Songs:
        for path in paths:
            yield path, partial(self._store.song, self._tracks[path])

    def track(self, path: Path) -> Track:
        return self._tracks[path]

    def log_names(self) -> None:
        """Nothing: the source has logged it."""


def track_of_tags(path: Path, tags: Tags, known: Collection[str] = ()) -> Track:
    """A song's names by its own tags alone; its id is the path as given, its title by default the file's name.

    Args:
        path: of the file.
        tags: which may name several artists.
        known: artists to prefer among these.
    """
    credited = next(filter(known.__contains__, candidates(tags)), None)
    return _track(path, tags, credited or credits_of({path: tags}).artists[path])


def _track(path: Path, tags: Tags, artist: str) -> Track:
    return Track(as_text(path), artist, tags.album, tags.title or nfc(path.stem), path)
