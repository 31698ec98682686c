"""Decoding: any audio file to mono samples at one rate."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import lru_cache
from itertools import chain
from math import inf, isqrt
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import soundfile

from artistid.errors import ArtistidError

if TYPE_CHECKING:
    from torchaudio.transforms import Resample
    from torchcodec.decoders import AudioDecoder

# The endings that count as audio when a folder is scanned: those that soundfile reads by itself, and TorchCodec's.
AUDIO_SUFFIXES = frozenset(
    {
        *(".mp3", ".flac", ".ogg", ".oga", ".opus", ".wav", ".wave", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf"),
        *(".m4a", ".mp4", ".aac", ".wma", ".webm", ".mka", ".ape", ".wv", ".mpc", ".ac3"),
    }
)

# A header may promise a little more than there is (encoder padding, a rounded length); a file cut short lacks more.
TOLERATED_LOSS = 0.01


# Samples, of all channels, that are decoded at a time: a minute and a half of stereo at 44.1 kHz, 32 MiB.
BLOCK_VALUES = 2**23

# Weights of all filters of a resampler. Rates that share too small a divisor would need thousands, each as long.
MOST_WEIGHTS = 2**24
HIGHEST_RATE = 1_000_000  # Hz; beyond any converter, and a resampler's filters grow with it

# libsndfile's word for a number of frames that the header leaves open.
UNKNOWN_FRAMES = 2**63 - 1


class DecodingError(ArtistidError):
    """A file whose audio cannot be had whole."""


def decode(path: Path, sample_rate: int) -> npt.NDArray[np.float32]:
    """Decode a whole file: mean of the channels, resampled.

    Args:
        path: an audio file of any rate and channel count.
        sample_rate: of the result, in Hz.

    Returns:
        Samples ``(n,)``, float32, nominally in [-1, 1].

    Raises:
        DecodingError: see :func:`decode_blocks`.
    """
    blocks = list(decode_blocks(path, sample_rate))
    return np.concatenate(blocks) if len(blocks) > 1 else blocks[0]


def decode_blocks(path: Path, sample_rate: int) -> Iterator[npt.NDArray[np.float32]]:
    """Decode a file a part at a time, so that hours of sound need no more memory than some minutes do.

    soundfile comes first (mp3, flac, ogg, wav by itself); TorchCodec, if installed, reads what soundfile cannot.

    Yields:
        Samples ``(n,)``; one after the other they are what :func:`decode` gives, to the bit.

    Raises:
        DecodingError: a file that can't be read, no audio, audio cut short, or samples that are not finite; names the
            file, and may come after the last block. An Ogg file, or an mp3 without a Xing header, that was cut short
            looks like a shorter one and cannot be told apart.
    """
    n_samples = n_bad = 0
    try:
        if path.stat().st_size == 0:
            raise DecodingError(f"{path}: the file is empty (0 bytes)")
        rate, native = _open_native(path)
        if rate > HIGHEST_RATE:
            raise DecodingError(f"{path}: its rate, {rate} Hz, is more than the {HIGHEST_RATE} Hz that any sound needs")

        def counted() -> Iterator[npt.NDArray[np.float32]]:
            nonlocal n_samples, n_bad
            for samples in native:
                n_samples += samples.size
                n_bad += samples.size - int(np.isfinite(samples).sum())
                yield _mean_of_channels(samples)

        yield from resample_blocks(counted(), rate, sample_rate)
    except OSError as error:
        raise DecodingError(f"{path}: cannot be read: {error.strerror or error}") from error
    except soundfile.SoundFileRuntimeError as error:  # after the first block, or TorchCodec would have tried
        raise DecodingError(f"{path}: cannot be decoded to its end (soundfile: {error})") from error
    if n_samples == 0:
        raise DecodingError(f"{path}: holds no audio samples")
    if n_bad:
        raise DecodingError(f"{path}: {n_bad} of {n_samples} samples are not finite (NaN or infinite)")


def promised_seconds(path: Path) -> float:
    """How long a file says that it lasts, in seconds, found without decoding it; infinite where it does not say.

    Raises:
        DecodingError: no audio.
    """
    try:
        with path.open("rb") as file, soundfile.SoundFile(file) as sound:
            return sound.frames / sound.samplerate if sound.frames < UNKNOWN_FRAMES else inf
    except soundfile.SoundFileRuntimeError as error:
        seconds = _torchcodec(path, f"soundfile: {error}").metadata.duration_seconds
        return inf if seconds is None else float(seconds)


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


def resample_blocks(
    blocks: Iterable[npt.NDArray[np.float32]], rate: int, sample_rate: int
) -> Iterator[npt.NDArray[np.float32]]:
    """What :func:`resample` gives of the blocks ``(n,)`` as one, again in blocks."""
    if rate == sample_rate:
        yield from blocks
        return
    period, new = _ratio(rate, sample_rate)
    held, heard = np.empty(0, np.float32), 0  # samples in hand, and how many of these only lead in what follows
    for block in blocks:
        if len(held):  # its end waits for its neighbours, which are in this block
            margin = period * (1 + _resampler(rate, sample_rate).width // period)
            ready = (len(held) - margin) // period * period
            if ready > heard + margin:
                yield resample(held, rate, sample_rate)[heard // period * new : ready // period * new]
                held, heard = held[ready - margin :], margin
        held = np.concatenate([held, block]) if len(held) else block
    if len(held):
        yield resample(held, rate, sample_rate)[heard // period * new :]


def _ratio(rate: int, sample_rate: int) -> tuple[int, int]:
    """Two rates without their common divisor; where large numbers are left, as of 44,101 Hz, the nearest small ones.

    What they are off by, less than 1 in 4096, is half a hundredth of a semitone.
    """
    ratio = Fraction(rate, sample_rate)
    if ratio.numerator * ratio.denominator > MOST_WEIGHTS:
        ratio = ratio.limit_denominator(isqrt(MOST_WEIGHTS * sample_rate // rate))
    return ratio.numerator, ratio.denominator


@lru_cache(maxsize=8)
def _resampler(rate: int, sample_rate: int) -> Resample:
    from torchaudio.transforms import Resample

    # A Kaiser window of 64 zero crossings: stop band below the 80 dB that the features keep.
    return Resample(
        *_ratio(rate, sample_rate),
        resampling_method="sinc_interp_kaiser",
        lowpass_filter_width=64,
        rolloff=0.9475937167399596,
        beta=14.769656459379492,
    )


def _open_native(path: Path) -> tuple[int, Iterator[npt.NDArray[np.float32]]]:
    """A file's own rate in Hz, and its samples in blocks (n, channels)."""
    blocks = _native_blocks(path)
    try:
        # The first block is read here, so that what soundfile cannot read is left to TorchCodec.
        rate, first = next(blocks)
    except soundfile.SoundFileRuntimeError as error:
        rate, samples = _decode_with_torchcodec(path, f"soundfile: {error}")
        return rate, iter([samples])
    return rate, chain([first], (samples for _, samples in blocks))


def _native_blocks(path: Path) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    """The file's own rate with each block (n, channels); a file without samples gives one block of none."""
    # Opened here: libsndfile would be handed the name in an encoding that some systems' file names do not have.
    with path.open("rb") as file, soundfile.SoundFile(file) as sound:
        promised, rate, n_read = sound.frames, sound.samplerate, 0
        more = True
        while more:
            samples = sound.read(BLOCK_VALUES // sound.channels, dtype="float32", always_2d=True)
            yield rate, samples
            n_read += len(samples)
            more = len(samples) > 0 and n_read < promised
        whole = _promised_bytes(sound.extra_info)
    if whole is not None and whole[1] < whole[0] * (1 - TOLERATED_LOSS):
        raise DecodingError(f"{path}: cut short: its header promises {whole[0]} bytes of audio, {whole[1]} are there")
    if n_read < promised * (1 - TOLERATED_LOSS):
        raise DecodingError(
            f"{path}: cut short: its header promises {promised / rate:.1f} s, {n_read / rate:.1f} s can be decoded"
        )


def _promised_bytes(libsndfile_log: str) -> tuple[int, int] | None:
    """(promised, found) bytes of a WAV file's data chunk, where libsndfile's log says that they differ."""
    match = re.search(r"^\s*data : (\d+) \(should be (\d+)\)", libsndfile_log, re.MULTILINE)
    return (int(match[1]), int(match[2])) if match else None


def _decode_with_torchcodec(path: Path, why: str) -> tuple[int, npt.NDArray[np.float32]]:
    decoder = _torchcodec(path, why)
    try:
        decoded = decoder.get_all_samples()
    except Exception as error:
        raise DecodingError(f"{path}: cannot be decoded ({why}; TorchCodec: {error})") from None
    return int(decoded.sample_rate), decoded.data.T.numpy()


def _torchcodec(path: Path, why: str) -> AudioDecoder:
    """A file that soundfile does not read, opened."""
    try:
        from torchcodec.decoders import AudioDecoder
    except Exception as error:  # its import fails in many ways (no FFmpeg, another torch), not with ImportError alone
        hint = "" if isinstance(error, ImportError) else f": {type(error).__name__}"
        raise DecodingError(
            f"{path}: cannot be decoded ({why}); TorchCodec, which reads more formats, cannot be imported{hint} "
            "(pip install torchcodec, and FFmpeg)"
        ) from None
    try:
        return AudioDecoder(str(path))
    except Exception as error:
        raise DecodingError(f"{path}: cannot be decoded ({why}; TorchCodec: {error})") from None
