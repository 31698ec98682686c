"""Songs at levels that no music has, and what is said of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from artistid.data.audio import DecodingError
from artistid.data.descriptors import Descriptors
from artistid.data.features import Features, LogMel
from artistid.data.song import Limits, read_song

RATE = 16000


def write(path: Path, level: float, click: bool = False) -> Path:
    """A second of noise at a level, or below a click of that level."""
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, RATE).astype(np.float32)
    samples = samples if click else samples * np.float32(2 * level)
    samples[RATE // 2] = level
    soundfile.write(path, samples, RATE, "FLOAT")
    return path


@pytest.mark.parametrize("level", [1e19, 1e30, 3e38])
@pytest.mark.parametrize("click", [True, False])
@pytest.mark.parametrize("features", [LogMel(), Descriptors()], ids=["log-mel", "statistics"])
def test_samples_whose_squares_overflow(tmp_path: Path, level: float, click: bool, features: Features) -> None:
    path = write(tmp_path / "x.wav", level, click)
    with pytest.raises(DecodingError, match=r"x\.wav: (samples as large as \de\+\d\d are not sound|not finite)"):
        read_song(path, features, Limits())


@pytest.mark.parametrize(("level", "told"), [(1.0, False), (3.9, False), (32768.0, True), (2e9, True)])
def test_another_scale_is_told(tmp_path: Path, level: float, told: bool) -> None:
    remarks = read_song(write(tmp_path / "x.wav", level), LogMel(), Limits()).remarks
    assert [f"its samples reach {level:.3g}, not 1" in remark for remark in remarks] == [True] * told


@pytest.mark.parametrize(("ending", "subtype"), [("ogg", "VORBIS"), ("opus", "OPUS")])
def test_an_ogg_file_that_was_cut_is_told(tmp_path: Path, ending: str, subtype: str) -> None:
    path = tmp_path / f"x.{ending}"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 10 * 48000)
    soundfile.write(path, noise, 48000, subtype, format="OGG")
    whole = read_song(path, LogMel(), Limits())
    assert whole.remarks == ()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    cut = read_song(path, LogMel(), Limits())
    assert 3 < cut.duration_s < 7
    assert cut.remarks == ("its last page is missing: it was cut short, or recorded from a station",)
