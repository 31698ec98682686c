"""Layers that take the place of torch's."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from artistid.learning import kernels
from artistid.learning.layers import PooledBlock, use_fast_layers
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

    @pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_gives_the_same_in_training(self, memory_format: torch.memory_format, dtype: torch.dtype) -> None:
        torch.manual_seed(0)
        network = trained(CRNN(5, conv_dropout=0, dropout=0)).train().to(dtype=dtype, memory_format=memory_format)
        fast = use_fast_layers(copy.deepcopy(network))
        assert fast.state_dict().keys() == network.state_dict().keys()
        x = torch.randn(4, 128, 94, dtype=dtype)
        for each in (network, fast):
            each(x).square().sum().backward()
        for (name, one), (other_name, other) in zip(network.named_parameters(), fast.named_parameters(), strict=True):
            assert name == other_name
            torch.testing.assert_close(other.grad, one.grad, rtol=1e-3, atol=1e-3 * one.grad.abs().max().item())
        for name, value in network.state_dict().items():
            torch.testing.assert_close(fast.state_dict()[name], value, rtol=1e-4, atol=1e-5)

    def test_can_be_compiled_in_training(self) -> None:
        torch.manual_seed(0)
        blocks = use_fast_layers(CRNN(5, conv_dropout=0)).train().to(memory_format=torch.channels_last).convolutions
        x = torch.randn(4, 1, 128, 94)
        expected = copy.deepcopy(blocks)(x)
        torch.testing.assert_close(
            torch.compile(blocks, backend="eager", fullgraph=True)(x), expected, rtol=1e-3, atol=1e-4
        )

    def test_drops_as_often_where_the_kernels_cannot(self, monkeypatch: pytest.MonkeyPatch) -> None:
        torch.manual_seed(0)
        layers = nn.Conv2d(1, 8, 3), nn.ELU(), nn.BatchNorm2d(8), nn.MaxPool2d(2), nn.Dropout(0.3), nn.Dropout(0.5)
        block = use_fast_layers(nn.Sequential(nn.Sequential(*layers))).to(memory_format=torch.channels_last)
        x = torch.randn(4, 1, 102, 102)
        shares = [(block(x) == 0).float().mean().item()]
        monkeypatch.setattr(kernels, "_openmp", lambda: None)
        shares.append((block(x) == 0).float().mean().item())
        assert shares == pytest.approx([1 - 0.7 * 0.5] * 2, abs=0.01)

    def test_no_kernels_are_looked_for_where_images_lie_otherwise(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """To import them is to have them compiled, for half a minute."""
        monkeypatch.setattr(kernels, "can_take", lambda *_: pytest.fail("they were"))
        use_fast_layers(CRNN(5)).train()(torch.randn(2, 128, 32))

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
