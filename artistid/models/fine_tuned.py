"""A published encoder as a network of its own, whose last blocks learn on."""

from __future__ import annotations

from typing import Self

import torch
from torch import nn

from artistid.errors import ArtistidError, counted
from artistid.models.published.base import BlockEncoder


class FineTuned(nn.Module):
    """Encodes the windows of a clip's samples, and tells artists apart by the mean of their vectors.

    The blocks before the last ones are frozen: they drop nothing, and their batch norm keeps its statistics. The
    encoder's own weights are read when a training begins; a checkpoint has all of them.

    Args:
        n_artists: number of classes.
        encoder: from windows of samples to vectors, in blocks.
        window: samples that it is given at once; a clip's windows follow one another.
        n_learned: how many of the last of its blocks that have weights learn; 0: none.
        dropout: of the vectors, in training.

    Raises:
        ArtistidError: an encoder without blocks, or numbers out of their range.
    """

    def __init__(
        self, n_artists: int, encoder: nn.Module, window: int, n_learned: int = 1, dropout: float = 0.3
    ) -> None:
        super().__init__()
        if not isinstance(encoder, BlockEncoder):
            raise ArtistidError(f"model.network.encoder: {type(encoder).__name__} has no blocks that could learn on")
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
        self.train()  # Lightning takes modules in the mode that it finds them in

    def train(self, mode: bool = True) -> Self:
        """Learn, or not; what is frozen stays as at work."""
        super().train(mode)
        self.encoder.eval()
        for block in self.learned:
            block.train(mode)
        return self

    def bottleneck(self, rows: torch.Tensor) -> torch.Tensor:
        """``(batch, d)`` of samples in rows ``(batch, hop, rows)``; what is too short is filled up with silence."""
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
