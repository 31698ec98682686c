"""Switches: what each turns on, how runs are named by them, and the sweep that takes them one by one."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from artistid.config import config_dir
from artistid.models.timbre_pitch import PARTS, TIMBRE_AND_PITCH
from artistid.settings import check, split_at_commas
from artistid.train import check_settings
from tests.test_composition import SETTINGS, composed
from tests.verbs import train

SWITCHES = set(SETTINGS.choices("switch"))


def test_the_ablation_is_each_alone_and_some_together_but_one() -> None:
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        sweep = compose("train", ["experiment=ablation"], return_hydra_config=True).hydra.sweeper.params.switch
    lists = [tuple(filter(None, each.strip("[]").split(","))) for each in split_at_commas(sweep)]
    together = max(lists, key=len)
    expected = [(), *((name,) for name in SWITCHES), together]
    expected += [tuple(other for other in together if other != name) for name in together]
    assert sorted(lists) == sorted(expected)


def test_the_ablation_of_the_best_is_of_all_its_parts() -> None:
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        sweep = compose("train", ["experiment=ablation_best"], return_hydra_config=True).hydra.sweeper.params
    lists = [tuple(each.strip("[]").split(",")) for each in split_at_commas(sweep["model.grid.parts"])]
    expected = [parts for n in (1, 3, 4) for parts in combinations(PARTS, n)]
    assert sorted(lists) == sorted(expected)
    assert [tuple(parts) for parts in composed("experiment=best").model.grid.parts] == [TIMBRE_AND_PITCH, PARTS]
    assert sorted(sweep.backend.split(",")) == sorted(SETTINGS.choices("backend"))


def test_each_says_its_own_name() -> None:
    for path in (config_dir() / "switch").glob("*.yaml"):
        assert list(OmegaConf.load(path).switch) == [path.stem]


@pytest.mark.parametrize("mixing", [True, False])
def test_each_can_be_on(mixing: bool) -> None:
    """All in two lots, since some stand in for one another."""
    one = {"mixup", "power_mix", "angular_margin", "one_cycle", "clip_norm", "swa"}
    other = {"contrastive", "album_adversary", "label_smoothing", "cosine", "bin_norm", "ema"}
    config = composed(f"switch=[{','.join(sorted(SWITCHES - (other if mixing else one)))}]").copy()
    check(config, SETTINGS)
    check_settings(config)


def test_they_compose() -> None:
    config = composed("switch=[mixup,gain,wide,angular_margin,cosine,crops,ema]")
    assert list(config.augment) == ["mixup", "gain"]
    assert (config.model.network.width, config.model.network.head, config.clip.crop) == (1.5, "cosine", "random")
    assert (config.loss.margin, config.scheduler.eta_min, list(config.callbacks)) == (0.2, 0, ["ema"])
    assert config.run_dir.endswith("-crnn+mixup+gain+wide+angular_margin+cosine+crops+ema/0")
    assert composed().run_dir.endswith("-crnn/0")


def test_a_run_with_switches_is_a_system_of_its_own(corpus: Path, tmp_path: Path) -> None:
    switches = "switch=[crops,spec_augment,equaliser,contrastive,album_adversary,angular_margin]"
    scores = train(corpus, tmp_path / "run", switches, "split=song", "trainer.max_epochs=2")
    name = "crnn+crops+spec_augment+equaliser+contrastive+album_adversary+angular_margin"
    assert scores["condition"]["model"] == name
    curves = pd.read_csv(tmp_path / "run" / "metrics.csv").dropna(subset="train/loss")
    parts = curves["train/contrastive"] + curves["train/album_adversary"]
    assert (parts > 0).all()
    assert (curves["train/loss"] > parts).all()


@pytest.mark.parametrize("wrong", ["nothing", "[cosine,one_cycle]"])
def test_switches_that_cannot_be(wrong: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train(Path("nowhere"), tmp_path / "run", f"switch={wrong}")
    told = capsys.readouterr().err
    assert f"switch={wrong}" in told
    assert "Traceback" not in told
