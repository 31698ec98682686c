"""Collections of made-up embeddings, written as ``embed`` writes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from artistid.data.catalog import Track
from artistid.inference.collection import Origin, absolute
from artistid.inference.collection_writer import EmbeddedSong, drafting
from artistid.inference.identifier import song_vector

ORIGIN = Origin("0123456789abcdef", {"name": "logmel"}, {"name": "3s"}, "0.1.0")


def write_collection(
    path: Path, songs: Sequence[npt.NDArray[np.float32]], artists: Sequence[str], clip_s: float = 3.0
) -> Path:
    """Write songs named s000, s001, …, each given by the vectors ``(clips, units)`` of its clips; there are no files.

    Returns:
        ``path``.
    """
    paths = [path.with_name(f"s{number:03}.wav") for number in range(len(songs))]
    tracks = {
        absolute(file): Track(file.stem, artist, "album", file.stem.upper(), file)
        for file, artist in zip(paths, artists, strict=True)
    }
    with drafting(path, ORIGIN, paths, keep=False) as draft:
        for file, vectors in zip(paths, songs, strict=True):
            start_s = np.arange(len(vectors)) * clip_s
            draft.add(
                EmbeddedSong(
                    path=file,
                    sha1=f"sha1 of {file.stem}",
                    duration_s=len(vectors) * clip_s,
                    vector=song_vector(vectors),
                    start_s=start_s,
                    end_s=start_s + clip_s,
                    clip_vectors=vectors,
                )
            )
        draft.finish(tracks)
    return path


def random_songs(n: int, clips: int = 4, units: int = 8, seed: int = 0) -> list[npt.NDArray[np.float32]]:
    """Songs of random clips ``(clips, units)``."""
    return list(np.random.default_rng(seed).standard_normal((n, clips, units)).astype(np.float32))
