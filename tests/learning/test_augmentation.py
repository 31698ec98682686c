"""Augmentations against their definitions: what each does to a batch of known sound, and that evaluation knows none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.signal
import torch
from omegaconf import OmegaConf
from torch import nn

from artistid.config import config_dir
from artistid.data.features import LogMel
from artistid.data.raw_samples import RawSamples
from artistid.errors import ArtistidError
from artistid.learning.augmentation import Augmentation, Augmentations, PowerMix
from artistid.learning.networks import named_parts
from artistid.learning.production import Compression, Equaliser, Gain, LowPass
from artistid.learning.warping import PitchShift, TimeStretch

OCTAVES = torch.from_numpy(LogMel().frequencies).log2()  # (mel,)
CHOICES = sorted(path.stem for path in (config_dir() / "augment").glob("*.yaml"))
TARGET = torch.eye(2)


def clips(n: int = 2, frames: int = 40) -> torch.Tensor:
    """Log-mel ``(n, mel, frames)`` between -60 and 0 dB, over a floor of -80."""
    values = torch.rand(n, 128, frames, generator=torch.Generator().manual_seed(0)) * 60 - 60
    values[:, -1, -1] = -80
    return values


def tone(hz: float, rate: int = 16000, seconds: float = 1.5) -> np.ndarray:
    return np.sin(2 * np.pi * hz * np.arange(int(rate * seconds)) / rate).astype(np.float32)


def on_samples(augment: Augmentation, samples: torch.Tensor, target: torch.Tensor = TARGET) -> Any:
    """What it makes of samples ``(batch, n)``, which it is given in rows as networks are."""
    augment.adapt(RawSamples())
    changed, target = augment(samples.unflatten(1, (-1, 512)).transpose(1, 2), target)
    return changed.transpose(1, 2).flatten(1), target


@pytest.mark.parametrize("choice", CHOICES)
def test_each_changes_training_and_nothing_else(choice: str) -> None:
    torch.manual_seed(1)
    config = OmegaConf.create({"augment": OmegaConf.load(config_dir() / "augment" / f"{choice}.yaml")})
    [augment] = named_parts(config, "augment", nn.Module).values()
    augment.adapt(LogMel())
    given = clips(), TARGET
    changed, target = augment(*given)
    assert changed.shape == given[0].shape
    assert changed.isfinite().all()
    assert not torch.equal(changed, given[0])
    assert augment.mixes or target is TARGET
    same = augment.eval()(*given)
    assert same[0] is given[0]
    assert same[1] is given[1]


def test_several_are_one_after_the_other() -> None:
    torch.manual_seed(0)
    both = Augmentations([Gain(3.0), PowerMix(share=1.0)], 2, LogMel())
    assert both.mixes
    changed, target = both(clips(), torch.tensor([0, 1]))
    torch.manual_seed(0)
    louder, _ = Gain(3.0)(clips(), TARGET)
    expected, shares = PowerMix(share=1.0)(louder, TARGET)
    assert torch.equal(changed, expected)
    assert torch.equal(target, shares)


def test_gain() -> None:
    torch.manual_seed(0)
    difference = Gain(6.0)(clips(), TARGET)[0] - clips()
    gain = difference[:, :1, :1]
    torch.testing.assert_close(difference, gain.expand_as(difference), atol=1e-4, rtol=0)
    assert 0 < gain.abs().max() <= 6
    assert gain[0] != gain[1]
    samples = torch.randn(2, 1024)
    ratio = on_samples(Gain(6.0), samples)[0] / samples
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio))
    assert (20 * ratio[:, 0].log10()).abs().max() <= 6


def test_a_band_of_the_equaliser_is_a_bell_over_octaves() -> None:
    torch.manual_seed(0)
    difference = Equaliser(bands=1, decibels=9.0, octaves=1.5)(clips(), TARGET)[0] - clips()
    torch.testing.assert_close(difference[:, :-1], difference[:, :-1, :1].expand(-1, -1, 40), atol=1e-4, rtol=0)
    for curve in difference[:, :, 0]:
        heard = curve.abs() > 0.05
        bell = np.polyfit(OCTAVES[heard].numpy(), curve[heard].abs().log().numpy(), 2)  # log of a Gaussian
        residual = np.polyval(bell, OCTAVES[heard]) - curve[heard].abs().log().numpy()
        assert np.abs(residual).max() < 0.02
        assert 1.5 / 4 <= (-1 / (2 * bell[0])) ** 0.5 <= 1.5  # its deviation
        assert curve.abs().max() <= 9


def test_nothing_falls_below_a_clips_floor() -> None:
    for augment in (Equaliser(decibels=60), LowPass(lowest=50.0), Compression(ratio=100)):
        torch.manual_seed(0)
        assert augment(clips(), TARGET)[0].min() == -80


def test_low_pass_is_a_butterworth_filter() -> None:
    torch.manual_seed(5)
    loud = torch.zeros(1, 128, 3)
    loud[0, 0, 0] = -500.0  # a floor far below
    curve = (LowPass(lowest=500.0)(loud, TARGET)[0] - loud)[0, :, 1].numpy()
    torch.manual_seed(5)
    cutoff = 2 ** torch.empty(1, 1, 1).uniform_(np.log2(500), OCTAVES[-1].item()).item()
    order = int(torch.randint(1, 5, (1, 1, 1)))
    poles = scipy.signal.butter(order, 2 * np.pi * cutoff, analog=True)
    _, response = scipy.signal.freqs(*poles, 2 * np.pi * LogMel().frequencies)
    np.testing.assert_allclose(curve, 20 * np.log10(np.abs(response)), atol=1e-3)


def test_compression_divides_what_is_above_the_threshold_by_the_ratio() -> None:
    torch.manual_seed(0)
    level = torch.tensor([0.0, -6.0, -12.0, -30.0, -45.0])  # of five frames; the threshold is at -20
    frames = level.expand(1, 128, 5).clone()
    compressed = Compression(ratio=4.0, threshold=20.0, seconds=0.0)(frames, TARGET)[0][0, 0]
    above = (compressed[0] - compressed[1:3]) / (level[0] - level[1:3])
    torch.testing.assert_close(above, above[:1].expand(2))
    assert 1 / 4 <= above[0] < 1
    torch.testing.assert_close(compressed[3] - compressed[4], level[3] - level[4])
    torch.testing.assert_close(compressed[0] - compressed[3], 20 * above[0] + 10)
    assert compressed[4] > level[4], "it is made up for"


def test_pitch_shift_moves_a_tone_to_where_it_would_be() -> None:
    torch.manual_seed(2)
    features = LogMel()
    log_mel = torch.from_numpy(features(tone(880.0)).T)[None]
    shifted, _ = PitchShift(semitones=12.0)(log_mel, TARGET)
    torch.manual_seed(2)
    factor = 2 ** (torch.empty(1, 1, 1).uniform_(-12, 12).item() / 12)
    truly = torch.from_numpy(features(tone(880.0 * factor)).T)
    assert abs(int(shifted[0, :, 20].argmax()) - int(truly[:, 20].argmax())) <= 1
    assert abs(factor - 1) > 0.1


@pytest.mark.parametrize("augment", [PitchShift(semitones=5.0), TimeStretch(factor=1.5)])
def test_key_and_tempo_of_samples(augment: Augmentation) -> None:
    """A tone is transposed by what was drawn, and its clicks come sooner or later by what was drawn, never both."""
    torch.manual_seed(3)
    transposes = isinstance(augment, PitchShift)
    most = 5 / 12 * np.log(2) if transposes else np.log(1.5)
    n = 512 * 60
    sound = torch.from_numpy(tone(1000.0, seconds=2.0)[:n])
    swell = 1 + 0.9 * torch.sin(2 * np.pi * 4 * torch.arange(n) / 16000)  # four times a second
    changed = on_samples(augment, (sound * swell)[None], torch.eye(1))[0][0].numpy()
    torch.manual_seed(3)
    drawn = torch.empty(()).uniform_(-5, 5).item() / 12 * np.log(2) if transposes else None
    if drawn is None:
        drawn = torch.empty(()).uniform_(-most, most).item()
    assert abs(drawn) > 0.05
    middle = changed[4000:-8000]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    pitch = spectrum.argmax() * 16000 / len(middle)
    assert pitch == pytest.approx(1000 * (np.exp(drawn) if transposes else 1), rel=0.01)
    envelope = np.abs(scipy.signal.hilbert(middle))
    beats = np.abs(np.fft.rfft(envelope - envelope.mean(), 2**18))
    assert beats.argmax() * 16000 / 2**18 == pytest.approx(4 * (1 if transposes else np.exp(drawn)), rel=0.05)


def test_time_stretch_reads_frames_at_another_rate_and_turns_back() -> None:
    torch.manual_seed(0)
    ramp = torch.arange(50.0).expand(8, 3, 50)
    stretched, _ = TimeStretch(factor=2.0)(ramp, torch.eye(8))
    assert torch.equal(stretched[:, 0], stretched[:, 2])
    steps = stretched[:, 0].diff(dim=1)
    rate = steps[:, 0]
    assert rate.min() < 1 < rate.max()
    for rows, each in zip(steps, rate, strict=True):
        if each <= 1:
            torch.testing.assert_close(rows, each.expand(49), atol=1e-4, rtol=0)
        else:  # to the end, and from there back
            assert rows[-1] == pytest.approx(-float(each), abs=1e-4)
            assert (rows.abs() - each < 1e-4).all()


def test_power_mix_adds_powers_and_shares_targets() -> None:
    equal = torch.full((2, 128, 4), -20.0)
    mixed, target = PowerMix(share=1.0, quietest=0.0)(equal, TARGET)
    torch.testing.assert_close(mixed, equal + 10 * np.log10(2))
    assert torch.equal(target, torch.full((2, 2), 0.5)) or torch.equal(target, TARGET), "with another clip, or itself"
    torch.manual_seed(0)
    order = torch.randperm(2).tolist()
    torch.manual_seed(0)
    unequal = equal + torch.tensor([0.0, -10.0])[:, None, None]
    mixed, target = PowerMix(share=1.0, quietest=0.0)(unequal, TARGET)
    power = torch.tensor([1.0, 0.1])
    expected = power / (power + power[order])
    torch.testing.assert_close(target[[0, 1], [0, 1]], expected if order == [1, 0] else torch.ones(2))
    same, alone = PowerMix(share=0.0)(equal, TARGET)
    assert torch.equal(alone, TARGET)
    torch.testing.assert_close(same, equal)
    samples = torch.randn(2, 1024)
    torch.manual_seed(0)
    sums, _ = on_samples(PowerMix(share=1.0, quietest=0.0), samples)
    torch.testing.assert_close(sums, samples + samples[order])


@pytest.mark.parametrize("augment", [Equaliser(), LowPass(), Compression()])
def test_those_of_log_mel_refuse_samples(augment: Augmentation) -> None:
    with pytest.raises(ArtistidError, match=f"{type(augment).__name__}.*features=logmel.*features=samples"):
        augment.adapt(RawSamples())
