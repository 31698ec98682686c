"""Decode a collection and make its features: ``python -m artistid.prepare data=folder data.root=PATH``."""

from __future__ import annotations

if __name__ == "__main__":
    from artistid.cli import run

    run("prepare")

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, open_dict

from artistid.config import build, plain
from artistid.data.catalog import Catalog
from artistid.data.features import Features
from artistid.data.shards import Shard
from artistid.data.song import Limits
from artistid.data.sources.base import opened, redirected
from artistid.data.stems import features_of
from artistid.data.store import Store, fill_store
from artistid.errors import ArtistidError, counted, require_choice
from artistid.places import below, expanded
from artistid.printing import say
from artistid.settings import literal
from artistid.trust import Trust

log = logging.getLogger(__name__)


def prepare(config: DictConfig) -> None:
    """Make the features of a collection, and say where they are.

    Raises:
        ArtistidError: see :func:`prepare_only`.
    """
    catalog, store = prepare_only(config)
    hours = sum(track.duration_s or 0 for track in catalog) / 3600
    songs, artists = counted(len(catalog), "song"), counted(len(catalog.artists), "artist")
    say(f"in {store.folder}: {songs} by {artists}, {hours:.1f} hours")


def prepare_only(config: DictConfig) -> tuple[Catalog, Store]:
    """Make the features of a collection, or of one shard of it, and check what is stored if ``verify`` says so.

    Raises:
        ArtistidError: songs that are damaged, unless ``verify=repair``, which makes them again.
    """
    require_choice("verify", config.verify, (False, True, "repair"))
    shard = Shard.of_settings(config)
    features: Features = features_of(config)
    catalog, store, _ = prepare_data(config, features, shard)
    if not config.verify:
        return catalog, store
    remedy = "verify=repair makes these songs again, and nothing else"
    damaged = store.damaged()
    if damaged and config.verify == "repair":
        log.warning("damaged, made again: %d of %d songs: %s", len(damaged), len(catalog), ", ".join(damaged))
        store.forget(damaged)
        catalog, store, _ = prepare_data(config, features, shard)
        remedy = "they were made again just now: the disk under cache_dir cannot be relied on"
        damaged = store.damaged()
    if damaged:
        listing = "\n  ".join(damaged)
        raise ArtistidError(
            f"{len(damaged)} of {len(catalog)} songs in {store.folder} are damaged: their features are not those that "
            f"were written\n  {listing}\n{remedy}"
        )
    log.info("verified: the features of all %d songs are as they were written", len(catalog))
    return catalog, store


def limits_of(config: DictConfig) -> Limits:
    """What ``config.limits``, if it is there, lets a file take; raises ArtistidError."""
    return Limits(**plain(config.limits)) if "limits" in config else Limits()


def prepare_described(
    config: DictConfig, description: Mapping[str, Any], features: Features, trust: Trust, shard: Shard | None = None
) -> tuple[Catalog, Store, list[str]]:
    """As :func:`prepare_data`; where ``config.data`` is null, of the data that a checkpoint describes.

    ``config.data`` is then set to it, with the places that are written to as this command has them.

    Args:
        config: of a verb.
        description: what the checkpoint says of its data.
        features: to be made.
        trust: packages whose sources a checkpoint may name.
        shard: None: all songs.
    """
    if config.get("data") is not None:
        return prepare_data(config, features, shard)
    settings = redirected(description, config.cache_dir, config.workers)
    source = opened(settings, trust)
    with open_dict(config):
        config.data = literal(settings)
    return prepare_data(config, features, shard, source)


def prepare_data(
    config: DictConfig, features: Features, shard: Shard | None = None, source: Any = None
) -> tuple[Catalog, Store, list[str]]:
    """The songs of a source and their features: :func:`find_songs`, then :func:`make_features`."""
    found, place = find_songs(config, source)
    return make_features(config, found, features, place, shard)


def find_songs(config: DictConfig, source: Any = None) -> tuple[Catalog, Path]:
    """The catalog of a source, before any song is decoded.

    Args:
        config: of a verb.
        source: None: what ``config.data`` says.

    Returns:
        The tracks, and the folder that their features are kept in.
    """
    if source is None:
        source = build(config.data, "data")
    place = below(expanded(config.cache_dir), source.name, "data.name")
    found = source.catalog()
    log.info("%s: %s by %s", source.name, counted(len(found), "song"), counted(len(found.artists), "artist"))
    return found, place


def make_features(
    config: DictConfig, found: Catalog, features: Features, place: Path, shard: Shard | None = None
) -> tuple[Catalog, Store, list[str]]:
    """The features of songs, or of one shard of them, made where they are missing.

    Args:
        config: of a verb.
        found: the songs.
        features: to be made.
        place: the folder that keeps them.
        shard: None: all.

    Returns:
        catalog: the tracks that are in the store.
        store: their features.
        left_out: track ids that could not be decoded (``on_error=skip``).
    """
    if shard:
        found = shard.select(found)
        log.info("shard %d of %d: %s", shard.number, shard.of, counted(len(found), "song"))
    catalog, store = fill_store(found, features, place, config.workers, config.on_error, shard, limits_of(config))
    left_out = {track.track_id for track in found} - {track.track_id for track in catalog}
    return catalog, store, sorted(left_out)
