"""What all verbs share as programs: the command line, user errors and signals."""

from __future__ import annotations

import gc
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn, TextIO

import hydra
from hydra._internal.utils import get_args_parser
from hydra.errors import HydraException, InstantiationException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from artistid import __version__
from artistid.config import config_dir, make_data_absolute
from artistid.errors import ArtistidError
from artistid.interruption import Interrupted, interruptible, is_first_process, print_interruption, started_module
from artistid.manual import manual
from artistid.naming import introduction
from artistid.places import name_user
from artistid.printing import fitted, format_warning, say, show_any_text
from artistid.settings import Settings, check, composing, first_line, typed
from artistid.sweeps import in_sweep, prepared, record, require_sweep

# What a failed job returns to the sweeper: finite, as some sweepers require, and no F1 is lower.
WORST = 0.0

# Imported objects are not garbage, yet by default Python would scan them a dozen times during imports: one second.
OBJECTS_BETWEEN_COLLECTIONS = 200_000


# The verbs, each a module with a function of the same name, and what is kept after an interruption, as a clause. The
# module is imported after the configuration is composed, so that ``--help`` need not wait for torch.
VERBS: Mapping[str, str] = {
    "prepare": "the finished songs are kept",
    "train": "the features, the completed epochs and, in a sweep, the finished runs are kept",
    "evaluate": "the features made so far are kept, and no scores are written",
    "audit": "the finished folds are kept",
    "fuse": "the runs are unchanged, and no fusion is written",
    "report": "the runs are unchanged, and the report is incomplete",
    "predict": "the answers given so far stand, and nothing is written",
    "embed": "the songs embedded so far are kept",
    "enrol": "the collection is unchanged, and the songs embedded so far are kept for the next enrolment",
    "verify": "the answers given so far stand, and nothing is written",
    "similar": "the answers given so far stand, and nothing is written",
    "export": "nothing is written",
    "app": "the page is closed, and nothing from its visitors is kept",
    "doctor": "nothing is written",
    "benchmark": "the files it measures on are kept, but no measurements",
    "networks": "nothing is written",
    "choose": "each list is written completely or not at all",
}


def run(name: str) -> NoReturn:
    """Run the program ``python -m artistid.<name>``, whose module calls this before it imports anything else."""
    command(name)
    sys.exit()


def command(name: str, module: str | None = None) -> None:
    """Compose the configuration from the command line, and run the verb with it.

    An error that the user can fix (:class:`ArtistidError`) ends the command with its message and exit code 1, without
    a traceback. In a sweep an error ends only its own job; the others continue, and
    :class:`artistid.sweeps.SweepReport` reports it.
    Ctrl-C and SIGTERM end everything, with one line and exit code 130 or 143.

    Args:
        name: of the verb, and of its configuration.
        module: with its function, if not the verb's own.
    """
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)
    warnings.formatwarning = format_warning
    begin_in_utf8()
    show_any_text()
    name_user()
    if "--version" in sys.argv:  # Hydra would print its own
        say(f"artistid {__version__}")
        return
    if "--hydra-help" in sys.argv:  # for which Hydra composes no configuration, so that any setting would be unknown
        sys.argv[1:] = ["--hydra-help"]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises errors instead of printing them
    module = module or f"artistid.{name}"
    begun = False

    def job(config: DictConfig) -> Any:
        nonlocal begun
        begun = True
        return run_job(name, module, config)

    job.__module__ = f"artistid.{name}"  # Hydra names the job after it
    try:
        with interruptible():
            settings = settings_of(name)
            sys.argv[1:] = prepared(typed(sys.argv[1:], settings), settings)
            hydra.main(version_base="1.3", config_path=str(config_dir()), config_name=name)(job)()
    except Interrupted as interrupted:
        print_interruption(VERBS[name])
        sys.exit(interrupted.exit_code)
    except (HydraException, OmegaConfBaseException) as error:
        say(f"error: {composing(error, settings_of(name))}", to=sys.stderr)
        sys.exit(1)
    except ValueError as error:  # of Hydra's, for options that exclude each other
        if begun:
            raise
        say(f"error: {error}", to=sys.stderr)
        sys.exit(1)


def run_job(name: str, module: str, config: DictConfig) -> Any:
    """Run a verb, or one job of a sweep, which may be in a process of its own."""
    try:
        with interruptible():
            if name == "train" and is_first_process() and (told := introduction(config)):
                say(told)  # before torch is imported, which takes a while
            require_sweep()
            check(config, settings_of(name))
            make_data_absolute(config)
            return getattr(import_module(module), name)(config)
    except Exception as error:
        message = message_for_user(error)
        sweeping = in_sweep()
        if message is None and not sweeping:
            raise
        sys.stdout.flush()
        say(f"\nerror: {message or traceback.format_exc()}", to=sys.stderr)
        if not sweeping:
            sys.exit(1)
        record("failed", message=message or f"{type(error).__name__}: {error}")
        return WORST


def begin_in_utf8() -> None:
    """Restart in Python's UTF-8 mode if file names would be read as ASCII or another narrow encoding."""
    if sys.getfilesystemencoding() != "utf-8" and started_module() and os.environ.get("PYTHONUTF8") != "1":
        os.execve(sys.executable, sys.orig_argv, {**os.environ, "PYTHONUTF8": "1"})


def settings_of(verb: str) -> Settings:
    """The settings of a verb, from our configuration folder and the one that the command line names."""
    arguments, _ = get_args_parser().parse_known_args(sys.argv[1:])
    own = [Path(arguments.config_dir)] if arguments.config_dir else []
    return Settings(verb, [config_dir(), *own])


def _manual(*, _root_: DictConfig) -> str:
    """The help of the composed verb, for Hydra, which takes a resolver's result as a template."""
    return manual(settings_of(_root_.hydra.job.config_name), _root_).replace("$", "$$")


OmegaConf.register_new_resolver("manual", _manual, replace=True)


def message_for_user(error: Exception) -> str | None:
    """The message for an error that the user can fix; None for an error of ours."""
    if isinstance(error, InstantiationException):
        return message_for_user(error.__cause__) if isinstance(error.__cause__, Exception) else first_line(error)
    if isinstance(error, ArtistidError):
        return str(error)
    return None


class ConsoleHandler(logging.StreamHandler[TextIO]):
    """Logs to whatever the stream is at the time: a progress bar replaces it in order to stay below the lines.

    Args:
        to: ``stdout`` or ``stderr``.
        repeats: whether a message is logged each time; else only the first time.
    """

    def __init__(self, to: str = "stdout", repeats: bool = True) -> None:
        self._to = to
        super().__init__()
        self._logged: set[str] = set()
        if not repeats:
            self.addFilter(self._is_new)

    def _is_new(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        new = message not in self._logged
        self._logged.add(message)
        return new

    def format(self, record: logging.LogRecord) -> str:
        return fitted(super().format(record), self.stream)

    @property
    def stream(self) -> TextIO:
        stream: TextIO = getattr(sys, self._to)
        return stream

    @stream.setter
    def stream(self, stream: TextIO) -> None:
        """Ignored: the stream is looked up each time."""
