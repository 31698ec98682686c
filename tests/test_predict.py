"""Asking for the artist of songs through the real command."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from tests.corpus import make_song, write_audio
from tests.verbs import run_verb

SCHEMA = jsonschema.Draft202012Validator(
    json.loads(files("artistid.inference").joinpath("identification.schema.json").read_text("utf-8"))
)


@pytest.fixture
def checkpoint(trained: Path) -> Path:
    return trained / "checkpoints" / "best.ckpt"


@pytest.fixture
def strict(checkpoint: Path, tmp_path: Path) -> Path:
    """The same network, of a threshold that no song reaches."""
    return changed(checkpoint, tmp_path / "strict.ckpt", {"threshold": 1.0, "accepted": 0.95, "n_songs": 6})


@pytest.fixture
def without_threshold(checkpoint: Path, tmp_path: Path) -> Path:
    """The same network, as an older version wrote it."""
    return changed(checkpoint, tmp_path / "old.ckpt", None)


def changed(checkpoint: Path, to: Path, open_set: dict[str, Any] | None) -> Path:
    content = torch.load(checkpoint, weights_only=True)
    content["artistid"]["open_set"] = open_set
    torch.save(content, to)
    return to


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """Three songs in a folder and its folder, beside what is not music."""
    root = tmp_path / "Sigur Rós"
    for number, name in enumerate(("b.mp3", "a.flac", "more [live]/c.ogg"), start=1):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_audio(root / name, make_song(number, np.random.default_rng(50 + number), 3.0))
    (root / "cover.jpg").write_bytes(b"no music")
    return root


def predict(checkpoint: Path, audio: object, *overrides: str) -> None:
    run_verb("predict", f"checkpoint={checkpoint}", f"audio={audio}", *overrides)


def answers(checkpoint: Path, audio: object, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    capsys.readouterr()
    predict(checkpoint, audio, "format=json")
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    for answer in found:
        SCHEMA.validate(answer)
    return found


def names(found: list[dict[str, Any]], root: Path) -> list[str]:
    return [Path(answer["name"]).relative_to(root).as_posix() for answer in found]


def test_a_folder_as_json(checkpoint: Path, music: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = answers(checkpoint, music, capsys)
    assert names(found, music) == ["a.flac", "b.mp3", "more [live]/c.ogg"]
    for answer in found:
        assert answer["duration_s"] == pytest.approx(3, abs=0.01)
        assert {each["artist"] for each in answer["top"]} == {"artist1", "artist2", "artist3"}
        assert sum(each["probability"] for each in answer["top"]) == pytest.approx(1, abs=1e-5)
        assert answer["artist"] in (None, answer["top"][0]["artist"])
        assert (answer["artist"] is None) == (answer["score"] < answer["threshold"])
        assert answer["timeline"][0]["start_s"] == 0


def test_json_lines_and_csv_say_the_same(strict: Path, music: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = answers(strict, music, capsys)
    predict(strict, music, "format=jsonl")
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == expected
    predict(strict, music, "format=csv")
    found = pd.read_csv(io.StringIO(capsys.readouterr().out), keep_default_na=False)
    of_song = [name for name in expected[0] if name not in ("top", "timeline")]
    from_json = pd.json_normalize(expected, "top", of_song, record_prefix="top.").fillna("")
    from_json["warnings"] = from_json["warnings"].map("; ".join)
    assert set(found) == set(from_json)
    assert len(found) == 9
    pd.testing.assert_frame_equal(found, from_json[list(found)], check_dtype=False)
    assert set(found["artist"]) == {""}, "none of them, which is null in JSON"


def test_the_schema_says_what_json_has_and_no_more(
    without_threshold: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    SCHEMA.check_schema(SCHEMA.schema)
    write_audio(tmp_path / "silence.wav", np.zeros(16000, np.float32))
    [answer] = answers(without_threshold, tmp_path / "silence.wav", capsys)
    assert (answer["artist"], answer["threshold"]) == (None, None)
    assert list(answer) == list(SCHEMA.schema["properties"]) == SCHEMA.schema["required"]
    for wrong in ({"score": 1.5}, {"artist": 3}, {"more": True}, {"top": []}):
        assert not SCHEMA.is_valid(answer | wrong)


def test_the_table_is_for_people(checkpoint: Path, music: Path, capsys: pytest.CaptureFixture[str]) -> None:
    predict(checkpoint, music / "b.mp3", "top=2")
    out, err = capsys.readouterr()
    assert f"{music}/b.mp3  0:03" in out
    assert "artist  " in out
    assert "0:00–" in out
    assert ["artist", "clips", "probability"] in map(str.split, out.splitlines())
    assert sum(bool(re.match(r" artist\d +\d+% +0\.\d{3} $", line)) for line in out.splitlines()) == 2
    assert err == ""
    predict(checkpoint, music / "b.mp3", "timeline=false")
    assert "0:00–" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("audio", "expected"),
    [
        ("{root}/a.flac", ["a.flac"]),
        ("{root}/*.mp3", ["b.mp3"]),
        ("{root}/**/*", ["a.flac", "b.mp3", "more [live]/c.ogg"]),
        ("{root}/more [live]", ["more [live]/c.ogg"]),
        ("[{root}/b.mp3,{root}/more [live],{root}/*.mp3]", ["b.mp3", "more [live]/c.ogg"]),
        ("[{root}/b.mp3, '{root}/a.flac']", ["b.mp3", "a.flac"]),
        ("~/Sigur Rós/a.flac", ["a.flac"]),
    ],
)
def test_files_folders_patterns_and_lists(
    checkpoint: Path,
    music: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    audio: str,
    expected: list[str],
) -> None:
    monkeypatch.setenv("HOME", str(music.parent))
    assert names(answers(checkpoint, audio.format(root=music), capsys), music) == expected


def test_a_song_beyond_any_scale_costs_itself(
    checkpoint: Path, music: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One click is enough for features that overflow."""
    samples = make_song(1, np.random.default_rng(50), 3.0)
    samples[100] = 1e30
    write_audio(music / "click.wav", samples, subtype="FLOAT")
    write_audio(music / "large.wav", 32768 * make_song(1, np.random.default_rng(50), 3.0), subtype="FLOAT")
    capsys.readouterr()
    with pytest.raises(SystemExit):
        predict(checkpoint, music, "format=json")
    out, err = capsys.readouterr()
    found = {Path(answer["name"]).name: answer for answer in json.loads(out)}
    assert list(found) == ["a.flac", "b.mp3", "large.wav", "c.ogg"]
    assert "click.wav: samples as large as 5e+29 are not sound: expected [-1, 1]" in err
    assert ["its samples reach" in warning for warning in found["large.wav"]["warnings"]].count(True) == 1


def test_what_a_folder_holds_beside_music_is_told_and_nothing_waited_for(
    checkpoint: Path, music: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (music / "song.mid").write_bytes(b"MThd")
    (music / "@eaDir").mkdir()
    write_audio(music / "@eaDir" / "a.flac", make_song(1, np.random.default_rng(0), 3.0))
    os.mkfifo(music / "pipe.mp3")
    capsys.readouterr()
    predict(checkpoint, music, "format=json")
    out, err = capsys.readouterr()
    assert names(json.loads(out), music) == ["a.flac", "b.mp3", "more [live]/c.ogg"]
    told = " ".join(err.split())
    assert f"left out 1 file of audio={music}, of formats that are not searched for: .mid 1" in told
    assert f"not readable files: 1: {music}/pipe.mp3 (a pipe)" in told
    assert f"folders that a system keeps for itself: 1: {music}/@eaDir" in told
    with pytest.raises(SystemExit):
        predict(checkpoint, music / "pipe.mp3")
    assert f"audio={music}/pipe.mp3 is a pipe: expected a file" in capsys.readouterr().err


def test_a_playlist(checkpoint: Path, music: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["#EXTM3U", "#EXTINF:3,Somebody - b", "b.mp3", "", r"more [live]\c.ogg", str(music / "a.flac"), "b.mp3"]
    (music / "party.m3u8").write_text("\ufeff" + "\r\n".join(lines), encoding="utf-8")
    found = answers(checkpoint, music / "party.m3u8", capsys)
    assert names(found, music) == ["b.mp3", "more [live]/c.ogg", "a.flac"]


def test_what_fails_is_told_and_the_rest_is_done(
    checkpoint: Path, music: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (music / "text.mp3").write_text("This is not music. " * 100)
    (music / "empty.mp3").touch()
    soundfile.write(music / "nan.wav", np.array([0.1, np.nan] * 8000), 16000, "FLOAT")
    (music / "film.mp4").write_bytes(b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41" + bytes(3000))
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit_:
        predict(checkpoint, music, "format=json")
    assert exit_.value.code == 1
    out, err = capsys.readouterr()
    assert names(json.loads(out), music) == ["a.flac", "b.mp3", "more [live]/c.ogg"]
    for name, message in (
        ("text.mp3", "cannot be decoded"),
        ("empty.mp3", "the file is empty"),
        ("nan.wav", "8,000 of 16,000 samples"),
        ("film.mp4", "cannot be decoded"),
    ):
        [line] = [line for line in err.splitlines() if name in line]
        assert line.startswith(f"error: {music}/{name}: ")
        assert message in line
    assert "error: 4 of 7 songs could not be answered" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "line",
    [
        "file://[",
        "file://[::1/b.mp3",
        "file://elsewhere.example/music/b.mp3",
        "file://%00",
        "file:///a%00b.mp3",
        "file:///%ff%fe%zz.mp3",
        "file:b.mp3.gone",
        "file:",
        "a\0b.mp3",
        "~nobody-of-this-name/b.mp3",
        "x" * 5000 + ".mp3",
        "x" * 5000 + "\\b.mp3",
        "\x1b[2Jgone.mp3",
    ],
    ids=lambda line: repr(line[:30]),
)
def test_a_line_of_a_playlist_that_names_no_file(
    checkpoint: Path, music: Path, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    (music / "party.m3u").write_text(f"{line}\nb.mp3\n")
    with pytest.raises(SystemExit):
        predict(checkpoint, music / "party.m3u", "format=jsonl")
    out, err = capsys.readouterr()
    assert [Path(json.loads(answer)["name"]).name for answer in out.splitlines()] == ["b.mp3"]
    assert err.count("cannot be read") == 1
    assert "error: 1 of 2 songs could not be answered" in err
    assert "Traceback" not in err


def test_uris_of_a_playlist(checkpoint: Path, music: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = music / "what? #1 100%.mp3"
    (music / "b.mp3").rename(odd)
    uris = (f"file://{music}/a.flac", f"FILE://localhost{music}/what%3F%20%231%20100%25.mp3")
    raw = f"file:{music}/what? #1 100%.mp3"  # as some players write it
    for lines, expected in ((uris, ["a.flac", odd.name]), ((raw,), [odd.name])):
        (music / "party.m3u8").write_text("\n".join(lines), encoding="utf-8")
        assert names(answers(checkpoint, music / "party.m3u8", capsys), music) == expected


def test_a_song_of_a_playlist_that_is_gone(checkpoint: Path, music: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (music / "party.m3u").write_text("gone.mp3\nb.mp3\nhttp://radio.example/stream\n")
    with pytest.raises(SystemExit):
        predict(checkpoint, music / "party.m3u", "format=jsonl")
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1
    assert f"error: {music}/gone.mp3: cannot be read" in err
    assert "error: 2 of 3 songs" in err


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux")
@pytest.mark.parametrize("form", ["table", "json", "jsonl", "csv"])
def test_names_that_are_no_utf_8(checkpoint: Path, music: Path, form: str) -> None:
    odd = os.fsencode(music) + b"/B\xf6rk.flac"
    shutil.copy(music / "a.flac", odd)
    command = [sys.executable, "-m", "artistid.predict", f"checkpoint={checkpoint}", f"format={form}"]
    done = subprocess.run([*command, b"audio=" + odd], capture_output=True, check=True)
    if form == "table":
        assert "B\ufffdrk.flac" in done.stdout.decode()
    elif form == "csv":
        assert odd in done.stdout
    else:
        [line] = [line for line in done.stdout.decode("ascii").splitlines() if "flac" in line]
        assert os.fsencode(json.loads(line)["name"]) == odd


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("audio=null",), "audio=PATH is missing"),
        (("audio=nowhere.mp3",), "audio=nowhere.mp3 does not exist"),
        (("audio=nowhere/*.mp3",), "audio=nowhere/*.mp3 matches no audio file"),
        (("checkpoint=null",), "checkpoint=PATH is missing"),
        (("checkpoint=nowhere.ckpt",), "checkpoint=nowhere.ckpt does not exist"),
        (("format=xml",), "format=xml: expected one of table, json"),
        (("top=0",), "top=0"),
        (("device=warp",), "device='warp' cannot be used here"),
    ],
)
def test_bad_settings(
    checkpoint: Path, music: Path, capsys: pytest.CaptureFixture[str], overrides: tuple[str, ...], message: str
) -> None:
    with pytest.raises(SystemExit) as exit_:
        predict(checkpoint, music, *overrides)
    assert exit_.value.code == 1
    out, err = capsys.readouterr()
    assert f"error: {message}" in err
    assert out == ""


def test_a_folder_without_music(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cover.jpg").write_bytes(b"no music")
    with pytest.raises(SystemExit):
        predict(checkpoint, tmp_path)
    assert "is a folder without audio files" in capsys.readouterr().err


def test_a_reader_that_has_had_enough(checkpoint: Path, music: Path) -> None:
    command = f"{sys.executable} -m artistid.predict checkpoint={checkpoint} audio='{music}' format=jsonl | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr
