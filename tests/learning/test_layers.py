"""Layers that take the place of torch's."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from artistid.learning.layers import FastDropout, PooledBlock, use_fast_layers
from artistid.models.crnn import CRNN


def trained(network: nn.Module) -> nn.Module:
    """Batch norm as training may leave it: with weights of either sign."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return network


class TestPooledBlock:
    @pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
    @pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
    def test_gives_the_same_to_the_bit_out_of_training(
        self, precision: torch.dtype, memory_format: torch.memory_format
    ) -> None:
        torch.manual_seed(0)
        network = trained(CRNN(5)).eval().to(memory_format=memory_format)
        for block in network.convolutions:
            block[2].weight.data[::5] = 0  # neither sign
        fast = use_fast_layers(copy.deepcopy(network))
        assert [type(block) for block in fast.convolutions] == [PooledBlock] * 4
        with torch.no_grad(), torch.autocast("cpu", precision, enabled=precision is torch.bfloat16):
            x = torch.randn(4, 128, 94)
            assert torch.equal(fast(x), network(x))
            for block, plain in zip(fast.convolutions, network.convolutions, strict=True):
                x = torch.randn(2, plain[0].in_channels, 21, 13)
                assert torch.equal(block(x), plain(x))

    def test_is_left_as_it_was_in_training(self) -> None:
        torch.manual_seed(0)
        network = trained(CRNN(5, conv_dropout=0, dropout=0)).train()
        fast = use_fast_layers(copy.deepcopy(network))
        x = torch.randn(4, 128, 94)
        for each in (network, fast):
            each(x).sum().backward()
        for (name, one), (other_name, other) in zip(network.named_parameters(), fast.named_parameters(), strict=True):
            assert name == other_name
            assert torch.equal(one.grad, other.grad), name
        assert all(torch.equal(fast.state_dict()[name], value) for name, value in network.state_dict().items())
        assert fast.state_dict().keys() == network.state_dict().keys()

    def test_frozen_statistics_in_training(self) -> None:
        """As in fine-tuning, where batch norm alone is in eval mode."""
        torch.manual_seed(0)
        network = trained(CRNN(5, conv_dropout=0, dropout=0)).train()
        for module in network.modules():
            module.train(not isinstance(module, nn.BatchNorm2d))
        fast = use_fast_layers(copy.deepcopy(network))
        assert not any(module.training for module in fast.modules() if isinstance(module, nn.BatchNorm2d))
        x = torch.randn(4, 128, 94)
        assert torch.equal(fast(x), network(x))

    def test_gradients_out_of_training(self) -> None:
        torch.manual_seed(0)
        network = trained(CRNN(5)).eval().double()
        fast = use_fast_layers(copy.deepcopy(network))
        x = torch.randn(4, 128, 94, dtype=torch.float64)
        for each in (network, fast):
            each(x).square().sum().backward()
        for one, other in zip(network.parameters(), fast.parameters(), strict=True):
            torch.testing.assert_close(one.grad, other.grad)

    @pytest.mark.parametrize(
        "layers",
        [
            (nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ELU(), nn.MaxPool2d(2)),
            (nn.Conv2d(1, 2, 3), nn.SiLU(), nn.BatchNorm2d(2), nn.MaxPool2d(2)),  # falls before it rises
            (nn.Conv2d(1, 2, 3), nn.ELU(), nn.BatchNorm2d(2, track_running_stats=False), nn.MaxPool2d(2)),
            (nn.Conv2d(1, 2, 3), nn.ELU(), nn.BatchNorm2d(2), nn.AvgPool2d(2)),
            (nn.Conv2d(1, 2, 3), nn.ELU()),
        ],
    )
    def test_other_blocks_stay_as_they_are(self, layers: tuple[nn.Module, ...]) -> None:
        network = use_fast_layers(nn.Sequential(nn.Sequential(*layers)))
        assert type(network[0]) is nn.Sequential


class TestFastDropout:
    def test_takes_the_place_of_every_dropout_of_the_network(self) -> None:
        drops = [module for module in use_fast_layers(CRNN(5)).modules() if isinstance(module, nn.Dropout)]
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
