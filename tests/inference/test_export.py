"""An exported network against the package's own forward pass, in songs of every length and kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
import torch
from torch import nn

from artistid.errors import ArtistidError
from artistid.inference.onnx_file import TOLERANCE, check, expect, write
from artistid.learning.specification import Specification
from tests.corpus import make_song
from tests.inference.networks import random_network, specification_of
from tests.thorough import some

RATE = 16000
LENGTHS = (0.2, 0.9, 1.024, 2.99, 3.008, 10.0, 200.0)  # s


def songs() -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """Names and samples ``(n,)``."""
    generator = np.random.default_rng(0)
    for seconds in LENGTHS:
        yield f"{seconds} s", make_song(1, generator, seconds)[: round(seconds * RATE)]
    yield "one sample", np.ones(1, np.float32)
    yield "silence", np.zeros(2 * RATE, np.float32)
    yield "a burst, then silence", np.pad(make_song(2, generator, 1.0), (0, 5 * RATE))
    yield "far too loud", 30 * make_song(3, generator, 5.0)


def assert_agreement(network: nn.Module, specification: Specification, path: Path) -> None:
    session = onnxruntime.InferenceSession(path)
    names = [output.name for output in session.get_outputs()]
    for title, samples in songs():
        song = dict(zip(names, session.run(None, {"samples": samples}), strict=True))
        expected = expect(network, specification, samples, song["clip_probability"])
        for name, found in song.items():
            assert found.dtype == (np.int64 if name == "ranking" else np.float32)
            np.testing.assert_allclose(found, expected[name], rtol=0, atol=TOLERANCE, err_msg=f"{title}: {name}")


def test_agrees_with_pytorch(tmp_path: Path) -> None:
    network, specification = random_network(0), specification_of(frames=32)
    write(network, specification, tmp_path / "x.onnx")
    assert_agreement(network, specification, tmp_path / "x.onnx")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "frames", "features"),
    some(
        [
            (1, 32, {}),
            (2, 94, {}),
            (3, 94, {}),
            (4, 94, {"pad_mode": "reflect"}),
            (5, 94, {"mel_scale": "htk", "top_db": 60}),
            (6, 94, {"n_fft": 1024, "hop_length": 400}),
            (7, 94, {"n_fft": 2047}),
            (8, 94, {"n_fft": 512, "hop_length": 512}),
        ],
        3,
    ),
)
def test_other_networks_and_settings(tmp_path: Path, seed: int, frames: int, features: dict[str, Any]) -> None:
    network, specification = random_network(seed), specification_of(frames, **features)
    write(network, specification, tmp_path / "x.onnx")
    assert_agreement(network, specification, tmp_path / "x.onnx")


class Loudness(nn.Module):
    """A network without a bottleneck."""

    def __init__(self) -> None:
        super().__init__()
        self.classify = nn.Linear(128, 3)

    def forward(self, log_mel: torch.Tensor) -> torch.Tensor:
        return self.classify(log_mel.mean(dim=2) / 50)


@pytest.fixture(scope="module")
def without_bottleneck(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    """Such a network, and the file made of it."""
    network, path = Loudness().eval(), tmp_path_factory.mktemp("exported") / "x.onnx"
    write(network, specification_of(frames=32), path)
    return network, path


def test_a_network_without_bottleneck_gives_no_embedding(without_bottleneck: tuple[nn.Module, Path]) -> None:
    network, path = without_bottleneck
    outputs = onnxruntime.InferenceSession(path).get_outputs()
    assert [output.name for output in outputs] == ["probability", "ranking", "clip_probability"]
    assert_agreement(network, specification_of(frames=32), path)


def test_a_file_that_disagrees_is_refused(without_bottleneck: tuple[nn.Module, Path]) -> None:
    _, path = without_bottleneck
    another = Loudness().eval()
    with pytest.raises(ArtistidError, match=r"ONNX Runtime and PyTorch differ by .*, more than 1e-04"):
        check(another, specification_of(frames=32), path)


class Wavering(Loudness):
    """A network that is thrown by a hundredth of a dB."""

    def forward(self, log_mel: torch.Tensor) -> torch.Tensor:
        return self.classify((20 * log_mel.mean(dim=2)).sin())


@pytest.mark.slow
def test_rounding_that_a_network_makes_much_of_is_no_disagreement(tmp_path: Path) -> None:
    """A value of log-mel that is rounded to the other step of float16 moves this one's answer by more than 1e-4."""
    network, specification = Wavering().eval(), specification_of(frames=32)
    write(network, specification, tmp_path / "x.onnx")
    assert TOLERANCE < check(network, specification, tmp_path / "x.onnx") < 0.01
    with torch.no_grad():
        network.classify.bias.add_(torch.tensor([1.0, 0.0, 0.0]))
    with pytest.raises(ArtistidError, match=r"ONNX Runtime and PyTorch differ by .*, more than"):
        check(network, specification, tmp_path / "x.onnx")
