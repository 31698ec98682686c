"""The folds of a jackknife are read as one trial that has tested the tracks of them all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import pytest
from omegaconf import DictConfig, OmegaConf
from sklearn.metrics import accuracy_score, f1_score

from artistid.evaluation.predictions import Predictions
from artistid.naming import condition_of
from artistid.reporting import tables
from artistid.reporting.document import RunNumbers
from artistid.runs import read_runs
from artistid.runs.studies import Results, collect
from tests.reporting.made_runs import make_run
from tests.verbs import read_scores

SPLIT = "jackknife-drawn"


def copy_run(run: Path, to: Path, **changes: object) -> None:
    """A run once more, with some settings changed (``__`` for dots), without making it again."""
    shutil.copytree(run, to)
    config = OmegaConf.load(to / "config.yaml")
    for name, value in changes.items():
        OmegaConf.update(config, name.replace("__", "."), value)
    OmegaConf.save(config, to / "config.yaml")
    scores = read_scores(to)
    scores["condition"] = condition_of(cast(DictConfig, config))
    (to / "scores.json").write_text(json.dumps(scores), encoding="utf-8")


@pytest.fixture(scope="module")
def folds(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The runs of a jackknife of three folds."""
    root = tmp_path_factory.mktemp("folds")
    return [
        make_run(root / f"0-fold{fold}", "jackknife", fold=fold, settings={"split.n_folds": 3}, songs=2, epochs=0)
        for fold in range(3)
    ]


@pytest.fixture(scope="module")
def root(folds: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of that jackknife; of a third seed, one fold is missing."""
    root = tmp_path_factory.mktemp("runs")
    for run in folds:
        for seed in (0, 21, 42):
            copy_run(run, root / run.name.replace("0-", f"{seed}-"), seed=seed)
    shutil.rmtree(root / "42-fold1")
    return root


@pytest.fixture(scope="module")
def results(root: Path) -> Results:
    return collect([root])


def test_a_trial_is_all_its_folds(root: Path, results: Results) -> None:
    (study,) = results.studies
    trials = study.cell(SPLIT, 3)
    assert [trial.condition["seed"] for trial in trials] == [0, 21]
    assert "fold" not in trials[0].condition
    tests = [Predictions.from_parquet(root / f"0-fold{fold}/predictions/test.parquet") for fold in range(3)]
    label, predicted = (np.concatenate([getattr(clips, name) for clips in tests]) for name in ("label", "predicted"))
    frame = trials[0].test("frame")
    assert frame["n"] == len(label)
    assert frame["f1_weighted"] == pytest.approx(f1_score(label, predicted, average="weighted"), abs=1e-6)
    songs = pd.concat([pd.read_csv(root / f"0-fold{fold}/songs_test.csv") for fold in range(3)])
    song = trials[0].test("song")
    assert song["n"] == len(songs) == 3 * 4 * 2
    assert song["accuracy"] == pytest.approx(accuracy_score(songs["artist"], songs["predicted"]))
    assert song["f1_weighted"] == pytest.approx(
        f1_score(songs["artist"], songs["predicted"], average="weighted"), abs=1e-6
    )


def test_the_validation_is_the_mean_over_folds(root: Path, results: Results) -> None:
    rows = read_runs(root).query("seed == 0 and level == 'song'")
    assert sorted(rows["fold"]) == [0, 1, 2], "read one by one, folds are rows"
    trial = results.studies[0].cell(SPLIT, 3)[0]
    f1 = [run.scores["val"]["song"]["f1_weighted"] for run in trial.members]
    assert trial.scores["val"]["song"]["f1_weighted"] == pytest.approx(np.mean(f1))


def test_a_jackknife_that_lacks_a_fold_is_left_out(results: Results) -> None:
    assert [run.name for run in results.left_out] == ["42-fold0", "42-fold2"]
    assert {run.reason for run in results.left_out} == {
        "its jackknife has 3 folds, which are scored together; without a finished run: 1"
    }
    assert [run.number for run in results.runs] == list(range(1, 7))


def test_tables_refer_to_all_folds_and_say_that_they_are_pooled(results: Results) -> None:
    (study,) = results.studies
    table = tables.score_table(study, "song", draws=20, seed=0)
    row = table.cells[table.cells["split"] == SPLIT].iloc[0]
    assert row["runs"] == RunNumbers(range(1, 7))
    assert (row["trials"], row["test songs"]) == ("2", "24")
    assert any(f"{SPLIT}: a trial is 3 runs, one per fold" in note for note in table.notes)
    listed = tables.run_table(results.runs).cells
    assert listed["fold"].tolist() == ["0", "1", "2"] * 2


def test_systems_are_compared_on_all_tracks(folds: list[Path], tmp_path: Path) -> None:
    for run in folds:
        copy_run(run, tmp_path / "crnn" / run.name)
        copy_run(run, tmp_path / "svm" / run.name, model__name="svm")
    (pair,) = tables.pairs_with_the_best(collect([tmp_path]).studies)
    table = tables.comparison_table("music", [pair], draws=20, seed=0)
    assert (table.data["songs"][0], table.data["trials"][0]) == (24, 1)
    assert table.cells["runs"][0] == RunNumbers(range(1, 7))
    assert len(table.runs) == 6


def test_folds_made_on_different_machines_are_one_jackknife(folds: list[Path], tmp_path: Path) -> None:
    for run, accelerator in zip(folds, ("cpu", "cpu", "gpu"), strict=True):
        copy_run(run, tmp_path / run.name, trainer__accelerator=accelerator)
    assert len(collect([tmp_path]).studies[0].runs) == 1


def test_a_fold_that_is_there_twice_is_told(folds: list[Path], root: Path, tmp_path: Path) -> None:
    copy_run(folds[1], tmp_path / "again", trainer__accelerator="gpu")
    left_out = [run for run in collect([root, tmp_path]).left_out if "several runs of fold 1" in run.reason]
    assert len(left_out) == 4


def test_folds_that_test_the_same_tracks_are_not_pooled(folds: list[Path], root: Path, tmp_path: Path) -> None:
    for fold in range(3):  # as if one fold's list had been copied over the others'
        copy_run(folds[0], tmp_path / str(fold), split__fold=fold, seed=7)
    results = collect([root, tmp_path])
    reasons = [run.reason.split(":")[0] for run in results.left_out if run.name.startswith(str(tmp_path))]
    assert reasons == ["several folds of its jackknife test 8 tracks"] * 3
    assert len(results.runs) == 6
