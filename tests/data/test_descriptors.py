from __future__ import annotations

import warnings

import numpy as np
import pytest

from artistid.data.descriptors import Descriptors, load_librosa
from artistid.errors import ArtistidError

DESCRIPTORS = Descriptors()
RATE = DESCRIPTORS.sample_rate


def tone(hz: float, seconds: float) -> np.ndarray:
    return 0.3 * np.sin(2 * np.pi * hz * np.arange(int(seconds * RATE)) / RATE, dtype=np.float64).astype(np.float32)


def clicks(per_minute: float, seconds: float) -> np.ndarray:
    samples = np.zeros(int(seconds * RATE), np.float32)
    noise = np.random.default_rng(0).normal(size=400).astype(np.float32)
    for start in np.arange(0.5, seconds - 0.1, 60 / per_minute):
        samples[int(start * RATE) :][:400] = noise * np.exp(-np.arange(400) / 80)
    return samples


def test_columns_lie_side_by_side() -> None:
    columns = np.arange(DESCRIPTORS.width)
    parts = [columns[each] for each in (DESCRIPTORS.mfcc, DESCRIPTORS.chroma, DESCRIPTORS.contrast)]
    assert [len(part) for part in parts] == [20, 12, 7]
    assert sorted([*np.concatenate(parts), DESCRIPTORS.beat]) == columns.tolist()


def test_rows_are_a_hop_apart() -> None:
    for n in (0, 1, 159, 160, 3000, 16000):
        rows = DESCRIPTORS(np.zeros(n, np.float32))
        assert rows.shape == (1 + n // 160, DESCRIPTORS.width)
        assert np.isfinite(rows).all()


def test_mfcc_are_librosas() -> None:
    samples = np.random.default_rng(0).normal(size=RATE).astype(np.float32)
    mfcc = load_librosa().feature.mfcc
    expected = mfcc(y=samples, sr=RATE, n_mfcc=20, n_fft=512, win_length=400, hop_length=160, n_mels=40)
    assert np.array_equal(DESCRIPTORS(samples)[:, DESCRIPTORS.mfcc], expected.T)


@pytest.mark.parametrize(("hz", "pitch_class"), [(261.63, 0), (440.0, 9), (987.77, 11)])
def test_chroma_name_the_note(hz: float, pitch_class: int) -> None:
    chroma = DESCRIPTORS(tone(hz, 3))[:, DESCRIPTORS.chroma]
    assert (chroma[50:-50].argmax(axis=1) == pitch_class).all()
    assert chroma.max() == 1


def test_chroma_change_with_the_beat_only() -> None:
    rows = DESCRIPTORS(clicks(120, 10) + tone(440, 10))
    changes = np.flatnonzero(np.abs(np.diff(rows[:, DESCRIPTORS.chroma], axis=0)).max(axis=1) > 0) + 1
    begins = np.flatnonzero(rows[:, DESCRIPTORS.beat])
    assert set(changes) <= set(begins)
    assert begins[0] == 0
    between = np.diff(begins[1:-1]) / 100  # seconds
    assert np.median(between) == pytest.approx(0.5, abs=0.05)


def test_silence_has_no_pitch_and_regular_beats() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = DESCRIPTORS(np.zeros(5 * RATE, np.float32))
    assert (rows[:, DESCRIPTORS.chroma] == 0).all()
    assert rows[:, DESCRIPTORS.beat].sum() == pytest.approx(10, abs=1)


@pytest.mark.parametrize(("setting", "value"), [("hop_length", 0), ("sample_rate", -1), ("n_mfcc", 41)])
def test_settings_out_of_range(setting: str, value: int) -> None:
    with pytest.raises(ArtistidError, match=rf"features\.{setting}={value}"):
        Descriptors(**{setting: value})
