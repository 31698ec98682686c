"""Input features of encoders: everything before their first weights."""

from __future__ import annotations

import torch
from torch import nn

from artistid.data.features import LogMel, LogSpectrogram
from artistid.data.pitch import LogPitch


class BandPower(nn.Module):
    """Power in a spectrogram's bands, of frames entirely within a window.

    Args:
        spectrogram: the features that have these frames and bands.
    """

    window: torch.Tensor
    filters: torch.Tensor

    def __init__(self, spectrogram: LogSpectrogram) -> None:
        super().__init__()
        self.n_fft, self.hop_length = spectrogram.n_fft, spectrogram.hop_length
        for name, values in (("window", spectrogram.window()), ("filters", spectrogram.filters())):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32), persistent=False)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """``(batch, frames, bands)`` of samples ``(batch, 1, time)``."""
        frames = windows[:, 0].unfold(1, self.n_fft, self.hop_length) * self.window
        return torch.fft.rfft(frames).abs().square() @ self.filters


class MelPower(BandPower):
    """Power in mel bands, as librosa's ``melspectrogram`` computes it.

    Args:
        n_fft: samples of the Hann window.
        hop_length: samples.
        n_mels: bands up to 8 kHz, of samples at 16 kHz.
    """

    def __init__(self, n_fft: int, hop_length: int, n_mels: int) -> None:
        super().__init__(LogMel(n_fft=n_fft, hop_length=hop_length, n_mels=n_mels))


class PitchLevels(BandPower):
    """Levels in dB as in ``features=logpitch``, whose floor is that of the window."""

    def __init__(self) -> None:
        pitches = LogPitch()
        super().__init__(pitches)
        self.amin, self.top_db, self.width = pitches.amin, pitches.top_db or float("inf"), pitches.width

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """``(batch, pitch, time)`` of samples ``(batch, 1, time)`` at 16 kHz."""
        levels = 10 * super().forward(windows).clamp(min=self.amin).log10().transpose(1, 2)
        return torch.maximum(levels, levels.amax(dim=(1, 2), keepdim=True) - self.top_db)


class TaggersMel(MelPower):
    """The input of musicnn, and of networks by the same group: 96 bands of 512 samples every 256, log-compressed.

    The package rounds the power to half precision, in which ``10000 * power`` is infinite from 6.6 on, as it is in loud
    music; here it is not rounded.
    """

    def __init__(self) -> None:
        super().__init__(n_fft=512, hop_length=256, n_mels=96)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        return torch.log10(1 + 10000 * super().forward(windows))


class SpeakersFilterBank(nn.Module):
    """The input of WeSpeaker's networks: Kaldi's 80 log-mel energies every 10 ms, less their mean over the window."""

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """``(batch, frames, 80)`` of samples ``(batch, 1, time)`` at 16 kHz."""
        from torchaudio.compliance.kaldi import fbank

        scaled = windows * 2**15  # as integers of 16 bits
        energies = torch.stack([fbank(each, num_mel_bins=80, window_type="hamming") for each in scaled])
        return energies - energies.mean(dim=1, keepdim=True)


class Samples(nn.Module):
    """The samples themselves."""

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """``(batch, time)`` of ``(batch, 1, time)``."""
        return windows[:, 0]
