"""Which values a type hint accepts, and how to describe it: a class's hints are the types of its settings."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from functools import cache, reduce
from operator import or_
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from hydra.utils import get_object

LIST_TYPES = (list, tuple, Sequence, Iterable)
PLURALS = {"a path": "paths", "a whole number": "whole numbers", "a number": "numbers", "text": "texts"}
PLAIN = {
    NoneType: "null",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
}


@dataclass(frozen=True)
class Range:
    """A range of numbers, both bounds included."""

    lowest: float = -math.inf
    highest: float = math.inf

    def __contains__(self, value: float) -> bool:
        return self.lowest <= value <= self.highest

    def __str__(self) -> str:
        most = "" if self.highest == math.inf else f" to {_number(self.highest)}"
        return f" from {_number(self.lowest)}{most}"


Whole = Annotated[int, Range(0)]  # 0, 1, 2, …
Count = Annotated[int, Range(1)]  # 1, 2, 3, …
Share = Annotated[float, Range(0, 1)]


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:g}"


@cache
def parameters(target: str) -> Mapping[str, Any]:
    """The type hints of a class's or function's arguments, by name; empty if they cannot be read."""
    try:
        called = get_object(target)
        declares = is_dataclass(called) or not isinstance(called, type)
        return get_type_hints(called if declares else called.__init__, include_extras=True)
    except Exception:  # whatever an import raises; calling it will report it
        return {}


def union(hints: Sequence[Any]) -> Any:
    """The union of several types."""
    return reduce(or_, hints[1:], hints[0])


def members(hint: Any) -> Iterator[Any]:
    """The members of a union, or the type itself."""
    if get_origin(hint) in (Union, UnionType):
        for member in get_args(hint):
            yield from members(member)
    else:
        yield hint


def item(hint: Any) -> Any:
    """The type of a list's items; None if it is no list."""
    if hint in LIST_TYPES or get_origin(hint) in LIST_TYPES:
        return next(iter(get_args(hint)), Any)
    return None


def fits(value: Any, hint: Any) -> bool:
    """Whether a plain value from a file or a command line fits a type; numbers must be finite."""
    return any(_fits(value, member) for member in members(hint))


def _fits(value: Any, hint: Any) -> bool:
    origin = get_origin(hint)
    if hint is Any:
        return True
    if origin is Annotated:
        kind, *ranges = get_args(hint)
        return fits(value, kind) and all(value in bounds for bounds in ranges if isinstance(bounds, Range))
    if origin is Literal:
        return any(value == choice and type(value) is type(choice) for choice in get_args(hint))
    if hint in (NoneType, None):
        return value is None
    if hint is float:
        return type(value) in (int, float) and math.isfinite(value)
    if hint in (bool, int):
        return type(value) is hint
    if hint in (str, Path):
        return isinstance(value, str)
    if (each := item(hint)) is not None:
        return isinstance(value, list | tuple) and all(fits(one, each) for one in value)
    return isinstance(value, Mapping)  # from which an object is built


def in_words(hint: Any) -> str:
    """A type in words, for a message.

    Example:
        >>> in_words(list[str] | Count | None)
        'a list of texts, a whole number from 1 or null'
    """
    alternatives = dict.fromkeys(words for member in members(hint) if (words := _in_words(member)))
    if PLAIN[Path] in alternatives:
        alternatives.pop(PLAIN[str], None)
    *others, last = alternatives or ["settings in {}"]
    return f"{', '.join(others)} or {last}" if others else last


def _in_words(hint: Any) -> str:
    origin = get_origin(hint)
    if origin is Annotated:
        kind, *ranges = get_args(hint)
        return in_words(kind) + "".join(str(bounds) for bounds in ranges if isinstance(bounds, Range))
    if origin is Literal:
        return ", ".join(map(str, get_args(hint)))
    if (each := item(hint)) is not None:
        inner = in_words(each)
        return "a list" if each is Any else f"a list of {PLURALS.get(inner, inner.replace('a list', 'lists', 1))}"
    return PLAIN.get(hint, "settings in {}" if hint in (dict, Mapping, Callable) or origin is dict else "")


def is_text(hint: Any) -> bool:
    """Whether only text or null fits, besides lists: input is then taken literally."""
    scalars = [member for member in members(hint) if item(member) is None and member is not NoneType]
    return bool(scalars) and all(scalar in (str, Path) for scalar in scalars)


def is_place(hint: Any) -> bool:
    """Whether text of this type names a file or a folder."""
    return any(member is Path or (item(member) is not None and is_place(item(member))) for member in members(hint))


def text_items(hint: Any) -> Any:
    """The type of a list's items, if a list fits and they are text or lists of text; else None."""
    for member in members(hint):
        inner = item(member)
        if inner is not None and (is_text(inner) or text_items(inner) is not None):
            return inner
    return None
