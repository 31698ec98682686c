"""Augmentation, loss, scheduler and averaged weights: what each computes, and a run that goes on with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

from artistid.learning.augmentation import Augmentations, Mixup, SpecAugment
from artistid.learning.losses import FocalLoss
from tests.learning.test_resuming import assert_equal_runs
from tests.verbs import QUICK, read_scores, run_verb, train


def test_mixup_blends_clips_as_it_blends_their_artists() -> None:
    torch.manual_seed(0)
    label = torch.arange(4)
    features = one_hot(label).float()[:, :, None].expand(-1, -1, 5)  # a clip is its artist
    mixed, target = Augmentations([Mixup(alpha=1.0)], n_artists=4)(features, label)
    assert torch.equal(mixed, target[:, :, None].expand(-1, -1, 5))
    assert not torch.equal(target, one_hot(label).float())
    torch.testing.assert_close(target.sum(dim=1), torch.ones(4))


def test_spec_augment_masks_bands_and_stretches_with_the_mean() -> None:
    torch.manual_seed(0)
    features, target = torch.randn(6, 40, 50), torch.eye(6)
    masked, same = SpecAugment(frequency_masks=1, frequency_width=8, time_masks=1, time_width=10)(features, target)
    assert same is target
    changed = masked != features
    assert torch.equal(masked[changed], features.mean().expand(int(changed.sum())))
    bands, stretches = changed.all(dim=2).sum(dim=1), changed.all(dim=1).sum(dim=1)  # (batch,)
    assert bands.max() < 8
    assert stretches.max() < 10
    assert len(set(bands.tolist())) > 1, "of each clip others"
    assert torch.equal(SpecAugment(0, 1, 0, 1)(features, target)[0], features)


def test_focal_loss() -> None:
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 0.0]])
    label = torch.tensor([0, 2])
    torch.testing.assert_close(FocalLoss(gamma=0)(logits, label), cross_entropy(logits, label))
    probability = logits.softmax(dim=1)[[0, 1], label]
    torch.testing.assert_close(
        FocalLoss(gamma=2)(logits, label), (-((1 - probability) ** 2) * probability.log()).mean()
    )
    soft = torch.tensor([[0.7, 0.3, 0.0], [0.0, 0.0, 1.0]])
    torch.testing.assert_close(FocalLoss(gamma=0)(logits, soft), cross_entropy(logits, soft))


def rates(run_dir: Path) -> list[float]:
    """The learning rate at the end of each epoch."""
    column: list[float] = pd.read_csv(run_dir / "metrics.csv")["train/lr"].dropna().tolist()
    return column


EPOCHS = 4


@pytest.fixture(scope="module")
def command(corpus: Path) -> list[str]:
    more = ("clip.crop=random", "optimizer.lr=1e-3", "batch_size=8", f"trainer.max_epochs={EPOCHS}")
    return ["data=folder", f"data.root={corpus}", *QUICK, *more]


@pytest.mark.parametrize(
    "settings",
    [
        ("augment=[mixup,spec_augment]", "scheduler=one_cycle", "optimizer=adamw", "callbacks=ema", "loss=focal"),
        (
            *("scheduler=reduce_on_plateau", "scheduler.patience=0", "+scheduler.threshold=0.5", "callbacks=swa"),
            *("sampler=across_albums", "auxiliary=[contrastive,album_adversary]", "split=song"),
            "augment=[gain,equaliser]",
        ),
    ],
)
def test_a_run_that_goes_on_is_the_same_run(command: list[str], settings: tuple[str, ...], tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    command = [*command, *settings, "monitor=val/song/f1_weighted"]
    run_verb("train", *command, f"run_dir={whole}")
    power_cut = "{_target_: tests.learning.test_resuming.PowerCut, epoch: 2}"
    with pytest.raises((SystemExit, RuntimeError)):
        run_verb("train", *command, f"run_dir={cut}", f"+logger.cut={power_cut}")
    run_verb("train", *command, f"run_dir={cut}")
    assert read_scores(cut)["training"]["resumed_at"] == [2]
    assert_equal_runs(cut, whole)
    assert rates(cut) == rates(whole)
    assert len(set(rates(whole))) > 1


def test_cosine(command: list[str], tmp_path: Path) -> None:
    run_verb("train", *command, "scheduler=cosine", "optimizer=sgd", "optimizer.lr=0.1", f"run_dir={tmp_path / 'run'}")
    expected = [0.05 * (1 + np.cos(np.pi * epoch / EPOCHS)) for epoch in range(EPOCHS)]
    assert rates(tmp_path / "run") == pytest.approx(expected)


def test_what_is_monitored_chooses_the_best_epoch(command: list[str], tmp_path: Path) -> None:
    run_verb("train", *command, "monitor=val/frame/accuracy", f"run_dir={tmp_path / 'run'}")
    curves = pd.read_csv(tmp_path / "run" / "metrics.csv")
    training = json.loads((tmp_path / "run" / "scores.json").read_text())["training"]
    assert training["best_epoch"] == curves["val/frame/accuracy"].idxmax()
    assert training["best_val_loss"] == pytest.approx(curves["val/loss"][training["best_epoch"]])


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        (("monitor=val/nothing",), ["monitor=val/nothing", "val/loss"]),
        (("scheduler=cosine", "scheduler.interval=month"), ["scheduler.interval", "epoch, step"]),
        (("scheduler=cosine", "+scheduler.gamma=1"), ["scheduler"]),
        (("scheduler=cosine", "~scheduler._target_"), ["scheduler._target_"]),
        (("loss.label_smoothing=2",), ["loss.*", "label_smoothing"]),
        (("augment=mixup", "augment.mixup.alpha=0"), ["augment.mixup.alpha=0"]),
        (("augment=mixup", "auxiliary=contrastive"), ["auxiliary", "augment"]),
        (("auxiliary=contrastive", "auxiliary.contrastive.temperature=0"), ["auxiliary.contrastive.temperature=0"]),
        (("loss=angular_margin",), ["loss", "model.network.head=cosine"]),
        (("loss=angular_margin", "loss.margin=4"), ["loss.margin=4"]),
        (("+augment.mine={_target_: builtins.dict}",), ["augment.mine", "Module"]),
        (("metrics=[nowhere.metric]",), ["metrics", "nowhere.metric"]),
        (("clip=song", "clip.crop=random"), ["clip.crop"]),
        (("model=majority", "clip=1s", "clip.crop=random"), ["clip.crop", "baseline"]),
        (("vote=plurality",), ["vote", "plurality", "mean_probability"]),
    ],
)
def test_bad_settings(
    settings: tuple[str, ...], names: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit):
        train(Path("nowhere"), tmp_path / "run", *settings)
    told = capsys.readouterr().err
    assert all(name in told for name in names), told


def test_settings_of_before_there_were_any_go_on(trained: Path) -> None:
    """A run folder of before names neither a loss nor what it monitors."""
    from omegaconf import OmegaConf

    from artistid.runs.folder import settings_of

    now: Any = OmegaConf.load(trained / "config.yaml")
    before = OmegaConf.create({k: v for k, v in now.items() if k not in ("loss", "monitor", "metrics")})
    for name in ("hop", "crop"):
        del before.clip[name]
    then, today = settings_of(before), settings_of(now)
    assert {name for name in today if today[name] != then.get(name)} == set()
