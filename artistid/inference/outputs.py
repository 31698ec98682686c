"""A network's outputs for the clips of one song."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class ClipOutputs:
    """A network's outputs for a song, clip by clip.

    Attributes:
        name: of the song.
        duration_s: seconds of the whole song.
        start_s, end_s: ``(clips,)`` seconds; a short song's clip ends with the song.
        probability: ``(clips, artists)`` float32; every row sums to 1.
        embedding: ``(clips, units)`` float32, the network's bottleneck; no units without one.
        silent: whether the song is silent.
        warnings: anything odd about the audio, in sentences.
        sha1: of the decoded samples, as in a catalog; empty where not available.
        trained_on: whether the network was trained on this recording, in any encoding.
        of_song: ``(artists,)`` float32, probabilities of the mean of the embeddings; None where the vote is by clips.
    """

    name: str
    duration_s: float
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    probability: NDArray[np.float32]
    embedding: NDArray[np.float32]
    silent: bool
    warnings: tuple[str, ...]
    sha1: str = ""
    trained_on: bool = False
    of_song: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.start_s)

    def neighbours(self, kind: NDArray[Any]) -> Iterator[tuple[slice, float, float]]:
        """Runs of clips of equal ``kind`` ``(clips,)``, with start and end in seconds."""
        for _, group in groupby(range(len(self)), key=kind.__getitem__):
            first, *others = group
            last = others[-1] if others else first
            yield slice(first, last + 1), float(self.start_s[first]), float(self.end_s[last])
