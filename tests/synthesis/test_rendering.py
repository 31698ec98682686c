from __future__ import annotations

import numpy as np
import pytest

from artistid.synthesis import SAMPLE_RATE
from artistid.synthesis.composing import compose
from artistid.synthesis.instruments import MIX_RMS, render
from artistid.synthesis.style import draw_artist


@pytest.mark.parametrize("strength", [0.0, 1.0, 5.0])
def test_every_mix_is_whole_and_equally_loud(strength: float) -> None:
    for seed in range(5):
        artist = draw_artist(np.random.default_rng(seed), strength)
        song = compose(artist, np.random.default_rng([1, seed]), 8.0)
        mix = render(song, np.random.default_rng(2))
        assert mix.shape == (8 * SAMPLE_RATE,)
        assert mix.dtype == np.float32
        assert np.isfinite(mix).all()
        assert np.sqrt(np.mean(mix**2)) == pytest.approx(MIX_RMS, rel=1e-3)
        assert abs(mix[-1]) < 1e-4


def test_the_same_seed_renders_the_same_samples_and_each_part_is_heard() -> None:
    song = compose(draw_artist(np.random.default_rng(0), 1.0), np.random.default_rng(4), 10.0)
    mix = render(song, np.random.default_rng(1))
    assert np.array_equal(mix, render(song, np.random.default_rng(1)))
    heard = [part for part, notes in song.parts.items() if notes]
    assert len(heard) >= 4
    for part in heard:
        without = type(song)(**{**vars(song), "parts": {**song.parts, part: []}})
        assert np.abs(render(without, np.random.default_rng(1)) - mix).max() > 0.01
