"""From logits, a network's or any other system's scores, to predictions."""

from __future__ import annotations

import numpy as np
import torch

from artistid.data.clips import Clips
from artistid.evaluation.predictions import Predictions


def predictions_from_logits(
    logits: torch.Tensor, rows: np.ndarray, clips: Clips, artists: tuple[str, ...]
) -> tuple[float, Predictions]:
    """Mean cross-entropy, and predictions, of the clips ``rows`` (n,) from their logits (n, artists)."""
    label = torch.from_numpy(clips.label[rows])
    loss = torch.nn.functional.cross_entropy(logits.double(), label).item()
    names = np.array(artists, dtype=object)
    predictions = Predictions(
        artists=artists,
        track_id=np.array(clips.track_ids, dtype=object)[clips.track[rows]],
        clip=clips.clip[rows].astype(np.int32),
        artist=names[clips.label[rows]],
        probability=logits.double().softmax(dim=1).float().numpy(),
    )
    return loss, predictions
