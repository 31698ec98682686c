"""From logits, or other unnormalised scores of a system, to predictions."""

from __future__ import annotations

import numpy as np
import torch

from artistid.data.clips import Clips
from artistid.evaluation.predictions import Predictions


def predictions_from_logits(
    logits: torch.Tensor,
    rows: np.ndarray,
    clips: Clips,
    artists: tuple[str, ...],
    of_song: torch.Tensor | None = None,
) -> tuple[float, Predictions]:
    """Mean cross-entropy, and predictions, of the clips ``rows`` (n,) from their logits (n, artists).

    ``of_song`` (n, artists) holds, for each clip, the logits of its song's mean embedding, where there are any.
    """
    label = torch.from_numpy(clips.label[rows])
    loss = torch.nn.functional.cross_entropy(logits.double(), label).item()
    names = np.array(artists, dtype=object)
    predictions = Predictions(
        artists=artists,
        track_id=np.array(clips.track_ids, dtype=object)[clips.track[rows]],
        clip=clips.clip[rows].astype(np.int32),
        artist=names[clips.label[rows]],
        probability=_softmax(logits),
        of_song=None if of_song is None else _softmax(of_song),
    )
    return loss, predictions


def _softmax(logits: torch.Tensor) -> np.ndarray:
    return logits.double().softmax(dim=1).float().numpy()
