"""Where the configuration lives, and what every verb's entry point shares."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TextIO

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from artistid.errors import ArtistidError

PATH_SETTINGS = ("data.root", "split.path", "checkpoint", "run_dir", "cache_dir", "runs", "out")
# What Hydra reads as it stands: plain paths, lists of them for a sweep, interpolations, and what is quoted already.
PLAIN_VALUE = re.compile(r"[A-Za-z0-9/._:+%@,-]*|.*\$\{.*|'.*'|\".*\"")
LISTS = re.compile(r"runs=\[.*\]")  # of a setting that may be a path or a list of them


def config_dir() -> Path:
    """The folder of the configuration: inside the package when installed from a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parent
    installed, checkout = package / "conf", package.parent / "conf"
    return installed if installed.is_dir() else checkout


def verb(config_name: str) -> Callable[[Callable[[DictConfig], Any]], Callable[[], Any]]:
    """Make a function of a composed configuration a command: ``python -m artistid.<verb>``.

    What a user can put right (:class:`ArtistidError`) ends the command with its message and exit code 1, without a
    traceback. In a sweep it ends its job only; the others go on, and the command then ends with exit code 1.
    """
    OmegaConf.register_new_resolver("basename", _basename, replace=True)

    def decorate(function: Callable[[DictConfig], Any]) -> Callable[[], Any]:
        failures: list[str] = []

        @wraps(function)
        def job(config: DictConfig) -> Any:
            try:
                make_root_absolute(config)
                return function(config)
            except Exception as error:
                message = _told(error)
                if message is None:
                    raise
                sys.stdout.flush()
                print(f"\nerror: {message}", file=sys.stderr)
                if not in_sweep():
                    sys.exit(1)
                failures.append(f"{' '.join(HydraConfig.get().overrides.task)}: {message}")
                return float("nan")

        @wraps(function)
        def command() -> None:
            failures.clear()
            sys.argv[1:] = [quoted(argument) for argument in sys.argv[1:]]
            hydra.main(version_base="1.3", config_path=str(config_dir()), config_name=config_name)(job)()
            if failures:
                print(f"\n{len(failures)} jobs of the sweep failed:", *failures, sep="\n", file=sys.stderr)
                sys.exit(1)

        return command

    return decorate


def _told(error: Exception) -> str | None:
    """What to tell a user who can put it right; None for an error of ours."""
    if isinstance(error, InstantiationException) and isinstance(error.__cause__, Exception):
        return _told(error.__cause__)
    if isinstance(error, ArtistidError):
        return str(error)
    return None


def quoted(argument: str) -> str:
    """A setting that is a path, quoted for Hydra, whose grammar knows no ``~``, blanks or letters beyond ASCII.

    Example:
        >>> quoted("data.root=~/Sigur Rós (live)")
        "data.root='~/Sigur Rós (live)'"
    """
    name, equals, value = argument.partition("=")
    if not equals or name.lstrip("+") not in PATH_SETTINGS or PLAIN_VALUE.fullmatch(value) or LISTS.fullmatch(argument):
        return argument
    escaped = value.replace("'", "\\'") + ("\\" if value.endswith("\\") else "")
    return f"{name}='{escaped}'"


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


def make_root_absolute(config: DictConfig) -> None:
    """Whatever keeps the configuration finds the data again from anywhere."""
    data = config.get("data")
    if data and data.get("root"):
        data.root = str(Path(data.root).expanduser().absolute())


def plain(config: Any) -> Any:
    """A configuration as plain, resolved dicts, lists and scalars."""
    return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)


def _basename(path: str | None) -> str:
    """Last part of a path, to name runs and stores after a collection's folder."""
    return Path(path).expanduser().resolve().name if path else "folder"
