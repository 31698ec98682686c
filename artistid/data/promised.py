"""The length of the audio by a file's header, where that can be trusted, to notice truncated files.

A song's length is that of its decoded audio. Headers only tell whether something is missing; and not all do, since many
are guesses, or were written to a pipe before there was any audio.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from av import AudioStream
    from av.container import InputContainer

# FFmpeg's names of the formats whose header counts the samples; for others FFmpeg estimates the duration.
COUNT_THEIR_SAMPLES = frozenset({"flac", "aiff", "mov,mp4,m4a,3gp,3g2,mj2", "ape", "wv", "tta", "mpc", "mpc8", "dsf"})

# A header may promise a little more than there is: encoder padding, a rounded length, a last frame of a few samples.
TOLERATED_LOSS = 0.01
TOLERATED = {"s": 0.1, "frames": 3.0, "bytes": 4096.0}

# Placeholders for a size that was not known yet when the header was written: 0, and values near the limits of 31 and 32
# bits (libsndfile, FFmpeg, SoX, arecord and mplayer each have their own).
PLACEHOLDERS = (range(1), range(0x7F00_0000, 0x8000_0010), range(0xFFFF_0000, 0x1_0000_0000))

MPEG_FRAME = 2881  # bytes of the longest
MPEG_HEADERS = {b"Xing": 8, b"Info": 8, b"VBRI": 14}  # by name, the offset from it to the number of frames
XING_FLAGS, XING_HAS_FRAMES = 7, 1  # offset of the last byte of the flags; one of them

ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
ASF_SIZE, ASF_FLAGS, ASF_BROADCAST = 40, 88, 1  # offsets within these; the flag of a header without lengths
ASF_HEADER = 2**16  # bytes in which to look for them

RIFF_HEAD = 2**16  # bytes in which to look for where the sound begins

OGG_PAGE = 2**16  # bytes; the longest has 65,307
OGG_FLAGS, OGG_LAST_PAGE = 5, 4


@dataclass
class Decoded:
    """What was decoded of a file.

    Attributes:
        seconds: of audio.
        n_packets: of the codec: frames of MPEG audio.
        first_at: offset of the first packet in the file, in bytes.
        broken_off: why FFmpeg found no further packets, though the file goes on; empty if it ended as it should.
    """

    seconds: float = 0.0
    n_packets: int = 0
    first_at: int | None = None
    broken_off: str = ""


def missing(file: BinaryIO, container: InputContainer, stream: AudioStream, decoded: Decoded) -> str | None:
    """Says what the header promises but is missing; empty if nothing is, None if it promises nothing."""
    promises = (
        *((seconds, decoded.seconds, "s") for seconds in _seconds(container, stream)),
        *((frames, decoded.n_packets, "frames") for frames in _mpeg_frames(file, container, decoded.first_at)),
        *((size, found, "bytes") for size, found in _bytes(file, container, decoded.first_at)),
    )
    for promised, found, unit in promises:
        if found < promised - max(TOLERATED_LOSS * promised, TOLERATED[unit]):
            digits = 1 if unit == "s" else 0
            return f"its header promises {promised:.{digits}f} {unit}, {found:.{digits}f} are there"
    return "" if promises else None


def corrected_sizes(file: BinaryIO) -> dict[int, bytes]:
    """Replacement bytes by offset for the header of a WAV or similar file, so that all of its audio is read.

    An RF64 header written to a pipe has zeros for sizes: it is read as RIFF. And where a RIFF file goes on after its
    audio with anything but a chunk, its size is outdated: the recorder ended before writing the final one.
    """
    head = _read(file, 0, RIFF_HEAD)
    if head[:4] in (b"RF64", b"BW64") and not any(head[28:36]):
        return {0: b"RIFF"}
    if head[:4] != b"RIFF":
        return {}
    at = 12
    while head[at : at + 4] not in (b"data", b""):
        size = int.from_bytes(head[at + 4 : at + 8], "little")
        at += 8 + size + size % 2
    size, there = int.from_bytes(head[at + 4 : at + 8], "little"), file.seek(0, os.SEEK_END)
    behind = at + 8 + size + size % 2
    if not head[at : at + 4] or _is_placeholder(size) or there <= behind + TOLERATED["bytes"]:
        return {}
    name_and_size = _read(file, behind, behind + 8)
    is_chunk = name_and_size[:4].isascii() and name_and_size[:4].decode("ascii").isprintable()
    if is_chunk and behind + 8 + int.from_bytes(name_and_size[4:], "little") <= there + 1:
        return {}
    return {at + 4: b"\xff\xff\xff\xff"}


def lacks_its_last_page(path: Path) -> bool:
    """Whether this is an Ogg file whose last page is not marked as the last: it was cut, or recorded from a station."""
    with path.open("rb") as file:
        if file.read(4) != b"OggS":
            return False
        size = file.seek(0, os.SEEK_END)
        end = _read(file, size - 2 * OGG_PAGE, size)
    flags = end[end.rfind(b"OggS") + OGG_FLAGS :][:1]
    return not (flags and flags[0] & OGG_LAST_PAGE)


def _seconds(container: InputContainer, stream: AudioStream) -> Iterator[float]:
    if container.format.name in COUNT_THEIR_SAMPLES and stream.duration and stream.time_base:
        seconds = float(stream.duration * stream.time_base)
        if not _is_placeholder(round(seconds * stream.rate) * _bytes_per_sample(stream)):
            yield seconds
    elif container.format.name == "matroska,webm":  # whose duration is that of the longest stream
        if length := stream.metadata.get("DURATION"):
            hours, minutes, seconds_of_it = length.split(":")
            yield int(hours) * 3600 + int(minutes) * 60 + float(seconds_of_it)
        elif container.duration and len(container.streams) == 1:
            yield container.duration / 1e6


def _bytes_per_sample(stream: AudioStream) -> int:
    return stream.codec_context.format.bytes * stream.codec_context.layout.nb_channels


def _mpeg_frames(file: BinaryIO, container: InputContainer, first_at: int | None) -> Iterator[int]:
    """The number of MPEG frames by a Xing, Info or VBRI header, which is a frame itself, right before the first."""
    if container.format.name != "mp3" or not first_at:
        return
    before = _read(file, first_at - MPEG_FRAME, first_at)
    for name, offset in MPEG_HEADERS.items():
        header = before[before.rfind(name) :] if name in before else b""
        counts = name == b"VBRI" or (len(header) > XING_FLAGS and header[XING_FLAGS] & XING_HAS_FRAMES)
        if counts and len(header) >= offset + 4:
            yield int.from_bytes(header[offset : offset + 4], "big")


def _bytes(file: BinaryIO, container: InputContainer, first_at: int | None) -> Iterator[tuple[int, int]]:
    """Sizes by the header, each with the actual one: of the audio, or of the whole file."""
    there = file.seek(0, os.SEEK_END)
    if container.format.name == "asf":
        head = _read(file, 0, ASF_HEADER)
        at = head.find(ASF_FILE_PROPERTIES)
        if at >= 0 and len(head) >= at + ASF_FLAGS + 4:
            (size,) = struct.unpack_from("<Q", head, at + ASF_SIZE)
            (flags,) = struct.unpack_from("<I", head, at + ASF_FLAGS)
            if size and not flags & ASF_BROADCAST:
                yield size, there
    elif first_at is not None:
        size = _size_of_sound(_read(file, 0, 64), _read(file, first_at - 24, first_at))
        if size is not None and not _is_placeholder(size):
            yield size, there - first_at


def _size_of_sound(head: bytes, before: bytes) -> int | None:
    """Bytes of audio, by the field right before it in formats that are made of chunks.

    Args:
        head: the file's first bytes.
        before: the 24 bytes before the audio.
    """
    match head[:4], before[-8:-4]:
        case b"RIFF", b"data":
            return int.from_bytes(before[-4:], "little")
        case b"RIFX", b"data":
            return int.from_bytes(before[-4:], "big")
        case ((b"RF64" | b"BW64"), b"data") if head[12:16] == b"ds64":
            return int.from_bytes(head[28:36], "little")
        case b"riff", _ if before[:4] == b"data":  # Sony Wave64: 16 bytes of name, and the size counts the 24 of both
            return max(0, int.from_bytes(before[-8:], "little") - 24)
        case b"caff", _ if before[-16:-12] == b"data":  # and four bytes that count edits
            return max(0, int.from_bytes(before[-12:-4], "big", signed=True) - 4)
        case b"FORM", _ if before[-16:-12] == b"SSND":  # and an offset and a block size
            return max(0, int.from_bytes(before[-12:-8], "big") - 8)
        case b".snd", _:
            return int.from_bytes(head[8:12], "big")
    return None


def _is_placeholder(size: int) -> bool:
    return any(size in sizes for sizes in PLACEHOLDERS) or size >= 2**62


def _read(file: BinaryIO, first: int, last: int) -> bytes:
    file.seek(max(0, first))
    return file.read(last - max(0, first))
