"""Augmentation of training batches.

An augmentation is an ``nn.Module`` called with features ``(batch, width, time)`` float32 and targets
``(batch, artists)``, the share that each artist has in a clip, and returns both. It runs on the batch's device, in
training only, and draws from torch's generators, which the run's seed sets and a resumed run restores.

This module masks and mixes; production effects are in :mod:`.production`, other keys and tempos in :mod:`.warping`.
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

NEPERS = math.log(10) / 10  # per decibel: the natural logarithm of power

Changed = tuple[torch.Tensor, torch.Tensor]


class Augmentations(nn.Module):
    """Several augmentations, one after the other.

    Args:
        augmentations: in order; one from another package need not be an :class:`Augmentation`.
        n_artists: number of artists that labels index.
        features: the features of the batches; None: any of the same shape.

    Raises:
        ArtistidError: one of them cannot process these features.
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
        """Whether a clip may contain several artists afterwards."""
        return any(getattr(augment, "mixes", False) for augment in self.augmentations)

    def forward(self, features: torch.Tensor, label: torch.Tensor) -> Changed:
        """Features ``(batch, width, time)``, and targets ``(batch, artists)`` from labels ``(batch,)``."""
        target = nn.functional.one_hot(label, self.n_artists).to(features.dtype)
        for augment in self.augmentations:
            features, target = augment(features, target)
        return features, target


class Augmentation(nn.Module, ABC):
    """An augmentation of this package: in evaluation mode it changes nothing.

    Attributes:
        mixes: whether it mixes clips of several artists.
    """

    mixes = False

    def adapt(self, features: Features) -> None:
        """Called with the features to expect; raises ArtistidError for features that it does not support."""

    def forward(self, features: torch.Tensor, target: torch.Tensor) -> Changed:
        """Features ``(batch, width, time)`` and targets ``(batch, artists)``, changed in training."""
        return self.change(features, target) if self.training else (features, target)

    @abstractmethod
    def change(self, features: torch.Tensor, target: torch.Tensor) -> Changed:
        """The change applied in training."""


class SoundAugmentation(Augmentation):
    """An augmentation of the sound itself: computed on log-mel, in dB, or on samples.

    Attributes:
        features: the features of the batches.
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
        """The change to ``(batch, mel, time)`` in dB."""

    def of_samples(self, samples: torch.Tensor, target: torch.Tensor) -> Changed:
        """The change to samples ``(batch, n)``; without this method, samples are not supported."""
        raise NotImplementedError


def uniform(low: float, high: float, clips: torch.Tensor) -> torch.Tensor:
    """Random numbers ``(batch, 1, 1)``, one per clip, on its device."""
    return torch.empty(len(clips), 1, 1, device=clips.device).uniform_(low, high)


def power_level(decibels: torch.Tensor, dim: int | tuple[int, ...]) -> torch.Tensor:
    """The summed power, in dB, of values in dB along some dimensions, which are kept."""
    return torch.logsumexp(decibels * NEPERS, dim=dim, keepdim=True) / NEPERS


class Mixup(Augmentation):
    """Blends each clip and its target with another of the batch (Zhang et al., "mixup", ICLR 2018).

    Args:
        alpha: parameter of the beta distribution of a batch's blend; near 0, most clips hardly change.
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
    """Masks frequency bands and time spans, drawn anew for each clip (Park et al., "SpecAugment", 2019).

    Masked values are set to the batch's mean, which corresponds to zeros in features normalised to zero mean.

    Args:
        frequency_masks: number of bands.
        frequency_width: maximum width of a band, in bins.
        time_masks: number of time spans.
        time_width: maximum length of a span, in rows of features.
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
    """Mixes in a quieter clip of another song, much as Hsieh et al. (ICASSP 2020) shuffle and remix stems.

    The powers of both are added, as those of uncorrelated sounds are; each artist's share of the target is its share of
    the power (Tokozume et al., "Between-class learning", ICLR 2018, share by level). Samples are added directly.

    Args:
        share: share of the clips that another one is mixed into.
        quietest: maximum attenuation of the other clip, in dB.
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
        """The index ``(batch,)`` of the clip mixed into each, and its gain in dB ``(batch, 1, 1)``."""
        other = torch.randperm(len(clips), device=clips.device)
        silenced = uniform(0, 1, clips) >= self.share
        return other, (-uniform(0, self.quietest, clips)).masked_fill(silenced, -math.inf)


def _shared(
    target: torch.Tensor, other: torch.Tensor, own_level: torch.Tensor, other_level: torch.Tensor
) -> torch.Tensor:
    """Targets by each sound's share of the power of a mix of two, from their levels ``(batch,)`` in dB."""
    share = torch.sigmoid((own_level - other_level) * NEPERS)[:, None]
    return share * target + (1 - share) * target[other]
