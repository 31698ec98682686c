"""Audio fingerprints of log-mel spectrograms, and the search for tracks that share a recording.

The fingerprint is that of Haitsma and Kalker, "A highly robust audio fingerprinting system" (ISMIR 2002): 32 bits per
frame, each the sign of how the difference of two neighbouring bands changes with time. In dB, neither gain nor
equalisation touches it. Frames with equal bits vote for a pair of tracks and a shift in time, and what they elect is
compared bit by bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeGuard

import numpy as np
import numpy.typing as npt

from artistid.data.features import Features, LogMel

# Hz: where music has its energy, and every encoding keeps it.
LOWEST, HIGHEST = 100.0, 2000.0
N_BITS = 32
# Frames are averaged over so long, as in the paper: a copy's frames need not lie where the original's do.
SMOOTHING_S = 0.4
# What changes by less is silence.
SILENCE_DB = 0.01

# Equal frames that elect a pair and a shift. Of 28,441 pairs of 239 real songs of two minutes 291 have so many. With 4
# there are 42, and at 8 kbit/s six of 32 songs of 30 s are missed instead of three.
MIN_VOTES = 2
# Frames with the same bits vote with so many of their next, in the order of the tracks.
NEIGHBOURS = 16
# Codes that are sorted at once: bounds the memory.
CODES_AT_ONCE = 1 << 22

Codes = npt.NDArray[np.uint32]
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Match:
    """Two tracks that may share a recording.

    Attributes:
        first: number of a track.
        second: number of a later one.
        score: share of bits that are equal where they overlap.
        shift: frames into the second track at which the first one begins; negative if it begins before.
        overlap: frames that sound in both.
    """

    first: int
    second: int
    score: float
    shift: int
    overlap: int


def can_be_fingerprinted(features: Features) -> TypeGuard[LogMel]:
    """Whether fingerprints can be made of such features; of others only equal samples are known to be one recording."""
    return isinstance(features, LogMel)


def fingerprint(log_mel: npt.NDArray[np.floating], settings: LogMel) -> Codes:
    """The bits of a track.

    Args:
        log_mel: ``(frames, mel)`` in dB.
        settings: that made it.

    Returns:
        ``(codes,)``, 32 bits for every frame but those of the first and last 0.4 s; 0 is silence.
    """
    span = _span(settings)
    if len(log_mel) < 2 * span:
        return np.empty(0, np.uint32)
    changes = log_mel.astype(np.float32) @ _band_differences(settings)  # (frames, bits) dB
    sums = np.cumsum(np.pad(changes, ((1, 0), (0, 0))), axis=0, dtype=np.float64)
    means = (sums[span:] - sums[:-span]) / span
    bits = means[span:] - means[:-span] > SILENCE_DB
    return np.packbits(bits, axis=1).view(">u4")[:, 0].astype(np.uint32)


def _span(settings: LogMel) -> int:
    return max(1, round(SMOOTHING_S * settings.sample_rate / settings.hop_length))


def _band_differences(settings: LogMel) -> npt.NDArray[np.float32]:
    """What turns mel bins into differences of neighbouring bands, ``(mel, bits)``; bands are triangles over bins."""
    bins = np.arange(settings.n_mels)
    first, last = np.interp((LOWEST, HIGHEST), settings.frequencies, bins)
    middles, distance = np.linspace(first, last, N_BITS + 1, retstep=True)
    bands = np.clip(1 - np.abs(bins[:, None] - middles) / max(1.0, distance), 0, None)
    bands /= bands.sum(axis=0)
    differences: npt.NDArray[np.float32] = (bands[:, :-1] - bands[:, 1:]).astype(np.float32)
    return differences


class Fingerprints:
    """Those of some tracks: 4 bytes for every frame.

    Args:
        tracks: the log-mel ``(frames, mel)`` of each.
        settings: that made them.
    """

    def __init__(self, tracks: Iterable[npt.NDArray[np.floating]], settings: LogMel) -> None:
        codes = [fingerprint(track, settings) for track in tracks]
        self._codes = np.concatenate([*codes, np.empty(0, np.uint32)])
        self._starts = np.cumsum([0, *map(len, codes)])
        self._span = _span(settings)

    def track(self, number: int) -> Codes:
        """The bits of one track, see :func:`fingerprint`."""
        return self._codes[self._starts[number] : self._starts[number + 1]]

    def matches(self, subsets: Sequence[int] | Numbers) -> Iterator[Match]:
        """The best match of any two tracks that have enough equal frames.

        Args:
            subsets: a number per track; tracks with the same one are not compared.
        """
        for first, second, shift in self._elected(np.asarray(subsets)):
            yield max(
                (self._compare(first, second, frames) for frames in range(shift, shift + self._span)),
                key=lambda match: (match.score, -abs(match.shift)),
            )

    def _elected(self, subsets: Numbers) -> Iterator[tuple[int, int, int]]:
        """Two tracks and the shift with most votes; it stands for as many shifts as frames are averaged over."""
        n_tracks = len(subsets)
        places = 2 * (len(self._codes) // self._span + 1)  # for shifts, the negative ones included
        ballots, counts = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for frame, later in self._equal_frames():
            first, second = (np.searchsorted(self._starts, frames, "right") - 1 for frames in (frame, later))
            apart = subsets[first] != subsets[second]
            first, second = first[apart], second[apart]
            shift = (later[apart] - self._starts[second]) - (frame[apart] - self._starts[first])
            place = shift // self._span + places // 2
            ballot, count = np.unique((first * n_tracks + second) * places + place, return_counts=True)
            ballots.append(ballot)
            counts.append(count)
        ballot, index = np.unique(np.concatenate(ballots), return_inverse=True)
        votes = np.bincount(index, np.concatenate(counts), len(ballot))
        ballot, votes = ballot[votes >= MIN_VOTES], votes[votes >= MIN_VOTES]
        by_votes = ballot[np.lexsort((-votes, ballot // places))]
        _, winners = np.unique(by_votes // places, return_index=True)
        for pair, place in zip(*np.divmod(by_votes[winners], places), strict=True):
            yield *divmod(int(pair), n_tracks), (int(place) - places // 2) * self._span

    def _equal_frames(self) -> Iterator[tuple[Numbers, Numbers]]:
        """Positions ``(n,)`` of frames and ``(n,)`` of later ones that have the same bits."""
        # Silence says nothing, and of a run of equal frames the first says all.
        telling = np.flatnonzero((self._codes != 0) & (self._codes != np.append(0, self._codes[:-1])))
        n_shares = 1 + len(telling) // CODES_AT_ONCE
        for share in range(n_shares):
            frames = telling[self._codes[telling] % n_shares == share]
            frames = frames[np.argsort(self._codes[frames], kind="stable")]
            codes = self._codes[frames]
            for step in range(1, NEIGHBOURS + 1):
                equal = np.flatnonzero(codes[step:] == codes[:-step])
                yield frames[equal], frames[equal + step]

    def _compare(self, first: int, second: int, shift: int) -> Match:
        codes, others = self.track(first)[max(0, -shift) :], self.track(second)[max(0, shift) :]
        n = min(len(codes), len(others))
        codes, others = codes[:n], others[:n]
        sounding = (codes != 0) & (others != 0)
        overlap = int(sounding.sum())
        unequal = int(np.bitwise_count((codes ^ others)[sounding]).sum())
        return Match(first, second, 1 - unequal / (N_BITS * max(1, overlap)), shift, overlap)
