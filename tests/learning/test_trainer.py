"""Every argument of Lightning's Trainer works, or is refused in a sentence that names it."""

from __future__ import annotations

import inspect
import os
from pathlib import Path

import lightning as L
import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from artistid.config import config_dir
from artistid.learning.networks import annealed
from artistid.learning.trainer import OURS
from tests.verbs import train

# Of the corpus: 6 training songs of 4 s in clips of 1 s, which are 3 batches of 8, and 3 of validation and of test.
SMALL = ("split=album", "batch_size=8")

FAST = ("trainer.fast_dev_run=true", "trainer.max_steps=1", "trainer.check_val_every_n_epoch=2")
WORKS = (
    *FAST,
    "trainer.fast_dev_run=2 scheduler=one_cycle",
    "trainer.limit_train_batches=0.5",
    "trainer.limit_train_batches=1",
    "trainer.limit_val_batches=0.5",
    "trainer.limit_val_batches=1",
    "trainer.limit_test_batches=0.5",
    "trainer.limit_test_batches=1",
    "trainer.overfit_batches=0.5",
    "trainer.overfit_batches=1",
    "trainer.max_time=00:00:01:00",
    "trainer.max_steps=4",
    "trainer.max_epochs=-1 trainer.max_steps=4",
    "trainer.min_epochs=2 trainer.max_epochs=2",
    "+trainer.min_steps=4",
    "trainer.accumulate_grad_batches=2",
    "trainer.gradient_clip_val=1.0 trainer.gradient_clip_algorithm=value",
    "trainer.gradient_clip_val=1.0 trainer.precision=bf16-mixed",
    "trainer.val_check_interval=1.0",
    "trainer.profiler=simple",
    "trainer.profiler=advanced",
    "trainer.profiler=pytorch",
    "trainer.precision=32",
    "trainer.accelerator=cpu",
    "trainer.devices=auto trainer.accelerator=cpu",
    "trainer.deterministic=warn",
    "trainer.benchmark=false",
    "trainer.detect_anomaly=true",
    "trainer.sync_batchnorm=true",
    "trainer.use_distributed_sampler=false",
    "trainer.num_sanity_val_steps=2",
    "trainer.log_every_n_steps=2",
    "trainer.enable_progress_bar=false",
    "trainer.enable_model_summary=true",
    "+trainer.inference_mode=false",
    "+trainer.limit_predict_batches=1",
    "+trainer.reload_dataloaders_every_n_epochs=1",
    "+trainer.enable_autolog_hparams=false",
)
REFUSED = (
    ("trainer.limit_train_batches=0.001", "limit_train_batches"),
    ("trainer.limit_val_batches=0", "limit_val_batches"),
    ("trainer.limit_val_batches=0.001", "limit_val_batches"),
    ("trainer.limit_test_batches=0.001", "limit_test_batches"),
    ("trainer.max_epochs=0", "max_epochs"),
    ("trainer.max_time=soon", "trainer.*"),
    ("trainer.gradient_clip_algorithm=none", "gradient_clip_algorithm"),
    ("trainer.val_check_interval=0.5", "limit_train_batches"),
    ("trainer.val_check_interval=2", "limit_train_batches"),
    ("trainer.check_val_every_n_epoch=2 trainer.max_epochs=1", "check_val_every_n_epoch"),
    ("trainer.profiler=none", "profiler"),
    ("trainer.precision=transformer-engine", "trainer.*"),
    ("trainer.accelerator=gpu", "gpu"),
    ("trainer.accelerator=tpu", "trainer.*"),
    ("trainer.accelerator=cpu trainer.precision=16-mixed", "trainer.precision=16-mixed"),
    *((f"trainer.precision={name}-true", f"trainer.precision={name}-true") for name in (16, "bf16", 64)),
    ("trainer.devices=0", "devices"),
    (f"trainer.devices={1 + (os.cpu_count() or 1)} trainer.accelerator=cpu", "cores"),
    ("trainer.strategy=nothing", "strategy"),
    ("trainer.strategy=fsdp trainer.accelerator=cpu", "fsdp"),
    ("trainer.strategy=ddp_spawn trainer.devices=1 trainer.accelerator=cpu", "trainer.strategy"),
    ("trainer.num_nodes=2", "trainer.num_nodes"),
    ("+trainer.nonsense=1", "nonsense"),
    *((f"+trainer.{name}=null", f"trainer.{name}") for name in OURS),
)


def test_each_argument_is_tried() -> None:
    """Those of ``conf/``, and those that Lightning has beside them; two processes are in ``test_callbacks``."""
    tried = " ".join([*WORKS, *(overrides for overrides, _ in REFUSED)])
    ours = yaml.safe_load((config_dir() / "trainer" / "default.yaml").read_text(encoding="utf-8"))
    for name in {*ours, *inspect.signature(L.Trainer.__init__).parameters} - {"self"}:
        assert f"trainer.{name}=" in tried, name


@pytest.mark.parametrize("overrides", FAST)
def test_it_works(overrides: str, corpus: Path, tmp_path: Path) -> None:
    epochs = () if "max_epochs" in overrides else ("trainer.max_epochs=2",)
    scores = train(corpus, tmp_path / "run", *SMALL, *epochs, *overrides.split())
    assert scores["test"]["frame"]["n"] > 0
    assert scores["val"]["frame"]["n"] > 0
    curves = pd.read_csv(tmp_path / "run" / "metrics.csv").set_index("epoch")["val/loss"].dropna()
    assert scores["training"]["best_epoch"] == curves.idxmin()
    assert scores["training"]["best_val_loss"] == pytest.approx(curves.min(), rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("overrides", WORKS[len(FAST) :])
def test_it_works_as_well(overrides: str, corpus: Path, tmp_path: Path) -> None:
    test_it_works(overrides, corpus, tmp_path)


@pytest.mark.parametrize(("overrides", "named"), REFUSED)
def test_it_is_refused(
    overrides: str, named: str, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if named == "gpu" and torch.cuda.is_available():
        pytest.skip("a GPU is here")
    with pytest.raises(SystemExit) as exit_:
        train(corpus, tmp_path / "run", *SMALL, *overrides.split())
    assert exit_.value.code == 1
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert told.startswith("error: ")
    assert named in told


@pytest.mark.slow
def test_traces_of_a_profiler_lie_in_the_run_folder(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    train(corpus, tmp_path / "run", *SMALL, "trainer.max_epochs=1", "trainer.profiler=pytorch")
    assert list((tmp_path / "run").glob("*test_step*.json"))
    assert not list((tmp_path / "here").iterdir())


def test_a_fast_run_is_of_so_many_batches(corpus: Path, tmp_path: Path) -> None:
    scores = train(corpus, tmp_path / "run", *SMALL, "trainer.fast_dev_run=1", "trainer.max_epochs=5")
    assert scores["training"]["epochs"] == 1
    assert scores["test"]["frame"]["n"] == scores["val"]["frame"]["n"] == 8


def test_epochs_without_validation_have_none_of_its_scores(corpus: Path, tmp_path: Path) -> None:
    settings = ("trainer.check_val_every_n_epoch=2", "trainer.max_epochs=3")
    train(corpus, tmp_path / "run", *SMALL, *settings)
    curves = pd.read_csv(tmp_path / "run" / "metrics.csv").dropna(subset="epoch").set_index("epoch")
    assert list(np.isfinite(curves["val/loss"])) == [False, True, False]


def test_what_a_schedule_ends_is_not_cut_off(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(corpus, tmp_path / "cut", "trainer.max_epochs=1")
    assert "cut off" in capsys.readouterr().out
    train(corpus, tmp_path / "ended", "trainer.max_epochs=2", "scheduler=one_cycle", "optimizer.lr=1e-3", *SMALL)
    assert "cut off" not in capsys.readouterr().out
    rates = pd.read_csv(tmp_path / "ended" / "metrics.csv")["train/lr"].dropna().tolist()
    assert rates[1] < 1e-3 * rates[0]
    assert not annealed([{"train/lr": 1e-3}, {"train/lr": 5e-4}])
    assert annealed([{"train/lr": 1e-3}, {"train/lr": 1e-5}])
