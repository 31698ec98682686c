"""Runs the package's commands as a shell would, in this process: composing, logging and exit codes included."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from artistid.cli import command

# Quiet and short: for runs whose scores don't matter.
QUICK = ("clip=1s", "trainer.max_epochs=1", "trainer.enable_progress_bar=false", "workers=0", "figures=false")


def run_verb(verb: str, *overrides: str, module: str | None = None) -> None:
    """``python -m artistid.<verb> <overrides>``; SystemExit where the shell would see an exit code other than 0.

    Args:
        verb, overrides: of the command line.
        module: whose function of that name stands in for the verb's; None: the verb's own.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [f"artistid/{verb}.py", *overrides])
        command(verb, module)


def train(root: Path, run_dir: Path, *overrides: str) -> dict[str, Any]:
    """A quick run on a folder of music; returns what its scores file says."""
    run_verb("train", "data=folder", f"data.root={root}", f"run_dir={run_dir}", *QUICK, *overrides)
    return read_scores(run_dir)


def read_scores(run_dir: Path) -> dict[str, Any]:
    """The scores file of a finished run."""
    scores: dict[str, Any] = json.loads((run_dir / "scores.json").read_text(encoding="utf-8"))
    return scores
