"""One file that kills its decoder, given to every verb that decodes: it costs that file and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from artistid.inference.collection import Collection
from tests.corpus import make_song, write_audio

CHECKOUT = Path(__file__).parents[1]
# An FFmpeg with a fatal flaw, for files that hold a certain word.
FLAWED = """
import os, signal, av
sound_open = av.open
def open(file, *args, **kwargs):
    if b"deadly" in file.read():
        os.kill(os.getpid(), signal.SIGSEGV)
    file.seek(0)
    return sound_open(file, *args, **kwargs)
av.open = open
"""
TOLD = "deadly.wav: cannot be decoded: its decoder was killed by SIGSEGV"


@pytest.fixture
def checkpoint(trained: Path) -> Path:
    return trained / "checkpoints" / "best.ckpt"


@pytest.fixture
def music(tmp_path: Path) -> Path:
    for artist in "AB":
        for number in range(2):
            path = tmp_path / "music" / artist / "1" / f"{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_audio(path, make_song(number, np.random.default_rng(number), 2.0))
    deadly = tmp_path / "music" / "A" / "1" / "deadly.wav"
    write_audio(deadly, make_song(1, np.random.default_rng(9), 2.0))
    deadly.write_bytes(deadly.read_bytes() + b"LIST\x06\0\0\0deadly")
    return tmp_path / "music"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "flawed").mkdir()
    (tmp_path / "flawed" / "sitecustomize.py").write_text(FLAWED)
    return {**os.environ, "PYTHONPATH": f"{tmp_path}/flawed{os.pathsep}{CHECKOUT}"}


def run(verb: str, *settings: str, environment: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"artistid.{verb}", *settings]
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, check=False)


def test_predict(checkpoint: Path, music: Path, environment: dict[str, str], tmp_path: Path) -> None:
    settings = (f"checkpoint={checkpoint}", f"audio={music}", "format=jsonl", "device=cpu")
    done = run("predict", *settings, environment=environment, cwd=tmp_path)
    assert done.returncode == 1
    answers = [Path(json.loads(line)["name"]).relative_to(music).as_posix() for line in done.stdout.splitlines()]
    assert answers == ["A/1/0.wav", "A/1/1.wav", "B/1/0.wav", "B/1/1.wav"]
    assert [line for line in done.stderr.splitlines() if TOLD in line]
    assert "1 of 5 songs could not be answered" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_embed(checkpoint: Path, music: Path, environment: dict[str, str], tmp_path: Path) -> None:
    settings = (f"checkpoint={checkpoint}", f"audio={music}", "out=songs.parquet", "device=cpu")
    done = run("embed", *settings, environment=environment, cwd=tmp_path)
    assert done.returncode == 1
    assert len(Collection.read(tmp_path / "songs.parquet")) == 4
    assert TOLD in done.stderr


@pytest.mark.parametrize("workers", [0, 2])
def test_prepare(music: Path, environment: dict[str, str], tmp_path: Path, workers: int) -> None:
    settings = ("data=folder", f"data.root={music}", f"workers={workers}", f"cache_dir={tmp_path}/cache")
    done = run("prepare", *settings, environment=environment, cwd=tmp_path)
    assert done.returncode == 1
    assert f"error: {music}/A/1/{TOLD}\n(on_error=skip leaves" in done.stderr
    done = run("prepare", *settings, "on_error=skip", environment=environment, cwd=tmp_path)
    assert done.returncode == 0
    assert "4 songs by 2 artists" in done.stdout
    [failed] = (tmp_path / "cache").rglob("failed.csv")
    assert TOLD in failed.read_text()


@pytest.fixture
def address(checkpoint: Path, environment: dict[str, str], tmp_path: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "artistid.app", f"checkpoint={checkpoint}", "port=0", "device=cpu"]
    with subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        yield next(word for word in server.stdout.readline().split() if word.startswith("http"))
        server.terminate()


@pytest.mark.slow
def test_the_page(address: str, music: Path) -> None:
    with httpx.Client(base_url=address, timeout=120) as client:
        for name, status in (("0.wav", 200), ("deadly.wav", 422), ("1.wav", 200)):
            answer = client.post("/songs", params={"name": name}, content=(music / "A" / "1" / name).read_bytes())
            assert answer.status_code == status
            if status == 422:
                message = answer.json()["error"]
                assert message == "deadly.wav: cannot be decoded: its decoder was killed by SIGSEGV."
