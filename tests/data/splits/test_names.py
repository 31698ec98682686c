"""Protocols have names of their own in what a command line composes: in run folders and in the scores' condition."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from artistid.config import config_dir
from artistid.data.splits import PROTOCOLS
from artistid.naming import condition_of
from artistid.train import split_rule
from tests.data.splits.test_jackknife import write_lists
from tests.data.splits.test_split import artist20_sized


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return compose("train", list(overrides))


@pytest.mark.parametrize(
    ("overrides", "folder"),
    [
        ((), "album-3s-crnn/0"),
        (("split=album", "split.validation=song"), "album-songval-3s-crnn/0"),
        (("split=song", "seed=21"), "song-3s-crnn/21"),
        (("split=canonical",), "canonical-3s-crnn/0"),
        (("split=jackknife",), "jackknife-drawn-3s-crnn/0-fold0"),
        (("split=jackknife", "split.fold=5", "seed=42"), "jackknife-drawn-3s-crnn/42-fold5"),
    ],
)
def test_run_folders_and_conditions(overrides: tuple[str, ...], folder: str) -> None:
    config = composed(*overrides)
    assert config.run_dir.endswith(f"/{folder}")
    condition = condition_of(config)
    assert condition["split"] in PROTOCOLS
    assert folder.startswith(condition["split"])
    assert condition.get("fold") == config.split.get("fold")


def test_folds_of_runs_that_are_told_apart_by_time_have_folders_too() -> None:
    assert composed("split=jackknife", "split.fold=3", "run_by=time").run_dir.endswith("-seed0-fold3")


def test_lists_are_taken_where_they_are(tmp_path: Path) -> None:
    root = ("split=jackknife", "data=artist20", f"data.root={tmp_path}")
    assert (composed(*root).split.lists, composed(*root).split.name) == (None, "jackknife-drawn")
    lists = write_lists(tmp_path / "lists", artist20_sized())
    config = composed(*root)
    assert (config.split.lists, config.split.name) == (str(lists), "jackknife")
    assert split_rule(config).draw(artist20_sized(), 0).rule == "jackknife"
    assert composed(*root, "split.lists=null").split.name == "jackknife-drawn"
    assert composed("split=canonical", *root[1:]).split.lists is None, "these are lists of folds"


@pytest.mark.parametrize("name", ["album", "song", "jackknife"])
def test_the_name_is_that_of_the_rule_that_draws(name: str) -> None:
    config = composed(f"split={name}")
    assert split_rule(config).draw(artist20_sized(), 0).rule == config.split.name
