"""Losses beside torch's own, of logits ``(batch, artists)`` and labels ``(batch,)`` or targets ``(batch, artists)``."""

from __future__ import annotations

import torch
from torch import nn

from artistid.errors import ArtistidError


class FocalLoss(nn.Module):
    """Cross-entropy in which clips that are recognised already weigh less (Lin et al., ICCV 2017).

    Args:
        gamma: how much less; 0 is cross-entropy.
    """

    def __init__(self, gamma: float = 2.0) -> None:
        super().__init__()
        if not gamma >= 0:
            raise ArtistidError(f"loss.gamma={gamma}: expected a number of 0 or more")
        self.gamma = gamma

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if target.dim() == 1:
            target = nn.functional.one_hot(target, logits.shape[1])
        log_probability = logits.log_softmax(dim=1)
        weight = (1 - log_probability.exp()) ** self.gamma
        return -(target * weight * log_probability).sum(dim=1).mean()
