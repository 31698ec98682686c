from __future__ import annotations

import json
import logging
import os
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from artistid.data.audio import decode
from artistid.data.catalog import Catalog, Track
from artistid.data.clips import ClipSpec
from artistid.data.datamodule import ClipData
from artistid.data.features import LogMel
from artistid.data.shards import ConcatenatedArray, Shard
from artistid.data.store import Store, fill_store
from artistid.errors import ArtistidError
from tests.data.test_store import catalog_of, contents, garble, know_as_they_are, open_store, snapshot, song, write_song

FEATURES = LogMel()
SHARDS = 3


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """Ten songs of two artists, of different lengths."""
    for number in range(10):
        write_song(tmp_path / "music" / "AB"[number % 2] / "1" / f"{number}.wav", number, 0.3 + 0.1 * number)
    return tmp_path / "music"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def prepare_shard(root: Path, cache: Path, number: int, of: int = SHARDS, on_error: str = "raise") -> Store:
    shard = Shard(number, of)
    return fill_store(shard.select(catalog_of(root)), FEATURES, cache, workers=0, on_error=on_error, shard=shard)[1]


def index_files(cache: Path) -> list[str]:
    return [json.loads(line)["path"] for path in cache.rglob("index.jsonl") for line in path.read_bytes().splitlines()]


def some_catalog(n_tracks: int) -> Catalog:
    return Catalog(Track(f"a/b/{number}", "a", "b", str(number), Path()) for number in range(n_tracks))


# --- which track is in which shard ---


def test_every_track_is_in_one_shard() -> None:
    catalog = some_catalog(1000)
    parts = [Shard(number, 8).select(catalog) for number in range(8)]
    assert sorted(track.track_id for part in parts for track in part) == [track.track_id for track in catalog]
    assert all(80 < len(part) < 170 for part in parts)
    assert Shard(0, 1).select(catalog) == catalog


def test_a_tracks_shard_depends_on_its_id_alone() -> None:
    few, many = (Shard(3, 8).select(some_catalog(n)) for n in (100, 1000))
    assert set(few) == {track for track in many if int(track.title) < 100}
    assert [track.title for track in few][:4] == ["15", "20", "31", "33"]  # on any machine, in any Python


@pytest.mark.parametrize(
    ("number", "of", "message"),
    [
        (3, 3, "shard=3: expected 0 to 2, since shards=3"),
        (-1, 3, "shard=-1: expected a whole number from 0"),
        (0, 0, "shards=0: expected a whole number from 1"),
        (0.5, 3, r"shard=0\.5"),
        ("a", 3, "shard=a"),
        (True, 3, "shard=True"),
    ],
)
def test_a_shard_that_there_is_not(number: Any, of: Any, message: str) -> None:
    with pytest.raises(ArtistidError, match=message):
        Shard(number, of)


def test_shards_sort_as_they_count() -> None:
    assert [Shard(number, 64).name for number in (3, 63)] == ["03-of-64", "63-of-64"]


# --- several arrays as one ---


def test_slices_of_several_arrays_are_views_of_one() -> None:
    whole = np.arange(20, dtype=np.float16).reshape(10, 2)
    parts = [whole[:3], whole[3:4], whole[4:]]
    rows = ConcatenatedArray(parts)
    assert rows.shape == whole.shape
    assert len(rows) == 10
    for start, stop in ((0, 3), (1, 2), (3, 4), (4, 10), (9, 10), (5, 5)):
        assert np.array_equal(rows[start:stop], whole[start:stop])
        assert start == stop or np.shares_memory(rows[start:stop], whole)
    for start, stop in ((2, 4), (3, 5), (9, 11), (10, 11), (-1, 1)):
        with pytest.raises(IndexError, match="do not lie in one array"):
            rows[start:stop]


# --- the store ---


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_shards_are_opened_as_one_without_more_work(music: Path, cache: Path, order: tuple[int, ...]) -> None:
    parts = [prepare_shard(music, cache, number) for number in order]
    assert sum(len(part.entries) for part in parts) == 10
    for path in music.rglob("*.wav"):
        garble(path)  # a store that is complete does not look into them
    know_as_they_are(cache)
    before = snapshot(cache)
    catalog, store = open_store(music, cache)
    assert snapshot(cache) == before
    assert not (store.folder / "features.npy").exists()
    assert len(catalog) == 10
    for path in sorted(music.rglob("*.wav")):
        write_song(path, int(path.stem), 0.3 + 0.1 * int(path.stem))
        track_id = f"{path.parts[-3]}/1/{path.stem}"
        assert np.array_equal(store.track(track_id), FEATURES(decode(path, 16000)).astype(np.float16))


def test_clips_of_shards_are_those_of_one_store(music: Path, cache: Path, tmp_path: Path) -> None:
    for number in range(SHARDS):
        prepare_shard(music, cache, number)
    batches = []
    for folder in (cache, tmp_path / "one"):
        catalog, store = open_store(music, folder)
        data = ClipData({"test": catalog}, store, catalog.artists, ClipSpec(name="x", seconds=1, frames=7), 4)
        batches.append(list(data.test_dataloader()))
    assert len(batches[0]) == len(batches[1]) > 5
    for sharded, plain in zip(*batches, strict=True):
        assert all(np.array_equal(sharded[key], plain[key]) for key in ("features", "label", "clip", "song"))


def test_only_what_the_shards_lack_is_made(music: Path, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    there = set(prepare_shard(music, cache, 1).entries)
    assert 0 < len(there) < 10
    with caplog.at_level(logging.INFO):
        _, store = open_store(music, cache)
    assert f"decoding {10 - len(there)} tracks" in caplog.text
    assert len(store.entries) == 10
    before = snapshot(cache)
    for number in range(SHARDS):
        prepare_shard(music, cache, number)
    assert {path: stat for path, stat in snapshot(cache).items() if path in before} == before
    assert len(index_files(cache)) == len(set(index_files(cache))) == 10
    assert contents(store) == contents(open_store(music, cache.parent / "one")[1])


def test_another_number_of_shards_finds_what_is_there(music: Path, cache: Path) -> None:
    for number in range(SHARDS):
        prepare_shard(music, cache, number)
    for number in range(5):
        prepare_shard(music, cache, number, of=5)
    assert len(index_files(cache)) == 10


def test_a_shard_without_tracks(music: Path, cache: Path) -> None:
    empty = next(number for number in range(64) if not len(Shard(number, 64).select(catalog_of(music))))
    store = prepare_shard(music, cache, empty, of=64)
    assert store.entries == {}
    assert store.array.shape == (0, 128)
    assert not store.folder.exists()


def test_equal_files_in_two_shards_are_decoded_once(music: Path, cache: Path) -> None:
    first = prepare_shard(music, cache, 0)
    known = next(iter(first.entries))
    catalog = catalog_of(music)
    original = next(track.path for track in catalog if track.track_id == known)
    for number in range(20, 40):
        shutil.copy(original, music / "A" / "1" / f"{number}.wav")
    for number in (1, 2):
        prepare_shard(music, cache, number)
    copies = [entry for entry in open_store(music, cache)[1].entries.values() if int(Path(entry.path).stem) >= 20]
    assert len({entry.start for entry in copies}) == 1
    total = sum(np.load(path).shape[0] for path in cache.rglob("features.npy"))
    assert total == sum(1 + int((0.3 + 0.1 * number) * 16000) // 512 for number in range(10))


def test_what_was_moved_is_not_decoded_again(music: Path, cache: Path) -> None:
    for number in range(SHARDS):
        prepare_shard(music, cache, number)
    before = contents(open_store(music, cache)[1])
    (music / "A").rename(music / "C")
    sizes = [path.stat().st_size for path in sorted(cache.rglob("features.npy"))]
    _, store = open_store(music, cache)
    assert [path.stat().st_size for path in sorted(cache.rglob("shards/*/features.npy"))] == sizes
    assert contents(store) == {name.replace("A/", "C/"): rows for name, rows in before.items()}


def test_files_that_cannot_be_decoded(music: Path, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    (music / "A" / "1" / "0.wav").write_text("no music")
    stores = [prepare_shard(music, cache, number, on_error="skip") for number in range(SHARDS)]
    assert sum(len(store.entries) for store in stores) == 9
    lists = list(cache.rglob("failed.csv"))
    assert len(lists) == 1
    caplog.clear()
    open_store(music, cache, "skip")
    assert f"1 of 10 tracks cannot be decoded, see {lists[0]}" in caplog.text
    alone = Shard(
        next(n for n in range(500) if [t.title for t in Shard(n, 500).select(catalog_of(music))] == ["0"]), 500
    )
    assert not prepare_shard(music, cache, alone.number, of=500, on_error="skip").entries  # no failure of its job


def test_a_file_repaired_for_one_shard_counts_for_all(music: Path, cache: Path) -> None:
    """A decoder that was installed later makes what an earlier run in another shard had to leave out."""
    path = music / "A" / "1" / "0.wav"
    path.write_text("no music")
    open_store(music, cache, "skip")
    stat = path.stat()
    write_song(path, 0)
    made = prepare_shard(music, cache.parent / "made", 0, of=1)
    (line,) = (line for line in next(made.folder.rglob("index.jsonl")).read_text().splitlines() if '/0.wav"' in line)
    path.write_text("no music")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    entry = json.loads(line) | {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "ctime_ns": path.stat().st_ctime_ns}
    (source,) = made.folder.glob("shards/*")
    target = next(cache.iterdir()) / "shards" / "0-of-1"
    shutil.copytree(source, target)
    (target / "index.jsonl").write_text(json.dumps(entry) + "\n")
    assert "A/1/0" in open_store(music, cache, "skip")[1].entries


# --- checksums ---


def damage(store: Store, track_id: str) -> None:
    """Flip one bit of a track's features on disk."""
    rows = store.track(track_id)
    stored = rows.tobytes()
    for path in store.folder.rglob("features.npy"):
        data = bytearray(path.read_bytes())
        if (place := data.find(stored)) >= 0:
            data[place + len(stored) // 2] ^= 1
            path.write_bytes(data)


@pytest.mark.parametrize("n_shards", [0, SHARDS])
def test_damage_is_found_by_its_song(music: Path, cache: Path, n_shards: int) -> None:
    for number in range(n_shards):
        prepare_shard(music, cache, number)
    shutil.copy(song(music.parent / "music", 2), music / "B" / "1" / "copy.wav")
    _, store = open_store(music, cache)
    good = contents(store)
    assert store.damaged() == []
    for track_id in ("A/1/2", "B/1/9"):
        damage(store, track_id)
    _, store = open_store(music, cache)
    damaged = store.damaged()
    assert sorted(damaged) == ["A/1/2", "B/1/9", "B/1/copy"]
    for path in music.rglob("*.wav"):
        if path.stem not in ("2", "9", "copy"):
            garble(path)  # only the damaged songs are decoded
    know_as_they_are(cache)
    store.forget(damaged)
    _, store = open_store(music, cache)
    assert store.damaged() == []
    assert contents(store) == good


def test_the_checksum_is_that_of_the_stored_bytes(music: Path, cache: Path) -> None:
    _, store = open_store(music, cache)
    for track_id, entry in store.entries.items():
        assert entry.crc32 == zlib.crc32(store.track(track_id).tobytes())
