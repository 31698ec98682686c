"""The run folder: everything behind a run's numbers, under names that are written down here only."""

from __future__ import annotations

import json
import logging
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from artistid import __version__
from artistid.errors import ArtistidError
from artistid.evaluation import figures
from artistid.evaluation.predictions import Predictions
from artistid.evaluation.scores import Score, per_artist, score_levels
from artistid.evaluation.voting import vote

PACKAGES = ("torch", "torchaudio", "lightning", "torchmetrics", "hydra-core", "numpy", "scikit-learn", "soundfile")


class RunFolder:
    """One run's files.

    Attributes:
        config: the composed configuration, YAML.
        catalog: the tracks used, with duration and SHA-1, CSV.
        split: part of every track, CSV.
        checkpoints: folder of ``best.ckpt`` and ``last.ckpt``.
        metrics: curves over epochs, CSV.
        scores: of both levels, and where they come from, JSON; its presence says that the run is finished.
        log: what was logged.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        self.config = self.path / "config.yaml"
        self.catalog = self.path / "catalog.csv"
        self.split = self.path / "split.csv"
        self.checkpoints = self.path / "checkpoints"
        self.metrics = self.path / "metrics.csv"
        self.scores = self.path / "scores.json"
        self.log = self.path / "run.log"

    def begin(self, overwrite: bool) -> None:
        """Make the folder ready for a new run.

        Raises:
            ArtistidError: a finished run is there and ``overwrite`` is false, or the folder holds something else, or it can't be written.
        """
        if self.scores.exists() and not overwrite:
            raise ArtistidError(
                f"{self.path} holds a finished run; overwrite=true replaces it, run_dir=PATH or run_by=time keeps both"
            )
        try:
            if self.path.exists() and any(self.path.iterdir()):
                if not self.config.exists():
                    raise ArtistidError(f"{self.path} is not empty and is no run folder (it has no {self.config.name})")
                shutil.rmtree(self.path)
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ArtistidError(f"cannot write the run folder run_dir={self.path}: {error}") from error
        handler = logging.FileHandler(self.log, encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logging.getLogger().addHandler(handler)

    def write_results(self, predictions: Mapping[str, Predictions], method: str) -> dict[str, dict[str, Score]]:
        """Score the predictions of each part; write them, the votes, and the figures and per-artist report of the test.

        Returns:
            Scores by part and level.
        """
        scores = {}
        for part, clips in predictions.items():
            clips.to_parquet(self.path / "predictions" / f"{part}.parquet")
            votes = vote(clips, method)
            votes.to_frame().to_csv(self.path / f"songs_{part}.csv", index=False)
            scores[part] = score_levels(clips, method)
        tested = predictions["test"]
        votes = vote(tested, method)
        per_artist(tested, votes).to_csv(self.path / "per_artist.csv", index=False)
        for level, outcome in (("frame", tested), ("song", votes)):
            f1 = scores["test"][level]["f1_weighted"]
            title = f"Test, {level} level: weighted F1 {f1:.3f}, n = {len(outcome)} {'clips' if level == 'frame' else 'songs'}"
            path = self.path / f"confusion_{level}.png"
            figures.confusion_matrix(outcome.label, outcome.predicted, tested.artists, title, path)
        if self.metrics.exists() and "val/loss" in (metrics := pd.read_csv(self.metrics)):
            figures.learning_curves(metrics, self.path / "learning_curves.png")
        return scores

    def finish(self, scores: Mapping[str, Any]) -> None:
        """Write the scores file; from now on the run counts as finished."""
        draft = self.scores.with_suffix(".tmp")
        draft.write_text(json.dumps(scores, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        draft.replace(self.scores)


def provenance() -> dict[str, Any]:
    """Which code ran, on what: for the scores file."""
    return {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "revision": revision(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {"artistid": __version__, **{name: version(name) for name in PACKAGES}},
    }


def revision() -> str | None:
    """Git commit of the checkout that this package runs from, ``+changes`` if files differ; None outside a checkout."""
    folder = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        command = ("git", "-C", str(folder), *arguments)
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        if not (folder.parent / ".git").exists():  # installed somewhere below another project's checkout
            return None
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None
