"""Augmentation by production effects: gain, equalisation, low-pass filtering, dynamic range compression.

An album's production distinguishes its songs from those of the artist's other albums, and so is what a network should
not learn. Values that would fall below the clip's minimum, its floor, are clamped to it, as a song's log-mel is.
"""

from __future__ import annotations

from typing import Annotated

import torch

from artistid.data.features import LogSpectrogram
from artistid.hints import Count, Range
from artistid.learning.augmentation import Changed, Decibels, SoundAugmentation, power_level, uniform

Ratio = Annotated[float, Range(1, 1000)]
Seconds = Annotated[float, Range(0, 60)]


class Gain(SoundAugmentation):
    """Makes each clip louder or softer (as Schlüter & Grill, "Exploring data augmentation …", ISMIR 2015).

    Args:
        decibels: maximum gain, up or down.
    """

    def __init__(self, decibels: Decibels = 6.0) -> None:
        super().__init__()
        self.decibels = decibels

    def of_log_mel(self, log_mel: torch.Tensor, target: torch.Tensor) -> Changed:
        return log_mel + uniform(-self.decibels, self.decibels, log_mel), target

    def of_samples(self, samples: torch.Tensor, target: torch.Tensor) -> Changed:
        return samples * 10 ** (uniform(-self.decibels, self.decibels, samples)[:, 0] / 20), target


class _Filter(SoundAugmentation):
    """Adds a curve over frequency to all frames of a clip."""

    def of_log_mel(self, log_mel: torch.Tensor, target: torch.Tensor) -> Changed:
        assert isinstance(self.features, LogSpectrogram)
        octaves = torch.as_tensor(self.features.frequencies, dtype=log_mel.dtype, device=log_mel.device).log2()
        return above_floor(log_mel + self.response(log_mel, octaves[:, None]), log_mel), target

    def response(self, log_mel: torch.Tensor, octaves: torch.Tensor) -> torch.Tensor:
        """The gain in dB ``(batch, mel, 1)``; ``octaves`` (mel, 1) is log2 of each bin's frequency in Hz."""
        raise NotImplementedError


class Equaliser(_Filter):
    """Boosts and cuts bands, like a parametric equaliser's bell filters (Schlüter & Grill's random frequency filters).

    Args:
        bands: number of bands, drawn anew for each clip.
        decibels: maximum gain at the centre of a band, up or down.
        octaves: maximum width of a band: a Gaussian's standard deviation, at which the gain in dB is 0.61 of its peak;
            the minimum is a quarter of that.
    """

    def __init__(
        self, bands: Count = 3, decibels: Decibels = 9.0, octaves: Annotated[float, Range(0.05, 10)] = 1.0
    ) -> None:
        super().__init__()
        self.bands = bands
        self.decibels = decibels
        self.octaves = octaves

    def response(self, log_mel: torch.Tensor, octaves: torch.Tensor) -> torch.Tensor:
        gain = torch.zeros(len(log_mel), len(octaves), 1, device=log_mel.device)
        for _ in range(self.bands):
            middle = uniform(octaves[0].item(), octaves[-1].item(), log_mel)
            width = uniform(self.octaves / 4, self.octaves, log_mel)
            height = uniform(-self.decibels, self.decibels, log_mel)
            gain = gain + height * torch.exp(-(((octaves - middle) / width) ** 2) / 2)
        return gain


class LowPass(_Filter):
    """Removes high frequencies, as old recordings, tapes and codecs do: a Butterworth filter (1930) of order 1 to 4.

    Args:
        lowest: lowest cutoff frequency, in Hz; the highest is that of the features.
    """

    def __init__(self, lowest: Annotated[float, Range(20, 192_000)] = 2000.0) -> None:
        super().__init__()
        self.lowest = lowest

    def response(self, log_mel: torch.Tensor, octaves: torch.Tensor) -> torch.Tensor:
        highest = octaves[-1].item()
        lowest = min(torch.tensor(self.lowest).log2().item(), highest)
        cutoff = uniform(lowest, highest, log_mel)
        order = torch.randint(1, 5, (len(log_mel), 1, 1), device=log_mel.device)
        return -10 * torch.log10(1 + 2 ** (2 * order * (octaves - cutoff)))


class Compression(SoundAugmentation):
    """Dynamic range compression: frames above a threshold are turned down (Giannoulis, Massberg & Reiss, JAES 2012).

    The compressor is theirs with a hard knee: what exceeds the threshold of a frame's level (total power) is divided by
    the ratio. The gain is a moving average, where theirs has attack and release, and all frames are raised by the mean
    loss. It works on frames: changes within a frame are ignored.

    Args:
        ratio: maximum ratio; each clip's is drawn from 1 up to it.
        threshold: dB below the level of a clip's loudest frame.
        seconds: length of the moving average of the gain.
    """

    def __init__(self, ratio: Ratio = 4.0, threshold: Decibels = 20.0, seconds: Seconds = 0.1) -> None:
        super().__init__()
        self.ratio = ratio
        self.threshold = threshold
        self.seconds = seconds

    def of_log_mel(self, log_mel: torch.Tensor, target: torch.Tensor) -> Changed:
        level = power_level(log_mel, dim=1)  # (batch, 1, time)
        above = (level - level.amax(dim=2, keepdim=True) + self.threshold).clamp(min=0)
        gain = (1 / uniform(1, self.ratio, log_mel) - 1) * above
        half = round(self.seconds * self.features.sample_rate / self.features.hop_length / 2)  # frames, on each side
        gain = torch.nn.functional.avg_pool1d(gain, 2 * half + 1, stride=1, padding=half, count_include_pad=False)
        return above_floor(log_mel + gain - gain.mean(dim=2, keepdim=True), log_mel), target


def above_floor(changed: torch.Tensor, log_mel: torch.Tensor) -> torch.Tensor:
    """Clips ``(batch, mel, time)``, clamped to the smallest value that each had before."""
    return torch.maximum(changed, log_mel.amin(dim=(1, 2), keepdim=True))
