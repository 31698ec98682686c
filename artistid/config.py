"""The configuration: where it lies, what it gives, and how it names a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from artistid.errors import ArtistidError, require_choice
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
    plain_settings = plain(settings) if OmegaConf.is_config(settings) else settings
    if not isinstance(plain_settings, Mapping) or "_target_" not in plain_settings:
        raise ArtistidError(f"{name}._target_ is missing: expected the dotted name of what {name} is made by")
    try:
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


def data_name(config: DictConfig) -> str:
    """The collection's name; fewer artists are another task."""
    unknown = config.get("unknown_artists") or 0
    n_unknown = unknown if isinstance(unknown, int) else len(unknown)
    return f"{config.data.name}-unknown{n_unknown}" if n_unknown else str(config.data.name)


def model_name(config: DictConfig) -> str:
    """The model's name; given a published encoder's vectors, or a stem of the music, it is another system."""
    given = (config.features.get(setting) for setting in ("preset", "stem"))
    return "-".join([str(config.model.name), *(str(name) for name in given if name)])


def run_name(what: str, now: str = "", *, _root_: DictConfig) -> str:
    """What a run is called, below the folder of all runs and in dashboards.

    Args:
        what: ``run``, or ``condition`` for what its trials have in common.
        now: the time, for runs that it tells apart (``run_by=time``).
        _root_: the configuration, which OmegaConf gives to a resolver that asks for it.

    Raises:
        ArtistidError: ``run_by`` is neither ``seed`` nor ``time``.
    """
    config = _root_
    condition = f"{data_name(config)}/{config.split.name}-{config.clip.name}-{model_name(config)}"
    if config.get("init_from"):
        condition += f"-from-{origin(config.init_from)}"
    if what == "condition":
        return condition
    require_choice("run_by", config.run_by, ("seed", "time"))
    fold = config.split.get("fold")
    trial = f"{config.seed}" if config.run_by == "seed" else f"{now}-seed{config.seed}"
    return f"{condition}/{trial}" + ("" if fold is None else f"-fold{fold}")


for _resolver in (_basename, _stem, _folder_with, _when, run_name):
    OmegaConf.register_new_resolver(_resolver.__name__.removeprefix("_"), _resolver, replace=True)
