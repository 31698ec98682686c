"""Excerpts of songs: what is heard is what was asked for, and a song that is gone costs only itself."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import soundfile

from artistid.data.excerpts import SAMPLE_RATE, Excerpt, mp3_files
from artistid.data.song import Limits
from tests.corpus import write_audio


def test_an_excerpt_is_the_part_of_the_song(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    seconds = np.arange(6 * SAMPLE_RATE) / SAMPLE_RATE
    pitch = np.where((seconds >= 2) & (seconds < 4), 880, 220)
    write_audio(tmp_path / "song.wav", 0.5 * np.sin(2 * np.pi * pitch * seconds), SAMPLE_RATE)
    with caplog.at_level("WARNING", logger="artistid"):
        content, gone = mp3_files(
            [Excerpt(tmp_path / "song.wav", 2.0, 2.0), Excerpt(tmp_path / "gone.wav", 0.0, 2.0)], Limits()
        )
    assert content is not None
    assert gone is None
    assert "gone.wav" in caplog.text
    samples, rate = soundfile.read(BytesIO(content))
    assert len(samples) / rate == pytest.approx(2.0, abs=0.15)  # whole frames of MP3
    middle = samples[len(samples) // 4 : 3 * len(samples) // 4]
    loudest = np.abs(np.fft.rfft(middle)).argmax() * rate / len(middle)
    assert loudest == pytest.approx(880, abs=5)
    assert len(content) < 20_000
