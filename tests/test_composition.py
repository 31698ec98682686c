"""Every choice of every group of ``conf/`` is composed, and made as far as no song is needed."""

from __future__ import annotations

from functools import cache
from itertools import product

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from artistid.config import build, config_dir
from artistid.data.features import features_of
from artistid.errors import ArtistidError
from artistid.learning.system import system_of
from artistid.settings import Settings, check
from artistid.train import check_settings, split_rule

SETTINGS = Settings("train", [config_dir()])
MODELS, CLIPS, SPLITS = (SETTINGS.choices(group) for group in ("model", "clip", "split"))
WITH_WEIGHTS = ("musicnn_pitch",)  # of others, which its features have to read: tests/models/test_published.py runs it
ALONE, TOGETHER = ("loss", "optimizer", "sampler", "scheduler"), ("augment", "auxiliary", "callbacks")
# Systems that describe whole songs, and name songs only.
OF_SONGS = ("mandel_svm", "mandel_svm_mahalanobis")


@cache
def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return compose("train", [*overrides])


@pytest.mark.parametrize("model", [model for model in MODELS if model not in WITH_WEIGHTS])
def test_each_model_with_each_clip_and_split(model: str) -> None:
    """What makes no sense is refused in a sentence that names the clips; all else is made."""
    names = set()
    of_clips = "network" in composed(f"model={model}").model
    clips = ("3s", "song") if of_clips and model != "crnn" else CLIPS
    for clip, split in product(clips, SPLITS):
        config = composed(f"model={model}").copy()
        config.clip = composed(f"clip={clip}").clip
        config.split = composed(f"split={split}").split
        names.add(config.run_dir)
        split_rule(config)
        if split != SPLITS[0]:  # of which no system knows anything before there are songs
            continue
        features, spec = features_of(config), build(config.clip, "clip")
        if (of_clips and clip == "song") or (model in OF_SONGS and clip != "song"):
            with pytest.raises(ArtistidError, match=f"clip={clip}"):
                system_of(config).check_settings(config, features, spec)
        else:
            system_of(config).check_settings(config, features, spec)
    assert len(names) == len(clips) * len(SPLITS)


@pytest.mark.parametrize(
    ("group", "choice"),
    [(group, choice) for group in ALONE for choice in SETTINGS.choices(group)]
    + [(group, f"[{','.join(SETTINGS.choices(group))}]") for group in TOGETHER],
)
def test_each_choice_of_learning(group: str, choice: str) -> None:
    needed = ("+model.network.head=cosine",) if choice == "angular_margin" else ()
    config = composed(f"{group}={choice}", *needed).copy()
    check(config, SETTINGS)
    check_settings(config)


@pytest.mark.parametrize("data", SETTINGS.choices("data"))
def test_each_source(data: str) -> None:
    config = composed(f"data={data}").copy()
    check(config, SETTINGS)
    assert config.data._target_.startswith("artistid.data.sources.")


@pytest.mark.parametrize("flag", [{"_partial_": float("inf")}, {"_recursive_": 3}])
def test_what_hydra_reads_itself_is_refused_in_a_sentence(flag: dict[str, object]) -> None:
    for settings in (flag, {"part": {"_target_": "collections.Counter", **flag}}):
        with pytest.raises(ArtistidError, match=f"^model.network: .*{next(iter(flag))}"):
            build({"_target_": "collections.Counter", **settings}, "model.network")
