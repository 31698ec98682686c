"""Near-identical recordings in different subsets of a split.

The same song on a best-of, a remaster, another encoding: none has equal samples, and each lets a system be tested on
what it was trained on. They are found by their fingerprints, see :mod:`artistid.data.fingerprints`.
"""

from __future__ import annotations

import csv
import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from artistid.data.catalog import Catalog, Track
from artistid.data.fingerprints import Fingerprints, Match, can_be_fingerprinted
from artistid.data.splits import SUBSETS, Split
from artistid.data.store import Store
from artistid.errors import ArtistidError
from artistid.writing import whole

log = logging.getLogger(__name__)

POLICIES = ("warn", "drop", "error")

# Of the bits: what has so many in common is one recording. It is the paper's, a bit error rate of 0.35, and lies where
# nothing was measured: of 40 real songs of two minutes in 13 versions each (n = 520; bit rates from 8 kbit/s, trimmed,
# halved, gain, clip_spec, equalisers, a remaster, noise, 0.2 % of speed) the lowest score was 0.69. Of 28,441 pairs of
# 239 different real songs one scored 0.64, two arrangements of a theme by one artist, and no other above 0.56; of
# 18,336 pairs of synthetic songs none above 0.52. At a speed 1 % off, 15 of 40 are found.
# `pytest -m slow -s tests/data/test_duplicates.py` measures such figures anew.
THRESHOLD = 0.65
# Less tells nothing, and only equal samples count.
MIN_OVERLAP_S = 5.0
# Of the shorter track's sound: two songs that quote the same sample are two songs.
MIN_OVERLAP = 0.5

# Pairs that a message names; all are in the run folder.
LISTED = 10


@dataclass(frozen=True)
class Pair:
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
        searched: False where there is no log-mel to be fingerprinted: then only equal samples are found.
    """

    pairs: tuple[Pair, ...]
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
    if policy not in POLICIES:
        raise ArtistidError(f"split.duplicates={policy!r} is none of {', '.join(POLICIES)}")


def find_leakage(split: Split, catalog: Catalog, store: Store, policy: str) -> tuple[Split, Leakage]:
    """Look for recordings that the split has in different subsets under different names.

    Args:
        split: to be looked at.
        catalog: its tracks, with their SHA-1.
        store: their features.
        policy: ``warn`` lists such pairs; ``drop`` leaves one of each pair out, so that the test subset stays whole: a
            validation track that is tested too, and a training track that is validated or tested; ``error`` refuses.

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
            f"split.duplicates={policy} needs features=logmel, which recordings are compared by; found "
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
        log.warning("left out %d tracks that train or validate: %s", len(dropped), ", ".join(leakage.dropped))
    if searched and not pairs:
        log.info(
            "no recording is in two subsets of the split, as far as the fingerprints of %d tracks tell", len(subsets)
        )
    return replace(
        split, subsets={name: subset for name, subset in split.subsets.items() if name not in dropped}
    ), leakage


def _to_drop(pairs: Sequence[Pair], subsets: Mapping[str, str]) -> frozenset[str]:
    """Of each pair the track that is further from the test subset, unless its other was dropped already."""
    by_subset = [{subsets[name]: name for name in (pair.first, pair.second)} for pair in pairs]
    validated = {names["val"] for names in by_subset if names.keys() == {"val", "test"}}
    trained = {names["train"] for names in by_subset if "train" in names and names.get("val") not in validated}
    return frozenset(validated | trained)


def find_duplicates(catalog: Catalog, store: Store, subsets: Mapping[str, str]) -> list[Pair]:
    """Pairs of near-identical recordings in different subsets.

    Without a log-mel in the store only recordings with equal samples are found.

    Args:
        catalog: tracks with their SHA-1.
        store: their features.
        subsets: track id to subset; other tracks are not looked at.

    Returns:
        Sorted by score, the highest first.
    """
    tracks = [track for track in catalog if track.track_id in subsets]
    pairs = {(pair.first, pair.second): pair for pair in _near(tracks, store, subsets)}
    pairs |= {(pair.first, pair.second): pair for pair in _equal(tracks, subsets)}
    return sorted(pairs.values(), key=lambda pair: (-pair.score, pair.first, pair.second))


def _equal(tracks: Sequence[Track], subsets: Mapping[str, str]) -> Iterator[Pair]:
    """Recordings with the same samples, however short."""
    by_sha1: dict[str, list[Track]] = defaultdict(list)
    for track in tracks:
        if track.sha1:
            by_sha1[track.sha1].append(track)
    for copies in by_sha1.values():
        for first, second in combinations(copies, 2):
            if subsets[first.track_id] != subsets[second.track_id]:
                yield Pair(first.track_id, second.track_id, 1.0, 0.0, first.duration_s or 0.0)


def _near(tracks: Sequence[Track], store: Store, subsets: Mapping[str, str]) -> Iterator[Pair]:
    """Recordings with much the same fingerprint."""
    settings = store.features
    if not can_be_fingerprinted(settings):
        return
    fingerprints = Fingerprints((store.track(track.track_id) for track in tracks), settings)
    frame_s = settings.hop_length / settings.sample_rate
    for match in fingerprints.matches([SUBSETS.index(subsets[track.track_id]) for track in tracks]):
        numbers = (match.first, match.second)
        sounding = min(np.count_nonzero(fingerprints.track(number)) for number in numbers)
        if is_one_recording(match, int(sounding), frame_s):
            first, second = (tracks[number].track_id for number in numbers)
            yield Pair(first, second, match.score, match.shift * frame_s, match.overlap * frame_s)


def is_one_recording(match: Match, sounding: int, frame_s: float) -> bool:
    """Whether a match is of one recording.

    Args:
        match: of two tracks.
        sounding: frames of the shorter one that are no silence.
        frame_s: seconds of a frame.
    """
    return match.score >= THRESHOLD and match.overlap >= max(MIN_OVERLAP * sounding, MIN_OVERLAP_S / frame_s)


def _counted(pairs: Sequence[Pair]) -> str:
    number = f"{len(pairs)} pair{'s' * (len(pairs) > 1)}"
    return f"{number} of near-identical recordings in two subsets (split.duplicates=drop keeps the tested ones)"


def _listing(pairs: Sequence[Pair], subsets: Mapping[str, str]) -> str:
    return "; ".join(
        f"{pair.first} ({subsets[pair.first]}) and {pair.second} ({subsets[pair.second]}), {pair.score:.2f}"
        for pair in pairs
    )
