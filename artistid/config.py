"""The configuration: where it is, how objects are built from it, and the resolvers that its files may use."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from artistid.errors import ArtistidError
from artistid.naming import origin, run_name
from artistid.places import expanded
from artistid.settings import first_line, literal


def config_dir() -> Path:
    """The folder of the configuration: inside the package when installed from a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parent
    installed, checkout = package / "conf", package.parent / "conf"
    return installed if installed.is_dir() else checkout


def make_data_absolute(config: DictConfig) -> None:
    """Make the data's paths absolute, so that a saved configuration finds the data from anywhere."""
    data = config.get("data") or {}
    for setting in ("root", "csv"):
        if data.get(setting):
            data[setting] = literal(str(expanded(data[setting]).absolute()))


def plain(config: Any) -> Any:
    """A configuration as plain, resolved dicts, lists and scalars."""
    return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)


def build(settings: Any, name: str, **arguments: Any) -> Any:
    """Build what a part of the configuration describes under ``_target_``.

    Args:
        settings: that part, or plain settings, which are taken literally.
        name: of the part, for the error.
        arguments: in addition.

    Raises:
        ArtistidError: it cannot be built from these settings.
    """
    plain_settings = plain(settings) if OmegaConf.is_config(settings) else settings
    if not isinstance(plain_settings, Mapping) or "_target_" not in plain_settings:
        raise ArtistidError(f"{name}._target_ is missing: expected the dotted name of what {name} is built by")
    try:
        return instantiate(
            literal(literal(plain_settings)), **arguments
        )  # Hydra resolves twice: in place, and as it reads
    except InstantiationException as error:
        if isinstance(error.__cause__, ArtistidError):
            raise error.__cause__ from error
        raise ArtistidError(f"{name}: {first_line(error.__cause__ or error)}") from error
    except (TypeError, ValueError) as error:  # Hydra's own, about keys that it reads itself, such as _partial_
        raise ArtistidError(f"{name}: {first_line(error)}") from error


def _basename(path: str | None, parts: int = 1) -> str:
    """The last parts of a path, joined, to name runs and stores after the collection's folder."""
    return "-".join(expanded(path).resolve().parts[-parts:]) if path else "folder"


def _stem(path: str | None, parts: int = 1) -> str:
    """The last parts of a path without its ending."""
    return Path(_basename(path, parts)).stem


def _folder_with(folder: str, pattern: str) -> str | None:
    """A folder, if it contains a file that matches the pattern, such as ``*.list``; else None."""
    path = expanded(folder)
    return str(path) if any(path.glob(pattern)) else None


def _when(value: Any, is_this: Any, then: Any, otherwise: Any) -> Any:
    """One of two values, depending on a setting: for names that reflect it."""
    return then if value == is_this else otherwise


def _times(factor: float, value: Any) -> Any:
    """A multiple of another setting; a value that is no number is kept, and refused where it was set."""
    return factor * value if isinstance(value, int | float) else value


def _crops_of_schedule(*, _root_: DictConfig) -> str | None:
    """``random`` for a network trained with a schedule on clips that would not overlap; else None."""
    system, scheduler, frames, hop = (
        OmegaConf.select(_root_, name) for name in ("model.system", "scheduler", "clip.frames", "clip.hop")
    )
    learns = str(system).endswith(".NetworkSystem") and scheduler is not None
    return "random" if learns and frames is not None and hop is None else None


def check_switches(config: DictConfig) -> None:
    """Raises ArtistidError for switches that would undo one another: each names the setting that it changes."""
    switches: dict[str, str] = config.get("switch") or {}
    for about in set(switches.values()):
        if len(names := [name for name, setting in switches.items() if setting == about]) > 1:
            raise ArtistidError(f"switch=[{','.join(names)}]: expected one of them, since all change {about}")


def _class_name(target: str) -> str:
    """The name of a class without its package, in lower case."""
    return target.rpartition(".")[2].lower()


RESOLVERS = (_basename, _stem, _folder_with, _when, _times, _class_name, _crops_of_schedule, origin, run_name)
for _resolver in RESOLVERS:
    OmegaConf.register_new_resolver(_resolver.__name__.removeprefix("_"), _resolver, replace=True)
