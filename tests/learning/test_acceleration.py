"""How a network is run on this machine."""

from __future__ import annotations

import pytest
import torch

from artistid.learning.acceleration import choose_precision, prepare_network
from artistid.models.crnn import CRNN


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
