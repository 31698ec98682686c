from __future__ import annotations

import os
import struct
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from artistid.data.audio import (
    AUDIO_SUFFIXES,
    DecodingError,
    NoAudioError,
    TooLongError,
    decode,
    decode_blocks,
    resample,
    resample_blocks,
)
from tests.data.encoders import ENCODERS, encode

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
    # FFmpeg ends Vorbis at the end of a block.
    assert len(samples) == pytest.approx(RATE, abs=RATE // 100 if subtype == "VORBIS" else 0)
    ours, expected = inner(samples), inner(tone(RATE))
    n = min(len(ours), len(expected))
    np.testing.assert_allclose(ours[:n], expected[:n], atol=tolerance)
    assert Path(name).suffix.lower() in AUDIO_SUFFIXES


@pytest.mark.parametrize("rate", [44101, 15999, 192001])
def test_rates_that_share_no_divisor(tmp_path: Path, rate: int) -> None:
    soundfile.write(tmp_path / "x.wav", tone(rate), rate, "FLOAT")
    samples = decode(tmp_path / "x.wav", RATE)
    assert abs(len(samples) - RATE) <= 1
    assert np.corrcoef(inner(samples)[: RATE // 2], inner(tone(RATE))[: RATE // 2])[0, 1] > 0.9999


def test_a_rate_beyond_any(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", tone(16000), 2_000_000_000, "FLOAT")
    with pytest.raises(DecodingError, match=r"x\.wav: its rate is 2000000000 Hz: expected 1000 to 1000000 Hz"):
        decode(tmp_path / "x.wav", RATE)


@pytest.mark.parametrize("rate", [1, 3, 999])
@pytest.mark.parametrize("name", ["x.wav", "x.au"])
def test_a_rate_below_any(tmp_path: Path, name: str, rate: int) -> None:
    soundfile.write(tmp_path / name, tone(16000), rate, "FLOAT")
    with pytest.raises(DecodingError, match=rf"{name}: its rate is {rate} Hz: expected 1000 to 1000000 Hz"):
        decode(tmp_path / name, RATE)


@pytest.mark.parametrize("codec", ENCODERS)
def test_what_ffmpeg_decodes(tmp_path: Path, codec: str) -> None:
    path = encode(tmp_path, codec, np.stack([tone(48000, 3.0)] * 2), 48000)
    samples = decode(path, RATE)
    assert len(samples) == pytest.approx(3 * RATE, abs=0.1 * RATE)  # encoders begin and end with a frame or two
    spectrum = np.abs(np.fft.rfft(samples[RATE : 2 * RATE]))
    assert spectrum.argmax() == 440
    assert 2 * spectrum.max() / RATE == pytest.approx(0.5, rel=0.1)


def test_in_blocks_it_is_the_same(tmp_path: Path) -> None:
    """Longer than a block, of a decoder that knows what came before."""
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 100 * 44100)).astype(np.float32)
    path = encode(tmp_path, "aac.m4a", noise, 44100)
    blocks = list(decode_blocks(path, RATE))
    assert len(blocks) > 1
    assert len(np.concatenate(blocks)) == pytest.approx(100 * RATE, abs=0.1 * RATE)
    assert np.array_equal(np.concatenate(blocks), decode(path, RATE))


def test_a_header_that_lies_of_the_length(tmp_path: Path) -> None:
    """A browser's recording that says a second and has twenty."""
    path = encode(tmp_path, "opus.webm", np.stack([tone(48000, 20.0)]), 48000)
    content = bytearray(path.read_bytes())
    at = content.index(b"\x44\x89\x88") + 3  # Matroska's Duration, a float64 of milliseconds
    content[at : at + 8] = struct.pack(">d", 1000.0)
    path.write_bytes(content)
    assert len(decode(path, RATE)) == pytest.approx(20 * RATE, abs=0.1 * RATE)
    with pytest.raises(TooLongError, match=r"lasts more than 0\.005 hours"):
        list(decode_blocks(path, RATE, most_hours=0.005))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.mp3", "#EXTM3U\n#EXTINF:10,\n{there}\n"),
        ("x.m4a", "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://{there}\n#EXT-X-ENDLIST\n"),
        ("x.ogg", "ffconcat version 1.0\nfile {there}\n"),
        ("x.wma", "<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011'><BaseURL>{there}</BaseURL></MPD>"),
        ("x.aac", "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=audio 9 RTP/AVP 0\n"),
    ],
)
def test_a_file_opens_no_other(tmp_path: Path, name: str, content: str) -> None:
    """FFmpeg reads lists of files and addresses, too, whatever they are called."""
    soundfile.write(tmp_path / "there.wav", tone(RATE), RATE)
    (tmp_path / name).write_text(content.format(there=tmp_path / "there.wav"), encoding="utf-8")
    with pytest.raises(NoAudioError, match=rf"{name}: cannot be decoded"):
        decode(tmp_path / name, RATE)


def test_frames_of_other_channels_than_those_before(tmp_path: Path) -> None:
    """Frames of silence in stereo and mono in turn: some decoders crash where the number falls."""
    stereo, mono = bytes.fromhex("fffb9064"), bytes.fromhex("fffb90c4")  # MPEG-1 layer III, 128 kbit/s, 44.1 kHz
    (tmp_path / "x.mp3").write_bytes(b"".join(header + bytes(413) for header in [stereo, mono] * 200))
    with pytest.raises(DecodingError, match=r"x\.mp3: ") as error:
        decode(tmp_path / "x.mp3", RATE)
    assert "\n" not in str(error.value)


def test_loud_samples_that_have_no_mean(tmp_path: Path) -> None:
    loud = np.full((RATE, 2), 3e38, np.float32)
    soundfile.write(tmp_path / "x.wav", loud, RATE, "FLOAT")
    with pytest.raises(DecodingError, match=r"x\.wav: not finite .*too loud.*16,000 of 16,000 samples"):
        decode(tmp_path / "x.wav", RATE)


def test_channels_are_averaged(tmp_path: Path) -> None:
    levels = np.array([1.0, 0.5, 0.25, 0.0, -0.5, 0.25], np.float32)
    soundfile.write(tmp_path / "x.wav", tone(48000)[:, None] * levels, 48000, "FLOAT")
    np.testing.assert_allclose(inner(decode(tmp_path / "x.wav", RATE)), 0.25 * inner(tone(RATE)), atol=1e-4)


def test_nothing_folds_back_from_above_the_band(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", tone(44100, hertz=9000), 44100, "FLOAT")
    leaked = np.sqrt(np.mean(inner(decode(tmp_path / "x.wav", RATE)) ** 2))
    assert 20 * np.log10(leaked / np.sqrt(0.125)) < -80


@pytest.mark.parametrize("n_samples", [441, 2])
def test_very_short(tmp_path: Path, n_samples: int) -> None:
    soundfile.write(tmp_path / "x.wav", np.full(n_samples, 0.1), 44100)
    assert len(decode(tmp_path / "x.wav", RATE)) == round(n_samples * RATE / 44100)


def test_shorter_than_a_sample(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", [0.1], 44100)
    with pytest.raises(DecodingError, match=r"x\.wav: too short"):
        decode(tmp_path / "x.wav", RATE)


@pytest.mark.parametrize(("rate", "n_samples"), [(44100, 300_000), (44101, 1500), (8000, 777), (192_000, 50)])
def test_blocks_are_resampled_as_one(rate: int, n_samples: int) -> None:
    samples = np.random.default_rng(0).standard_normal(n_samples).astype(np.float32)
    blocks = np.split(samples, [1, 2, n_samples // 3, n_samples - 7])
    assert np.array_equal(np.concatenate([*resample_blocks(blocks, rate, RATE)]), resample(samples, rate, RATE))


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
    with pytest.raises(DecodingError, match=r"x\.wav: not finite.*3 of 16,000 samples"):
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
@pytest.mark.parametrize("content", [b"This is not music. " * 200, bytes(5000), b"R"])
def test_a_file_that_is_no_audio(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(NoAudioError, match=rf"{name}: cannot be decoded \(FFmpeg: .*; libsndfile: .*\)"):
        decode(tmp_path / name, RATE)


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


def test_rates_may_change_where_files_were_joined(tmp_path: Path) -> None:
    """Each part at its own; a song that changes all the time is none."""
    parts = []
    for rate, channels in ((44100, 2), (22050, 1), (48000, 2)):
        soundfile.write(tmp_path / "part.mp3", np.stack([tone(rate, 2.0)] * channels, axis=1), rate)
        parts.append((tmp_path / "part.mp3").read_bytes())
    (tmp_path / "x.mp3").write_bytes(b"".join(parts))
    samples = decode(tmp_path / "x.mp3", RATE)
    assert len(samples) == pytest.approx(6 * RATE, abs=0.2 * RATE)
    for middle in (1, 3, 5):
        spectrum = np.abs(np.fft.rfft(samples[middle * RATE : round((middle + 0.5) * RATE)]))
        assert 2 * spectrum.argmax() == 440


def test_a_hit_in_a_flac_costs_a_frame(tmp_path: Path) -> None:
    """Damaged frames are known by their checksums, not decoded to noise."""
    soundfile.write(tmp_path / "x.flac", np.stack([tone(44100, 20.0)] * 2, axis=1), 44100)
    content = bytearray((tmp_path / "x.flac").read_bytes())
    content[len(content) // 2 : len(content) // 2 + 20] = bytes(20)
    (tmp_path / "x.flac").write_bytes(content)
    samples = decode(tmp_path / "x.flac", RATE)
    assert 20 * RATE - 2 * 4608 < len(samples) < 20 * RATE
    assert np.abs(samples).max() < 0.55


def test_what_only_libsndfile_reads(tmp_path: Path) -> None:
    """AIFF from a pipe, whose sizes are 0, is one."""
    soundfile.write(tmp_path / "x.aiff", tone(44100), 44100)
    content = bytearray((tmp_path / "x.aiff").read_bytes())
    frames = content.index(b"COMM") + 10
    sizes = content.index(b"SSND") + 4
    content[4:8], content[frames : frames + 4], content[sizes : sizes + 4] = bytes(4), bytes(4), bytes(4)
    (tmp_path / "x.aiff").write_bytes(content)
    assert len(decode(tmp_path / "x.aiff", RATE)) == RATE


@pytest.mark.parametrize("channels", [5, 6, 8, 12])
@pytest.mark.parametrize("ending", ["wv", "wav", "tta"])
def test_many_channels(tmp_path: Path, channels: int, ending: str) -> None:
    """Also where a frame has a plane for each."""
    layout = {5: "5.0", 6: "5.1", 8: "7.1", 12: "7.1.4"}[channels]
    codec = {"wv": "wavpack", "wav": "pcm_f32le", "tta": "tta"}[ending]
    samples = np.stack([tone(RATE) / (1 + number) for number in range(channels)])
    with av.open(tmp_path / f"x.{ending}", "w") as file:
        stream = file.add_stream(codec, rate=RATE, layout=layout)
        assert isinstance(stream, av.AudioStream)
        for part in av.AudioResampler(stream.format, layout, RATE, 1024).resample(_frame(samples, layout)):
            file.mux(stream.encode(part))
        file.mux(stream.encode(None))
    found = decode(tmp_path / f"x.{ending}", RATE)
    n = min(len(found), len(samples[0]))
    assert n > 0.9 * RATE
    np.testing.assert_allclose(found[:n], samples.mean(axis=0)[:n], atol=1e-2)


def _frame(samples: np.ndarray, layout: str) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T).reshape(1, -1), format="flt", layout=layout)
    frame.sample_rate = RATE
    return frame


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    """To open it would wait for whoever writes into it."""
    os.mkfifo(tmp_path / "x.mp3")
    with pytest.raises(DecodingError, match=r"x\.mp3: is a pipe: expected a file"):
        decode(tmp_path / "x.mp3", RATE)
