"""Further losses, of logits ``(batch, artists)`` and labels ``(batch,)`` or targets ``(batch, artists)``."""

from __future__ import annotations

import math

import torch
from torch import nn

from artistid.errors import ArtistidError
from artistid.models.heads import COSINE_SCALE, CosineHead


class FocalLoss(nn.Module):
    """Cross-entropy with less weight on well-classified clips (Lin et al., ICCV 2017).

    Args:
        gamma: focusing parameter; 0 is cross-entropy.
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


class AngularMargin(nn.Module):
    """Additive angular margin (Deng et al., "ArcFace", CVPR 2019): clips must be nearer their artist by an angle.

    Cross-entropy of the logits of a :class:`artistid.models.heads.CosineHead`, with the margin added to the angle
    between a clip and its own artist. Beyond 180°, where the cosine would rise again, the logit continues to fall
    linearly. For mixed clips it is the mean over their artists, weighted by their shares.

    Args:
        margin: radians.
    """

    def __init__(self, margin: float = 0.2) -> None:
        super().__init__()
        if not 0 <= margin < math.pi / 2:
            raise ArtistidError(f"loss.margin={margin}: expected a number from 0 to less than {math.pi / 2:.2f}")
        self.margin = margin

    def check_network(self, network: nn.Module) -> None:
        """Raises ArtistidError for a network whose logits are not cosines."""
        if not isinstance(getattr(network, "classify", None), CosineHead):
            raise ArtistidError(
                f"loss: AngularMargin needs cosine logits, but {type(network).__name__} has others: expected "
                "++model.network.head=cosine"
            )

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if target.dim() == 1:
            target = nn.functional.one_hot(target, logits.shape[1])
        cosine = (logits / COSINE_SCALE).clamp(-1, 1)
        sine = (1 - cosine.square()).clamp(min=1e-12).sqrt()  # the root's gradient is infinite at 0
        farther = cosine * math.cos(self.margin) - sine * math.sin(self.margin)
        beyond = cosine < -math.cos(self.margin)
        farther = torch.where(beyond, cosine - self.margin * math.sin(self.margin), farther)
        own = torch.eye(logits.shape[1], dtype=torch.bool, device=logits.device)
        # Logits as if the clip were each artist's in turn: (batch, whose, artists).
        as_if = torch.where(own, COSINE_SCALE * farther[:, :, None], logits[:, None, :])
        log_probability = as_if.log_softmax(dim=2).diagonal(dim1=1, dim2=2)
        return -(target * log_probability).sum(dim=1).mean()
