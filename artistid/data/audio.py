"""Decoding: any audio file to mono samples at one rate."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import soundfile

from artistid.errors import ArtistidError

if TYPE_CHECKING:
    from torchaudio.transforms import Resample

# The endings that count as audio when a folder is scanned: those that soundfile reads by itself, and TorchCodec's.
AUDIO_SUFFIXES = frozenset(
    {
        *(".mp3", ".flac", ".ogg", ".oga", ".opus", ".wav", ".wave", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf"),
        *(".m4a", ".mp4", ".aac", ".wma", ".webm", ".mka", ".ape", ".wv", ".mpc", ".ac3"),
    }
)

# A header may promise a little more than there is (encoder padding, a rounded length); a file cut short lacks more.
TOLERATED_LOSS = 0.01


class DecodingError(ArtistidError):
    """A file whose audio cannot be had whole."""


def decode(path: Path, sample_rate: int) -> npt.NDArray[np.float32]:
    """Decode a whole file: mean of the channels, resampled.

    soundfile comes first (mp3, flac, ogg, wav by itself); TorchCodec, if installed, reads what soundfile cannot.

    Args:
        path: an audio file of any rate and channel count.
        sample_rate: of the result, in Hz.

    Returns:
        Samples ``(n,)``, float32, nominally in [-1, 1].

    Raises:
        DecodingError: a file that can't be read, no audio, audio cut short, or samples that are not finite; names the
            file. An Ogg file, or an mp3 without a Xing header, that was cut short looks like a shorter one and cannot
            be told apart.
    """
    try:
        if path.stat().st_size == 0:
            raise DecodingError(f"{path}: the file is empty (0 bytes)")
        samples, rate = _decode_native(path)
    except OSError as error:
        raise DecodingError(f"{path}: cannot be read: {error.strerror or error}") from error
    if samples.size == 0:
        raise DecodingError(f"{path}: holds no audio samples")
    if bad := samples.size - int(np.isfinite(samples).sum()):
        raise DecodingError(f"{path}: {bad} of {samples.size} samples are not finite (NaN or infinite)")
    return resample(_mean_of_channels(samples), rate, sample_rate)


def _mean_of_channels(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(n,) of (n, channels), a channel at a time: numpy's mean along so short an axis takes as long as decoding."""
    total = samples[:, 0]
    for channel in range(1, samples.shape[1]):
        total = total + samples[:, channel]
    return total / np.float32(samples.shape[1])


def resample(samples: npt.NDArray[np.float32], rate: int, sample_rate: int) -> npt.NDArray[np.float32]:
    """Band-limited resampling of (n,) samples from ``rate`` to ``sample_rate``, both in Hz."""
    if rate == sample_rate:
        return samples
    import torch  # here, since a process that decodes 16 kHz files can do without

    return _resampler(rate, sample_rate)(torch.from_numpy(samples)).numpy()


@lru_cache(maxsize=8)
def _resampler(rate: int, sample_rate: int) -> Resample:
    from torchaudio.transforms import Resample

    # A Kaiser window of 64 zero crossings: stop band below the 80 dB that the features keep.
    return Resample(
        rate,
        sample_rate,
        resampling_method="sinc_interp_kaiser",
        lowpass_filter_width=64,
        rolloff=0.9475937167399596,
        beta=14.769656459379492,
    )


def _decode_native(path: Path) -> tuple[npt.NDArray[np.float32], int]:
    """Samples (n, channels) at the file's own rate."""
    try:
        # Opened here: libsndfile would be handed the name in an encoding that some systems' file names do not have.
        with path.open("rb") as file, soundfile.SoundFile(file) as sound:
            promised, rate = sound.frames, sound.samplerate
            samples = sound.read(dtype="float32", always_2d=True)
            whole = _promised_bytes(sound.extra_info)
    except soundfile.SoundFileRuntimeError as error:
        return _decode_with_torchcodec(path, f"soundfile: {error}")
    if whole is not None and whole[1] < whole[0] * (1 - TOLERATED_LOSS):
        raise DecodingError(f"{path}: cut short: its header promises {whole[0]} bytes of audio, {whole[1]} are there")
    if len(samples) < promised * (1 - TOLERATED_LOSS):
        raise DecodingError(
            f"{path}: cut short: its header promises {promised / rate:.1f} s, "
            f"{len(samples) / rate:.1f} s can be decoded"
        )
    return samples, rate


def _promised_bytes(libsndfile_log: str) -> tuple[int, int] | None:
    """(promised, found) bytes of a WAV file's data chunk, where libsndfile's log says that they differ."""
    match = re.search(r"^\s*data : (\d+) \(should be (\d+)\)", libsndfile_log, re.MULTILINE)
    return (int(match[1]), int(match[2])) if match else None


def _decode_with_torchcodec(path: Path, why: str) -> tuple[npt.NDArray[np.float32], int]:
    try:
        from torchcodec.decoders import AudioDecoder
    except Exception as error:  # its import fails in many ways (no FFmpeg, another torch), not with ImportError alone
        hint = "" if isinstance(error, ImportError) else f": {type(error).__name__}"
        raise DecodingError(
            f"{path}: cannot be decoded ({why}); TorchCodec, which reads more formats, cannot be imported{hint} "
            "(pip install torchcodec, and FFmpeg)"
        ) from None
    try:
        decoded = AudioDecoder(str(path)).get_all_samples()
    except Exception as error:
        raise DecodingError(f"{path}: cannot be decoded ({why}; TorchCodec: {error})") from None
    return decoded.data.T.numpy(), int(decoded.sample_rate)
