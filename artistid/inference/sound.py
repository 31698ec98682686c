"""The features of one song, from wherever it comes, as the store would keep them, and what is unusual of its sound."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from artistid.data.audio import BLOCK_VALUES, decode_blocks, resample_blocks
from artistid.data.features import LogMel
from artistid.data.store import as_stored
from artistid.errors import ArtistidError
from artistid.printing import printable

Audio = str | os.PathLike[str] | npt.ArrayLike

SILENCE = 10 ** (-70 / 20)  # of a full scale of 1: the noise of 16 bits lies at -96 dB
# More than this below the loudest bin there is nothing to hear; the features' own floor is at 80 dB.
AUDIBLE_DB = 75.0
SAMPLED_FRAMES = 1000  # enough to tell what is in a song
# Of the highest frequency that the network hears: sound that ends below has half of what it was trained on, as on the
# telephone.
NARROW = 0.55
MOST_CHANNELS = 32


@dataclass(frozen=True, eq=False)
class Sound:
    """One song, ready to be cut into clips.

    Attributes:
        name: the file's path, or ``samples``.
        array: ``(frames, mel)`` float16, dB.
        floor: dB, what a short song is filled up with.
        duration_s: seconds of audio.
        sha1: of the decoded samples, as in a catalog; empty where they are not at hand.
        silent: whether there is nothing to hear.
    """

    name: str
    array: npt.NDArray[np.float16]
    floor: float
    duration_s: float
    sha1: str = ""
    silent: bool = False

    @classmethod
    def of(cls, audio: Audio, rate: int | None, features: LogMel) -> Sound:
        """Read a song.

        Args:
            audio: a path, or samples ``(n,)``, ``(n, channels)`` or ``(channels, n)``, floats in [-1, 1] or integers
                of full scale.
            rate: of samples, in Hz; a file knows its own.
            features: to be made of it.

        Raises:
            ArtistidError: a file that can't be decoded, or samples that are no sound.
        """
        if isinstance(audio, str | os.PathLike):
            if rate is not None:
                raise ArtistidError(f"{printable(audio)}: rate={rate} is for samples; a file knows its own")
            path = Path(audio).expanduser()
            return cls._of_blocks(str(path), decode_blocks(path, features.sample_rate), features)
        samples, rate = _mono(audio), _checked_rate(rate)
        blocks = (samples[first : first + BLOCK_VALUES] for first in range(0, len(samples), BLOCK_VALUES))
        return cls._of_blocks("samples", resample_blocks(blocks, rate, features.sample_rate), features)

    @classmethod
    def _of_blocks(cls, name: str, blocks: Iterable[npt.NDArray[np.float32]], features: LogMel) -> Sound:
        n_samples, peak, sha1 = 0, 0.0, hashlib.sha1()

        def measured() -> Iterator[npt.NDArray[np.float32]]:
            nonlocal n_samples, peak
            for block in blocks:
                n_samples += len(block)
                peak = max(peak, float(block.max(initial=0)), -float(block.min(initial=0)))
                sha1.update(np.ascontiguousarray(block).data)
                yield block

        array, floor = as_stored(features.of_blocks(measured()))
        duration_s = n_samples / features.sample_rate
        return cls(name, array, floor, duration_s, sha1.hexdigest(), silent=peak < SILENCE)

    def bandwidth(self, features: LogMel) -> float:
        """The highest frequency in Hz at which there is anything to hear."""
        frames = self.array[:: 1 + len(self.array) // SAMPLED_FRAMES].astype(np.float32)
        loudest = np.quantile(frames, 0.9, axis=0)  # (mel,); the clicks of a cut reach any frequency
        return float(features.centres[np.flatnonzero(loudest > loudest.max() - AUDIBLE_DB)[-1]])

    def is_narrow(self, features: LogMel) -> bool:
        """Whether the upper half of what the network hears is missing, as from a telephone."""
        return not self.silent and self.bandwidth(features) < NARROW * features.f_max


def _checked_rate(rate: int | None) -> int:
    if rate is None:
        raise ArtistidError("samples need their rate in Hz: predict(samples, rate=44100)")
    if isinstance(rate, bool) or rate != int(rate) or rate < 1:
        raise ArtistidError(f"rate={rate}: expected a whole number of Hz, 1 or more")
    return int(rate)


def _mono(audio: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Samples (n,) float32, the mean of the channels."""
    samples = np.asarray(audio)
    if samples.dtype.kind not in "fiu":
        raise ArtistidError(f"samples are to be real numbers, found {samples.dtype}")
    if samples.ndim not in (1, 2) or not samples.size:
        raise ArtistidError(f"samples are to be (n,), (n, channels) or (channels, n), found the shape {samples.shape}")
    if samples.ndim == 2:
        channels = min(samples.shape)
        if samples.shape[0] == samples.shape[1] or channels > MOST_CHANNELS:
            raise ArtistidError(f"samples of the shape {samples.shape}: which axis is the channels cannot be told")
        samples = samples if samples.shape[1] == channels else samples.T
    if samples.dtype.kind in "iu":
        scale = 2.0 ** (8 * samples.dtype.itemsize - 1)
        samples = (samples - (scale if samples.dtype.kind == "u" else 0)) / scale
    if bad := samples.size - int(np.isfinite(samples).sum()):
        raise ArtistidError(f"{bad} of {samples.size} samples are not finite (NaN or infinite)")
    return (samples if samples.ndim == 1 else samples.mean(axis=1)).astype(np.float32)
