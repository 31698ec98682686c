"""ELU, batch norm, max pooling and dropout in one: the same as torch's, one after the other."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from artistid.learning import kernels
from artistid.learning.kernels import can_take, elu_norm_pool_drop

pytestmark = pytest.mark.skipif(kernels._openmp() is None, reason="torch computes here without GNU's OpenMP")
CHANNELS = 24


def norm_of_either_sign() -> nn.BatchNorm2d:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(CHANNELS, eps=1e-3, momentum=0.1)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm


def images_of(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    torch.manual_seed(1)
    images = torch.randn(shape[0], CHANNELS, *shape[1:]).mul(2).to(dtype)
    return images.contiguous(memory_format=torch.channels_last).requires_grad_()


def results(
    fast: bool, images: torch.Tensor, norm: nn.BatchNorm2d, pool: nn.MaxPool2d, by: torch.Tensor
) -> dict[str, torch.Tensor]:
    """What comes out, goes back and is remembered."""
    images, norm = images.detach().clone().requires_grad_(), copy.deepcopy(norm)
    out = elu_norm_pool_drop(images, norm, pool, 0) if fast else pool(norm(nn.functional.elu(images)))
    out.backward(by.to(out.dtype))
    assert images.grad is not None
    assert norm.weight.grad is not None
    assert norm.bias.grad is not None
    found = {"out": out.detach(), "images": images.grad, "weight": norm.weight.grad, "bias": norm.bias.grad}
    return {name: value.double() for name, value in {**found, **dict(norm.named_buffers())}.items()}


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


class TestAgreesWithTorch:
    @pytest.mark.parametrize(
        ("shape", "pool"),
        [
            ((3, 8, 6), (2, 2)),
            ((2, 9, 7), (2, 2)),  # the last row and column are in no pool, and count for the statistics
            ((1, 64, 47), (4, 2)),
            ((5, 4, 11), (4, 2)),
            ((2, 10, 10), 3),
            ((4, 2, 1), (2, 1)),
            ((3, 15, 16), (15, 16)),
        ],
    )
    def test_in_single_precision(self, shape: tuple[int, ...], pool: Any) -> None:
        images, norm, layer = images_of(*shape), norm_of_either_sign(), nn.MaxPool2d(pool)
        by = torch.randn(layer(images).shape)
        expected = results(False, images.double(), norm.double(), layer, by.double())
        found = results(True, images, norm.float(), layer, by)
        for name, value in expected.items():
            torch.testing.assert_close(
                found[name], value, rtol=1e-5, atol=1e-5, msg=lambda said, name=name: name + said
            )

    @pytest.mark.parametrize(("shape", "pool"), [((3, 8, 6), (2, 2)), ((2, 9, 7), (4, 2))])
    def test_in_bfloat16(self, shape: tuple[int, ...], pool: Any) -> None:
        """Of the same images computed exactly, but for what storing them rounds: the result, and what goes back."""
        images, norm, layer = images_of(*shape, dtype=torch.bfloat16), norm_of_either_sign(), nn.MaxPool2d(pool)
        by = torch.randn(layer(images).shape).bfloat16()
        # No two values of a pool are alike, or it would matter which of them decides.
        rounded = images.detach().float().reshape(-1).unique()
        apart = rounded[torch.randperm(len(rounded))].bfloat16()
        images = torch.as_strided(apart.repeat(99), images.shape, images.stride()).clone(
            memory_format=torch.channels_last
        )
        expected = results(False, images.double(), norm.double(), layer, by.double())
        found = results(True, images, norm.float(), layer, by)
        for name, value in expected.items():
            scale = value.abs().max().item()
            torch.testing.assert_close(found[name], value, rtol=2**-7, atol=2**-8 * scale)

    def test_the_first_of_equals_decides(self) -> None:
        norm, pool = nn.BatchNorm2d(CHANNELS), nn.MaxPool2d(2)
        images = torch.ones(1, CHANNELS, 4, 4).contiguous(memory_format=torch.channels_last)
        by = torch.rand(1, CHANNELS, 2, 2)
        found, expected = (results(fast, images, norm, pool, by)["images"] for fast in (True, False))
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_what_is_not_finite_is_not_hidden(self, dtype: torch.dtype, value: float) -> None:
        images = images_of(2, 4, 4, dtype=dtype).detach()
        images[1, 2, 3, 3] = value
        out = elu_norm_pool_drop(images, norm_of_either_sign(), nn.MaxPool2d(2), 0)
        assert out[:, 2].isnan().any()
        assert out[:, :2].isfinite().all()

    def test_frozen_parameters_and_images(self) -> None:
        images, norm = images_of(2, 4, 4).detach(), norm_of_either_sign()
        elu_norm_pool_drop(images, norm, nn.MaxPool2d(2), 0).sum().backward()
        assert norm.bias.grad is not None
        frozen = norm_of_either_sign().requires_grad_(False)
        images.requires_grad_()
        elu_norm_pool_drop(images, frozen, nn.MaxPool2d(2), 0).square().sum().backward()
        assert images.grad is not None
        assert images.grad.abs().sum() > 0
        assert frozen.weight.grad is None

    def test_a_gradient_of_the_gradient_is_refused(self) -> None:
        images = images_of(2, 4, 4)
        out = elu_norm_pool_drop(images, norm_of_either_sign(), nn.MaxPool2d(2), 0).square().sum()
        (once,) = torch.autograd.grad(out, images, create_graph=True)
        with pytest.raises(RuntimeError, match="once_differentiable"):
            once.sum().backward()


class TestThreads:
    @pytest.mark.parametrize("n", [1, 2, 3, 7])
    def test_any_number_gives_the_same_to_the_bit(self, n: int, threads: None) -> None:
        images, norm, pool = images_of(5, 12, 10), norm_of_either_sign(), nn.MaxPool2d(2)
        by = torch.randn(5, CHANNELS, 6, 5)
        torch.set_num_threads(1)
        alone = results(True, images, norm, pool, by)
        torch.set_num_threads(n)
        together = results(True, images, norm, pool, by)
        assert all(torch.equal(together[name], value) for name, value in alone.items())

    def test_an_error_in_one_of_them_is_not_lost(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def failing(images: Any, *_: Any) -> None:
            if len(images):  # none: to be compiled
                raise RuntimeError("out of order")

        monkeypatch.setattr(kernels, "_pool", failing)
        with pytest.raises(RuntimeError, match="out of order"):
            elu_norm_pool_drop(images_of(2, 4, 4), norm_of_either_sign(), nn.MaxPool2d(2), 0)


def dropped_ones(p: float, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Ones after dropout: batch norm without spread gives its bias."""
    norm = nn.BatchNorm2d(64).requires_grad_(False)
    nn.init.ones_(norm.bias)
    images = torch.zeros(4, 64, 80, 80, dtype=dtype).contiguous(memory_format=torch.channels_last)
    return elu_norm_pool_drop(images, norm, nn.MaxPool2d(2), p)


class TestDropout:
    @pytest.mark.parametrize("p", [0.1, 0.3, 0.5])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_drops_its_share_and_keeps_the_mean(self, p: float, dtype: torch.dtype) -> None:
        torch.manual_seed(0)
        dropped = dropped_ones(p, dtype).float()
        n = dropped.numel()
        assert (dropped == 0).double().mean().item() == pytest.approx(p, abs=5 * (p * (1 - p) / n) ** 0.5)
        assert dropped.unique().tolist() == pytest.approx([0, 1 / (1 - p)], rel=0.005)
        # No value goes with another: neighbours in any direction, or a power of two away.
        kept = (dropped > 0).double().permute(0, 2, 3, 1)
        for axis in range(4):
            for away in (1, 2, 4, 16, 32):
                if away < kept.shape[axis]:
                    one, other = (
                        kept.narrow(axis, 0, kept.shape[axis] - away),
                        kept.narrow(axis, away, kept.shape[axis] - away),
                    )
                    together = torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1].item()
                    assert abs(together) < 5 / one.numel() ** 0.5, (axis, away)

    def test_the_same_seed_drops_the_same_and_every_draw_something_else(self) -> None:
        torch.manual_seed(1)
        once = [dropped_ones(0.3), dropped_ones(0.3)]
        torch.manual_seed(1)
        again = [dropped_ones(0.3), dropped_ones(0.3)]
        assert torch.equal(once[0], again[0])
        assert torch.equal(once[1], again[1])
        kept = torch.stack([(drawn > 0).flatten().double() for drawn in once])
        assert abs(torch.corrcoef(kept)[0, 1].item()) < 5 / kept.shape[1] ** 0.5

    def test_the_gradient_is_of_what_was_kept(self) -> None:
        torch.manual_seed(2)
        norm = norm_of_either_sign()
        images = images_of(3, 8, 6)
        out = elu_norm_pool_drop(images, norm, nn.MaxPool2d(2), 0.4)
        by = torch.randn_like(out)
        kept = (out != 0).float() / 0.6
        assert 0.5 < (kept > 0).float().mean() < 0.7
        out.backward(by)
        whole = results(True, images, norm_of_either_sign(), nn.MaxPool2d(2), by * kept)
        torch.testing.assert_close(out.detach().double(), whole["out"] * kept, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(images.grad.double(), whole["images"], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(norm.weight.grad.double(), whole["weight"], rtol=1e-5, atol=1e-6)

    def test_nothing_is_dropped_at_zero(self) -> None:
        assert (dropped_ones(0) == 1).all()


class TestCanTake:
    def test_what_networks_are_made_of(self) -> None:
        assert can_take(images_of(2, 8, 8), nn.ELU(), norm_of_either_sign(), nn.MaxPool2d((4, 2)), 0.1)

    @pytest.mark.parametrize(
        "images",
        [
            images_of(2, 8, 8).double(),
            images_of(2, 8, 8).half(),
            images_of(2, 3, 8),  # lower than a pool
            images_of(2, 8, 1),
        ],
    )
    def test_not_other_images(self, images: torch.Tensor) -> None:
        assert not can_take(images, nn.ELU(), norm_of_either_sign(), nn.MaxPool2d((4, 2)), 0.1)

    @pytest.mark.parametrize(
        ("elu", "pool", "p"),
        [
            (nn.ELU(0.5), nn.MaxPool2d(2), 0.1),
            (nn.ELU(), nn.MaxPool2d(2), 1.0),
            (nn.ELU(), nn.MaxPool2d(2, stride=1), 0.1),
            (nn.ELU(), nn.MaxPool2d(2, padding=1), 0.1),
            (nn.ELU(), nn.MaxPool2d(2, dilation=2), 0.1),
            (nn.ELU(), nn.MaxPool2d(3, ceil_mode=True), 0.1),
            (nn.ELU(), nn.MaxPool2d(17), 0.1),
        ],
    )
    def test_not_other_layers(self, elu: nn.ELU, pool: nn.MaxPool2d, p: float) -> None:
        assert not can_take(images_of(2, 18, 18), elu, norm_of_either_sign(), pool, p)

    def test_not_a_batch_norm_of_plain_means_or_other_precision(self) -> None:
        images = images_of(2, 8, 8)
        assert not can_take(images, nn.ELU(), nn.BatchNorm2d(CHANNELS, momentum=None), nn.MaxPool2d(2), 0.1)
        assert not can_take(images, nn.ELU(), nn.BatchNorm2d(CHANNELS).double(), nn.MaxPool2d(2), 0.1)

    def test_not_without_the_threads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(kernels, "_openmp", lambda: None)
        assert not can_take(images_of(2, 8, 8), nn.ELU(), norm_of_either_sign(), nn.MaxPool2d(2), 0.1)
