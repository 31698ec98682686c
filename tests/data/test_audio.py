from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import soundfile

from artistid.data.audio import AUDIO_SUFFIXES, DecodingError, decode, promised_seconds

RATE = 16000


def tone(rate: int, seconds: float = 1.0, hertz: float = 440.0) -> np.ndarray:
    time = np.arange(round(rate * seconds)) / rate
    return (0.5 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def inner(samples: np.ndarray) -> np.ndarray:
    """Without the ends, where a resampler rings and an encoder fades in."""
    return samples[RATE // 10 : -RATE // 10]


@pytest.mark.parametrize(
    ("name", "rate", "subtype", "tolerance"),
    [
        ("x.wav", 16000, "PCM_16", 1e-4),
        ("x.wav", 16000, "PCM_U8", 1e-2),
        ("x.wav", 48000, "PCM_24", 1e-4),
        ("x.wav", 44100, "FLOAT", 1e-4),
        ("x.WAV", 8000, "PCM_16", 1e-4),
        ("x.flac", 44100, "PCM_16", 1e-4),
        ("x.aiff", 22050, "PCM_16", 1e-4),
        ("x.ogg", 44100, "VORBIS", 2e-2),
        ("x.opus", 48000, "OPUS", 2e-2),
        ("x.mp3", 44100, "MPEG_LAYER_III", 2e-2),
        ("x.mp3", 16000, "MPEG_LAYER_III", 2e-2),
    ],
)
def test_any_format_and_rate(tmp_path: Path, name: str, rate: int, subtype: str, tolerance: float) -> None:
    container = "OGG" if name.endswith("opus") else None
    soundfile.write(tmp_path / name, tone(rate), rate, subtype, format=container)
    samples = decode(tmp_path / name, RATE)
    assert samples.dtype == np.float32
    assert len(samples) == RATE
    np.testing.assert_allclose(inner(samples), inner(tone(RATE)), atol=tolerance)
    assert Path(name).suffix.lower() in AUDIO_SUFFIXES


@pytest.mark.parametrize("rate", [44101, 15999, 192001])
def test_rates_that_share_no_divisor(tmp_path: Path, rate: int) -> None:
    soundfile.write(tmp_path / "x.wav", tone(rate), rate, "FLOAT")
    samples = decode(tmp_path / "x.wav", RATE)
    assert abs(len(samples) - RATE) <= 1
    assert np.corrcoef(inner(samples)[: RATE // 2], inner(tone(RATE))[: RATE // 2])[0, 1] > 0.99


def test_a_rate_beyond_any(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", tone(16000), 2_000_000_000, "FLOAT")
    with pytest.raises(DecodingError, match=r"x\.wav: its rate, 2000000000 Hz, is more than the 1000000 Hz"):
        decode(tmp_path / "x.wav", RATE)


@pytest.mark.parametrize("name", ["x.wav", "x.flac", "x.mp3", "x.ogg"])
def test_length_is_known_before_decoding(tmp_path: Path, name: str) -> None:
    soundfile.write(tmp_path / name, tone(44100, seconds=2.5), 44100)
    assert promised_seconds(tmp_path / name) == pytest.approx(2.5, abs=0.06)


def test_length_of_no_audio(tmp_path: Path) -> None:
    (tmp_path / "x.mp3").write_text("words", encoding="utf-8")
    with pytest.raises(DecodingError, match=r"x\.mp3"):
        promised_seconds(tmp_path / "x.mp3")


def test_channels_are_averaged(tmp_path: Path) -> None:
    levels = np.array([1.0, 0.5, 0.25, 0.0, -0.5, 0.25], np.float32)
    soundfile.write(tmp_path / "x.wav", tone(48000)[:, None] * levels, 48000, "FLOAT")
    np.testing.assert_allclose(inner(decode(tmp_path / "x.wav", RATE)), 0.25 * inner(tone(RATE)), atol=1e-4)


def test_nothing_folds_back_from_above_the_band(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", tone(44100, hertz=9000), 44100, "FLOAT")
    leaked = np.sqrt(np.mean(inner(decode(tmp_path / "x.wav", RATE)) ** 2))
    assert 20 * np.log10(leaked / np.sqrt(0.125)) < -80


@pytest.mark.parametrize("seconds", [0.01, 1 / 44100])
def test_very_short(tmp_path: Path, seconds: float) -> None:
    soundfile.write(tmp_path / "x.wav", tone(44100, seconds) + 0.1, 44100)
    assert len(decode(tmp_path / "x.wav", RATE)) == np.ceil(round(seconds * 44100) * RATE / 44100)


def test_silence(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.flac", np.zeros((44100, 2)), 44100)
    samples = decode(tmp_path / "x.flac", RATE)
    assert len(samples) == RATE
    assert not samples.any()


def test_decoding_repeats_exactly(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.mp3", tone(44100), 44100)
    assert np.array_equal(decode(tmp_path / "x.mp3", RATE), decode(tmp_path / "x.mp3", RATE))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_no_numbers(tmp_path: Path, value: float) -> None:
    samples = tone(RATE)
    samples[100:103] = value
    soundfile.write(tmp_path / "x.wav", samples, RATE, "FLOAT")
    with pytest.raises(DecodingError, match=r"x\.wav: 3 of 16000 samples are not finite"):
        decode(tmp_path / "x.wav", RATE)


@pytest.mark.parametrize("ending", ["wav", "mp3", "flac"])
@pytest.mark.parametrize("kept", [0.5, 0.9])
def test_a_file_cut_short(tmp_path: Path, ending: str, kept: float) -> None:
    path = tmp_path / f"x.{ending}"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 3 * 44100)
    soundfile.write(path, noise, 44100)
    assert len(decode(path, RATE)) == 3 * RATE
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(DecodingError, match=rf"x\.{ending}: c(ut short|annot be decoded)"):
        decode(path, RATE)


@pytest.mark.parametrize("name", ["x.mp3", "x.wav", "x.flac", "x.ogg", "x.m4a"])
@pytest.mark.parametrize("content", [b"This is no music. " * 200, bytes(5000), b"R"])
def test_a_file_that_is_no_audio(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DecodingError, match=rf"{name}: cannot be decoded") as error:
        decode(tmp_path / name, RATE)
    if importlib.util.find_spec("torchcodec") is None:
        assert "pip install torchcodec" in str(error.value)


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "x.mp3").touch()
    with pytest.raises(DecodingError, match=r"x\.mp3: the file is empty \(0 bytes\)"):
        decode(tmp_path / "x.mp3", RATE)


def test_a_header_without_samples(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", np.zeros(0), RATE)
    with pytest.raises(DecodingError, match=r"x\.wav: holds no audio samples"):
        decode(tmp_path / "x.wav", RATE)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "folder.mp3").mkdir()
    for name in ("gone.mp3", "folder.mp3"):
        with pytest.raises(DecodingError, match=f"{name}: cannot be read"):
            decode(tmp_path / name, RATE)
