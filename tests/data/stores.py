"""Stores without audio: known frames under known track ids, for tests of what reads a store."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from artistid.data.catalog import Catalog, Track
from artistid.data.features import LogMel
from artistid.data.store import Entry, Store

N_MELS = 128


def make_store(n_frames: dict[str, int], n_mels: int = N_MELS) -> tuple[Catalog, Store]:
    """A catalog and a store of tracks ``artist/album/title`` with so many frames, each value in them another."""
    names = (track_id.split("/") for track_id in n_frames)
    catalog = Catalog(
        Track(f"{artist}/{album}/{title}", artist, album, title, Path()) for artist, album, title in names
    )
    total = sum(n_frames.values())
    array = (np.random.default_rng(0).uniform(-80, 0, (total, n_mels))).astype(np.float16)
    entries: dict[str, Entry] = {}
    start = 0
    for track_id, frames in n_frames.items():  # not in the catalog's order, as in a store that has grown
        pad_value = float(array[start : start + frames].min())
        entries[track_id] = Entry(path=track_id, start=start, frames=frames, pad_value=pad_value)
        start += frames
    return catalog, Store(Path("store"), array, entries, LogMel())
