from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from artistid.data.clips import Clipping, cut
from artistid.errors import ArtistidError
from tests.data.stores import make_store

CONF = Path(__file__).parents[2] / "conf" / "clip"
PAPER = {"1s": 32, "3s": 94, "5s": 157, "10s": 313, "20s": 628, "30s": 911}  # frames, in the authors' code

OURS = Clipping(name="x", seconds=1, frames=10)
AUTHORS = Clipping(name="x", seconds=1, frames=10, keep_last=False, pad_short=False)


def test_configurations_have_the_papers_frames() -> None:
    clippings = {path.stem: instantiate(OmegaConf.load(path)) for path in CONF.glob("*.yaml")}
    assert {name: clipping.frames for name, clipping in clippings.items()} == PAPER
    for name, clipping in clippings.items():
        assert clipping.name == f"{clipping.seconds:g}s" == name
        assert clipping.keep_last
        assert clipping.pad_short


@pytest.mark.parametrize(
    ("n_frames", "ours", "authors"),
    [(1, 1, 0), (9, 1, 0), (10, 1, 0), (19, 1, 0), (20, 2, 1), (29, 2, 1), (35, 3, 2), (1000, 100, 99)],
)
def test_number_of_clips(n_frames: int, ours: int, authors: int) -> None:
    assert OURS.count(np.array([n_frames])) == [ours]
    assert AUTHORS.count(np.array([n_frames])) == [authors]


def test_each_departure_from_the_authors_is_a_setting_of_its_own() -> None:
    n_frames = np.array([9, 10, 20])
    keeping = Clipping(name="x", seconds=1, frames=10, pad_short=False)
    padding = Clipping(name="x", seconds=1, frames=10, keep_last=False)
    assert keeping.count(n_frames).tolist() == [0, 1, 2]
    assert padding.count(n_frames).tolist() == [1, 0, 1]


def test_clips_are_consecutive_and_disjoint() -> None:
    catalog, store = make_store({"b/1/x": 35, "a/1/y": 20, "a/1/x": 9})
    clips = cut(catalog, store, ("a", "b"), OURS)
    assert clips.track_ids == ("a/1/x", "a/1/y", "b/1/x")
    assert clips.track.tolist() == [0, 1, 1, 2, 2, 2]
    assert clips.clip.tolist() == [0, 0, 1, 0, 1, 2]
    assert clips.label.tolist() == [0, 0, 0, 1, 1, 1]
    assert clips.start.tolist() == [55, 35, 45, 0, 10, 20]
    assert clips.length.tolist() == [9, 10, 10, 10, 10, 10]
    assert clips.floor_db[0] == store.log_mel("a/1/x").min()
    assert len(clips) == 6
    assert clips.counts == {"songs": 3, "clips": 6, "songs_padded": 1, "songs_dropped": 0}
    assert (clips.padded, clips.dropped) == (("a/1/x",), ())


def test_the_authors_drop_songs() -> None:
    catalog, store = make_store({"b/1/x": 35, "a/1/y": 20, "a/1/x": 9, "a/2/x": 19})
    clips = cut(catalog, store, ("a", "b"), AUTHORS)
    assert clips.start.tolist() == [35, 0, 10]
    assert clips.counts == {"songs": 4, "clips": 3, "songs_padded": 0, "songs_dropped": 2}
    assert clips.dropped == ("a/1/x", "a/2/x")


def test_labels_are_places_among_the_artists() -> None:
    catalog, store = make_store({"b/1/x": 10, "d/1/x": 10})
    assert cut(catalog, store, ("a", "b", "c", "d"), OURS).label.tolist() == [1, 3]


def test_no_clip_at_all_is_an_error() -> None:
    catalog, store = make_store({"b/1/x": 12, "a/1/x": 9})
    with pytest.raises(ArtistidError, match=r"none of 2 tracks gives a clip of clip=x \(10 frames\).* has 12 frames"):
        cut(catalog, store, ("a", "b"), AUTHORS)


def test_a_clip_needs_a_frame() -> None:
    with pytest.raises(ArtistidError, match=r"clip\.frames=0"):
        Clipping(name="x", seconds=0, frames=0)
