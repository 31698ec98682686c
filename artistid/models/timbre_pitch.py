"""Descriptions of clips by timbre, by intervals of pitch, whatever the key, and by rhythm, whatever the tempo."""

from __future__ import annotations

import math
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
PARTS = ("statistics", "cepstra", "intervals", "rhythm")
TIMBRE_AND_PITCH = PARTS[:3]
SHORTEST = 2  # lag of a rhythm, in rows: a sixteenth at 234 beats a minute

Largest = Annotated[int, Range(1, 120)]
Longest = Annotated[int, Range(3, 10_000)]


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
        levels = compressed(features)
        return torch.relu(levels - levels.mean(dim=1, keepdim=True))


def compressed(features: torch.Tensor) -> torch.Tensor:
    """Amplitudes relative to the clip's loudest, compressed, of levels ``(batch, bins, time)`` in dB."""
    relative = features - features.amax(dim=(1, 2), keepdim=True)
    return torch.log1p(LEVEL * 10 ** (relative / 20))


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


class RhythmScales(nn.Module):
    """Scale transform of the autocorrelation of onsets, in bands of pitch (after Holzapfel & Stylianou 2011).

    The transform is that of Mellin on the imaginary axis: ``sum over lags of r[lag] lag^(-1/2 - i c)``, the Fourier
    transform of the autocorrelation over the logarithm of the lag. A faster tempo contracts the lags, which on that
    axis is a shift, and the magnitude does not depend on it: what remains is the rhythm, whatever the tempo. A Hann
    window lets the lags fade in and out, since a shift would otherwise move some of them over the edge.

    Args:
        n_bands: of equally many bins each, low to high: drums and parts that play in different registers.
        n_scales: coefficients of the transform that are kept, the slow variations.
        longest: largest lag, in rows: 5 s of ``features=logpitch``.
    """

    cosines: torch.Tensor
    sines: torch.Tensor

    def __init__(self, n_bands: Count = 3, n_scales: Count = 30, longest: Longest = 160) -> None:
        super().__init__()
        self.n_bands = n_bands
        self.longest = longest
        lags = torch.arange(SHORTEST, longest + 1, dtype=torch.float64)[:, None]
        places = (lags / SHORTEST).log() / math.log(longest / SHORTEST)  # from 0 to 1
        weights = (torch.pi * places).sin().square() / lags.sqrt()
        phases = 2 * torch.pi * places * torch.arange(n_scales)
        for name, wave in (("cosines", phases.cos()), ("sines", phases.sin())):
            self.register_buffer(name, (weights * wave).float(), persistent=False)  # (lags, n_scales)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``(batch, n_bands * n_scales)`` of clips ``(batch, bins, time)`` in dB."""
        levels = compressed(features)
        onsets = functional.pad(torch.relu(levels[:, :, 1:] - levels[:, :, :-1]), (1, 0))
        bands = torch.stack([band.mean(dim=1) for band in onsets.tensor_split(self.n_bands, dim=1)], dim=1)
        products = autocorrelation(bands - bands.mean(dim=2, keepdim=True), self.longest)
        correlation = products[:, :, SHORTEST:] / (products[:, :, :1] + SILENCE)
        return ((correlation @ self.cosines).square() + (correlation @ self.sines).square()).sqrt().flatten(1)


def autocorrelation(series: torch.Tensor, longest: int) -> torch.Tensor:
    """The sums ``(batch, bands, longest + 1)`` of products at each lag of series ``(batch, bands, time)``."""
    later = functional.pad(series, (0, longest)).unfold(2, series.shape[2], 1)  # (batch, bands, lag, time)
    return (later @ series[:, :, :, None])[:, :, :, 0]


class TimbreAndPitch(nn.Module):
    """Timbre and pitch content of a clip, and rhythm where asked for, concatenated for a back end to weight.

    Args:
        n_features: bins of the input spectrogram, in dB; for musical intervals, the bins must be semitones.
        parts: of :data:`PARTS`: ``statistics`` of the bins (:class:`artistid.models.probe.Statistics`), ``cepstra``
            (:class:`CepstralMoments`), ``intervals`` (:class:`PitchIntervals`) and ``rhythm`` (:class:`RhythmScales`).
        n_cepstra: see :class:`CepstralMoments`.
        largest, lags: see :class:`PitchIntervals`.
    """

    def __init__(
        self,
        n_features: int,
        parts: Sequence[str] = TIMBRE_AND_PITCH,
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
            "rhythm": RhythmScales,
        }
        self.parts = nn.ModuleList(made[part]() for part in parts)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``(batch, columns)`` of clips ``(batch, bins, time)``."""
        return torch.cat([part(features) for part in self.parts], dim=1)
