"""Writing a song: sections, chords, drums, bass, accompaniment and melody, as timed notes.

Everything is written on a grid of sixteenths, sixteen steps to the bar, and timed last, with swing and a player's
inaccuracy. Pitches are MIDI numbers; a degree counts scale steps from the tonic, across octaves.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from artistid.synthesis.style import ArtistStyle, Sound, Writing, draw_style


class Drum(IntEnum):
    """General MIDI's percussion keys: in the drum part a pitch is a drum."""

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


class SongSection(NamedTuple):
    """A section of a song's form.

    Attributes:
        letter: I(ntro), V(erse), C(horus) or B(ridge).
        bar: its first, counted from 0.
        bars: their number.
    """

    letter: str
    bar: int
    bars: int


@dataclass(frozen=True)
class ComposedSong:
    """A song's notes, and the instruments that play them.

    Attributes:
        seconds: its length.
        tempo: beats per minute.
        sections: from the first bar to the last.
        parts: drums, bass, comping, arpeggio, pad and voice, each in the order it was written.
        sound: the instruments and their balance.
    """

    seconds: float
    tempo: float
    sections: tuple[SongSection, ...]
    parts: dict[str, list[Note]]
    sound: Sound


# Steps per bar.
STEPS = 16

# How full a section is: intro, verse, chorus, bridge.
ENERGY = {"I": 0.35, "V": 0.6, "C": 1.0, "B": 0.5}

# Bars per phrase of the melody.
PHRASE = 2


class Event(NamedTuple):
    """A note still on the grid."""

    step: float
    steps: float
    pitch: int
    velocity: float


@dataclass(frozen=True)
class Chord:
    """A chord on the grid: where it starts, how long it lasts, and its degrees."""

    step: int
    steps: int
    degrees: tuple[int, ...]


@dataclass(frozen=True)
class Material:
    """What all sections of one letter share: verses have one progression, one melody and one arrangement.

    Attributes:
        energy: how full they are, about 0 (quiet) to 1 (full).
        roots: degree of each chord's root.
        chords: degrees of each chord above its root.
        motif: (step in the phrase, degrees above the register's centre) of each syllable.
        parts: names of those playing.
    """

    energy: float
    roots: tuple[int, ...]
    chords: tuple[tuple[int, ...], ...]
    motif: tuple[tuple[int, float], ...]
    parts: frozenset[str]


def compose(artist: ArtistStyle, rng: np.random.Generator, seconds: float) -> ComposedSong:
    """A song of the artist's; every bar of it is drawn from ``rng``."""
    style = draw_style(artist, rng)
    return _Composer(style.writing, rng, seconds).song(style.sound)


class _Composer:
    """The decisions that hold throughout a song: key, form and the material of its sections."""

    def __init__(self, writing: Writing, rng: np.random.Generator, seconds: float) -> None:
        self.writing = writing
        self.rng = rng
        self.seconds = seconds
        self.key = int(rng.integers(12))
        self.step_s = 15.0 / writing.tempo
        self.sections = tuple(self._form(math.ceil(seconds / (STEPS * self.step_s))))
        self.material = {letter: self._material(letter) for letter in ENERGY}

    def song(self, sound: Sound) -> ComposedSong:
        writers = {
            "drums": self._drums,
            "bass": self._bass,
            "comping": self._comping,
            "arpeggio": self._arpeggio,
            "pad": self._pad,
            "voice": self._voice,
        }
        events: dict[str, list[Event]] = {part: [] for part in writers}
        for section in self.sections:
            material = self.material[section.letter]
            chords = self._chords(section, material)
            for part, write in writers.items():
                if part in material.parts:
                    events[part] += write(section, material, chords)
        parts = {part: list(self._in_time(written)) for part, written in events.items()}
        return ComposedSong(self.seconds, self.writing.tempo, self.sections, parts, sound)

    # --- form and harmony ---

    def _form(self, bars: int) -> Iterator[SongSection]:
        """Sections until the bars are filled; short in short songs, so that a clip of any song contains changes."""
        length = 8 if bars >= 56 else 4 if bars >= 10 else 2
        letters = self.writing.form
        bar, index = 0, 0
        while bar < bars:
            letter = letters[index]
            section = min(length // 2 if letter == "I" else length, bars - bar)
            yield SongSection(letter, bar, section)
            bar += section
            index = index + 1 if index + 1 < len(letters) else letters.index("V")

    def _material(self, letter: str) -> Material:
        writing, rng = self.writing, self.rng
        roots = [writing.opening.draw(rng)]
        for _ in range(4 * writing.chords_per_bar - 1):
            roots.append((roots[-1] + writing.motion.draw(rng)) % 7)
        energy = ENERGY[letter] + rng.normal(0.0, 0.1)
        return Material(
            energy=energy,
            roots=tuple(roots),
            chords=tuple(writing.chord.draw(rng) for _ in roots),
            motif=self._motif(lift=1.5 if letter == "C" else 0.0),
            parts=self._parts(letter, energy),
        )

    def _parts(self, letter: str, energy: float) -> frozenset[str]:
        writing = self.writing
        joins = {
            "drums": writing.drums_from,
            "bass": writing.bass_from,
            "comping": writing.comping_from,
            "arpeggio": writing.arpeggio_from,
            "pad": writing.pad_from,
        }
        parts = {part for part, threshold in joins.items() if energy >= threshold}
        if letter in "VC" or (letter == "B" and self.rng.random() < 0.6):
            parts.add("voice")
        if not parts & {"comping", "arpeggio", "pad"}:
            parts.add("comping")
        return frozenset(parts)

    def _chords(self, section: SongSection, material: Material) -> list[Chord]:
        per_bar = self.writing.chords_per_bar
        steps = STEPS // per_bar
        chords = []
        for i in range(section.bars * per_bar):
            root, shape = material.roots[i % len(material.roots)], material.chords[i % len(material.chords)]
            chords.append(Chord(section.bar * STEPS + i * steps, steps, tuple(root + degree for degree in shape)))
        return chords

    def _pitch(self, degree: int) -> int:
        octave, step = divmod(degree, 7)
        return self.key + 12 * octave + self.writing.scale[step]

    def _voicing(self, chord: Chord, lowest: int) -> list[int]:
        """The chord's notes within the octave from ``lowest``: a close position, so voices move little."""
        return sorted({_fold(self._pitch(degree), lowest) for degree in chord.degrees})

    # --- accompaniment ---

    def _bass(self, section: SongSection, material: Material, chords: list[Chord]) -> Iterator[Event]:
        writing, rng = self.writing, self.rng
        for chord, following in zip(chords, [*chords[1:], chords[0]], strict=True):
            root, goal = (_fold(self._pitch(c.degrees[0]), 31) for c in (chord, following))
            onsets = _onsets(writing.bass, chord)
            for i, (step, steps, accent) in enumerate(onsets):
                pitch = root
                if i == len(onsets) - 1 > 0 and rng.random() < writing.bass_passing:
                    pitch = goal + (2 if root > goal else -2)
                elif i > 0 and rng.random() < writing.bass_octave:
                    pitch = root + 12
                yield Event(step, 0.9 * steps, pitch, accent)

    def _comping(self, section: SongSection, material: Material, chords: list[Chord]) -> Iterator[Event]:
        strum = self.writing.strum / self.step_s
        for chord in chords:
            pitches = self._voicing(chord, 53)
            for step, steps, accent in _onsets(self.writing.comping, chord):
                # A short chord is damped, a long one rings: the difference between a chop and a strum.
                length = 0.55 * steps if steps <= 4 else 0.95 * steps
                for i, pitch in enumerate(pitches):
                    yield Event(step + i * strum, length, pitch, (0.5 + 0.5 * material.energy) * accent)

    def _arpeggio(self, section: SongSection, material: Material, chords: list[Chord]) -> Iterator[Event]:
        order = [int(index) for index in self.writing.arpeggio]
        step = self.writing.arpeggio_step
        for chord in chords:
            pitches = self._voicing(chord, 65)
            pitches.append(pitches[0] + 12)
            for i in range(chord.steps // step):
                pitch = pitches[order[i % len(order)] % len(pitches)]
                yield Event(chord.step + i * step, 1.5 * step, pitch, 0.9 if i % 4 == 0 else 0.65)

    def _pad(self, section: SongSection, material: Material, chords: list[Chord]) -> Iterator[Event]:
        for chord in chords:
            for pitch in self._voicing(chord, 57):
                yield Event(chord.step, chord.steps, pitch, 0.8)

    # --- melody ---

    def _motif(self, lift: float) -> tuple[tuple[int, float], ...]:
        """A phrase: when its syllables start, and how far from the centre of the register they lie."""
        writing, rng = self.writing, self.rng
        steps = np.arange(PHRASE * STEPS)
        weight = np.where(
            steps % 4 == 0, 1.0, np.where(steps % 2 == 0, 0.4 + 0.6 * writing.syncopation, writing.syncopation)
        )
        chance = writing.syllables * self.step_s * weight / weight.mean()
        chance[int(len(steps) * (1.0 - writing.breath)) :] = 0.0
        onsets = np.flatnonzero(rng.random(len(steps)) < chance)
        if len(onsets) == 0:
            onsets = np.array([0])
        walk, motif = 0.0, []
        for step in onsets.tolist():
            # Pulled back to the middle a little at each note, or long phrases would leave the range.
            walk = 0.85 * walk + rng.normal(0.0, writing.leap)
            arch = writing.arch * math.sin(math.pi * step / len(steps))
            motif.append((step, lift + float(np.clip(walk + arch, -writing.span, writing.span))))
        return tuple(motif)

    def _voice(self, section: SongSection, material: Material, chords: list[Chord]) -> Iterator[Event]:
        writing, rng = self.writing, self.rng
        centre = (writing.register - self.key) * 7.0 / 12.0
        second = section.letter == "C" and rng.random() < writing.harmony
        for bar in range(0, section.bars, PHRASE):
            start, end = (section.bar + bar) * STEPS, (section.bar + min(bar + PHRASE, section.bars)) * STEPS
            answer = (bar // PHRASE) % 2 == 1
            syllables = [(start + step, height) for step, height in material.motif if start + step < end]
            for i, (step, height) in enumerate(syllables):
                following = syllables[i + 1][0] if i + 1 < len(syllables) else min(step + 8, end)
                # The answering phrase starts like the first one and ends differently.
                if answer and i >= len(syllables) / 2:
                    height += rng.normal(0.0, writing.leap)
                degree = self._consonant(round(centre + height), step, chords)
                length = max(writing.legato * (following - step), 0.8)
                accent = 0.9 if step % 4 == 0 else 0.75
                yield Event(step, length, self._pitch(degree), accent)
                if second:
                    yield Event(step, length, self._pitch(degree + 2), 0.6 * accent)

    def _consonant(self, degree: int, step: int, chords: list[Chord]) -> int:
        """On the beat, mostly the nearest note of the chord; elsewhere the degree as it is."""
        if step % 4 or self.rng.random() > self.writing.consonance:
            return degree
        chord = chords[(step - chords[0].step) // chords[0].steps]
        tones = {d % 7 for d in chord.degrees}
        return min((degree + shift for shift in (0, -1, 1, -2, 2)), key=lambda d: d % 7 not in tones)

    # --- drums ---

    def _drums(self, section: SongSection, material: Material, chords: list[Chord]) -> Iterator[Event]:
        rng, full = self.rng, material.energy >= 0.5
        if material.energy > 0.8:
            yield Event(section.bar * STEPS, 1, Drum.CRASH, 0.9)
        for bar in range(section.bars):
            ends = section.bars > 1 and bar == section.bars - 1
            groove = STEPS - round(8 * self.writing.fill) if ends and full else STEPS
            for event in self._groove(full):
                if event.step < groove:
                    yield event._replace(step=(section.bar + bar) * STEPS + event.step)
            for step in range(groove, STEPS):
                if rng.random() < 0.75:
                    drum = (Drum.SNARE, Drum.HIGH_TOM, Drum.MID_TOM, Drum.LOW_TOM)[(step - 8) // 2]
                    yield Event((section.bar + bar) * STEPS + step, 1, drum, 0.5 + 0.05 * (step - 8))

    def _groove(self, full: bool) -> Iterator[Event]:
        """One bar; sections that are not full have no ornaments."""
        writing, rng = self.writing, self.rng
        for step in range(STEPS):
            kick, snare, hat = (_ACCENT[pattern[step]] for pattern in (writing.kick, writing.snare, writing.hat))
            extra_kick, ghost, opened = rng.random(3)
            if kick or (full and extra_kick < writing.extra_kick):
                yield Event(step, 1, Drum.KICK, kick or 0.6)
            if snare or (full and ghost < writing.ghost_snare):
                yield Event(step, 1, Drum.SNARE, snare or 0.25)
            if hat:
                is_open = full and step % 4 == 2 and opened < writing.open_hat
                yield Event(step, 1, Drum.OPEN_HAT if is_open else Drum.HAT, hat)

    # --- time ---

    def _in_time(self, events: list[Event]) -> Iterator[Note]:
        """Swung, a little early or late, a little louder or softer; what starts past the end is left out."""
        late = self.rng.normal(0.0, self.writing.looseness, len(events)).tolist()
        loud = self.rng.normal(1.0, 0.08, len(events)).tolist()
        for event, delay, gain in zip(events, late, loud, strict=True):
            start = max(self._seconds(event.step) + delay, 0.0)
            if start < self.seconds:
                velocity = min(max(event.velocity * gain, 0.05), 1.0)
                yield Note(start, event.steps * self.step_s, event.pitch, velocity)

    def _seconds(self, step: float) -> float:
        beat, share = divmod(step / 4.0, 1.0)
        swing = self.writing.swing
        share = 2.0 * swing * share if share < 0.5 else swing + 2.0 * (1.0 - swing) * (share - 0.5)
        return (beat + share) * 4.0 * self.step_s


_ACCENT = {"X": 1.0, "x": 0.65, ".": 0.0}


def _onsets(pattern: str, chord: Chord) -> list[tuple[int, int, float]]:
    """(step, steps until the next, accent) of a bar's pattern while the chord lasts; at least one."""
    first = chord.step % STEPS
    part = pattern[first : first + chord.steps]
    steps = [i for i, mark in enumerate(part) if mark != "."]
    if not steps:
        steps, part = [0], "X" + part[1:]
    ends = [*steps[1:], chord.steps]
    return [(chord.step + i, end - i, _ACCENT[part[i]]) for i, end in zip(steps, ends, strict=True)]


def _fold(pitch: int, lowest: int) -> int:
    """The pitch of the same name within the octave from ``lowest``."""
    return lowest + (pitch - lowest) % 12
