"""Embed a collection: ``python -m artistid.embed checkpoint=PATH audio=music out=collection.parquet``."""

from __future__ import annotations

if __name__ == "__main__":
    from artistid.cli import run

    run("embed")

import logging
from pathlib import Path

from omegaconf import DictConfig

from artistid.data.shards import Shard
from artistid.data.song import SongFeatures
from artistid.errors import ArtistidError, counted, require_path
from artistid.inference.batch import process_songs
from artistid.inference.collection import Collection, Origin, absolute, check_shards, data_set
from artistid.inference.collection_writer import EmbeddedSong, chunks_folder, drafting
from artistid.inference.identifier import Identifier
from artistid.inference.sources import Files, Prepared, Source, embed_song
from artistid.places import expanded
from artistid.printing import printable
from artistid.trust import trusted

log = logging.getLogger(__name__)


def embed(config: DictConfig) -> Path:
    """Embed every song of a collection, or of one shard of it, and write them to one file.

    Returns:
        The file; a shard without songs has none.

    Raises:
        ArtistidError: bad settings; or, after all others have been written, songs that could not be embedded.
    """
    require_path(config, "checkpoint", "the best.ckpt of a run folder")
    if config.audio and config.get("data"):
        raise ArtistidError("audio and data are both set: expected one of them, or neither")
    shard = Shard.of_settings(config)
    out = _checked_out(config, shard)
    identifier = Identifier.from_checkpoint(config.checkpoint, config.device, trusted(config))
    identifier.check_embeds()
    keep = config["update"] or not config.overwrite  # without either, what exists is from an interrupted run
    if out.exists() and (config["update"] or (shard and keep)):
        Collection.read(out, "out").check_made_by(identifier)
    source: Source = Files(config, identifier, shard) if config.audio else Prepared(config, identifier, shard)
    if shard:
        log.info("shard %d of %d: %s", shard.number, shard.of, counted(len(source.paths), "song"))
        if not source.paths and not source.n_lost:
            out.unlink(missing_ok=True)
            return out
    with drafting(out, Origin.of(identifier), source.paths, keep) as draft:
        new = [path for path in source.paths if not draft.has(path)]
        if there := len(source.paths) - len(new):
            log.info("embedded already: %d of %s", there, counted(len(source.paths), "song"))

        def embedded(path: Path, sound: SongFeatures) -> EmbeddedSong:
            return embed_song(identifier, path, sound)

        failed = source.n_lost
        if new:
            failed += process_songs(source.songs(new), len(new), embedded, draft.add)
        n_songs = draft.finish({absolute(path): source.track(path) for path in source.paths})
    source.log_names()
    if not n_songs:
        raise ArtistidError(
            f"none of {counted(failed, 'song')} could be embedded, see above, so {printable(out)} was not written"
        )
    log.info("%s: %s", printable(out), counted(n_songs, "song"))
    if failed:
        raise ArtistidError(
            f"{failed} of {counted(failed + n_songs, 'song')} could not be embedded, see above; {printable(out)} has "
            "the others"
        )
    return out


def _checked_out(config: DictConfig, shard: Shard | None) -> Path:
    """The file to write; for a shard, its file in the folder ``out``."""
    require_path(config, "out", "the Parquet file to write, such as songs.parquet")
    out = expanded(config.out)
    if shard:
        if out.exists() and not out.is_dir():
            raise ArtistidError(f"out={printable(out)} is a file: expected a folder, with one file per shard")
        check_shards([*data_set(out), file := out / f"{shard.name}.parquet"], f"out={printable(out)}")
        return file
    if out.is_dir():
        raise ArtistidError(f"out={printable(out)} is a folder: expected a Parquet file, such as songs.parquet in it")
    interrupted = chunks_folder(out).exists()
    if out.exists() and not (config.overwrite or config["update"] or interrupted):
        raise ArtistidError(
            f"out={printable(out)} exists: overwrite=true replaces it, update=true keeps its songs whose files are "
            "unchanged, and embeds the others"
        )
    return out
