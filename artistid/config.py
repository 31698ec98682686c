"""Where the configuration lives, and what every verb's entry point shares."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TextIO

import hydra
from omegaconf import DictConfig, OmegaConf

from artistid.errors import ArtistidError

log = logging.getLogger(__name__)


def config_dir() -> Path:
    """The folder of the configuration: inside the package when installed from a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parent
    installed, checkout = package / "conf", package.parent / "conf"
    return installed if installed.is_dir() else checkout


def verb(config_name: str) -> Callable[[Callable[[DictConfig], Any]], Callable[[], Any]]:
    """Make a function of a composed configuration a command: ``python -m artistid.<verb>``.

    What a user can put right (:class:`ArtistidError`) ends the command with its message and exit code 1, without a
    traceback.
    """
    OmegaConf.register_new_resolver("basename", _basename, replace=True)

    def decorate(function: Callable[[DictConfig], Any]) -> Callable[[], Any]:
        @hydra.main(version_base="1.3", config_path=str(config_dir()), config_name=config_name)
        @wraps(function)
        def command(config: DictConfig) -> Any:
            try:
                return function(config)
            except ArtistidError as error:
                log.debug("where it happened", exc_info=True)
                sys.stdout.flush()
                print(f"\nerror: {error}", file=sys.stderr)
                sys.exit(1)

        return command

    return decorate


class ConsoleHandler(logging.StreamHandler[TextIO]):
    """Logs to standard output as it is when a line comes: a progress bar puts itself in between to stay below."""

    @property
    def stream(self) -> TextIO:
        return sys.stdout

    @stream.setter
    def stream(self, stream: TextIO) -> None:
        """Looked up each time."""


def plain(config: Any) -> Any:
    """A configuration as plain, resolved dicts, lists and scalars."""
    return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)


def _basename(path: str | None) -> str:
    """Last part of a path, to name runs and stores after a collection's folder."""
    return Path(path).expanduser().resolve().name if path else "folder"
