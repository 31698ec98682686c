from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import pytest

from artistid.synthesis import SAMPLE_RATE
from artistid.synthesis.composing import Drum, Note
from artistid.synthesis.instruments import HIGHEST_HZ, Waveform, add, hertz, play_drum, play_tone, sing
from artistid.synthesis.style import Kit, Tone, Voice, read_traits, vector_size

T = TypeVar("T")


def middle(of: type[T], **changes: Any) -> T:
    """Every trait in the middle of its range but for those named."""
    traits = read_traits(of, np.zeros(vector_size(of)))
    return of(**{**vars(traits), **changes})


def spectrum(samples: Waveform) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies in Hz and power."""
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    return np.fft.rfftfreq(len(samples), 1.0 / SAMPLE_RATE), power


def centroid(samples: Waveform) -> float:
    hz, power = spectrum(samples)
    return float((hz * power).sum() / power.sum())


def share(samples: Waveform, low: float, high: float) -> float:
    hz, power = spectrum(samples)
    return float(power[(hz >= low) & (hz < high)].sum() / power.sum())


def test_concert_pitch() -> None:
    assert hertz(69) == 440.0
    assert hertz(57) == pytest.approx(220.0)


@pytest.mark.parametrize("engine", ["additive", "subtractive", "fm"])
def test_a_tone_has_its_pitch_and_dies_away(engine: str) -> None:
    tone = middle(Tone, engine=engine, detune=0.0, ratio=1.0, body_gain=0.0, release=0.05)
    wave = play_tone(tone, 57, 1.0)
    assert wave.dtype == np.float32
    assert len(wave) == round((1.0 + 4 * 0.05) * SAMPLE_RATE)
    hz, power = spectrum(wave)
    harmonics = sum(share(wave, 220.0 * k - 15.0, 220.0 * k + 15.0) for k in range(1, 35))
    assert harmonics > 0.98
    assert hz[np.argmax(power * (hz < 330.0))] == pytest.approx(220.0, abs=1.0)
    assert np.abs(wave[-100:]).max() < 0.05 * np.abs(wave).max()


@pytest.mark.parametrize("pitch", [33, 60, 96])
def test_wavetables_do_not_alias(pitch: int) -> None:
    tone = middle(Tone, engine="additive", tilt=4.0, detune=0.0, attack=0.03, tremolo=0.0)
    assert share(play_tone(tone, pitch, 0.5), HIGHEST_HZ + 100.0, SAMPLE_RATE) < 1e-4


def test_frequency_modulation_does_not_fold_back() -> None:
    wave = play_tone(middle(Tone, engine="fm", ratio=4.0, index=4.5, decay=10.0, detune=0.0, tremolo=0.0), 88, 0.5)
    harmonics = sum(share(wave, hertz(88) * k - 15.0, hertz(88) * k + 15.0) for k in range(1, 7))
    assert harmonics > 0.98


def test_upper_harmonics_die_first() -> None:
    wave = play_tone(middle(Tone, engine="additive", tilt=4.0, dulling=5.0, decay=0.5), 57, 1.5)
    half = len(wave) // 2
    assert share(wave[half:], 800.0, 8000.0) < 0.1 * share(wave[:half], 800.0, 8000.0)


def sung(seconds: float = 1.0, pitch: int = 57, **changes: object) -> Waveform:
    voice = middle(Voice, **{"breathiness": 0.0, "consonant": 0.0, "diphthong": 0.0, "scoop": 0.0, **changes})
    note = Note(0.0, seconds, pitch, 1.0)
    return sing(voice, [note], round(seconds * SAMPLE_RATE), np.random.default_rng(0))


def test_a_long_vocal_tract_is_dark() -> None:
    short, long = (sung(tract=tract, tilt=6.0) for tract in (1.25, 0.85))
    assert centroid(long) < 0.9 * centroid(short)


def test_vibrato_is_as_wide_as_it_says() -> None:
    """The spread of the pitch of the first harmonic, by the turning of its analytic phase."""
    for cents in (10.0, 60.0):
        wave = sung(2.0, vibrato=cents, vibrato_onset=0.01, tilt=11.0)
        spectrum = np.fft.fft(wave)
        hz = np.fft.fftfreq(len(wave), 1.0 / SAMPLE_RATE)
        first = np.fft.ifft(np.where((hz > 150.0) & (hz < 300.0), spectrum, 0.0))
        turning = np.diff(np.unwrap(np.angle(first)))[SAMPLE_RATE // 2 : -SAMPLE_RATE // 2] * SAMPLE_RATE / (2 * np.pi)
        width = 1200.0 * np.log2(np.percentile(turning, 98) / np.percentile(turning, 2)) / 2.0
        assert width == pytest.approx(cents, rel=0.25)


def test_consonants_and_breath_are_noise_above_the_tone() -> None:
    assert share(sung(consonant=1.0, breathiness=0.3, hiss=5000.0), 4000.0, 8000.0) > 20 * share(sung(), 4000.0, 8000.0)


def test_drums_lie_where_they_should() -> None:
    kit, rng = middle(Kit), np.random.default_rng(0)
    assert share(play_drum(kit, Drum.KICK, rng), 0.0, 250.0) > 0.8
    assert share(play_drum(kit, Drum.HAT, rng), 3000.0, 8000.0) > 0.8
    assert 0.2 < share(play_drum(kit, Drum.SNARE, rng), 800.0, 8000.0) < 0.98
    assert len(play_drum(kit, Drum.OPEN_HAT, rng)) > 3 * len(play_drum(kit, Drum.HAT, rng))
    toms = [centroid(play_drum(kit, drum, rng)) for drum in (Drum.LOW_TOM, Drum.MID_TOM, Drum.HIGH_TOM)]
    assert toms == sorted(toms)


def test_add_keeps_what_falls_inside() -> None:
    track = np.zeros(4, dtype=np.float32)
    ones = np.ones(3, dtype=np.float32)
    for start in (-2, 3, 9, -3):
        add(track, start, ones)
    assert track.tolist() == [1.0, 0.0, 0.0, 1.0]
