"""Find what sounds like a song: ``python -m artistid.similar checkpoint=PATH collection=PATH audio=song.mp3``."""

from __future__ import annotations

if __name__ == "__main__":
    from artistid.cli import run

    run("similar")

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from artistid.config import plain
from artistid.data.song import SongFeatures, SongReader
from artistid.errors import ArtistidError, counted, require_choice, require_path
from artistid.inference.batch import answering, process_songs, read_ahead
from artistid.inference.collection import ClipTable, Collection
from artistid.inference.files import find_audio
from artistid.inference.identifier import Identifier
from artistid.inference.layouts import VIEWS
from artistid.inference.matching import Matcher, grids_of_song
from artistid.inference.neighbours import Query, Wanted, find_similar
from artistid.inference.retrieval_scores import evaluate_retrieval
from artistid.prepare import limits_of
from artistid.records import RecordWriter
from artistid.trust import trusted

Done = Callable[[Any], None]  # takes an answer


def similar(config: DictConfig) -> None:
    """Compare every query with a collection, or evaluate how well the collection's own songs find their artists.

    Raises:
        ArtistidError: bad settings; or, after all others have been answered, queries that could not be.
    """
    _check(config)
    writer = RecordWriter(config.format, VIEWS[config.view], sys.stdout)
    collection = Collection.read(config.collection).searched(config.search)
    with answering():
        if config.view == "retrieval":
            failed = _judge(config, collection, writer.write)
        else:
            failed = (_of_files if config.audio else _of_tracks)(config, collection, writer.write)
        writer.close()
    if failed:
        raise ArtistidError(f"{counted(failed, 'song')} could not be answered, see above")


def _check(config: DictConfig) -> None:
    require_path(config, "collection", "the file that python -m artistid.embed wrote")
    require_choice("view", config.view, VIEWS)
    n_queries = bool(config.audio) + bool(config.track)
    if config.view == "retrieval" and n_queries:
        raise ArtistidError("view=retrieval takes its queries from the collection: expected neither audio nor track")
    if config.view != "retrieval" and n_queries != 1:
        found = "both" if n_queries else "neither"
        raise ArtistidError(f"expected audio=PATH or track=ID as the query, found {found}")
    if not config.track:
        require_path(config, "checkpoint", "the network that the collection was made with")


def _of_files(config: DictConfig, collection: Collection, done: Done) -> int:
    """Answer the queries that are files; returns how many failed."""
    paths = find_audio(plain(config)["audio"])
    reader = SongReader(limits_of(config))
    identifier = _identifier(config, collection)
    answer = _answerer(config, collection)

    def answered(path: Path, sound: SongFeatures) -> Any:
        query = Query.of_song(identifier, collection, path, sound)
        return answer(query, partial(grids_of_song, identifier, sound))

    return process_songs(read_ahead(reader, identifier.features, paths), len(paths), answered, done)


def _of_tracks(config: DictConfig, collection: Collection, done: Done) -> int:
    """Answer the queries that are songs of the collection; returns 0, since none of them fails alone."""
    wanted = plain(config)["track"]
    answer = _answerer(config, collection)
    for row in [collection.row(str(name)) for name in ([wanted] if isinstance(wanted, str) else wanted)]:
        done(answer(Query.of_row(collection, row), partial(_stored_clips, collection, row)))
    return 0


def _stored_clips(collection: Collection, row: int) -> list[ClipTable]:
    return [collection.clips_of(row)]


def _answerer(config: DictConfig, collection: Collection) -> Callable[[Query, Callable[[], Sequence[ClipTable]]], Any]:
    """A function that answers a query, and asks for its clips if it needs them."""
    wanted = Wanted(config.top, config.same_artist, config.same_album, config.artists_by, config.min_songs)
    if config.view == "songs":
        return lambda query, _: find_similar(collection, query, wanted)
    matcher = Matcher(collection)
    return lambda query, grids: matcher.find(query, grids(), wanted)


def _judge(config: DictConfig, collection: Collection, done: Done) -> int:
    """Evaluate how well held-out songs find their artists; returns 0."""
    done(evaluate_retrieval(collection, _identifier(config, collection).specification))
    return 0


def _identifier(config: DictConfig, collection: Collection) -> Identifier:
    identifier = Identifier.from_checkpoint(config.checkpoint, config.device, trusted(config))
    collection.check_made_by(identifier)
    return identifier
