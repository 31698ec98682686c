"""Near-identical recordings in different subsets of a split, found by audio fingerprints.

The same song on a best-of, a remaster or another encoding has other samples, yet lets a system be tested on what it was
trained on.
"""

from __future__ import annotations

import csv
import logging
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt
import torch

from artistid.data.catalog import Catalog, Track
from artistid.data.features import Features, LogSpectrogram
from artistid.data.splits import Split
from artistid.data.store import Store
from artistid.errors import ArtistidError, counted, require_choice
from artistid.writing import whole

# Hz: where music has its energy, and every encoding preserves it.
LOWEST, HIGHEST = 100.0, 2000.0
N_BITS = 32
# Frames are averaged over this time, as in the paper: a copy's frames need not align with the original's.
SMOOTHING_S = 0.4
# Smaller changes count as silence.
SILENCE_DB = 0.01

# Equal frames that elect a pair and a shift. Of 28,441 pairs of 239 real songs of two minutes, 291 reach it. With 4, 42
# do, but at 8 kbit/s six of 32 songs of 30 s are missed instead of three.
MIN_VOTES = 2
# A frame votes with this many of the following frames of the same bits, in the order of the tracks.
VOTING_NEIGHBOURS = 16
# Codes sorted at once: bounds the memory.
CODES_AT_ONCE = 1 << 22

Codes = npt.NDArray[np.uint32]
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class RecordingMatch:
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


def can_be_fingerprinted(features: Features) -> TypeGuard[LogSpectrogram]:
    """Whether such features can be fingerprinted; with others only equal samples are recognised as one recording."""
    return isinstance(features, LogSpectrogram)


def fingerprint(spectrogram: npt.NDArray[np.floating], settings: LogSpectrogram) -> Codes:
    """The bits of a track.

    Args:
        spectrogram: ``(frames, bins)`` in dB.
        settings: of the spectrogram.

    Returns:
        ``(codes,)``, 32 bits for every frame but those of the first and last 0.4 s; 0 is silence.
    """
    span = _span(settings)
    if len(spectrogram) < 2 * span:
        return np.empty(0, np.uint32)
    # By torch: the threads of NumPy's BLAS busy-wait for their next product, and slow the network down threefold.
    bands = torch.from_numpy(_band_differences(settings))
    changes = (torch.from_numpy(spectrogram.astype(np.float32)) @ bands).numpy()  # (frames, bits) dB
    sums = np.cumsum(np.pad(changes, ((1, 0), (0, 0))), axis=0, dtype=np.float64)
    means = (sums[span:] - sums[:-span]) / span
    bits = means[span:] - means[:-span] > SILENCE_DB
    return np.packbits(bits, axis=1).view(">u4")[:, 0].astype(np.uint32)


def _span(settings: LogSpectrogram) -> int:
    return max(1, round(SMOOTHING_S * settings.sample_rate / settings.hop_length))


def _band_differences(settings: LogSpectrogram) -> npt.NDArray[np.float32]:
    """The matrix ``(bins, bits)`` from bins to differences of neighbouring bands; bands are triangles over bins."""
    bins = np.arange(settings.width)
    first, last = np.interp((LOWEST, HIGHEST), settings.frequencies, bins)
    middles, distance = np.linspace(first, last, N_BITS + 1, retstep=True)
    bands = np.clip(1 - np.abs(bins[:, None] - middles) / max(1.0, distance), 0, None)
    bands /= bands.sum(axis=0)
    differences: npt.NDArray[np.float32] = (bands[:, :-1] - bands[:, 1:]).astype(np.float32)
    return differences


class Fingerprints:
    """The fingerprints of some tracks, 4 bytes for every frame, and the search for tracks that share a recording.

    After Haitsma and Kalker, "A highly robust audio fingerprinting system" (ISMIR 2002): 32 bits per frame, each the
    sign of how the difference of two neighbouring bands changes with time. In dB, neither gain nor equalisation touches
    it. Frames with equal bits vote for a pair of tracks and a shift in time, and the elected pairs are compared bit by
    bit.

    Args:
        tracks: the spectrogram ``(frames, bins)`` of each.
        settings: of the spectrograms.
    """

    def __init__(self, tracks: Iterable[npt.NDArray[np.floating]], settings: LogSpectrogram) -> None:
        codes = [fingerprint(track, settings) for track in tracks]
        self._codes = np.concatenate([*codes, np.empty(0, np.uint32)])
        self._starts = np.cumsum([0, *map(len, codes)])
        self._span = _span(settings)

    def track(self, number: int) -> Codes:
        """The bits of one track, see :func:`fingerprint`."""
        return self._codes[self._starts[number] : self._starts[number + 1]]

    def matches(self, subsets: Sequence[int] | Numbers) -> Iterator[RecordingMatch]:
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
        """Pairs of tracks and the shift with most votes, which stands for ``_span`` consecutive shifts."""
        n_tracks = len(subsets)
        n_bins = 2 * (len(self._codes) // self._span + 1)  # for shifts, the negative ones included
        ballots, counts = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for frame, later in self._equal_frames():
            first, second = (np.searchsorted(self._starts, frames, "right") - 1 for frames in (frame, later))
            apart = subsets[first] != subsets[second]
            first, second = first[apart], second[apart]
            shift = (later[apart] - self._starts[second]) - (frame[apart] - self._starts[first])
            shift_bin = shift // self._span + n_bins // 2
            ballot, count = np.unique((first * n_tracks + second) * n_bins + shift_bin, return_counts=True)
            ballots.append(ballot)
            counts.append(count)
        ballot, index = np.unique(np.concatenate(ballots), return_inverse=True)
        votes = np.bincount(index, np.concatenate(counts), len(ballot))
        ballot, votes = ballot[votes >= MIN_VOTES], votes[votes >= MIN_VOTES]
        by_votes = ballot[np.lexsort((-votes, ballot // n_bins))]
        _, winners = np.unique(by_votes // n_bins, return_index=True)
        for pair, shift_bin in zip(*np.divmod(by_votes[winners], n_bins), strict=True):
            yield *divmod(int(pair), n_tracks), (int(shift_bin) - n_bins // 2) * self._span

    def _equal_frames(self) -> Iterator[tuple[Numbers, Numbers]]:
        """Positions ``(n,)`` of frames and ``(n,)`` of later ones that have the same bits."""
        # Silence tells nothing, and a run of equal frames no more than its first.
        telling = np.flatnonzero((self._codes != 0) & (self._codes != np.append(0, self._codes[:-1])))
        n_shares = 1 + len(telling) // CODES_AT_ONCE
        for share in range(n_shares):
            frames = telling[self._codes[telling] % n_shares == share]
            frames = frames[np.argsort(self._codes[frames], kind="stable")]
            codes = self._codes[frames]
            for step in range(1, VOTING_NEIGHBOURS + 1):
                equal = np.flatnonzero(codes[step:] == codes[:-step])
                yield frames[equal], frames[equal + step]

    def _compare(self, first: int, second: int, shift: int) -> RecordingMatch:
        codes, others = self.track(first)[max(0, -shift) :], self.track(second)[max(0, shift) :]
        n = min(len(codes), len(others))
        codes, others = codes[:n], others[:n]
        sounding = (codes != 0) & (others != 0)
        overlap = int(sounding.sum())
        unequal = int(np.bitwise_count((codes ^ others)[sounding]).sum())
        return RecordingMatch(first, second, 1 - unequal / (N_BITS * max(1, overlap)), shift, overlap)


log = logging.getLogger(__name__)

POLICIES = ("warn", "drop", "error")

# Share of equal bits from which two tracks are one recording. It is the paper's, a bit error rate of 0.35, and lies in
# the gap between measured scores: of 40 real songs of two minutes in 13 versions each (n = 520; bit rates from 8
# kbit/s, trimmed, halved, gain, clipping, equalisers, a remaster, noise, 0.2 % of speed) the lowest score was 0.69. Of
# 28,441 pairs of 239 different real songs one scored 0.64, two arrangements of a theme by one artist, and no other
# above 0.56; of 18,336 pairs of synthetic songs none above 0.52. At a speed 1 % off, 15 of 40 are found.
# `pytest -m slow -s tests/data/test_duplicates.py` repeats such measurements.
THRESHOLD = 0.65
# Shorter overlaps prove nothing; there only equal samples count.
MIN_OVERLAP_S = 5.0
# Share of the shorter track's sound: two songs that use the same sample are still two.
MIN_OVERLAP = 0.5

# Subsets in the order in which they lose tracks to later ones; the test keeps all its songs.
TOWARDS_TEST = ("train", "val", "val_enrol", "val_claims", "enrol", "test", "claims")

# Pairs listed in a message; all are in the run folder.
LISTED = 10


@dataclass(frozen=True)
class DuplicatePair:
    """Two recordings of the same sound.

    Attributes:
        first: track id.
        second: track id.
        score: share of bits that are equal where they overlap; 1 for equal samples, about 0.5 for different songs.
        shift_s: seconds into the second track at which the first one begins; negative if it begins before.
        overlap_s: seconds of sound that they have in common.
    """

    first: str
    second: str
    score: float
    shift_s: float
    overlap_s: float


@dataclass(frozen=True)
class Leakage:
    """Pairs that a split has in different subsets, and what was done about it.

    Attributes:
        pairs: sorted by score, the highest first.
        subsets: track id to subset, before anything was dropped.
        dropped: track ids that are in no subset any more, sorted.
        searched: False without a spectrogram to be fingerprinted: then only equal samples are found.
    """

    pairs: tuple[DuplicatePair, ...]
    subsets: Mapping[str, str]
    dropped: tuple[str, ...]
    searched: bool

    @property
    def plain(self) -> dict[str, Any]:
        """What the scores file says of them."""
        return {"pairs": len(self.pairs), "dropped": list(self.dropped), "searched": self.searched}

    def to_csv(self, path: Path) -> None:
        """Write a row per pair: both tracks, their subsets, how alike they are, and which was dropped."""
        with whole(path, newline="") as file:
            writer = csv.writer(file)
            writer.writerow(
                ("first", "first_part", "second", "second_part", "score", "shift_s", "overlap_s", "dropped")
            )
            for pair in self.pairs:
                tracks = (pair.first, pair.second)
                first, second = ((name, self.subsets[name]) for name in tracks)
                numbers = (f"{pair.score:.4f}", f"{pair.shift_s:.2f}", f"{pair.overlap_s:.2f}")
                dropped = " ".join(self.subsets[name] for name in tracks if name in self.dropped)
                writer.writerow((*first, *second, *numbers, dropped))

    def __str__(self) -> str:
        return _listing(self.pairs[:LISTED], self.subsets) + ("; …" if len(self.pairs) > LISTED else "")


def check_policy(policy: str) -> None:
    """Raises ArtistidError for an unknown policy."""
    require_choice("split.duplicates", policy, POLICIES)


def find_leakage(split: Split, catalog: Catalog, store: Store, policy: str) -> tuple[Split, Leakage]:
    """Look for recordings that the split has in different subsets under different names.

    Args:
        split: to be checked.
        catalog: its tracks, with their SHA-1.
        store: their features.
        policy: ``warn`` lists such pairs; ``drop`` removes one of each pair, so that the test subset stays whole: a
            validation track that is also in the test, a training track that is also in either; ``error`` raises.

    Returns:
        The split, without what was dropped, and what was found.

    Raises:
        ArtistidError: an unknown policy; pairs, if the policy is ``error``; or a policy other than ``warn`` with
            features that have no fingerprint.
    """
    check_policy(policy)
    searched = can_be_fingerprinted(store.features)
    if not searched and policy != "warn":
        raise ArtistidError(
            f"split.duplicates={policy} needs features=logmel or logpitch, which recordings are compared by; found "
            f"features={store.features.name}. split=file split.path=…/split.csv takes the split of a run that had them"
        )
    subsets = {track.track_id: split.subsets[track.track_id] for track in catalog if track.track_id in split.subsets}
    pairs = find_duplicates(catalog, store, subsets)
    dropped = _to_drop(pairs, subsets) if policy == "drop" else frozenset()
    leakage = Leakage(tuple(pairs), subsets, tuple(sorted(dropped)), searched)
    if pairs and policy == "error":
        raise ArtistidError(f"{_counted(pairs)}: {leakage}")
    if not searched:
        log.warning("features=%s: near-identical recordings are not looked for", store.features.name)
    if pairs:
        log.warning("%s: %s", _counted(pairs), leakage)
    if dropped:
        n_dropped = counted(len(dropped), "track")
        log.warning("left out of training or validation, %s: %s", n_dropped, ", ".join(leakage.dropped))
    if searched and not pairs:
        log.info(
            "no recording is in two subsets of the split, as far as the fingerprints of %s tell",
            counted(len(subsets), "track"),
        )
    return replace(
        split, subsets={name: subset for name, subset in split.subsets.items() if name not in dropped}
    ), leakage


def _to_drop(pairs: Sequence[DuplicatePair], subsets: Mapping[str, str]) -> frozenset[str]:
    """The track of each pair that is further from the test, unless the other was dropped already."""
    ordered = (sorted((pair.first, pair.second), key=lambda name: TOWARDS_TEST.index(subsets[name])) for pair in pairs)
    dropped: set[str] = set()
    for further, nearer in sorted(ordered, key=lambda names: -TOWARDS_TEST.index(subsets[names[0]])):
        if nearer not in dropped:
            dropped.add(further)
    return frozenset(dropped)


def find_duplicates(catalog: Catalog, store: Store, groups: Mapping[str, Hashable]) -> list[DuplicatePair]:
    """Pairs of near-identical recordings in different groups, such as the subsets of a split.

    Without a spectrogram in the store only recordings with equal samples are found.

    Args:
        catalog: tracks with their SHA-1.
        store: their features.
        groups: track id to group, within which tracks are not compared; tracks without a group are ignored.

    Returns:
        Sorted by score, the highest first.
    """
    tracks = [track for track in catalog if track.track_id in groups]
    pairs = {(pair.first, pair.second): pair for pair in _near(tracks, store, groups)}
    pairs |= {(pair.first, pair.second): pair for pair in _equal(tracks, groups)}
    return sorted(pairs.values(), key=lambda pair: (-pair.score, pair.first, pair.second))


def _equal(tracks: Sequence[Track], groups: Mapping[str, Hashable]) -> Iterator[DuplicatePair]:
    """Recordings with the same samples, however short."""
    by_sha1: dict[str, list[Track]] = defaultdict(list)
    for track in tracks:
        if track.sha1:
            by_sha1[track.sha1].append(track)
    for copies in by_sha1.values():
        for first, second in combinations(copies, 2):
            if groups[first.track_id] != groups[second.track_id]:
                yield DuplicatePair(first.track_id, second.track_id, 1.0, 0.0, first.duration_s or 0.0)


def _near(tracks: Sequence[Track], store: Store, groups: Mapping[str, Hashable]) -> Iterator[DuplicatePair]:
    """Recordings with nearly the same fingerprint."""
    settings = store.features
    if not can_be_fingerprinted(settings):
        return
    fingerprints = Fingerprints((store.track(track.track_id) for track in tracks), settings)
    frame_s = settings.hop_length / settings.sample_rate
    number: dict[Hashable, int] = {}
    for match in fingerprints.matches([number.setdefault(groups[track.track_id], len(number)) for track in tracks]):
        numbers = (match.first, match.second)
        sounding = min(np.count_nonzero(fingerprints.track(number)) for number in numbers)
        if is_one_recording(match, int(sounding), frame_s):
            first, second = (tracks[number].track_id for number in numbers)
            yield DuplicatePair(first, second, match.score, match.shift * frame_s, match.overlap * frame_s)


def is_one_recording(match: RecordingMatch, sounding: int, frame_s: float) -> bool:
    """Whether two matched tracks are one recording.

    Args:
        match: of two tracks.
        sounding: frames of the shorter one that are not silent.
        frame_s: seconds of a frame.
    """
    return match.score >= THRESHOLD and match.overlap >= max(MIN_OVERLAP * sounding, MIN_OVERLAP_S / frame_s)


def _counted(pairs: Sequence[DuplicatePair]) -> str:
    number = counted(len(pairs), "pair")
    return f"{number} of near-identical recordings in two subsets (split.duplicates=drop keeps the tested ones)"


def _listing(pairs: Sequence[DuplicatePair], subsets: Mapping[str, str]) -> str:
    return "; ".join(
        f"{pair.first} ({subsets[pair.first]}) and {pair.second} ({subsets[pair.second]}), {pair.score:.2f}"
        for pair in pairs
    )
