"""From clips to songs: the clips of a song vote on its artist, see :mod:`artistid.evaluation.votes` for the rules."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from artistid.evaluation.predictions import Predictions
from artistid.evaluation.votes import count_votes, of_the_first


@dataclass(frozen=True, eq=False)
class SongVotes:
    """The outcome of the vote, one row per song, in the order of ``track_id``.

    Attributes:
        artists: the artists, in the order of the columns below.
        track_id: ``(songs,)`` str.
        artist: ``(songs,)`` str, the true artist.
        label: ``(songs,)`` int64, its index in ``artists``.
        n_clips: ``(songs,)`` int64, clips of the song, counted in the vote or not.
        votes, ranking, probability: ``(songs, artists)``, see :class:`artistid.evaluation.votes.VoteCount`.
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

        ``votes`` and ``confidence`` speak of the predicted artist: the clips that named it, and its mean probability
        over the counted clips.
        """
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


# Votes that were taken: a run needs each of them several times.
_TAKEN: WeakKeyDictionary[Predictions, dict[str, SongVotes]] = WeakKeyDictionary()


def vote(predictions: Predictions, method: str = "majority") -> SongVotes:
    """Let the clips of every song vote; ``method`` is a vote of :mod:`artistid.evaluation.votes`.

    Raises:
        ArtistidError: if the method is unknown.
    """
    taken = _TAKEN.setdefault(predictions, {})
    if method not in taken:
        taken[method] = _vote(predictions, method)
    return taken[method]


def _vote(predictions: Predictions, method: str) -> SongVotes:
    first = predictions.track_start
    return SongVotes(
        artists=predictions.artists,
        track_id=predictions.track_id[first],
        artist=predictions.artist[first],
        label=predictions.label[first],
        n_clips=np.diff(first, append=len(predictions)),
        **count_votes(predictions.probability, predictions.track_index, method)._asdict(),
    )
