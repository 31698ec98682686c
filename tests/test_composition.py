"""Every choice of every group of ``conf/`` is composed, and made as far as no song is needed."""

from __future__ import annotations

from functools import cache
from itertools import product

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from artistid.config import build, config_dir
from artistid.data.stems import features_of
from artistid.errors import ArtistidError
from artistid.learning.system import system_of
from artistid.settings import Settings, check
from artistid.train import check_settings, split_rule

SETTINGS = Settings("train", [config_dir()])
MODELS, CLIPS, SPLITS = (SETTINGS.choices(group) for group in ("model", "clip", "split"))
LEARNING = ("augment", "loss", "optimizer", "scheduler", "callbacks")
# Systems that describe whole songs, and name songs only.
OF_SONGS = ("mandel_svm", "mandel_svm_mahalanobis")


@cache
def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return compose("train", [*overrides])


@pytest.mark.parametrize("model", MODELS)
def test_each_model_with_each_clip_and_split(model: str) -> None:
    """What makes no sense is refused in a sentence that names the clips; all else is made."""
    names = set()
    for clip, split in product(CLIPS, SPLITS):
        config = composed(f"model={model}").copy()
        config.clip = composed(f"clip={clip}").clip
        config.split = composed(f"split={split}").split
        names.add(config.run_dir)
        split_rule(config)
        if split != SPLITS[0]:  # of which no system knows anything before there are songs
            continue
        features, spec = features_of(config), build(config.clip, "clip")
        if ("network" in config.model and clip == "song") or (model in OF_SONGS and clip != "song"):
            with pytest.raises(ArtistidError, match=f"clip={clip}"):
                system_of(config).check_settings(config, features, spec)
        else:
            system_of(config).check_settings(config, features, spec)
    assert len(names) == len(CLIPS) * len(SPLITS)


@pytest.mark.parametrize(
    ("group", "choice"), [(group, choice) for group in LEARNING for choice in SETTINGS.choices(group)]
)
def test_each_choice_of_learning(group: str, choice: str) -> None:
    config = composed(f"{group}={choice}").copy()
    check(config, SETTINGS)
    check_settings(config)


@pytest.mark.parametrize("data", SETTINGS.choices("data"))
def test_each_source(data: str) -> None:
    config = composed(f"data={data}").copy()
    check(config, SETTINGS)
    assert config.data._target_.startswith("artistid.data.sources.")
