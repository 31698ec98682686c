from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from artistid.data.features import LogMel
from artistid.data.sources.synthetic import Synthetic
from artistid.data.store import fill_store
from tests.corpus import make_corpus
from tests.verbs import QUICK, run_verb

PREPARE = ("data=folder", "workers=0", "features=logmel")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def run_prepare(root: Path, cache: Path, *overrides: str) -> None:
    run_verb("prepare", *overrides, f"data.root={root}", f"cache_dir={cache}", *PREPARE)


def index_lines(cache: Path) -> list[str]:
    return [json.loads(line)["path"] for path in cache.rglob("index.jsonl") for line in path.read_bytes().splitlines()]


def flip_a_bit(cache: Path) -> None:
    (array,) = cache.rglob("features.npy")
    data = bytearray(array.read_bytes())
    data[1000] ^= 1  # in the first song
    array.write_bytes(data)


def test_shards_one_after_the_other_and_then_training(
    corpus: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_prepare(corpus, cache, "-m", "shard=range(0,4)", "shards=4")
    assert "shard 3 of 4: " in capsys.readouterr().out
    assert len(index_lines(cache)) == len(set(index_lines(cache))) == 18
    assert len(list(cache.rglob("features.npy"))) == 4
    run_prepare(corpus, cache)
    out = capsys.readouterr().out
    assert "18 songs by 3 artists" in out
    assert "decoding" not in out
    run_verb("train", "data=folder", f"data.root={corpus}", f"cache_dir={cache}", f"run_dir={tmp_path}/run", *QUICK)
    assert (tmp_path / "run" / "scores.json").exists()
    assert len(list(cache.rglob("features.npy"))) == 4


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("shard=64", "shard=64: expected 0 to 63, since shards=64"),
        ("shard=one", "shard='one': expected a whole number"),
        ("verify=maybe", "verify=maybe: expected one of false, true, repair"),
    ],
)
def test_a_bad_setting(
    corpus: Path, cache: Path, setting: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run_prepare(corpus, cache, setting)
    assert message in capsys.readouterr().err
    assert not cache.exists()


def test_verify_names_damaged_songs_and_repair_makes_them_again(
    corpus: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_prepare(corpus, cache, "verify=true")
    assert "verified: the stored features of 18 songs are as written" in capsys.readouterr().out
    flip_a_bit(cache)
    for _ in range(2):  # to look changes nothing
        with pytest.raises(SystemExit) as ended:
            run_prepare(corpus, cache, "verify=true")
        assert ended.value.code == 1
        error = capsys.readouterr().err
        assert "1 of 18 songs" in error
        assert "damaged: " in error
        assert "\n  artist1/album1/song1\n" in error
        assert "verify=repair recomputes only these songs" in error
    run_prepare(corpus, cache, "verify=repair")
    out = capsys.readouterr().out
    assert "damaged, recomputed: 1 of 18 songs: artist1/album1/song1" in out
    assert "decoding 1 track " in out
    run_prepare(corpus, cache, "verify=true")


def test_prepare_starts_without_torch() -> None:
    """A job of a shard is short: 64 of them would wait for torch 64 times."""
    code = "import sys, artistid.prepare, artistid.prepare; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], check=False).returncode == 0


def start(cwd: Path, *overrides: str) -> subprocess.Popen[bytes]:
    """The command in a process group of its own."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "artistid.prepare", *overrides]
    with (cwd / "log").open("ab") as log:
        return subprocess.Popen(command, cwd=cwd, env=environment, stdout=log, stderr=log, start_new_session=True)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="kills a process group")
def test_64_shards_through_joblib_are_killed_and_complete(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    music = {"n_artists": 8, "n_albums": 4, "n_songs": 2, "seconds": 8}
    sweep = (
        *("-m", "shard=range(0,64)", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "workers=0"),
        *(f"data.{name}={value}" for name, value in music.items()),
        f"cache_dir={cache}",
    )
    killed_at = []
    for songs in (5, 25):
        process = start(tmp_path, *sweep)
        while len(index_lines(cache)) < songs:
            assert process.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        killed_at.append(len(index_lines(cache)))
    assert 5 <= killed_at[0] < 25 <= killed_at[1] < 64
    finished = {path: path.read_bytes() for path in cache.rglob("index.jsonl")}
    assert start(tmp_path, *sweep).wait() == 0, (tmp_path / "log").read_text()
    assert all(path.read_bytes().startswith(lines) for path, lines in finished.items())
    assert len(index_lines(cache)) == len(set(index_lines(cache))) == 64

    source = Synthetic(**music, cache_dir=cache, workers=0)  # type: ignore[arg-type]
    (folder,) = (path for path in cache.iterdir() if path.name != "synthetic")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    _, sharded = fill_store(source.catalog(), LogMel(), folder, workers=0)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before  # nothing was missing
    assert sharded.damaged() == []
    _, plain = fill_store(source.catalog(), LogMel(), tmp_path / "plain", workers=0)
    assert all(np.array_equal(sharded.track(name), plain.track(name)) for name in plain.entries)


def test_files_of_a_made_corpus_are_found_again_after_a_move(tmp_path: Path, cache: Path) -> None:
    make_corpus(tmp_path / "here" / "music", artists=1, albums=1, songs=4, seconds=1)
    run_prepare(tmp_path / "here" / "music", cache, "shard=0", "shards=2")
    made = len(index_lines(cache))
    run_prepare(tmp_path / "here" / "music", cache, "shard=1", "shards=2")
    (tmp_path / "here").rename(tmp_path / "there")
    run_prepare(tmp_path / "there" / "music", cache)
    assert 0 < made < 4
    assert len(index_lines(cache)) == 8
    assert len(list(cache.rglob("shards/*/features.npy"))) == 2
