from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from artistid.synthesis import SAMPLE_RATE
from artistid.synthesis.instruments import Waveform
from artistid.synthesis.production import EQUALISER_HZ, Production, draw_production, produce

NEUTRAL = draw_production(np.random.default_rng(0), 0.0)


@pytest.fixture(scope="module")
def music() -> Waveform:
    """Five seconds of bursts of noise with rests between them."""
    rng = np.random.default_rng(0)
    gate = np.repeat(np.tile([1.0, 0.0], 10), SAMPLE_RATE // 4)
    return (0.1 * rng.standard_normal(5 * SAMPLE_RATE) * gate).astype(np.float32)


def produced(samples: Waveform, production: Production) -> Waveform:
    return produce(samples, production, np.random.default_rng(1))


def band(samples: Waveform, low: float, high: float) -> float:
    """Level in dB."""
    power = np.abs(np.fft.rfft(samples)) ** 2
    hz = np.fft.rfftfreq(len(samples), 1.0 / SAMPLE_RATE)
    return float(10.0 * np.log10(power[(hz >= low) & (hz < high)].mean()))


def level(samples: Waveform) -> float:
    return float(10.0 * np.log10(np.mean(samples**2)))


def test_albums_of_strength_0_sound_alike_and_others_do_not() -> None:
    assert draw_production(np.random.default_rng(5), 0.0) == NEUTRAL
    assert draw_production(np.random.default_rng(5), 1.0) != draw_production(np.random.default_rng(6), 1.0)


@pytest.mark.parametrize("strength", [0.0, 1.0, 3.0, 30.0])
def test_no_strength_breaks_the_sound(music: Waveform, strength: float) -> None:
    for seed in range(4):
        out = produced(music, draw_production(np.random.default_rng(seed), strength))
        assert out.shape == music.shape
        assert out.dtype == np.float32
        assert np.isfinite(out).all()
        assert np.abs(out).max() <= 1.0
        assert level(out) > -30.0


def test_strength_works_smoothly(music: Waveform) -> None:
    outs = [produced(music, draw_production(np.random.default_rng(3), s)) for s in (0.0, 0.01, 1.0)]
    spectra = np.array([[band(out, low, 1.5 * low) for low in 80.0 * 1.5 ** np.arange(11)] for out in outs])
    small, large = np.abs(spectra[1:] - spectra[0]).max(axis=1)
    assert small < 0.3
    assert large > 2.0


@pytest.mark.parametrize("place", range(len(EQUALISER_HZ) - 1))
def test_the_equaliser_lifts_its_band(music: Waveform, place: int) -> None:
    centre = EQUALISER_HZ[place]
    lifted = replace(NEUTRAL, equaliser=tuple(8.0 * (i == place) for i in range(len(EQUALISER_HZ))))
    gain = band(produced(music, lifted), 0.9 * centre, 1.1 * centre) - band(
        produced(music, NEUTRAL), 0.9 * centre, 1.1 * centre
    )
    assert gain > 2.0


def test_a_long_room_fills_the_rests(music: Waveform) -> None:
    rests = np.repeat(np.tile([False, True], 10), SAMPLE_RATE // 4)
    short, long = (produced(music, replace(NEUTRAL, reverberation=seconds, wetness=-6.0)) for seconds in (0.25, 2.0))
    assert level(long[rests]) > level(short[rests]) + 2.0


def test_the_compressor_brings_loud_and_soft_together(music: Waveform) -> None:
    swell = (music * np.repeat([0.1, 1.0], len(music) // 2)).astype(np.float32)
    half = len(music) // 2
    contrast = [
        level(out[half:]) - level(out[:half])
        for ratio in (1.0, 5.0)
        for out in [produced(swell, replace(NEUTRAL, ratio=ratio, drive=0.5, threshold=-34.0))]
    ]
    assert contrast[1] < contrast[0] - 3.0


def test_saturation_adds_harmonics() -> None:
    tone = (0.14 * np.sin(2.0 * np.pi * 500.0 * np.arange(SAMPLE_RATE) / SAMPLE_RATE)).astype(np.float32)
    third = [
        band(out, 1490.0, 1510.0) - band(out, 490.0, 510.0)
        for drive in (0.5, 4.0)
        for out in [produced(tone, replace(NEUTRAL, drive=drive, noise=-90.0, loudness=-24.0))]
    ]
    assert third[1] > third[0] + 10.0


def test_the_low_pass_takes_the_top_away(music: Waveform) -> None:
    dull, bright = (produced(music, replace(NEUTRAL, lowpass=hz)) for hz in (4200.0, 7800.0))
    assert band(dull, 6000.0, 7500.0) < band(bright, 6000.0, 7500.0) - 10.0


def test_the_noise_floor_is_where_it_should_be_and_new_for_every_song() -> None:
    pulse = np.zeros(4 * SAMPLE_RATE, dtype=np.float32)
    pulse[: SAMPLE_RATE // 10] = 0.5
    quiet = slice(3 * SAMPLE_RATE, None)
    dry = replace(NEUTRAL, reverberation=0.25)
    low, high = (produced(pulse, replace(dry, noise=noise)) for noise in (-72.0, -42.0))
    assert level(high[quiet]) - level(low[quiet]) == pytest.approx(30.0, abs=1.0)
    other = produce(pulse, replace(dry, noise=-42.0), np.random.default_rng(2))
    assert abs(np.corrcoef(high[quiet], other[quiet])[0, 1]) < 0.05


def test_the_master_is_as_loud_as_it_says(music: Waveform) -> None:
    for loudness in (-24.0, -18.0, -12.0):
        assert level(produced(music, replace(NEUTRAL, loudness=loudness))) == pytest.approx(loudness, abs=1.5)
