"""Descriptions of clips by timbre and, invariant to key, by co-occurring pitches at an interval and a time lag."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

import torch
from torch import nn
from torch.nn import functional

from artistid.errors import ArtistidError, require_choice
from artistid.hints import Count, Range
from artistid.models.probe import Statistics

LAGS = (0, 1, 2, 4, 8, 16, 32)  # rows: up to a second of features=logpitch
LEVEL = 100.0  # factor in log1p compression, relative to the loudest bin: bins 40 dB below it still count
SILENCE = 1e-6
PARTS = ("statistics", "cepstra", "intervals")

Largest = Annotated[int, Range(1, 120)]


class PitchIntervals(nn.Module):
    """Correlations of pitches by interval and time lag, summed over all pitches and times.

    With ``x[p, t]`` the compressed level of a pitch above the mean of its frame, and 0 below it, they are
    ``sum over p and t of x[p, t] x[p + interval, t + lag]``, relative to the same at interval and lag 0. They are
    invariant to transposition, which moves all pitches alike, and an equaliser affects few of the peaks that they are
    computed from. At lag 0 they describe chords (for which Tzanetakis et al. 2002 fold pitches, and Ellis &
    Bertin-Mahieux 2012 use a Fourier transform over chroma patches, for key invariance), at other lags melodic steps.

    Args:
        largest: largest interval, up and down, in bins of the features: semitones of ``features=logpitch``.
        lags: time lags, in rows.
    """

    def __init__(self, largest: Largest = 24, lags: Sequence[int] = LAGS) -> None:
        super().__init__()
        if not lags or any(lag < 0 for lag in lags):
            raise ArtistidError(f"lags={list(lags)}: expected rows, 0 or more each")
        self.largest = largest
        self.lags = [int(lag) for lag in lags]

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``(batch, intervals)`` of clips ``(batch, pitch, time)`` in dB; at lag 0, upward intervals only."""
        peaks = self.peaks(features)
        energy = peaks.square().sum(dim=1).mean(dim=1) + SILENCE  # (batch,)
        return torch.cat([self._at(lag, peaks) for lag in self.lags], dim=1) / energy[:, None]

    def _at(self, lag: int, peaks: torch.Tensor) -> torch.Tensor:
        """The mean over time ``(batch, intervals)`` at one lag; zero where a clip is shorter."""
        n_frames = peaks.shape[2]
        together = max(0, n_frames - lag)
        pairs = peaks[:, :, :together] @ peaks[:, :, n_frames - together :].transpose(1, 2)  # (batch, pitch, pitch)
        by_interval = diagonal_sums(pairs, self.largest) / max(1, together)
        return by_interval[:, self.largest + 1 :] if lag == 0 else by_interval  # at lag 0, down equals up

    @staticmethod
    def peaks(features: torch.Tensor) -> torch.Tensor:
        """How far each level of ``(batch, pitch, time)`` in dB exceeds its frame's mean, compressed; 0 below it."""
        relative = features - features.amax(dim=(1, 2), keepdim=True)
        compressed = torch.log1p(LEVEL * 10 ** (relative / 20))
        return torch.relu(compressed - compressed.mean(dim=1, keepdim=True))


def diagonal_sums(matrices: torch.Tensor, largest: int) -> torch.Tensor:
    """The sums ``(batch, 2 * largest + 1)`` of the diagonals of ``(batch, n, n)``, from ``-largest`` to ``largest``."""
    n, width = matrices.shape[1], matrices.shape[2] + 2 * largest
    # Reading the rows with a length one larger shifts each row by one: diagonals become columns.
    flat = functional.pad(matrices, (largest, largest)).flatten(1)
    return functional.pad(flat, (0, n)).reshape(-1, n, width + 1)[:, :, : 2 * largest + 1].sum(dim=1)


class CepstralMoments(nn.Module):
    """Mean and covariance of a clip's cepstra, as Mandel & Ellis 2005 describe a song by its MFCC.

    Args:
        n_features: bins of the input spectrogram, in dB.
        n_cepstra: number of coefficients of its discrete cosine transform, of which 0 is the loudness.
    """

    transform: torch.Tensor

    def __init__(self, n_features: int, n_cepstra: Count = 20) -> None:
        super().__init__()
        if not 1 <= n_cepstra <= n_features:
            raise ArtistidError(f"n_cepstra={n_cepstra}: expected 1 to {n_features}, the features' columns")
        order, place = torch.arange(n_cepstra), torch.arange(n_features)
        transform = (torch.pi / n_features * order[:, None] * (place + 0.5)).cos() * (2 / n_features) ** 0.5
        transform[0] *= 0.5**0.5  # (cepstra, bins): the orthonormal DCT-II
        self.register_buffer("transform", transform, persistent=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``(batch, n_cepstra + n_cepstra * (n_cepstra + 1) / 2)`` of clips ``(batch, bins, time)``."""
        cepstra = self.transform @ features
        mean = cepstra.sum(dim=2, keepdim=True) / max(1, cepstra.shape[2])
        centred = cepstra - mean
        covariance = centred @ centred.transpose(1, 2) / max(1, cepstra.shape[2] - 1)
        first, second = torch.triu_indices(len(self.transform), len(self.transform), device=cepstra.device)
        return torch.cat([mean[:, :, 0], covariance[:, first, second]], dim=1)


class TimbreAndPitch(nn.Module):
    """Timbre and pitch content of a clip, concatenated, for a back end to weight.

    Args:
        n_features: bins of the input spectrogram, in dB; for musical intervals, the bins must be semitones.
        parts: of :data:`PARTS`: ``statistics`` of the bins (:class:`artistid.models.probe.Statistics`), ``cepstra``
            (:class:`CepstralMoments`) and ``intervals`` (:class:`PitchIntervals`).
        n_cepstra: see :class:`CepstralMoments`.
        largest, lags: see :class:`PitchIntervals`.
    """

    def __init__(
        self,
        n_features: int,
        parts: Sequence[str] = PARTS,
        n_cepstra: Count = 20,
        largest: Largest = 24,
        lags: Sequence[int] = LAGS,
    ) -> None:
        super().__init__()
        if not parts or len(set(parts)) < len(parts):
            raise ArtistidError(f"parts={list(parts)}: expected some of {', '.join(PARTS)}, each once")
        for part in parts:
            require_choice("parts", part, PARTS)
        made: dict[str, Callable[[], nn.Module]] = {
            "statistics": Statistics,
            "cepstra": lambda: CepstralMoments(n_features, n_cepstra),
            "intervals": lambda: PitchIntervals(largest, lags),
        }
        self.parts = nn.ModuleList(made[part]() for part in parts)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``(batch, columns)`` of clips ``(batch, bins, time)``."""
        return torch.cat([part(features) for part in self.parts], dim=1)
