"""The answer: who made a song, how certain the network is, and which parts of it sound like whom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from artistid.evaluation.open_set import OpenSetThreshold
from artistid.evaluation.voting import VoteCount, count_votes
from artistid.inference.outputs import ClipOutputs

# The number of a candidate that a vote ranks by. Others, such as the mean log-probability, are not shown.
RANKED_BY = {"majority": "share", "confident": "share", "mean_probability": "probability"}


@dataclass(frozen=True)
class Candidate:
    """One of the artists that a song may be by.

    Attributes:
        rank: from 1, by the vote that the network was trained for.
        artist: name.
        probability: mean over the clips that voted.
        share: of the clips that voted, those that named this artist.
    """

    rank: int
    artist: str
    probability: float
    share: float


def columns(vote: str) -> tuple[str, ...]:
    """The numbers of a :class:`Candidate` that a list of artists shows, first the one that it is sorted by."""
    first = RANKED_BY.get(vote, "rank")
    return first, *(number for number in ("share", "probability") if number != first)


@dataclass(frozen=True)
class Segment:
    """Neighbouring clips that sound like one artist.

    Attributes:
        start_s, end_s: seconds in the recording.
        artist: the most probable one of each clip.
        probability: mean over the clips.
    """

    start_s: float
    end_s: float
    artist: str
    probability: float


@dataclass(frozen=True)
class Identification:
    """A network's answer for one song, as ``identification.schema.json`` describes it to other programs.

    Attributes:
        name: the file's path, or ``samples``.
        duration_s: seconds of audio.
        artist: who made it; None: none of the artists that the network knows, or silence.
        score: the probability of the first of ``top``, see :mod:`artistid.evaluation.open_set`.
        threshold: of the score, below which a song is by none of the artists; None: the checkpoint has none.
        vote: the rule by which the artists are ranked, see :mod:`artistid.evaluation.voting`.
        top: the first artists.
        timeline: which seconds sound like whom; what follows the last full clip is ignored.
        warnings: anything odd about the audio or the answer, in sentences.
    """

    name: str
    duration_s: float
    artist: str | None
    score: float
    threshold: float | None
    vote: str
    top: tuple[Candidate, ...]
    timeline: tuple[Segment, ...]
    warnings: tuple[str, ...]

    def plain(self) -> dict[str, Any]:
        """As plain types, ready for JSON."""
        return asdict(self)


def identify(
    outputs: ClipOutputs, artists: Sequence[str], vote: str, open_set: OpenSetThreshold | None, top: int
) -> Identification:
    """Let the clips of a song vote.

    Args:
        outputs: the network's output for each clip.
        artists: names of the columns of its probabilities.
        vote: one of :mod:`artistid.evaluation.voting`.
        open_set: the threshold for none of them, if there is one.
        top: how many artists to list.
    """
    of_song = None if outputs.of_song is None else outputs.of_song[None]
    counted = count_votes(outputs.probability, np.zeros(len(outputs), np.int64), vote, of_song)
    candidates = tuple(_candidates(counted, artists))
    score = candidates[0].probability
    nobody = outputs.silent or (open_set is not None and score < open_set.threshold)
    return Identification(
        name=outputs.name,
        duration_s=outputs.duration_s,
        artist=None if nobody else candidates[0].artist,
        score=score,
        threshold=None if open_set is None else open_set.threshold,
        vote=vote,
        top=candidates[:top],
        timeline=tuple(_timeline(outputs, artists)),
        warnings=outputs.warnings,
    )


def _candidates(counted: VoteCount, artists: Sequence[str]) -> Iterator[Candidate]:
    """All artists from the first to the last."""
    votes = counted.votes[0].sum()
    for rank, place in enumerate(np.argsort(-counted.ranking[0]), start=1):
        share = float(counted.votes[0, place] / votes)
        yield Candidate(rank, artists[place], float(counted.probability[0, place]), share)


def _timeline(outputs: ClipOutputs, artists: Sequence[str]) -> Iterator[Segment]:
    named = outputs.probability.argmax(axis=1)
    for clips, start_s, end_s in outputs.neighbours(named):
        place = named[clips.start]
        yield Segment(start_s, end_s, artists[place], float(outputs.probability[clips, place].mean()))
