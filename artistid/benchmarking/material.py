"""What the benchmark measures on: random features and random collections."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from hydra.utils import instantiate
from numpy.typing import NDArray
from omegaconf import DictConfig

from artistid.data.catalog import Catalog, Track
from artistid.data.datamodule import ClipData
from artistid.data.features import Features, features_of
from artistid.data.splits import SUBSETS, Split
from artistid.data.store import Entry, Store
from artistid.inference.collection import SONG_COLUMNS, Collection, Origin
from artistid.train import split_rule

# As in artist20.
ARTISTS, ALBUMS = 20, 6
# Of a collection: units as in the network, songs as a library might have.
EMBEDDING_UNITS, SONGS_OF_AN_ARTIST, SONGS_OF_AN_ALBUM = 32, 20, 5
SPREAD = 0.5  # of albums around their artist, and of songs around their album; that of artists is 1
WRITTEN_AT_ONCE = 1 << 16  # rows


def random_store(folder: Path, songs: int, frames: int, features: Features) -> tuple[Catalog, Store]:
    """A store of songs of random frames, memory-mapped from a file as all stores are."""
    path = folder / "features.npy"
    shape = (songs * frames, features.width)
    array = np.lib.format.open_memmap(path, "w+", np.float16, shape)
    block = np.random.default_rng(0).normal(-40, 15, (WRITTEN_AT_ONCE, features.width)).astype(np.float16)
    for first in range(0, len(array), len(block)):
        array[first : first + len(block)] = block[: len(array) - first]
    array.flush()
    tracks, entries = [], {}
    for number in range(songs):
        artist, album = f"artist {number % ARTISTS:02}", f"album {number // ARTISTS % ALBUMS}"
        track = Track(f"{artist}/{album}/{number:05}", artist, album, f"{number:05}", path)
        tracks.append(track)
        entries[track.track_id] = Entry(path=track.track_id, start=number * frames, frames=frames, pad_value=-80.0)
    mapped = np.load(path, mmap_mode="r")
    return Catalog(tracks), Store(folder, mapped, entries, features)


def random_clips(config: DictConfig, folder: Path) -> tuple[ClipData, Split]:
    """Clips of all subsets of a random store of ``config.size``, split and cut by the other settings."""
    catalog, store = random_store(folder, config.size.songs, config.size.frames, features_of(config))
    split = split_rule(config).draw(catalog, config.seed)
    subsets = {subset: split.select(catalog, subset) for subset in SUBSETS}
    return ClipData(subsets, store, catalog.artists, instantiate(config.clip), config.batch_size), split


def random_collection(songs: int) -> Collection:
    """A collection of random embeddings."""
    vectors = np.random.default_rng(0).standard_normal((songs, EMBEDDING_UNITS)).astype(np.float32)
    table = pd.DataFrame({name: [f"{name} {number}" for number in range(songs)] for name in SONG_COLUMNS})
    table["artist"] = [f"artist {number // SONGS_OF_AN_ARTIST}" for number in range(songs)]
    table["duration_s"] = 240.0
    return Collection(Path(), table, vectors / np.linalg.norm(vectors, axis=1, keepdims=True), Origin("", {}, {}, ""))


def clustered_vectors(songs: int) -> NDArray[np.float32]:
    """``(songs, units)`` of length 1, in random order: the songs of an album lie together, as do an artist's albums."""
    draw = np.random.default_rng(0)

    def normal(n: int) -> NDArray[np.float32]:
        return draw.standard_normal((n, EMBEDDING_UNITS), dtype=np.float32)

    song = np.arange(songs)
    vectors = SPREAD * normal(songs)
    vectors += SPREAD * normal(songs // SONGS_OF_AN_ALBUM + 1)[song // SONGS_OF_AN_ALBUM]
    vectors += normal(songs // SONGS_OF_AN_ARTIST + 1)[song // SONGS_OF_AN_ARTIST]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    draw.shuffle(vectors)
    return vectors
