"""How a network is run on this machine."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from artistid.data.clips import Clipping
from artistid.data.datamodule import ClipData
from artistid.learning.acceleration import (
    FastDropout,
    choose_memory_format,
    choose_precision,
    place_clips,
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


class TestFastDropout:
    def test_takes_the_place_of_every_dropout_of_the_network(self) -> None:
        drops = [module for module in prepare_network(CRNN(5)).modules() if isinstance(module, nn.Dropout)]
        assert [type(module) for module in drops] == [FastDropout] * 5
        assert [module.p for module in drops] == [0.1] * 4 + [0.3]

    @pytest.mark.parametrize("p", [0.1, 0.3, 0.5])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_drops_its_share_and_keeps_the_mean(self, p: float, dtype: torch.dtype) -> None:
        torch.manual_seed(0)
        dropped = FastDropout(p).train()(torch.ones(400, 1000, dtype=dtype)).float()
        share = (dropped == 0).double().mean().item()
        assert share == pytest.approx(p, abs=5 * (p * (1 - p) / 400_000) ** 0.5)  # five standard errors
        assert dropped.double().mean().item() == pytest.approx(1, abs=0.01)
        assert dropped.unique().tolist() == pytest.approx([0, 1 / (1 - p)], rel=0.005)
        # No value goes with another: neither its neighbours, which are of the same draw, nor those below it.
        kept = (dropped > 0).double()
        for one, other in ((kept[:, :-1], kept[:, 1:]), (kept[:-1], kept[1:]), (kept[:, :-4], kept[:, 4:])):
            assert abs(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1].item()) < 0.01

    @pytest.mark.parametrize("shape", [(3, 5, 7, 2), (1, 1), (7,), (2, 0)])
    def test_any_shape_and_layout(self, shape: tuple[int, ...]) -> None:
        x = torch.ones(shape)
        layouts = [x, x.expand(3, *shape)[1]] + ([x.to(memory_format=torch.channels_last)] if x.dim() == 4 else [])
        for layout in layouts:
            dropped = FastDropout(0.5).train()(layout)
            assert dropped.shape == x.shape
            assert set(dropped.flatten().tolist()) <= {0.0, 2.0}

    def test_the_gradient_is_of_what_was_kept(self) -> None:
        x = torch.ones(50, 50, requires_grad=True)
        dropped = FastDropout(0.3).train()(x)
        dropped.sum().backward()
        torch.testing.assert_close(x.grad, dropped.detach())

    def test_the_same_seed_drops_the_same(self) -> None:
        once, again = [], []
        for draws in (once, again):
            torch.manual_seed(1)
            draws += [FastDropout(0.3).train()(torch.ones(99)) for _ in range(2)]
        assert torch.equal(once[0], again[0])
        assert torch.equal(once[1], again[1])
        assert not torch.equal(once[0], once[1])

    def test_nothing_is_dropped_in_eval_mode_or_at_zero(self) -> None:
        x = torch.randn(9)
        assert torch.equal(FastDropout(0.3).eval()(x), x)
        assert torch.equal(FastDropout(0.0).train()(x), x)
        assert torch.equal(FastDropout(1.0).train()(x), torch.zeros(9))


class TestPlaceClips:
    @pytest.mark.parametrize(("where", "kept"), [("auto", False), ("host", False), ("device", True)])
    def test_on_a_cpu_they_stay_in_the_store_unless_it_is_said(self, where: str, kept: bool) -> None:
        catalog, store = make_store({"a/1/x": 20, "b/1/x": 20})
        data = ClipData({"test": catalog}, store, ("a", "b"), Clipping(name="x", seconds=1, frames=10), 4)
        place_clips(data, torch.device("cpu"), where)
        assert (data.datasets["test"].kept is not None) == kept
        assert not data.prefetching
