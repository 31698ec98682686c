"""The song vote as a callback, in one process and in two."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import lightning as L
import numpy as np
import pandas as pd
import pytest
import torch

from artistid.data.clips import Clips
from artistid.data.datamodule import Batch
from artistid.evaluation.predictions import Predictions
from artistid.learning.callbacks import EpochAverage, SongVote
from artistid.learning.classifier import ArtistClassifier
from artistid.learning.logits import predictions_from_logits
from tests.learning.test_classifier import specification
from tests.verbs import QUICK, read_scores, train


def two_songs() -> Clips:
    """Song a of three clips by the first artist, song b of one clip by the second."""
    return Clips(
        track_ids=("a", "b"),
        track=np.array([0, 0, 0, 1]),
        clip=np.array([0, 1, 2, 0]),
        label=np.array([0, 0, 0, 1]),
        start=np.array([0, 32, 64, 96]),
        length=np.full(4, 32),
        pad_value=np.full(4, -80, np.float32),
        rows=32,
        dropped=(),
        padded=(),
    )


def test_predictions_carry_clip_song_and_artist() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0], [0.0, 4.0]])
    loss, predictions = predictions_from_logits(logits, np.arange(4), two_songs(), ("x", "y"))
    assert list(predictions.track_id) == ["a", "a", "a", "b"]
    assert list(predictions.clip) == [0, 1, 2, 0]
    assert list(predictions.artist) == ["x", "x", "x", "y"]
    assert list(predictions.predicted) == [0, 1, 0, 1]
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor([0, 0, 0, 1])).item()
    assert loss == pytest.approx(expected, rel=1e-6)


def test_clips_of_all_processes_count_once() -> None:
    """Two processes of two clips each, as Lightning gathers them; the sampler has handed out clip 0 twice."""
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0], [0.0, 4.0]])
    clips = two_songs()
    module = ArtistClassifier(specification())
    gathered = iter([logits[[0, 2, 1, 3, 0, 0]].reshape(2, 3, 2), torch.tensor([[0, 2, 1], [3, 0, 0]])])
    module.all_gather = lambda *_: next(gathered)  # type: ignore[method-assign]
    votes = SongVote({"val": clips}, "majority")
    first = torch.tensor([0])
    votes._collect({"logits": logits[:1]}, Batch(features=logits, label=first, clip=first, song=first))
    loss, predictions = votes._gather(module, "val")
    expected_loss, expected = predictions_from_logits(logits, np.arange(4), clips, ("x", "y"))
    assert loss == expected_loss
    assert np.array_equal(predictions.probability, expected.probability)


@pytest.mark.slow
def test_two_processes_have_the_scores_of_one(corpus: Path, tmp_path: Path) -> None:
    """DDP over gloo; 7 clips a batch leave a remainder, which the sampler fills up with clips that count once."""
    one = train(corpus, tmp_path / "one", "split=song", "batch_size=7", "trainer.precision=32-true")
    folder = tmp_path / "two"
    arguments = ("data=folder", f"data.root={corpus}", f"run_dir={folder}", "split=song", "batch_size=7", *QUICK)
    parallel = ("trainer.devices=2", "trainer.strategy=ddp", "trainer.accelerator=cpu", "trainer.precision=32-true")
    command = [sys.executable, "-m", "artistid", "train", *arguments, *parallel]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    two = read_scores(folder)
    for subset in ("val", "test"):
        assert two[subset]["frame"]["n"] == one[subset]["frame"]["n"]
        assert two[subset]["song"]["n"] == one[subset]["song"]["n"]
    own = Predictions.from_parquet(folder / "predictions" / "val.parquet")
    probability = own.probability[np.arange(len(own)), own.label]
    logged = pd.read_csv(folder / "metrics.csv")["val/loss"].dropna().iloc[-1]
    assert logged == pytest.approx(-np.log(probability).mean(), rel=1e-4)
    # The same weights give the same scores in one process.
    checkpoint = folder / "checkpoints" / "best.ckpt"
    again = [sys.executable, "-m", "artistid.evaluate", f"checkpoint={checkpoint}", "trainer.precision=32-true"]
    done = subprocess.run(again, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    [evaluated] = (folder / "evaluations").iterdir()
    assert read_scores(evaluated)["test"]["frame"]["accuracy"] == two["test"]["frame"]["accuracy"]


@pytest.mark.parametrize(("epochs", "first"), [(4, 2), (30, 10), (-1, 10)])
def test_an_average_begins_while_there_is_something_to_average(epochs: int, first: int) -> None:
    trainer = L.Trainer(accelerator="cpu", max_epochs=epochs, logger=False, enable_checkpointing=False)
    average = EpochAverage()
    average.setup(trainer, ArtistClassifier(specification()), "fit")
    assert average._first == first


def test_averaged_weights_are_not_the_latest(corpus: Path, tmp_path: Path) -> None:
    settings = ("trainer.max_epochs=4", "optimizer.lr=1e-3", "monitor=val/song/f1_weighted")
    plain = train(corpus, tmp_path / "plain", *settings)
    averaged = train(corpus, tmp_path / "averaged", "callbacks=swa", *settings)
    latest, mean = (pd.read_csv(tmp_path / name / "metrics.csv")["val/loss"] for name in ("plain", "averaged"))
    assert list(latest[:3]) == list(mean[:3])  # the mean of one epoch is its weights
    assert latest[3] != mean[3]
    assert plain["training"]["epochs"] == averaged["training"]["epochs"] == 4


def test_an_average_of_nothing_is_told(corpus: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    train(corpus, tmp_path / "run", "callbacks=swa", "callbacks.swa.start_epoch=2", "trainer.max_epochs=3")
    told = capsys.readouterr()
    assert "no weights were averaged: training ended after 3 epochs" in told.out + told.err
