"""Stands in for any verb's module, and does nothing: what is left of a command is that its settings fit together."""

from __future__ import annotations

from collections.abc import Callable

from omegaconf import DictConfig

from artistid.cli import VERBS


def __getattr__(name: str) -> Callable[[DictConfig], None]:
    if name not in VERBS:
        raise AttributeError(name)
    return lambda config: None
