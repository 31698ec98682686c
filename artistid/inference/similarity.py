"""Queries in, what sounds like them out: the story that ``similar`` tells."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from artistid.config import plain
from artistid.errors import ArtistidError
from artistid.inference.collection import Collection
from artistid.inference.files import find_audio
from artistid.inference.identifier import Identifier
from artistid.inference.neighbours import Query, find_similar
from artistid.inference.similar_writers import open_writer
from artistid.inference.songs import answering, read_ahead, work_through
from artistid.inference.sound import Sound

VIEWS = ("songs",)


def similar(config: DictConfig) -> None:
    """Compare every query with a collection.

    Raises:
        ArtistidError: bad settings; or, after all others have been answered, queries that could not be.
    """
    _check(config)
    writer = open_writer(config.view, config.format, sys.stdout)
    collection = Collection.read(config.collection)
    with answering():
        failed = (_of_files if config.audio else _of_tracks)(config, collection, writer.write)
        writer.close()
    if failed:
        raise ArtistidError(f"{failed} songs could not be answered, see above")


def _check(config: DictConfig) -> None:
    if not config.collection:
        raise ArtistidError("collection=PATH is missing: the file that python -m artistid.embed wrote")
    if config.view not in VIEWS:
        raise ArtistidError(f"view={config.view!r} is none of {', '.join(VIEWS)}")
    if bool(config.audio) == bool(config.track):
        found = "both are" if config.audio else "neither is"
        raise ArtistidError(f"of audio=PATH and track=ID, one is needed as the query: {found} set")
    if config.audio and not config.checkpoint:
        raise ArtistidError("checkpoint=PATH is missing: the network that the collection was made with")
    if not isinstance(config.top, int) or config.top < 1:
        raise ArtistidError(f"top={config.top}: expected 1 or more")


def _of_files(config: DictConfig, collection: Collection, done: Callable[[Any], None]) -> int:
    """Answer the queries that are files; returns how many failed."""
    paths = find_audio(plain(config)["audio"])
    identifier = Identifier.from_checkpoint(config.checkpoint, config.device)
    collection.check_made_by(identifier)

    def compared(path: Path, sound: Sound) -> Any:
        return _answer(config, collection, Query.of_sound(identifier, collection, path, sound))

    return work_through(read_ahead(identifier, paths), len(paths), compared, done)


def _of_tracks(config: DictConfig, collection: Collection, done: Callable[[Any], None]) -> int:
    """Answer the queries that are songs of the collection; returns 0, since none of them fails alone."""
    wanted = plain(config)["track"]
    for row in [collection.row(str(name)) for name in ([wanted] if isinstance(wanted, str) else wanted)]:
        done(_answer(config, collection, Query.of_row(collection, row)))
    return 0


def _answer(config: DictConfig, collection: Collection, query: Query) -> Any:
    return find_similar(collection, query, config.top, config.same_artist)
