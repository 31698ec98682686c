"""Augmentation by other keys and tempos: pitch shift and time stretch (as Schlüter & Grill, ISMIR 2015).

On log-mel, one axis is resampled by linear interpolation. This differs from music played in another key or tempo:
resonances of voices, instruments and rooms move along with the pitch; partials become wider or narrower, and attacks
faster or slower. On samples a phase vocoder (Flanagan & Golden 1966) is used, which blurs attacks instead; all clips of
a batch are changed by the same amount.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torchaudio.functional import phase_vocoder

from artistid.data.features import LogSpectrogram
from artistid.hints import Range
from artistid.learning.augmentation import Changed, SoundAugmentation, uniform

WINDOW = 1024  # samples of the phase vocoder's transform


class PitchShift(SoundAugmentation):
    """Transposes each clip; bins shifted in from outside the range are filled with its minimum.

    Args:
        semitones: maximum shift, up or down; fractions of a semitone are drawn, too.
    """

    def __init__(self, semitones: Annotated[float, Range(0, 24)] = 2.0) -> None:
        super().__init__()
        self.semitones = semitones

    def of_log_mel(self, log_mel: torch.Tensor, target: torch.Tensor) -> Changed:
        assert isinstance(self.features, LogSpectrogram)
        frequencies = torch.as_tensor(self.features.frequencies, device=log_mel.device).float()
        factor = 2 ** (uniform(-self.semitones, self.semitones, log_mel)[:, :, 0] / 12)  # (batch, 1)
        source = (frequencies / factor).contiguous()  # (batch, mel) Hz that each bin is read from
        upper = torch.searchsorted(frequencies, source).clamp(1, len(frequencies) - 1)
        low, high = frequencies[upper - 1], frequencies[upper]
        shifted = interpolate(log_mel.transpose(1, 2), upper - 1 + (source - low) / (high - low)).transpose(1, 2)
        beyond = (source < frequencies[0]) | (source > frequencies[-1])
        return torch.where(beyond[:, :, None], log_mel.amin(dim=(1, 2), keepdim=True), shifted), target

    def of_samples(self, samples: torch.Tensor, target: torch.Tensor) -> Changed:
        factor = 2 ** (torch.empty(()).uniform_(-self.semitones, self.semitones).item() / 12)
        longer = vocode(samples, 1 / factor)
        position = torch.arange(samples.shape[1], device=samples.device) * factor
        position = position.clamp(max=longer.shape[1] - 1).expand(len(samples), -1)
        return interpolate(longer[:, None], position)[:, 0], target


class TimeStretch(SoundAugmentation):
    """Plays each clip faster or slower at its pitch; where it ends too soon, it is mirrored at its end.

    Args:
        factor: maximum change of tempo, faster or slower.
    """

    def __init__(self, factor: Annotated[float, Range(1, 4)] = 1.2) -> None:
        super().__init__()
        self.factor = factor

    def of_log_mel(self, log_mel: torch.Tensor, target: torch.Tensor) -> Changed:
        rate = torch.exp(uniform(-math.log(self.factor), math.log(self.factor), log_mel)[:, :, 0])  # (batch, 1)
        frames = log_mel.shape[2]
        spare = ((1 - rate) * (frames - 1)).clamp(min=0)  # frames cut off a slower clip, at either end
        first = spare * uniform(0, 1, log_mel)[:, :, 0]
        position = first + rate * torch.arange(frames, device=log_mel.device)
        return interpolate(log_mel, turned_back(position, frames)), target

    def of_samples(self, samples: torch.Tensor, target: torch.Tensor) -> Changed:
        rate = math.exp(torch.empty(()).uniform_(-math.log(self.factor), math.log(self.factor)).item())
        stretched = vocode(samples, rate)
        position = turned_back(torch.arange(samples.shape[1], device=samples.device), stretched.shape[1])
        return stretched[:, position.long()], target


def interpolate(values: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
    """Linear interpolation of ``(batch, channel, n)`` at positions ``(batch, m)`` from 0 to n - 1."""
    lower = position.floor().clamp(0, values.shape[2] - 1)
    share = (position - lower).to(values.dtype)[:, None]
    lower = lower.long()[:, None].expand(-1, values.shape[1], -1)
    upper = (lower + 1).clamp(max=values.shape[2] - 1)
    return values.gather(2, lower) * (1 - share) + values.gather(2, upper) * share


def turned_back(position: torch.Tensor, n: int) -> torch.Tensor:
    """Positions within 0 to n - 1: those beyond the end are mirrored at it, and then at the start."""
    period = max(2 * (n - 1), 1)
    within = position % period
    return torch.minimum(within, period - within)


def vocode(samples: torch.Tensor, rate: float) -> torch.Tensor:
    """Samples ``(batch, n)`` played ``rate`` times as fast, at their pitch: ``(batch, n / rate)``.

    Runs on the CPU, since phases are running sums, which a GPU does not reproduce bit by bit.
    """
    hop, window = WINDOW // 4, torch.hann_window(WINDOW)
    spectrum = torch.stft(samples.cpu(), WINDOW, hop, window=window, return_complex=True, pad_mode="constant")
    stretched = phase_vocoder(spectrum, rate, torch.linspace(0, math.pi * hop, WINDOW // 2 + 1)[:, None])
    length = round(samples.shape[1] / rate)
    return torch.istft(stretched, WINDOW, hop, window=window, length=length).to(samples.device)
