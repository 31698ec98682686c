"""musicnn: music taggers with tall filters for timbre and wide filters for rhythm.

Pons & Serra, "musicnn: pre-trained convolutional neural networks for music audio tagging", ISMIR 2019, late-breaking
demo. Its package stores the weights as TensorFlow 1 variables, which are converted once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from torch import nn

from artistid.errors import require_choice
from artistid.models.published.base import BlockEncoder
from artistid.models.published.fronts import TaggersMel
from artistid.models.published.tensorflow import read_variables
from artistid.models.published.weights import converted, packaged

TIMBRAL = (38, 67)  # mel bands that a filter spans: 0.4 and 0.7 of them
TEMPORAL = (128, 64, 32)  # frames that a filter spans
N_TIMBRAL, N_TEMPORAL, N_MIDDLE = 204, 51, 64  # filters of each kind
FRONT_WIDTH = len(TIMBRAL) * N_TIMBRAL + len(TEMPORAL) * N_TEMPORAL  # 561
POOLED = 2 * (FRONT_WIDTH + 3 * N_MIDDLE)  # 1,506
UNITS, TAGS = 200, 50
EPSILON = 1e-3  # of batch norm in TensorFlow
VERSION = "0.1.0"
MANY = 1_000_000  # batches seen by the running statistics: they are not restarted


class Musicnn(BlockEncoder):
    """A tagger of musicnn's, from 3 s of samples at 16 kHz.

    Args:
        model: ``MSD_musicnn`` was trained on the Million Song Dataset, ``MTT_musicnn`` on MagnaTagATune.
        layers: ``front`` (561 values), ``cnn1``, ``cnn2``, ``cnn3`` (625, 689, 753: each is appended to its input),
            ``pool`` (1,506: maximum and mean of each of the 753), ``penultimate`` (200), ``tags`` (50, before the
            sigmoid).
        layer_weights: see :class:`artistid.models.published.base.BlockEncoder`.
        path: of the package's wheel, or of a folder that it is installed in; None: where it is found.
    """

    licence = "ISC"

    def __init__(
        self,
        model: Literal["MSD_musicnn", "MTT_musicnn"] = "MSD_musicnn",
        layers: list[str] | tuple[str, ...] = ("pool",),
        layer_weights: list[float] | None = None,
        path: str | None = None,
    ) -> None:
        require_choice("features.encoder.model", model, ("MSD_musicnn", "MTT_musicnn"))
        blocks = {
            "front": Front(),
            "cnn1": Middle(FRONT_WIDTH, residual=False),
            "cnn2": Middle(N_MIDDLE, residual=True),
            "cnn3": Middle(N_MIDDLE, residual=True),
            "pool": Pool(),
            "penultimate": Dense(),
            "tags": nn.Linear(UNITS, TAGS),
        }
        widths = [*(FRONT_WIDTH + number * N_MIDDLE for number in range(4)), POOLED, UNITS, TAGS]
        super().__init__(TaggersMel(), blocks, widths, layers, layer_weights)
        self.model, self.path = model, path

    def read_weights(self) -> None:
        kept = f"musicnn-{VERSION}-{self.model}" if self.path is None else None
        self.load_weights(converted(kept, self._convert), self.path or "musicnn")

    def _convert(self) -> dict[str, torch.Tensor]:
        """The package's variables, with the names and axis order of this module."""
        index, data = (
            packaged("musicnn", VERSION, f"musicnn/{self.model}/.{name}", self.path)
            for name in ("index", "data-00000-of-00001")
        )
        variables = read_variables(index, data)
        ours = self.state_dict()
        weights = {
            key: _axes(torch.from_numpy(variables[name].astype(np.float32)), ours[key].ndim)
            for key, name in self._names()
        }
        counts = {key: torch.tensor(MANY) for key in ours if key.endswith("num_batches_tracked")}
        return {**weights, **counts}

    def _names(self) -> Iterator[tuple[str, str]]:
        """Each weight's name here and in TensorFlow, which numbers layers of a kind in order of creation."""
        norms = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
        counts = {"conv2d": 0, "dense": 0, "batch_normalization": 0}
        for path, module in self.named_modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                kind, parts = "batch_normalization", norms
            elif isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
                kind = "dense" if isinstance(module, nn.Linear) else "conv2d"
                parts = {"weight": "kernel", "bias": "bias"}
            else:
                continue
            number = f"_{counts[kind]}" if counts[kind] else ""
            counts[kind] += 1
            yield from ((f"{path}.{ours}", f"{kind}{number}/{theirs}") for ours, theirs in parts.items())


def _axes(variable: torch.Tensor, n_axes: int) -> torch.Tensor:
    """A variable in PyTorch's axis order; layers over time alone have three axes here, four in TensorFlow."""
    if n_axes == 4:  # (time, mel, in, out)
        return variable.permute(3, 2, 0, 1)
    if n_axes == 3:  # (time, in, 1, out)
        return variable.squeeze(2).permute(2, 1, 0)
    return variable.T if n_axes == 2 else variable


class Filters(nn.Module):
    """Filters over the spectrogram, with max pooling over frequency.

    Args:
        n: number of filters.
        frames, bands: size of each.
    """

    def __init__(self, n: int, frames: int, bands: int) -> None:
        super().__init__()
        self.pad = nn.ZeroPad2d((0, 0, (frames - 1) // 2, frames // 2))
        self.convolution = nn.Conv2d(1, n, (frames, bands))
        self.norm = nn.BatchNorm2d(n, EPSILON)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """``(batch, time, n)`` of ``(batch, 1, time, mel)``."""
        return self.norm(self.convolution(self.pad(image)).relu()).amax(dim=3).transpose(1, 2)


class Front(nn.Module):
    """Timbral and temporal filters, side by side: ``(batch, time, 561)`` of ``(batch, time, mel)``."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1, EPSILON)
        timbral = [Filters(N_TIMBRAL, 7, bands) for bands in TIMBRAL]
        self.filters = nn.ModuleList([*timbral, *(Filters(N_TEMPORAL, frames, 1) for frames in TEMPORAL)])

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        image = self.norm(mel.unsqueeze(1))
        return torch.cat([each(image) for each in self.filters], dim=2)


class Middle(nn.Module):
    """A convolution over time, whose 64 output values are appended to its input.

    Args:
        width: how many of the last input values it is applied to.
        residual: whether these are added to its output.
    """

    def __init__(self, width: int, residual: bool) -> None:
        super().__init__()
        self.width, self.residual = width, residual
        self.convolution = nn.Conv1d(width, N_MIDDLE, 7, padding=3)
        self.norm = nn.BatchNorm1d(N_MIDDLE, EPSILON)

    def forward(self, found: torch.Tensor) -> torch.Tensor:
        last = found[..., -self.width :]
        more = self.norm(self.convolution(last.transpose(1, 2)).relu()).transpose(1, 2)
        return torch.cat([found, more + last if self.residual else more], dim=2)


class Pool(nn.Module):
    """Maximum and mean over time of each value, interleaved: ``(batch, 2 d)`` of ``(batch, time, d)``."""

    def forward(self, found: torch.Tensor) -> torch.Tensor:
        return torch.stack([found.amax(dim=1), found.mean(dim=1)], dim=2).flatten(1)


class Dense(nn.Module):
    """The layer before the tags: ``(batch, 200)`` of ``(batch, 1506)``."""

    def __init__(self) -> None:
        super().__init__()
        self.norm_before = nn.BatchNorm1d(POOLED, EPSILON)
        self.linear = nn.Linear(POOLED, UNITS)
        self.norm = nn.BatchNorm1d(UNITS, EPSILON)

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        return self.norm(self.linear(self.norm_before(pooled)).relu())
