"""The sound of an album: what its producer, its studio and its mastering do to every song on it.

Equaliser and room are linear and applied as one impulse response; then come a compressor, saturation, the noise of the
tape, its low-pass, and the loudness of the master. None of it depends on the artist.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import butter, fftconvolve, firwin2, oaconvolve, sosfilt

from artistid.synthesis import SAMPLE_RATE
from artistid.synthesis.instruments import Waveform
from artistid.synthesis.style import PRODUCER_SPREAD, read_traits, trait, vector_size

# Centres of the equaliser's bands.
EQUALISER_HZ = (80.0, 250.0, 700.0, 1800.0, 3800.0, 6500.0)

# Samples, 10 ms: the compressor's resolution.
BLOCK = 160


@dataclass(frozen=True)
class Production:
    """How an album sounds: its equaliser, room, compression, noise and loudness."""

    equaliser: tuple[float, ...] = trait(-8.0, 8.0, size=len(EQUALISER_HZ))  # dB at EQUALISER_HZ
    reverberation: float = trait(0.25, 2.0, log=True)  # seconds to -60 dB
    wetness: float = trait(-20.0, -4.0)  # level of the room against the direct sound, dB
    damping: float = trait(1200.0, 6000.0, log=True)  # low-pass of the room, Hz
    predelay: float = trait(0.002, 0.04, log=True)  # seconds
    threshold: float = trait(-34.0, -14.0)  # of the compressor, dB below full scale
    ratio: float = trait(1.2, 5.0, log=True)  # of the compressor
    recovery: float = trait(0.03, 0.3, log=True)  # its time constant, seconds
    drive: float = trait(0.5, 4.0, log=True)  # gain into the saturation, where the mix peaks near 1
    noise: float = trait(-72.0, -42.0)  # noise floor against the music, dB
    noise_colour: float = trait(300.0, 6000.0, log=True)  # where the noise starts to fall, Hz
    lowpass: float = trait(4200.0, 7800.0, log=True)  # Hz
    loudness: float = trait(-24.0, -12.0)  # root mean square, dB below full scale


def draw_production(rng: np.random.Generator, strength: float) -> Production:
    """An album's production; at strength 0 every album has the same, neutral one."""
    return read_traits(Production, strength * PRODUCER_SPREAD * rng.standard_normal(vector_size(Production)))


def produce(samples: Waveform, production: Production, rng: np.random.Generator) -> Waveform:
    """The mix (samples,) as released, within ±1; ``rng`` draws the tape noise, new for every song."""
    wet = oaconvolve(samples, _impulse_response(production))[: len(samples)].astype(np.float32)
    squeezed = _compress(wet, production)
    drive = np.float32(production.drive / (4.0 * _rms(squeezed)))
    driven = np.tanh(drive * squeezed)
    noise = np.float32(10.0 ** (production.noise / 20.0) * _rms(driven)) * _tape_noise(len(samples), production, rng)
    taped = _lowpass(driven + noise, production.lowpass, order=4)
    # The limiter: a master's peaks are rounded off, not clipped.
    return np.tanh(np.float32(10.0 ** (production.loudness / 20.0) / _rms(taped)) * taped)


def _impulse_response(production: Production) -> Waveform:
    """Equaliser and room in one: the direct sound followed by decaying noise, both equalised."""
    gains = 10.0 ** (np.array(production.equaliser) / 20.0)
    frequencies = np.array((0.0, *EQUALISER_HZ, SAMPLE_RATE / 2))
    equaliser = firwin2(513, frequencies, np.concatenate((gains[:1], gains, gains[-1:])), fs=SAMPLE_RATE)
    return fftconvolve(equaliser, _room(production)).astype(np.float32)


def _room(production: Production) -> Waveform:
    """A unit impulse and the room's response, white noise that decays exponentially.

    After Moorer, About this reverberation business, Computer Music Journal 3, 1979. The noise is the same in all rooms,
    which differ in their decay only, so a production of strength 0 adds no difference.
    """
    length = round(production.reverberation * SAMPLE_RATE)
    t = np.arange(length) / length
    noise = np.random.default_rng(1979).standard_normal(length) * 10.0 ** (-3.0 * t)
    tail = _lowpass(noise.astype(np.float32), production.damping, order=1)
    delay = round(production.predelay * SAMPLE_RATE)
    room = np.zeros(delay + length, dtype=np.float32)
    room[delay:] = tail * 10.0 ** (production.wetness / 20.0) / np.sqrt(np.sum(tail**2))
    room[0] += 1.0
    return room


def _compress(samples: Waveform, production: Production) -> Waveform:
    """Above the threshold the level rises by only 1/ratio dB per dB; ``recovery`` sets how fast the gain follows."""
    blocks = np.pad(samples, (0, -len(samples) % BLOCK)).reshape(-1, BLOCK)
    pole = np.exp(-BLOCK / SAMPLE_RATE / production.recovery)
    smoothed = sosfilt([[1.0 - pole, 0.0, 0.0, 1.0, -pole, 0.0]], np.mean(np.square(blocks), axis=1, dtype=np.float64))
    excess = np.maximum(10.0 * np.log10(np.maximum(smoothed, 1e-12)) - production.threshold, 0.0)
    gain = 10.0 ** (-(1.0 - 1.0 / production.ratio) * excess / 20.0)
    centres = (np.arange(len(gain)) + 0.5) * BLOCK
    curve: Waveform = np.interp(np.arange(len(samples)), centres, gain).astype(np.float32)
    return samples * curve


def _tape_noise(samples: int, production: Production, rng: np.random.Generator) -> Waveform:
    noise = _lowpass(rng.standard_normal(samples, dtype=np.float32), production.noise_colour, order=1)
    return noise / np.float32(_rms(noise))


def _lowpass(samples: Waveform, hz: float, order: int) -> Waveform:
    filtered: Waveform = sosfilt(butter(order, hz, fs=SAMPLE_RATE, output="sos").astype(np.float32), samples)
    return filtered


def _rms(samples: Waveform) -> float:
    return float(np.sqrt(np.mean(np.square(samples))))
