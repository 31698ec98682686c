"""The run folder: everything behind a run's numbers, under file names that are defined only here."""

from __future__ import annotations

import errno
import json
import logging
import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from logging.handlers import MemoryHandler
from pathlib import Path
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from artistid import old_names
from artistid.config import plain
from artistid.data.catalog import Catalog
from artistid.data.duplicates import Leakage
from artistid.data.splits import Split
from artistid.errors import ArtistidError
from artistid.evaluation.predictions import Predictions
from artistid.evaluation.scores import Score, per_artist
from artistid.evaluation.verification_results import draw_verification, verification_rows
from artistid.evaluation.voting import vote
from artistid.interruption import Interrupted, signal_that_came
from artistid.learning.system import CHECKPOINTS, DASHBOARDS, GRID, LAST, METRICS, SPLIT
from artistid.naming import WITHOUT_EFFECT
from artistid.places import expanded, require_writable
from artistid.printing import Formatter
from artistid.settings import literal
from artistid.writing import sweep, whole, write_csv, write_text

# Reports of a run, made from its predictions and metrics.
REPORTS = (
    "songs_val.csv",
    "songs_test.csv",
    "per_artist.csv",
    "confusion_frame.png",
    "confusion_song.png",
    "learning_curves.png",
    "verification.csv",
    "verification.png",
    "hparams.yaml",
)

CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)


class RunFolder:
    """One run's files. If several processes train together, only the first one writes.

    Attributes:
        mark: an empty file that marks the folder as a run's: written first, and never removed.
        log: what was logged.
        config: the composed configuration, YAML.
        catalog: the tracks used, with duration and SHA-1, CSV.
        split: subset of every track, CSV.
        duplicates: near-identical recordings in two subsets of the split, CSV.
        checkpoints: folder of ``best.ckpt`` and ``last.ckpt``.
        last: the state after the last epoch, from which training can resume.
        metrics: curves over epochs, CSV.
        grid: the validation scores of all points of a baseline's grid of parameters, CSV.
        predictions: folder of the clips' probabilities by subset, Parquet.
        scores: of both levels, with their provenance, JSON; its presence marks the run as finished.
        evaluations: folder of later evaluations of the checkpoints.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = expanded(path)
        self.mark = self.path / ".artistid-run"
        self.log = self.path / "run.log"
        self.config = self.path / "config.yaml"
        self.catalog = self.path / "catalog.csv"
        self.split = self.path / SPLIT
        self.duplicates = self.path / "duplicates.csv"
        self.checkpoints = self.path / CHECKPOINTS
        self.last = self.path / LAST
        self.metrics = self.path / METRICS
        self.grid = self.path / GRID
        self.predictions = self.path / "predictions"
        self.scores = self.path / "scores.json"
        self.evaluations = self.path / "evaluations"
        # Holds lines logged before the folder is made; far more than there will be.
        self._kept_log = MemoryHandler(capacity=100_000, flushLevel=logging.CRITICAL + 1, flushOnClose=True)
        self._lock = FileLock(self.path / ".lock")

    def is_run(self) -> bool:
        """Whether a run began here; earlier versions wrote no mark, but a log and a configuration."""
        return self.mark.exists() or (self.log.exists() and self.config.exists())

    def finished(self, config: DictConfig) -> dict[str, Any] | None:
        """The contents of the scores file, if a finished run with these settings is here; None without a finished run.

        Raises:
            ArtistidError: a finished run with other settings is here.
        """
        if not self.scores.exists():
            return None
        self._check_settings(config, "a finished run")
        scores: dict[str, Any] = json.loads(self.scores.read_text(encoding="utf-8"))
        return scores

    def interrupted(self, config: DictConfig) -> bool:
        """Whether an unfinished run with these settings is here that can go on.

        Raises:
            ArtistidError: an unfinished run with other settings is here, and has trained an epoch or more.
        """
        if self.scores.exists() or not self.last.exists():
            return False
        self._check_settings(config, "an unfinished run")
        return True

    def _check_settings(self, config: DictConfig, what: str) -> None:
        if changed := changed_settings(self.config, config):
            raise ArtistidError(
                f"{self.path} holds {what} with other settings ({'; '.join(changed)}): "
                "overwrite=true replaces it, run_dir=PATH or run_by=time keeps both"
            )

    @contextmanager
    def begin(self, overwrite: bool) -> Iterator[None]:
        """Make sure that the folder is free, and collect the log for it; nothing is written before :meth:`write_setup`.

        Raises:
            ArtistidError: a finished run is there and ``overwrite`` is false, the folder holds something else, or it
                cannot be written.
        """
        if self.scores.exists() and not overwrite:
            raise ArtistidError(
                f"{self.path} holds a finished run; overwrite=true replaces it, run_dir=PATH or run_by=time keeps both"
            )
        require_writable(self.path, f"the run folder run_dir={self.path}")
        if self.path.exists() and any(self.path.iterdir()) and not self.is_run():
            raise ArtistidError(
                f"run_dir={self.path} is not empty and is not a run folder (it lacks {self.mark.name}); choose another"
            )
        logger = logging.getLogger()
        logger.addHandler(self._kept_log)
        try:
            yield
        except Interrupted as interrupted:
            self._note("interrupted by %s", signal.Signals(interrupted.number).name)
            raise
        except Exception as error:
            if number := signal_that_came():  # torch, for one, raises its own error if it was writing a file
                self._note("interrupted by %s", signal.Signals(number).name)
                raise Interrupted(number) from error
            self._note("failed: %s", error, reason=None if isinstance(error, ArtistidError) else error)
            if isinstance(error, OSError) and error.errno in CANNOT_WRITE:
                raise ArtistidError(f"cannot write to run_dir={self.path}: {error.strerror}") from error
            raise
        finally:
            logger.removeHandler(self._kept_log)
            if file := self._kept_log.target:
                self._kept_log.close()
                file.close()
            self._lock.release()

    def _note(self, message: str, *arguments: object, reason: Exception | None = None) -> None:
        """Log how a run ended to the folder's log only: the console gets its own message."""
        traceback = (type(reason), reason, reason.__traceback__) if reason else None
        self._kept_log.handle(logging.LogRecord(__name__, logging.ERROR, __file__, 0, message, arguments, traceback))

    @rank_zero_only
    def write_setup(
        self,
        config: DictConfig,
        catalog: Catalog,
        split: Split | None = None,
        leakage: Leakage | None = None,
        *,
        resume: bool = False,
    ) -> None:
        """Make the folder, without an earlier run's files, and write the setup of the run.

        Whenever the process is killed meanwhile, the same command will accept the folder.

        Args:
            config: to be kept.
            catalog: the tracks used.
            split: their subsets, if any.
            leakage: recordings that the split has in two subsets.
            resume: keep the files, and append to the log.

        Raises:
            ArtistidError: the folder can't be written, or another process is writing a run there.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.mark.touch()
            self._lock.acquire(timeout=0)
            if not resume:
                self._clear()
            file = logging.FileHandler(self.log, encoding="utf-8")
            file.setFormatter(Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
            self._kept_log.setTarget(file)
            self._kept_log.flush()
            self._kept_log.flushLevel = logging.NOTSET  # from now on, line by line
            with whole(self.config) as config_file:
                OmegaConf.save(OmegaConf.create(literal(plain(config))), config_file)
            catalog.to_csv(self.catalog)
            if split is not None:
                split.to_csv(self.split)
            if leakage is not None:
                leakage.to_csv(self.duplicates)
        except Timeout:
            raise ArtistidError(f"run_dir={self.path}: another process is writing a run there") from None
        except OSError as error:
            raise ArtistidError(f"cannot write the run folder run_dir={self.path}: {error}") from error

    def _clear(self) -> None:
        """Remove an earlier run's files, and nothing else.

        First the mark that it is finished, then the state to resume from: neither is ever left without what it needs.
        """
        self.scores.unlink(missing_ok=True)
        self.last.unlink(missing_ok=True)
        sweep(self.path)
        dashboards = (self.path / name for name in DASHBOARDS)
        for folder in (self.checkpoints, self.predictions, self.evaluations, *dashboards):
            if folder.exists():
                shutil.rmtree(folder)
        reports = (self.path / name for name in REPORTS)
        setup = (self.config, self.catalog, self.split, self.duplicates)
        for file in (*setup, self.metrics, self.grid, *reports, self.log):
            file.unlink(missing_ok=True)

    @rank_zero_only
    def write_results(
        self, predictions: Mapping[str, Predictions], method: str, scores: Mapping[str, Mapping[str, Score]]
    ) -> None:
        """Write the predictions and song votes of each subset, and the per-artist report of the test."""
        songs = {subset: vote(clips, method) for subset, clips in predictions.items()}
        for subset, clips in predictions.items():
            clips.to_parquet(self.predictions / f"{subset}.parquet")
            write_csv(self.path / f"songs_{subset}.csv", songs[subset].to_frame())
        write_csv(self.path / "per_artist.csv", per_artist(predictions["test"], songs["test"], tuple(scores["test"])))

    @rank_zero_only
    def write_verification(self, told: Mapping[str, Any], figures: bool) -> None:
        """Write the results for artists not trained on: a row for each scorer and measure, and a figure."""
        write_csv(self.path / "verification.csv", verification_rows(told))
        if figures:
            draw_verification(told, self.path / "verification.png")

    @rank_zero_only
    def finish(self, scores: Mapping[str, Any]) -> None:
        """Write the scores file; from now on the run counts as finished."""
        write_text(self.scores, json.dumps(scores, indent=1, ensure_ascii=False) + "\n")


def settings_of(config: Any) -> dict[str, Any]:
    """A run's settings as one flat dict, such as ``optimizer.lr`` to its value, under today's names."""
    row = pd.json_normalize(plain(config)).to_dict("records")[0]
    return old_names.completed({str(name): value for name, value in row.items()})


def changed_settings(kept: Path, config: DictConfig) -> list[str]:
    """The settings that differ between a saved configuration and another, except those without effect."""
    before, now = (settings_of(settings) for settings in (OmegaConf.load(kept), config))
    return [
        f"{name} was {before.get(name)}, is {now.get(name)}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name) and not name.startswith(WITHOUT_EFFECT)
    ]


def run_folders(root: Path) -> list[RunFolder]:
    """All run folders at and below a folder, finished or not, sorted by path."""
    names = (RunFolder(".").mark.name, RunFolder(".").config.name, RunFolder(".").scores.name)
    folders = (RunFolder(path) for path in sorted({path.parent for name in names for path in root.rglob(name)}))
    return [folder for folder in folders if folder.is_run() or folder.scores.exists()]
