"""The benchmark through the real command, in its tiny form: that all of it runs, not how fast this machine is."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.verbs import run_verb

TINY = ("size=tiny", "workers=0", "format=json", "data=folder")


def measured(corpus: Path, capsys: pytest.CaptureFixture[str], *overrides: str) -> dict[str, Any]:
    run_verb("benchmark", *TINY, f"data.root={corpus}", *overrides)
    told: dict[str, Any] = json.loads(capsys.readouterr().out)  # nothing else is there
    return told


def test_a_part_beside_a_peer(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = measured(corpus, capsys, "only=features", f"peers={sys.executable}")
    assert list(told) == ["machine", "features"]
    assert set(told["machine"]) == {"device", "processor", "python", "versions", "revision"}
    features = told["features"]
    low, high = features["times_real_time_range"]
    assert 0 < low <= features["times_real_time"] <= high
    assert features["rounds"] == 2
    peer = features["times_real_time_peer"]
    assert peer["name"].startswith("librosa ")
    low, high = peer["ratio_range"]
    assert 0 < low <= peer["ratio"] <= high


@pytest.mark.slow
def test_all_parts(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = measured(corpus, capsys, "only=[features,store,data,train,predict,startup,similar,variants]")
    assert list(told)[1:] == ["features", "store", "data", "train", "predict", "startup", "similar", "variants"]
    assert told["train"]["clips_per_s"] > 0
    assert told["data"]["clips_per_s_peer"]["name"] == "one fixed batch"
    assert told["predict"]["clips_per_s"] > 0
    assert told["predict"]["song_s"] > 0
    assert 0 < told["startup"]["help_s"] < told["startup"]["first_step_s"]
    assert told["startup"]["help_s"] < told["startup"]["predict_short_song_s"]
    variants = told["variants"]
    assert variants["channels_last_gradient_error"] < 1e-3
    assert variants["study_minutes"] > 0
    compared = {name for name in variants if name.endswith("_clips_per_s_peer")}
    assert {"batch_2_channels_last_clips_per_s_peer", "batch_2_as_trained_clips_on_host_clips_per_s_peer"} <= compared
    # 0.58 GFLOP forward for 94 frames, a little less than three times that with the gradients (no more than that here).
    assert 0 < variants["clip_1s_of_arithmetic_floor"] < 1.5


def test_the_table_names_parts_figures_and_spread(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_verb("benchmark", *TINY, f"data.root={corpus}", "only=store", "format=table")
    out = capsys.readouterr().out
    row = next(line for line in out.splitlines() if "clips_read_per_s" in line)
    assert "store" in row
    assert " to " in row


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("only=speed", "only=speed: expected some of features, store"),
        ("only=[train,speed,size]", "only=speed,size: expected some of features"),
        ("format=yaml", "format=yaml: expected one of table, json"),
        ("size.steps=999", "size.steps=999"),
        ("peers=/nowhere/python", "peers=/nowhere/python is not a Python that can be run"),
    ],
)
def test_bad_settings(override: str, message: str, corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    part = [] if override.startswith("only") else ["only=train" if override.startswith("size") else "only=features"]
    with pytest.raises(SystemExit) as exit_:
        run_verb("benchmark", *TINY, f"data.root={corpus}", *part, override)
    assert exit_.value.code == 1
    assert message in capsys.readouterr().err


def test_a_peer_without_its_library_says_what_is_missing(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run_verb("benchmark", *TINY, f"data.root={corpus}", "only=train", f"peers={sys.executable}")
    assert f"peers={sys.executable} does not run keras_crnn: ModuleNotFoundError" in capsys.readouterr().err
