from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from artistid.evaluation.predictions import Predictions
from artistid.evaluation.voting import vote
from tests.reporting.made_runs import make_run
from tests.verbs import read_scores, run_verb


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    """A network's run and a baseline's of whole songs, of one split."""
    songs = make_run(tmp_path / "runs" / "songs", clip="song", model="statistics_svm", songs=12, epochs=0)
    return make_run(tmp_path / "runs" / "clips", songs=12), songs


def probability(run: Path, method: str = "majority") -> np.ndarray:
    return vote(Predictions.from_parquet(run / "predictions" / "test.parquet"), method).probability


def test_runs_are_fused_and_reported_as_a_system(runs: tuple[Path, Path], tmp_path: Path) -> None:
    fused = tmp_path / "runs" / "fused"
    run_verb("fuse", f"runs=[{runs[0]},{runs[1]}]", f"run_dir={fused}", "figures=false")
    scores = read_scores(fused)
    weights = np.array(list(scores["training"]["fused"].values()))
    evidence = np.prod([probability(run) ** weight for run, weight in zip(runs, weights, strict=True)], axis=0)
    assert probability(fused) == pytest.approx(evidence / evidence.sum(axis=1, keepdims=True), abs=1e-5)
    assert scores["condition"]["model"] == "crnn+statistics_svm"
    assert list(scores["test"]) == ["song"]
    assert scores["test"]["song"]["n"] == 48
    run_verb("report", f"runs={tmp_path / 'runs'}", f"out={tmp_path / 'report'}", "maps=null", "draws=20")
    systems = pd.read_csv(tmp_path / "report" / "tables" / "table_iii-music.csv")
    assert "crnn+statistics_svm" in set(systems["system"])
    calibration = pd.read_csv(tmp_path / "report" / "tables" / "calibration-music.csv")
    assert set(zip(calibration["system"], calibration["level"], strict=True)) == {
        ("crnn", "frame"), ("crnn", "song"), ("statistics_svm", "song"), ("crnn+statistics_svm", "song"),
    }  # fmt: skip
    of_crnn = calibration[(calibration["system"] == "crnn") & (calibration["level"] == "frame")].iloc[0]
    assert of_crnn["accuracy"] == pytest.approx(read_scores(runs[0])["test"]["frame"]["accuracy"])
    assert (tmp_path / "report" / "figures" / "music" / "reliability.png").exists()


def test_equal_weights_are_the_mean(runs: tuple[Path, Path], tmp_path: Path) -> None:
    run_verb("fuse", f"runs=[{runs[0]},{runs[1]}]", f"run_dir={tmp_path / 'x'}", "weights=equal", "figures=false")
    assert set(read_scores(tmp_path / "x")["training"]["fused"].values()) == {0.5}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["runs=null"], "runs=None: expected a list of two"),
        (["runs=[clips]"], "two run folders"),
        (["runs=[clips,nowhere]"], "runs: nowhere: not finished"),
        (["runs=[clips,other]"], "different splits"),
        (["runs=[clips,songs]", "weights=[1]"], r"weights=\[1.*2 numbers"),
        (["runs=[clips,songs]", "weights=best"], "weights=.best.: expected validation, equal"),
        (["runs=[clips,songs]", "run_dir=null"], "run_dir=PATH"),
    ],
)
def test_what_cannot_be_fused(
    runs: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    overrides: list[str],
    message: str,
) -> None:
    make_run(tmp_path / "runs" / "other", seed=1)
    monkeypatch.chdir(tmp_path / "runs")
    with pytest.raises(SystemExit):
        run_verb("fuse", f"run_dir={tmp_path / 'x'}", *overrides)
    assert re.search(message, " ".join(capsys.readouterr().err.split()))
    assert not (tmp_path / "x").exists()
