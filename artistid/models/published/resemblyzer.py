"""Resemblyzer, a speaker encoder trained on speech (Wan et al., "Generalized end-to-end loss", ICASSP 2018)."""

from __future__ import annotations

from io import BytesIO

import torch
from torch import nn

from artistid.errors import ArtistidError
from artistid.models.published.base import BlockEncoder
from artistid.models.published.fronts import MelPower
from artistid.models.published.weights import packaged
from artistid.settings import first_line

BANDS, UNITS = 40, 256
N_RECURRENT = 3
VERSION = "0.1.4"


class Resemblyzer(BlockEncoder):
    """The package's voice encoder, from 1.6 s of samples at 16 kHz.

    The package first drops everything but speech, and amplifies signals below −30 dBFS; here the network gets music
    unchanged.

    Args:
        layers: ``lstm1``, ``lstm2``, ``lstm3`` (means over time) and ``embedding``, 256 values each.
        layer_weights: see :class:`artistid.models.published.base.BlockEncoder`.
        path: of the package's wheel, or of a folder that it is installed in; None: where it is found.
    """

    licence = "Apache-2.0"

    def __init__(
        self,
        layers: list[str] | tuple[str, ...] = ("embedding",),
        layer_weights: list[float] | None = None,
        path: str | None = None,
    ) -> None:
        given = [BANDS] + [UNITS] * (N_RECURRENT - 1)
        blocks: dict[str, nn.Module] = {f"lstm{i}": Recurrent(width) for i, width in enumerate(given, start=1)}
        front = MelPower(n_fft=400, hop_length=160, n_mels=BANDS)
        super().__init__(
            front, {**blocks, "embedding": Embedding()}, [UNITS] * (1 + N_RECURRENT), layers, layer_weights
        )
        self.path = path

    def read_weights(self) -> None:
        where = self.path or "Resemblyzer"
        file = BytesIO(packaged("resemblyzer", VERSION, "resemblyzer/pretrained.pt", self.path))
        try:
            found = torch.load(file, map_location="cpu", weights_only=True)["model_state"]
        except Exception as error:  # torch raises exceptions of many kinds
            raise ArtistidError(f"{where}: its pretrained.pt cannot be read: {first_line(error)}") from error
        self.load_weights({_name(name): value for name, value in found.items() if "similarity" not in name}, where)


def _name(theirs: str) -> str:
    """This module's name of a weight of the package, such as ``lstm.weight_ih_l2``."""
    layer, _, part = theirs.partition(".")
    if layer != "lstm":
        return f"blocks.embedding.{theirs}"
    part, _, number = part.rpartition("_l")
    return f"blocks.lstm{int(number) + 1}.lstm.{part}_l0"


class Recurrent(nn.Module):
    """An LSTM layer: ``(batch, time, 256)`` of ``(batch, time, width)``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, UNITS, batch_first=True)

    def forward(self, found: torch.Tensor) -> torch.Tensor:
        states, _ = self.lstm(found)
        return states


class Embedding(nn.Module):
    """The last state, projected, rectified and normalised: ``(batch, 256)`` of ``(batch, time, 256)``."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(UNITS, UNITS)

    def forward(self, found: torch.Tensor) -> torch.Tensor:
        return nn.functional.normalize(self.linear(found[:, -1]).relu(), dim=1)
