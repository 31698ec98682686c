"""Versions of a recording as they come with best-ofs, remasters and other people's encoders."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import scipy.signal
import soundfile

Samples = npt.NDArray[np.float32]
Version = Callable[[Samples], Samples]

RATE = 16000  # Hz


def encoded(samples: Samples, bit_rate: int) -> Samples:
    """An MP3 of so many kbit/s, decoded again."""
    file = io.BytesIO()
    level = (160 - bit_rate) / (160 - 8)  # libsndfile spreads its levels over the bit rates of 16 kHz
    soundfile.write(
        file,
        samples,
        RATE,
        format="MP3",
        subtype="MPEG_LAYER_III",
        bitrate_mode="CONSTANT",
        compression_level=min(level, 0.99),  # it takes 1 for an error
    )
    file.seek(0)
    return soundfile.read(file, dtype="float32")[0]


def trimmed(samples: Samples, start: float, end: float = 0.0) -> Samples:
    """Without so many seconds at its ends."""
    return samples[round(start * RATE) : len(samples) - round(end * RATE)]


def equalised(samples: Samples, *decibels: float) -> Samples:
    """With gains in dB at 0, 250, 1000, 4000 and 8000 Hz."""
    gains = 10 ** (np.array(decibels) / 20)
    curve = scipy.signal.firwin2(1025, [0, 250, 1000, 4000, 8000], gains, fs=RATE)
    return scipy.signal.fftconvolve(samples, curve, mode="same").astype(np.float32)


def compressed(samples: Samples) -> Samples:
    """Quiet passages raised: 2.5 dB in for 1 dB out, over 100 ms."""
    power = scipy.signal.lfilter([1 / 1600], [1, 1 / 1600 - 1], samples.astype(np.float64) ** 2)
    louder = samples * (0.1 / np.sqrt(power + 1e-8)) ** 0.6
    return (0.9 * louder / np.abs(louder).max()).astype(np.float32)


def with_noise(samples: Samples) -> Samples:
    """Noise 20 dB below the music."""
    noise = np.random.default_rng(0).standard_normal(len(samples))
    return (samples + 0.1 * np.sqrt(np.mean(samples**2)) * noise).astype(np.float32)


def at_speed(samples: Samples, speed: float) -> Samples:
    """As from a tape that runs so many times as fast."""
    places = np.arange(0, len(samples) - 1, speed)
    return np.interp(places, np.arange(len(samples)), samples).astype(np.float32)


def remastered(samples: Samples) -> Samples:
    """Compressed, equalised, without its first 1.234 s, at 24 kbit/s."""
    return encoded(trimmed(equalised(compressed(samples), 6, 4, 0, 3, -6), 1.234), 24)


# What a version is called: how it is made, and how many seconds it begins after the original.
VERSIONS: dict[str, tuple[Version, float]] = {
    "MP3 at 64 kbps": (lambda samples: encoded(samples, 64), 0.0),
    "MP3 at 16 kbps": (lambda samples: encoded(samples, 16), 0.0),
    "MP3 at 8 kbps": (lambda samples: encoded(samples, 8), 0.0),
    "without 0.377 s": (lambda samples: trimmed(samples, 0.377), 0.377),
    "without 5.01 s and the last 4 s": (lambda samples: trimmed(samples, 5.01, 4.0), 5.01),
    "20 dB softer": (lambda samples: 0.1 * samples, 0.0),
    "12 dB louder, clipped": (lambda samples: np.clip(4 * samples, -1, 1), 0.0),
    "bass up, treble down": (lambda samples: equalised(samples, 9, 9, 0, -6, -9), 0.0),
    "bass down, treble up": (lambda samples: 0.3 * equalised(samples, -12, -9, 0, 9, 12), 0.0),
    "remastered": (remastered, 1.234),
    "noise at −20 dB": (with_noise, 0.0),
    "0.2 % faster": (lambda samples: at_speed(samples, 1.002), 0.0),
}
