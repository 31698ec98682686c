from __future__ import annotations

import io
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from filelock import FileLock

from artistid.errors import ArtistidError
from artistid.synthesis import SAMPLE_RATE
from artistid.synthesis.composing import compose
from artistid.synthesis.discography import (
    BIT_RATE,
    COMPOSER_VERSION,
    Discography,
    encode,
    record,
    recordings,
    write_discography,
)
from artistid.synthesis.style import draw_artist

TINY = Discography(n_artists=2, n_albums=2, n_songs=1, seconds=5.0)


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    write_discography(TINY, folder, workers=0)
    return folder


def test_artists_have_albums_have_numbered_songs() -> None:
    paths = [r.path for r in recordings(Discography(n_artists=3, n_albums=4, n_songs=12))]
    assert len(set(paths)) == 3 * 4 * 12
    assert Counter(path.parts[0] for path in paths) == Counter({path.parts[0]: 48 for path in paths})
    assert len({path.parent for path in paths}) == 12
    assert [path.name[:3] for path in paths[:12]] == [f"{n:02d}-" for n in range(1, 13)]
    assert {path.suffix for path in paths} == {".mp3"}


def test_what_is_written_is_what_is_listed(tiny: Path) -> None:
    assert sorted(contents(tiny)) == sorted(str(r.path) for r in recordings(TINY))


def test_files_are_16_khz_mono_mp3_at_a_constant_32_kbit(tiny: Path) -> None:
    assert BIT_RATE == 32_000
    for path in tiny.rglob("*.mp3"):
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.format) == (16_000, 1, "MP3")
        assert set(_frame_bit_rates(path.read_bytes())) == {32}


def _frame_bit_rates(mp3: bytes) -> list[int]:
    """kbit/s of every frame, from the headers (ISO/IEC 13818-3, layer III at the lower sampling frequencies)."""
    rates = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
    place, found = 0, []
    while place + 4 <= len(mp3):
        assert mp3[place] == 0xFF
        assert mp3[place + 1] & 0xFE == 0xF2, "MPEG-2, layer III"
        rate, padding = rates[mp3[place + 2] >> 4], mp3[place + 2] >> 1 & 1
        found.append(rate)
        place += 72 * rate * 1000 // 16_000 + padding
    return found


def test_what_is_read_back_is_what_was_recorded() -> None:
    samples = record(TINY, 0, 0, 0)
    decoded, rate = soundfile.read(io.BytesIO(encode(samples)), dtype="float32")
    assert rate == SAMPLE_RATE
    delay = 1105  # samples that LAME's encoder and every decoder put in front
    assert delay <= len(decoded) - len(samples) < delay + 2 * 576
    assert np.corrcoef(decoded[delay : delay + len(samples)], samples)[0, 1] > 0.95


def test_songs_last_as_long_as_asked_or_a_tenth_longer_whatever_the_dials() -> None:
    lengths = [len(record(TINY, 0, 0, song)) / SAMPLE_RATE for song in range(6)]
    assert len(set(lengths)) == 6
    assert all(5.0 <= length <= 5.5 for length in lengths)
    off = replace(TINY, style_strength=0.0, producer_strength=0.0)
    assert [len(record(off, 0, 0, song)) / SAMPLE_RATE for song in range(6)] == lengths


def test_the_same_settings_make_the_same_bytes_in_one_process_or_many(tiny: Path, tmp_path: Path) -> None:
    write_discography(TINY, tmp_path, workers=2)
    assert contents(tmp_path) == contents(tiny)


def test_another_seed_makes_other_names_and_songs(tiny: Path, tmp_path: Path) -> None:
    write_discography(replace(TINY, seed=1), tmp_path, workers=0)
    assert not set(contents(tmp_path)) & set(contents(tiny))
    assert not set(contents(tmp_path).values()) & set(contents(tiny).values())


@pytest.mark.parametrize("more", ["n_artists", "n_albums", "n_songs"])
def test_one_more_leaves_the_others_as_they_are(tiny: Path, tmp_path: Path, more: str) -> None:
    write_discography(replace(TINY, **{more: getattr(TINY, more) + 1}), tmp_path, workers=0)
    larger = contents(tmp_path)
    assert len(larger) > len(contents(tiny))
    assert {path: larger[path] for path in contents(tiny)} == contents(tiny)


def test_with_both_dials_at_0_only_the_song_s_own_seed_is_left() -> None:
    """What is heard depends on nothing but the song's stream: artist and album seeds change no sample."""
    off = replace(TINY, style_strength=0.0, producer_strength=0.0)
    artists = [draw_artist(np.random.default_rng([9, a]), off.style_strength) for a in range(2)]
    songs = [compose(artist, np.random.default_rng(1), 5.0) for artist in artists]
    assert songs[0] == songs[1]
    loudness = [20.0 * np.log10(np.std(record(off, artist, 0, 0))) for artist in range(6)]
    assert np.ptp(loudness) < 1.5


def test_two_processes_share_the_work(tiny: Path, tmp_path: Path) -> None:
    """The second one waits for the first, and then finds nothing left to do."""
    code = (
        "from pathlib import Path; from artistid.synthesis.discography import *; "
        f"write_discography({TINY!r}, Path({str(tmp_path)!r}), workers=0)"
    )
    with FileLock(tmp_path / ".lock"):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=3.0)
        assert contents(tmp_path) == {}
        for path in contents(tiny):
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_bytes(b"by the first")
    assert process.wait() == 0
    assert set(contents(tmp_path).values()) == {b"by the first"}


def test_an_interrupted_writing_is_completed_without_touching_the_rest(tiny: Path, tmp_path: Path) -> None:
    write_discography(TINY, tmp_path, workers=0)
    lost, *kept = sorted(tmp_path.rglob("*.mp3"))
    lost.unlink()
    half = lost.with_name(f".{lost.stem}-1.part")
    half.write_bytes(b"half")
    times = [path.stat().st_mtime_ns for path in kept]
    write_discography(TINY, tmp_path, workers=0)
    half.unlink()
    assert contents(tmp_path) == contents(tiny)
    assert [path.stat().st_mtime_ns for path in kept] == times


def test_a_killed_process_leaves_only_whole_files(tmp_path: Path) -> None:
    many = replace(TINY, n_songs=50)
    code = (
        "from pathlib import Path; from artistid.synthesis.discography import *; "
        f"write_discography({many!r}, Path({str(tmp_path)!r}), workers=0)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120.0
    while len(list(tmp_path.rglob("*.mp3"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    written = contents(tmp_path)
    assert 3 <= len(written) < 200
    by_path = {str(r.path): r for r in recordings(many)}
    for path, mp3 in written.items():
        if path.endswith(".mp3"):
            r = by_path[path]
            assert mp3 == encode(record(many, r.artist, r.album, r.song))


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("n_artists", 0, "whole number, 1 or more"),
        ("n_albums", 0, "whole number, 1 or more"),
        ("n_songs", -3, "whole number, 1 or more"),
        ("n_songs", 2.5, "whole number, 1 or more"),
        ("seconds", 4.9, "number, 5.0 or more"),
        ("seconds", float("nan"), "number, 5.0 or more"),
        ("seconds", float("inf"), "number, 5.0 or more"),
        ("seconds", "long", "number, 5.0 or more"),
        ("style_strength", -0.1, "number, 0.0 or more"),
        ("producer_strength", -1, "number, 0.0 or more"),
        ("seed", -1, "whole number, 0 or more"),
    ],
)
def test_a_setting_out_of_range_is_named(setting: str, value: object, expected: str) -> None:
    with pytest.raises(ArtistidError, match=rf"data\.{setting}={value}: expected a {expected}"):
        Discography(**{setting: value})  # type: ignore[arg-type]


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for workers in (0, 2):
        with pytest.raises(ArtistidError, match=r"cannot write .*file.*another cache_dir"):
            write_discography(TINY, tmp_path / "file" / "folder", workers)


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    first = next(recordings(TINY))
    (tmp_path / first.path / "in the way").mkdir(parents=True)
    with pytest.raises(ArtistidError, match=first.path.name):
        write_discography(TINY, tmp_path, workers=0)
    assert contents(tmp_path) == {}


def test_negative_workers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtistidError, match=r"data\.workers=-1"):
        write_discography(TINY, tmp_path, workers=-1)


def test_a_composer_that_sounds_different_has_another_version() -> None:
    """If this fails and the change is meant, raise COMPOSER_VERSION and put the new numbers here."""
    power = np.abs(np.fft.rfft(record(Discography(seconds=5.0), 1, 2, 3))) ** 2
    octaves = [10.0 * np.log10(power[2**k : 2 ** (k + 1)].mean()) for k in range(8, 15)]
    assert COMPOSER_VERSION == 2
    assert octaves == pytest.approx(LEVELS, abs=0.05)


LEVELS = [51.27, 50.04, 42.83, 42.74, 32.61, 28.07, 23.12]
