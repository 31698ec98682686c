"""Songs given as samples instead of files: their features."""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt

from artistid.data.audio import BLOCK_VALUES, resample_blocks
from artistid.data.features import Features
from artistid.data.song import SongFeatures
from artistid.errors import ArtistidError, counted

Audio = str | os.PathLike[str] | npt.ArrayLike

MOST_CHANNELS = 32


def features_of_samples(samples: npt.ArrayLike, rate: int | None, features: Features) -> SongFeatures:
    """The features of samples.

    Args:
        samples: ``(n,)``, ``(n, channels)`` or ``(channels, n)``, floats in [-1, 1] or integers of full scale.
        rate: in Hz.
        features: to be made of them.

    Raises:
        ArtistidError: samples that are not audio.
    """
    mono, rate = _mono(samples), _checked_rate(rate)
    blocks = (mono[first : first + BLOCK_VALUES] for first in range(0, len(mono), BLOCK_VALUES))
    resampled = resample_blocks(blocks, rate, features.base.sample_rate)
    return SongFeatures.of_blocks("samples", resampled, features.base).encoded(features)


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
        raise ArtistidError(f"samples must be real numbers, found {samples.dtype}")
    if samples.ndim not in (1, 2) or not samples.size:
        raise ArtistidError(f"samples must have the shape (n,), (n, channels) or (channels, n), found {samples.shape}")
    if samples.ndim == 2:
        channels = min(samples.shape)
        if samples.shape[0] == samples.shape[1] or channels > MOST_CHANNELS:
            raise ArtistidError(f"samples of the shape {samples.shape}: cannot tell which axis is the channels")
        samples = samples if samples.shape[1] == channels else samples.T
    if samples.dtype.kind in "iu":
        scale = 2.0 ** (8 * samples.dtype.itemsize - 1)
        samples = (samples - (scale if samples.dtype.kind == "u" else 0)) / scale
    if bad := samples.size - int(np.isfinite(samples).sum()):
        raise ArtistidError(f"not finite (NaN or infinite): {bad:,} of {counted(samples.size, 'sample')}")
    return (samples if samples.ndim == 1 else samples.mean(axis=1)).astype(np.float32)
