"""Sources by description: what a checkpoint says of the data that it was trained on, opened again by somebody else.

A file may come from anywhere. What it says is therefore only read: its source is one of a list, its settings are of
the types that the source declares, every place that is written to is the user's own, and nothing is written that the
user did not ask for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from hydra.utils import get_object

from artistid.bounds import BOUNDS, check_bound, check_plain, shown
from artistid.data.sources.base import Source
from artistid.errors import ArtistidError
from artistid.places import below
from artistid.trust import Trust, find_class

HOME = "artistid.data.sources"
OURS = frozenset(
    f"{HOME}.{name}"
    for name in (
        *("artist20.Artist20", "catalog_file.CatalogFile", "fma.Fma", "folder.Folder", "library.Library"),
        *("mtg_jamendo.MtgJamendo", "synthetic.Synthetic"),
    )
)
# What belongs to the command that runs now, and never to the one that the description is of.
PLACES = ("cache_dir", "workers")


def check_description(description: Any, trust: Trust = ()) -> None:
    """Raises ArtistidError for a description that is none of a source; an empty one, of no data at all, is one."""
    if not isinstance(description, Mapping):
        raise ArtistidError(f"data is {shown(description)}, no settings of a source")
    check_plain(description, "data")
    if not description:
        return
    kind = _kind(description.get("_target_"), trust)
    settings = {name: value for name, value in description.items() if name != "_target_"}
    if kind.__module__.startswith(f"{HOME}."):  # others check what is theirs
        _check_fields(kind, settings)
        below(Path(), settings["name"], "data.name")


def redirected(description: Mapping[str, Any], cache_dir: str, workers: int | None) -> dict[str, Any]:
    """The same data, but what is written lies where this user says, and as many processes work."""
    own = dict(zip(PLACES, (cache_dir, workers), strict=True))
    return {name: own.get(name, value) for name, value in description.items()}


def opened(description: Mapping[str, Any], trust: Trust = ()) -> Any:
    """The source, which will write nothing but below its ``cache_dir``.

    Args:
        description: see :func:`redirected`.
        trust: packages whose sources may be opened too.

    Raises:
        ArtistidError: a description of no source, or of no data.
    """
    check_description(description, trust)
    if not description:
        raise ArtistidError("the checkpoint does not say what data it was trained on: say which with data=…")
    settings = {name: value for name, value in description.items() if name != "_target_"}
    source = _kind(description["_target_"], trust)(**settings)
    if isinstance(source, Source):
        source.read_only = True
    return source


def _kind(target: Any, trust: Trust) -> type:
    if isinstance(target, str) and target in OURS:
        kind: type = get_object(target)
        return kind
    kind = find_class(target, (), trust, "source")
    if not callable(getattr(kind, "catalog", None)):
        raise ArtistidError(f"data would be a {target}, which is no source: it has no method catalog")
    return kind


def _check_fields(kind: type, settings: Mapping[str, Any]) -> None:
    """Raises ArtistidError unless these are settings that a source has, of the types that it declares."""
    known: dict[str, Field[Any]] = {each.name: each for each in fields(kind) if each.init}
    if unknown := sorted(settings.keys() - known.keys()):
        raise ArtistidError(f"data has settings that {kind.__name__} has not: {shown(unknown[0])}")
    needed = {"name"} | {name for name, each in known.items() if each.default is each.default_factory is MISSING}
    if missing := sorted(needed - settings.keys()):
        raise ArtistidError(f"data lacks {', '.join(missing)} of {kind.__name__}")
    hints = get_type_hints(kind)
    for name, value in settings.items():
        if not _is_of(value, hints[name]):
            raise ArtistidError(
                f"data.{name}={shown(value)} is no setting of {kind.__name__}, which takes another type"
            )
        if f"data.{name}" in BOUNDS:
            check_bound(f"data.{name}", value)


def _is_of(value: Any, hint: Any) -> bool:
    """Whether a plain value is of a type that a source declares."""
    if get_origin(hint) in (Union, UnionType):
        return any(_is_of(value, each) for each in get_args(hint))
    if hint is NoneType:
        return value is None
    if hint is float:
        return type(value) in (int, float)
    if hint in (bool, int):
        return type(value) is hint
    if get_origin(hint) is not None:  # of text, as all lists are that a source takes
        return isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)
    return isinstance(value, str) and not any(ord(letter) < 32 for letter in value)  # text, or a path
