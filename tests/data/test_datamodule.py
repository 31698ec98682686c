from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from artistid.data.clips import ClipSpec
from artistid.data.datamodule import Batch, ClipData
from artistid.errors import ArtistidError
from tests.data.stores import N_MELS, make_store

TEN = ClipSpec(name="x", seconds=1, frames=10)
FRAMES = {"b/1/x": 35, "a/1/y": 20, "a/1/x": 7}


def make_data(batch_size: int = 4, artists: Sequence[str] = ("a", "b")) -> tuple[ClipData, Any]:
    catalog, store = make_store(FRAMES)
    return ClipData({"train": catalog, "test": catalog}, store, artists, TEN, batch_size), store


def joined(batches: list[Batch], key: str) -> torch.Tensor:
    return torch.cat([batch[key] for batch in batches])  # type: ignore[literal-required]


def test_batches_are_the_stores_rows() -> None:
    data, store = make_data()
    batches = list(data.test_dataloader())
    assert [len(batch["label"]) for batch in batches] == [4, 2]
    assert joined(batches, "clip").tolist() == list(range(6))
    assert joined(batches, "label").tolist() == [0, 0, 0, 1, 1, 1]
    assert joined(batches, "song").tolist() == [0, 1, 1, 2, 2, 2]
    log_mel = joined(batches, "features")
    assert log_mel.shape == (6, N_MELS, 10)
    assert log_mel.dtype == torch.float16
    whole = [store.track("a/1/y")[:10], store.track("a/1/y")[10:]]
    whole += [store.track("b/1/x")[start : start + 10] for start in (0, 10, 20)]
    for row, frames in enumerate(whole, start=1):
        assert np.array_equal(log_mel[row].numpy(), frames.T)


def test_a_short_song_is_filled_up_with_its_own_floor() -> None:
    data, store = make_data()
    clip = next(iter(data.test_dataloader()))["features"][0].numpy()
    assert np.array_equal(clip[:, :7], store.track("a/1/x").T)
    assert (clip[:, 7:] == store.track("a/1/x").min()).all()


def test_training_clips_are_shuffled_by_the_seed() -> None:
    data, _ = make_data()
    orders = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        orders.append(joined(list(data.train_dataloader()), "clip").tolist())
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == list(range(6))
    batches = list(data.train_dataloader())
    ordered = joined(list(data.test_dataloader()), "features")
    assert torch.equal(joined(batches, "features"), ordered[joined(batches, "clip")])


def test_a_batch_may_be_changed_without_harm_to_the_store() -> None:
    data, store = make_data()
    before = store.array.copy()
    for batch in data.test_dataloader():
        batch["features"].zero_()
    assert np.array_equal(store.array, before)


def test_clips_that_are_kept_on_a_device_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    sliced, _ = make_data()
    kept, store = make_data()
    monkeypatch.setattr("artistid.data.datamodule.COPIED_AT_ONCE", 4)  # of six clips
    assert kept.nbytes == 2 * 6 * 10 * N_MELS * 2  # subsets, clips, frames, mel bins, bytes
    kept.cache_on_device(torch.device("cpu"))
    assert kept.nbytes == 0
    store.array[:] = 0  # it is read no more
    for make_batches in (ClipData.train_dataloader, ClipData.test_dataloader):
        torch.manual_seed(0)
        expected = list(make_batches(sliced))
        torch.manual_seed(0)
        for one, other in zip(expected, make_batches(kept), strict=True):
            assert one.keys() == other.keys()
            for key, value in one.items():
                assert torch.equal(value, other[key])
                assert value.dtype == other[key].dtype


def crops(seconds: float | None = None, frames: dict[str, int] = FRAMES) -> tuple[ClipData, Any]:
    """Training clips that begin anywhere, or every so many seconds."""
    spec = replace(TEN, crop="random") if seconds is None else replace(TEN, hop=seconds)
    catalog, store = make_store(frames)
    return ClipData({"train": catalog, "val": catalog, "test": catalog}, store, ("a", "b"), spec, 4), store


def by_clip(data: ClipData) -> list[bytes]:
    """The training clips of an epoch as bytes, by their rows."""
    return by_row(list(data.train_dataloader()))


def by_row(batches: list[Batch]) -> list[bytes]:
    rows = joined(batches, "clip").tolist()
    features = joined(batches, "features").cpu().numpy()
    return [features[rows.index(row)].tobytes() for row in range(len(rows))]


def test_training_clips_overlap_with_a_hop_and_others_tile() -> None:
    data, store = crops(seconds=0.16)  # 5 frames of 32 ms
    assert [len(data.datasets[subset]) for subset in ("train", "val", "test")] == [1 + 3 + 6, 6, 6]
    assert data.clips["train"].start[4:].tolist() == [store.entries["b/1/x"].start + first for first in range(0, 30, 5)]
    assert "hop" not in data.clip_spec.plain()


def test_random_crops_are_of_their_song_and_drawn_anew_in_each_epoch() -> None:
    data, store = crops()
    epochs = [by_clip(data) for _ in range(3)]
    assert len({epoch[3] for epoch in epochs}) > 1
    for epoch in epochs:
        for clip, track in zip(epoch[1:], ["a/1/y"] * 2 + ["b/1/x"] * 3, strict=True):
            rows = store.track(track)
            assert clip in [rows[first : first + 10].T.tobytes() for first in range(len(rows) - 9)]
        short = np.full((N_MELS, 10), store.track("a/1/x").min(), np.float16)
        short[:, :7] = store.track("a/1/x").T
        assert epoch[0] == short.tobytes(), "a song shorter than a clip is filled up as ever"
    assert [by_clip(again) for again in [crops()[0]] for _ in range(3)] == epochs, "the seed draws them"
    for tiled in (data.val_dataloader(), data.test_dataloader()):
        assert torch.equal(joined(list(tiled), "features"), joined(list(make_data()[0].test_dataloader()), "features"))


@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true")
def test_random_crops_are_the_same_read_ahead_and_on_a_device() -> None:
    here, ahead, kept = (crops()[0] for _ in range(3))
    ahead.prefetch()
    kept.cache_on_device(torch.device("cpu"))
    assert kept.nbytes == 0
    found = []
    for data in (here, ahead, kept):
        loader = data.train_dataloader()
        found.append([by_row(list(loader)) for _ in range(2)])
    assert found[0] == found[1] == found[2]
    assert found[0][0] != found[0][1]


@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true")
def test_batches_that_are_read_ahead_are_the_same() -> None:
    data, _ = make_data()
    expected = list(data.test_dataloader())
    data.prefetch()
    for one, other in zip(expected, data.test_dataloader(), strict=True):
        assert all(torch.equal(value, other[key]) for key, value in one.items())


def test_counts_and_what_is_left_out_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    catalog, store = make_store(FRAMES)
    with caplog.at_level("INFO"):
        ClipData({"val": catalog}, store, ("a", "b"), TEN, 4)
    assert "val: 3 songs, 6 clips" in caplog.text
    assert "shorter than a clip, 1 song: a/1/x" in caplog.text
    authors = ClipSpec(name="x", seconds=1, frames=10, keep_last=False, pad_short=False)
    ClipData({"val": catalog}, store, ("a", "b"), authors, 4)
    assert "give no clip, 1 song: a/1/x" in caplog.text


def test_artists_that_are_not_known() -> None:
    with pytest.raises(ArtistidError, match=r"train: .*artists .*: b; it knows a, c"):
        make_data(artists=("a", "c"))


def test_an_empty_batch() -> None:
    with pytest.raises(ArtistidError, match="batch_size=0"):
        make_data(batch_size=0)
