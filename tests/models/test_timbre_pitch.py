from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.fft import dct

from artistid.data.pitch import LogPitch
from artistid.errors import ArtistidError
from artistid.models.timbre_pitch import LEVEL, PARTS, CepstralMoments, PitchIntervals, RhythmScales, TimbreAndPitch

FLOOR = -80.0


@pytest.fixture
def clips() -> torch.Tensor:
    """Two clips ``(batch, pitch, time)`` in dB."""
    return 10 * torch.randn(2, 30, 50, generator=torch.Generator().manual_seed(0)) - 40


def test_intervals_are_the_products_of_their_definition(clips: torch.Tensor) -> None:
    given = clips[1].numpy().astype(float)
    level = np.log1p(LEVEL * 10 ** ((given - given.max()) / 20))
    x = np.maximum(level - level.mean(axis=0), 0)
    energy = (x**2).sum(axis=0).mean()
    expected = []
    for lag, intervals in ((0, (1, 2)), (3, (-2, -1, 0, 1, 2))):
        for interval in intervals:
            pairs = [
                x[pitch, time] * x[pitch + interval, time + lag]
                for time in range(50 - lag)
                for pitch in range(30)
                if 0 <= pitch + interval < 30
            ]
            expected.append(sum(pairs) / (50 - lag) / energy)
    front = PitchIntervals(largest=2, lags=(0, 3))
    assert front(clips)[1].numpy() == pytest.approx(np.array(expected), rel=1e-4)


def test_another_key_has_the_same_intervals() -> None:
    melody = torch.full((1, 60, 100), FLOOR)
    for note in range(20):
        melody[0, 20 + note, 5 * note : 5 * note + 5] = -note
    transposed = torch.full_like(melody, FLOOR)
    transposed[:, 25:45] = melody[:, 20:40]
    assert torch.allclose(PitchIntervals()(melody), PitchIntervals()(transposed), atol=1e-5)
    assert not torch.allclose(PitchIntervals()(melody), PitchIntervals()(melody.flip(1)), atol=1e-2)  # falling


def test_a_louder_clip_has_the_same_intervals(clips: torch.Tensor) -> None:
    assert torch.allclose(PitchIntervals()(clips), PitchIntervals()(clips + 12), atol=1e-5)


def test_a_chord_and_a_step_are_found_where_they_are() -> None:
    """A fifth at once, and a note that comes a second, two semitones up, four rows later."""
    chord = torch.full((1, 40, 64), FLOOR)
    chord[:, [10, 17]] = 0
    at_once = PitchIntervals(lags=(0,))(chord)[0]
    assert at_once.argmax() == 7 - 1
    step = torch.full((1, 40, 64), FLOOR)
    for time in range(0, 64, 8):
        step[:, 10, time : time + 4] = 0
        step[:, 12, time + 4 : time + 8] = 0
    later = PitchIntervals(lags=(4,))(step)[0]
    assert later.argsort(descending=True)[:2].sort().values.tolist() == [24 - 2, 24 + 2]


def test_what_is_shorter_than_a_lag_says_nothing_of_it(clips: torch.Tensor) -> None:
    front = PitchIntervals(largest=2, lags=(0, 40))
    assert (front(clips[:, :, :30])[:, 2:] == 0).all()
    assert front(clips[:, :, :30])[:, :2].abs().sum() > 0


@pytest.mark.parametrize("level", [0.0, FLOOR])
def test_silence_is_finite(level: float) -> None:
    assert torch.isfinite(TimbreAndPitch(86, PARTS)(torch.full((1, 86, 1), level))).all()


def test_moments_are_those_of_the_cosine_transform(clips: torch.Tensor) -> None:
    cepstra = dct(clips[0].numpy().astype(float), axis=0, norm="ortho")[:4]
    expected = np.concatenate([cepstra.mean(axis=1), np.cov(cepstra)[np.triu_indices(4)]])
    assert CepstralMoments(30, 4)(clips)[0].numpy() == pytest.approx(expected, rel=1e-3, abs=1e-3)


def beats(pattern: str, rows_per_step: int, bin: int = 10) -> torch.Tensor:
    """A clip ``(1, 30, 320)`` in dB that repeats a pattern of sixteenths, one row long each, in one bin."""
    clip = torch.full((1, 30, 320), FLOOR)
    for step in range(320 // rows_per_step):
        if pattern[step % len(pattern)] == "x":
            clip[:, bin, rows_per_step * step] = 0
    return clip


def test_rhythm_is_the_scale_transform_of_its_definition(clips: torch.Tensor) -> None:
    given = clips[1].numpy().astype(float)
    level = np.log1p(LEVEL * 10 ** ((given - given.max()) / 20))
    onsets = np.maximum(np.diff(level, axis=1, prepend=level[:, :1]), 0)
    expected = []
    for band in np.array_split(onsets, 2):
        series = band.mean(axis=0) - band.mean()
        products = np.correlate(series, series, mode="full")[49 : 49 + 41]
        for scale in range(8):
            place = {lag: np.log(lag / 2) / np.log(20) for lag in range(2, 41)}
            terms = [
                products[lag] / products[0] * lag**-0.5 * np.sin(np.pi * at) ** 2 * np.exp(-2j * np.pi * scale * at)
                for lag, at in place.items()
            ]
            expected.append(abs(sum(terms)))
    front = RhythmScales(n_bands=2, n_scales=8, longest=40)
    assert front(clips)[1].numpy() == pytest.approx(np.array(expected), abs=1e-4)


def test_another_tempo_has_the_same_rhythm() -> None:
    patterns = ("x...x...x.x.x...", "x..x..x.", "x.xxx.xx")
    front = RhythmScales(n_bands=1)
    rhythm = {(pattern, rows): front(beats(pattern, rows)) for pattern in patterns for rows in (4, 5, 6, 7)}
    apart: dict[bool, list[float]] = {True: [], False: []}
    for (one, first), (other, second) in combinations(rhythm.items(), 2):
        apart[one[0] == other[0]].append(float((first - second).norm()))
    assert np.mean(apart[False]) > 2 * np.mean(apart[True])


def test_a_louder_clip_has_the_same_rhythm(clips: torch.Tensor) -> None:
    assert torch.allclose(RhythmScales()(clips), RhythmScales()(clips + 12), atol=1e-5)


def test_a_band_s_rhythm_is_its_own() -> None:
    low = RhythmScales(n_bands=3, n_scales=4)(beats("x...", 5, bin=2)).reshape(3, 4)
    assert (low[0] > 0).all()
    assert (low[1:] == 0).all()


def test_parts_are_side_by_side(clips: torch.Tensor) -> None:
    whole = TimbreAndPitch(30, PARTS)(clips)
    parts = [TimbreAndPitch(30, parts=[part])(clips) for part in PARTS]
    assert torch.equal(whole, torch.cat(parts, dim=1))
    assert [part.shape[1] for part in parts] == [3 * 30, 20 + 20 * 21 // 2, 24 + 6 * 49, 3 * 30]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"parts": ["melody"]}, "parts=melody"),
        ({"parts": []}, r"parts=\[\]"),
        ({"parts": ["cepstra", "cepstra"]}, "each once"),
        ({"n_cepstra": 31}, "n_cepstra=31"),
        ({"lags": [-1]}, r"lags=\[-1\]"),
        ({"lags": []}, r"lags=\[\]"),
    ],
)
def test_settings_out_of_range(settings: dict[str, object], named: str) -> None:
    with pytest.raises(ArtistidError, match=named):
        TimbreAndPitch(30, **settings)


@pytest.mark.parametrize("midi", [33, 45, 60, 69, 100, 118])
def test_a_tone_is_in_the_bin_of_its_number(midi: int) -> None:
    tone = np.sin(2 * np.pi * 440 * 2 ** ((midi - 69) / 12) * np.arange(48000) / 16000).astype(np.float32)
    rows = LogPitch()(tone)
    assert rows.shape == (1 + 48000 // 512, 86)
    assert 33 + rows[10:-10].mean(axis=0).argmax() == midi


def test_noise_is_as_loud_in_every_bin() -> None:
    """Each bin is the mean power under its triangle, however narrow that is."""
    noise = np.random.default_rng(0).standard_normal(16000 * 60).astype(np.float32)
    power = (10 ** (LogPitch(top_db=None)(noise) / 10)).mean(axis=0)
    assert power == pytest.approx(np.full(86, power.mean()), rel=0.2)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"n_pitches": 100}, "n_pitches=100"),
        ({"n_pitches": 90}, "half of features.sample_rate"),
        ({"lowest": 20}, "n_fft=4096"),
        ({"n_fft": 1024}, "n_fft=1024"),
        ({"lowest": 0}, "lowest=0"),
        ({"pad_mode": "circular"}, "pad_mode=circular"),
    ],
)
def test_pitches_that_cannot_be(settings: dict[str, int | str], named: str) -> None:
    with pytest.raises(ArtistidError, match=named):
        LogPitch(**settings)
