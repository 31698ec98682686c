"""The JSON Schemas describe what the commands write."""

from __future__ import annotations

import csv
import json
from importlib.resources import files
from pathlib import Path

import jsonschema
import pandas as pd
import pytest

from tests.verbs import read_scores, run_verb

TABLES = {"catalog": "catalog.csv", "split": "split.csv"}


def validator(name: str) -> jsonschema.Draft202012Validator:
    schema = json.loads(files("artistid.schemas").joinpath(f"{name}.schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_a_run(trained: Path, name: str) -> None:
    with (trained / TABLES[name]).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows
    for row in rows:
        validator(name).validate(row)
    assert rows[0].keys() == validator(name).schema["properties"].keys()


@pytest.mark.parametrize("subset", ["val", "test"])
def test_predictions_of_a_run(trained: Path, subset: str) -> None:
    rows = pd.read_parquet(trained / "predictions" / f"{subset}.parquet").to_dict("records")
    for row in rows:
        validator("predictions").validate(row)
    with pytest.raises(jsonschema.ValidationError, match="is a required property"):
        validator("predictions").validate({name: value for name, value in rows[0].items() if name != "clip"})


def test_scores_of_a_run_and_of_an_evaluation(trained: Path, tmp_path: Path) -> None:
    checkpoint = trained / "checkpoints" / "best.ckpt"
    quiet = ("workers=0", "trainer.enable_progress_bar=false", "figures=false")
    run_verb("evaluate", f"checkpoint={checkpoint}", f"run_dir={tmp_path / 'again'}", *quiet)
    for folder in (trained, tmp_path / "again"):
        validator("scores").validate(read_scores(folder))
    known = set(validator("scores").schema["properties"])
    assert read_scores(trained).keys() <= known, "a new entry of scores.json is described in its schema"


@pytest.mark.slow
def test_scores_of_a_baseline(corpus: Path, tmp_path: Path) -> None:
    data = ("data=folder", f"data.root={corpus}", "workers=0", "figures=false")
    run_verb("train", "model=mandel_svm", f"run_dir={tmp_path / 'svm'}", *data)
    validator("scores").validate(read_scores(tmp_path / "svm"))


def test_rows_of_a_collection(trained: Path, corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "music.parquet"
    checkpoint = trained / "checkpoints" / "best.ckpt"
    run_verb("embed", f"checkpoint={checkpoint}", f"audio={corpus}", f"out={out}", "workers=0")
    rows = json.loads(pd.read_parquet(out).to_json(orient="records"))
    for row in rows:
        validator("collection").validate(row)
    assert rows[0].keys() == validator("collection").schema["properties"].keys()
