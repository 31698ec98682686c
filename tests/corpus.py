"""A small corpus of synthesised songs that a network can learn in a few epochs: ``python -m tests.corpus FOLDER``."""

from __future__ import annotations

import argparse
from itertools import cycle, product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

SAMPLE_RATE = 22050  # Hz; not that of the features, so that songs are resampled, too
NOTE_SECONDS = 0.25
ENDINGS = ("wav", "flac", "mp3", "ogg")


def make_corpus(
    root: Path,
    artists: int = 3,
    albums: int = 3,
    songs: int = 2,
    seconds: float = 4.0,
    seed: int = 0,
    endings: tuple[str, ...] = ENDINGS,
) -> Path:
    """Write ``root/artist1/album1/song1.wav`` and so on; ``songs`` counts those of each album, the endings take turns.

    Every recording is another one. An artist's sound depends on its number only, not on how many there are.

    Returns:
        ``root``.
    """
    places = product(range(1, artists + 1), range(1, albums + 1), range(1, songs + 1))
    for (artist, album, song), ending in zip(places, cycle(endings), strict=False):
        path = root / f"artist{artist}" / f"album{album}" / f"song{song}.{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_audio(path, make_song(artist, np.random.default_rng([seed, artist, album, song]), seconds))
    return root


def make_song(artist: int, generator: np.random.Generator, seconds: float) -> npt.NDArray[np.float32]:
    """A random melody (n,) in an artist's sound: its register, its brightness and how much its notes hiss."""
    # Multiples of irrational numbers, modulo 1, lie far apart however many artists there are.
    register, brightness, hiss = (artist * step % 1 for step in (0.618, 0.755, 0.414))
    degrees = generator.choice([0, 2, 4, 7, 9, 12], size=int(np.ceil(seconds / NOTE_SECONDS)))  # semitones
    fundamentals = 100 * 2 ** (3 * register + degrees / 12)  # (notes,) Hz
    time = np.arange(int(NOTE_SECONDS * SAMPLE_RATE)) / SAMPLE_RATE  # (n,) seconds
    harmonics = np.arange(1, 13)[:, None]  # (harmonic, 1)
    levels = (0.3 + 0.6 * brightness) ** harmonics
    notes = [(levels * np.sin(2 * np.pi * f0 * harmonics * time)).sum(axis=0) for f0 in fundamentals]
    notes = [note + 0.3 * hiss * generator.standard_normal(len(time)) for note in notes]
    song = np.concatenate([note * np.exp(-2 * time) for note in notes])[: round(seconds * SAMPLE_RATE)]
    return (0.5 * song / np.abs(song).max()).astype(np.float32)


def write_audio(
    path: Path, samples: npt.NDArray[np.float32], sample_rate: int = SAMPLE_RATE, subtype: str | None = None
) -> None:
    """Write samples ``(n,)`` or ``(n, channels)`` in the format that the ending names."""
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    with soundfile.SoundFile(path, "w", sample_rate, channels, subtype) as file:
        for second in range(0, len(samples), sample_rate):  # libvorbis overflows its stack on a long song in one go
            file.write(samples[second : second + sample_rate])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    make_corpus(parser.parse_args().folder)
