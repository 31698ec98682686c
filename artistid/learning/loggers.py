"""The loggers of ``config.logger``, opened and closed with a run."""

from __future__ import annotations

import csv
import hashlib
import logging
import os
import re
import secrets
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig

from artistid.config import build, plain
from artistid.errors import ArtistidError
from artistid.evaluation.predictions import Predictions
from artistid.evaluation.scores import Score, outcomes
from artistid.evaluation.voting import SongVotes
from artistid.learning.system import METRICS
from artistid.places import expanded
from artistid.printing import shown
from artistid.settings import first_line
from artistid.writing import whole, write_text

log = logging.getLogger(__name__)

# What wandb takes of each text, in characters, and what its names of projects may not have.
LONGEST = {"name": 128, "group": 128, "job_type": 64, "project": 128}
LONGEST_TAG = 64
NOT_IN_PROJECTS = re.compile(r"[/\\#?%:]")

SECONDS_TO_ANSWER = 10  # after which a server counts as out of reach


@contextmanager
def open_loggers(config: DictConfig, resume: bool) -> Iterator[list[Logger]]:
    """Loggers that know the composed configuration, closed at the end in every case: a run of wandb per run of ours.

    Args:
        config: ``logger.*`` are the loggers.
        resume: whether the run goes on; its run of wandb then does so as well.
    """
    settings = {name: plain(logger) for name, logger in (config.get("logger") or {}).items()}
    if "wandb" in settings:
        settings["wandb"]["id"] = _wandb_id(Path(settings["wandb"]["save_dir"]), resume)
        settings["wandb"] = {**_fitted(settings["wandb"]), "mode": _wandb_mode(settings["wandb"])}
    warnings.filterwarnings("ignore", ".*Experiment logs directory .* exists.*")  # our run folder, of course
    loggers: list[Logger] = [build(logger, f"logger.{name}") for name, logger in settings.items()]
    told = _sayable(plain(config))
    status = "failed"
    try:
        for logger in loggers:
            if isinstance(logger, WandbLogger):
                _begin(logger)
            logger.log_hyperparams(told)
        yield loggers
        status = "success"
    finally:
        for logger in loggers:
            logger.save()
            logger.finalize(status)
            if isinstance(logger, WandbLogger) and logger._experiment is not None:
                logger.experiment.finish(exit_code=int(status == "failed"))


def check_loggers(config: DictConfig) -> None:
    """Raises ArtistidError where wandb was told to be online and cannot be: before the work, not after it."""
    wandb_settings = (config.get("logger") or {}).get("wandb")
    if wandb_settings is not None and (wandb_settings.get("mode") or os.environ.get("WANDB_MODE")) == "online":
        _wandb_mode(plain(wandb_settings))


class CSVLogger(Logger):
    """Writes ``metrics.csv``: a row per epoch, and one of the test. The file is always whole.

    Metrics of one epoch make one row, in whatever portions they come, so that a run that went on from the end of an
    epoch leaves the same file as one that was never interrupted.

    Args:
        save_dir: the run folder; its ``config.yaml`` has the settings.
    """

    name, version = "csv", ""

    def __init__(self, save_dir: str) -> None:
        super().__init__()
        self._path = expanded(save_dir) / METRICS
        self._rows: dict[Any, dict[str, Any]] = {}  # by epoch; None: of no epoch

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        row = self._rows.setdefault(metrics.get("epoch"), {})
        row |= metrics if step is None else {**metrics, "step": step}
        columns = sorted({name for row in self._rows.values() for name in row})
        with whole(self._path, newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(self._rows.values())

    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None:
        """They are in the run folder already."""


def log_results(
    loggers: Sequence[Logger], scores: Mapping[str, Score], predictions: Predictions, songs: SongVotes
) -> None:
    """Give the test's results to the loggers: scores to all, and what can be looked at to those that show it.

    Args:
        loggers: open ones.
        scores: of each level; logged as ``test/song/f1_weighted`` and the like.
        predictions: of the test clips.
        songs: their votes.
    """
    metrics = {
        f"test/{level}/{name}": value
        for level, score in scores.items()
        for name, value in score.items()
        if isinstance(value, int | float)
    }
    for logger in loggers:
        logger.log_metrics(metrics)
        if isinstance(logger, WandbLogger):
            _show_in_wandb(logger, predictions, songs, tuple(scores))


def _show_in_wandb(logger: WandbLogger, predictions: Predictions, songs: SongVotes, levels: Sequence[str]) -> None:
    import wandb

    artists = list(predictions.artists)
    matrices = {
        f"test/{level}/confusion": wandb.plot.confusion_matrix(
            y_true=outcome.label.tolist(),
            preds=outcome.predicted.tolist(),
            class_names=artists,
            title=f"Test, {level} level",
        )
        for level, outcome in outcomes(predictions, songs, levels).items()
    }
    logger.experiment.log({**matrices, "test/songs": wandb.Table(dataframe=songs.to_frame())})


def _wandb_id(run_dir: Path, resume: bool) -> str:
    """The run's id at wandb; kept in the run folder, since resuming needs it."""
    path = expanded(run_dir) / "wandb" / "id"
    if not (resume and path.exists()):
        path.parent.mkdir(exist_ok=True)
        write_text(path, secrets.token_hex(4))
    return path.read_text(encoding="utf-8")


def _wandb_mode(settings: Mapping[str, Any]) -> str:
    """``online`` where wandb was told so or can be reached, else ``offline``: its records then stay in the run folder.

    It would wait for two minutes before it gives up, and could not go on offline after that.

    Raises:
        ArtistidError: it was told to be online, and cannot be.
    """
    asked = settings.get("mode") or os.environ.get("WANDB_MODE")
    if asked not in (None, "online"):
        return str(asked)
    if not _has_wandb_account():
        lacking, later = "no account is set up on this machine (wandb login)", ""
    elif not _answers(address := _wandb_address()):
        lacking = f"{address} does not answer within {SECONDS_TO_ANSWER} s"
        later = "; wandb sync sends what it keeps in the run folder"
    else:
        return "online"
    if asked:
        raise ArtistidError(f"wandb was told to be online, but {lacking}; logger.wandb.mode=offline does without")
    log.warning("wandb: %s, so it works offline%s", lacking, later)
    return "offline"


def _has_wandb_account() -> bool:
    """Whether wandb has a key, without which it would ask for it; raises ArtistidError for what is none."""
    import wandb

    try:
        return bool(wandb.login(prompt=False, verify=False))
    except wandb.errors.AuthenticationError as error:
        raise ArtistidError(f"wandb: its key (WANDB_API_KEY, or wandb login) is no key: {first_line(error)}") from error
    except wandb.errors.UsageError:  # there is none, and WANDB_MODE=online asks for one
        return False


def _wandb_address() -> str:
    import wandb

    return str(wandb.setup().settings.base_url)


def _answers(address: str) -> bool:
    """Whether a server answers, whatever it says."""
    import requests  # which wandb brings

    try:
        requests.head(address, timeout=SECONDS_TO_ANSWER)
    except requests.RequestException:
        return False
    return True


def _begin(logger: WandbLogger) -> None:
    """Begin the run at wandb; raises ArtistidError where it is refused."""
    import wandb

    try:
        logger.experiment.define_metric("*", step_metric="epoch")  # comparable whatever the size of an epoch
    except (wandb.errors.Error, ValueError, TypeError) as error:
        raise ArtistidError(f"logger.wandb: {first_line(error)}; logger.wandb.mode=offline does without it") from error


def _fitted(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of wandb with texts that it takes: no longer than it allows, and still told apart where they are cut."""
    fitted: dict[str, Any] = _sayable(settings)
    for name, most in LONGEST.items():
        if fitted.get(name) is not None:
            fitted[name] = cut_short(str(fitted[name]), most)
    if fitted.get("project"):
        fitted["project"] = NOT_IN_PROJECTS.sub("-", fitted["project"])
    tags = (str(tag) for tag in fitted.get("tags") or ())
    return {**fitted, "tags": list(dict.fromkeys(cut_short(tag, LONGEST_TAG) for tag in tags if tag))}


def cut_short(text: str, most: int) -> str:
    """A text of at most so many characters; a longer one ends in eight that tell it from others that begin alike."""
    if len(text) <= most:
        return text
    return f"{text[: most - 9]}-{hashlib.sha1(text.encode()).hexdigest()[:8]}"


def _sayable(value: Any) -> Any:
    """Plain settings with texts that any logger can write: what is no text in a name becomes U+FFFD."""
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, Mapping):
        return {_sayable(name): _sayable(each) for name, each in value.items()}
    return [_sayable(each) for each in value] if isinstance(value, list) else value
