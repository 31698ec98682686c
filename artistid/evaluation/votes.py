"""The count of votes, whatever they are for: which clips of a song name whom, and who comes first.

Nasrullah & Zhao (2019), section III-C: at the song level the artist predicted most often among the clips of a song is
the prediction for the song. The paper leaves two things open, both settled here and nowhere else: what happens in a
tie, and which artists come second and third.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from artistid.errors import ArtistidError, require_choice

METHODS = ("majority", "mean_logprob", "confident")
CONFIDENT_ABOVE = 0.5
ARTISTS_AT_ONCE = 32


class VoteCount(NamedTuple):
    """What the clips of each song said, one row per song.

    Attributes:
        votes: ``(songs, artists)`` int64, how many of the counted clips named each artist.
        ranking: ``(songs, artists)`` int64, every row a permutation: ``artists - 1`` for the artist placed first, down
            to 0 for the last. Whole numbers, so the order is exact and ``argsort`` or a top-k needs no tie rule.
        probability: ``(songs, artists)`` float64, mean probability over the counted clips; every row sums to 1.
    """

    votes: NDArray[np.int64]
    ranking: NDArray[np.int64]
    probability: NDArray[np.float64]


def count_votes(probability: NDArray[np.floating], song: NDArray[np.integer], method: str = "majority") -> VoteCount:
    """Count the votes of clips whose true artist need not be known.

    - ``majority``, the paper's: artists are placed by their number of votes; of those with equally many, the one with
      the larger log-probability summed over the clips comes first.
    - ``confident``, as in the authors' code: ``majority`` among the clips whose top probability is above 0.5, or among
      all clips of the song where none is.
    - ``mean_logprob``: artists are placed by their mean log-probability, as if the clips were independent evidence.

    Artists that are equal in all of this keep the order of the columns.

    Args:
        probability: ``(clips, artists)``; zeros are allowed and count as the smallest normal float32.
        song: ``(clips,)`` number of each clip's song, from 0 and without gaps.
        method: how to vote.

    Raises:
        ArtistidError: if the method is unknown.
    """
    if method not in METHODS:
        raise ArtistidError(f"voting method must be one of {', '.join(METHODS)}; found {method!r}")
    if method == "confident":
        counted = _confident(probability, song)
        probability, song = probability[counted], song[counted]
    n_artists = probability.shape[1]
    ballots = song * n_artists + probability.argmax(axis=1)
    votes = np.bincount(ballots, minlength=(song.max() + 1) * n_artists).reshape(-1, n_artists)
    evidence = _sum_by_song(probability, song, _log)
    total = _sum_by_song(probability, song, np.asarray)
    return VoteCount(
        votes=votes,
        ranking=_rank(evidence) if method == "mean_logprob" else _rank(votes, evidence),
        probability=total / total.sum(axis=1, keepdims=True),
    )


def check_vote(method: str) -> None:
    """Raises ArtistidError for an unknown vote."""
    require_choice("vote", method, METHODS)


def _confident(probability: NDArray[np.floating], song: NDArray[np.integer]) -> NDArray[np.bool_]:
    """``(clips,)`` whether a clip is counted: all clips of a song are where none of them is confident."""
    confident = probability.max(axis=1) > CONFIDENT_ABOVE
    return confident | (np.bincount(song, weights=confident) == 0)[song]


def _sum_by_song(
    probability: NDArray[np.floating], song: NDArray[np.integer], function: Callable[[NDArray], NDArray]
) -> NDArray[np.float64]:
    """``(songs, artists)`` sums of a function of the probabilities of each song's clips.

    The sums are float64: those of float32 values are as good as exact, so that songs which tie do so to the last bit,
    whatever the order of their clips. A few artists at a time need no second table of all the clips.
    """
    n_clips, n_artists = probability.shape
    clips_of_song = sparse.csr_array((np.ones(n_clips), song, np.arange(n_clips + 1))).T
    blocks = (probability[:, first : first + ARTISTS_AT_ONCE] for first in range(0, n_artists, ARTISTS_AT_ONCE))
    return np.hstack([clips_of_song @ function(block) for block in blocks])


def _log(probability: NDArray[np.floating]) -> NDArray[np.floating]:
    """A clip that is sure to be wrong must weigh heavily, not veto: 0 counts as the smallest normal float32."""
    return np.log(np.maximum(probability, np.finfo(np.float32).tiny))


def _rank(*keys: NDArray[np.number]) -> NDArray[np.int64]:
    """Places by the first key, then the next: larger is better, and full ties keep the order of the columns."""
    best_first = np.lexsort([-key for key in reversed(keys)], axis=-1)
    ranking = np.empty_like(best_first)
    np.put_along_axis(ranking, best_first, np.arange(best_first.shape[1])[::-1][None], axis=1)
    return ranking
