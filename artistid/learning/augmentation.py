"""Augmentation: what training does to a batch before the network sees it.

An augmentation is an ``nn.Module`` called with features ``(batch, width, time)`` float32 and targets
``(batch, artists)``, the share that each artist has in a clip, and returns both. It runs on the batch's device, in
training only, and draws from torch's generators, which the run's seed sets and a resumed run finds as they were.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from torchaudio.transforms import FrequencyMasking, TimeMasking

from artistid.errors import ArtistidError
from artistid.hints import Whole


class Augmentations(nn.Module):
    """Several augmentations, one after the other.

    Args:
        augmentations: in their order.
        n_artists: that labels are indices of.
    """

    def __init__(self, augmentations: Iterable[nn.Module], n_artists: int) -> None:
        super().__init__()
        self.augmentations = nn.ModuleList(augmentations)
        self.n_artists = n_artists

    def forward(self, features: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Features ``(batch, width, time)``, and targets ``(batch, artists)`` from labels ``(batch,)``."""
        target = nn.functional.one_hot(label, self.n_artists).to(features.dtype)
        for augment in self.augmentations:
            features, target = augment(features, target)
        return features, target


class Mixup(nn.Module):
    """Blends each clip of a batch with another one, and their targets alike (Zhang et al., "mixup", ICLR 2018).

    Args:
        alpha: of the beta distribution that a batch's blend is drawn from; near 0, most clips stay as they are.
    """

    def __init__(self, alpha: float = 0.2) -> None:
        super().__init__()
        if not alpha > 0:
            raise ArtistidError(f"augment.mixup.alpha={alpha}: expected a number above 0")
        self.beta = torch.distributions.Beta(torch.tensor(float(alpha)), torch.tensor(float(alpha)))

    def forward(self, features: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        share = self.beta.sample().item()
        other = torch.randperm(len(features), device=features.device)
        return tuple(share * each + (1 - share) * each[other] for each in (features, target))  # type: ignore[return-value]


class SpecAugment(nn.Module):
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

    def forward(self, features: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        masked, mean = features[:, None], features.mean()  # (batch, channel, width, time)
        for mask in self.masks:
            masked = mask(masked, mean)
        return masked[:, 0], target
