"""The count of votes, whatever they are for: which clips of a song name whom, and who comes first.

Nasrullah & Zhao (2019), section III-C: at the song level the artist predicted most often among the clips of a song is
the prediction for the song. The paper leaves two things open, both settled here and nowhere else: what happens in a
tie, and which artists come second and third.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from artistid.errors import ArtistidError, require_choice
from artistid.trust import Trust, find_function, is_within, shown, way_to_trust

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


# From the probabilities (clips, artists), of which zeros count as the smallest normal float32, and the number of each
# clip's song (clips,), from 0 and without gaps. The true artists need not be known.
Vote = Callable[[NDArray[np.floating], NDArray[np.integer]], VoteCount]


def majority(probability: NDArray[np.floating], song: NDArray[np.integer]) -> VoteCount:
    """The paper's: artists are placed by their number of votes.

    Of those with equally many, the one with the larger log-probability summed over the clips comes first.
    """
    return place(probability, song, _votes(probability, song), _sum_by_song(probability, song, _log))


def confident(probability: NDArray[np.floating], song: NDArray[np.integer]) -> VoteCount:
    """As in the authors' code: :func:`majority` among the clips whose top probability is above 0.5.

    Where a song has none, it is among all its clips.
    """
    counted = _confident(probability, song)
    return majority(probability[counted], song[counted])


def mean_logprob(probability: NDArray[np.floating], song: NDArray[np.integer]) -> VoteCount:
    """Artists are placed by their mean log-probability, as if the clips were independent evidence."""
    return place(probability, song, _sum_by_song(probability, song, _log))


def mean_probability(probability: NDArray[np.floating], song: NDArray[np.integer]) -> VoteCount:
    """The field's default: artists are placed by their mean probability."""
    return place(probability, song, _sum_by_song(probability, song, np.asarray))


VOTES: Mapping[str, Vote] = {
    "majority": majority,
    "mean_probability": mean_probability,
    "mean_logprob": mean_logprob,
    "confident": confident,
}
_FOUND: dict[str, Vote] = {}  # of other packages, by dotted name


def find_vote(name: Any, trust: Trust = ()) -> Vote:
    """The vote of a name: one of :data:`VOTES`, or by its dotted name one of a trusted package.

    :func:`count_votes` then knows it by its name alone.

    Raises:
        ArtistidError: there is none, or it is of a package that is not trusted.
    """
    if isinstance(name, str) and "." not in name:
        require_choice("vote", name, tuple(VOTES))
        return VOTES[name]
    if not isinstance(name, str) or not is_within(name, trust):
        raise ArtistidError(f"vote={shown(name)}: expected one of {', '.join(VOTES)}{way_to_trust(name)}")
    _FOUND[name] = find_function(name, trust, "vote")
    return _FOUND[name]


def count_votes(probability: NDArray[np.floating], song: NDArray[np.integer], method: str = "majority") -> VoteCount:
    """Count the votes of clips by one of :data:`VOTES`, or one that was found in another package.

    Raises:
        ArtistidError: an unknown vote.
    """
    rule = _FOUND.get(method) or find_vote(method)
    return rule(probability, song)


def place(probability: NDArray[np.floating], song: NDArray[np.integer], *keys: NDArray[np.number]) -> VoteCount:
    """The count of a vote that places artists by the first of some keys ``(songs, artists)``, of equals by the next.

    Larger is better; artists that are equal in all keys keep the order of the columns.
    """
    total = _sum_by_song(probability, song, np.asarray)
    return VoteCount(
        votes=_votes(probability, song),
        ranking=_rank(*keys),
        probability=total / total.sum(axis=1, keepdims=True),
    )


def of_the_first(probability: NDArray[np.floating], ranking: NDArray[np.integer]) -> NDArray[np.floating]:
    """``(songs,)`` the probability of the artist placed first, of ``(songs, artists)`` both."""
    return np.take_along_axis(probability, ranking.argmax(axis=1)[:, None], axis=1)[:, 0]


def _votes(probability: NDArray[np.floating], song: NDArray[np.integer]) -> NDArray[np.int64]:
    """``(songs, artists)`` how many clips of each song name each artist."""
    n_artists = probability.shape[1]
    ballots = song * n_artists + probability.argmax(axis=1)
    return np.bincount(ballots, minlength=(song.max() + 1) * n_artists).reshape(-1, n_artists)


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
