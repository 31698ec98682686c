"""Whose classes a checkpoint may name: this package's own, and those of packages that the user's command trusts.

A file can't widen this: ``trust=[mynet]`` counts on the command line only, or as an argument from Python.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_object
from omegaconf import DictConfig

from artistid.bounds import shown
from artistid.errors import ArtistidError

Trust = Sequence[str]

PACKAGE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


def trusted(config: DictConfig) -> Trust:
    """The packages that ``trust`` names.

    Raises:
        ArtistidError: what is no list of packages, or a list that comes from a file of settings.
    """
    packages = check_trust(config.get("trust") or [])
    if packages and HydraConfig.initialized() and not _on_command_line():
        raise ArtistidError(
            f"trust={list(packages)} comes from a file of settings: whom you trust is to be said on the command line"
        )
    return packages


def _on_command_line() -> bool:
    hydra = HydraConfig.get()
    said = any(override.lstrip("+").startswith("trust=") for override in hydra.overrides.task)
    return said and "trust" not in (hydra.sweeper.get("params") or {})


def check_trust(packages: Any) -> Trust:
    """The same packages; raises ArtistidError for what is no list of names of packages."""
    if isinstance(packages, str):
        raise ArtistidError(f"trust={packages} is no list: write trust=[{packages}]")
    for package in packages:
        if not isinstance(package, str) or not PACKAGE.fullmatch(package):
            raise ArtistidError(f"trust: {shown(package)} is no name of a package, such as mynet")
        if package.partition(".")[0] in sys.stdlib_module_names:
            raise ArtistidError(f"trust={package}: that is part of Python itself, and not to be called by a file")
    return tuple(packages)


def is_within(target: str, packages: Trust) -> bool:
    """Whether a dotted name lies in one of some packages, by the name alone."""
    return any(target.startswith(f"{package}.") for package in packages)


def find_class(target: Any, homes: Trust, trust: Trust, what: str) -> type:
    """The class that a configuration names; nothing of a package is imported that is not trusted.

    Args:
        target: what stands under ``_target_``.
        homes: our own modules and packages that have such classes.
        trust: other packages.
        what: the class ought to be, for the errors.

    Raises:
        ArtistidError: something of another package, or no such class.
    """
    found = _find(target, (*homes, *trust), what)
    if not isinstance(found, type):
        raise ArtistidError(f"it would call {target!r}, which is no part of artistid: it is no {what} of that package")
    return found


def find_function(target: Any, trust: Trust, what: str) -> Callable[..., Any]:
    """What is called by a dotted name, of a trusted package; see :func:`find_class`."""
    return _find(target, trust, what)


def _find(target: Any, packages: Trust, what: str) -> Callable[..., Any]:
    if not isinstance(target, str) or not is_within(target, packages):
        raise ArtistidError(f"it would call {shown(target)}, which is no part of artistid{way_to_trust(target)}")
    try:
        found: Any = get_object(target)
    except Exception as error:  # Hydra raises what an import raised
        cause = error.__cause__ or error
        raise ArtistidError(f"{target} cannot be found: {type(cause).__name__}: {cause}") from error
    # What a module imports is within reach of its name too.
    if not callable(found) or not is_within(f"{getattr(found, '__module__', '')}.", packages):
        raise ArtistidError(f"it would call {target!r}, which is no part of artistid: it is no {what} of that package")
    return found


def way_to_trust(target: Any) -> str:
    """For an error: how a package is trusted, where it is one that may be."""
    package = target.partition(".")[0] if isinstance(target, str) else ""
    foreign = PACKAGE.fullmatch(package) and package != "artistid" and package not in sys.stdlib_module_names
    return f"; if you know {shown(package)}, trust=[{package[:50]}] lets it be used" if foreign else ""
