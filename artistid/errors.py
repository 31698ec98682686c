"""Errors that the user can fix, and helpers to word them and log lines."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any


class ArtistidError(Exception):
    """Bad input or setting; the message names it, what was expected and what was found."""


def require_choice(setting: str, value: object, choices: Collection[object]) -> None:
    """Make sure that a value is one of a few.

    Args:
        setting: the name of the setting, or where in a file the value stands.
        value: of that setting.
        choices: all that it may be.

    Raises:
        ArtistidError: it is none of them.
    """
    if value not in tuple(choices):
        raise ArtistidError(f"{setting}={_as_typed(value)}: expected one of {', '.join(map(_as_typed, choices))}")


def require_path(config: Mapping[Any, Any], setting: str, what: str) -> None:
    """Make sure that a setting without a default is set.

    Args:
        config: the verb's settings.
        setting: such as ``checkpoint``.
        what: the path that it needs, for the message.

    Raises:
        ArtistidError: it is empty.
    """
    if not config[setting]:
        raise ArtistidError(f"{setting}=PATH is missing: {what}")


def abbreviate(names: Sequence[str], most: int = 10) -> str:
    """The first of many names, for a message that states their number elsewhere.

    Example:
        >>> abbreviate(["a", "b", "c"], most=2)
        'a, b, …'
    """
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun, in the singular or plural.

    Example:
        >>> counted(1, "song"), counted(1200, "song"), counted(2, "copy", "copies")
        ('1 song', '1,200 songs', '2 copies')
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def _as_typed(value: object) -> str:
    """A value as typed on the command line."""
    return str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)
