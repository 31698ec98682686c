"""Decoding: any audio file to mono samples at one rate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import FileIO
from itertools import chain, groupby
from math import inf
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt
import soxr
from packaging.version import Version

from artistid.data.promised import Decoded, corrected_sizes, missing
from artistid.errors import ArtistidError, counted
from artistid.places import no_file

if TYPE_CHECKING:
    import av
    from av import AudioStream
    from av.container import InputContainer

# The endings that count as audio when a folder is scanned.
AUDIO_SUFFIXES = frozenset(
    {
        *(".mp3", ".flac", ".ogg", ".oga", ".opus", ".wav", ".wave", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf"),
        *(".m4a", ".m4b", ".m4r", ".mp4", ".aac", ".3ga", ".wma", ".webm", ".weba", ".mka", ".mp1", ".mp2", ".mpga"),
        *(".ac3", ".eac3", ".ec3", ".dts", ".ape", ".wv", ".mpc", ".tta", ".tak", ".w64", ".rf64", ".spx"),
        *(".dsf", ".dff"),
    }
)

# Formats that FFmpeg may detect. Some of its others are lists of further files and addresses, which it would open.
FFMPEG_FORMATS = (
    *("mp3", "flac", "ogg", "wav", "w64", "aiff", "au", "caf", "mov", "mp4", "m4a", "matroska", "webm", "asf", "aac"),
    *("ac3", "eac3", "dts", "truehd", "ape", "wv", "mpc", "mpc8", "tta", "tak", "shn", "dsf", "iff", "amr", "awb"),
    *("oma", "rm", "avi", "flv", "mpeg", "mpegts", "voc", "adx", "xwma", "nut"),
)

# Share of packets inside a file that may be undecodable. Without a container, anything between two frames is taken for
# packets, such as the cover in the tag of a concatenated file.
TOLERATED_LOSS, TOLERATED_JUNK = 0.01, 1.0
WITHOUT_CONTAINER = frozenset({"mp3", "aac", "ac3", "eac3", "dts"})
# Changes of rate or channels allowed, plus one per second. Concatenated files have one at each joint.
MOST_CHANGES = 3

# Samples, over all channels, decoded at a time: a minute and a half of stereo at 44.1 kHz, 32 MiB.
BLOCK_VALUES = 2**23
SHORTEST_BLOCK = 2**17  # samples; longer than any window

# Hz; wider than any converter's range. A resampler's output grows as its input rate falls.
LOWEST_RATE, HIGHEST_RATE = 1_000, 1_000_000

TOO_MANY_PLANES = 8  # channels of a planar frame: PyAV reads one plane too many and crashes

Block = npt.NDArray[np.float32]  # samples (n, channels)


class DecodingError(ArtistidError):
    """A file that cannot be decoded completely."""


class NoAudioError(DecodingError):
    """A file that is not recognised as audio."""


class TooLongError(DecodingError):
    """A file that is longer than the limit."""


def decode(path: Path, sample_rate: int) -> npt.NDArray[np.float32]:
    """Decode a whole file to mono, the mean of the channels, and resample it.

    Args:
        path: an audio file of any rate and channel count.
        sample_rate: Hz of the result.

    Returns:
        Samples ``(n,)``, float32, nominally in [-1, 1].

    Raises:
        DecodingError: see :func:`decode_blocks`.
    """
    blocks = list(decode_blocks(path, sample_rate))
    return np.concatenate(blocks) if len(blocks) > 1 else blocks[0]


def decode_blocks(path: Path, sample_rate: int, most_hours: float = inf) -> Iterator[npt.NDArray[np.float32]]:
    """Decode a file block by block, so that hours of audio need no more memory than a few minutes.

    The duration is that of the decoded audio; the header's only serves to detect missing audio.

    Args:
        path: see :func:`decode`.
        sample_rate: Hz of the result.
        most_hours: limit on the decoded duration, whatever the header says.

    Yields:
        Samples ``(n,)``; concatenated, they equal the result of :func:`decode` bit for bit.

    Raises:
        DecodingError: unreadable file, no audio (:class:`NoAudioError`), truncated audio, audio that is too long
            (:class:`TooLongError`), or samples that are not finite; names the file, and may come after the last block.
            Not all truncation is noticed: a truncated mp3 without a Xing header looks like a shorter one.
    """
    tally = _Tally(path, most_hours)
    try:
        if kind := no_file(path):
            raise DecodingError(f"{path}: is {kind}: expected a file")
        if path.stat().st_size == 0:
            raise DecodingError(f"{path}: the file is empty (0 bytes)")
        blocks = _in_native_blocks(path)
        parts = (
            resample_blocks(_mono_blocks(part, rate, sample_rate, tally), rate, sample_rate)
            for rate, part in groupby(blocks, key=itemgetter(0))
        )
        n_samples = 0
        for block in _without_crumbs(chain.from_iterable(parts)):
            n_samples += len(block)
            yield block
    except DecodingError:
        raise
    except OSError as error:
        raise DecodingError(f"{path}: cannot be read: {error.strerror or error}") from error
    except MemoryError as error:
        raise DecodingError(f"{path}: needs more memory to decode than is available") from error
    except Exception as error:  # decoders raise all kinds of exceptions on broken files
        raise DecodingError(f"{path}: cannot be decoded to its end ({_reason(error)})") from error
    if tally.n_samples == 0:
        raise DecodingError(f"{path}: holds no audio samples")
    if n_samples == 0:
        raise DecodingError(f"{path}: too short for one sample at {sample_rate} Hz")
    if tally.n_bad:
        raise DecodingError(
            f"{path}: not finite (NaN, infinite, too loud): {tally.n_bad:,} of {counted(tally.n_samples, 'sample')}"
        )


@dataclass
class _Tally:
    """Totals of what was decoded so far."""

    path: Path
    most_hours: float
    n_samples: int = 0
    n_bad: int = 0
    seconds: float = 0.0

    def count(self, mono: npt.NDArray[np.float32], rate: int) -> None:
        self.n_samples += mono.size
        self.n_bad += mono.size - int(np.isfinite(mono).sum())
        self.seconds += mono.size / rate
        if self.seconds > self.most_hours * 3600:
            raise TooLongError(f"{self.path}: lasts more than {self.most_hours:g} hours")


def _mono_blocks(
    part: Iterable[tuple[int, Block]], rate: int, sample_rate: int, tally: _Tally
) -> Iterator[npt.NDArray[np.float32]]:
    """Mono blocks ``(n,)`` of a part that has one rate, to be resampled to ``sample_rate``."""
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise DecodingError(f"{tally.path}: its rate is {rate} Hz: expected {LOWEST_RATE} to {HIGHEST_RATE} Hz")
    # Upsampling multiplies samples: blocks are split so that the output is no larger than a block.
    most_at_once = max(1, BLOCK_VALUES * rate // max(rate, sample_rate))
    for _, samples in part:
        mono = _mean_of_channels(samples)
        tally.count(mono, rate)
        for first in range(0, mono.size, most_at_once):
            yield mono[first : first + most_at_once]


def _without_crumbs(blocks: Iterable[npt.NDArray[np.float32]]) -> Iterator[npt.NDArray[np.float32]]:
    """The blocks, merged so that all but the last are longer than any feature window."""
    held = np.empty(0, np.float32)
    for block in blocks:
        held = np.concatenate([held, block]) if len(held) else block
        if len(held) >= SHORTEST_BLOCK:
            yield held
            held = held[:0]
    if len(held):
        yield held


def _mean_of_channels(samples: Block) -> npt.NDArray[np.float32]:
    """(n,) of (n, channels), channel by channel: numpy's mean over so short an axis takes as long as decoding."""
    total = samples[:, 0]
    with np.errstate(over="ignore", invalid="ignore"):  # non-finite samples are counted and reported
        for channel in range(1, samples.shape[1]):
            total = total + samples[:, channel]
    return total / np.float32(samples.shape[1])


def resample(samples: npt.NDArray[np.float32], rate: int, sample_rate: int) -> npt.NDArray[np.float32]:
    """Band-limited resampling of (n,) samples from ``rate`` to ``sample_rate``, both in Hz."""
    return np.concatenate([*resample_blocks([samples], rate, sample_rate), np.empty(0, np.float32)])


def resample_blocks(
    blocks: Iterable[npt.NDArray[np.float32]], rate: int, sample_rate: int
) -> Iterator[npt.NDArray[np.float32]]:
    """As :func:`resample` of the concatenated blocks ``(n,)``, bit for bit, but in blocks."""
    if rate == sample_rate:
        yield from blocks
        return
    # Very high quality: aliases stay far below the features' 80 dB range, and lower quality is hardly faster.
    stream = soxr.ResampleStream(rate, sample_rate, num_channels=1, dtype=np.float32, quality="VHQ")

    def resampled() -> Iterator[npt.NDArray[np.float32]]:
        for block in blocks:
            yield stream.resample_chunk(block)
        yield stream.resample_chunk(np.empty(0, np.float32), last=True)

    yield from _without_crumbs(resampled())


def _in_native_blocks(path: Path) -> Iterator[tuple[int, Block]]:
    """A file's samples in blocks (n, channels), each with its own rate in Hz.

    FFmpeg reads to the end whatever the header says. libsndfile, which trusts headers, gets what FFmpeg rejects.
    """
    try:
        yield from _by_ffmpeg(path)
    except NoAudioError as error:
        try:
            yield from _by_libsndfile(path)
        except NoAudioError as other:
            raise NoAudioError(f"{path}: cannot be decoded (FFmpeg: {error}; libsndfile: {other})") from None


def _by_ffmpeg(path: Path) -> Iterator[tuple[int, Block]]:
    """Blocks by FFmpeg, each with the file's own rate.

    Raises:
        NoAudioError: before the first block, FFmpeg's reason for not recognising the file as audio.
    """
    import av  # here and below, since code that only lists files must work where FFmpeg cannot be loaded

    # No protocols: FFmpeg must not open what a file refers to.
    options = {"format_whitelist": ",".join(FFMPEG_FORMATS), "protocol_whitelist": "none"}
    # Tags that are not UTF-8 must not matter here. From 19 on, PyAV always tolerates them, and has no such setting.
    tolerant: dict[str, Any] = {"metadata_errors": "replace"} if Version(av.__version__).major < 19 else {}
    with _opened(path) as file:
        try:
            container = av.open(file, "r", options=options, **tolerant)
        except (av.FFmpegError, OSError, ValueError) as error:  # OSError: a seek to an impossible offset
            raise NoAudioError(_reason(error)) from None
        with container:
            if not container.streams.audio:
                raise NoAudioError("it has no audio")
            stream = container.streams.audio[0]
            if stream.codec_context.name == "flac":  # else FFmpeg decodes damaged frames to noise
                stream.codec_context.options = {"err_detect": "crccheck+explode"}
            decoded = Decoded()
            yield from _in_blocks(path, _frames(path, container, stream, decoded), decoded)
            if not decoded.seconds:
                raise NoAudioError("it finds no sound")
            if lacking := missing(file, container, stream, decoded):
                raise DecodingError(f"{path}: cut short: {lacking}")
            if lacking is None and decoded.broken_off:
                raise DecodingError(f"{path}: cannot be decoded to its end ({decoded.broken_off})")


def _opened(path: Path) -> BinaryIO:
    with path.open("rb") as file:
        corrections = corrected_sizes(file)
    return _Corrected(path, corrections) if corrections else path.open("rb")


class _Corrected(FileIO):
    """A file with some of its bytes replaced."""

    def __init__(self, path: Path, corrections: dict[int, bytes]) -> None:
        super().__init__(path)
        self._corrections = corrections

    def read(self, size: int | None = -1, /) -> bytes:
        start = self.tell()
        content = bytearray(super().read(size) or b"")
        for offset, replacement in self._corrections.items():
            for at, value in enumerate(replacement, offset - start):
                if 0 <= at < len(content):
                    content[at] = value
        return bytes(content)


def _frames(path: Path, container: InputContainer, stream: AudioStream, decoded: Decoded) -> Iterator[av.AudioFrame]:
    """FFmpeg's frames, of some milliseconds each.

    Raises:
        DecodingError: after the last frame, where more than a few could not be decoded. What cannot be at the very end
            is not part of the song: tags of a kind of their own, or padding.
    """
    import av

    n_bad = n_bad_since = 0
    for packet in _packets(container, stream, decoded):
        if decoded.first_at is None:
            decoded.first_at = packet.pos
        try:
            frames = packet.decode()
        except (av.InvalidDataError, av.EOFError):  # players skip it, too
            n_bad_since += 1
            continue
        if packet.size:
            decoded.n_packets += 1
            n_bad, n_bad_since = n_bad + n_bad_since, 0
        yield from frames
    tolerated = TOLERATED_JUNK if container.format.name in WITHOUT_CONTAINER else TOLERATED_LOSS
    if n_bad > max(1, tolerated * decoded.n_packets):
        n_packets = counted(n_bad + decoded.n_packets, "packet")
        raise DecodingError(f"{path}: damaged: {n_bad:,} of its {n_packets} cannot be decoded")


def _packets(container: InputContainer, stream: AudioStream, decoded: Decoded) -> Iterator[av.Packet[AudioStream]]:
    import av

    try:
        yield from container.demux(stream)
    except av.InvalidDataError as error:  # trailing junk or a truncated file: its header may tell
        decoded.broken_off = _reason(error)


def _in_blocks(path: Path, frames: Iterable[av.AudioFrame], decoded: Decoded) -> Iterator[tuple[int, Block]]:
    """Join frames into blocks of one rate and channel layout each; their seconds are added up in ``decoded``.

    Raises:
        DecodingError: they change too often. Concatenated files may change at each joint.
    """
    import av

    held, shape, n_changes = av.AudioFifo(), None, -1
    for frame in frames:
        if shape != (shape := (frame.sample_rate, frame.layout.name, frame.format.name)):
            yield from _emptied(held)
            held, n_changes = av.AudioFifo(), n_changes + 1
            if n_changes > MOST_CHANGES + decoded.seconds:
                raise DecodingError(
                    f"{path}: changes its rate or channels {counted(n_changes, 'time')} in {decoded.seconds:.1f} s: "
                    f"expected at most {MOST_CHANGES}, and one per second"
                )
        decoded.seconds += frame.samples / frame.sample_rate
        frame.pts = None  # gaps, which some formats have, would be refused by the FIFO
        held.write(frame)
        if held.samples * frame.layout.nb_channels >= BLOCK_VALUES:
            yield from _emptied(held)
    yield from _emptied(held)


def _emptied(held: av.AudioFifo) -> Iterator[tuple[int, Block]]:
    if frame := held.read() if held.samples else None:
        yield frame.sample_rate, _as_float(frame)


def _as_float(frame: av.AudioFrame) -> Block:
    """The samples ``(n, channels)`` of a frame, integers scaled to [-1, 1]."""
    if frame.format.is_planar and frame.layout.nb_channels >= TOO_MANY_PLANES:
        import av

        (frame,) = av.AudioResampler(format=frame.format.packed).resample(frame)
    samples = frame.to_ndarray()
    samples = samples.T if frame.format.is_planar else samples.reshape(-1, frame.layout.nb_channels)
    if samples.dtype.kind == "f":
        return samples.astype(np.float32, copy=False)
    middle = 128 if samples.dtype.kind == "u" else 0
    return ((samples - np.float32(middle)) / np.float32(2 ** (8 * samples.dtype.itemsize - 1))).astype(np.float32)


def _by_libsndfile(path: Path) -> Iterator[tuple[int, Block]]:
    """As :func:`_by_ffmpeg`."""
    import soundfile  # here, since few files need it

    # Opened here: soundfile would pass on the name in an encoding that not all systems use for file names.
    with path.open("rb") as file:
        try:
            sound = soundfile.SoundFile(file.fileno(), closefd=False)
        except soundfile.SoundFileRuntimeError as error:
            raise NoAudioError(_reason(error)) from None
        with sound:
            while len(samples := sound.read(BLOCK_VALUES // sound.channels, dtype="float32", always_2d=True)):
                yield sound.samplerate, samples


def _reason(error: Exception) -> str:
    """The message of libsndfile, the system or FFmpeg, or else the exception's name."""
    words = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return words.rstrip(".") or type(error).__name__
