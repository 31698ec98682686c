"""What wandb and TensorBoard are told, read back from the records that they keep offline."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import soundfile
from wandb.proto.wandb_internal_pb2 import Record

from artistid.config import config_dir
from artistid.learning import wandb
from tests.reporting.made_runs import make_run
from tests.verbs import QUICK, read_scores, run_verb, train

BLOCK, FILE_HEADER, CHUNK_HEADER = 32_768, 7, 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4
SECONDS_TO_WRITE = 30


def records(path: Path) -> Iterator[Record]:
    """The records of a .wandb file: LevelDB's log format, with a file header of wandb's own in the first block."""
    data, place, pending = path.read_bytes(), FILE_HEADER, b""
    while place + CHUNK_HEADER <= len(data):
        if BLOCK - place % BLOCK < CHUNK_HEADER:  # the rest of a block is too small for a chunk
            place += BLOCK - place % BLOCK
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        if place + CHUNK_HEADER + length > len(data):
            return
        pending += data[place + CHUNK_HEADER : place + CHUNK_HEADER + length]
        place += CHUNK_HEADER + length
        assert kind in (FULL, FIRST, MIDDLE, LAST)
        if kind in (FULL, LAST):
            yield Record.FromString(pending)
            pending = b""


def finished_records(path: Path) -> list[Record]:
    """All records of a run that has ended: wandb's own process may write the last of them a moment later."""
    deadline = time.monotonic() + SECONDS_TO_WRITE
    while time.monotonic() < deadline:
        found = list(records(path))
        if found and found[-1].WhichOneof("record_type") == "exit":
            return found
        time.sleep(0.05)
    raise AssertionError(f"{path} has no end")


def name(item: Any) -> str:
    return item.key or "/".join(item.nested_key)


class Told:
    """Everything in one offline run."""

    def __init__(self, folder: Path) -> None:
        (path,) = folder.glob("*.wandb")
        self.history: list[dict[str, Any]] = []
        self.config: dict[str, Any] = {}
        self.summary: dict[str, Any] = {}
        self.metrics: dict[str, str] = {}
        self.artifacts: dict[str, dict[str, Path]] = {}
        self.exit_code: int | None = None
        for record in finished_records(path):
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
            elif kind == "summary":
                self.summary |= {name(item): json.loads(item.value_json) for item in record.summary.update}
            elif kind == "artifact" and record.artifact.type != "run_table":
                contents = record.artifact.manifest.contents
                self.artifacts[record.artifact.type] = {entry.path: Path(entry.local_path) for entry in contents}
            elif kind == "exit":
                self.exit_code = record.exit.exit_code
        self.last = {key: value for row in self.history for key, value in row.items()}
        self.files = folder / "files"

    def table(self, key: str) -> pd.DataFrame:
        """A table that was logged."""
        told = json.loads((self.files / self.last[f"{key}/path"]).read_text())
        return pd.DataFrame(told["data"], columns=told["columns"])


def told_by(run_dir: Path) -> Told:
    """By the only run of wandb in a run folder."""
    (folder,) = (run_dir / "wandb").glob("offline-run-*")
    return Told(folder)


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without an account of wandb's."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)


SILENT = ("logger=wandb", "logger.wandb.excerpts=0")


@pytest.mark.usefixtures("offline")
def test_wandb_is_told_the_condition_the_curves_and_the_results(corpus: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    listed = ("logger=wandb", "logger.wandb.entity=us", "logger.wandb.notes=first, of many")
    # All are among the first three of three artists, from the first epoch on: that is the best one.
    more = ("monitor=val/song/top3", "trainer.max_epochs=3", "split=song", "logger.wandb.artifacts=true")
    scores = train(corpus, run_dir, *listed, *more)
    told = told_by(run_dir)
    assert (told.run.project, told.run.entity, told.run.notes) == ("artistid", "us", "first, of many")
    assert (told.run.run_group, told.run.job_type) == (
        "corpus/song-1s-crnn-monitor=val-song-top3-7cf76d-trainer.max_epochs=3",
        "train",
    )
    assert set(told.run.tags) == {"corpus", "split-song", "clip-1s", "crnn"}
    assert told.config["split"]["name"] == "song"
    assert told.config["optimizer"] == {"name": "Adam", "lr": 1e-4, "eps": 1e-7, "fused": True}
    assert "_target_" not in json.dumps(told.config)
    assert told.config["resolved"]["precision"] == scores["precision"] != told.config["trainer"]["precision"]
    assert told.config["resolved"]["parameters"] == scores["parameters"]
    assert told.config["resolved"]["device"] == scores["device"]

    metrics = pd.read_csv(run_dir / "metrics.csv").dropna(subset="val/loss")
    assert told.metrics["*"] == "epoch"
    for column in ("val/loss", "train/loss", "train/lr"):
        curve = [(row["epoch"], row[column]) for row in told.history if column in row]
        assert curve == [(epoch, pytest.approx(metrics[column].iloc[epoch])) for epoch in range(3)]
    assert metrics["train/lr"].tolist() == pytest.approx([1e-4] * 3)
    assert told.summary["best_epoch"] == scores["training"]["best_epoch"] == 0
    for column in ("val/loss", "val/frame/f1_weighted", "train/loss"):
        assert told.summary[column] == pytest.approx(metrics[column].iloc[0])
    curves = told.table("learning_curves/loss_table")
    assert curves[curves["lineKey"] == "validation"]["lineVal"].tolist() == pytest.approx(metrics["val/loss"].tolist())

    for level in ("frame", "song"):
        score = scores["test"][level]
        assert told.summary[f"test/{level}/f1_weighted"] == score["f1_weighted"]
        ends = [told.summary[f"test/{level}/f1_weighted_ci95_{end}"] for end in ("low", "high")]
        assert ends == score["f1_weighted_ci95"]
        assert told.last[f"test/{level}/confusion_table/nrows"] == 9  # of 3 x 3 artists
    songs, artists = pd.read_csv(run_dir / "songs_test.csv"), pd.read_csv(run_dir / "per_artist.csv")
    assert told.table("test/songs")["predicted"].tolist() == songs["predicted"].tolist()
    assert told.table("test/artists")["f1"].tolist() == pytest.approx(artists["f1"].tolist())
    assert told.exit_code == 0

    right = (songs["artist"] == songs["predicted"]).sum()
    for name, n in (("right", right), ("wrong", len(songs) - right)):
        played = told.last.get(f"listen/{name}/audio", [])
        assert len(played) == min(4, n)
        for each in played:
            assert soundfile.info(told.files / each["path"]).duration == pytest.approx(32 * 0.032, abs=0.1)
            assert ("taken for" in each["caption"]) == (name == "wrong")
    assert told.artifacts == {
        "split": {"split.csv": run_dir / "split.csv"},
        "model": {"best.ckpt": run_dir / "checkpoints" / "best.ckpt"},
    }


@pytest.mark.usefixtures("offline")
def test_resumed_run_goes_on_in_the_same_run_of_wandb(corpus: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    train(corpus, run_dir, *SILENT)
    (run_dir / "scores.json").unlink()
    train(corpus, run_dir, *SILENT)
    first = (run_dir / "wandb" / "id").read_text()
    *_, last = runs = [Told(folder) for folder in sorted((run_dir / "wandb").glob(f"offline-run-*-{first}"))]
    assert {told.run.run_id for told in runs} == {first}
    assert last.summary["val/loss"] == pytest.approx(pd.read_csv(run_dir / "metrics.csv")["val/loss"].dropna().item())
    assert not last.artifacts  # unless they are asked for
    assert not [key for key in last.last if key.startswith("listen")]
    train(corpus, run_dir, *SILENT, "overwrite=true")
    assert (run_dir / "wandb" / "id").read_text() != first


@pytest.mark.usefixtures("offline")
def test_run_that_fails_is_closed_as_failed(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        train(corpus, tmp_path / "run", "logger=wandb", "optimizer.lr=1e10")
    assert told_by(tmp_path / "run").exit_code == 1


@pytest.mark.usefixtures("offline")
def test_an_evaluation_is_a_job_of_its_own(trained: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "evaluation"
    checkpoint = f"checkpoint={trained / 'checkpoints' / 'best.ckpt'}"
    run_verb("evaluate", checkpoint, f"run_dir={run_dir}", *SILENT, "figures=false")
    told, scores = told_by(run_dir), read_scores(run_dir)
    assert told.run.job_type == "evaluate"
    assert told.run.run_group.endswith("run-best")
    assert told.summary["test/song/f1_weighted"] == scores["test"]["song"]["f1_weighted"]
    assert told.config["resolved"]["precision"] == scores["precision"]
    assert len(told.table("test/songs")) == scores["test"]["song"]["n"]


@pytest.mark.slow
@pytest.mark.usefixtures("offline")
def test_a_report_s_tables_are_logged(tmp_path: Path) -> None:
    for seed in (0, 21):
        make_run(tmp_path / "runs" / f"{seed}", seed=seed)
    out = tmp_path / "report"
    run_verb("report", f"runs={tmp_path / 'runs'}", f"out={out}", "maps=null", "draws=10", "logger=wandb")
    told = told_by(out)
    assert told.run.job_type == "report"
    written = {path.stem: pd.read_csv(path) for path in (out / "tables").glob("*.csv")}
    assert {key.split("/")[1] for key in told.last if key.startswith("report/")} == set(written)
    assert told.table("report/runs")["song_f1_weighted"].tolist() == pytest.approx(
        written["runs"]["song_f1_weighted"].tolist()
    )


@pytest.mark.usefixtures("offline")
def test_tensorboard_has_curves_figures_and_hyperparameters_in_one_file(corpus: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    settings = (tmp_path / "run", "logger=tensorboard", "trainer.max_epochs=2", "figures=true")
    train(corpus, *settings)
    (tmp_path / "run" / "scores.json").unlink()
    scores = train(corpus, *settings)  # goes on, and its records are those of a run that was never interrupted
    folder = tmp_path / "run" / "tensorboard"
    assert len(list(folder.glob("events.out.tfevents.*"))) == 1
    events = EventAccumulator(str(folder))
    events.Reload()
    (told,) = events.Scalars("test/song/f1_weighted")
    assert told.value == pytest.approx(scores["test"]["song"]["f1_weighted"])
    metrics = pd.read_csv(tmp_path / "run" / "metrics.csv").dropna(subset="val/loss")
    for column in ("val/loss", "train/lr"):
        assert [each.value for each in events.Scalars(column)] == pytest.approx(metrics[column].tolist())
    assert not {"step", "epoch"} & set(events.Tags()["scalars"])
    assert set(events.Tags()["images"]) == {"confusion_frame", "confusion_song", "learning_curves"}
    begun = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    settings_told = HParamsPluginData.FromString(begun).session_start_info.hparams
    assert settings_told["optimizer/lr"].number_value == 1e-4
    assert not {"cache_dir", "workers", "run_dir", "data/cache_dir", "figures"} & set(settings_told)
    assert settings_told["resolved/parameters"].number_value == scores["parameters"]
    shown = HParamsPluginData.FromString(events.summary_metadata["_hparams_/experiment"].plugin_data.content)
    assert "test/song/f1_weighted" in {metric.name.tag for metric in shown.experiment.metric_infos}
    assert "test/artists/text_summary" in events.Tags()["tensors"]


@pytest.mark.usefixtures("offline")
def test_wandb_s_sweep_is_checked_without_an_account(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = (config_dir() / "wandb_sweep.yaml").read_text()
    (line,) = (line for line in written.splitlines() if "# data=folder, data.root=/path/to/music," in line)
    mine = tmp_path / "mine.yaml"
    mine.write_text(written.replace(line, f"data=folder, data.root={corpus},"))
    run_verb("doctor", f"sweep={mine}", f"cache_dir={tmp_path}")
    told = capsys.readouterr().out
    assert "maximize val/frame/f1_weighted" in told
    for setting in (
        "optimizer.lr=1e-05",
        "optimizer.lr=0.003",
        "batch_size=64",
        "model.network.dropout=0.5",
        "clip=10s",
    ):
        assert setting in told


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
            ({"WANDB_MODE": "online"}, "wandb is set to mode online, but http://127.0.0.1:9 does not answer"),
            (
                {"WANDB_MODE": "online", "WANDB_API_KEY": ""},
                "wandb is set to mode online, but no account is set up on this machine",
            ),
            (
                {"WANDB_MODE": "online", "WANDB_API_KEY": "abc"},
                "wandb: its API key (WANDB_API_KEY, or wandb login) is not valid: ",
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
    fitted = wandb.fitted(settings)
    assert [len(fitted[name]) for name in ("name", "group", "project")] == [128, 128, 128]
    assert fitted["project"].startswith("a-b-ä")
    assert [len(tag) for tag in fitted["tags"]] == [64, 64, 1]
    assert len(set(fitted["tags"])) == 3
    assert wandb.fitted({"name": "short\udcff"})["name"] == "short\ufffd"


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("logger", ["wandb", "tensorboard", "csv"])
def test_a_collection_with_a_long_odd_name(corpus: Path, tmp_path: Path, logger: str) -> None:
    name = "坂本 \U0001f3a4 #%: " + "a" * 80
    listen = ["logger.wandb.excerpts=0"] if logger == "wandb" else []
    train(corpus, tmp_path / "run", f"logger={logger}", f"data.name={name}", *listen)
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
