"""How well albums of one artist can be classified from a system's vectors: what these retain of production."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

FOLDS = 2  # a probe is fitted to every other song of an album, and tested on the rest


class AlbumReading(NamedTuple):
    """The accuracy of linear probes for the album, one probe per artist.

    Attributes:
        score: mean over the artists of the clips' balanced accuracy, rescaled: 1 if the album is always correct, 0 at
            chance, and possibly slightly below.
        artists: number of artists with at least two albums of at least two songs, and more training clips than albums.
    """

    score: float
    artists: int


def read_albums(
    vectors: NDArray[np.floating], artist: ArrayLike, album: ArrayLike, song: ArrayLike
) -> AlbumReading | None:
    """Classify each clip's album, among those of its artist, from its vector.

    The probe is LDA with Ledoit and Wolf's shrinkage. It is never fitted to the song that it is tested on, since the
    clips of a song share more than their album.

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
    """``(n,)`` test fold of each clip: an album's songs alternate; -1 for an album of one song."""
    fold = np.full(len(album), -1)
    for name in np.unique(album):
        songs, place = np.unique(song[album == name], return_inverse=True)
        if len(songs) >= FOLDS:
            fold[album == name] = place % FOLDS
    return fold


def _score(vectors: NDArray[np.floating], album: NDArray[np.generic], fold: NDArray[np.int64]) -> float:
    """The score of one artist."""
    read = np.empty_like(album)
    n_albums = len(np.unique(album))
    for held_out in range(FOLDS):
        test = fold == held_out
        lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=np.full(n_albums, 1 / n_albums))
        read[test] = make_pipeline(StandardScaler(), lda).fit(vectors[~test], album[~test]).predict(vectors[test])
    return float(balanced_accuracy_score(album, read, adjusted=True))
