"""Sweeps that are kept as files in ``conf/experiment``."""

from __future__ import annotations

from itertools import product

from hydra import compose, initialize_config_dir

from artistid.config import config_dir
from artistid.reporting import published


def test_the_papers_study_is_the_cells_of_its_tables_three_times() -> None:
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        params = compose("train", ["experiment=paper"], return_hydra_config=True).hydra.sweeper.params
        choices = {name: str(values).split(",") for name, values in params.items()}
        lengths = {clip: compose("train", [f"clip={clip}"]).clip.seconds for clip in choices["clip"]}
    assert len(list(product(*choices.values()))) == 36
    assert sorted(choices["split"]) == ["album", "song"]
    assert tuple(lengths.values()) == published.CLIPS
    assert tuple(map(int, choices["seed"])) == published.SEEDS
