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
    from av import AudioFrame, AudioStream
    from av.container import InputContainer
    from torchaudio.transforms import Resample

# The endings that count as audio when a folder is scanned: those that soundfile reads by itself, and FFmpeg's.
AUDIO_SUFFIXES = frozenset(
    {
        *(".mp3", ".flac", ".ogg", ".oga", ".opus", ".wav", ".wave", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf"),
        *(".m4a", ".mp4", ".aac", ".wma", ".webm", ".mka", ".ape", ".wv", ".mpc", ".ac3"),
    }
)

# What FFmpeg may take a file for. Others of its formats are lists of further files and addresses, which it would open.
FFMPEG_FORMATS = (
    *("mp3", "flac", "ogg", "wav", "w64", "aiff", "au", "caf", "mov", "mp4", "m4a", "matroska", "webm", "asf", "aac"),
    *("ac3", "eac3", "dts", "truehd", "ape", "wv", "mpc", "mpc8", "tta", "tak", "shn", "dsf", "iff", "amr", "awb"),
    *("oma", "rm", "avi", "flv", "mpeg", "mpegts", "voc", "adx", "xwma", "nut"),
)

# Of these, those whose header says how long the sound is; for others FFmpeg guesses.
KNOW_THEIR_LENGTH = frozenset(
    {"flac", "wav", "w64", "aiff", "mov,mp4,m4a,3gp,3g2,mj2", "asf", "ape", "wv", "tta", "mpc8"}
)

# A header may promise a little more than there is (encoder padding, a rounded length); a file cut short lacks more.
TOLERATED_LOSS, TOLERATED_LOSS_S = 0.01, 0.1

# Samples, of all channels, that are decoded at a time: a minute and a half of stereo at 44.1 kHz, 32 MiB.
BLOCK_VALUES = 2**23

# Weights of all filters of a resampler. Rates that share too small a divisor would need thousands, each as long.
MOST_WEIGHTS = 2**22
# Hz; beyond any converter, and a resampler's filters grow with the higher, as what it makes does with the lower.
LOWEST_RATE, HIGHEST_RATE = 1_000, 1_000_000

Block = npt.NDArray[np.float32]  # of samples (n, channels)


class DecodingError(ArtistidError):
    """A file whose audio cannot be had whole."""


class NoAudioError(DecodingError):
    """A file that is no audio, as far as can be told here."""


class TooLongError(DecodingError):
    """A file that holds more sound than is asked for."""


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


def decode_blocks(path: Path, sample_rate: int, most_hours: float = inf) -> Iterator[npt.NDArray[np.float32]]:
    """Decode a file a part at a time, so that hours of sound need no more memory than some minutes do.

    soundfile comes first (mp3, flac, ogg, wav); FFmpeg reads what soundfile cannot.

    Args:
        path: see :func:`decode`.
        sample_rate: of the result, in Hz.
        most_hours: of sound, by what is decoded, not by what a header says.

    Yields:
        Samples ``(n,)``; one after the other they are what :func:`decode` gives, to the bit.

    Raises:
        DecodingError: a file that can't be read, no audio (:class:`NoAudioError`), audio cut short or too long
            (:class:`TooLongError`), or samples that are not finite; names the file, and may come after the last block.
            An Ogg file, or an mp3 without a Xing header, that was cut short looks like a shorter one and cannot be told
            apart.
    """
    n_samples = n_bad = 0
    try:
        if path.stat().st_size == 0:
            raise DecodingError(f"{path}: the file is empty (0 bytes)")
        rate, native = _open_native(path)
        if not LOWEST_RATE <= rate <= HIGHEST_RATE:
            raise DecodingError(f"{path}: its rate is {rate} Hz: expected {LOWEST_RATE} to {HIGHEST_RATE} Hz")

        # Of a low rate each sample becomes many: what is made of a block is no larger than a block.
        most_at_once = max(1, BLOCK_VALUES * rate // max(rate, sample_rate))

        def counted() -> Iterator[npt.NDArray[np.float32]]:
            nonlocal n_samples, n_bad
            for samples in native:
                mono = _mean_of_channels(samples)
                n_samples += mono.size
                n_bad += mono.size - int(np.isfinite(mono).sum())
                if n_samples > most_hours * 3600 * rate:
                    raise TooLongError(f"{path}: lasts more than the {most_hours:g} hours that are taken")
                for first in range(0, max(1, mono.size), most_at_once):
                    yield mono[first : first + most_at_once]

        yield from resample_blocks(counted(), rate, sample_rate)
    except DecodingError:
        raise
    except OSError as error:
        raise DecodingError(f"{path}: cannot be read: {error.strerror or error}") from error
    except MemoryError as error:
        raise DecodingError(f"{path}: needs more memory than there is to decode it") from error
    except Exception as error:  # whatever a decoder raises, of the thousand things that are wrong with files
        raise DecodingError(f"{path}: cannot be decoded to its end ({_told(error)})") from error
    if n_samples == 0:
        raise DecodingError(f"{path}: holds no audio samples")
    if n_bad:
        raise DecodingError(f"{path}: {n_bad} of {n_samples} samples are not finite (NaN, infinite, too loud)")


def _mean_of_channels(samples: Block) -> npt.NDArray[np.float32]:
    """(n,) of (n, channels), a channel at a time: numpy's mean along so short an axis takes as long as decoding."""
    total = samples[:, 0]
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is counted, and told in words
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

    What they are off by, less than 1 in 2048, is a hundredth of a semitone.
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


def _open_native(path: Path) -> tuple[int, Iterator[Block]]:
    """A file's own rate in Hz, and its samples in blocks (n, channels)."""
    try:
        return _begun(_by_soundfile(path))
    except soundfile.SoundFileRuntimeError as error:
        return _begun(_by_ffmpeg(path, f"soundfile: {_told(error)}"))


def _begun(blocks: Iterator[tuple[int, Block]]) -> tuple[int, Iterator[Block]]:
    """The rate, and the blocks; the first is read, so that a file that a decoder does not read is left to the next."""
    rate, first = next(blocks)
    return rate, chain([first], (samples for _, samples in blocks))


def _by_soundfile(path: Path) -> Iterator[tuple[int, Block]]:
    """The file's own rate with each block; a file without samples gives one block of none."""
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
    _check_whole(path, promised / rate, n_read / rate)


def _check_whole(path: Path, promised_s: float, decoded_s: float) -> None:
    """Raises DecodingError for a file that has less than its header promises, in seconds."""
    if decoded_s < promised_s - max(TOLERATED_LOSS * promised_s, TOLERATED_LOSS_S):
        raise DecodingError(
            f"{path}: cut short: its header promises {promised_s:.1f} s, {decoded_s:.1f} s can be decoded"
        )


def _promised_bytes(libsndfile_log: str) -> tuple[int, int] | None:
    """(promised, found) bytes of a WAV file's data chunk, where libsndfile's log says that they differ."""
    match = re.search(r"^\s*data : (\d+) \(should be (\d+)\)", libsndfile_log, re.MULTILINE)
    return (int(match[1]), int(match[2])) if match else None


def _by_ffmpeg(path: Path, why: str) -> Iterator[tuple[int, Block]]:
    """As :func:`_by_soundfile`, frame by frame: what a header says of the length is not asked.

    Raises:
        NoAudioError: what FFmpeg does not take for audio either; ``why`` says what soundfile made of it.
    """
    import av  # here, since most music does without

    # No protocol: a file is what it holds, and nothing that it names.
    options = {"format_whitelist": ",".join(FFMPEG_FORMATS), "protocol_whitelist": "none"}
    with path.open("rb") as file:
        try:
            container = av.open(file, "r", options=options, metadata_errors="replace")
        except (av.FFmpegError, ValueError) as error:
            raise NoAudioError(f"{path}: cannot be decoded ({why}; FFmpeg: {_told(error)})") from None
        with container:
            if not container.streams.audio:
                raise NoAudioError(f"{path}: cannot be decoded ({why}; FFmpeg: it has no audio)")
            stream = container.streams.audio[0]
            n_read, rate = 0, stream.rate
            for rate, samples in _in_blocks(path, _frames(path, container, stream)):
                yield rate, samples
                n_read += len(samples)
            if n_read == 0:
                raise NoAudioError(f"{path}: cannot be decoded ({why}; FFmpeg: it finds no sound)")
            if container.format.name in KNOW_THEIR_LENGTH and stream.duration and stream.time_base:
                _check_whole(path, float(stream.duration * stream.time_base), n_read / rate)


def _frames(path: Path, container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
    """FFmpeg's frames, of some milliseconds each.

    Raises:
        DecodingError: after the last frame, where more than a few could not be decoded.
    """
    import av

    n_packets = n_bad = 0
    for packet in container.demux(stream):
        n_packets += 1
        try:
            yield from packet.decode()
        except av.InvalidDataError:  # players go on with the next one, too
            n_bad += 1
    if n_bad > max(1, TOLERATED_LOSS * n_packets):
        raise DecodingError(f"{path}: damaged: {n_bad} of its {n_packets} packets cannot be decoded")


def _in_blocks(path: Path, frames: Iterator[AudioFrame]) -> Iterator[tuple[int, Block]]:
    """Frames as :func:`_by_soundfile` gives a file, with one rate and one number of channels.

    Raises:
        DecodingError: a frame that is unlike those before it.
    """
    first: AudioFrame | None = None
    held: list[Block] = []
    n_values = 0
    for frame in frames:
        first = first or frame
        if (now := _shape(frame)) != (then := _shape(first)):
            raise DecodingError(
                f"{path}: changes from {then[0]} Hz and {then[1]} channels to {now[0]} Hz and {now[1]} at "
                f"{frame.time or 0:.1f} s: expected the same throughout"
            )
        held.append(_as_float(frame))
        n_values += held[-1].size
        if n_values >= BLOCK_VALUES:
            yield frame.sample_rate, np.concatenate(held)
            held, n_values = [], 0
    if first and held:
        yield first.sample_rate, np.concatenate(held)


def _shape(frame: AudioFrame) -> tuple[int, int]:
    return frame.sample_rate, frame.layout.nb_channels


def _as_float(frame: AudioFrame) -> Block:
    """The samples ``(n, channels)`` of a frame, integers of full scale brought to [-1, 1]."""
    samples = frame.to_ndarray()
    samples = samples.T if frame.format.is_planar else samples.reshape(-1, frame.layout.nb_channels)
    if samples.dtype.kind == "f":
        return samples.astype(np.float32)
    middle = 128 if samples.dtype.kind == "u" else 0
    return ((samples - np.float32(middle)) / np.float32(2 ** (8 * samples.dtype.itemsize - 1))).astype(np.float32)


def _told(error: Exception) -> str:
    """A decoder's own words: libsndfile's, the system's or FFmpeg's, or what else is raised."""
    words = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return words.rstrip(".") or type(error).__name__
