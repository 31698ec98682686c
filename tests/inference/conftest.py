"""A trained network, used by all tests of inference."""

from __future__ import annotations

from pathlib import Path

import pytest

import artistid
from artistid.inference.identifier import Identifier
from tests.verbs import train


@pytest.fixture(scope="session")
def run(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("inference") / "run"
    train(corpus, folder, "split=album", "optimizer.lr=1e-3", "trainer.max_epochs=3", "trainer.precision=32-true")
    return folder


@pytest.fixture(scope="session")
def checkpoint(run: Path) -> Path:
    return run / "checkpoints" / "best.ckpt"


@pytest.fixture(scope="session")
def identifier(checkpoint: Path) -> Identifier:
    return artistid.load(checkpoint)
