"""Evaluating a checkpoint through the real command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from artistid.evaluation.predictions import Predictions
from tests.corpus import make_corpus
from tests.verbs import read_scores, run_verb, train

QUIET = ("trainer.enable_progress_bar=false", "workers=0")


def evaluate(run: Path, run_dir: Path, *overrides: str) -> dict:
    checkpoint = run / "checkpoints" / "best.ckpt"
    run_verb("evaluate", f"checkpoint={checkpoint}", f"run_dir={run_dir}", *QUIET, *overrides)
    return read_scores(run_dir)


def test_same_scores_as_at_the_end_of_training(trained: Path, tmp_path: Path) -> None:
    scores = evaluate(trained, tmp_path / "again")
    assert scores["test"] == read_scores(trained)["test"]
    assert scores["seen_in_training"] == []


def test_other_parts_and_votes(trained: Path, tmp_path: Path) -> None:
    assert evaluate(trained, tmp_path / "val", "subset=val")["test"] == read_scores(trained)["val"]
    scores = evaluate(trained, tmp_path / "vote", "vote=mean_logprob")
    assert scores["condition"]["vote"] == "mean_logprob"


def test_by_default_it_lies_beside_the_checkpoint(trained: Path) -> None:
    run_verb("evaluate", f"checkpoint={trained / 'checkpoints' / 'best.ckpt'}", *QUIET)
    assert read_scores(trained / "evaluations" / "best-corpus-test-majority")["test"] == read_scores(trained)["test"]


def test_moved_checkpoint_is_evaluated_where_it_is(trained: Path, tmp_path: Path) -> None:
    shutil.copy(trained / "checkpoints" / "best.ckpt", tmp_path / "mine.ckpt")
    run_verb("evaluate", f"checkpoint={tmp_path / 'mine.ckpt'}", *QUIET)
    evaluated = tmp_path / "evaluations" / "mine-corpus-test-majority"
    assert read_scores(evaluated)["test"] == read_scores(trained)["test"]
    with pytest.raises(SystemExit):  # a finished one is not written over
        run_verb("evaluate", f"checkpoint={tmp_path / 'mine.ckpt'}", *QUIET)


def test_precision_is_that_of_the_training(corpus: Path, tmp_path: Path) -> None:
    train(corpus, tmp_path / "run", "trainer.precision=32-true", "optimizer.lr=1e-3")
    assert evaluate(tmp_path / "run", tmp_path / "again")["precision"] == "32-true"
    first, again = (
        Predictions.from_parquet(tmp_path / name / "predictions" / "test.parquet") for name in ("run", "again")
    )
    assert np.array_equal(first.probability, again.probability)


def test_another_catalog_of_the_same_artists(trained: Path, tmp_path: Path) -> None:
    root = make_corpus(tmp_path / "new", seed=7, artists=2)
    scores = evaluate(trained, tmp_path / "out", "data=folder", f"data.root={root}")
    assert scores["condition"] == {
        "checkpoint": str(trained / "checkpoints" / "best.ckpt"),
        "data": "new",
        "subset": "all",
        "vote": "majority",
    }
    assert scores["counts"]["all"]["songs"] == 12
    assert scores["seen_in_training"] == []
    assert scores["artists"] == ["artist1", "artist2", "artist3"]


def test_recordings_that_it_trained_on_are_listed(trained: Path, corpus: Path, tmp_path: Path) -> None:
    root = tmp_path / "moved"
    shutil.copytree(corpus, root)
    scores = evaluate(trained, tmp_path / "out", "data=folder", f"data.root={root}")
    assert len(scores["seen_in_training"]) == read_scores(trained)["counts"]["train"]["songs"]


def test_unknown_artists(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_corpus(tmp_path / "new", artists=4, albums=1)
    with pytest.raises(SystemExit) as exit_:
        evaluate(trained, tmp_path / "out", "data=folder", f"data.root={root}")
    assert exit_.value.code == 1
    assert "artist4" in capsys.readouterr().err


def test_no_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for override, message in (
        ("checkpoint=null", "checkpoint=PATH is missing"),
        (f"checkpoint={tmp_path / 'none.ckpt'}", "does not exist"),
    ):
        with pytest.raises(SystemExit):
            run_verb("evaluate", override)
        assert message in capsys.readouterr().err


def test_files_that_are_no_checkpoints(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    garbage, foreign, other = (tmp_path / name for name in ("garbage.ckpt", "foreign.ckpt", "other.ckpt"))
    garbage.write_bytes(b"no checkpoint")
    torch.save({"state_dict": {}}, foreign)
    checkpoint = torch.load(trained / "checkpoints" / "best.ckpt", weights_only=True)
    checkpoint["artistid"]["artists"] = ["only", "two"]
    torch.save(checkpoint, other)
    checkpoint["artistid"]["network"] = {"_target_": "os.system", "command": "true"}
    unsafe = tmp_path / "unsafe.ckpt"
    torch.save(checkpoint, unsafe)
    for path, message in (
        (garbage, "cannot be read"),
        (foreign, "not written by artistid"),
        (other, "don't fit"),
        (unsafe, "'os.system', which is not part of artistid"),
    ):
        with pytest.raises(SystemExit):
            run_verb("evaluate", f"checkpoint={path}")
        error = capsys.readouterr().err
        assert message in error
        assert str(path) in error


def test_unknown_part(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        evaluate(trained, tmp_path / "out", "subset=dev")
    assert "subset=dev: expected one of train, val, test, all" in capsys.readouterr().err


def test_prepare_alone(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = tmp_path / "cache"
    run_verb("prepare", "data=folder", f"data.root={corpus}", f"cache_dir={cache}", "workers=0")
    assert "18 songs by 3 artists" in capsys.readouterr().out
    [settings] = cache.glob("corpus/*/settings.json")
    assert json.loads(settings.read_text())["features"]["n_mels"] == 128
