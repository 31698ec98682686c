"""A song on paper: what `composing` hands to `rendering`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from artistid.synthesis.style import Sound


class Drum(IntEnum):
    """General MIDI's percussion keys: on the drum part a pitch names a drum."""

    KICK = 36
    SNARE = 38
    LOW_TOM = 41
    HAT = 42
    MID_TOM = 45
    OPEN_HAT = 46
    HIGH_TOM = 48
    CRASH = 49


class Note(NamedTuple):
    start: float
    """Seconds."""
    duration: float
    """Seconds."""
    pitch: int
    """MIDI."""
    velocity: float
    """0 to 1."""


class Section(NamedTuple):
    letter: str
    """I(ntro), V(erse), C(horus) or B(ridge)."""
    bar: int
    bars: int


@dataclass(frozen=True)
class Song:
    seconds: float
    tempo: float
    """Beats per minute."""
    sections: tuple[Section, ...]
    parts: dict[str, list[Note]]
    """drums, bass, comping, arpeggio, pad and voice, each in the order it was written."""
    sound: Sound
