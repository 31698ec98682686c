"""What a tagger hears in a window, beside the timbre, pitch intervals and rhythm of the same window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch

from artistid.errors import ArtistidError
from artistid.models.published.base import PublishedEncoder
from artistid.models.published.fronts import PitchLevels
from artistid.models.published.musicnn import Musicnn
from artistid.models.timbre_pitch import TIMBRE_AND_PITCH, TimbreAndPitch

PIECE = 512 + 186 * 256  # samples that musicnn takes at a time: 187 frames, 3 s
# The store's half precision ends at 65,504; the variance of the loudness of a window can be twice that, in dB².
SCALE = 1 / 16


class MusicnnAndPitch(PublishedEncoder):
    """musicnn's vector of a window, and :class:`artistid.models.timbre_pitch.TimbreAndPitch` of the same window.

    The tagger was trained on far more timbre than a collection holds, but hears no melody: they complement each other,
    see docs/benchmarks/unheard-albums.md.

    Args:
        model, path: see :class:`artistid.models.published.musicnn.Musicnn`.
        parts: see :class:`artistid.models.timbre_pitch.TimbreAndPitch`.

    Raises:
        ArtistidError: a window that is shorter than the tagger's 3 s.
    """

    licence = Musicnn.licence
    title = Musicnn.__name__

    def __init__(
        self,
        model: Literal["MSD_musicnn", "MTT_musicnn"] = "MSD_musicnn",
        path: str | None = None,
        parts: Sequence[str] = TIMBRE_AND_PITCH,
    ) -> None:
        super().__init__()
        self.tagger = Musicnn(model, path=path)
        self.levels = PitchLevels()
        self.described = TimbreAndPitch(self.levels.width, parts)

    def read_weights(self) -> None:
        self.tagger.read_weights()

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """``(batch, 1506 + columns of the parts)`` of samples ``(batch, 1, time)`` at 16 kHz."""
        return torch.cat([self._heard(windows), SCALE * self.described(self.levels(windows))], dim=1)

    def _heard(self, windows: torch.Tensor) -> torch.Tensor:
        """The mean of the tagger's vectors ``(batch, 1506)`` of as many pieces as the window holds, evenly spread."""
        length = windows.shape[2]
        if (n_pieces := length // PIECE) == 0:
            raise ArtistidError(f"features.window: expected {PIECE} samples or more, 3 s, found {length}")
        step = max(1, (length - PIECE) // max(1, n_pieces - 1))
        pieces = windows.unfold(2, PIECE, step)[:, :, :n_pieces]  # (batch, 1, pieces, time)
        vectors: torch.Tensor = self.tagger(pieces.transpose(1, 2).flatten(0, 1))
        return vectors.unflatten(0, (len(windows), n_pieces)).mean(dim=1)
