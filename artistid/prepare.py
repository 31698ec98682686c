"""Decode a collection and compute its features: ``python -m artistid.prepare data=folder data.root=PATH``."""

from __future__ import annotations

if __name__ == "__main__":
    from artistid.cli import run

    run("prepare")

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, open_dict

from artistid.config import build, plain
from artistid.data.catalog import Catalog
from artistid.data.features import Features, features_of
from artistid.data.shards import Shard
from artistid.data.song import Limits
from artistid.data.sources.base import opened, provide, redirected
from artistid.data.store import Store, check_filling, fill_store
from artistid.errors import ArtistidError, counted, require_choice
from artistid.places import below, expanded
from artistid.printing import say
from artistid.settings import literal
from artistid.trust import Trust

log = logging.getLogger(__name__)


def prepare(config: DictConfig) -> None:
    """Compute the features of a collection, and print where they are.

    Raises:
        ArtistidError: see :func:`prepare_only`.
    """
    catalog, store = prepare_only(config)
    hours = sum(track.duration_s or 0 for track in catalog) / 3600
    songs, artists = counted(len(catalog), "song"), counted(len(catalog.artists), "artist")
    say(f"in {store.folder}: {songs} by {artists}, {hours:.1f} hours")


def prepare_only(config: DictConfig) -> tuple[Catalog, Store]:
    """Compute the features of a collection, or of one shard of it, and with ``verify`` check the stored ones.

    Raises:
        ArtistidError: damaged songs, unless ``verify=repair`` has recomputed them.
    """
    require_choice("verify", config.verify, (False, True, "repair"))
    shard = Shard.of_settings(config)
    features: Features = features_of(config)
    catalog, store, _ = make_features(config, find_songs(config), features, shard)
    if not config.verify:
        return catalog, store
    remedy = "verify=repair recomputes only these songs"
    damaged = store.damaged()
    if damaged and config.verify == "repair":
        n_songs = counted(len(catalog), "song")
        log.warning("damaged, recomputed: %d of %s: %s", len(damaged), n_songs, ", ".join(damaged))
        store.forget(damaged)
        catalog, store, _ = make_features(config, find_songs(config), features, shard)
        remedy = "they were recomputed just now: the disk under cache_dir is unreliable"
        damaged = store.damaged()
    if damaged:
        listing = "\n  ".join(damaged)
        raise ArtistidError(
            f"damaged: {len(damaged)} of {counted(len(catalog), 'song')} in {store.folder}, whose features differ "
            f"from those that were written\n  {listing}\n{remedy}"
        )
    log.info("verified: the stored features of %s are as written", counted(len(catalog), "song"))
    return catalog, store


def limits_of(config: DictConfig) -> Limits:
    """The limits per file in ``config.limits``, or the default ones; raises ArtistidError."""
    return Limits(**plain(config.limits)) if "limits" in config else Limits()


@dataclass(frozen=True)
class Found:
    """Songs before any of them is generated or decoded: what can be refused is refused now.

    Attributes:
        source: of the songs.
        catalog: the tracks.
        place: the folder that their features are kept in.
    """

    source: Any
    catalog: Catalog
    place: Path


def find_songs(config: DictConfig, source: Any = None) -> Found:
    """The songs of a source; None: the one in ``config.data``."""
    if source is None:
        source = build(config.data, "data")
    place = below(expanded(config.cache_dir), source.name, "data.name")
    catalog = source.catalog()
    log.info("%s: %s by %s", source.name, counted(len(catalog), "song"), counted(len(catalog.artists), "artist"))
    return Found(source, catalog, place)


def find_described(config: DictConfig, description: Mapping[str, Any], trust: Trust) -> Found:
    """As :func:`find_songs`, but if ``config.data`` is null, of the data that a checkpoint describes.

    ``config.data`` is then set to it, with this command's paths for all that is written.

    Args:
        config: of a verb.
        description: what the checkpoint says of its data.
        trust: packages whose sources a checkpoint may name.
    """
    if config.get("data") is not None:
        return find_songs(config)
    settings = redirected(description, config.cache_dir, config.workers)
    source = opened(settings, trust)
    with open_dict(config):
        config.data = literal(settings)
    return find_songs(config, source)


def make_features(
    config: DictConfig, found: Found, features: Features, shard: Shard | None = None
) -> tuple[Catalog, Store, list[str]]:
    """The features of songs, or of one shard of them, computed if missing; missing songs are generated.

    Args:
        config: of a verb.
        found: the songs.
        features: to compute.
        shard: None: all.

    Returns:
        catalog: the tracks that are in the store.
        store: their features.
        left_out: track ids that could not be decoded (``on_error=skip``).
    """
    wanted, limits = found.catalog, limits_of(config)
    check_filling(config.workers, config.on_error)
    if shard:
        wanted = shard.select(wanted)
        log.info("shard %d of %d: %s", shard.number, shard.of, counted(len(wanted), "song"))
    provide(found.source)
    catalog, store = fill_store(wanted, features, found.place, config.workers, config.on_error, shard, limits)
    left_out = {track.track_id for track in wanted} - {track.track_id for track in catalog}
    return catalog, store, sorted(left_out)
