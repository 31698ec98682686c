from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from artistid.data.features import LogMel
from artistid.inference.samples import features_of_samples
from artistid.web.spectrogram import MOST_COLUMNS, picture

FEATURES = LogMel()


def drawn(samples: NDArray[np.floating]) -> tuple[dict[str, Any], NDArray[np.uint8]]:
    """What is sent, and its picture (mel from the highest to the lowest, time) in grey."""
    sent = picture(features_of_samples(samples, FEATURES.sample_rate, FEATURES), FEATURES)
    kind, _, data = sent["image"].partition(",")
    assert kind == "data:image/png;base64"
    return sent, np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("L"))


def tone(hz: float, seconds: float) -> NDArray[np.floating]:
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(int(seconds * FEATURES.sample_rate)) / FEATURES.sample_rate)


@pytest.mark.parametrize("hz", [500, 1000, 4000])
def test_a_tone_lies_at_the_height_of_its_label(hz: float) -> None:
    sent, image = drawn(tone(hz, 1))
    brightest = int(image.mean(axis=1).argmax())
    [height] = (label["height"] for label in sent["frequencies"] if label["hz"] == hz)
    assert 1 - (brightest + 0.5) / len(image) == pytest.approx(height, abs=0.01)


def test_time_goes_from_left_to_right() -> None:
    sent, image = drawn(np.concatenate([np.zeros(16000), tone(1000, 1)]))
    columns = image.max(axis=0)
    assert (columns[: len(columns) // 2 - 3] == columns.min()).all()
    assert (columns[len(columns) // 2 + 3 :] > 200).all()
    assert sent["seconds"] == pytest.approx(2, abs=0.032)


def test_a_long_song_is_averaged_to_fit() -> None:
    sent, image = drawn(np.concatenate([tone(1000, 60), tone(3000, 60)]))
    assert image.shape == (FEATURES.n_mels, MOST_COLUMNS)
    assert sent["seconds"] == pytest.approx(120, abs=0.032)
    halves = np.split(image.astype(int), 2, axis=1)
    first, second = (int(half.mean(axis=1).argmax()) for half in halves)
    assert first > second  # lower in the picture


def test_silence_and_the_shortest_sound_are_drawn() -> None:
    assert drawn(np.zeros(16000))[1].shape == (FEATURES.n_mels, 32)
    assert drawn(np.zeros(1))[1].shape == (FEATURES.n_mels, 1)
