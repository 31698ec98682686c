"""A run of Weights & Biases: how it is started, online or offline, and what is logged to it."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import pandas as pd
from lightning.pytorch import loggers
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_only

from artistid.data.excerpts import mp3_files
from artistid.errors import ArtistidError
from artistid.evaluation.plots import CURVES
from artistid.evaluation.scores import outcomes
from artistid.hints import Whole
from artistid.learning.dashboards import Results, RunLogger, sayable
from artistid.learning.system import BEST, SPLIT
from artistid.places import expanded
from artistid.settings import first_line
from artistid.writing import write_text

log = logging.getLogger(__name__)

# wandb's length limits, in characters, and the characters not allowed in its project names.
LONGEST = {"name": 128, "group": 128, "job_type": 64, "project": 128}
LONGEST_TAG = 64
NOT_IN_PROJECTS = re.compile(r"[/\\#?%:]")

SECONDS_TO_ANSWER = 10  # after which a server counts as unreachable


class WandbLogger(RunLogger, loggers.WandbLogger):
    """A wandb run for a job.

    Its summary has all metrics of the epoch of the best checkpoint: with wandb's own ``summary: max`` each metric would
    be from another epoch, and not a plain number that a wandb sweep can compare.

    Args:
        save_dir: folder in which ``wandb/`` is created.
        project, entity, name, group, job_type, notes, tags: as wandb lists the run; entity is a user or a team.
        mode: null: ``online`` where an account is set up and a server answers, else ``offline``.
        excerpts: how many of the most confident correct songs, and of the wrong ones, can be listened to.
        artifacts: whether the split and the best checkpoint are uploaded as artifacts.
        settings: other arguments of ``wandb.init``.
    """

    def __init__(
        self,
        save_dir: str,
        project: str | None = None,
        entity: str | None = None,
        name: str | None = None,
        group: str | None = None,
        job_type: str | None = None,
        notes: str | None = None,
        tags: Sequence[str] | None = None,
        mode: Literal["online", "offline", "disabled"] | None = None,
        excerpts: Whole = 4,
        artifacts: bool = False,
        **settings: Any,
    ) -> None:
        listed: dict[str, Any] = {
            "entity": entity,
            "group": group,
            "job_type": job_type,
            "notes": notes,
            "tags": tags,
            "mode": mode,
        }
        super().__init__(name, save_dir, project=project, **{**listed, **settings})
        self._excerpts = excerpts
        self._artifacts = artifacts
        self._rows: dict[int, dict[str, float]] = {}  # metrics, by epoch
        self._best: int | None = None  # epoch
        self._defined: set[str] = set()

    def begin(self) -> None:
        """Start the wandb run; raises ArtistidError where wandb refuses it."""
        import wandb

        try:
            self.experiment.define_metric("*", step_metric="epoch")  # comparable whatever the size of an epoch
        except (wandb.errors.Error, ValueError, TypeError) as error:
            raise ArtistidError(
                f"logger.wandb: {first_line(error)}; logger.wandb.mode=offline does without it"
            ) from error

    def resume(self, curves: Sequence[Mapping[str, float]]) -> None:
        self._rows = {
            int(row["epoch"]): {name: row[name] for name in row if name not in ("epoch", "step")} for row in curves
        }

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        if "epoch" not in metrics:
            super().log_metrics(metrics, step)
            return
        of_epoch = {name: value for name, value in metrics.items() if name != "epoch"}
        for name in of_epoch.keys() - self._defined:
            self.experiment.define_metric(name, step_metric="epoch", summary="none")
            self._defined.add(name)
        super().log_metrics(metrics, step)
        self._rows.setdefault(int(metrics["epoch"]), {}).update(of_epoch)
        self._summarise()

    def after_save_checkpoint(self, checkpoint_callback: ModelCheckpoint) -> None:
        """The current epoch is the best so far."""
        super().after_save_checkpoint(checkpoint_callback)
        self._best = max(self._rows, default=None)
        self._summarise()

    @rank_zero_only
    def show(self, results: Results) -> None:
        super().show(results)
        self._best = results.training.get("best_epoch")
        self._summarise()
        self.experiment.summary.update(
            {name: value for name, value in results.training.items() if isinstance(value, int | float)}
        )
        self.experiment.log({**_matrices(results), **self._curves()})
        for name, frame in results.tables.items():
            self.show_table(name, frame)
        self._play(results)
        if self._artifacts:
            self._keep("split", results.folder / SPLIT)
            self._keep("model", results.folder / BEST, results.metrics)

    @rank_zero_only
    def show_table(self, name: str, frame: pd.DataFrame) -> None:
        import wandb

        self.experiment.log({name: wandb.Table(dataframe=frame, allow_mixed_types=True)})

    @rank_zero_only
    def close(self, status: str) -> None:
        if self._experiment is not None:
            self.experiment.finish(exit_code=int(status == "failed"))

    def _summarise(self) -> None:
        """Write the best epoch's metrics to the summary, from which wandb drops them with each further epoch."""
        if self._best in self._rows:
            self.experiment.summary.update({**self._rows[self._best], "best_epoch": self._best})

    def _curves(self) -> dict[str, Any]:
        """One chart of the losses, and one of the scores at both levels."""
        import wandb

        charts = {}
        for quantity, columns in CURVES.items():
            curves = {
                name: [(epoch, row[column]) for epoch, row in sorted(self._rows.items()) if column in row]
                for column, name, _ in columns
            }
            drawn = {name: list(zip(*points, strict=True)) for name, points in curves.items() if points}
            if drawn:
                name = quantity.partition(",")[0].replace(" ", "_")
                charts[f"learning_curves/{name}"] = wandb.plot.line_series(
                    xs=[epochs for epochs, _ in drawn.values()],
                    ys=[values for _, values in drawn.values()],
                    keys=list(drawn),
                    title=f"Learning curves: {quantity}",
                    xname="epoch",
                )
        return charts

    def _play(self, results: Results) -> None:
        """Log audio of the most confident songs, with their predictions as captions."""
        import wandb

        chosen = [(name, each) for name, excerpts in results.surest(self._excerpts).items() for each in excerpts]
        files = mp3_files([excerpt for _, excerpt in chosen], results.limits)
        players: dict[str, list[wandb.Audio]] = defaultdict(list)
        with TemporaryDirectory() as folder:
            for number, ((name, excerpt), content) in enumerate(zip(chosen, files, strict=True)):
                if content is not None:
                    path = Path(folder, f"{number}.mp3")
                    path.write_bytes(content)
                    players[f"listen/{name}"].append(wandb.Audio(str(path), caption=excerpt.caption))
            if players:
                self.experiment.log(dict(players))

    def _keep(self, kind: str, path: Path, metadata: Mapping[str, Any] | None = None) -> None:
        """Log a file of the run folder, if it exists, as an artifact."""
        import wandb

        if path.exists():
            artifact = wandb.Artifact(f"{kind}-{self.version}", type=kind, metadata=dict(metadata or {}))
            artifact.add_file(str(path), policy="immutable")  # not copied: a finished run's files stay as they are
            self.experiment.log_artifact(artifact)


def _matrices(results: Results) -> dict[str, Any]:
    """Who is confused with whom, at each level."""
    import wandb

    return {
        f"test/{level}/confusion": wandb.plot.confusion_matrix(
            y_true=outcome.label.tolist(),
            preds=outcome.predicted.tolist(),
            class_names=list(results.predictions.artists),
            title=f"Test, {level} level",
        )
        for level, outcome in outcomes(results.predictions, results.songs, tuple(results.scores)).items()
    }


def accepted_settings(settings: Mapping[str, Any], resume: bool) -> dict[str, Any]:
    """Settings of :class:`WandbLogger` in the form that wandb accepts, with the run's id and a possible mode.

    Raises:
        ArtistidError: online mode was asked for, but is not possible.
    """
    return {
        **fitted(settings),
        "id": _run_id(Path(settings["save_dir"]), resume),
        "mode": possible_mode(settings),
    }


def _run_id(folder: Path, resume: bool) -> str:
    """The run's id at wandb; stored in the run folder for resuming."""
    path = expanded(folder) / "wandb" / "id"
    if not (resume and path.exists()):
        path.parent.mkdir(exist_ok=True)
        write_text(path, secrets.token_hex(4))
    return path.read_text(encoding="utf-8")


def wanted_mode(settings: Mapping[str, Any]) -> str | None:
    """The mode from the settings or else from the environment."""
    return settings.get("mode") or os.environ.get("WANDB_MODE")


def possible_mode(settings: Mapping[str, Any]) -> str:
    """``online`` where wandb can be reached, else ``offline``: its records then stay in the run folder.

    wandb itself would wait for two minutes before giving up, and could not continue offline then.

    Raises:
        ArtistidError: online mode was asked for, but is not possible.
    """
    asked = wanted_mode(settings)
    if asked not in (None, "online"):
        return str(asked)
    if not _has_account():
        lacking, later = "no account is set up on this machine (wandb login)", ""
    elif not _answers(address := _address()):
        lacking = f"{address} does not answer within {SECONDS_TO_ANSWER} s"
        later = "; wandb sync sends what it keeps in the run folder"
    else:
        return "online"
    if asked:
        raise ArtistidError(f"wandb is set to mode online, but {lacking}; logger.wandb.mode=offline works without it")
    log.warning("wandb: %s, so it works offline%s", lacking, later)
    return "offline"


def _has_account() -> bool:
    """Whether wandb has an API key, without which it would prompt for one; raises ArtistidError for a malformed one."""
    import wandb

    try:
        return bool(wandb.login(prompt=False, verify=False))
    except wandb.errors.AuthenticationError as error:
        raise ArtistidError(
            f"wandb: its API key (WANDB_API_KEY, or wandb login) is not valid: {first_line(error)}"
        ) from error
    except wandb.errors.UsageError:  # there is none, and WANDB_MODE=online asks for one
        return False


def _address() -> str:
    import wandb

    return str(wandb.setup().settings.base_url)


def _answers(address: str) -> bool:
    """Whether a server answers, with any response."""
    import requests  # a dependency of wandb

    try:
        requests.head(address, timeout=SECONDS_TO_ANSWER)
    except requests.RequestException:
        return False
    return True


def fitted(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of wandb with texts cut to the lengths that it accepts, but still distinct."""
    found: dict[str, Any] = sayable(settings)
    for name, most in LONGEST.items():
        if found.get(name) is not None:
            found[name] = cut_short(str(found[name]), most)
    if found.get("project"):
        found["project"] = NOT_IN_PROJECTS.sub("-", found["project"])
    tags = (str(tag) for tag in found.get("tags") or ())
    return {**found, "tags": list(dict.fromkeys(cut_short(tag, LONGEST_TAG) for tag in tags if tag))}


def cut_short(text: str, most: int) -> str:
    """A text of at most so many characters; a longer one is cut, and ends in eight hash digits to stay distinct."""
    if len(text) <= most:
        return text
    return f"{text[: most - 9]}-{hashlib.sha1(text.encode()).hexdigest()[:8]}"
