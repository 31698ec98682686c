"""Classical descriptors of whole tracks, for the systems that came before networks: timbre, harmony and beats."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from artistid.compilation import compiled, numba_cache
from artistid.data.features import Features
from artistid.errors import ArtistidError

N_CHROMA = 12
N_CONTRAST = 7
# Where no beat is found: 120 a minute.
BEAT_WITHOUT_BEATS_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Descriptors(Features):
    """MFCC, beat-synchronous chroma and spectral contrast by librosa, all in one table of rows.

    A row is ``hop_length`` samples long. Chroma and contrast need a longer window and change more slowly: they are
    computed every ``harmony_hop_length`` samples, and a row has the nearest ones. Chroma is averaged between beats
    (Ellis 2007), so that all rows of a beat share it, and one column marks where a beat begins.

    Args:
        sample_rate: Hz, after decoding.
        hop_length: samples from row to row.
        window_length: samples of the Hann window of the MFCC.
        n_mels: mel bins that the MFCC are made from.
        n_mfcc: coefficients, the first of them the loudness.
        harmony_hop_length: samples from one chroma, contrast and onset strength to the next.
        harmony_window_length: samples of their Hann window.

    Raises:
        ArtistidError: a setting out of its range.
    """

    sample_rate: int = 16000
    hop_length: int = 160
    window_length: int = 400
    n_mels: int = 40
    n_mfcc: int = 20
    harmony_hop_length: int = 512
    harmony_window_length: int = 2048

    def __post_init__(self) -> None:
        for setting, value in asdict(self).items():
            if value < 1:
                raise ArtistidError(f"features.{setting}={value} is out of range: expected more than 0")
        if self.n_mfcc > self.n_mels:
            raise ArtistidError(f"features.n_mfcc={self.n_mfcc} is more than features.n_mels={self.n_mels}")

    @property
    def name(self) -> str:
        return "descriptors"

    @property
    def mfcc(self) -> slice:
        """Columns of the mel-frequency cepstral coefficients."""
        return slice(0, self.n_mfcc)

    @property
    def chroma(self) -> slice:
        """Columns of the 12 pitch classes from C, the loudest of a beat being 1."""
        return slice(self.n_mfcc, self.n_mfcc + N_CHROMA)

    @property
    def beat(self) -> int:
        """Column that is 1 in the row where a beat begins, else 0."""
        return self.n_mfcc + N_CHROMA

    @property
    def contrast(self) -> slice:
        """Columns of the spectral contrast in 7 octave bands, in dB."""
        return slice(self.beat + 1, self.width)

    @property
    def width(self) -> int:
        return self.n_mfcc + N_CHROMA + 1 + N_CONTRAST

    def plain(self) -> dict[str, Any]:
        return asdict(self)

    def __call__(self, samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Descriptors of a whole track.

        Args:
            samples: ``(n,)``, mono, at ``sample_rate``.

        Returns:
            ``(1 + n // hop_length, width)``; for the columns see ``mfcc``, ``chroma``, ``beat`` and ``contrast``.
        """
        librosa = load_librosa()
        # librosa would warn of each window that is longer than the track, and pads with zeros anyway.
        padded = np.pad(samples, (0, max(0, self.harmony_window_length - len(samples))))
        n_rows = 1 + len(samples) // self.hop_length
        rows = np.zeros((n_rows, self.width), np.float32)
        mfcc = librosa.feature.mfcc(
            y=padded,
            sr=self.sample_rate,
            n_mfcc=self.n_mfcc,
            n_fft=2 ** (self.window_length - 1).bit_length(),
            win_length=self.window_length,
            hop_length=self.hop_length,
            n_mels=self.n_mels,
        )
        rows[:, self.mfcc] = mfcc.T[:n_rows]
        spectrum = np.abs(librosa.stft(padded, n_fft=self.harmony_window_length, hop_length=self.harmony_hop_length))
        contrast = librosa.feature.spectral_contrast(S=spectrum, sr=self.sample_rate, n_bands=N_CONTRAST - 1, fmin=100)
        nearest = np.rint(np.arange(n_rows) * self.hop_length / self.harmony_hop_length).astype(int)
        nearest = np.minimum(nearest, spectrum.shape[1] - 1)
        rows[:, self.contrast] = contrast.T[nearest]
        beats = self._beats(spectrum, librosa)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Trying to estimate tuning")  # for unpitched music
            chroma = librosa.feature.chroma_stft(S=spectrum**2, sr=self.sample_rate, norm=None)
        of_beat = librosa.util.sync(chroma, beats.tolist(), aggregate=np.mean, pad=False)  # (12, beats)
        of_beat = of_beat / np.maximum(of_beat.max(axis=0), np.finfo(np.float32).tiny)
        beat_of_row = np.searchsorted(beats, nearest, side="right") - 1
        rows[:, self.chroma] = of_beat.T[beat_of_row]
        rows[:, self.beat] = np.diff(beat_of_row, prepend=-1) > 0
        return rows

    def get_ready(self) -> None:
        """Compile what librosa compiles, before several processes use it."""
        compiled(__name__, "librosa")

    def stored(self, blocks: Iterable[npt.NDArray[np.float32]]) -> tuple[npt.NDArray[np.float16], float]:
        """The same from samples in blocks ``(n,)``, which are joined first; and the smallest value."""
        rows = self(np.concatenate(list(blocks)))
        return rows.astype(np.float16), float(rows.min())

    def _beats(self, spectrum: npt.NDArray[np.floating], librosa: Any) -> npt.NDArray[np.int64]:
        """Frames where beats begin, with the first frame and one past the last, so that beats leave no gaps."""
        onset_strength = librosa.onset.onset_strength(
            S=librosa.power_to_db(librosa.feature.melspectrogram(S=spectrum**2, sr=self.sample_rate)),
            sr=self.sample_rate,
            hop_length=self.harmony_hop_length,
        )
        _, beats = librosa.beat.beat_track(
            onset_envelope=onset_strength, sr=self.sample_rate, hop_length=self.harmony_hop_length
        )
        if not len(beats):
            every = max(1, round(BEAT_WITHOUT_BEATS_S * self.sample_rate / self.harmony_hop_length))
            beats = np.arange(0, spectrum.shape[1], every)
        return np.unique([0, *beats, spectrum.shape[1]]).astype(np.int64)


def rehearse() -> None:
    """Compile what librosa compiles for descriptors, on four seconds of clicks and noise."""
    samples = 0.1 * np.random.default_rng(0).standard_normal(4 * Descriptors().sample_rate).astype(np.float32)
    samples[:: Descriptors().sample_rate // 2] = 1
    Descriptors()(samples)


@cache
def load_librosa() -> Any:
    """Librosa with the modules used here, imported when needed: it takes a second that networks need not wait for.

    What it compiles is cached as :mod:`artistid.compilation` says. Only modules that other code imported before use
    numba's own cache, a folder that every process of the machine writes to.
    """
    with numba_cache(__name__, "librosa"):
        for part in ("core", "beat", "feature", "onset", "util"):  # librosa would import them at their first use
            import_module(f"librosa.{part}")
    return import_module("librosa")
