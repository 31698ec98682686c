"""What an artist's songs have in common: how they are written and what they are played on, drawn as traits.

Traits are the fields of a dataclass that are drawn, all from one vector of independent Gaussians. Each trait reads its
own entries of the vector: zero is the middle of its range, one standard deviation about a third of the range to either
side. An artist, an album or a song is such a vector; the vectors are layers that add up, and a strength scales one
layer. Whatever the sum, each trait stays inside its range: a large strength pushes it towards the ends, never past.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
from scipy.special import ndtr, softmax

# Standard deviation of the artists around their common centre, at style_strength 1.
ARTIST_SPREAD = 1.0
# Standard deviation of an artist's songs around the artist, which no setting changes; with the former, the overlap.
SONG_SPREAD = 0.5
# Standard deviation of the albums' productions around the neutral one, at producer_strength 1.
PRODUCER_SPREAD = 0.5

T = TypeVar("T")
Vector = np.ndarray[tuple[int], np.dtype[np.float64]]


class Draw(Protocol):
    """How one trait reads its ``size`` entries of the vector."""

    @property
    def size(self) -> int: ...

    def read(self, z: Vector) -> Any: ...


@dataclass(frozen=True)
class RangeTrait:
    """A number, or a tuple of ``size`` numbers, between ``low`` and ``high``; uniform when z is a standard normal."""

    low: float
    high: float
    log: bool
    size: int

    def read(self, z: Vector) -> float | tuple[float, ...]:
        share = ndtr(z)
        values = (
            self.low * (self.high / self.low) ** share if self.log else self.low + (self.high - self.low) * share
        ).tolist()
        return values[0] if self.size == 1 else tuple(values)


@dataclass(frozen=True)
class ChoiceTrait:
    """The option whose entry is largest: equal odds where entries are drawn alike, a favourite where one is raised."""

    options: tuple[Any, ...]

    @property
    def size(self) -> int:
        return len(self.options)

    def read(self, z: Vector) -> Any:
        return self.options[int(np.argmax(z))]


@dataclass(frozen=True)
class Habit:
    """Probabilities over the options, for choices made repeatedly within a song."""

    options: tuple[Any, ...]

    # At the default spreads the most frequent of five options is drawn a little less than half of the time.
    SHARPNESS: ClassVar[float] = 1.2

    @property
    def size(self) -> int:
        return len(self.options)

    def read(self, z: Vector) -> Odds:
        return Odds(self.options, tuple(np.cumsum(softmax(self.SHARPNESS * z)).tolist()))


@dataclass(frozen=True)
class Odds:
    """What a ``Habit`` reads: options and their cumulative probabilities."""

    options: tuple[Any, ...]
    cumulative: tuple[float, ...]

    def draw(self, rng: np.random.Generator) -> Any:
        # Not Generator.choice: it checks its probabilities on each of the hundreds of calls per song.
        return self.options[min(int(np.searchsorted(self.cumulative, rng.random())), len(self.options) - 1)]


@dataclass(frozen=True)
class Nested:
    """A dataclass of traits inside another."""

    of: type

    @property
    def size(self) -> int:
        return vector_size(self.of)

    def read(self, z: Vector) -> Any:
        return read_traits(self.of, z)


def trait(low: float, high: float, *, log: bool = False, size: int = 1) -> Any:
    """A field of numbers in a range, on a linear or logarithmic scale."""
    return field(metadata={"draw": RangeTrait(low, high, log, size)})


def choice(*options: Any) -> Any:
    """A field whose value is one of some options."""
    return field(metadata={"draw": ChoiceTrait(options)})


def habit(*options: Any) -> Any:
    """A field of the odds of some options, see :class:`Odds`."""
    return field(metadata={"draw": Habit(options)})


def nested(of: type) -> Any:
    """A field that is a dataclass of traits itself."""
    return field(metadata={"draw": Nested(of)})


def _draws(of: type) -> list[tuple[str, Draw]]:
    return [(f.name, f.metadata["draw"]) for f in fields(of)]


def vector_size(of: type) -> int:
    """How many Gaussians a dataclass of traits reads."""
    return sum(draw.size for _, draw in _draws(of))


def read_traits(of: type[T], z: Vector) -> T:
    """The dataclass ``of`` with every trait read off the vector ``z``, shape ``(vector_size(of),)``."""
    values, start = {}, 0
    for name, draw in _draws(of):
        values[name] = draw.read(z[start : start + draw.size])
        start += draw.size
    return of(**values)


# ruff: noqa: RUF009 - the calls in these classes declare fields; they are not defaults


VOWELS = ("i", "e", "a", "o", "u")


@dataclass(frozen=True)
class Writing:
    """How a song is composed. Patterns are one bar of sixteenths: ``X`` accented, ``x`` plain, ``.`` silent."""

    tempo: float = trait(72, 156, log=True)  # beats per minute
    swing: float = trait(0.5, 0.64)  # share of the beat that its first half takes
    looseness: float = trait(0.002, 0.014)  # standard deviation of the timing, seconds
    form: str = choice("IVCVCBC", "VCVCBCC", "IVVCVC", "CVCVBC", "IVCBVC")  # Intro, Verse, Chorus, Bridge

    scale: tuple[int, ...] = choice(
        (0, 2, 4, 5, 7, 9, 11),  # ionian
        (0, 2, 4, 5, 7, 9, 10),  # mixolydian
        (0, 2, 3, 5, 7, 9, 10),  # dorian
        (0, 2, 3, 5, 7, 8, 10),  # aeolian
        (0, 2, 3, 5, 7, 8, 11),  # harmonic minor
    )
    # Degrees above the root, counted in scale steps: triad, seventh, added ninth, suspended fourth, open fifth.
    chord: Odds = habit((0, 2, 4), (0, 2, 4, 6), (0, 2, 4, 8), (0, 3, 4), (0, 4, 7))
    # Scale steps from one root to the next: up a fourth, up a fifth, a step up or down, a third up or down.
    motion: Odds = habit(3, 4, 1, -1, 2, -2)
    opening: Odds = habit(0, 3, 5)  # the degree a progression starts on
    chords_per_bar: int = choice(1, 1, 2)

    kick: str = choice(
        "X...x...X...x...", "X.......X.x.....", "X.....x.X.......", "X..x..x...X..x..", "X.........x....."
    )
    snare: str = choice(
        "....X.......X...", "....X.......X..x", "........X.......", "....X..x.x..X...", "x...X...x...X..."
    )
    hat: str = choice(
        "X.x.X.x.X.x.X.x.", "XxxxXxxxXxxxXxxx", "X...X...X...X...", "..X...X...X...X.", "X..xX..xX..xX..x"
    )
    extra_kick: float = trait(0.0, 0.12)  # chance per empty step
    ghost_snare: float = trait(0.0, 0.15)  # chance per empty step
    open_hat: float = trait(0.0, 0.25)  # chance per off-beat
    fill: float = trait(0.1, 0.9)  # how much of a section's last half bar is filled in

    bass: str = choice(
        "X...............", "X.......X.......", "X.x.x.x.X.x.x.x.", "X..x..x.X..x..x.", "X...x...X...x.x."
    )
    bass_octave: float = trait(0.0, 0.4)  # chance that a note jumps up an octave
    bass_passing: float = trait(0.0, 0.5)  # chance that a bar's last note leads into the next chord
    comping: str = choice(
        "X...............",
        "X...X...X...X...",
        "..X...X...X...X.",
        "X.x.X.x.X.x.X.x.",
        "X..x..x.X..x..x.",
        "X.....x.....x...",
    )
    strum: float = trait(0.0, 0.03)  # seconds between the strings of a chord
    arpeggio: str = choice("0123", "0213", "3210", "0121", "0312")  # order of the chord's notes
    arpeggio_step: int = choice(1, 2, 2, 4)  # sixteenths per note

    register: float = trait(55.0, 70.0)  # centre of the voice, MIDI pitch
    span: float = trait(2.5, 6.0)  # half its range, scale steps
    leap: float = trait(0.7, 2.6)  # standard deviation of the melody's steps, scale steps
    arch: float = trait(-2.0, 4.0)  # rise of a phrase's middle over its ends, scale steps
    consonance: float = trait(0.3, 0.95)  # chance that an accented note is a note of the chord
    syllables: float = trait(1.6, 4.5)  # per second, while singing
    syncopation: float = trait(0.15, 0.8)  # weight of the weak sixteenths against the beats
    breath: float = trait(0.05, 0.35)  # share of a phrase left empty at its end
    legato: float = trait(0.6, 1.0)  # share of the time to the next note that a note sounds
    harmony: float = trait(0.0, 0.8)  # chance that a chorus is sung in two parts

    # From which energy of the section (0 quiet, 1 full) a part joins in.
    drums_from: float = trait(0.2, 0.65)
    bass_from: float = trait(0.15, 0.65)
    comping_from: float = trait(0.0, 0.7)
    arpeggio_from: float = trait(0.2, 1.0)
    pad_from: float = trait(0.2, 1.1)


@dataclass(frozen=True)
class Tone:
    """A pitched instrument: its spectrum, envelope and modulation."""

    engine: str = choice("additive", "subtractive", "fm")
    tilt: float = trait(4.0, 13.0)  # fall of the additive spectrum, dB per octave
    even: float = trait(0.05, 1.0)  # weight of the even harmonics
    cutoff: float = trait(500.0, 4500.0, log=True)  # subtractive low-pass, Hz
    resonance: float = trait(0.0, 12.0)  # its peak, dB
    ratio: float = choice(1.0, 2.0, 3.0, 1.5, 4.0)  # FM modulator over carrier
    index: float = trait(0.5, 4.5, log=True)  # FM modulation index, radians
    body: float = trait(300.0, 3200.0, log=True)  # resonance of the instrument's body, Hz
    body_gain: float = trait(0.0, 14.0)  # dB
    attack: float = trait(0.002, 0.03, log=True)  # seconds
    decay: float = trait(0.12, 1.5, log=True)  # time constant, seconds
    sustain: float = trait(0.0, 0.7)  # level that the decay ends on
    dulling: float = trait(1.0, 5.0)  # how many times faster the upper harmonics decay
    release: float = trait(0.03, 0.2, log=True)  # time constant, seconds
    detune: float = trait(0.0, 16.0)  # of the second oscillator, cents
    tremolo: float = trait(0.0, 0.35)  # depth
    tremolo_rate: float = trait(3.0, 7.0)  # Hz


@dataclass(frozen=True)
class BassTone(Tone):
    """The sound of a bass."""

    cutoff: float = trait(180.0, 1800.0, log=True)
    index: float = trait(0.3, 2.5, log=True)
    body: float = trait(90.0, 900.0, log=True)
    decay: float = trait(0.2, 1.5, log=True)
    detune: float = trait(0.0, 5.0)
    tremolo: float = trait(0.0, 0.05)


@dataclass(frozen=True)
class PadTone(Tone):
    """The sound of a pad."""

    cutoff: float = trait(350.0, 3000.0, log=True)
    index: float = trait(0.3, 2.5, log=True)
    attack: float = trait(0.08, 0.5, log=True)
    decay: float = trait(0.5, 3.0, log=True)
    sustain: float = trait(0.5, 1.0)
    dulling: float = trait(1.0, 2.0)
    release: float = trait(0.1, 0.5, log=True)


@dataclass(frozen=True)
class Voice:
    """A singer: a glottal source through the resonances of a vocal tract."""

    tract: float = trait(0.85, 1.3, log=True)  # all formants against the average adult man's: a short tract is high
    tilt: float = trait(3.0, 11.0)  # fall of the source, the lips' radiation included, dB per octave
    singers_formant: float = trait(0.0, 12.0)  # at 3 kHz, dB
    vowels: Odds = habit(*VOWELS)
    diphthong: float = trait(0.0, 0.6)  # chance that a syllable glides into another vowel
    breathiness: float = trait(0.02, 0.3, log=True)  # level of the breath against the tone
    consonant: float = trait(0.1, 1.0, log=True)  # level of the consonants against the tone
    hiss: float = trait(2500.0, 6000.0, log=True)  # centre of the consonants' noise, Hz
    vibrato: float = trait(5.0, 75.0, log=True)  # depth, cents
    vibrato_rate: float = trait(4.5, 6.8)  # Hz
    vibrato_onset: float = trait(0.05, 0.35)  # seconds
    scoop: float = trait(0.0, 220.0)  # how far below the note a syllable starts, cents
    attack: float = trait(0.01, 0.06, log=True)  # seconds
    release: float = trait(0.02, 0.12, log=True)  # seconds


@dataclass(frozen=True)
class Kit:
    """A drum kit."""

    kick_pitch: float = trait(42.0, 72.0, log=True)  # Hz
    kick_sweep: float = trait(1.5, 6.0, log=True)  # from how many times the pitch it falls
    kick_decay: float = trait(0.06, 0.3, log=True)  # seconds
    kick_click: float = trait(0.02, 0.5, log=True)
    snare_pitch: float = trait(150.0, 280.0, log=True)  # Hz
    snare_tone: float = trait(0.1, 1.0, log=True)  # of the skins against the wires
    snare_decay: float = trait(0.05, 0.25, log=True)  # seconds
    snare_centre: float = trait(1200.0, 4500.0, log=True)  # of the wires, Hz
    hat_centre: float = trait(4500.0, 7200.0, log=True)  # Hz
    hat_decay: float = trait(0.015, 0.09, log=True)  # seconds
    hat_metal: float = trait(0.0, 0.8)  # share of the ringing partials against noise
    crash_decay: float = trait(0.3, 1.2, log=True)  # seconds
    tom_pitch: float = trait(80.0, 160.0, log=True)  # of the lowest, Hz


@dataclass(frozen=True)
class Balance:
    """Levels of the parts, dB."""

    voice: float = trait(-3.0, 5.0)
    kick: float = trait(-4.0, 5.0)
    snare: float = trait(-6.0, 3.0)
    cymbals: float = trait(-20.0, -8.0)
    bass: float = trait(-5.0, 3.0)
    comping: float = trait(-9.0, 1.0)
    arpeggio: float = trait(-12.0, -2.0)
    pad: float = trait(-14.0, -4.0)


@dataclass(frozen=True)
class Sound:
    """What a song is played on."""

    voice: Voice = nested(Voice)
    kit: Kit = nested(Kit)
    bass: BassTone = nested(BassTone)
    comping: Tone = nested(Tone)
    arpeggio: Tone = nested(Tone)
    pad: PadTone = nested(PadTone)
    balance: Balance = nested(Balance)


@dataclass(frozen=True)
class Style:
    """Everything about one song that depends on its artist."""

    writing: Writing = nested(Writing)
    sound: Sound = nested(Sound)


@dataclass(frozen=True)
class ArtistStyle:
    """An artist's position among all others: the centre around which the styles of the artist's songs scatter."""

    centre: Vector


def draw_artist(rng: np.random.Generator, strength: float) -> ArtistStyle:
    """An artist; at strength 0 all artists are the same."""
    return ArtistStyle(strength * ARTIST_SPREAD * rng.standard_normal(vector_size(Style)))


def draw_style(artist: ArtistStyle, rng: np.random.Generator) -> Style:
    """One song's style."""
    return read_traits(Style, artist.centre + SONG_SPREAD * rng.standard_normal(vector_size(Style)))
