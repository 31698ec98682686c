"""Where the configuration lives, and what every verb's entry point shares."""

from __future__ import annotations

import gc
import logging
import os
import shutil
import sys
import traceback
import warnings
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TextIO

import hydra
from hydra._internal.utils import get_args_parser
from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from artistid.errors import ArtistidError
from artistid.interruption import Interrupted, interruptible, started_module, tell_interruption
from artistid.places import expanded, name_user
from artistid.printing import format_warning, say, show_any_text
from artistid.settings import Settings, check, composing, first_line, literal, typed
from artistid.writing import write_text

# What a job that failed hands to the sweeper: finite, which not every sweeper can do without, and no F1 is lower.
WORST = 0.0

# What is imported is not garbage, yet by default Python would look through all of it a dozen times meanwhile: a second.
OBJECTS_BETWEEN_COLLECTIONS = 200_000


def config_dir() -> Path:
    """The folder of the configuration: inside the package when installed from a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parent
    installed, checkout = package / "conf", package.parent / "conf"
    return installed if installed.is_dir() else checkout


def verb(config_name: str, kept: str) -> Callable[[Callable[[DictConfig], Any]], Callable[[], Any]]:
    """Make a function of a composed configuration a command: ``python -m artistid.<verb>``.

    What a user can put right (:class:`ArtistidError`) ends the command with its message and exit code 1, without a
    traceback. In a sweep every error ends its job only; the others go on, and :class:`SweepReport` has the last word.
    Ctrl-C and SIGTERM end all of it, with one line and exit code 130 or 143.

    Args:
        config_name: of its configuration, and of the verb.
        kept: what an interruption leaves, as a clause of that line.
    """

    def decorate(function: Callable[[DictConfig], Any]) -> Callable[[], Any]:
        @wraps(function)
        def job(config: DictConfig) -> Any:
            try:
                with interruptible():  # a job of a sweep may be in a process of its own
                    check(config, settings_of(config_name))
                    make_data_absolute(config)
                    return function(config)
            except Exception as error:
                message = _told(error)
                sweeping = in_sweep()
                if message is None and not sweeping:
                    raise
                sys.stdout.flush()
                say(f"\nerror: {message or traceback.format_exc()}", to=sys.stderr)
                if not sweeping:
                    sys.exit(1)
                SweepReport.record(message or f"{type(error).__name__}: {error}")
                return WORST

        @wraps(function)
        def command() -> None:
            gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)
            warnings.formatwarning = format_warning
            begin_in_utf8()
            show_any_text()
            name_user()
            os.environ["HYDRA_FULL_ERROR"] = "1"  # instead of printing what went wrong, Hydra is to raise it
            try:
                with interruptible():
                    sys.argv[1:] = typed(sys.argv[1:], settings_of(config_name))
                    hydra.main(version_base="1.3", config_path=str(config_dir()), config_name=config_name)(job)()
            except Interrupted as interrupted:
                tell_interruption(kept)
                sys.exit(interrupted.exit_code)
            except (HydraException, OmegaConfBaseException) as error:
                say(f"error: {composing(error, settings_of(config_name))}", to=sys.stderr)
                sys.exit(1)

        return command

    return decorate


def begin_in_utf8() -> None:
    """Begin anew in Python's UTF-8 mode where names of files would be read as ASCII or another narrow encoding."""
    if sys.getfilesystemencoding() != "utf-8" and started_module() and os.environ.get("PYTHONUTF8") != "1":
        os.execve(sys.executable, sys.orig_argv, {**os.environ, "PYTHONUTF8": "1"})


class SweepReport(Callback):
    """At the end of a sweep, says which jobs failed and why, and lets the command end with exit code 1.

    A job may run in another process or on another machine, so what went wrong there is kept as a file in the sweep's
    folder.
    """

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        shutil.rmtree(self._folder(config.hydra), ignore_errors=True)

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        failures = [path.read_text(encoding="utf-8") for path in sorted(self._folder(config.hydra).glob("*.txt"))]
        if failures:
            say(f"\njobs of the sweep that failed: {len(failures)}", *failures, to=sys.stderr)
            sys.exit(1)

    @classmethod
    def record(cls, message: str) -> None:
        """Keep the error of the job that runs here."""
        hydra_config = HydraConfig.get()
        folder = cls._folder(hydra_config)
        folder.mkdir(parents=True, exist_ok=True)
        settings = " ".join(hydra_config.overrides.task)
        write_text(folder / f"{hydra_config.job.num:05d}.txt", f"{settings}: {message}")

    @staticmethod
    def _folder(hydra_config: HydraConf) -> Path:
        return Path(hydra_config.runtime.cwd, hydra_config.sweep.dir, "failed")


def settings_of(verb: str) -> Settings:
    """The settings of a verb, in our folder of configurations and in those that the command line names."""
    arguments, _ = get_args_parser().parse_known_args(sys.argv[1:])
    own = [Path(arguments.config_dir)] if arguments.config_dir else []
    return Settings(verb, [config_dir(), *own])


def _told(error: Exception) -> str | None:
    """What to tell a user who can put it right; None for an error of ours."""
    if isinstance(error, InstantiationException):
        return _told(error.__cause__) if isinstance(error.__cause__, Exception) else first_line(error)
    if isinstance(error, ArtistidError):
        return str(error)
    return None


class ConsoleHandler(logging.StreamHandler[TextIO]):
    """Logs to standard output as it is when a line comes: a progress bar puts itself in between to stay below."""

    @property
    def stream(self) -> TextIO:
        return sys.stdout

    @stream.setter
    def stream(self, stream: TextIO) -> None:
        """Looked up each time."""


def in_sweep() -> bool:
    """Whether this is a job of a multirun."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def jobs_at_once() -> int:
    """How many jobs of a sweep run on this machine at once: 1 where there is none, or one after the other."""
    return OmegaConf.select(HydraConfig.get().launcher, "n_jobs", default=1) if in_sweep() else 1


def make_data_absolute(config: DictConfig) -> None:
    """Whatever keeps the configuration finds the data again from anywhere."""
    data = config.get("data") or {}
    for setting in ("root", "csv"):
        if data.get(setting):
            data[setting] = literal(str(expanded(data[setting]).absolute()))


def plain(config: Any) -> Any:
    """A configuration as plain, resolved dicts, lists and scalars."""
    return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)


def build(settings: Any, name: str, **arguments: Any) -> Any:
    """What a part of the configuration describes under ``_target_``.

    Args:
        settings: that part, or plain settings, which are taken as they are.
        name: of the part, for the error.
        arguments: in addition.

    Raises:
        ArtistidError: it can't be made of these settings.
    """
    try:
        plain_settings = plain(settings) if OmegaConf.is_config(settings) else settings
        return instantiate(
            literal(literal(plain_settings)), **arguments
        )  # Hydra resolves twice: in place, and as it reads
    except InstantiationException as error:
        if isinstance(error.__cause__, ArtistidError):
            raise error.__cause__ from error
        raise ArtistidError(f"{name}: {first_line(error.__cause__ or error)}") from error


def _basename(path: str | None) -> str:
    """Last part of a path, to name runs and stores after a collection's folder."""
    return expanded(path).resolve().name if path else "folder"


def _stem(path: str | None) -> str:
    """The last part of a path without its ending."""
    return Path(_basename(path)).stem


def origin(checkpoint: Any) -> str:
    """A name for the run that a checkpoint is of; its ending, and ``checkpoints``, say nothing and are left out.

    Example:
        >>> origin("runs/music/album-3s-crnn/0/checkpoints/best.ckpt")
        'music-album-3s-crnn-0-best'
    """
    path = expanded(str(checkpoint)).absolute().with_suffix("")
    parts = [part for part in path.parts[1:] if part != "checkpoints"]
    return "-".join(parts[-4:])


def _folder_with(folder: str, pattern: str) -> str | None:
    """A folder, if a file of that name, such as ``*.list``, lies in it; else None."""
    path = expanded(folder)
    return str(path) if any(path.glob(pattern)) else None


def _when(value: Any, is_this: Any, then: Any, otherwise: Any) -> Any:
    """One of two, by what a setting is: for names that tell apart what a setting changes."""
    return then if value == is_this else otherwise


def _hold_out_artists(unknown: Any) -> str:
    """What is added to a collection's name where artists are set aside: it is another task then."""
    n_artists = unknown if isinstance(unknown, int) else len(unknown)
    return f"-unknown{n_artists}" if n_artists else ""


for _resolver in (_basename, _stem, origin, _folder_with, _when, _hold_out_artists):
    OmegaConf.register_new_resolver(_resolver.__name__.removeprefix("_"), _resolver, replace=True)
