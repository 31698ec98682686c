"""How a network is run on this machine."""

from __future__ import annotations

import pytest
import torch

from artistid.data.clips import ClipSpec
from artistid.data.datamodule import ClipData
from artistid.learning.acceleration import (
    cache_on_device,
    choose_memory_format,
    choose_precision,
    prepare_network,
)
from artistid.models.crnn import CRNN
from tests.data.stores import make_store


def test_precision_that_is_asked_for_is_used() -> None:
    assert choose_precision("32-true", "cpu") == "32-true"


@pytest.mark.skipif(torch.cuda.is_available(), reason="speaks of machines without a GPU")
def test_bfloat16_only_where_the_processor_has_it() -> None:
    capabilities = torch.cpu.get_capabilities()
    native = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    assert choose_precision("auto", "auto") == ("bf16-mixed" if native else "32-true")


def test_memory_format_changes_no_logits() -> None:
    torch.manual_seed(0)
    network = CRNN(5).eval()
    clips = torch.randn(3, 128, 94)
    expected = network(clips)
    prepared = prepare_network(network)
    assert prepared.convolutions[1][0].weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(prepared(clips), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="speaks of machines without one of Apple's GPUs")
def test_memory_format_is_what_is_fast_unless_it_is_said() -> None:
    assert choose_memory_format("auto", "auto") == choose_memory_format("auto", "cpu") == "channels_last"
    assert choose_memory_format("contiguous", "cpu") == "contiguous"
    assert choose_memory_format("auto", "mps") == "contiguous"
    weight = prepare_network(CRNN(5), "contiguous").convolutions[1][0].weight
    assert weight.is_contiguous()


class TestPlaceClips:
    @pytest.mark.parametrize(("where", "kept"), [("auto", False), ("host", False), ("device", True)])
    def test_on_a_cpu_they_stay_in_the_store_unless_it_is_said(self, where: str, kept: bool) -> None:
        catalog, store = make_store({"a/1/x": 20, "b/1/x": 20})
        data = ClipData({"test": catalog}, store, ("a", "b"), ClipSpec(name="x", seconds=1, frames=10), 4)
        cache_on_device(data, torch.device("cpu"), where)
        assert (data.datasets["test"].kept is not None) == kept
        assert not data.prefetching
