"""A song on paper: what ``composing`` hands to ``rendering``."""

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
    """A note in time.

    Attributes:
        start: seconds from the song's start.
        duration: seconds.
        pitch: MIDI number.
        velocity: 0 to 1.
    """

    start: float
    duration: float
    pitch: int
    velocity: float


class Section(NamedTuple):
    """A stretch of a song's form.

    Attributes:
        letter: I(ntro), V(erse), C(horus) or B(ridge).
        bar: its first, counted from 0.
        bars: how many it has.
    """

    letter: str
    bar: int
    bars: int


@dataclass(frozen=True)
class Song:
    """A song's notes, and what they are to be played on.

    Attributes:
        seconds: its length.
        tempo: beats per minute.
        sections: from the first bar to the last.
        parts: drums, bass, comping, arpeggio, pad and voice, each in the order it was written.
        sound: the instruments and their balance.
    """

    seconds: float
    tempo: float
    sections: tuple[Section, ...]
    parts: dict[str, list[Note]]
    sound: Sound
