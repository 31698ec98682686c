"""From clips to songs: the clips of a song vote on its artist.

Nasrullah & Zhao (2019), section III-C: at the song level the artist predicted most often among the clips of a song is
the prediction for the song. The paper leaves two things open, both defined here and nowhere else: how ties are broken,
and which artists come second and third.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from artistid.errors import ArtistidError, require_choice
from artistid.trust import Trust, find_function, is_within, shown, way_to_trust

if TYPE_CHECKING:  # single songs need no pandas
    import pandas as pd

    from artistid.evaluation.predictions import Predictions

CONFIDENT_ABOVE = 0.5
MEAN_EMBEDDING = "mean_embedding"
ARTISTS_AT_ONCE = 32


class VoteCount(NamedTuple):
    """The result of a vote, one row per song.

    Attributes:
        votes: ``(songs, artists)`` int64, how many of the counted clips named each artist.
        ranking: ``(songs, artists)`` int64, every row a permutation: ``artists - 1`` for the artist placed first, down
            to 0 for the last. Whole numbers, so the order is exact and ``argsort`` or a top-k needs no tie rule.
        probability: ``(songs, artists)`` float64, mean probability over the counted clips, or that of the mean of
            their embeddings; every row sums to 1.
    """

    votes: NDArray[np.int64]
    ranking: NDArray[np.int64]
    probability: NDArray[np.float64]


# From the probabilities (clips, artists), where zeros count as the smallest normal float32, and the number of each
# clip's song (clips,), from 0 and without gaps. The true artists need not be known.
Vote = Callable[[NDArray[np.floating], NDArray[np.integer]], VoteCount]


def majority(probability: NDArray[np.floating], song: NDArray[np.integer]) -> VoteCount:
    """The paper's vote: artists are ranked by their number of votes.

    Ties are broken by the log-probability summed over the clips.
    """
    return place(probability, song, _votes(probability, song), _sum_by_song(probability, song, _log))


def confident(probability: NDArray[np.floating], song: NDArray[np.integer]) -> VoteCount:
    """As in the authors' code: :func:`majority` among the clips whose top probability is above 0.5.

    A song without any such clip counts all its clips.
    """
    counted = _confident(probability, song)
    return majority(probability[counted], song[counted])


def mean_logprob(probability: NDArray[np.floating], song: NDArray[np.integer]) -> VoteCount:
    """Artists are ranked by their mean log-probability, as if the clips were independent evidence."""
    return place(probability, song, _sum_by_song(probability, song, _log))


def mean_probability(probability: NDArray[np.floating], song: NDArray[np.integer]) -> VoteCount:
    """The field's default: artists are ranked by their mean probability."""
    return place(probability, song, _sum_by_song(probability, song, np.asarray))


def mean_embedding(
    probability: NDArray[np.floating], song: NDArray[np.integer], of_song: NDArray[np.floating] | None = None
) -> VoteCount:
    """Artists are ranked by the system's probabilities for the mean of the song's embeddings.

    For a linear layer on the embeddings this is the order of :func:`mean_logprob`, since the mean of its logits is the
    logit of the mean; for a cosine or a density it differs.

    Args:
        probability, song: see :data:`Vote`.
        of_song: ``(songs, artists)`` probabilities for the mean embeddings.

    Raises:
        ArtistidError: ``of_song`` is missing.
    """
    if of_song is None:
        raise ArtistidError(
            "vote=mean_embedding needs probabilities of whole songs, from a system that embeds clips: found none in "
            "these predictions"
        )
    return VoteCount(_votes(probability, song), _rank(of_song), of_song / of_song.sum(axis=1, keepdims=True))


# Votes on the probabilities of single clips.
VOTES: Mapping[str, Vote] = {
    "majority": majority,
    "mean_probability": mean_probability,
    "mean_logprob": mean_logprob,
    "confident": confident,
}
_FOUND: dict[str, Vote] = {}  # of other packages, by dotted name


def find_vote(name: Any, trust: Trust = ()) -> Vote:
    """The vote of a name: one of :data:`VOTES`, :func:`mean_embedding`, or by its dotted name a trusted package's.

    :func:`count_votes` then finds it by its name alone.

    Raises:
        ArtistidError: there is none, or its package is not trusted.
    """
    if isinstance(name, str) and "." not in name:
        require_choice("vote", name, (*VOTES, MEAN_EMBEDDING))
        return VOTES.get(name, mean_embedding)
    if not isinstance(name, str) or not is_within(name, trust):
        choices = ", ".join((*VOTES, MEAN_EMBEDDING))
        raise ArtistidError(f"vote={shown(name)}: expected one of {choices}{way_to_trust(name)}")
    _FOUND[name] = find_function(name, trust, "vote")
    return _FOUND[name]


def count_votes(
    probability: NDArray[np.floating],
    song: NDArray[np.integer],
    method: str = "majority",
    of_song: NDArray[np.floating] | None = None,
) -> VoteCount:
    """Count the votes of clips by one of :data:`VOTES`, :func:`mean_embedding`, or one found in another package.

    Args:
        probability, song: see :data:`Vote`.
        method: the vote's name.
        of_song: ``(songs, artists)`` probabilities of whole songs, for :func:`mean_embedding`.

    Raises:
        ArtistidError: an unknown vote, or one that needs a missing ``of_song``.
    """
    rule = _FOUND.get(method) or find_vote(method)
    return mean_embedding(probability, song, of_song) if rule is mean_embedding else rule(probability, song)


def place(probability: NDArray[np.floating], song: NDArray[np.integer], *keys: NDArray[np.number]) -> VoteCount:
    """The count of a vote that ranks artists by the first of several keys ``(songs, artists)``, ties by the next.

    Larger is better; artists that tie in all keys keep the order of the columns.
    """
    total = _sum_by_song(probability, song, np.asarray)
    return VoteCount(
        votes=_votes(probability, song),
        ranking=_rank(*keys),
        probability=total / total.sum(axis=1, keepdims=True),
    )


def of_the_first(probability: NDArray[np.floating], ranking: NDArray[np.integer]) -> NDArray[np.floating]:
    """``(songs,)`` the probability of the artist placed first, from ``(songs, artists)`` arrays."""
    return np.take_along_axis(probability, ranking.argmax(axis=1)[:, None], axis=1)[:, 0]


def _votes(probability: NDArray[np.floating], song: NDArray[np.integer]) -> NDArray[np.int64]:
    """``(songs, artists)`` how many clips of each song name each artist."""
    n_artists = probability.shape[1]
    ballots = song * n_artists + probability.argmax(axis=1)
    return np.bincount(ballots, minlength=(song.max() + 1) * n_artists).reshape(-1, n_artists)


def _confident(probability: NDArray[np.floating], song: NDArray[np.integer]) -> NDArray[np.bool_]:
    """``(clips,)`` whether a clip is counted: a confident one, or any of a song without confident ones."""
    confident = probability.max(axis=1) > CONFIDENT_ABOVE
    return confident | (np.bincount(song, weights=confident) == 0)[song]


def _sum_by_song(
    probability: NDArray[np.floating], song: NDArray[np.integer], function: Callable[[NDArray], NDArray]
) -> NDArray[np.float64]:
    """``(songs, artists)`` sums of a function of the probabilities of each song's clips.

    The sums are float64, practically exact for float32 values, so that ties are exact whatever the order of the clips.
    A few artists at a time are summed, without a second table of all clips.
    """
    n_clips, n_artists = probability.shape
    clips_of_song = sparse.csr_array((np.ones(n_clips), song, np.arange(n_clips + 1))).T
    blocks = (probability[:, first : first + ARTISTS_AT_ONCE] for first in range(0, n_artists, ARTISTS_AT_ONCE))
    return np.hstack([clips_of_song @ function(block) for block in blocks])


def _log(probability: NDArray[np.floating]) -> NDArray[np.floating]:
    """Logarithms, of 0 as the smallest normal float32: a single clip's 0 must weigh heavily, but not veto an artist."""
    return np.log(np.maximum(probability, np.finfo(np.float32).tiny))


def _rank(*keys: NDArray[np.number]) -> NDArray[np.int64]:
    """Ranks by the first key, then the next: larger is better, and full ties keep the order of the columns."""
    best_first = np.lexsort([-key for key in reversed(keys)], axis=-1)
    ranking = np.empty_like(best_first)
    np.put_along_axis(ranking, best_first, np.arange(best_first.shape[1])[::-1][None], axis=1)
    return ranking


@dataclass(frozen=True, eq=False)
class SongVotes:
    """The outcome of the vote, one row per song, in the order of ``track_id``.

    Attributes:
        artists: the artists, in the order of the columns below.
        track_id: ``(songs,)`` str.
        artist: ``(songs,)`` str, the true artist.
        label: ``(songs,)`` int64, its index in ``artists``.
        n_clips: ``(songs,)`` int64, clips of the song, counted in the vote or not.
        votes, ranking, probability: ``(songs, artists)``, see :class:`VoteCount`.
    """

    artists: tuple[str, ...]
    track_id: NDArray[np.object_]
    artist: NDArray[np.object_]
    label: NDArray[np.int64]
    n_clips: NDArray[np.int64]
    votes: NDArray[np.int64]
    ranking: NDArray[np.int64]
    probability: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.track_id)

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """``(songs,)`` index of the artist placed first."""
        return self.ranking.argmax(axis=1)

    @cached_property
    def share(self) -> NDArray[np.float64]:
        """``(songs, artists)`` share of the counted clips that named each artist; every row sums to 1."""
        return self.votes / self.votes.sum(axis=1, keepdims=True)

    @cached_property
    def confidence(self) -> NDArray[np.floating]:
        """``(songs,)`` mean probability of the artist placed first, over the counted clips."""
        return of_the_first(self.probability, self.ranking)

    def to_frame(self) -> pd.DataFrame:
        """One row per song, as written to CSV: track_id, artist, predicted, n_clips, votes, confidence.

        ``votes`` and ``confidence`` are those of the predicted artist: the clips that named it, and its mean
        probability over the counted clips.
        """
        import pandas as pd

        song = np.arange(len(self))
        return pd.DataFrame(
            {
                "track_id": self.track_id,
                "artist": self.artist,
                "predicted": np.array(self.artists, dtype=object)[self.predicted],
                "n_clips": self.n_clips,
                "votes": self.votes[song, self.predicted],
                "confidence": self.confidence,
            }
        )


# Cache of votes: a run needs each of them several times.
_TAKEN: WeakKeyDictionary[Predictions, dict[str, SongVotes]] = WeakKeyDictionary()


def vote(predictions: Predictions, method: str = "majority") -> SongVotes:
    """Let the clips of every song vote; ``method`` is one of :data:`VOTES`.

    Raises:
        ArtistidError: if the method is unknown.
    """
    taken = _TAKEN.setdefault(predictions, {})
    if method not in taken:
        taken[method] = _vote(predictions, method)
    return taken[method]


def _vote(predictions: Predictions, method: str) -> SongVotes:
    first = predictions.track_start
    of_song = None if predictions.of_song is None else predictions.of_song[first]
    return SongVotes(
        artists=predictions.artists,
        track_id=predictions.track_id[first],
        artist=predictions.artist[first],
        label=predictions.label[first],
        n_clips=np.diff(first, append=len(predictions)),
        **count_votes(predictions.probability, predictions.track_index, method, of_song)._asdict(),
    )
