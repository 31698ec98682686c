"""Songs of known length in every guise: encoder settings, headers, tags, and what befalls files on their way."""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from itertools import product
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import soundfile

SECONDS = 6.0


@dataclass(frozen=True)
class Cell:
    """One file of the table.

    Attributes:
        name: what it is, in words.
        ending: of the file.
        content: makes its bytes.
        seconds: that are in it; NaN where that cannot be told.
        cut: whether something is missing that can be noticed.
    """

    name: str
    ending: str
    content: Callable[[], bytes]
    seconds: float = SECONDS
    cut: bool = False

    def write(self, folder: Path) -> Path:
        path = folder / f"song{self.ending}"
        path.write_bytes(self.content())
        return path


@cache
def song(rate: int, channels: int = 2) -> npt.NDArray[np.float32]:
    """Samples ``(channels, n)``: a second and a half of loud noise, then a quiet glide, so that no guess holds."""
    time = np.arange(round(rate * SECONDS)) / rate
    glide = 0.1 * np.sin(2 * np.pi * (100 * time + 40 * time**2))
    noise = 0.5 * np.random.default_rng(0).standard_normal(len(time)) * (time < 1.5)
    return np.tile((glide + noise).clip(-1, 1).astype(np.float32), (channels, 1))


class Pipe(io.BytesIO):
    """What cannot go back to write its header anew."""

    seek = None  # type: ignore[assignment]
    tell = None  # type: ignore[assignment]


@cache
def encoded(
    muxer: str,
    codec: str,
    rate: int = 44100,
    channels: int = 2,
    piped: bool = False,
    bit_rate: int | None = None,
    codec_options: tuple[tuple[str, str], ...] = (),
    **muxer_options: str,
) -> bytes:
    """The song by FFmpeg's encoders and muxers."""
    file = Pipe() if piped else io.BytesIO()
    layout = "stereo" if channels == 2 else "mono"
    with av.open(file, "w", format=muxer, options=muxer_options) as container:
        stream = container.add_stream(codec, rate=rate, layout=layout, options=dict(codec_options))
        assert isinstance(stream, av.AudioStream)
        if bit_rate or codec == "wmav2":
            stream.bit_rate = bit_rate or 128_000
        frame = av.AudioFrame.from_ndarray(song(rate, channels), format="fltp", layout=layout)
        frame.sample_rate = rate
        resampler = av.AudioResampler(stream.format, layout, rate, stream.frame_size or None)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        # The last of FLAC's packets is empty: its header, anew. Other muxers take none.
        container.mux([packet for packet in stream.encode(None) if packet.size or muxer == "flac"])
    return file.getvalue()


MP3_MODES: dict[str, dict[str, object]] = {
    "CBR": {"bit_rate": 64000},
    "VBR": {"codec_options": (("flags", "+qscale"), ("global_quality", str(4 * 118)))},
    "ABR": {"bit_rate": 64000, "codec_options": (("abr", "1"),)},
}
MP3_RATES = {"MPEG-1": 44100, "MPEG-2": 22050, "MPEG-2.5": 11025}
SAMPLES_PER_FRAME = {"MPEG-1": 1152, "MPEG-2": 576, "MPEG-2.5": 576}
HEADERS = ("Xing", "VBRI", "none")
TAGS = {"no tag": 0, "tag of 1 kB": 1000, "tag of 500 kB": 500_000}


@cache
def mp3(mode: str, version: str, header: str) -> bytes:
    """Without any tag."""
    stream = encoded(
        "mp3",
        "libmp3lame",
        MP3_RATES[version],
        write_xing=str(int(header == "Xing")),
        id3v2_version="0",
        **MP3_MODES[mode],  # type: ignore[arg-type]
    )
    return vbri(stream, version) + stream if header == "VBRI" else stream


def vbri(stream: bytes, version: str) -> bytes:
    """A frame of silence with Fraunhofer's header, for the frames of a stream."""
    rate = MP3_RATES[version]
    index, factor = (5, 144) if version == "MPEG-1" else (8, 72)  # of 64 kbit/s
    size = factor * 64000 // rate
    n_frames = round(SECONDS * rate / SAMPLES_PER_FRAME[version]) + 1
    start = bytes([stream[0], stream[1] | 1, index << 4 | stream[2] & 0x0C, stream[3]])
    fields = struct.pack(">4sHHHIIHHHH", b"VBRI", 1, 0, 75, len(stream) + size, n_frames, 1, 1, 2, n_frames)
    return (start + bytes(32) + fields + b"\0\0").ljust(size, b"\0")


def id3(size: int, claimed: int | None = None) -> bytes:
    """An ID3v2.3 tag with a picture; ``claimed`` is the size that it says it has."""
    if not size:
        return b""
    picture = b"\0image/jpeg\0\3\0" + np.random.default_rng(1).bytes(size)
    frame = b"APIC" + struct.pack(">IH", len(picture), 0) + picture
    says = len(frame) if claimed is None else claimed
    return b"ID3\3\0\0" + bytes(says >> shift & 0x7F for shift in (21, 14, 7, 0)) + frame


# What befalls an mp3, made of its tag and its sound.
def whole(tag: bytes, sound: bytes) -> bytes:
    return tag + sound


def joined(tag: bytes, sound: bytes) -> bytes:
    return 2 * (tag + sound)


def joined_with_mono(tag: bytes, sound: bytes) -> bytes:
    version = {3: "MPEG-1", 2: "MPEG-2", 0: "MPEG-2.5"}[sound[1] >> 3 & 3]
    return tag + sound + encoded("mp3", "libmp3lame", MP3_RATES[version], 1, bit_rate=48000)


def behind_zeros(tag: bytes, sound: bytes) -> bytes:
    return bytes(2**16) + tag + sound


def before_junk(tag: bytes, sound: bytes) -> bytes:
    return tag + sound + np.random.default_rng(2).bytes(20_000)


def behind_a_tag_that_says_half(tag: bytes, sound: bytes) -> bytes:
    return id3(len(tag), len(tag) // 2) + sound


def cut_by_a_quarter(tag: bytes, sound: bytes) -> bytes:
    return tag + sound[: len(sound) * 3 // 4]


FATES: dict[Callable[[bytes, bytes], bytes], float] = {  # with the seconds that are in it afterwards
    whole: SECONDS,
    joined: 2 * SECONDS,
    joined_with_mono: 2 * SECONDS,
    behind_zeros: SECONDS,
    before_junk: SECONDS,
    behind_a_tag_that_says_half: SECONDS,
    cut_by_a_quarter: math.nan,  # by how much it is shorter depends on what is there
}


def mp3_cells() -> Iterator[Cell]:
    for mode, version, header, tag, fate in product(MP3_MODES, MP3_RATES, HEADERS, TAGS, FATES):
        if fate is behind_a_tag_that_says_half and not TAGS[tag]:
            continue
        name = f"mp3 {mode} {version}, header {header}, {tag}, {fate.__name__.replace('_', ' ')}"
        cut = fate is cut_by_a_quarter

        yield Cell(
            name, ".mp3", partial(befallen, mode, version, header, tag, fate), FATES[fate], cut=cut and header != "none"
        )


def befallen(mode: str, version: str, header: str, tag: str, fate: Callable[[bytes, bytes], bytes]) -> bytes:
    return fate(id3(TAGS[tag]), mp3(mode, version, header))


# By muxer and codec: what is written into a file, and into a pipe.
PCM = {
    "wav": ("wav", "pcm_s16le", {}),
    "wav of 24 bits": ("wav", "pcm_s24le", {}),
    "wav of floats": ("wav", "pcm_f32le", {}),
    "RF64": ("wav", "pcm_s16le", {"rf64": "always"}),
    "W64": ("w64", "pcm_s16le", {}),
    "AIFF": ("aiff", "pcm_s16be", {}),
    "CAF": ("caf", "pcm_s16be", {}),
    "AU": ("au", "pcm_s16be", {}),
}
ENDINGS = {"RF64": ".wav", "W64": ".w64", "AIFF": ".aiff", "CAF": ".caf", "AU": ".au"}
# As different programs leave the size of what they write into a pipe.
PIPED_SIZES = (0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0x7FFFF000, 0)

CODED = {
    ".flac": ("flac", "flac", 44100),
    ".opus": ("ogg", "libopus", 48000),
    ".oga": ("ogg", "flac", 44100),
}
# Of these a cut is noticed where the table says so: by a count of samples, or since nothing can be read.
OTHERS = {
    ".m4a": ("ipod", "aac", 44100, True),
    ".m4b": ("ipod", "alac", 44100, True),
    ".mp4": ("mp4", "aac", 44100, True),
    ".aac": ("adts", "aac", 44100, False),
    ".mp2": ("mp2", "mp2", 44100, False),
    ".ac3": ("ac3", "ac3", 44100, False),
    ".webm": ("webm", "libopus", 48000, True),
    ".mka": ("matroska", "flac", 44100, True),
    ".wma": ("asf", "wmav2", 44100, True),
    ".tta": ("tta", "tta", 44100, True),
    ".wv": ("wv", "wavpack", 44100, True),
}


def half_of(content: Callable[[], bytes]) -> bytes:
    return content()[: len(content()) // 2]


def twice(content: Callable[[], bytes]) -> bytes:
    """As radio recorders and `cat` leave it: of Ogg each part is a stream of its own."""
    once = content()
    return once + (renumbered(once) if once.startswith(b"OggS") else once)


def renumbered(ogg: bytes) -> bytes:
    """The same stream by another serial number: FFmpeg's pages have one, and a checksum."""
    pages, at = [], 0
    while at < len(ogg):
        n_segments = ogg[at + 26]
        size = 27 + n_segments + sum(ogg[at + 27 : at + 27 + n_segments])
        page = bytearray(ogg[at : at + size])
        page[14:18], page[22:26] = struct.pack("<I", 7), bytes(4)
        page[22:26] = struct.pack("<I", _ogg_crc(bytes(page)))
        pages.append(bytes(page))
        at += size
    return b"".join(pages)


def _ogg_crc(page: bytes) -> int:
    crc = 0
    for byte in page:
        crc = (crc << 8) & 0xFFFFFFFF ^ OGG_CRC[crc >> 24 ^ byte]
    return crc


def _ogg_crc_of(byte: int) -> int:
    crc = byte << 24
    for _ in range(8):
        crc = (crc << 1) ^ (0x04C11DB7 if crc & 0x80000000 else 0)
    return crc & 0xFFFFFFFF


OGG_CRC = [_ogg_crc_of(byte) for byte in range(256)]


def with_size(wav: bytes, size: int) -> bytes:
    """A WAV file whose header says ``size`` bytes."""
    at = wav.index(b"data") + 4
    return wav[:4] + struct.pack("<I", size) + wav[8:at] + struct.pack("<I", size) + wav[at + 4 :]


def with_total(flac: bytes, total: int) -> bytes:
    """A FLAC file whose STREAMINFO counts ``total`` samples."""
    at = 8 + 10  # behind the marker and the block's header: rate, channels and bits, of 28 bits; then 36 bits of total
    number = int.from_bytes(flac[at : at + 8], "big") >> 36 << 36 | total
    return flac[:at] + number.to_bytes(8, "big") + flac[at + 8 :]


def pcm_cells() -> Iterator[Cell]:
    for what, (muxer, codec, options) in PCM.items():
        ending = ENDINGS.get(what, ".wav")
        content = partial(encoded, muxer, codec, **options)
        yield Cell(f"{what}, whole", ending, content)
        yield Cell(f"{what}, cut", ending, partial(half_of, content), SECONDS / 2, cut=True)
        yield Cell(f"{what}, from a pipe", ending, partial(encoded, muxer, codec, piped=True, **options))
    yield Cell("wav that grew since its header", ".wav", lambda: with_size(encoded("wav", "pcm_s16le"), 100_000))
    for size in PIPED_SIZES:
        yield Cell(f"wav that says {size:#x}", ".wav", lambda size=size: with_size(encoded("wav", "pcm_s16le"), size))


def coded_cells() -> Iterator[Cell]:
    for ending, (muxer, codec, rate) in CODED.items():
        content = partial(encoded, muxer, codec, rate)
        name = f"{codec} in {muxer}"
        yield Cell(f"{name}, whole", ending, content)
        yield Cell(f"{name}, from a pipe", ending, partial(encoded, muxer, codec, rate, piped=True))
        yield Cell(f"{name}, chained", ending, partial(twice, content), 2 * SECONDS)
        yield Cell(f"{name}, cut", ending, partial(half_of, content), SECONDS / 2, cut=True)
    vorbis = partial(by_libsndfile, ".ogg", "VORBIS")
    yield Cell("vorbis in ogg, whole", ".ogg", vorbis)
    yield Cell("vorbis in ogg, chained", ".ogg", partial(twice, vorbis), 2 * SECONDS)
    yield Cell("vorbis in ogg, cut", ".ogg", partial(half_of, vorbis), SECONDS / 2, cut=True)
    for total in (0, 2 * 44100):
        flac = partial(encoded, "flac", "flac")
        yield Cell(f"flac with a total of {total}", ".flac", lambda total=total, flac=flac: with_total(flac(), total))
    for ending, (muxer, codec, rate, noticed) in OTHERS.items():
        content = partial(encoded, muxer, codec, rate)
        yield Cell(f"{codec} in {muxer}, whole", ending, content)
        yield Cell(f"{codec} in {muxer}, cut", ending, partial(half_of, content), SECONDS / 2, cut=noticed)


@cache
def by_libsndfile(ending: str, subtype: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, song(44100).T, 44100, subtype, format={".aiff": "AIFF"}.get(ending, ending[1:].upper()))
    return file.getvalue()


LIBSNDFILE = {".mp3": "MPEG_LAYER_III", ".flac": "PCM_16", ".wav": "PCM_24", ".aiff": "FLOAT"}


def table() -> list[Cell]:
    """All cells, by their names all different."""
    others = [
        Cell(f"libsndfile's {ending}, whole", ending, partial(by_libsndfile, ending, subtype))
        for ending, subtype in LIBSNDFILE.items()
    ]
    return [*mp3_cells(), *pcm_cells(), *coded_cells(), *others]
