"""The instruments: from a note to its samples, by wavetables, frequency modulation, formants and filtered noise.

Samples are float32 at ``SAMPLE_RATE``. A wavetable holds one period of a sound with no harmonic above ``HIGHEST_HZ``;
reading it at the note's frequency costs one look-up per sample, however rich the spectrum.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

from artistid.synthesis import SAMPLE_RATE
from artistid.synthesis.composing import ComposedSong, Drum, Note
from artistid.synthesis.style import Kit, Tone, Voice

Waveform = NDArray[np.float32]
Amplitudes = NDArray[np.floating]

# Hz: no harmonic above it, a little below half the sample rate.
HIGHEST_HZ = 7600.0

# Samples per period in a wavetable: read without interpolation, its steps lie 60 dB below the tone.
TABLE = 2048

# Hz, averages over men's vowels (Peterson & Barney, Control methods used in a study of the vowels, 1952, Table II).
FORMANTS = {
    "i": (270.0, 2290.0, 3010.0),
    "e": (530.0, 1840.0, 2480.0),
    "a": (730.0, 1090.0, 2440.0),
    "o": (570.0, 840.0, 2410.0),
    "u": (300.0, 870.0, 2240.0),
}


def hertz(pitch: float) -> float:
    """MIDI pitch to Hz, A4 = 440 Hz."""
    return float(440.0 * 2.0 ** ((pitch - 69.0) / 12.0))


def _time(seconds: float) -> Waveform:
    return np.arange(max(round(seconds * SAMPLE_RATE), 1), dtype=np.float32) / np.float32(SAMPLE_RATE)


def _noise(rng: np.random.Generator, seconds: float) -> Waveform:
    return rng.standard_normal(max(round(seconds * SAMPLE_RATE), 1), dtype=np.float32)


def _band(samples: Waveform, low: float, high: float) -> Waveform:
    """The samples between two frequencies, Hz."""
    sos = butter(1, (low, min(high, HIGHEST_HZ)), "bandpass", fs=SAMPLE_RATE, output="sos").astype(np.float32)
    filtered: Waveform = sosfilt(sos, samples)
    return filtered


def _resonance(hz: Amplitudes, centre: float, gain_db: float) -> Amplitudes:
    """Gain of a peak an octave wide."""
    return 10.0 ** (gain_db / 20.0 * np.exp(-0.5 * (np.log2(hz / centre) / 0.5) ** 2))


def _wavetable(amplitudes: Amplitudes) -> Waveform:
    """One period, shape (TABLE,), of the harmonics 1, 2, …; quadratic phases keep its peaks low."""
    k = np.arange(1, len(amplitudes) + 1)
    spectrum = np.zeros(TABLE // 2 + 1, dtype=complex)
    # Schroeder's phases: Synthesis of low-peak-factor signals, IEEE Trans. Inf. Theory 16, 1970.
    spectrum[k] = amplitudes * np.exp(-1j * np.pi * k * (k - 1) / len(k))
    table: Waveform = (np.fft.irfft(spectrum) * TABLE / 2).astype(np.float32)
    return table


def _read(table: Waveform, cycles: Waveform) -> Waveform:
    """The table (TABLE,) at phases given in cycles since the note's start."""
    return table[(cycles * TABLE).astype(np.int32) & (TABLE - 1)]


# --- pitched instruments ---


def _spectrum(tone: Tone, pitch: int) -> Amplitudes:
    """Amplitudes of the harmonics up to ``HIGHEST_HZ``."""
    k = np.arange(1, max(int(HIGHEST_HZ / hertz(pitch)), 1) + 1)
    hz = k * hertz(pitch)
    if tone.engine == "subtractive":
        # A sawtooth through a resonant low-pass of 24 dB per octave.
        amplitudes = 1.0 / k / np.sqrt(1.0 + (hz / tone.cutoff) ** 8) * _resonance(hz, tone.cutoff, tone.resonance)
    else:
        amplitudes = k ** (-tone.tilt / 6.02) * np.where(k % 2 == 0, tone.even, 1.0)
    return amplitudes * _resonance(hz, tone.body, tone.body_gain)


def _oscillate(tone: Tone, pitch: int, cycles: Waveform, t: Waveform) -> Waveform:
    """The tone with its decay, faster for higher harmonics, but without attack and release."""
    rate = tone.dulling / tone.decay
    if tone.engine == "fm":
        # Carson's rule: beyond this index the sidebands would alias.
        highest_index = max((HIGHEST_HZ / hertz(pitch) - 1.0) / tone.ratio - 1.0, 0.0)
        index = min(tone.index, highest_index) * np.exp(-t * np.float32(rate))
        turns = np.float32(2.0 * np.pi) * cycles
        return np.sin(turns + index * np.sin(np.float32(tone.ratio) * turns)) * _level(tone, t)
    amplitudes = _spectrum(tone, pitch)
    upper = np.where(np.arange(1, len(amplitudes) + 1) > 3, amplitudes, 0.0)
    wave = _read(_wavetable(amplitudes - upper), cycles) * _level(tone, t)
    if upper.any():
        wave += _read(_wavetable(upper), cycles) * np.exp(-t * np.float32(rate))
    return wave


def _level(tone: Tone, t: Waveform) -> Waveform:
    return np.float32(tone.sustain) + np.float32(1.0 - tone.sustain) * np.exp(-t / np.float32(tone.decay))


def play_tone(tone: Tone, pitch: int, duration: float) -> Waveform:
    """One note, its release included."""
    t = _time(duration + 4.0 * tone.release)
    cycles = np.float32(hertz(pitch)) * t
    wave = _oscillate(tone, pitch, cycles, t)
    wave += _oscillate(tone, pitch, cycles * np.float32(2.0 ** (tone.detune / 1200.0)), t)
    wave *= 1.0 - np.float32(tone.tremolo) * (0.5 + 0.5 * np.sin(np.float32(2.0 * np.pi * tone.tremolo_rate) * t))
    return wave * np.minimum(t / np.float32(tone.attack), 1.0) * _release(t, duration, tone.release)


def _release(t: Waveform, duration: float, release: float) -> Waveform:
    return np.exp(-np.maximum(t - np.float32(duration), 0.0) / np.float32(release))


# --- the voice ---


def _tract(voice: Voice, vowel: str, hz: Amplitudes) -> Amplitudes:
    """Gain of the vocal tract: its formants in cascade (Fant, Acoustic theory of speech production, 1960)."""
    gain = np.ones_like(hz)
    for formant, bandwidth in zip((*FORMANTS[vowel], 3500.0), (70.0, 90.0, 130.0, 200.0), strict=True):
        x = hz / (formant * voice.tract)
        gain /= np.sqrt((1.0 - x**2) ** 2 + (x * bandwidth / formant) ** 2)
    return gain


@lru_cache(maxsize=512)
def _sung(voice: Voice, vowel: str, pitch: int) -> Waveform:
    """The wavetable of a vowel."""
    k = np.arange(1, int(HIGHEST_HZ / hertz(pitch)) + 1)
    hz = k * hertz(pitch)
    source = k ** (-voice.tilt / 6.02)
    table = _wavetable(source * _tract(voice, vowel, hz) * _resonance(hz, 3000.0, voice.singers_formant))
    # Equally loud vowels: singers compensate for the formants.
    return table / np.sqrt(np.mean(table**2))


def sing(voice: Voice, notes: list[Note], samples: int, rng: np.random.Generator) -> Waveform:
    """The whole vocal part, (samples,): syllables of vowels with scoop and vibrato, consonants and breath."""
    tone, air = np.zeros(samples, dtype=np.float32), np.zeros(samples, dtype=np.float32)
    for note in notes:
        t = _time(note.duration + 3.0 * voice.release)
        start = round(note.start * SAMPLE_RATE)
        wave = _syllable(voice, note.pitch, t, rng)
        envelope = note.velocity * np.minimum(t / np.float32(voice.attack), 1.0)
        envelope *= _release(t, note.duration, voice.release)
        add(tone, start, wave * envelope)
        add(air, start, envelope * np.float32(voice.breathiness))
        burst = np.hanning(round(rng.uniform(0.03, 0.09) * SAMPLE_RATE)).astype(np.float32)
        add(air, start - len(burst) // 2, burst * np.float32(note.velocity * voice.consonant * rng.random()))
    breath = _band(rng.standard_normal(samples, dtype=np.float32), 0.7 * voice.hiss, 1.4 * voice.hiss)
    return tone + air * breath


def _syllable(voice: Voice, pitch: int, t: Waveform, rng: np.random.Generator) -> Waveform:
    vibrato = np.float32(voice.vibrato) * np.minimum(t / np.float32(voice.vibrato_onset), 1.0) ** 2
    rate, phase = (
        np.float32(2.0 * np.pi * voice.vibrato_rate * rng.normal(1.0, 0.04)),
        np.float32(rng.uniform(0.0, 6.28)),
    )
    cents = vibrato * np.sin(rate * t + phase)
    cents -= np.float32(voice.scoop * rng.random()) * np.exp(-t / np.float32(0.05))
    cents += np.float32(rng.normal(0.0, 8.0))
    # Summed in double precision: single would lose the phase within seconds.
    turns = np.cumsum(np.exp2(cents / np.float32(1200.0)), dtype=np.float64) * (hertz(pitch) / SAMPLE_RATE)
    cycles = (turns % 1.0).astype(np.float32)
    vowel = voice.vowels.draw(rng)
    wave = _read(_sung(voice, vowel, pitch), cycles)
    if rng.random() < voice.diphthong:
        glide = np.clip((t / t[-1] - 0.3) / 0.4, 0.0, 1.0) if len(t) > 1 else t
        wave = wave + glide * (_read(_sung(voice, voice.vowels.draw(rng), pitch), cycles) - wave)
    return wave


# --- drums ---


def play_drum(kit: Kit, drum: Drum, rng: np.random.Generator) -> Waveform:
    """One stroke at full velocity."""
    match drum:
        case Drum.KICK:
            return _kick(kit, rng)
        case Drum.SNARE:
            return _snare(kit, rng)
        case Drum.HAT:
            return _metal(kit, rng, kit.hat_decay)
        case Drum.OPEN_HAT:
            return _metal(kit, rng, 5.0 * kit.hat_decay)
        case Drum.CRASH:
            return _metal(kit, rng, kit.crash_decay, lower=0.6)
        case _:
            return _tom(kit, kit.tom_pitch * {Drum.LOW_TOM: 1.0, Drum.MID_TOM: 1.35, Drum.HIGH_TOM: 1.8}[drum])


def _struck(pitch: float, sweep: float, decay: float, fall: float) -> Waveform:
    """A drumhead: a sine that falls from ``sweep`` times ``pitch`` to it with the time constant ``fall``, seconds."""
    t = _time(6.0 * decay)
    cycles = pitch * (t + (sweep - 1.0) * fall * (1.0 - np.exp(-t / fall)))
    wave: Waveform = (np.sin(2.0 * np.pi * cycles) * np.exp(-t / decay)).astype(np.float32)
    return wave


def _kick(kit: Kit, rng: np.random.Generator) -> Waveform:
    wave = _struck(kit.kick_pitch, kit.kick_sweep, kit.kick_decay, fall=0.03)
    click = _band(_noise(rng, 0.02), 1500.0, 5000.0)
    wave[: len(click)] += np.float32(kit.kick_click) * click * np.linspace(1.0, 0.0, len(click), dtype=np.float32)
    return wave


def _snare(kit: Kit, rng: np.random.Generator) -> Waveform:
    wires = _noise(rng, 6.0 * kit.snare_decay)
    wires *= np.exp(-_time(6.0 * kit.snare_decay) / np.float32(kit.snare_decay))
    wires = _band(wires, 0.5 * kit.snare_centre, 2.0 * kit.snare_centre)
    add(wires, 0, np.float32(kit.snare_tone) * _struck(kit.snare_pitch, 1.4, 0.06, fall=0.02))
    add(wires, 0, np.float32(0.5 * kit.snare_tone) * _struck(1.6 * kit.snare_pitch, 1.2, 0.04, fall=0.02))
    return wires


def _metal(kit: Kit, rng: np.random.Generator, decay: float, lower: float = 1.0) -> Waveform:
    """Noise and a cluster of inharmonic partials, up to ``HIGHEST_HZ``."""
    t = _time(5.0 * decay)
    centre = lower * kit.hat_centre
    ratios = np.array((0.52, 0.61, 0.74, 0.83, 0.97, 1.0, 1.07), dtype=np.float32)
    cluster = np.sin(np.float32(2.0 * np.pi * centre) * ratios[:, None] * t).sum(axis=0)
    wave = (1.0 - np.float32(kit.hat_metal)) * _noise(rng, 5.0 * decay) + np.float32(0.5 * kit.hat_metal) * cluster
    return _band(wave, 0.7 * centre, HIGHEST_HZ) * np.exp(-t / np.float32(decay))


def _tom(kit: Kit, pitch: float) -> Waveform:
    return _struck(pitch, 1.6, 0.15, fall=0.05)


def add(track: Waveform, start: int, samples: Waveform) -> None:
    """Add in place the part of ``samples`` that falls inside the track."""
    first, last = max(start, 0), min(start + len(samples), len(track))
    if first < last:
        track[first:last] += samples[first - start : last - start]


# Root mean square of every dry mix: the loudness of a record is set by its producer.
MIX_RMS = 0.1

DRUM_TRACKS = {
    "kick": (Drum.KICK,),
    "snare": (Drum.SNARE, Drum.LOW_TOM, Drum.MID_TOM, Drum.HIGH_TOM),
    "cymbals": (Drum.HAT, Drum.OPEN_HAT, Drum.CRASH),
}

# Different strokes per drum, taken in turn, since no two strokes are quite alike.
TAKES = 3


def render(song: ComposedSong, rng: np.random.Generator) -> Waveform:
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


def _tracks(song: ComposedSong, samples: int, rng: np.random.Generator) -> Iterator[tuple[str, Waveform]]:
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


def _drum_track(kit: Kit, strokes: list[Note], samples: int, rng: np.random.Generator) -> Waveform:
    takes = {
        drum: [play_drum(kit, Drum(drum), rng) for _ in range(TAKES)] for drum in sorted({n.pitch for n in strokes})
    }
    track = np.zeros(samples, dtype=np.float32)
    for i, note in enumerate(strokes):
        add(track, round(note.start * SAMPLE_RATE), np.float32(note.velocity) * takes[note.pitch][i % TAKES])
    return track


def _tone_track(tone: Tone, notes: list[Note], samples: int) -> Waveform:
    """The track of some notes; equal ones are played once and added wherever they occur."""
    played: dict[tuple[int, float], Waveform] = {}
    track = np.zeros(samples, dtype=np.float32)
    for note in notes:
        key = (note.pitch, note.duration)
        if key not in played:
            played[key] = play_tone(tone, *key)
        add(track, round(note.start * SAMPLE_RATE), np.float32(note.velocity) * played[key])
    return track


def _fade_out(samples: Waveform, seconds: float) -> None:
    length = round(seconds * SAMPLE_RATE)
    samples[-length:] *= np.linspace(1.0, 0.0, length, dtype=np.float32)


def _rms(samples: Waveform) -> float:
    return float(np.sqrt(np.mean(np.square(samples))))
