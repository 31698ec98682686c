"""Playing a song: every part by its instrument, mixed dry, as loud as any other song."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from artistid.synthesis import SAMPLE_RATE
from artistid.synthesis.instruments import Samples, add, play_drum, play_tone, sing
from artistid.synthesis.score import Drum, Note, Song
from artistid.synthesis.style import Kit, Tone

# Root mean square of every dry mix: how loud a record is, is its producer's doing.
MIX_RMS = 0.1

DRUM_TRACKS = {
    "kick": (Drum.KICK,),
    "snare": (Drum.SNARE, Drum.LOW_TOM, Drum.MID_TOM, Drum.HIGH_TOM),
    "cymbals": (Drum.HAT, Drum.OPEN_HAT, Drum.CRASH),
}

# Different strokes per drum, taken in turn: two strokes are never quite alike.
TAKES = 3


def render(song: Song, rng: np.random.Generator) -> Samples:
    """The song's dry mix at ``SAMPLE_RATE``, shape (samples,), root mean square ``MIX_RMS``, faded out at its end."""
    samples = round(song.seconds * SAMPLE_RATE)
    mix = np.zeros(samples, dtype=np.float32)
    for name, track in _tracks(song, samples, rng):
        sounding = np.abs(track) > 1e-4
        if sounding.any():
            level = 10.0 ** (getattr(song.sound.balance, name) / 20.0) / _rms(track[sounding])
            mix += np.float32(level) * track
    _fade_out(mix, 0.05 * song.seconds)
    mix *= MIX_RMS / _rms(mix)
    return mix


def _tracks(song: Song, samples: int, rng: np.random.Generator) -> Iterator[tuple[str, Samples]]:
    """Every part's track, under its name in ``Balance``."""
    sound = song.sound
    for name, drums in DRUM_TRACKS.items():
        strokes = [note for note in song.parts["drums"] if note.pitch in drums]
        yield name, _drum_track(sound.kit, strokes, samples, rng)
    for name, tone in (
        ("bass", sound.bass),
        ("comping", sound.comping),
        ("arpeggio", sound.arpeggio),
        ("pad", sound.pad),
    ):
        yield name, _tone_track(tone, song.parts[name], samples)
    yield "voice", sing(sound.voice, song.parts["voice"], samples, rng)


def _drum_track(kit: Kit, strokes: list[Note], samples: int, rng: np.random.Generator) -> Samples:
    takes = {
        drum: [play_drum(kit, Drum(drum), rng) for _ in range(TAKES)] for drum in sorted({n.pitch for n in strokes})
    }
    track = np.zeros(samples, dtype=np.float32)
    for i, note in enumerate(strokes):
        add(track, round(note.start * SAMPLE_RATE), np.float32(note.velocity) * takes[note.pitch][i % TAKES])
    return track


def _tone_track(tone: Tone, notes: list[Note], samples: int) -> Samples:
    """Equal notes are played once and added wherever they occur."""
    played: dict[tuple[int, float], Samples] = {}
    track = np.zeros(samples, dtype=np.float32)
    for note in notes:
        key = (note.pitch, note.duration)
        if key not in played:
            played[key] = play_tone(tone, *key)
        add(track, round(note.start * SAMPLE_RATE), np.float32(note.velocity) * played[key])
    return track


def _fade_out(samples: Samples, seconds: float) -> None:
    length = round(seconds * SAMPLE_RATE)
    samples[-length:] *= np.linspace(1.0, 0.0, length, dtype=np.float32)


def _rms(samples: Samples) -> float:
    return float(np.sqrt(np.mean(np.square(samples))))
