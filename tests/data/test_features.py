from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from artistid.data.descriptors import load_librosa
from artistid.data.features import LogMel
from artistid.errors import ArtistidError
from tests.corpus import make_song

RATE = 16000
CONF = Path(__file__).parents[2] / "conf" / "features" / "logmel.yaml"


def librosa_log_mel(samples: np.ndarray, settings: LogMel) -> np.ndarray:
    """Log-mel (frames, mel) in dB, by librosa."""
    librosa = load_librosa()
    power = librosa.feature.melspectrogram(
        y=samples,
        sr=settings.sample_rate,
        n_fft=settings.n_fft,
        hop_length=settings.hop_length,
        n_mels=settings.n_mels,
        fmin=settings.f_min,
        fmax=settings.f_max,
        htk=settings.mel_scale == "htk",
        pad_mode=settings.pad_mode,  # type: ignore[arg-type]
    )
    return librosa.power_to_db(power, ref=1.0, amin=settings.amin, top_db=settings.top_db).T


def noise(seconds: float) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, round(seconds * RATE)).astype(np.float32)


def tone_and_silence() -> np.ndarray:
    time = np.arange(2 * RATE) / RATE
    return (0.9 * np.sin(2 * np.pi * 1000 * time) * (time < 1)).astype(np.float32)


SIGNALS = {
    "noise": noise(3.7),
    "faint noise": 1e-4 * noise(1.0),
    "tone, then silence": tone_and_silence(),
    "bright song": make_song(1, np.random.default_rng(1), 3.0),
    "dull song": make_song(2, np.random.default_rng(2), 3.0),
    "one window": noise(2048 / RATE),
}


@pytest.mark.parametrize("pad_mode", ["constant", "reflect"])
@pytest.mark.parametrize("mel_scale", ["slaney", "htk"])
@pytest.mark.parametrize("name", SIGNALS)
def test_it_agrees_with_librosa(name: str, mel_scale: str, pad_mode: str) -> None:
    settings = LogMel(mel_scale=mel_scale, pad_mode=pad_mode)
    ours = settings(SIGNALS[name])
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, librosa_log_mel(SIGNALS[name], settings), rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    "change", [{"n_fft": 1024, "hop_length": 256}, {"n_mels": 40}, {"f_min": 50, "f_max": 4000}, {"top_db": None}]
)
def test_other_settings_agree_with_librosa(change: dict[str, Any]) -> None:
    settings = replace(LogMel(), **change)
    np.testing.assert_allclose(settings(noise(1.0)), librosa_log_mel(noise(1.0), settings), rtol=0, atol=1e-3)


@pytest.mark.parametrize("n_samples", [1, 160, 511, 512, 513, 16000, 48000])
@pytest.mark.parametrize("pad_mode", ["constant", "reflect"])
def test_number_of_frames(n_samples: int, pad_mode: str) -> None:
    log_mel = LogMel(pad_mode=pad_mode)(noise(3.0)[:n_samples])
    assert log_mel.shape == (1 + n_samples // 512, 128)
    assert np.isfinite(log_mel).all()


def test_the_floor_is_80_db_below_the_songs_loudest_value() -> None:
    settings = LogMel()
    for gain in (1.0, 0.1):
        log_mel = settings(np.float32(gain) * tone_and_silence())
        assert log_mel.max() - log_mel.min() == pytest.approx(80, abs=1e-4)
        assert (log_mel[-20:] == log_mel.min()).all()
    assert replace(settings, top_db=None)(tone_and_silence()).min() == pytest.approx(-100)


def test_silence_is_one_value() -> None:
    (value,) = np.unique(LogMel()(np.zeros(RATE, np.float32)))
    assert value == pytest.approx(-100)


def test_the_configuration_holds_the_defaults() -> None:
    assert instantiate(OmegaConf.load(CONF)) == LogMel()


def test_settings_that_are_equal_have_one_form() -> None:
    assert repr(LogMel(f_max=8000, f_min=0).plain()) == repr(LogMel().plain())
    assert LogMel(**LogMel(mel_scale="htk").plain()) == LogMel(mel_scale="htk")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mel_scale": "bark"}, r"features\.mel_scale=bark: expected one of slaney, htk"),
        ({"pad_mode": "wrap"}, r"features\.pad_mode=wrap: expected one of constant, reflect"),
        ({"f_max": 9000}, r"features\.f_max=9000\.0 Hz.*8000\.0 Hz"),
        ({"f_min": 8000}, r"features\.f_min=8000\.0"),
        ({"f_min": -1}, r"features\.f_min=-1\.0"),
        ({"hop_length": 0}, r"features\.hop_length=0"),
        ({"n_mels": -1}, r"features\.n_mels=-1"),
        ({"amin": 0}, r"features\.amin=0\.0"),
        ({"top_db": -80}, r"features\.top_db=-80\.0"),
    ],
)
def test_settings_out_of_range(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ArtistidError, match=message):
        LogMel(**change)
