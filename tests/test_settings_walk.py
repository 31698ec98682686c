"""Every setting of every verb with values of the wrong type or range: each is taken, or told in one sentence."""

from __future__ import annotations

import random
from collections import Counter
from copy import deepcopy
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from artistid.cli import settings_of
from artistid.config import config_dir, plain
from artistid.errors import ArtistidError
from artistid.settings import DECLARED, Settings, check, composing, literal, typed

VERBS = (
    *("app", "audit", "benchmark", "choose", "doctor", "embed", "enrol", "evaluate", "export", "fuse"),
    *("networks", "predict", "prepare", "report", "similar", "train", "verify"),
)
CHOICES = {
    "train": (
        (),
        ("data=folder", "logger=wandb", "split=song", "loss=focal", "scheduler=reduce_on_plateau", "callbacks=ema"),
        (
            "data=library",
            "logger=tensorboard",
            "split=jackknife",
            "augment=[equaliser,gain,mixup,power_mix,spec_augment,low_pass,compression,pitch_shift,time_stretch]",
            "scheduler=one_cycle",
        ),
        ("data=csv", "model=statistics_svm", "split=file"),
        ("data=csv", "model=ecapa", "auxiliary=[contrastive,album_adversary]", "sampler=across_albums"),
        ("data=folder", "model=song_transformer"),
        ("data=fma", "model=mandel_gmm"),
        ("data=mtg_jamendo", "model=random_labels", "split=canonical"),
        ("data=artist20", "clip=song", "model=ellis_gaussian"),
        ("data=folder", "model=ivector", "backend=logistic"),
        ("data=folder", "split=artists"),
    ),
    "prepare": ((), ("data=folder",), ("data=library", "features=descriptors")),
    "embed": ((), ("data=folder",)),
    "evaluate": ((), ("data=folder",)),
}
WRONG = (
    *("two", "-1", "0", "1", "0.5", "nan", "inf", "1e400", "null", "true"),
    *("[a,1]", "{a: 1}", "", "'${nothing}'", "~"),
)
LEARNING = ("augment", "auxiliary", "loss", "optimizer", "sampler", "scheduler", "monitor", "metrics")
BUILT = ("trainer", *LEARNING, "model", "backend", "features", "clip", "split", "data")  # as far as no song is needed
SAMPLED, SAMPLED_SLOWLY = 60, 800


@cache
def composed(verb: str, choices: tuple[str, ...]) -> DictConfig:
    import_module("artistid.config")  # which has resolvers
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        config = compose(verb, list(choices))
    settled = OmegaConf.create(literal(plain(config)))  # resolved once, which takes a tenth of a second
    OmegaConf.set_struct(settled, True)
    return settled


@cache
def settings(verb: str) -> Settings:
    return Settings(verb, [config_dir()])


def leaves(config: DictConfig, above: str = "") -> list[str]:
    """The dotted names of all settings, and of what holds some."""
    names = []
    for key in config:
        names.append(f"{above}{key}")
        inner = config._get_node(key)
        if isinstance(inner, DictConfig) and not inner._is_none() and not inner._is_interpolation():
            names += leaves(inner, f"{above}{key}.")
    return names


# Each setting of a verb once, in the first choice of groups that has it.
PLACES = {
    (verb, name): choices
    for verb in VERBS
    for choices in reversed(CHOICES.get(verb, ((),)))
    for name in leaves(composed(verb, choices))
    if not settings(verb).is_group(name)
}
CASES = [(verb, choices, name, wrong) for (verb, name), choices in PLACES.items() for wrong in WRONG]


def outcome(verb: str, choices: tuple[str, ...], name: str, wrong: str, folder: Path) -> str:
    """What becomes of a setting: ``accepted``, or the sentence that refuses it; anything else is raised."""
    config = deepcopy(composed(verb, choices))
    argument = f"~{name}" if wrong == "~" else f"{name}={wrong}"
    try:
        overrides = OverridesParser.create().parse_overrides(typed([argument], settings(verb)))
        ConfigLoaderImpl._apply_overrides_to_config(overrides, config)
        check(config, settings(verb))
        if verb in ("train", "evaluate") and name.split(".")[0] in BUILT:
            build_all(verb, config)
    except (HydraException, OmegaConfBaseException) as error:
        return composing(error, settings(verb))
    except ArtistidError as error:
        return str(error)
    return "accepted"


def build_all(verb: str, config: DictConfig) -> None:
    """What the verb builds before it reads any song."""
    if verb == "train":
        import_module("artistid.train").check_settings(config)
    else:
        import_module("artistid.learning.trainer").check_trainer(import_module("artistid.config").plain(config.trainer))


def walk(cases: list[Any], folder: Path) -> Counter[str]:
    """Counts what became of the cases; a sentence is one, and names its setting."""
    counts: Counter[str] = Counter()
    faults = []
    for verb, choices, name, wrong in cases:
        case = f"{verb} {' '.join(choices)} {name}={wrong}"
        try:
            told = outcome(verb, choices, name, wrong, folder)
        except Exception as error:
            faults.append(f"{case}: {type(error).__name__}: {str(error)[:200]}")
            counts["tracebacks"] += 1
            continue
        counts["accepted" if told == "accepted" else "sentences"] += 1
        named = name in told or name.split(".")[-1] in told or name.split(".")[0] in told
        if told != "accepted" and (not named or "\n" in told):
            faults.append(f"{case}: {told!r}")
    assert not faults, "\n".join(faults)
    return counts


def test_a_sample_of_wrong_values(tmp_path: Path) -> None:
    counts = walk(random.Random(0).sample(CASES, SAMPLED), tmp_path)
    assert counts["sentences"] > counts["accepted"] > 0


@pytest.mark.slow
def test_many_settings_with_wrong_values(tmp_path: Path) -> None:
    """``SAMPLED_SLOWLY`` of them; all take some minutes: ``python -m tests.test_settings_walk``."""
    cases = random.Random(1).sample(CASES, SAMPLED_SLOWLY)
    counts = walk(cases, tmp_path)
    print(f"\n{len(cases)} of {len(CASES)} wrong values of all settings of {len(VERBS)} verbs:", dict(counts))
    assert counts["sentences"] > counts["accepted"] > 0


if __name__ == "__main__":
    print(f"{len(CASES)} wrong values of all settings of {len(VERBS)} verbs:", dict(walk(CASES, Path())))


@pytest.mark.parametrize("name", DECLARED)
def test_a_declared_type_is_that_of_a_setting(name: str) -> None:
    assert any(settings_of(verb).known(name) for verb in VERBS)
