"""Augmentation: what training does to a batch before the network sees it.

An augmentation is an ``nn.Module`` called with features ``(batch, width, time)`` float32 and targets
``(batch, artists)``, the share that each artist has in a clip, and returns both. It runs on the batch's device, in
training only, and draws from torch's generators, which the run's seed sets and a resumed run finds as they were.

Here are those that mask and mix; what producers do is in :mod:`.production`, other keys and tempos in :mod:`.warping`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Annotated

import torch
from torch import nn
from torchaudio.transforms import FrequencyMasking, TimeMasking

from artistid.data.features import Features, LogMel, LogSpectrogram
from artistid.data.raw_samples import RawSamples
from artistid.errors import ArtistidError
from artistid.hints import Range, Whole

Share = Annotated[float, Range(0, 1)]
Decibels = Annotated[float, Range(0, 200)]

NEPERS = math.log(10) / 10  # in a decibel, as a natural logarithm of power

Changed = tuple[torch.Tensor, torch.Tensor]


class Augmentations(nn.Module):
    """Several augmentations, one after the other.

    Args:
        augmentations: in their order; one of another package need not be an :class:`Augmentation`.
        n_artists: that labels are indices of.
        features: that they are given; None: any of the same shape.

    Raises:
        ArtistidError: features that one of them cannot be given.
    """

    def __init__(self, augmentations: Iterable[nn.Module], n_artists: int, features: Features | None = None) -> None:
        super().__init__()
        self.augmentations = nn.ModuleList(augmentations)
        self.n_artists = n_artists
        for augment in self.augmentations:
            if features is not None and isinstance(augment, Augmentation):
                augment.adapt(features)

    @property
    def mixes(self) -> bool:
        """Whether a clip may be of several artists afterwards."""
        return any(getattr(augment, "mixes", False) for augment in self.augmentations)

    def forward(self, features: torch.Tensor, label: torch.Tensor) -> Changed:
        """Features ``(batch, width, time)``, and targets ``(batch, artists)`` from labels ``(batch,)``."""
        target = nn.functional.one_hot(label, self.n_artists).to(features.dtype)
        for augment in self.augmentations:
            features, target = augment(features, target)
        return features, target


class Augmentation(nn.Module, ABC):
    """An augmentation of this package: in evaluation it leaves all as it is.

    Attributes:
        mixes: whether it makes clips of several artists.
    """

    mixes = False

    def adapt(self, features: Features) -> None:
        """Told what it will be given; raises ArtistidError for features that it knows no way with."""

    def forward(self, features: torch.Tensor, target: torch.Tensor) -> Changed:
        """Features ``(batch, width, time)`` and targets ``(batch, artists)``, changed in training."""
        return self.change(features, target) if self.training else (features, target)

    @abstractmethod
    def change(self, features: torch.Tensor, target: torch.Tensor) -> Changed:
        """What it does in training."""


class SoundAugmentation(Augmentation):
    """An augmentation that says what would be done to the sound: on log-mel, in dB, or on samples.

    Attributes:
        features: that it is given.
    """

    features: Features

    def __init__(self) -> None:
        super().__init__()
        self.features = LogMel()

    def adapt(self, features: Features) -> None:
        takes_samples = type(self).of_samples is not SoundAugmentation.of_samples
        if not isinstance(features, (LogSpectrogram, RawSamples) if takes_samples else LogSpectrogram):
            expected = "logmel, logpitch or samples" if takes_samples else "logmel or logpitch"
            raise ArtistidError(
                f"augment: {type(self).__name__} is for features={expected}, found features={features.name}"
            )
        self.features = features

    def change(self, features: torch.Tensor, target: torch.Tensor) -> Changed:
        if isinstance(self.features, LogSpectrogram):
            return self.of_log_mel(features, target)
        samples, target = self.of_samples(features.transpose(1, 2).flatten(1), target)
        return samples.unflatten(1, (features.shape[2], -1)).transpose(1, 2), target

    @abstractmethod
    def of_log_mel(self, log_mel: torch.Tensor, target: torch.Tensor) -> Changed:
        """What it does to ``(batch, mel, time)`` in dB."""

    def of_samples(self, samples: torch.Tensor, target: torch.Tensor) -> Changed:
        """What it does to ``(batch, n)`` samples; those that don't say cannot be given any."""
        raise NotImplementedError


def uniform(low: float, high: float, clips: torch.Tensor) -> torch.Tensor:
    """Numbers ``(batch, 1, 1)``, one of each clip, on its device."""
    return torch.empty(len(clips), 1, 1, device=clips.device).uniform_(low, high)


def power_level(decibels: torch.Tensor, dim: int | tuple[int, ...]) -> torch.Tensor:
    """The power of all values in dB along some dimensions, added up, in dB; the dimensions are kept."""
    return torch.logsumexp(decibels * NEPERS, dim=dim, keepdim=True) / NEPERS


class Mixup(Augmentation):
    """Blends each clip of a batch with another one, and their targets alike (Zhang et al., "mixup", ICLR 2018).

    Args:
        alpha: of the beta distribution that a batch's blend is drawn from; near 0, most clips stay as they are.
    """

    mixes = True

    def __init__(self, alpha: float = 0.2) -> None:
        super().__init__()
        if not alpha > 0:
            raise ArtistidError(f"augment.mixup.alpha={alpha}: expected a number above 0")
        self.beta = torch.distributions.Beta(torch.tensor(float(alpha)), torch.tensor(float(alpha)))

    def change(self, features: torch.Tensor, target: torch.Tensor) -> Changed:
        share = self.beta.sample().item()
        other = torch.randperm(len(features), device=features.device)
        return tuple(share * each + (1 - share) * each[other] for each in (features, target))  # type: ignore[return-value]


class SpecAugment(Augmentation):
    """Masks bands of frequencies and stretches of time, of each clip others (Park et al., "SpecAugment", 2019).

    What is masked has the batch's mean, as zeros have in features that were normalised to a mean of zero.

    Args:
        frequency_masks: how many bands.
        frequency_width: of a band at most, in bins.
        time_masks: how many stretches.
        time_width: of a stretch at most, in rows of features.
    """

    def __init__(
        self,
        frequency_masks: Whole = 2,
        frequency_width: Whole = 20,
        time_masks: Whole = 2,
        time_width: Whole = 20,
    ) -> None:
        super().__init__()
        bands = [FrequencyMasking(frequency_width, iid_masks=True) for _ in range(frequency_masks)]
        stretches = [TimeMasking(time_width, iid_masks=True) for _ in range(time_masks)]
        self.masks = nn.ModuleList([*bands, *stretches])

    def change(self, features: torch.Tensor, target: torch.Tensor) -> Changed:
        masked, mean = features[:, None], features.mean()  # (batch, channel, width, time)
        for mask in self.masks:
            masked = mask(masked, mean)
        return masked[:, 0], target


class PowerMix(SoundAugmentation):
    """Plays another song's passage along, more quietly, as Hsieh et al. (ICASSP 2020) shuffle and remix stems.

    The powers of both are added, as those of two sounds that know nothing of each other are; each artist's share of the
    target is the share of the power (Tokozume et al., "Between-class learning", ICLR 2018, share by level). Of samples
    the sounds themselves are added.

    Args:
        share: of the clips that another one is mixed into.
        quietest: dB, by how much the other clip is quieter at most.
    """

    mixes = True

    def __init__(self, share: Share = 0.5, quietest: Decibels = 12.0) -> None:
        super().__init__()
        self.share = share
        self.quietest = quietest

    def of_log_mel(self, log_mel: torch.Tensor, target: torch.Tensor) -> Changed:
        other, gain = self._draw(log_mel)
        added = log_mel[other] + gain
        mixed = torch.logaddexp(log_mel * NEPERS, added * NEPERS) / NEPERS
        levels = (power_level(each, dim=(1, 2))[:, 0, 0] for each in (log_mel, added))
        return mixed, _shared(target, other, *levels)

    def of_samples(self, samples: torch.Tensor, target: torch.Tensor) -> Changed:
        other, gain = self._draw(samples)
        added = samples[other] * (gain[:, 0] / 20 * math.log(10)).exp()
        tiny = torch.finfo(samples.dtype).tiny
        levels = (10 * each.square().mean(dim=1).clamp(min=tiny).log10() for each in (samples, added))
        return samples + added, _shared(target, other, *levels)

    def _draw(self, clips: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Which clip is mixed into each ``(batch,)``, and how loud, in dB ``(batch, 1, 1)``."""
        other = torch.randperm(len(clips), device=clips.device)
        silenced = uniform(0, 1, clips) >= self.share
        return other, (-uniform(0, self.quietest, clips)).masked_fill(silenced, -math.inf)


def _shared(
    target: torch.Tensor, other: torch.Tensor, own_level: torch.Tensor, other_level: torch.Tensor
) -> torch.Tensor:
    """Targets by the share of the power of two sounds in one, of levels ``(batch,)`` in dB."""
    share = torch.sigmoid((own_level - other_level) * NEPERS)[:, None]
    return share * target + (1 - share) * target[other]
