"""Stands in for a verb, to see what its runs would be called."""

from __future__ import annotations

from pathlib import PurePath

from omegaconf import DictConfig

from tests.verbs import run_verb

_runs: list[str] = []


def train(config: DictConfig) -> float:
    """Keeps the run's folder."""
    _runs.append(config.run_dir)
    return 0.0


def run_dirs(*arguments: str) -> list[str]:
    """The folders, below ``runs/``, that ``python -m artistid.train`` would give these runs."""
    _runs.clear()
    run_verb("train", *arguments, module=__name__)
    return [PurePath(path).relative_to("runs").as_posix() for path in _runs]
