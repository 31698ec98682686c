"""How well the album can be read from a system's vectors within an artist: what is left in them of its production."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

FOLDS = 2  # a probe learns from every other song of an album, and reads the others


class AlbumReading(NamedTuple):
    """What linear probes read, a probe for each artist.

    Attributes:
        score: mean over the artists of the clips' balanced accuracy, rescaled: 1 where the album is always read, 0 at
            chance, below it by accident.
        artists: those with two albums or more of two songs or more, and more clips to learn from than albums.
    """

    score: float
    artists: int


def read_albums(
    vectors: NDArray[np.floating], artist: ArrayLike, album: ArrayLike, song: ArrayLike
) -> AlbumReading | None:
    """Read the album of each clip from its vector, among those of the artist.

    The probe is LDA with Ledoit and Wolf's shrinkage. It never learns from the song that it reads, since the clips of
    a song are alike in more than their album.

    Args:
        vectors: ``(n, d)`` of clips.
        artist, album, song: ``(n,)`` of each.

    Returns:
        None where there is no such artist.
    """
    artist, album, song = (np.asarray(each) for each in (artist, album, song))
    scores = []
    for name in np.unique(artist):
        chosen = artist == name
        fold = _folds(album[chosen], song[chosen])
        usable = fold >= 0
        n_albums = len(np.unique(album[chosen][usable]))
        if n_albums > 1 and all((fold[usable] != held_out).sum() > n_albums for held_out in range(FOLDS)):
            scores.append(_score(vectors[chosen][usable], album[chosen][usable], fold[usable]))
    return AlbumReading(float(np.mean(scores)), len(scores)) if scores else None


def _folds(album: NDArray[np.generic], song: NDArray[np.generic]) -> NDArray[np.int64]:
    """``(n,)`` which fold reads each clip: an album's songs take turns; -1 for an album of one song."""
    fold = np.full(len(album), -1)
    for name in np.unique(album):
        songs, place = np.unique(song[album == name], return_inverse=True)
        if len(songs) >= FOLDS:
            fold[album == name] = place % FOLDS
    return fold


def _score(vectors: NDArray[np.floating], album: NDArray[np.generic], fold: NDArray[np.int64]) -> float:
    """Of one artist."""
    read = np.empty_like(album)
    n_albums = len(np.unique(album))
    for held_out in range(FOLDS):
        test = fold == held_out
        lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=np.full(n_albums, 1 / n_albums))
        read[test] = make_pipeline(StandardScaler(), lda).fit(vectors[~test], album[~test]).predict(vectors[test])
    return float(balanced_accuracy_score(album, read, adjusted=True))
