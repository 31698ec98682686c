"""The features of a whole track: the log-mel spectrogram (paper III-B, Table II), or others."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import scipy.fft
import scipy.sparse
from hydra.utils import get_object
from omegaconf import DictConfig

from artistid.config import build, plain
from artistid.errors import ArtistidError, require_choice

# Frames per Fourier transform: fits a processor's cache, and needs little memory beside the samples.
FRAMES_PER_BLOCK = 128

# What is further below the loudest bin counts as inaudible; the features' own floor is at 80 dB.
AUDIBLE_DB = 75.0
SAMPLED_FRAMES = 1000  # enough to tell what is in a song
# Share of the highest frequency: audio that ends below it lacks half of the trained range, as on the telephone.
NARROW = 0.55


class Features(ABC):
    """Turns a recording into the rows that the store keeps of it: the interface that all other code uses.

    A class of your own is a frozen dataclass whose fields, all with defaults, are its settings; see docs/features.md.
    For rows computed by a network, :class:`artistid.data.encoder.Encoded` has all but the network.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """Part of the name of the store's folder."""

    @property
    @abstractmethod
    def sample_rate(self) -> int:
        """Hz, after decoding."""

    @property
    @abstractmethod
    def hop_length(self) -> float:
        """Samples from row to row."""

    @property
    @abstractmethod
    def width(self) -> int:
        """Columns."""

    @abstractmethod
    def plain(self) -> dict[str, Any]:
        """All settings that determine the rows, as plain types; the name of the store's folder derives from them."""

    @abstractmethod
    def stored(self, blocks: Iterable[npt.NDArray[np.float32]]) -> tuple[npt.NDArray[np.float16], float]:
        """The rows of a whole track.

        Args:
            blocks: ``(n,)`` mono samples each; an iterator will do.

        Returns:
            rows: ``(1 + n // hop_length, width)``, in the store's precision.
            pad_value: pads a clip that the track is too short for.
        """

    @property
    def base(self) -> Features:
        """The features that decoder processes compute, the input of :meth:`encode`; by default these themselves."""
        return self

    def encode(self, rows: npt.NDArray[np.float16], pad_value: float) -> tuple[npt.NDArray[np.float16], float]:
        """The rows of a whole track and their pad value, from those of the base; where the device is used."""
        return rows, pad_value

    def on(self, device: str) -> Self:
        """The same, encoded on a device given by its torch name."""
        return self

    def get_ready(self) -> None:
        """Called once for all, before several processes make features."""
        if self.base is not self:
            self.base.get_ready()

    @property
    def f_max(self) -> float:
        """Hz: the highest frequency that the rows cover."""
        return self.sample_rate / 2

    @property
    def frequencies(self) -> npt.NDArray[np.float64] | None:
        """Hz of each column ``(width,)`` of a spectrogram in dB; None for other features."""
        return None

    def remark(self, rows: npt.NDArray[np.float16]) -> str:
        """A sentence for the user about a song; empty where there is nothing to remark."""
        return ""

    def description(self) -> dict[str, Any]:
        """From this :func:`build_features` makes the same features."""
        return {"_target_": f"{type(self).__module__}.{type(self).__qualname__}", **self.plain()}


def features_of(config: DictConfig) -> Features:
    """The features that a command's ``features`` describes, of the music or of a stem of it.

    Raises:
        ArtistidError: invalid settings.
    """
    settings = plain(config.features)
    stem, separator = settings.pop("stem", None), settings.pop("separator", None)
    features: Features = build(settings, "features")
    if stem is None:
        return features
    from artistid.data.stems import of_stem  # imports torch, which commands that prepare log-mel can do without

    return of_stem(features, stem, separator)


def build_features(description: Mapping[str, Any]) -> Features:
    """The features of a description; one from a file is checked first, see ``check_targets``.

    Raises:
        ArtistidError: no such features, or settings that they do not take.
    """
    settings = {name: value for name, value in description.items() if name != "_target_"}
    target = description.get("_target_")
    try:
        kind = get_object(str(target))
        if not (isinstance(kind, type) and issubclass(kind, Features)):
            raise TypeError("it is not a class of features")
        return kind(**settings)
    except (ImportError, ValueError, TypeError) as error:
        raise ArtistidError(f"features={target}: {error}") from error


def _joined(parts: deque[npt.NDArray[np.float16]]) -> npt.NDArray[np.float16]:
    """Arrays ``(frames, width)`` as one; each is freed once copied, so that hours of audio are not held twice."""
    whole = np.empty((sum(map(len, parts)), parts[0].shape[1]), np.float16)
    row = 0
    while parts:
        part = parts.popleft()
        whole[row : row + len(part)] = part
        row += len(part)
    return whole


@dataclass(frozen=True, kw_only=True)
class LogSpectrogram(Features):
    """The settings and computation that all spectrograms in dB share, whatever their bins.

    Args:
        sample_rate: Hz, after decoding.
        n_fft: samples of the Hann window.
        hop_length: samples; frames are centred on its multiples.
        pad_mode: what lies before the first and after the last sample: ``constant`` (zeros) or ``reflect``.
        amin: power below which everything is the floor.
        top_db: dB below a track's loudest value at which the track's own floor lies; None for no such floor.

    Raises:
        ArtistidError: a setting out of its range.
    """

    sample_rate: int = 16000
    n_fft: int = 2048
    hop_length: int = 512
    pad_mode: str = "constant"
    amin: float = 1e-10
    top_db: float | None = 80.0

    def __post_init__(self) -> None:
        require_choice("features.pad_mode", self.pad_mode, ("constant", "reflect"))
        self._as_floats("amin", "top_db")
        self._require_positive("sample_rate", "n_fft", "hop_length", "amin")
        if self.hop_length > self.n_fft:
            raise ArtistidError(
                f"features.hop_length={self.hop_length} is out of range: expected at most features.n_fft={self.n_fft}, "
                "else samples are skipped"
            )
        if self.top_db is not None and self.top_db < 0:
            raise ArtistidError(f"features.top_db={self.top_db} dB is out of range: expected 0 or more, or null")

    def _as_floats(self, *settings: str) -> None:
        """8000 and 8000.0 are one setting and must have one store."""
        for setting in settings:
            if getattr(self, setting) is not None:
                object.__setattr__(self, setting, float(getattr(self, setting)))

    def _require_positive(self, *settings: str) -> None:
        for setting in settings:
            if (value := getattr(self, setting)) <= 0:
                raise ArtistidError(f"features.{setting}={value} is out of range: expected more than 0")

    @abstractmethod
    def edges(self) -> npt.NDArray[np.float64]:
        """The corners of the bins' triangles ``(width + 2,)`` in Hz, rising."""

    @property
    def frequencies(self) -> npt.NDArray[np.float64]:
        """The middles of the bins ``(width,)`` in Hz."""
        return self.edges()[1:-1]

    def plain(self) -> dict[str, Any]:
        return asdict(self)

    def bandwidth(self, rows: npt.NDArray[np.float16]) -> float:
        """The highest frequency in Hz at which there is anything to hear in ``(frames, bins)``."""
        frames = rows[:: 1 + len(rows) // SAMPLED_FRAMES].astype(np.float32)
        loudest = np.quantile(frames, 0.9, axis=0)  # (bins,); no maximum, since clicks at a cut reach any frequency
        return float(self.frequencies[np.flatnonzero(loudest > loudest.max() - AUDIBLE_DB)[-1]])

    def remark(self, rows: npt.NDArray[np.float16]) -> str:
        """That the upper half of the frequencies is missing, as from a telephone."""
        bandwidth = self.bandwidth(rows)
        if bandwidth >= NARROW * self.f_max:
            return ""
        return (
            f"it has nothing above {bandwidth / 1000:.1f} kHz, as on the telephone: the network "
            f"was trained on audio up to {self.f_max / 1000:.1f} kHz"
        )

    def __call__(self, samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The spectrogram of a whole track.

        Args:
            samples: ``(n,)``, mono, at ``sample_rate``.

        Returns:
            ``(frames, bins)``, dB relative to a power of 1; there are ``1 + n // hop_length`` frames.
        """
        decibels = np.concatenate(list(self._decibels([samples])))
        if self.top_db is not None:
            np.maximum(decibels, decibels.max() - self.top_db, out=decibels)
        return decibels

    def stored(self, blocks: Iterable[npt.NDArray[np.float32]]) -> tuple[npt.NDArray[np.float16], float]:
        """The spectrogram of a whole track whose samples come one block after the other, as they are decoded.

        Args:
            blocks: ``(n,)`` samples each; all but the last longer than half the window.

        Returns:
            rows: ``(frames, bins)`` as of the whole track, in the store's precision.
            pad_value: its smallest value in single precision.
        """
        rounded: deque[npt.NDArray[np.float16]] = deque()
        loudest, floor = -np.inf, np.inf
        for decibels in self._decibels(blocks):
            loudest, floor = max(loudest, float(decibels.max())), min(floor, float(decibels.min()))
            rounded.append(decibels.astype(np.float16))
        rows = _joined(rounded)
        if self.top_db is not None:  # rounding is monotonic: the floor may be applied after it
            floor = max(floor, float(np.float32(loudest) - np.float32(self.top_db)))
            np.maximum(rows, np.float16(floor), out=rows)
        return rows, floor

    def _decibels(self, blocks: Iterable[npt.NDArray[np.float32]]) -> Iterator[npt.NDArray[np.float32]]:
        """``(frames, bins)`` block by block, floored at ``amin`` but not yet at the track's own floor."""
        window = self.window().astype(np.float32)
        # Each triangle spans few bins; and a sparse product runs in one thread: workers don't compete for cores.
        filters = scipy.sparse.csr_array(self.filters().T.astype(np.float32))
        # Samples that are not finite are reported where they are decoded; numpy need not warn as well.
        with np.errstate(invalid="ignore", over="ignore"):
            for frames in self._frames(blocks):
                decibels = self._bin_power(frames, window, filters)
                np.maximum(decibels, np.float32(self.amin), out=decibels)
                np.log10(decibels, out=decibels)
                decibels *= np.float32(10)
                yield decibels

    def _frames(self, blocks: Iterable[npt.NDArray[np.float32]]) -> Iterator[npt.NDArray[np.float32]]:
        """The windows ``(frames, n_fft)`` of a track, as many at a time as there are in a block."""
        held = np.empty(0, np.float32)
        for piece in self._padded(blocks):
            held = np.concatenate([held, piece])
            if len(held) >= self.n_fft:
                frames = np.lib.stride_tricks.sliding_window_view(held, self.n_fft)[:: self.hop_length]
                yield frames
                held = held[len(frames) * self.hop_length :]

    def _padded(self, blocks: Iterable[npt.NDArray[np.float32]]) -> Iterator[npt.NDArray[np.float32]]:
        """The blocks, with half a window before the first and after the last."""
        half = self.n_fft // 2
        zeros = np.zeros(half, np.float32)
        end = zeros[:0]  # the last samples so far, one more than are mirrored
        for number, block in enumerate(blocks):
            # Reflection needs more samples than it mirrors; a track that short gets zeros.
            reflects = self.pad_mode == "reflect" and (number > 0 or len(block) > half)
            if number == 0:
                yield block[half:0:-1] if reflects else zeros
            yield block
            end = np.concatenate([end, block[-half - 1 :]])[-half - 1 :]
        yield end[-2::-1] if reflects else zeros

    def _bin_power(
        self, frames: npt.NDArray[np.float32], window: npt.NDArray[np.float32], filters: scipy.sparse.csr_array
    ) -> npt.NDArray[np.float32]:
        """``(frames, bins)`` of windows ``(frames, n_fft)``."""
        # Single precision halves the work: rounding of loud bins shows in bins 80 dB down, by 0.001 dB in music, where
        # the store's float16 has steps of 0.03 dB.
        power = np.empty((len(frames), self.width), np.float32)
        for first in range(0, len(frames), FRAMES_PER_BLOCK):
            block = slice(first, first + FRAMES_PER_BLOCK)
            spectrum = scipy.fft.rfft(frames[block] * window)  # (frames, frequency)
            power[block] = (filters @ (spectrum.real**2 + spectrum.imag**2).T).T
        return power

    def window(self) -> npt.NDArray[np.float64]:
        """The Hann window ``(n_fft,)``, the periodic one."""
        return np.hanning(self.n_fft + 1)[:-1]

    def filters(self) -> npt.NDArray[np.float64]:
        """Triangular filters (frequency, bins) of equal area.

        Our own, because torchaudio's are made in single precision: their rounding alone is 0.0015 dB.
        """
        edges = self.edges()[:, None]  # (bins + 2, 1) Hz
        frequencies = np.linspace(0, self.sample_rate / 2, self.n_fft // 2 + 1)  # (frequency,) Hz
        rising = (frequencies - edges[:-2]) / (edges[1:-1] - edges[:-2])
        falling = (edges[2:] - frequencies) / (edges[2:] - edges[1:-1])
        triangles = np.clip(np.minimum(rising, falling), 0, None)  # (bins, frequency)
        return (2 / (edges[2:] - edges[:-2]) * triangles).T


@dataclass(frozen=True, kw_only=True)
class LogMel(LogSpectrogram):
    """The log-mel spectrogram (paper III-B, Table II).

    Agrees with librosa's ``power_to_db(melspectrogram(...), ref=1.0, top_db=80)`` on the same samples.

    Args:
        n_mels: number of mel bins.
        f_min: Hz, lower end of the mel bins.
        f_max: Hz, upper end of the mel bins.
        mel_scale: ``slaney`` or ``htk``; either way the triangles have equal area (librosa's ``norm="slaney"``).

    Other settings and errors are those of :class:`LogSpectrogram`.
    """

    n_mels: int = 128
    f_min: float = 0.0
    f_max: float = 8000.0
    mel_scale: str = "slaney"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choice("features.mel_scale", self.mel_scale, ("slaney", "htk"))
        self._as_floats("f_min", "f_max")
        self._require_positive("n_mels")
        if not 0 <= self.f_min < self.f_max <= self.sample_rate / 2:
            raise ArtistidError(
                f"features.f_min={self.f_min} Hz and features.f_max={self.f_max} Hz are out of range: expected "
                f"0 <= f_min < f_max <= {self.sample_rate / 2} Hz, half of features.sample_rate"
            )

    @property
    def name(self) -> str:
        return f"logmel-{self.mel_scale}"

    @property
    def width(self) -> int:
        return self.n_mels

    def edges(self) -> npt.NDArray[np.float64]:
        """The corners of the triangles ``(mel + 2,)`` in Hz: equally spaced on the mel scale."""
        if self.mel_scale == "htk":  # the paper's Eq. 2
            low, high = (2595 * np.log10(1 + hz / 700) for hz in (self.f_min, self.f_max))
            return 700 * (10 ** (np.linspace(low, high, self.n_mels + 2) / 2595) - 1)
        # Slaney's Auditory Toolbox: linear below 1 kHz (15 mel), then 27 mel for every factor of 6.4.
        low, high = (
            hz * 3 / 200 if hz < 1000 else 15 + 27 * np.log(hz / 1000) / np.log(6.4) for hz in (self.f_min, self.f_max)
        )
        mel = np.linspace(low, high, self.n_mels + 2)
        return np.where(mel < 15, mel * 200 / 3, 1000 * 6.4 ** ((mel - 15) / 27))
