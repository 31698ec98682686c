from __future__ import annotations

import csv
import hashlib
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from artistid.data.audio import DecodingError, decode
from artistid.data.catalog import Catalog
from artistid.data.features import LogMel
from artistid.data.song import Limits
from artistid.data.sources.folder import Folder
from artistid.data.store import WINDOW, Store, _make_all, fill_store
from artistid.errors import ArtistidError
from tests.corpus import write_audio
from tests.data.deadly import BAD_SECONDS, Deadly

RATE = 16000  # of the features, so that nothing is resampled
FEATURES = LogMel()


def write_song(path: Path, seed: int, seconds: float = 0.5) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).uniform(-0.5, 0.5, round(seconds * RATE))
    write_audio(path, noise.astype(np.float32), RATE)
    return path


def catalog_of(root: Path) -> Catalog:
    return Folder(name="music", root=root).catalog()


def open_store(root: Path, cache: Path, on_error: str = "raise", features: LogMel = FEATURES) -> tuple[Catalog, Store]:
    return fill_store(catalog_of(root), features, cache, workers=0, on_error=on_error)


def contents(store: Store) -> dict[str, bytes]:
    return {track_id: store.track(track_id).tobytes() for track_id in store.entries}


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of all that lies below a folder, and of the folders themselves."""
    stats = {str(path): path.stat() for path in [folder, *folder.rglob("*")]}
    return {path: (stat.st_size, stat.st_mtime_ns) for path, stat in stats.items()}


def garble(path: Path) -> None:
    """Make a file undecodable without a trace in its size and time of change, but for the file system's own."""
    stat = path.stat()
    path.write_bytes(b"x" * stat.st_size)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def know_as_they_are(cache: Path) -> None:
    """Let stores take their files for unchanged, whatever the file system says of when they were changed."""
    for index in cache.rglob("index.jsonl"):
        entries = [json.loads(line) for line in index.read_bytes().splitlines()]
        for entry in entries:
            entry["ctime_ns"] = Path(entry["path"]).stat().st_ctime_ns
        index.write_text("".join(json.dumps(entry) + "\n" for entry in entries))


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """Six songs of different lengths."""
    for number in range(6):
        write_song(tmp_path / "music" / "A" / "1" / f"{number}.wav", number, 0.3 + 0.1 * number)
    return tmp_path / "music"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def song(root: Path, number: int) -> Path:
    return root / "A" / "1" / f"{number}.wav"


def test_it_holds_every_tracks_log_mel(music: Path, cache: Path) -> None:
    catalog, store = open_store(music, cache)
    assert [track.track_id for track in catalog] == [f"A/1/{number}" for number in range(6)]
    for track in catalog:
        samples = decode(track.path, RATE)
        log_mel = FEATURES(samples)
        assert np.array_equal(store.track(track.track_id), log_mel.astype(np.float16))
        assert track.duration_s == pytest.approx(len(samples) / RATE)
        assert store.entries[track.track_id].pad_value == log_mel.min()
    assert len({track.sha1 for track in catalog}) == 6
    assert isinstance(store.array, np.memmap)
    assert np.shares_memory(store.track("A/1/3"), store.array)


def test_other_programs_can_read_it(music: Path, cache: Path) -> None:
    _, store = open_store(music, cache)
    assert np.array_equal(np.load(store.folder / "features.npy"), store.array)
    settings = json.loads((store.folder / "settings.json").read_text())
    assert LogMel(**settings["features"]) == FEATURES


def test_a_warm_start_decodes_and_writes_nothing(music: Path, cache: Path) -> None:
    cold_catalog, cold = open_store(music, cache)
    for track in cold_catalog:
        garble(track.path)
    know_as_they_are(cache)
    before = snapshot(cache)
    catalog, warm = open_store(music, cache)
    assert snapshot(cache) == before
    assert catalog == cold_catalog
    assert contents(warm) == contents(cold)


def test_a_part_of_the_tracks_has_the_same_store(music: Path, cache: Path) -> None:
    _, whole = open_store(music, cache)
    few = catalog_of(music).select(exclude=["A/1/0", "A/1/4"])
    catalog, store = fill_store(few, FEATURES, cache, workers=0)
    assert store.folder == whole.folder
    assert {track.track_id for track in catalog} == set(store.entries) == {"A/1/1", "A/1/2", "A/1/3", "A/1/5"}
    assert contents(store).items() <= contents(whole).items()


def garble_known(store: Store, path: Path) -> None:
    """Make a file undecodable, and the store believe that its features are those of what is in it now."""
    known, garbled = hashlib.sha1(path.read_bytes()).hexdigest(), hashlib.sha1(b"x" * path.stat().st_size).hexdigest()
    garble(path)
    index = store.folder / "index.jsonl"
    assert known in index.read_text()
    index.write_text(index.read_text().replace(known, garbled))


def test_what_was_touched_is_read_but_not_decoded(music: Path, cache: Path) -> None:
    _, store = open_store(music, cache)
    before = contents(store)
    garble_known(store, song(music, 2))
    os.utime(song(music, 2), ns=(1, 1))
    size = (store.folder / "features.npy").stat().st_size
    _, touched = open_store(music, cache)
    assert contents(touched) == before
    assert (store.folder / "features.npy").stat().st_size == size
    assert touched.entries["A/1/2"].mtime_ns == 1


def test_what_was_changed_under_its_old_date_is_noticed(music: Path, cache: Path) -> None:
    _, old = open_store(music, cache)
    before = contents(old)
    path, stat = song(music, 2), song(music, 2).stat()
    write_song(path, seed=99, seconds=0.5)  # as long as before
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert path.stat().st_size == stat.st_size
    _, store = open_store(music, cache)
    after = contents(store)
    assert np.array_equal(store.track("A/1/2"), FEATURES(decode(path, RATE)).astype(np.float16))
    assert after.pop("A/1/2") != before.pop("A/1/2")
    assert after == before


def test_an_index_of_before_the_file_systems_time_was_kept(music: Path, cache: Path) -> None:
    _, store = open_store(music, cache)
    before = contents(store)
    index = store.folder / "index.jsonl"
    entries = [json.loads(line) for line in index.read_bytes().splitlines()]
    index.write_text("".join(json.dumps({k: e[k] for k in e if k != "ctime_ns"}) + "\n" for e in entries))
    written = snapshot(cache)
    assert contents(open_store(music, cache)[1]) == before
    assert snapshot(cache) == written, "all are known"
    with index.open("a") as file:  # a newer line counts, and the older one of the file no more
        file.write(json.dumps({**entries[2], "start": 0, "frames": 0, "ctime_ns": 5}) + "\n")
    lines = index.read_bytes().count(b"\n")
    assert contents(open_store(music, cache)[1]) == before
    assert index.read_bytes().count(b"\n") == lines + 1, "it was read again"


def test_what_was_moved_is_not_decoded(music: Path, cache: Path) -> None:
    catalog, store = open_store(music, cache)
    garble_known(store, song(music, 2))
    (music / "A").rename(music / "B")
    music.rename(music.parent / "moved")
    moved_catalog, moved = open_store(music.parent / "moved", cache)
    assert list(moved.entries) == [f"B/1/{number}" for number in range(6)]
    assert list(contents(moved).values()) == list(contents(store).values())
    assert [track.sha1 for track in moved_catalog] == [track.sha1 for track in catalog]


def test_what_was_changed_alone_is_redone(music: Path, cache: Path) -> None:
    old_catalog, old = open_store(music, cache)
    before = contents(old)
    write_song(song(music, 2), seed=99, seconds=0.9)
    os.utime(song(music, 2), ns=(1, 1))
    catalog, store = open_store(music, cache)
    changed = store.entries["A/1/2"]
    assert (changed.start, changed.frames) == (len(old.array), 1 + int(0.9 * RATE) // 512)
    assert len(store.array) == len(old.array) + changed.frames
    assert np.array_equal(store.track("A/1/2"), FEATURES(decode(song(music, 2), RATE)).astype(np.float16))
    after = contents(store)
    assert after.pop("A/1/2") != before.pop("A/1/2")
    assert after == before
    assert {a.track_id for a, b in zip(catalog, old_catalog, strict=True) if a.sha1 != b.sha1} == {"A/1/2"}


def test_a_new_file_is_added(music: Path, cache: Path) -> None:
    _, old = open_store(music, cache)
    write_song(music / "A" / "0" / "new.wav", 50)
    _, store = open_store(music, cache)
    assert contents(old).items() < contents(store).items()
    assert store.entries["A/0/new"].start == len(old.array)


def test_each_setting_has_its_own_store(music: Path, cache: Path) -> None:
    folders = {
        open_store(music, cache, features=features)[1].folder
        for features in (FEATURES, LogMel(mel_scale="htk"), LogMel(top_db=60), LogMel(pad_mode="reflect"), LogMel())
    }
    assert len(folders) == 4
    _, narrow = open_store(music, cache, features=LogMel(n_mels=40))
    assert narrow.track("A/1/0").shape == (1 + int(0.3 * RATE) // 512, 40)


def test_equal_files_share_their_frames(music: Path, cache: Path) -> None:
    shutil.copy(song(music, 1), song(music, 7))
    _, store = open_store(music, cache)
    shutil.copy(song(music, 2), song(music, 8))
    catalog, store = open_store(music, cache)
    for one, other in ((1, 7), (2, 8)):
        entries = [store.entries[f"A/1/{number}"] for number in (one, other)]
        assert entries[0].start == entries[1].start
        assert entries[0].audio_sha1 == entries[1].audio_sha1
        assert np.array_equal(store.track(f"A/1/{other}"), FEATURES(decode(song(music, one), RATE)).astype(np.float16))
    assert len(store.array) == sum(store.entries[f"A/1/{number}"].frames for number in range(6))
    assert len({track.sha1 for track in catalog}) == 6


@pytest.mark.skipif(sys.platform != "linux", reason="only there may a file name be any bytes")
def test_a_name_that_is_no_unicode(music: Path, cache: Path) -> None:
    write_song(music / "x.wav", 50).rename(music / "A" / "1" / os.fsdecode(b"caf\xe9.wav"))
    first, store = open_store(music, cache)
    assert "A/1/caf\ufffd" in store.entries
    assert open_store(music, cache)[0] == first


# --- files that can't be decoded ---


@pytest.mark.parametrize("name", ["A/1/0.wav", "A/1/9.mp3"])
def test_a_file_that_cannot_be_decoded_stops(music: Path, cache: Path, name: str) -> None:
    (music / name).write_text("no music")
    with pytest.raises(DecodingError, match=rf"{name}: cannot be decoded[\s\S]*on_error=skip"):
        open_store(music, cache)


def failed(store: Store) -> list[str]:
    with (store.folder / "failed.csv").open(encoding="utf-8") as file:
        return [Path(row["path"]).name for row in csv.DictReader(file) if row["error"]]


def test_skipped_files_are_listed(music: Path, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    (music / "A" / "1" / "9.mp3").touch()
    song(music, 3).write_text("no music")
    catalog, store = open_store(music, cache, "skip")
    assert [track.title for track in catalog] == ["0", "1", "2", "4", "5"]
    assert failed(store) == ["3.wav", "9.mp3"]
    assert "2 of 7 tracks cannot be decoded" in caplog.text
    before = snapshot(cache)
    assert contents(open_store(music, cache, "skip")[1]) == contents(store)
    assert snapshot(cache) == before  # a store in a read-only folder can be read
    with pytest.raises(DecodingError, match=r"3\.wav"):
        open_store(music, cache, "raise")
    write_song(song(music, 3), 50)
    catalog, store = open_store(music, cache, "skip")
    assert "A/1/3" in store.entries
    assert failed(store) == ["9.mp3"]


def test_a_file_that_vanishes_is_named(music: Path, cache: Path) -> None:
    catalog = catalog_of(music)
    song(music, 2).unlink()
    with pytest.raises(DecodingError, match=r"2\.wav: cannot be read"):
        fill_store(catalog, FEATURES, cache, workers=0)
    assert len(fill_store(catalog, FEATURES, cache, workers=0, on_error="skip")[0]) == 5


def test_nothing_that_can_be_decoded_is_an_error(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "music" / "A" / "1").mkdir(parents=True)
    song(tmp_path / "music", 0).write_text("no music")
    with pytest.raises(ArtistidError, match=r"1 of 1 track cannot be decoded, see .*failed\.csv"):
        open_store(tmp_path / "music", cache, "skip")


def test_what_is_odd_is_listed_each_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, RATE).astype(np.float32)
    for name, level in (("fine", 1), ("large", 32768)):
        path = write_song(tmp_path / "music" / name / "album" / "song.wav", 0)
        write_audio(path, level * noise, RATE, subtype="FLOAT")
    for _ in range(2):  # of the second, nothing is decoded
        caplog.clear()
        open_store(tmp_path / "music", tmp_path / "cache")
        assert [record.message for record in caplog.records if record.message.startswith("warning: decoded")] == [
            f"warning: decoded, but suspicious: 1 of 2 songs: {tmp_path}/music/large/album/song.wav "
            "(its samples reach 1.64e+04, not 1, as if on another scale: the features are shifted)"
        ]


@pytest.mark.parametrize(("argument", "value"), [("on_error", "ignore"), ("workers", -1)])
def test_a_bad_argument(music: Path, cache: Path, argument: str, value: object) -> None:
    with pytest.raises(ArtistidError, match=f"{argument}="):
        fill_store(catalog_of(music), FEATURES, cache, **{argument: value})  # type: ignore[arg-type]


# --- a store that is damaged, or cannot be written ---


def cut_off(path: Path, n_bytes: int) -> None:
    path.write_bytes(path.read_bytes()[:-n_bytes])


def replace_line(path: Path, number: int, line: bytes) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    lines[number] = line
    path.write_bytes(b"".join(lines))


@pytest.mark.parametrize(
    "change",
    [
        {"path": 3},
        {"path": None},
        {"size": "1"},
        {"mtime_ns": 1.5},
        {"ctime_ns": "now"},
        {"file_sha1": ["x"]},
        {"audio_sha1": {}},
        {"start": -1},
        {"start": 10**30},
        {"start": "0"},
        {"start": True},
        {"frames": -5},
        {"frames": 10**12},
        {"frames": 2.5},
        {"crc32": None},
        {"duration_s": "long"},
        {"duration_s": float("nan")},
        {"duration_s": -1.0},
        {"pad_value": float("inf")},
        {"pad_value": None},
        {"error": 1},
    ],
    ids=str,
)
def test_a_line_of_the_index_that_says_what_cannot_be(music: Path, cache: Path, change: dict[str, object]) -> None:
    _, store = open_store(music, cache)
    good, index = contents(store), store.folder / "index.jsonl"
    entry = json.loads(index.read_bytes().splitlines()[1])
    replace_line(index, 1, json.dumps({**entry, **change}).encode() + b"\n")
    assert contents(open_store(music, cache)[1]) == good


def test_a_line_of_the_index_that_is_too_deep(music: Path, cache: Path) -> None:
    _, store = open_store(music, cache)
    good = contents(store)
    replace_line(store.folder / "index.jsonl", 0, b'{"path": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n")
    assert contents(open_store(music, cache)[1]) == good


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: cut_off(folder / "index.jsonl", 1),
        lambda folder: cut_off(folder / "index.jsonl", 40),
        lambda folder: replace_line(folder / "index.jsonl", 2, bytes(60) + b"\n"),
        lambda folder: replace_line(folder / "index.jsonl", 2, b'{"other": 1}\n'),
        lambda folder: replace_line(folder / "index.jsonl", 2, b"[1]\n"),
        lambda folder: cut_off(folder / "features.npy", 1),
        lambda folder: cut_off(folder / "features.npy", 20_000),
        lambda folder: (folder / "features.npy").unlink(),
        lambda folder: (folder / "features.npy").write_bytes(b""),
        lambda folder: (folder / "index.jsonl").unlink(),
        lambda folder: (folder / "settings.json").unlink(),
    ],
)
def test_a_damaged_store_is_completed(music: Path, cache: Path, damage: Callable[[Path], None]) -> None:
    _, store = open_store(music, cache)
    good = contents(store)
    damage(store.folder)
    assert contents(open_store(music, cache)[1]) == good
    before = snapshot(cache)
    assert contents(open_store(music, cache)[1]) == good
    assert snapshot(cache) == before


def test_a_prepare_that_ends_at_any_moment_is_continued(music: Path, cache: Path, tmp_path: Path) -> None:
    """All that a killed run can leave: some lines of the index, perhaps one torn, and at least their frames."""
    _, store = open_store(music, cache)
    index, array = ((store.folder / name).read_bytes() for name in ("index.jsonl", "features.npy"))
    lines = index.splitlines(keepends=True)
    header_bytes = len(array) - store.array.nbytes
    draw = random.Random(0)
    for finished in range(len(lines)):
        frames = [json.loads(line)["start"] + json.loads(line)["frames"] for line in lines[: finished + 1]]
        enough = header_bytes + 256 * ([0, *frames][finished])
        index_bytes = sum(map(len, lines[:finished]))
        torn_index = index[: index_bytes + draw.randrange(len(lines[finished]))]
        torn_array = array[: draw.randint(enough, header_bytes + 256 * frames[finished])]
        folder = tmp_path / f"killed {finished}" / store.folder.name
        folder.mkdir(parents=True)
        (folder / "index.jsonl").write_bytes(torn_index)
        (folder / "features.npy").write_bytes(torn_array)
        assert contents(open_store(music, folder.parent)[1]) == contents(store)
        assert (folder / "features.npy").read_bytes() == array
        assert (folder / "index.jsonl").read_bytes() == index


@contextmanager
def full_disk(n_bytes: int) -> Iterator[None]:
    """Files cannot grow beyond ``n_bytes``."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("n_bytes", [0, 50, 200, 1000, 9000])
def test_a_full_disk_loses_nothing(music: Path, cache: Path, n_bytes: int) -> None:
    with (
        full_disk(n_bytes),
        pytest.raises(ArtistidError, match=r"logmel-slaney.*cache_dir.*cannot be .*written") as error,
    ):
        open_store(music, cache)
    assert str(cache) in str(error.value)
    (folder,) = cache.iterdir()
    index = folder / "index.jsonl"
    lines = index.read_bytes().splitlines(keepends=True) if index.exists() else []
    finished = [line for line in lines if line.endswith(b"\n")]
    assert bool(finished) == (n_bytes == 9000)
    _, store = open_store(music, cache)
    assert index.read_bytes().startswith(b"".join(finished))
    assert contents(store) == contents(open_store(music, cache.parent / "other")[1])


def test_a_cache_that_cannot_be_made(music: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for cache in (tmp_path / "file", tmp_path / "file" / "cache"):
        with pytest.raises(ArtistidError, match=rf"{cache}.*\(cache_dir\) cannot be read or written"):
            open_store(music, cache)


def test_memory_stays_at_some_songs(tmp_path: Path, cache: Path) -> None:
    """Of features, here: samples are in the processes that decode."""
    peaks = []
    for n_songs in (WINDOW, 4 * WINDOW):
        for number in range(n_songs):
            write_song(tmp_path / str(n_songs) / "A" / "1" / f"{number}.wav", 100 * n_songs + number, 20.0)
        catalog = catalog_of(tmp_path / str(n_songs))
        tracemalloc.start()
        fill_store(catalog, FEATURES, cache / str(n_songs), workers=0)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    song_bytes = 20 * RATE // FEATURES.hop_length * FEATURES.width * 2
    assert peaks[0] > song_bytes
    assert peaks[1] < peaks[0] + (WINDOW + 1) * song_bytes


# --- several processes ---

PREPARE = """
import logging
import sys
from pathlib import Path
from artistid.data.features import LogMel
from artistid.data.sources.folder import Folder
from artistid.data.store import fill_store
if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    root, cache, workers = sys.argv[1:]
    fill_store(Folder(name="music", root=root).catalog(), LogMel(), Path(cache), int(workers))
"""


def start_prepare(script: Path, root: Path, cache: Path, workers: int, log: Path) -> subprocess.Popen[bytes]:
    script.write_text(PREPARE)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with log.open("wb") as file:
        return subprocess.Popen([sys.executable, script, root, cache, str(workers)], env=environment, stderr=file)


def index_lines(cache: Path) -> list[bytes]:
    return [line for path in cache.rglob("index.jsonl") for line in path.read_bytes().splitlines()]


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def test_two_processes_at_once_do_the_work_once(music: Path, cache: Path, tmp_path: Path) -> None:
    _, alone = open_store(music, tmp_path / "other")
    folder = cache / alone.folder.name
    folder.mkdir(parents=True)
    logs = [tmp_path / "0.log", tmp_path / "1.log"]
    with FileLock(folder / ".lock"):  # both look for what is there before either can write
        running = [start_prepare(tmp_path / "prepare.py", music, cache, 0, log) for log in logs]
        wait_until(lambda: all("waiting for another process" in log.read_text() for log in logs))
    assert [process.wait(timeout=120) for process in running] == [0, 0]
    assert sorted("decoding 6 tracks" in log.read_text() for log in logs) == [False, True]
    assert len(index_lines(cache)) == 6
    assert contents(open_store(music, cache)[1]) == contents(alone)


def children(process_id: int) -> list[int]:
    """Of all its threads."""
    lists = Path(f"/proc/{process_id}/task").glob("*/children")
    return [int(child) for path in lists for child in path.read_text().split()]


def is_running(process_id: int) -> bool:
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_killed_prepare_leaves_no_process_and_is_continued(cache: Path, tmp_path: Path) -> None:
    root = tmp_path / "music"
    for number in range(50):
        write_song(root / "A" / "1" / f"{number}.wav", number, 5.0)
    process = start_prepare(tmp_path / "prepare.py", root, cache, 2, tmp_path / "log")
    wait_until(lambda: len(index_lines(cache)) >= 3)
    workers = children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = len(index_lines(cache))
    assert 3 <= finished < 50
    assert len(workers) >= 2
    wait_until(lambda: not any(map(is_running, workers)))
    _, store = open_store(root, cache)
    lines = [json.loads(line)["path"] for line in index_lines(cache)]
    assert len(lines) == len(set(lines)) == 50
    assert contents(store) == contents(open_store(root, tmp_path / "other")[1])


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("crash", r"its decoder was killed by SIGSEGV$"),
        ("exit", r"its decoder ended with exit code 3$"),
        ("hang", r"its decoder took more than 3 s$"),
        ("hoard", r"needs more memory than limits\.memory_gb=0\.5$"),
        ("raise", r"its features cannot be made \(KeyError: 'a bug'\)$"),
    ],
)
def test_a_file_that_its_decoder_dies_of_costs_that_file(
    music: Path, cache: Path, what: str, told: str, workers: int
) -> None:
    """What stands for a decoder that dies are features that do, of songs of that length."""
    bad = write_song(music / "A" / "1" / "25.wav", 9, BAD_SECONDS)
    limits = Limits(minutes=0.05 if what == "hang" else 1, memory_gb=0.5)
    features = Deadly(what=what)
    with pytest.raises(DecodingError, match=r"25\.wav: ") as error:
        fill_store(catalog_of(music), features, cache, workers, limits=limits)
    assert re.search(told, str(error.value).splitlines()[0])
    catalog, store = fill_store(catalog_of(music), features, cache, workers, "skip", limits=limits)
    assert [track.track_id for track in catalog] == [f"A/1/{number}" for number in range(6)]
    [failed] = list(csv.DictReader((store.folder / "failed.csv").open()))
    assert failed["path"] == str(bad)
    assert re.search(told, failed["error"])
    before = snapshot(cache)
    fill_store(catalog_of(music), features, cache, workers, "skip", limits=limits)
    assert snapshot(cache) == before  # it is not tried again until it changes


def test_a_death_by_another_s_fault_costs_nothing(cache: Path, tmp_path: Path) -> None:
    root = tmp_path / "music"
    for number in range(40):
        write_song(root / "A" / "1" / f"{number:02}.wav", number, 20.0)

    def kill_the_workers() -> None:
        wait_until(lambda: bool(index_lines(cache)))
        for child in children(os.getpid()):
            os.kill(child, signal.SIGKILL)

    killer = threading.Thread(target=kill_the_workers)
    killer.start()
    catalog, _ = fill_store(catalog_of(root), FEATURES, cache, workers=2)
    killer.join()
    assert len(catalog) == 40


def test_workers_do_not_run_ahead(tmp_path: Path) -> None:
    workers, n_songs = 2, 20
    paths = [write_song(tmp_path / f"{number}.wav", number) for number in range(n_songs)]
    alone = list(_make_all(paths, FEATURES, frozenset(), 0, Limits()))
    made = _make_all(paths, FEATURES, frozenset(), workers, Limits())
    first = next(made)
    time.sleep(1)  # in which they could do all
    for path in paths[WINDOW * workers :]:
        path.unlink()
    together = [first, *made]
    assert [bool(entry.error) for entry, _ in together] == [False] * WINDOW * workers + [True] * (
        n_songs - WINDOW * workers
    )
    for (entry, log_mel), (same_entry, same_log_mel) in zip(together[: WINDOW * workers], alone, strict=False):
        assert entry == same_entry
        assert np.array_equal(log_mel, same_log_mel)  # type: ignore[arg-type]
