"""A published encoder as a network of its own, whose last blocks are fine-tuned."""

from __future__ import annotations

from typing import Self

import torch
from torch import nn

from artistid.errors import ArtistidError, counted
from artistid.models.published.base import BlockEncoder


class FineTuned(nn.Module):
    """Encodes the windows of a clip's samples, and classifies the mean of their vectors.

    All but the last blocks are frozen: without dropout, and with fixed statistics in batch norm. The encoder's
    published weights are read when training starts; a checkpoint contains all weights.

    Args:
        n_artists: number of classes.
        encoder: from windows of samples to vectors, in blocks.
        window: samples per window; a clip's windows do not overlap.
        n_learned: how many of its last blocks with weights are fine-tuned; 0: none.
        dropout: of the vectors, in training.

    Raises:
        ArtistidError: an encoder without blocks, or numbers out of range.
    """

    def __init__(
        self, n_artists: int, encoder: nn.Module, window: int, n_learned: int = 1, dropout: float = 0.3
    ) -> None:
        super().__init__()
        if not isinstance(encoder, BlockEncoder):
            raise ArtistidError(f"model.network.encoder: {type(encoder).__name__} has no blocks to fine-tune")
        learning = [block for block in encoder.used_blocks if any(True for _ in block.parameters())]
        if not 0 <= n_learned <= len(learning) or window < 1:
            raise ArtistidError(
                f"model.network.n_learned={n_learned}, window={window}: expected n_learned, of "
                f"{counted(len(learning), 'block')}, from 0, and window, in samples, above 0"
            )
        self.encoder, self.window = encoder, window
        self.encoder.requires_grad_(False)
        self.learned = learning[len(learning) - n_learned :]
        for block in self.learned:
            block.requires_grad_(True)
        self.norm = nn.BatchNorm1d(encoder.width)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(encoder.width, n_artists)
        self.train()  # Lightning keeps modules in the mode that they are in

    def train(self, mode: bool = True) -> Self:
        """Set training mode, except for frozen blocks, which stay in evaluation mode."""
        super().train(mode)
        self.encoder.eval()
        for block in self.learned:
            block.train(mode)
        return self

    def bottleneck(self, rows: torch.Tensor) -> torch.Tensor:
        """``(batch, d)`` of samples in rows ``(batch, hop, rows)``; shorter clips are padded with silence."""
        samples = rows.transpose(1, 2).flatten(1)
        samples = nn.functional.pad(samples, (0, max(0, self.window - samples.shape[1])))
        windows = samples.unfold(1, self.window, self.window)  # (batch, windows, samples)
        vectors: torch.Tensor = self.encoder(windows.flatten(0, 1).unsqueeze(1))
        return vectors.unflatten(0, windows.shape[:2]).mean(dim=1)

    def classify(self, vectors: torch.Tensor) -> torch.Tensor:
        """Logits ``(batch, artists)`` of vectors ``(batch, d)``."""
        return self.output(self.dropout(self.norm(vectors)))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.classify(self.bottleneck(rows))
