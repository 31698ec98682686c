"""The waveform itself as features: for networks and encoders that take raw audio."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from artistid.data.features import Features
from artistid.errors import ArtistidError


@dataclass(frozen=True, kw_only=True)
class RawSamples(Features):
    """Consecutive samples, ``hop_length`` to a row; the last row of a track is padded with zeros.

    A network gets them as ``(batch, hop_length, rows)``: ``transpose(1, 2).flatten(1)`` is the waveform. With 512
    at 16 kHz a row is a frame of the paper's log-mel, and clips begin and end at the same samples.

    The store's float16 has 11 significant bits: a sample is wrong by at most 1/2048 of itself (66 dB below it), and
    below 6e-5 of full scale by at most 3e-8.

    Args:
        sample_rate: Hz, after decoding.
        hop_length: samples in a row.

    Raises:
        ArtistidError: a setting out of its range.
    """

    sample_rate: int = 16000
    hop_length: int = 512

    def __post_init__(self) -> None:
        for setting, value in asdict(self).items():
            if type(value) is not int or value < 1:
                raise ArtistidError(f"features.{setting}={value} is out of range: expected a whole number above 0")

    @property
    def name(self) -> str:
        return "samples"

    @property
    def width(self) -> int:
        return self.hop_length

    def plain(self) -> dict[str, Any]:
        return asdict(self)

    def stored(self, blocks: Iterable[npt.NDArray[np.float32]]) -> tuple[npt.NDArray[np.float16], float]:
        """The samples as rows, see :meth:`artistid.data.features.Features.stored`; the pad value is silence."""
        with np.errstate(over="ignore"):  # what overflows float16 is reported as not finite
            parts = [block.astype(np.float16) for block in blocks]
        n = sum(map(len, parts))
        n_rows = 1 + n // self.hop_length
        parts.append(np.zeros(n_rows * self.hop_length - n, np.float16))
        return np.concatenate(parts).reshape(n_rows, self.hop_length), 0.0
