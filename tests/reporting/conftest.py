"""A finished run for what reports on runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.verbs import train


@pytest.fixture(scope="session")
def run(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three artists, each tested on an album of two songs of 4 s, three clips of 1 s each; in single precision."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(corpus, folder, "split=album", "optimizer.lr=1e-3", "trainer.precision=32-true")
    return folder
