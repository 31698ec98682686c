from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from artistid.data.clips import ClipSpec, index_clips
from artistid.data.descriptors import Descriptors
from artistid.errors import ArtistidError
from tests.data.stores import make_store

CONF = Path(__file__).parents[2] / "conf" / "clip"
PAPER = {"1s": 32, "3s": 94, "5s": 157, "10s": 313, "20s": 628, "30s": 911}  # frames, in the authors' code

OURS = ClipSpec(name="x", seconds=1, frames=10)
AUTHORS = ClipSpec(name="x", seconds=1, frames=10, keep_last=False, pad_short=False)


def test_configurations_have_the_papers_frames() -> None:
    clippings = {path.stem: instantiate(OmegaConf.load(path)) for path in CONF.glob("*.yaml")}
    assert clippings.pop("song").whole_songs
    assert {name: clip_spec.frames for name, clip_spec in clippings.items()} == {**PAPER, "15s": 469}
    for name, clip_spec in clippings.items():
        assert clip_spec.name == f"{clip_spec.seconds:g}s" == name
        assert clip_spec.keep_last
        assert clip_spec.pad_short


@pytest.mark.parametrize(
    ("n_frames", "ours", "authors"),
    [(1, 1, 0), (9, 1, 0), (10, 1, 0), (19, 1, 0), (20, 2, 1), (29, 2, 1), (35, 3, 2), (1000, 100, 99)],
)
def test_number_of_clips(n_frames: int, ours: int, authors: int) -> None:
    assert OURS.count(np.array([n_frames])) == [ours]
    assert AUTHORS.count(np.array([n_frames])) == [authors]


def test_each_departure_from_the_authors_is_a_setting_of_its_own() -> None:
    n_frames = np.array([9, 10, 20])
    keeping = ClipSpec(name="x", seconds=1, frames=10, pad_short=False)
    padding = ClipSpec(name="x", seconds=1, frames=10, keep_last=False)
    assert keeping.count(n_frames).tolist() == [0, 1, 2]
    assert padding.count(n_frames).tolist() == [1, 0, 1]


def test_clips_are_consecutive_and_disjoint() -> None:
    catalog, store = make_store({"b/1/x": 35, "a/1/y": 20, "a/1/x": 9})
    clips = index_clips(store.rows_of(catalog, ("a", "b")), OURS)
    assert clips.track_ids == ("a/1/x", "a/1/y", "b/1/x")
    assert clips.track.tolist() == [0, 1, 1, 2, 2, 2]
    assert clips.clip.tolist() == [0, 0, 1, 0, 1, 2]
    assert clips.label.tolist() == [0, 0, 0, 1, 1, 1]
    assert clips.start.tolist() == [55, 35, 45, 0, 10, 20]
    assert clips.length.tolist() == [9, 10, 10, 10, 10, 10]
    assert clips.pad_value[0] == store.track("a/1/x").min()
    assert len(clips) == 6
    assert clips.counts == {"songs": 3, "clips": 6, "songs_padded": 1, "songs_dropped": 0}
    assert (clips.padded, clips.dropped) == (("a/1/x",), ())


def test_the_authors_drop_songs() -> None:
    catalog, store = make_store({"b/1/x": 35, "a/1/y": 20, "a/1/x": 9, "a/2/x": 19})
    clips = index_clips(store.rows_of(catalog, ("a", "b")), AUTHORS)
    assert clips.start.tolist() == [35, 0, 10]
    assert clips.counts == {"songs": 4, "clips": 3, "songs_padded": 0, "songs_dropped": 2}
    assert clips.dropped == ("a/1/x", "a/2/x")


def test_labels_are_places_among_the_artists() -> None:
    catalog, store = make_store({"b/1/x": 10, "d/1/x": 10})
    assert index_clips(store.rows_of(catalog, ("a", "b", "c", "d")), OURS).label.tolist() == [1, 3]


def test_no_clip_at_all_is_an_error() -> None:
    catalog, store = make_store({"b/1/x": 12, "a/1/x": 9})
    with pytest.raises(ArtistidError, match=r"none of 2 tracks gives a clip of clip=x \(10 frames\).* has 12 frames"):
        index_clips(store.rows_of(catalog, ("a", "b")), AUTHORS)


def test_a_clip_needs_a_frame() -> None:
    with pytest.raises(ArtistidError, match=r"clip\.frames=0"):
        ClipSpec(name="x", seconds=0, frames=0)


def test_whole_songs_are_one_clip_each() -> None:
    catalog, store = make_store({"b/1/x": 35, "a/1/y": 20})
    clips = index_clips(store.rows_of(catalog, ("a", "b")), ClipSpec(name="song", seconds=None, frames=None))
    assert clips.length.tolist() == [20, 35]
    assert clips.start.tolist() == [store.entries[track_id].start for track_id in clips.track_ids]
    assert clips.rows is None
    assert clips.padded == clips.dropped == ()


def test_a_clip_lasts_as_long_on_any_features() -> None:
    """100 rows a second instead of 31.25 frames: there are as many clips, of the same seconds."""
    seconds = np.array([3.2, 9.6, 0.1])  # 101, 301 and 4 frames
    names = ("a/1/x", "a/1/y", "b/1/z")
    catalog, store = make_store(dict(zip(names, (1 + 100 * seconds).astype(int).tolist(), strict=True)))
    entries = {
        name: replace(store.entries[name], duration_s=duration) for name, duration in zip(names, seconds, strict=True)
    }
    clips = index_clips(replace(store, entries=entries, features=Descriptors()).rows_of(catalog, ("a", "b")), OURS)
    assert np.bincount(clips.track).tolist() == [10, 30, 1]
    assert clips.rows == 32
    first = clips.start[clips.track == 1] - entries["a/1/y"].start
    assert first.tolist() == (32 * np.arange(30)).tolist()
    assert clips.length.tolist() == [32] * 40 + [11]
    assert clips.padded == ("b/1/z",)


def test_seconds_and_frames_go_together() -> None:
    with pytest.raises(ArtistidError, match=r"clip\.seconds=None and clip\.frames=10"):
        ClipSpec(name="x", seconds=None, frames=10)


def test_some_of_the_clips() -> None:
    catalog, store = make_store({"a/1/x": 30, "b/1/y": 20})
    clips = index_clips(store.rows_of(catalog, ("a", "b")), OURS)
    some = clips.select(np.array([0, 2, 4]))
    assert (some.track.tolist(), some.clip.tolist(), some.label.tolist()) == ([0, 0, 1], [0, 2, 1], [0, 0, 1])
    assert some.start.tolist() == clips.start[[0, 2, 4]].tolist()
    assert some.track_ids == clips.track_ids


@pytest.mark.parametrize(
    ("settings", "message"), [({"hop": 0.01}, "clip.hop=0.01"), ({"crop": "random"}, "whole songs")]
)
def test_hop_and_crop_are_for_clips(settings: dict[str, Any], message: str) -> None:
    length = {"seconds": 1, "frames": 10} if "hop" in settings else {"seconds": None, "frames": None}
    with pytest.raises(ArtistidError, match=message):
        ClipSpec(name="x", **length, **settings)
