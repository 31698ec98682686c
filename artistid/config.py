"""The configuration: where it lies, what it gives, and how it names a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from artistid.errors import ArtistidError
from artistid.places import expanded
from artistid.settings import first_line, literal


def config_dir() -> Path:
    """The folder of the configuration: inside the package when installed from a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parent
    installed, checkout = package / "conf", package.parent / "conf"
    return installed if installed.is_dir() else checkout


def in_sweep() -> bool:
    """Whether this is a job of a multirun."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def jobs_at_once() -> int:
    """How many jobs of a sweep run on this machine at once: 1 where there is none, or one after the other."""
    return OmegaConf.select(HydraConfig.get().launcher, "n_jobs", default=1) if in_sweep() else 1


def make_data_absolute(config: DictConfig) -> None:
    """Whatever keeps the configuration finds the data again from anywhere."""
    data = config.get("data") or {}
    for setting in ("root", "csv"):
        if data.get(setting):
            data[setting] = literal(str(expanded(data[setting]).absolute()))


def plain(config: Any) -> Any:
    """A configuration as plain, resolved dicts, lists and scalars."""
    return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)


def build(settings: Any, name: str, **arguments: Any) -> Any:
    """What a part of the configuration describes under ``_target_``.

    Args:
        settings: that part, or plain settings, which are taken as they are.
        name: of the part, for the error.
        arguments: in addition.

    Raises:
        ArtistidError: it can't be made of these settings.
    """
    try:
        plain_settings = plain(settings) if OmegaConf.is_config(settings) else settings
        return instantiate(
            literal(literal(plain_settings)), **arguments
        )  # Hydra resolves twice: in place, and as it reads
    except InstantiationException as error:
        if isinstance(error.__cause__, ArtistidError):
            raise error.__cause__ from error
        raise ArtistidError(f"{name}: {first_line(error.__cause__ or error)}") from error


def _basename(path: str | None) -> str:
    """Last part of a path, to name runs and stores after a collection's folder."""
    return expanded(path).resolve().name if path else "folder"


def _stem(path: str | None) -> str:
    """The last part of a path without its ending."""
    return Path(_basename(path)).stem


def origin(checkpoint: Any) -> str:
    """A name for the run that a checkpoint is of; its ending, and ``checkpoints``, say nothing and are left out.

    Example:
        >>> origin("runs/music/album-3s-crnn/0/checkpoints/best.ckpt")
        'music-album-3s-crnn-0-best'
    """
    path = expanded(str(checkpoint)).absolute().with_suffix("")
    parts = [part for part in path.parts[1:] if part != "checkpoints"]
    return "-".join(parts[-4:])


def _folder_with(folder: str, pattern: str) -> str | None:
    """A folder, if a file of that name, such as ``*.list``, lies in it; else None."""
    path = expanded(folder)
    return str(path) if any(path.glob(pattern)) else None


def _when(value: Any, is_this: Any, then: Any, otherwise: Any) -> Any:
    """One of two, by what a setting is: for names that tell apart what a setting changes."""
    return then if value == is_this else otherwise


def _hold_out_artists(unknown: Any) -> str:
    """What is added to a collection's name where artists are set aside: it is another task then."""
    n_artists = unknown if isinstance(unknown, int) else len(unknown)
    return f"-unknown{n_artists}" if n_artists else ""


for _resolver in (_basename, _stem, origin, _folder_with, _when, _hold_out_artists):
    OmegaConf.register_new_resolver(_resolver.__name__.removeprefix("_"), _resolver, replace=True)
