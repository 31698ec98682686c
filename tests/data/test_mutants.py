"""Thousands of broken files of every format: each is heard, or has an error of its own in one sentence."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from artistid.data.audio import DecodingError
from artistid.data.features import LogMel
from artistid.data.song import Limits, crashed, read_song, start_decoders
from artistid.processes import OverdueError, WorkerDiedError
from tests.data.encoders import ENCODERS, encode
from tests.thorough import THOROUGH

Mutation = Callable[[bytes, np.random.Generator], bytes]

LIMITS = Limits(hours=1, minutes=0.5, memory_gb=1)
MOST_MIB = 1024
PER_FORMAT = 84 if THOROUGH else 8

# By soundfile: ending, container if it is another, and subtype.
NATIVE = (
    ("wav", None, "PCM_16"),
    ("wav", None, "FLOAT"),
    ("wav", None, "IMA_ADPCM"),
    ("w64", None, "PCM_24"),
    ("wav", "RF64", "PCM_16"),
    ("flac", None, "PCM_16"),
    ("mp3", None, "MPEG_LAYER_III"),
    ("ogg", None, "VORBIS"),
    ("opus", "OGG", "OPUS"),
    ("aiff", None, "PCM_16"),
    ("au", None, "FLOAT"),
    ("caf", None, "ALAC_16"),
)
# By other people's programs, where they are installed; {} is a WAV file, then what to write.
PROGRAMS = {
    "lame.mp3": ("lame", "--quiet", "-V", "5", "{}", "{}"),
    "nogapless.mp3": ("lame", "--quiet", "-t", "-b", "64", "{}", "{}"),
    "flac.flac": ("flac", "--silent", "--best", "-o", "{1}", "{0}"),
    "oggenc.ogg": ("oggenc", "-Q", "-o", "{1}", "{0}"),
    "opusenc.opus": ("opusenc", "--quiet", "{}", "{}"),
    "ffmpeg.mp4": ("ffmpeg", "-v", "error", "-i", "{}", "-movflags", "+frag_keyframe+empty_moov", "{}"),
    "ffmpeg.amr.mka": ("ffmpeg", "-v", "error", "-i", "{}", "-c:a", "adpcm_ms", "{}"),
}


def flip_bits(content: bytes, generator: np.random.Generator) -> bytes:
    data = np.frombuffer(content, np.uint8).copy()
    many = int(generator.choice([1, 10, len(data) // 100 + 1]))
    data[generator.integers(len(data), size=many)] ^= (1 << generator.integers(8, size=many)).astype(np.uint8)
    return data.tobytes()


def break_header(content: bytes, generator: np.random.Generator) -> bytes:
    data = bytearray(content)
    for at in generator.integers(min(len(data), 200), size=generator.integers(1, 6)):
        data[at] = generator.integers(256)
    return bytes(data)


def claim_much(content: bytes, generator: np.random.Generator) -> bytes:
    """Large numbers where sizes, rates and counts stand."""
    at = int(generator.integers(min(len(content), 400)))
    extreme = [b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x00\x00\x00\x80", b"\x00\x00\x00\x00", b"\xff" * 8]
    number = extreme[generator.integers(len(extreme))]
    return content[:at] + number + content[at + len(number) :]


def cut(content: bytes, generator: np.random.Generator) -> bytes:
    return content[: generator.integers(1, len(content))]


def cut_out(content: bytes, generator: np.random.Generator) -> bytes:
    first, last = sorted(generator.integers(len(content), size=2))
    return content[:first] + content[last:]


def repeat_a_part(content: bytes, generator: np.random.Generator) -> bytes:
    first, last = sorted(generator.integers(len(content), size=2))
    return content[:last] + content[first:last] * int(generator.integers(1, 20)) + content[last:]


def blank(content: bytes, generator: np.random.Generator) -> bytes:
    first, last = sorted(generator.integers(len(content), size=2))
    return content[:first] + bytes(int(last - first)) + content[last:]


def noise(content: bytes, generator: np.random.Generator) -> bytes:
    first, last = sorted(generator.integers(len(content), size=2))
    return content[:first] + generator.bytes(int(last - first)) + content[last:]


MUTATIONS: tuple[Mutation, ...] = (flip_bits, break_header, claim_much, cut, cut_out, repeat_a_part, blank, noise)


def make_songs(folder: Path) -> dict[str, Path]:
    """A song of three seconds in every format, by a name for it."""
    rate = 24000
    time = np.arange(3 * rate) / rate
    generator = np.random.default_rng(0)
    tone = 0.3 * np.sin(2 * np.pi * 440 * time) + 0.1 * generator.standard_normal(len(time))
    stereo = np.stack([tone, tone[::-1]]).astype(np.float32)
    songs = {}
    for ending, container, subtype in NATIVE:
        name = f"{subtype.lower()}-{container or ending}.{ending}"
        soundfile.write(folder / name, stereo.T, rate, subtype, format=container)
        songs[name] = folder / name
    for codec in ENCODERS:
        hertz = 48000 if "opus" in codec else 44100
        wide = np.repeat(stereo, 2, axis=1)  # to last as long at the encoders' rates, nearly
        songs[codec] = encode(folder, codec, wide, hertz).rename(folder / codec)
    wav = folder / "source.wav"
    soundfile.write(wav, stereo.T, rate)
    for name, command in PROGRAMS.items():
        if shutil.which(command[0]):
            files = iter((wav, folder / name))
            words = [str(next(files)) if word == "{}" else word.format(wav, folder / name) for word in command]
            subprocess.run(words, check=True, capture_output=True, stdin=subprocess.DEVNULL)
            songs[name] = folder / name
    return songs


def make_mutants(folder: Path, songs: dict[str, Path], per_format: int) -> Iterator[Path]:
    """Broken copies, some under the ending of another format."""
    generator = np.random.default_rng(0)
    endings = sorted({path.suffix for path in songs.values()})
    for name, song in songs.items():
        for number in range(per_format):
            content = song.read_bytes()
            for _ in range(generator.integers(1, 3)):
                content = MUTATIONS[number % len(MUTATIONS)](content, generator) or b"\0"
            ending = song.suffix if generator.random() < 0.8 else endings[generator.integers(len(endings))]
            path = folder / f"{Path(name).stem}-{number}{ending}"
            path.write_bytes(content)
            yield path


def hear(path: Path) -> tuple[str, int]:
    """In a process apart: the error, if any, and the most memory that it took, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():
        Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew
    error = ""
    try:
        read_song(path, LogMel(), LIMITS)
    except DecodingError as told:
        error = str(told)
    peak = re.search(r"VmHWM:\s+(\d+)", status.read_text()) if status.exists() else None
    return error, int(peak[1]) // 1024 if peak else 0


@pytest.mark.slow
def test_every_broken_file_is_heard_or_has_its_error(tmp_path: Path) -> None:
    songs = make_songs(tmp_path)
    (tmp_path / "mutants").mkdir()
    mutants = list(make_mutants(tmp_path / "mutants", songs, PER_FORMAT))
    found: Counter[str] = Counter()
    most, odd = 0, []
    with start_decoders(2, LIMITS) as pool:
        for song in songs.values():
            assert pool.submit(hear, song).result()[0] == "", "the songs themselves are sound"
        for path, future in zip(mutants, pool.map(hear, mutants, ahead=8), strict=True):
            try:
                error, peak = future.result()
            except OverdueError:
                found["hangs"] += 1
                odd.append(path.name)
                continue
            except WorkerDiedError as death:
                error, peak = str(crashed(path, death)), 0
                found["decoders that died of it"] += 1
            found["heard" if not error else "errors"] += 1
            most = max(most, peak)
            if error and (not error.startswith(f"{path}: ") or "\n" in error):
                odd.append(error)
            if peak > MOST_MIB:
                found["> 1 GB"] += 1
                odd.append(f"{path.name}: {peak} MiB")
    print(
        f"\nmutants: {len(mutants)} of {len(songs)} formats, heard {found['heard']}, errors {found['errors']}; "
        f"crashes 0, decoders that died {found['decoders that died of it']}, hangs {found['hangs']}, "
        f"> 1 GB {found['> 1 GB']} (at most {most} MiB)"
    )
    assert odd == []
    assert found["heard"] + found["errors"] == len(mutants)
    assert found["heard"] > 0.05 * len(mutants)  # broken, but not beyond all hearing
    assert found["errors"] > 0.05 * len(mutants)
