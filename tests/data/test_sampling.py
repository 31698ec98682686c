"""The order across albums, and what a batch says of albums and productions."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from artistid.data.catalog import Catalog
from artistid.data.clips import ClipSpec
from artistid.data.datamodule import ClipData
from artistid.data.sampling import AcrossAlbums
from artistid.errors import ArtistidError
from tests.data.stores import make_store

ARTIST = torch.tensor([0] * 12 + [1] * 9)
ALBUM = torch.tensor([0] * 6 + [1] * 3 + [2] * 3 + [3] * 8 + [-1])


def test_all_clips_once_a_few_of_an_artist_in_a_row() -> None:
    torch.manual_seed(0)
    sampler = AcrossAlbums(ARTIST, ALBUM, clips_per_artist=3)
    order = list(sampler)
    assert sorted(order) == list(range(len(sampler))) == list(range(21))
    rows = [order[first : first + 3] for first in range(0, 21, 3)]
    assert all(len(set(ARTIST[row].tolist())) == 1 for row in rows)
    of_first = [ALBUM[row].tolist() for row in rows if ARTIST[row[0]] == 0]
    assert sum(len(set(albums)) == 3 for albums in of_first) == 3, "while there are three albums left"
    assert list(sampler) != order
    torch.manual_seed(0)
    assert list(sampler) == order


def test_one_clip_at_least() -> None:
    with pytest.raises(ArtistidError, match=r"sampler\.clips_per_artist=0"):
        AcrossAlbums(ARTIST, ALBUM, clips_per_artist=0)


def test_batches_say_album_and_production() -> None:
    catalog, store = make_store({"a/1/x": 10, "a/2/x": 10, "b/1/x": 20, "b//y": 10})
    of = {"a/2/x": "1999", "b/1/x": "1999", "b//y": "1970"}
    catalog = Catalog(replace(track, production=of.get(track.track_id, "")) for track in catalog)
    spec = ClipSpec(name="x", seconds=1, frames=10)
    for crop in (None, "random"):
        data = ClipData({"train": catalog}, store, ("a", "b"), replace(spec, crop=crop), 8, sampler=AcrossAlbums)
        [batch] = data.train_dataloader()
        in_order = batch["clip"].argsort()
        assert batch["label"][in_order].tolist() == [0, 0, 1, 1, 1]
        assert batch["album"][in_order].tolist() == [0, 1, -1, 2, 2]
        assert batch["production"][in_order].tolist() == [-1, 1, 0, 1, 1]
        data.cache_on_device(torch.device("cpu"))
        [kept] = data.train_dataloader()
        assert kept["album"][kept["clip"].argsort()].tolist() == [0, 1, -1, 2, 2]
