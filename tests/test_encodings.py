"""Output in encodings that lack the letters of names: no command ends for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import artistid
from tests.corpus import make_song, write_audio
from tests.verbs import QUICK

ARTISTS = ("Мумий Тролль", "坂本 龍一", "👩‍🎤 émile")
NARROW = {
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "ascii": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"},
}


def run(folder: Path, encoding: str, verb: str, *settings: str) -> str:
    """``python -m artistid.<verb>`` in a folder; what it printed, once it has ended well."""
    environment = {**os.environ, "PYTHONPATH": str(Path(artistid.__file__).parent.parent), **NARROW[encoding]}
    command = [sys.executable, "-m", f"artistid.{verb}", *settings]
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
    told = (ended.stdout + ended.stderr).decode(encoding)
    assert ended.returncode == 0, told
    assert "Traceback" not in told
    assert "UnicodeEncodeError" not in told
    return told


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("narrow")
    for number, artist in enumerate(ARTISTS, start=1):
        for song in range(4):
            path = folder / "миру" / artist / f"альбом {song // 2}" / f"песня {song}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_audio(path, make_song(number, np.random.default_rng([number, song]), 2))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("encoding", NARROW)
def test_every_verb_that_shows_names(music: Path, encoding: str) -> None:
    data, run_dir = ("data=folder", "data.root=миру"), f"走-{encoding}"
    checkpoint = f"checkpoint={run_dir}/checkpoints/best.ckpt"
    run(music, encoding, "prepare", *data, "workers=0")
    run(music, encoding, "train", *data, *QUICK, f"run_dir={run_dir}", "split=song", "split.share=0.25")
    run(music, encoding, "train", "-m", *data, *QUICK, f"run_dir={run_dir}-${{seed}}", "split=song", "seed=0")
    run(music, encoding, "evaluate", checkpoint, "workers=0", "trainer.enable_progress_bar=false")
    assert "?" in run(music, encoding, "predict", checkpoint, "audio=миру", "device=cpu")
    run(music, encoding, "embed", checkpoint, "audio=миру", f"out=песни-{encoding}", "device=cpu")
    run(music, encoding, "similar", checkpoint, f"collection=песни-{encoding}", "audio=миру", "device=cpu")
    run(music, encoding, "report", f"runs={run_dir}", f"out=отчёт-{encoding}", "draws=10", "maps=null")
    run(music, encoding, "doctor", *data)


@pytest.mark.parametrize("verb", ["predict", "train"])
def test_help_in_ascii(verb: str, tmp_path: Path) -> None:
    assert f"artistid {verb} " in run(tmp_path, "ascii", verb, "--help")


def test_nobody_s_home(tmp_path: Path) -> None:
    """A user without a name and a home, as in a container, is told what to set; with it set, the command works."""
    who = ["unshare", "-U", "--map-user=12345"]
    if subprocess.run([*who, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no user namespaces here")
    environment = {name: value for name, value in os.environ.items() if name not in ("HOME", "USER", "LOGNAME")}
    environment["PYTHONPATH"] = str(Path(artistid.__file__).parent.parent)
    command = [*who, sys.executable, "-m", "artistid.prepare", "data=folder", "data.root=nix"]
    homeless = {name: value for name, value in environment.items() if name != "ARTISTID_CACHE"}
    ended = subprocess.run(command, cwd=tmp_path, env=homeless, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "home of a user who has none here: set HOME" in ended.stderr or (
        "data.root=nix does not exist" in ended.stderr
    )
    assert "Traceback" not in ended.stderr
