"""Songs in, one file of embeddings out: the story that ``embed`` tells."""

from __future__ import annotations

import logging
import sys
from functools import partial
from pathlib import Path
from typing import Protocol

from omegaconf import DictConfig, open_dict

from artistid.config import plain
from artistid.data.catalog import Track, nfc
from artistid.data.tags import read_tags
from artistid.errors import ArtistidError
from artistid.inference.collection import Collection, Origin, absolute, as_text
from artistid.inference.draft import EmbeddedSong, drafting
from artistid.inference.files import find_audio
from artistid.inference.hearing import Hearing
from artistid.inference.identifier import Identifier, song_vector
from artistid.inference.songs import Songs, read_ahead, work_through
from artistid.inference.sound import Sound
from artistid.preparation import prepare_data
from artistid.printing import printable, say

log = logging.getLogger(__name__)


def embed(config: DictConfig) -> Path:
    """Embed every song of a collection, and write them to one file.

    Returns:
        The file.

    Raises:
        ArtistidError: bad settings; or, after all others have been written, songs that could not be embedded.
    """
    if not config.checkpoint:
        raise ArtistidError("checkpoint=PATH is missing: the best.ckpt of a run folder")
    if config.audio and config.get("data"):
        raise ArtistidError("audio and data are both set: a collection is of files or of a source, not of both")
    out = _checked_out(config)
    identifier = Identifier.from_checkpoint(config.checkpoint, config.device)
    identifier.check_embeds()
    if config["update"] and out.exists():
        Collection.read(out, "out").check_made_by(identifier)
    source: Source = Files(config, identifier) if config.audio else Prepared(config, identifier)
    with drafting(out, Origin.of(identifier), source.paths, config["update"]) as draft:
        new = [path for path in source.paths if not draft.has(path)]
        if there := len(source.paths) - len(new):
            log.info("%d of %d songs are there already", there, len(source.paths))

        def embedded(path: Path, sound: Sound) -> EmbeddedSong:
            return embed_song(identifier, path, sound)

        failed = source.n_lost
        if new:
            failed += work_through(source.songs(new), len(new), embedded, draft.add)
        n_songs = draft.finish({absolute(path): source.track(path) for path in source.paths})
    if not n_songs:
        raise ArtistidError(f"none of {failed} songs could be embedded, see above: {printable(out)} is not written")
    log.info("%s: %d songs", printable(out), n_songs)
    if failed:
        raise ArtistidError(
            f"{failed} of {failed + n_songs} songs could not be embedded, see above; {printable(out)} has the others"
        )
    return out


def embed_song(identifier: Identifier, path: Path, sound: Sound) -> EmbeddedSong:
    """What a collection says of one song.

    Raises:
        ArtistidError: there is nothing to hear.
    """
    hearing = audible(identifier.hear_sound(sound))
    for warning in hearing.warnings:
        log.warning("warning: %s: %s", printable(path), warning)
    return EmbeddedSong(
        path=path,
        sha1=sound.sha1,
        duration_s=sound.duration_s,
        vector=song_vector(hearing.embedding),
        start_s=hearing.start_s,
        end_s=hearing.end_s,
        clip_vectors=hearing.embedding,
    )


def audible(hearing: Hearing) -> Hearing:
    """The same; raises ArtistidError where nothing was heard that could be compared with anything."""
    if hearing.silent:
        raise ArtistidError("it is silence: there is nothing to embed")
    if not song_vector(hearing.embedding).any():
        raise ArtistidError("its clips' embeddings cancel out: it has none of its own")
    return hearing


class Source(Protocol):
    """Where the songs of a collection come from.

    Attributes:
        paths: of all songs, in the order that they are to have.
        n_lost: songs that failed before they were asked for.
    """

    paths: list[Path]
    n_lost: int

    def songs(self, paths: list[Path]) -> Songs:
        """Some of the songs, to be embedded."""

    def track(self, path: Path) -> Track:
        """What a song is called."""


class Files:
    """Files, folders, patterns and playlists; the tags say what their songs are called."""

    n_lost = 0

    def __init__(self, config: DictConfig, identifier: Identifier) -> None:
        self.paths = find_audio(plain(config)["audio"])
        self._identifier = identifier

    def songs(self, paths: list[Path]) -> Songs:
        return read_ahead(self._identifier, paths)

    def track(self, path: Path) -> Track:
        """Its name is its path as it was given; without a title, the file's name is the title."""
        return track_of_tags(path)


class Prepared:
    """A source of the package; without ``data`` that which the network was trained on. Features are made only once."""

    def __init__(self, config: DictConfig, identifier: Identifier) -> None:
        if config.get("data") is None:
            with open_dict(config):
                config.data = identifier.specification.data
        catalog, self._store, lost = prepare_data(config, identifier.specification.log_mel())
        for track_id in lost:
            say(f"error: {printable(track_id)}: it cannot be decoded", to=sys.stderr)
        self.n_lost = len(lost)
        self._tracks = {track.path: track for track in catalog}
        self.paths = list(self._tracks)

    def songs(self, paths: list[Path]) -> Songs:
        for path in paths:
            yield path, partial(self._sound, self._tracks[path])

    def track(self, path: Path) -> Track:
        return self._tracks[path]

    def _sound(self, track: Track) -> Sound:
        entry = self._store.entries[track.track_id]
        array = self._store.track(track.track_id)
        return Sound(str(track.path), array, entry.floor, entry.duration_s, entry.audio_sha1)


def track_of_tags(path: Path) -> Track:
    """What the tags of a file say; its name is the path as it was given, and the title of a song without one."""
    tags = read_tags(path)
    artist = tags.album_artist or tags.artist
    return Track(as_text(path), artist, tags.album, tags.title or nfc(path.stem), path)


def _checked_out(config: DictConfig) -> Path:
    if not config.out:
        raise ArtistidError("out=PATH is missing: the Parquet file that the collection is to be, such as songs.parquet")
    out = Path(config.out).expanduser()
    if out.is_dir():
        raise ArtistidError(f"out={printable(out)} is a folder: expected a Parquet file, such as songs.parquet in it")
    if out.exists() and not (config.overwrite or config["update"]):
        raise ArtistidError(
            f"out={printable(out)} exists: overwrite=true replaces it, update=true keeps the songs in it that have not "
            "changed, and embeds the others"
        )
    return out
