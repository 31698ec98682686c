"""The picture of a song: its log-mel, time from left to right."""

from __future__ import annotations

import base64
import io
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from artistid.data.features import Features
from artistid.data.song import SongFeatures

# More columns than a page is wide would not be visible, and cost time to send.
MOST_COLUMNS = 1600
SHOWN_DB = 80.0  # below the loudest
COLOURS = "magma"  # as in the report's spectrograms
LABELLED_HZ = (500, 1000, 2000, 4000, 8000, 16000)  # lower ones would overlap


def picture(sound: SongFeatures, features: Features) -> dict[str, Any] | None:
    """A song's log-mel, time from left to right, low frequencies below; None for features that are no spectrogram.

    Returns:
        ``image``, a PNG as a data URI; ``seconds`` of its width; and ``frequencies``, some of its ``hz`` with their
        ``height`` in [0, 1].
    """
    if features.frequencies is None:
        return None
    return {
        "image": f"data:image/png;base64,{base64.b64encode(_png(_fitted(sound.array))).decode()}",
        "seconds": len(sound.array) * features.hop_length / features.sample_rate,
        "frequencies": _labels(features.frequencies),
    }


def _fitted(log_mel: NDArray[np.float16]) -> NDArray[np.float32]:
    """``(columns, mel)``: frames ``(frames, mel)``, averaged where there are more than can be shown."""
    starts = np.linspace(0, len(log_mel), min(len(log_mel), MOST_COLUMNS), endpoint=False).astype(int)
    frames = np.diff(starts, append=len(log_mel))
    sums: NDArray[np.float32] = np.add.reduceat(log_mel, starts, axis=0, dtype=np.float32)
    sums /= frames[:, None]
    return sums


def _png(decibels: NDArray[np.float32]) -> bytes:
    share = np.clip((decibels - decibels.max()) / SHOWN_DB + 1, 0, 1)
    image = Image.fromarray((255 * share.T[::-1]).round().astype(np.uint8), mode="P")
    image.putpalette((255 * matplotlib.colormaps[COLOURS](np.arange(256))[:, :3]).round().astype(np.uint8).tobytes())
    file = io.BytesIO()
    image.save(file, "png", optimize=True)
    return file.getvalue()


def _labels(centres: NDArray[np.float64]) -> list[dict[str, float]]:
    """Round frequencies between the centres of the lowest and the highest mel bin."""
    heights = (np.arange(len(centres)) + 0.5) / len(centres)
    inside = (hz for hz in LABELLED_HZ if centres[0] <= hz <= centres[-1])
    return [{"hz": hz, "height": round(float(np.interp(hz, centres, heights)), 4)} for hz in inside]
