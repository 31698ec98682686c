"""Stands in for a verb, to see what its runs would be called."""

from __future__ import annotations

import sys
from pathlib import PurePath

import pytest
from omegaconf import DictConfig

from artistid.cli import command

_runs: list[str] = []


def train(config: DictConfig) -> float:
    """Keeps the run's folder."""
    _runs.append(config.run_dir)
    return 0.0


def run_dirs(*arguments: str) -> list[str]:
    """The folders, below ``runs/``, that ``python -m artistid.train`` would give these runs."""
    _runs.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["artistid/train.py", *arguments])
        command("train", __name__)
    return [PurePath(path).relative_to("runs").as_posix() for path in _runs]
