"""Errors that a user can put right, and how they and the log name many things."""

from __future__ import annotations

from collections.abc import Sequence


class ArtistidError(Exception):
    """Bad input or setting; the message names it, says what was expected and what was found."""


def abbreviate(names: Sequence[str], most: int = 10) -> str:
    """The first of many names, for a message that gives their number elsewhere.

    Example:
        >>> abbreviate(["a", "b", "c"], most=2)
        'a, b, …'
    """
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
