"""Cepstra of spectrograms in dB, and how they vary together over a clip."""

from __future__ import annotations

import torch


def cosines(
    number: int, width: int, dtype: torch.dtype = torch.float32, device: torch.device | None = None
) -> torch.Tensor:
    """``(number, width)``: the first of the discrete cosine transform (DCT-II), all of length 1 but the first: √2."""
    order, place = (torch.arange(n, dtype=dtype, device=device) for n in (number, width))
    return (torch.pi / width * order[:, None] * (place + 0.5)).cos() * (2 / width) ** 0.5


def covariances(rows: torch.Tensor) -> torch.Tensor:
    """``(batch, n (n + 1) / 2)`` covariances over time of ``(batch, n, time)``; of too short a clip they are 0."""
    centred = rows - rows.sum(dim=2, keepdim=True) / max(1, rows.shape[2])
    first, second = torch.triu_indices(rows.shape[1], rows.shape[1], device=rows.device)
    return (centred @ centred.transpose(1, 2) / max(1, rows.shape[2]))[:, first, second]
