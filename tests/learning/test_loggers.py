"""What wandb is told, read back from the records that it keeps offline."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from omegaconf import OmegaConf
from wandb.proto.wandb_internal_pb2 import Record

from artistid.config import config_dir
from artistid.learning import loggers
from tests.verbs import QUICK, read_scores, run_verb, train

BLOCK, FILE_HEADER, CHUNK_HEADER = 32_768, 7, 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def records(path: Path) -> Iterator[Record]:
    """The records of a .wandb file: LevelDB's log format, with a file header of wandb's own in the first block."""
    data, place, pending = path.read_bytes(), FILE_HEADER, b""
    while place + CHUNK_HEADER <= len(data):
        if BLOCK - place % BLOCK < CHUNK_HEADER:  # the rest of a block is too small for a chunk
            place += BLOCK - place % BLOCK
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        pending += data[place + CHUNK_HEADER : place + CHUNK_HEADER + length]
        place += CHUNK_HEADER + length
        assert kind in (FULL, FIRST, MIDDLE, LAST)
        if kind in (FULL, LAST):
            yield Record.FromString(pending)
            pending = b""


def name(item: Any) -> str:
    return item.key or "/".join(item.nested_key)


class Told:
    """Everything in one offline run."""

    def __init__(self, folder: Path) -> None:
        (path,) = folder.glob("*.wandb")
        self.history: list[dict[str, Any]] = []
        self.config: dict[str, Any] = {}
        self.metrics: dict[str, str] = {}
        self.exit_code: int | None = None
        for record in records(path):
            kind = record.WhichOneof("record_type")
            if kind == "run":
                self.run = record.run
                self.config |= {name(item): json.loads(item.value_json) for item in record.run.config.update}
            elif kind == "config":
                self.config |= {name(item): json.loads(item.value_json) for item in record.config.update}
            elif kind == "history":
                self.history.append({name(item): json.loads(item.value_json) for item in record.history.item})
            elif kind == "metric":
                self.metrics[record.metric.name or record.metric.glob_name] = record.metric.step_metric
            elif kind == "exit":
                self.exit_code = record.exit.exit_code
        # The summary of what is logged is the last that was logged.
        self.last = {key: value for row in self.history for key, value in row.items()}


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without an account of wandb's."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)


@pytest.mark.usefixtures("offline")
def test_wandb_is_told_the_condition_the_curves_and_the_results(corpus: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    scores = train(corpus, run_dir, "logger=wandb", "trainer.max_epochs=3", "split=song")
    (folder,) = (run_dir / "wandb").glob("offline-run-*")
    told = Told(folder)
    assert told.run.project == "artistid"
    assert told.run.run_group == "corpus/song-1s-crnn"
    assert told.run.job_type == "song"
    assert set(told.run.tags) == {"corpus", "split-song", "clip-1s", "crnn"}
    assert told.config["split"]["name"] == "song"
    assert told.config["optimizer"]["lr"] == 1e-4
    assert told.metrics["*"] == "epoch"
    curve = [(row["epoch"], row["val/loss"]) for row in told.history if "val/loss" in row]
    metrics = pd.read_csv(run_dir / "metrics.csv").dropna(subset="val/loss")
    assert curve == [(epoch, pytest.approx(loss)) for epoch, loss in zip(range(3), metrics["val/loss"], strict=True)]
    for level in ("frame", "song"):
        assert told.last[f"test/{level}/f1_weighted"] == scores["test"][level]["f1_weighted"]
        assert told.last[f"test/{level}/confusion_table/nrows"] == 9  # of 3 x 3 artists
    table = json.loads((folder / "files" / told.last["test/songs/path"]).read_text())
    votes = pd.read_csv(run_dir / "songs_test.csv")
    assert [row[table["columns"].index("predicted")] for row in table["data"]] == votes["predicted"].tolist()
    assert told.exit_code == 0


@pytest.mark.usefixtures("offline")
def test_resumed_run_goes_on_in_the_same_run_of_wandb(corpus: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    train(corpus, run_dir, "logger=wandb")
    (run_dir / "scores.json").unlink()
    train(corpus, run_dir, "logger=wandb")
    first = (run_dir / "wandb" / "id").read_text()
    folders = list((run_dir / "wandb").glob(f"offline-run-*-{first}"))
    assert {Told(folder).run.run_id for folder in folders} == {first}
    train(corpus, run_dir, "logger=wandb", "overwrite=true")
    assert (run_dir / "wandb" / "id").read_text() != first


@pytest.mark.usefixtures("offline")
def test_run_that_fails_is_closed_as_failed(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        train(corpus, tmp_path / "run", "logger=wandb", "optimizer.lr=1e10")
    (folder,) = (tmp_path / "run" / "wandb").glob("offline-run-*")
    assert Told(folder).exit_code == 1


@pytest.mark.usefixtures("offline")
def test_tensorboard_has_the_curves(corpus: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    scores = train(corpus, tmp_path / "run", "logger=tensorboard")
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    (told,) = events.Scalars("test/song/f1_weighted")
    assert told.value == pytest.approx(read_scores(tmp_path / "run")["test"]["song"]["f1_weighted"])
    assert scores["test"]["song"]["f1_weighted"] == pytest.approx(told.value)


def test_wandb_s_sweep_makes_commands_that_compose(capsys: pytest.CaptureFixture[str]) -> None:
    definition: Any = OmegaConf.to_container(OmegaConf.load(config_dir() / "wandb_sweep.yaml"), resolve=False)
    chosen = [
        f"{setting}={space['values'][0] if 'values' in space else space['min']}"
        for setting, space in definition["parameters"].items()
    ]
    command = definition["command"]
    assert command[:4] == ["${env}", "${interpreter}", "-m", "${program}"]
    assert command[-1] == "${args_no_hyphens}"
    run_verb(definition["program"].removeprefix("artistid."), *command[4:-1], *chosen, "--cfg", "job")
    composed = yaml.safe_load(capsys.readouterr().out)
    assert composed["optimizer"]["lr"] == definition["parameters"]["optimizer.lr"]["min"]
    assert "wandb" in composed["logger"]
    assert definition["metric"] == {"name": "val/frame/f1_weighted", "goal": "maximize"}


@pytest.mark.slow
class TestWandbWithoutNetwork:
    """There is nobody at its address; in processes of their own, since wandb remembers its settings."""

    @pytest.fixture
    def environment(self, offline: None) -> dict[str, str]:
        return {**os.environ, "WANDB_API_KEY": "0" * 40, "WANDB_BASE_URL": "http://127.0.0.1:9"}

    @pytest.fixture
    def command(self, corpus: Path, tmp_path: Path) -> list[str]:
        settings = (*QUICK, "logger=wandb", "data=folder", f"data.root={corpus}", f"run_dir={tmp_path / 'run'}")
        return [sys.executable, "-m", "artistid.train", *settings]

    def test_works_offline_and_says_so(self, command: list[str], environment: dict[str, str], tmp_path: Path) -> None:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "http://127.0.0.1:9 does not answer within 10 s, so it works offline" in done.stdout + done.stderr
        assert list((tmp_path / "run" / "wandb").glob("offline-run-*"))

    @pytest.mark.parametrize(
        ("variables", "told"),
        [
            ({"WANDB_MODE": "online"}, "wandb was told to be online, but http://127.0.0.1:9 does not answer"),
            (
                {"WANDB_MODE": "online", "WANDB_API_KEY": ""},
                "wandb was told to be online, but no account is set up on this machine",
            ),
            (
                {"WANDB_MODE": "online", "WANDB_API_KEY": "abc"},
                "wandb: its key (WANDB_API_KEY, or wandb login) is no key: ",
            ),
        ],
    )
    def test_is_refused_before_the_work(
        self, command: list[str], environment: dict[str, str], variables: dict[str, str], told: str, tmp_path: Path
    ) -> None:
        done = subprocess.run(
            command, env={**environment, **variables}, capture_output=True, text=True, check=False, cwd=tmp_path
        )
        assert done.returncode == 1
        assert [line for line in done.stderr.splitlines() if line.startswith(f"error: {told}")], done.stderr
        assert not (tmp_path / "run").exists()


def test_texts_are_cut_to_wandb_s_limits() -> None:
    long = "ä" * 200
    settings = {"name": long, "group": long, "project": "a/b#" + long, "tags": [long, f"{long}b", "", "x", "x"]}
    fitted = loggers._fitted(settings)
    assert [len(fitted[name]) for name in ("name", "group", "project")] == [128, 128, 128]
    assert fitted["project"].startswith("a-b-ä")
    assert [len(tag) for tag in fitted["tags"]] == [64, 64, 1]
    assert len(set(fitted["tags"])) == 3
    assert loggers._fitted({"name": "short\udcff"})["name"] == "short\ufffd"


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("logger", ["wandb", "tensorboard", "csv"])
def test_a_collection_with_a_long_odd_name(corpus: Path, tmp_path: Path, logger: str) -> None:
    name = "坂本 \U0001f3a4 #%: " + "a" * 80
    train(corpus, tmp_path / "run", f"logger={logger}", f"data.name={name}")
    assert read_scores(tmp_path / "run")["condition"]["data"] == name


def test_the_profiler_s_report_is_printed(corpus: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    train(corpus, tmp_path / "run", "trainer.profiler=simple")
    out, err = capfd.readouterr()
    assert "FIT Profiler Report" in out + err


def test_divergence_is_called_so(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train(corpus, tmp_path / "run", "optimizer.lr=1e10")
    told = capsys.readouterr().err
    assert "training diverged in epoch 1" in told
    assert "optimizer.lr (it is 1e+10)" in told
    assert "track" not in told
