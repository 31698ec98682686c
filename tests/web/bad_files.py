"""Files that the page refuses, and the sentences that say why."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from tests.corpus import SAMPLE_RATE, write_audio

MAX_MB = 1.0
MAX_MINUTES = 0.5
NO_AUDIO = "is not an audio file that can be read here. Expected mp3, m4a, flac, ogg, opus, wav or aiff."


class BadFile(NamedTuple):
    """What is said of it, after its name, and HTTP's status for it."""

    path: Path
    status: int
    sentence: str


def make_bad_files(folder: Path) -> dict[str, BadFile]:
    """By what is bad of them."""
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 2 * SAMPLE_RATE).astype(np.float32)
    bad = {
        "text": ("lyrics.mp3", 415, f" {NO_AUDIO}"),
        "empty": ("empty.wav", 422, " is empty: it has no audio."),
        "large": ("large.wav", 413, " is larger than the 1 MB that this page accepts."),
        "long": ("mix.flac", 413, " is too long: this page accepts songs of up to 0.5 min."),
        "not finite": (
            "broken.wav",
            422,
            ": not finite (NaN, infinite, too loud): 2 of 44,100 samples.",
        ),
        "no samples": ("none.wav", 422, ": holds no audio samples."),
        "cut short": ("half.wav", 422, ": cut short: its header promises 88200 bytes, 44078 are there."),
    }
    files = {what: BadFile(folder / name, status, sentence) for what, (name, status, sentence) in bad.items()}
    files["text"].path.write_text("There was a house in New Orleans\n" * 100, encoding="utf-8")
    files["empty"].path.touch()
    files["large"].path.write_bytes(b"\x01" * 1_000_001)
    write_audio(files["long"].path, np.zeros(31 * SAMPLE_RATE, np.float32))
    not_finite = noise.copy()
    not_finite[[5, 500]] = np.nan, np.inf
    soundfile.write(files["not finite"].path, not_finite, SAMPLE_RATE, subtype="FLOAT")
    write_audio(files["no samples"].path, noise[:0])
    whole = folder / "whole.wav"
    write_audio(whole, noise)
    files["cut short"].path.write_bytes(whole.read_bytes()[: 44 + 44078])
    return files
