"""Names that a terminal would obey, through every verb that shows names: none of it reaches a terminal or a log raw."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from artistid.printing import printable, shown
from tests.corpus import make_song, write_audio
from tests.verbs import run_verb, train

ARTISTS = ("\x1b[31mred\x1b]0;owned\x07", "two\nlines\r\x08back", "\x9b2Jc1\u202eidib\u2066")
ALBUMS = ("first\x1b[2J\x7f[bold] :cow:", "second\u2028\u200f\x85", "third\udcff\x1bP")
TITLE = "so\x1b[8mng\a\t.wav"
OBEYED = {"Cc", "Cs", "Zl", "Zp"}


def obeyed(text: str) -> set[str]:
    """What of a text a terminal would not simply show."""
    bidi = {"\u061c", *map(chr, (*range(0x200E, 0x2010), *range(0x202A, 0x202F), *range(0x2066, 0x206A)))}
    found = {letter for letter in text if unicodedata.category(letter) in OBEYED} | (set(text) & bidi)
    return found - {"\n", "\t"}


@pytest.mark.parametrize(
    "code", [*range(0x20), *range(0x7F, 0xA0), 0x61C, 0x200E, 0x202E, 0x2028, 0x2066, 0xD800, 0xDCFF]
)
def test_each_command_is_replaced(code: int) -> None:
    name = f"é{chr(code)}b"
    assert not obeyed(printable(name))
    assert "\n" not in printable(name)
    assert not obeyed(shown(name))
    assert printable(name) == "é\ufffdb"


def test_writing_of_all_kinds_is_left_as_it_is() -> None:
    for name in ("Sigur Rós", "坂本 龍一", "אביב גפן", "فيروز", "👩‍🎤", "می‌خواهم"):
        assert printable(name) == shown(name) == name


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("library")
    for number, artist in enumerate(ARTISTS, start=1):
        for place, album in enumerate(ALBUMS):
            written = root / artist / f"{place}.wav"
            (root / artist / album).mkdir(parents=True)
            write_audio(written, make_song(number, np.random.default_rng([number, place]), 3))
            written.rename(root / artist / album / TITLE)  # soundfile takes no name that is not text
    (root / ARTISTS[0] / "broken\x1b[5m.mp3").write_text("no audio\n" * 100)
    return root


@pytest.fixture(scope="module")
def run(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(library, folder, "split=album", "on_error=skip", "data.albums_only=true")
    return folder


Told = Callable[..., str]


@pytest.fixture
def told(capfd: pytest.CaptureFixture[str]) -> Told:
    """Runs a verb; what it told, once that was seen to be harmless."""

    def tell(verb: str, *settings: str) -> str:
        capfd.readouterr()
        with suppress(SystemExit):
            run_verb(verb, *settings)
        out, err = capfd.readouterr()
        assert not obeyed(out + err)
        assert "Traceback" not in err
        return out + err

    return tell


class TestNamesReachNoTerminal:
    def test_of_prepare_and_train(self, library: Path, tmp_path: Path, told: Told) -> None:
        data = ("data=folder", f"data.root={library}", "workers=0", f"cache_dir={tmp_path}")
        assert "broken\ufffd[5m.mp3" in told("prepare", *data)  # which ends it
        assert "9 songs by 3 artists" in told("prepare", *data, "on_error=skip")
        assert "broken\ufffd[5m" in told("prepare", *data, "on_error=skip", "data.albums_only=true")
        assert "data.min_albums=9" in told("train", *data, f"run_dir={tmp_path / 'run'}", "data.min_albums=9")

    def test_of_a_run(self, run: Path, told: Told) -> None:
        assert not obeyed((run / "run.log").read_text(encoding="utf-8"))
        checkpoint = f"checkpoint={run / 'checkpoints' / 'best.ckpt'}"
        assert "weighted F1" in told("evaluate", checkpoint, "workers=0", "on_error=skip", "overwrite=true")

    @pytest.mark.slow
    def test_of_a_report(self, run: Path) -> None:
        command = [sys.executable, "-m", "artistid.report", f"runs={run}", f"out={run / 'report'}"]
        ended = subprocess.run(command, capture_output=True, text=True, check=True)  # where warnings are printed, too
        assert "1 run, 0 folders left out" in ended.stdout
        assert "pruned" not in ended.stdout  # as says what subsets the fonts of a PDF
        assert "Glyph" in ended.stderr  # that names are drawn with, and fonts lack
        assert not obeyed(ended.stdout + ended.stderr)

    def test_of_answers(self, run: Path, library: Path, tmp_path: Path, told: Told) -> None:
        checkpoint = f"checkpoint={run / 'checkpoints' / 'best.ckpt'}"
        answer = told("predict", checkpoint, f"audio={library}", "device=cpu")
        assert "so\ufffd[8mng" in answer
        assert "\ufffd[31mred\ufffd]0;owned\ufffd" in answer
        assert "broken\ufffd[5m.mp3" in answer
        collection = tmp_path / "songs\x1b[1m.parquet"
        assert "songs\ufffd[1m" in told("embed", checkpoint, f"audio={library}", f"out={collection}", "device=cpu")
        song = library / ARTISTS[0] / ALBUMS[0] / TITLE
        for view in ("songs", "matches", "retrieval"):
            told("similar", checkpoint, f"collection={collection}", f"audio={song}", f"view={view}", "device=cpu")
        told("similar", checkpoint, f"collection={collection}", "track=so\x1b[8m", "device=cpu")

    @pytest.mark.slow
    def test_of_a_diagnosis(self, library: Path, tmp_path: Path, told: Told) -> None:
        store = tmp_path / "\x1b[31m[/b]"
        store.mkdir(parents=True)
        (store / "settings.json").touch()
        found = told("doctor", "data=folder", f"data.root={library}", f"cache_dir={tmp_path}")
        assert "\ufffd[31m[/b]" in found  # whose brackets are not markup


@pytest.mark.parametrize("format_", ["json", "jsonl", "csv"])
def test_other_programs_get_names_as_they_are(
    run: Path, library: Path, capfdbinary: pytest.CaptureFixture[bytes], format_: str
) -> None:
    song = library / ARTISTS[0] / ALBUMS[0] / TITLE
    checkpoint = f"checkpoint={run / 'checkpoints' / 'best.ckpt'}"
    run_verb("predict", checkpoint, f"audio={song}", f"format={format_}", "device=cpu")
    out = os.fsdecode(capfdbinary.readouterr().out)
    if format_ == "csv":
        rows = list(csv.DictReader(io.StringIO(out, newline="")))
        assert {row["name"] for row in rows} == {str(song)}
        assert {row["top.artist"] for row in rows} == set(ARTISTS)
    else:
        answer = json.loads(out)
        answer = answer[0] if format_ == "json" else answer
        assert answer["name"] == str(song)
        assert {each["artist"] for each in answer["top"]} == set(ARTISTS)
        assert not obeyed(out)
        assert re.fullmatch(r"[\x20-\x7e\n]*", out)
