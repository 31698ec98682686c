"""A run that is killed and started again ends like one that was not."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch.loggers.logger import DummyLogger

from artistid.learning.resuming import random_state, set_random_state
from tests.verbs import QUICK, read_scores, run_verb

EPOCHS = 6


def settings(corpus: Path, run_dir: Path) -> list[str]:
    # A large learning rate, so that early stopping has its say and the best epoch is not the last one.
    more = (f"trainer.max_epochs={EPOCHS}", "optimizer.lr=3e-3", "early_stopping.patience=3")
    return ["data=folder", f"data.root={corpus}", f"run_dir={run_dir}", *QUICK, *more]


def kill_after(epoch: int, run_dir: Path, command: list[str]) -> None:
    """Starts the command and kills it in the epoch after ``epoch``, which is counted from 1."""
    process = subprocess.Popen([sys.executable, "-m", "artistid.train", *command], stdout=subprocess.DEVNULL)
    log, deadline = run_dir / "run.log", time.monotonic() + 120.0
    while not (log.exists() and f"epoch {epoch}:" in log.read_text()) and time.monotonic() < deadline:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="module")
def undisturbed(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("undisturbed") / "run"
    run_verb("train", *settings(corpus, run_dir))
    return run_dir


def assert_equal_runs(run_dir: Path, undisturbed: Path) -> None:
    scores, expected = read_scores(run_dir), read_scores(undisturbed)
    assert scores["test"] == expected["test"]
    assert scores["val"] == expected["val"]
    for name in ("epochs", "best_epoch", "best_val_loss", "stopped_early"):
        assert scores["training"][name] == expected["training"][name], name
    for name in ("best.ckpt", "last.ckpt"):
        weights, others = (
            torch.load(folder / "checkpoints" / name, weights_only=True)["state_dict"]
            for folder in (run_dir, undisturbed)
        )
        assert all(torch.equal(weights[key], others[key]) for key in others), name
    assert (run_dir / "metrics.csv").read_bytes() == (undisturbed / "metrics.csv").read_bytes()


@pytest.mark.slow
def test_killed_twice_it_ends_like_an_undisturbed_run(corpus: Path, tmp_path: Path, undisturbed: Path) -> None:
    command = settings(corpus, tmp_path / "run")
    for epoch in (1, 3):
        kill_after(epoch, tmp_path / "run", command)
        assert not (tmp_path / "run" / "scores.json").exists()
    run_verb("train", *command)
    resumed_at = read_scores(tmp_path / "run")["training"]["resumed_at"]
    assert len(resumed_at) >= 1
    assert resumed_at[-1] >= 2, "a kill costs at most one epoch"
    assert_equal_runs(tmp_path / "run", undisturbed)
    log = (tmp_path / "run" / "run.log").read_text()
    assert all(f"epoch {epoch + 1}:" in log for epoch in range(read_scores(undisturbed)["training"]["epochs"]))


class PowerCut(DummyLogger):
    """Ends a run in the middle of an epoch, after its validation. Loggers make no difference to a run's settings."""

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self.epoch = epoch

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:  # type: ignore[override]
        if metrics.get("epoch") == self.epoch:
            raise RuntimeError("the power went")


@pytest.fixture(scope="module")
def fine_tuning(undisturbed: Path) -> list[str]:
    """A stage thaws with every epoch but the first two; what is last stopped early has all of them thawed."""
    thaw = "{recurrence: 2, convolution4: 3, convolution3: 4, convolution2: 5}"
    checkpoint = f"init_from={undisturbed / 'checkpoints' / 'best.ckpt'}"
    return [checkpoint, "data.artists=[artist1,artist3]", f"fine_tuning.thaw={thaw}", "trainer.max_epochs=9"]


@pytest.fixture(scope="module")
def undisturbed_fine_tuning(corpus: Path, fine_tuning: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("undisturbed_fine_tuning") / "run"
    run_verb("train", *settings(corpus, run_dir), *fine_tuning)
    return run_dir


@pytest.mark.parametrize("epochs", [(1,), (2,), (3, 4), (7,)])
def test_fine_tuning_goes_on_between_stages(
    epochs: tuple[int, ...], corpus: Path, tmp_path: Path, fine_tuning: list[str], undisturbed_fine_tuning: Path
) -> None:
    command = [*settings(corpus, tmp_path / "run"), *fine_tuning]
    for epoch in epochs:
        cut = f"{{_target_: tests.learning.test_resuming.PowerCut, epoch: {epoch}}}"
        with pytest.raises(RuntimeError, match="the power went"):
            run_verb("train", *command, f"+logger.cut={cut}")
        assert "the power went" in (tmp_path / "run" / "run.log").read_text()
    run_verb("train", *command)
    assert read_scores(tmp_path / "run")["training"]["resumed_at"] == list(epochs)
    assert_equal_runs(tmp_path / "run", undisturbed_fine_tuning)


def test_killed_after_the_last_epoch_it_trains_no_more(corpus: Path, tmp_path: Path, undisturbed: Path) -> None:
    shutil.copytree(undisturbed, tmp_path / "run")  # moved, too: the folder has another path
    (tmp_path / "run" / "scores.json").unlink()
    run_verb("train", *settings(corpus, tmp_path / "run"))
    assert_equal_runs(tmp_path / "run", undisturbed)


def test_interrupted_run_with_other_settings_is_kept(
    corpus: Path, tmp_path: Path, undisturbed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(undisturbed, tmp_path / "run")
    (tmp_path / "run" / "scores.json").unlink()
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    before = last.read_bytes()
    with pytest.raises(SystemExit):
        run_verb("train", *settings(corpus, tmp_path / "run"), "batch_size=8")
    assert "holds an unfinished run with other settings (batch_size was 16, is 8)" in capsys.readouterr().err
    assert last.read_bytes() == before
    run_verb("train", *settings(corpus, tmp_path / "run"), "batch_size=8", "overwrite=true", "trainer.max_epochs=1")
    assert (
        read_scores(tmp_path / "run")["training"] | {"epochs": 1, "resumed_at": []}
        == (read_scores(tmp_path / "run")["training"])
    )


def test_interrupted_run_about_other_recordings_is_kept(
    corpus: Path, tmp_path: Path, undisturbed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(undisturbed, tmp_path / "run")
    (tmp_path / "run" / "scores.json").unlink()
    shutil.copytree(corpus, tmp_path / corpus.name)
    first = next(path for path in sorted((tmp_path / corpus.name).rglob("*")) if path.is_file())
    shutil.copy(first, first.with_stem(f"{first.stem}-again"))
    (tmp_path / "run" / "config.yaml").write_text(
        (undisturbed / "config.yaml").read_text().replace(str(corpus), str(tmp_path / corpus.name))
    )
    with pytest.raises(SystemExit):
        run_verb("train", *settings(tmp_path / corpus.name, tmp_path / "run"))
    assert "cannot be resumed, since this has changed: data, split" in capsys.readouterr().err


def test_generators_go_on_where_they_were() -> None:
    state = random_state()
    drawn = [(torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()) for _ in range(2)]
    set_random_state(state)
    assert drawn[0] == (torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random())
