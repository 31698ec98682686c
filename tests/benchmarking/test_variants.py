from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from artistid.benchmarking import variants as module
from artistid.benchmarking.material import random_clips
from artistid.benchmarking.parts import FixedBatch
from artistid.benchmarking.variants import REFERENCE, Step, Variant, gradient, variants
from artistid.config import config_dir
from artistid.data.datamodule import ClipData, RandomCrops
from artistid.errors import ArtistidError

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def config() -> DictConfig:
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return compose("benchmark", ["size=tiny", "batch_size=4"])


@pytest.fixture(scope="module")
def data(config: DictConfig, tmp_path_factory: pytest.TempPathFactory) -> ClipData:
    return random_clips(config, tmp_path_factory.mktemp("store"))[0]


def test_the_store_is_as_large_as_it_was_asked_for(config: DictConfig, data: ClipData) -> None:
    assert sum(map(len, data.subsets.values())) == config.size.songs
    assert data.store.array.shape == (config.size.songs * config.size.frames, 128)
    assert len(data.artists) == 20


def test_every_form_gives_the_gradient_of_single_precision(config: DictConfig, data: ClipData) -> None:
    assert isinstance(data.datasets["train"], RandomCrops)  # as in the default training
    clips = module._clips(data, CPU)
    expected = gradient(REFERENCE, config, clips[True], CPU)
    assert expected.norm() > 0
    for form in variants(CPU, compiled=False)[1:]:
        error = ((gradient(form, config, clips[form.kept], CPU) - expected).norm() / expected.norm()).item()
        assert error < module.GRADIENT_TOLERANCE[form.numbers], form.name


def test_a_form_that_computes_something_else_is_refused(
    config: DictConfig, data: ClipData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(module.GRADIENT_TOLERANCE, "bfloat16", 1e-4)
    with pytest.raises(ArtistidError, match=r"the gradient of coarse is .* from that of single precision"):
        module._checked([REFERENCE, Variant("coarse", "bfloat16")], config, module._clips(data, CPU), CPU)


def test_a_step_learns(config: DictConfig, data: ClipData) -> None:
    step = Step(replace(REFERENCE, prepared=True), config, data.datasets["train"], CPU)
    before = [parameter.clone() for parameter in step.network.parameters()]
    step(torch.arange(4))
    assert all(not torch.equal(old, new) for old, new in zip(before, step.network.parameters(), strict=True))


def test_a_fixed_batch_is_the_first_again_and_again(data: ClipData) -> None:
    batches = list(FixedBatch(data).train_dataloader())
    assert len(batches) == len(data.clips["train"]) // data.batch_size
    assert all(batch is batches[0] for batch in batches)
    assert batches[0]["clip"].tolist() == list(range(data.batch_size))
