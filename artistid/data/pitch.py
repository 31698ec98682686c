"""A spectrogram whose bins are semitones: it shows what is played, as log-mel shows how it sounds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from artistid.data.features import LogSpectrogram
from artistid.errors import ArtistidError

A4 = 69  # MIDI number of 440 Hz
HIGHEST_MIDI = 127


@dataclass(frozen=True, kw_only=True)
class LogPitch(LogSpectrogram):
    """The level of each semitone of the equally tempered scale at 440 Hz, in dB.

    A bin is the mean power under a triangle from its lower neighbour to its upper one. The window is longer than
    log-mel's: 4,096 samples at 16 kHz resolve neighbouring semitones from 260 Hz up.

    Args:
        lowest: MIDI number of the first bin; 33 is A1, 55 Hz.
        n_pitches: number of bins, a semitone each.

    Other settings and errors are those of :class:`LogSpectrogram`.
    """

    n_fft: int = 4096
    lowest: int = 33
    n_pitches: int = 86

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_positive("lowest", "n_pitches")
        if self.lowest + self.n_pitches > HIGHEST_MIDI + 1:
            raise ArtistidError(
                f"features.lowest={self.lowest} and features.n_pitches={self.n_pitches} reach MIDI number "
                f"{self.lowest + self.n_pitches - 1}: expected {HIGHEST_MIDI} at most"
            )
        if self.f_max > self.sample_rate / 2:
            raise ArtistidError(
                f"features.lowest={self.lowest} and features.n_pitches={self.n_pitches} reach {self.f_max:.0f} Hz: "
                f"expected {self.sample_rate / 2:.0f} Hz at most, half of features.sample_rate"
            )
        if self.edges()[2] - self.edges()[0] < self.sample_rate / self.n_fft:
            raise ArtistidError(
                f"features.n_fft={self.n_fft} is too short for semitones at {self.edges()[1]:.1f} Hz: expected "
                f"{int(np.ceil(self.sample_rate / (self.edges()[2] - self.edges()[0])))} or more, or a higher "
                "features.lowest"
            )

    @property
    def name(self) -> str:
        return "logpitch"

    @property
    def width(self) -> int:
        return self.n_pitches

    @property
    def f_max(self) -> float:
        return float(self.edges()[-1])

    def edges(self) -> npt.NDArray[np.float64]:
        """The corners of the triangles ``(pitches + 2,)`` in Hz: a semitone apart."""
        numbers = np.arange(self.lowest - 1, self.lowest + self.n_pitches + 1)
        hertz: npt.NDArray[np.float64] = 440 * 2 ** ((numbers - A4) / 12)
        return hertz

    def filters(self) -> npt.NDArray[np.float64]:
        """Triangular filters (frequency, pitches) of weights that sum to 1.

        The lowest span but a few bins of the Fourier transform: with equal areas, a semitone's level would depend on
        where it lies between two of these bins.
        """
        filters = super().filters()
        return filters / filters.sum(axis=0)
