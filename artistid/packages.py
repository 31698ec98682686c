"""The packages that this one requires, always or for an extra, according to its metadata."""

from __future__ import annotations

import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import PurePath

from packaging.requirements import Requirement

from artistid.errors import ArtistidError

FOR_DEVELOPERS = ("test",)  # extras that no verb uses


def required(extra: str = "") -> list[str]:
    """The names of the packages that are always required, or that an extra adds, sorted."""
    requirements = [Requirement(text) for text in _own().requires or ()]
    always, with_extra = (
        {
            requirement.name
            for requirement in requirements
            if requirement.marker is None or requirement.marker.evaluate({"extra": name})
        }
        for name in ("", extra)
    )
    return sorted(with_extra - always if extra else always)


def extras() -> list[str]:
    """The names of the extras that verbs and settings use, sorted."""
    return sorted(set(_own().metadata.get_all("Provides-Extra") or ()) - {*FOR_DEVELOPERS})


def _own() -> Distribution:
    try:
        return distribution("artistid")
    except PackageNotFoundError:
        raise ArtistidError("artistid itself is not installed: python -m pip install -e . in its checkout") from None


def module_of(package: str) -> str | None:
    """The module that a package is imported as, such as ``sklearn``; None if it is not installed."""
    try:
        modules = _modules(distribution(package))
    except PackageNotFoundError:
        return None
    same = re.sub(r"[-_.]+", "_", package).lower()
    return min(modules, key=lambda name: (name.count("."), name.rpartition(".")[2].lower() != same, name), default=None)


def _modules(installed: Distribution) -> set[str]:
    """The modules of a package: folders with an ``__init__.py``, and files beside them."""
    paths = [PurePath(file) for file in installed.files or () if file.suffix == ".py"]
    folders = {path.parent.parts for path in paths if path.name == "__init__.py"}
    return {".".join(parts) for parts in folders} | {path.stem for path in paths if len(path.parts) == 1}


def require_extra(extra: str, what: str) -> None:
    """Make sure that the packages of an extra are installed.

    Args:
        extra: its name.
        what: what needs them, for the message.

    Raises:
        ArtistidError: some are missing.
    """
    modules = {name: module_of(name) for name in required(extra)}
    if missing := [name for name, module in modules.items() if module is None or find_spec(module) is None]:
        raise ArtistidError(f"{what} needs {', '.join(missing)}: pip install 'artistid[{extra}]'")
