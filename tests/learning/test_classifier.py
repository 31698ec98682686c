"""The LightningModule around a network."""

from __future__ import annotations

from pathlib import Path

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader

from artistid.data.datamodule import Batch
from artistid.errors import ArtistidError
from artistid.learning.classifier import ArtistClassifier
from artistid.learning.specification import Specification, load_checkpoint


def specification(artists: tuple[str, ...] = ("x", "y")) -> Specification:
    return Specification(
        artists=list(artists),
        features={"_target_": "artistid.data.features.LogMel"},
        clip={"name": "1s", "seconds": 1, "frames": 32},
        network={"_target_": "artistid.models.crnn.CRNN"},
        vote="majority",
        batch_size=2,
        precision="32-true",
        data={},
        split={},
        recordings=[],
    )


def batches(n: int, size: int = 4) -> list[Batch]:
    generator = torch.Generator().manual_seed(0)
    return [
        Batch(
            features=torch.randn(size, 128, 32, generator=generator) * 20 - 40,
            label=torch.arange(size) % 2,
            clip=torch.arange(size),
            song=torch.arange(size),
        )
        for _ in range(n)
    ]


def fit(classifier: ArtistClassifier, given: list[Batch], folder: Path) -> L.Trainer:
    trainer = L.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_progress_bar=False, default_root_dir=folder
    )
    trainer.fit(classifier, DataLoader(given, batch_size=None))  # type: ignore[arg-type]
    return trainer


def classifier_that_learns() -> ArtistClassifier:
    torch.manual_seed(0)
    return ArtistClassifier(specification(), lambda parameters: torch.optim.Adam(parameters, lr=1e-3))


def test_running_statistics_begin_as_means(tmp_path: Path) -> None:
    classifier, given = classifier_that_learns(), batches(5)
    fit(classifier, given, tmp_path)
    mean = torch.stack([batch["features"].mean(dim=(0, 2)) for batch in given]).mean(dim=0)
    torch.testing.assert_close(classifier.network.normalise.running_mean, mean, rtol=1e-4, atol=1e-3)


def test_running_statistics_end_with_the_paper_s_momentum(tmp_path: Path) -> None:
    classifier = classifier_that_learns()
    fit(classifier, batches(103, size=2), tmp_path)
    norms = [module for module in classifier.modules() if hasattr(module, "running_mean")]
    assert {norm.momentum for norm in norms} == {0.01}


def test_logits_are_single_precision_whatever_the_clips_are() -> None:
    logits = ArtistClassifier(specification()).eval()(torch.zeros(3, 128, 32, dtype=torch.float16))
    assert logits.dtype == torch.float32
    assert logits.shape == (3, 2)


def test_checkpoint_gives_the_same_logits(tmp_path: Path) -> None:
    classifier = classifier_that_learns()
    trainer = fit(classifier, batches(2), tmp_path)
    trainer.save_checkpoint(tmp_path / "x.ckpt")
    loaded = ArtistClassifier.from_checkpoint(tmp_path / "x.ckpt")
    clips = batches(1)[0]["features"]
    assert torch.equal(loaded(clips), classifier.eval()(clips))
    assert load_checkpoint(tmp_path / "x.ckpt")[0] == classifier.specification


def test_checkpoint_of_another_version(tmp_path: Path) -> None:
    plain = specification().plain()
    torch.save({"state_dict": {}, "artistid": {**plain, "colour": "blue"}}, tmp_path / "x.ckpt")
    with pytest.raises(ArtistidError, match="another version"):
        load_checkpoint(tmp_path / "x.ckpt")
