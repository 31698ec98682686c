"""Names of runs: the folder below ``runs/``, the name in dashboards, and the condition in the scores file."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from artistid.errors import ArtistidError, require_choice
from artistid.places import expanded
from artistid.settings import Settings
from artistid.sweeps import in_sweep, task_overrides

# Prefixes of the names of settings that do not affect a run's numbers.
WITHOUT_EFFECT = (
    "overwrite",
    "run_",
    "workers",
    "cache_dir",
    "limits",
    "data.workers",
    "data.cache_dir",
    "logger",
    "dashboard",
    "trainer.enable_progress_bar",
    "data_device",
    "trust",
    "figures",
    "model.system",
    *("format", "top", "review", "host", "port", "names"),  # of an audit
)

# A run's name begins with the names of these choices.
NAMED_GROUPS = ("data", "split", "clip", "model")
# Settings that have a place of their own in the name, or say where the music is stored, not which it is.
NAMED_SETTINGS = (
    *(*NAMED_GROUPS, "backend", "backend.name", "features.preset", "features.stem"),
    *("switch", "seed", "split.fold", "init_from", "data.root"),
)
REFERENCES = re.compile(r"\$\{(\.?[\w.]+)\}")

MOST_BYTES = 150  # of one folder's name; file systems allow 255, and other names extend this one
MOST_LETTERS = 40  # of one value in it


def origin(checkpoint: Any) -> str:
    """A name for the run of a checkpoint; the file extension and ``checkpoints`` are left out.

    Example:
        >>> origin("runs/music/album-3s-crnn/0/checkpoints/best.ckpt")
        'music-album-3s-crnn-0-best'
    """
    path = expanded(str(checkpoint)).absolute()
    parts = [part for part in (path.parent / path.stem).parts[1:] if part != "checkpoints"]
    return "-".join(parts[-4:])


def data_name(config: DictConfig) -> str:
    """The collection's name, with the number of unknown artists, if any: fewer artists are another task."""
    unknown = config.get("unknown_artists") or 0
    n_unknown = unknown if isinstance(unknown, int) else len(unknown)
    return f"{config.data.name}-unknown{n_unknown}" if n_unknown else str(config.data.name)


def system_name(config: DictConfig) -> str:
    """The names of the model, its input and its back end, and the switches that are on.

    With a published encoder's vectors or a stem of the music as input, it is a different system.
    """
    given = (OmegaConf.select(config, setting) for setting in ("features.preset", "features.stem", "backend.name"))
    model = "-".join([config.model.name, *(str(name) for name in given if name)])
    return "+".join([model, *(config.get("switch") or {})])


def condition_name(config: DictConfig) -> str:
    """What all trials of a condition have in common, as a path."""
    condition = f"{config.split.name}-{config.clip.name}-{system_name(config)}"
    if config.get("init_from"):
        condition += f"-from-{origin(config.init_from)}"
    if given := variant(config):
        condition += f"-{given}"
    return f"{data_name(config)}/{bounded(condition, MOST_BYTES)}"


def condition_of(config: DictConfig) -> dict[str, Any]:
    """What identifies a run, for the scores file: names of the choices, initial checkpoint, fold, seed, vote.

    Other settings given on the command line are its ``variant``, see :func:`variant`.
    """
    condition = {name: config[name].name for name in NAMED_GROUPS}
    condition |= {"data": data_name(config), "model": system_name(config)}
    if config.get("init_from"):
        condition["init_from"] = origin(config.init_from)
    if given := variant(config):
        condition["variant"] = given
    fold = {"fold": config.split.fold} if "fold" in config.split else {}
    return {**condition, **fold, "seed": config.seed, "vote": config.vote}


def introduction(config: DictConfig) -> str | None:
    """One line that describes a run; None if its settings, which are not checked yet, are invalid."""
    try:
        distinguishing = {**condition_of(config), "folder": config.run_dir}
    except (ArtistidError, AttributeError, TypeError, OmegaConfBaseException):
        return None
    return " ".join(f"{name}={value}" for name, value in distinguishing.items() if name not in ("variant", "vote"))


def run_name(what: str, now: str = "", *, _root_: DictConfig) -> str:
    """The name of a run, below the folder of all runs and in dashboards.

    Args:
        what: ``run``, or ``condition`` for what its trials have in common.
        now: the time, for runs named by it (``run_by=time``); the same for all jobs of a sweep.
        _root_: the configuration, which OmegaConf passes to a resolver that asks for it.

    Raises:
        ArtistidError: ``run_by`` is neither ``seed`` nor ``time``.
    """
    config = _root_
    condition = condition_name(config)
    if what == "condition":
        return condition
    require_choice("run_by", config.run_by, ("seed", "time"))
    trial = str(config.seed)
    if config.run_by == "time":
        job = f"-job{HydraConfig.get().job.num}" if in_sweep() else ""
        trial = f"{now}{job}-seed{config.seed}"
    fold = config.split.get("fold")
    return f"{condition}/{trial}" + ("" if fold is None else f"-fold{fold}")


def variant(config: DictConfig) -> str:
    """The settings given on the command line that the name does not contain already; empty if there are none.

    Like Hydra's ``override_dirname``: ``key=value`` sorted by key, with composed values, so that the same command finds
    the same folder, however its settings were typed and ordered. They are joined by hyphens: a comma would split the
    path in lists.
    """
    if not HydraConfig.initialized():
        return ""
    overrides = OverridesParser.create().parse_overrides(task_overrides())
    named = set(_named(config))
    without_effect = tuple(_without_effect(config))
    telling = (each for each in overrides if not _key(each).startswith(without_effect) and not _is_named(each, named))
    given = {_key(override): _value(override, config) for override in telling}
    return "-".join(f"{key}={value}" if value is not None else key for key, value in sorted(given.items()))


def _without_effect(config: DictConfig) -> Iterator[str]:
    """Prefixes of the settings that have no effect on this run."""
    yield from WITHOUT_EFFECT
    if not config.get("init_from"):
        yield "fine_tuning"
    if not OmegaConf.select(config, "features.stem"):
        yield "features.separator"


def _named(config: DictConfig) -> Iterator[str]:
    """The settings that the rest of the name reflects: those that the names of its choices are made from."""
    yield from NAMED_SETTINGS
    if isinstance(config.get("unknown_artists"), int):
        yield "unknown_artists"
    if OmegaConf.select(config, "features.preset"):
        yield from ("features", "encoder")
    elif HydraConfig.get().runtime.choices.get("features") in config.model.name.split("-"):
        yield "features"  # as of probes
    for group in NAMED_GROUPS:
        yield f"{group}.name"
        written = config[group]._get_node("name")._value()
        for reference in REFERENCES.findall(str(written)):
            name = group + reference if reference.startswith(".") else reference
            value = OmegaConf.select(config, name)
            if value is None or str(value) in config[group].name or name == "data.csv":
                yield name


def _is_named(override: Override, named: set[str]) -> bool:
    key = _key(override)
    if key == "experiment":
        return set(_set_by(override.value())) <= named
    if override.value() == [] and _settings().groups.get(key, key) is None:
        return True  # nothing is chosen, as by default
    return key in named


def _set_by(experiments: Any) -> Iterator[str]:
    """The settings of a run that experiments set, and the choices that they make; Hydra's own do not count."""
    for experiment in experiments if isinstance(experiments, list) else [experiments]:
        yield from _settings().set_by("experiment", str(experiment))


def _settings() -> Settings:
    sources = HydraConfig.get().runtime.config_sources
    return Settings("train", [Path(source.path) for source in sources if source.schema == "file"])


def _key(override: Override) -> str:
    return override.get_key_element().lstrip("+")


def _value(override: Override, config: DictConfig) -> str | None:
    """The value in a name; None if the setting was deleted."""
    if override.is_delete():
        return None
    if override.value() == []:
        return as_word(None)
    composed = OmegaConf.select(config, _key(override))
    return as_word(override.value() if composed is None or OmegaConf.is_config(composed) else composed)


def as_word(value: Any) -> str:
    """A value as part of a file name.

    A value that is long, or has characters that are unusual in file names, is shortened and ends in a few digits of
    its hash: different values give different words.

    Example:
        >>> as_word(0.001), as_word(None), as_word(["mixup", "spec_augment"])
        ('0.001', 'null', 'mixup+spec_augment')
        >>> as_word("a b")
        'a-b-7dbde9'
    """
    text = _text(value)
    if isinstance(value, float) and len(text) > len(short := f"{value:.3g}"):
        return f"{short}-{_digits(text)[:6]}"
    word = re.sub(r"[^\w.+=@%~-]+", "-", text).strip("-") if re.search(r"[^\w.+=@%~-]", text) else text
    if word == text and len(text) <= MOST_LETTERS:
        return text
    shortened = word[-MOST_LETTERS:] if "/" in text else word[:MOST_LETTERS]
    return f"{shortened.strip('-')}-{_digits(text)[:6]}".lstrip("-")


def _text(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower().replace("none", "null")
    if isinstance(value, list):
        return "+".join(map(_text, value))
    if isinstance(value, dict):
        return "+".join(f"{key}={_text(each)}" for key, each in value.items())
    return str(value)


def bounded(name: str, most: int) -> str:
    """A name of at most this many bytes; a longer one is cut and ends in digits of its hash."""
    if len(name.encode()) <= most:
        return name
    digits = _digits(name)[:8]
    return f"{name.encode()[: most - len(digits) - 1].decode(errors='ignore')}-{digits}"


def _digits(text: str) -> str:
    return hashlib.sha1(text.encode(errors="surrogatepass")).hexdigest()
