"""Add artists to a collection: ``python -m artistid.enrol checkpoint=PATH collection=PATH audio=album artist=NAME``."""

from __future__ import annotations

if __name__ == "__main__":
    from artistid.cli import run

    run("enrol")

from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig

from artistid.config import plain
from artistid.data.catalog import Track, clean
from artistid.data.song import SongFeatures
from artistid.errors import ArtistidError, counted, require_path
from artistid.inference.batch import process_songs
from artistid.inference.collection import Collection, Origin, absolute
from artistid.inference.collection_writer import EmbeddedSong, drafting, read_rows
from artistid.inference.enrolment import (
    add_songs,
    artists_of,
    changing,
    check_names,
    check_sound,
    remove_artist,
    rename_artist,
    title_of,
)
from artistid.inference.identifier import Identifier
from artistid.inference.roster import require_verifier
from artistid.inference.sources import Files, embed_song
from artistid.places import expanded
from artistid.printing import printable, say
from artistid.trust import trusted


def enrol(config: DictConfig) -> None:
    """Enrol artists from some of their songs, without training, or remove or rename one.

    Raises:
        ArtistidError: bad settings, or artists who cannot be enrolled, which leave the collection unchanged; or, after
            the others have been enrolled, songs that could not be embedded.
    """
    require_path(config, "collection", "the file of enrolled artists, created with the first")
    wanted = [name for name in ("audio", "remove", "rename") if config[name]]
    if len(wanted) != 1:
        raise ArtistidError(
            f"expected one of audio=PATH, remove=NAME and rename=NAME, found {' and '.join(wanted) or 'none'}"
        )
    path = expanded(config.collection)
    if path.is_dir():
        raise ArtistidError(f"collection={printable(path)} is a folder: expected a file, such as artists.parquet in it")
    with changing(path):
        if config.audio:
            told = _add(config, path)
        elif config.remove:
            n_songs = remove_artist(Collection.read(path), clean(config.remove))
            told = f"removed {printable(config.remove)}, {counted(n_songs, 'song')}"
        else:
            require_path(config, "into", "the artist's new name")
            n_songs = rename_artist(Collection.read(path), clean(config.rename), clean(config.into))
            told = f"{printable(config.rename)} is now {printable(config.into)}, {counted(n_songs, 'song')}"
        artists = len(artists_of(Collection.read(path)))
    say(f"{told}; {printable(path)} has {counted(artists, 'artist')}")


def _add(config: DictConfig, path: Path) -> str:
    """Embed the songs, and add them to the collection; returns what was done."""
    require_path(config, "checkpoint", "the best.ckpt of a run with split=artists")
    identifier = Identifier.from_checkpoint(config.checkpoint, config.device, trusted(config))
    identifier.check_embeds()
    before = Collection.read(path) if path.exists() else None
    known = {}
    if before:
        before.check_made_by(identifier)
        known = artists_of(before)
    require_verifier(identifier)
    source = Files(config, identifier)
    settings = plain(config)
    tracks = {file: _named(source.track(file), settings["artist"], settings["album"]) for file in source.paths}
    check_names(known, tracks.values(), config.more)
    new, origin = path.with_name(f".{path.name}.new"), Origin.of(identifier)
    with drafting(new, origin, source.paths, keep=True) as draft:
        waiting = [file for file in source.paths if not draft.has(file)]

        def embedded(file: Path, sound: SongFeatures) -> EmbeddedSong:
            if before and len(copies := before.copies(sound.sha1)):
                raise ArtistidError(f"this recording is enrolled already: {title_of(before, int(copies[0]))}")
            return embed_song(identifier, file, sound)

        failed = process_songs(source.songs(waiting), len(waiting), embedded, draft.add) if waiting else 0
        n_songs = draft.finish({absolute(file): track for file, track in tracks.items()})
    if not settings["artist"]:
        source.log_names()
    if not n_songs:
        raise ArtistidError(f"none of {counted(failed, 'song')} could be embedded, see above: nobody was enrolled")
    try:
        songs = Collection.read(new, "audio").songs
        check_sound(known, songs, config.min_seconds)
        add_songs(path, read_rows(new), origin)
    finally:
        new.unlink(missing_ok=True)
    artists = sorted(set(songs["artist"]))
    whom = printable(artists[0]) if len(artists) == 1 else counted(len(artists), "artist")
    told = f"enrolled {whom} by {counted(n_songs, 'song')}"
    if failed:
        raise ArtistidError(f"{failed} of {counted(failed + n_songs, 'song')} could not be embedded, see above; {told}")
    return told


def _named(track: Track, artist: str | None, album: str | None) -> Track:
    """A song with the artist and the album that the command names, if it names them."""
    return replace(
        track, artist=clean(artist) if artist else track.artist, album=clean(album) if album else track.album
    )
