"""Recognises recordings that a network was trained on, by their samples and by their sound.

A copy that was re-encoded, cut or made louder has other samples, but nearly the same fingerprint. Every eighth code of
a recording's fingerprint is kept, four a second: as text 21 bytes a second, 5 kB for a song of four minutes.

Of 48 copies of the first minutes of real songs that were kept (12 versions each: bit rates from 8 kbit/s, cut, gain,
equalisers, a remaster, noise, speed) 46 are recognised, of 48 of synthesised Lieder 47; of 20 s of our own synthetic
songs 34 of 36, all but those at 8 kbit/s. Of 48, 60 and 48 copies of other songs none is taken for one kept.
``pytest -m slow -s tests/data/test_recordings.py`` repeats such measurements.
"""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property

import numpy as np
import numpy.typing as npt

from artistid.data.catalog import Catalog
from artistid.data.duplicates import (
    N_BITS,
    SMOOTHING_S,
    VOTING_NEIGHBOURS,
    Codes,
    RecordingMatch,
    can_be_fingerprinted,
    fingerprint,
    is_one_recording,
)
from artistid.data.features import Features
from artistid.data.store import Store
from artistid.errors import ArtistidError, counted

log = logging.getLogger(__name__)

KEPT_EVERY = 8
# Recordings that a song is compared with bit by bit: those with most equal frames. One equal frame is enough, since a
# short song at a low bit rate may have no second one; this bounds the time.
COMPARED = 50
AS_STORED = np.dtype("<u4")


def kept_fingerprints(catalog: Catalog, store: Store) -> dict[str, str] | None:
    """Fingerprints of a catalog's recordings by their SHA-1, as text that :class:`Recordings` reads.

    None for features that cannot be fingerprinted.
    """
    if not can_be_fingerprinted(store.features):
        return None
    kept = {
        track.sha1: kept_fingerprint(store.track(track.track_id), store.features) for track in catalog if track.sha1
    }
    return dict(sorted(kept.items()))


def kept_fingerprint(rows: npt.NDArray[np.floating], features: Features) -> str:
    """The part kept of the fingerprint of a recording's features ``(rows, width)``; empty where none can be made."""
    if not can_be_fingerprinted(features):
        return ""
    codes = fingerprint(rows, features)[::KEPT_EVERY]
    return base64.b64encode(codes.astype(AS_STORED).tobytes()).decode("ascii")


def read_codes(text: str) -> Codes:
    """The codes ``(n,)`` that were kept of a recording; raises ArtistidError for a malformed text."""
    try:
        return np.frombuffer(base64.b64decode(text, validate=True), AS_STORED).astype(np.uint32)
    except (binascii.Error, ValueError, TypeError) as error:
        raise ArtistidError(f"fingerprints: {error}") from error


class Recordings:
    """Recordings to be recognised.

    Attributes:
        sha1: of the decoded samples of each.
        without_sound: how many are kept without a fingerprint, as by earlier versions: only equal samples of these are
            recognised.

    Args:
        sha1: of the decoded samples of each.
        fingerprints: from :func:`kept_fingerprints`, of all or some of them; None: of none.
        features: of the songs to be compared; only spectrograms in dB have fingerprints.

    Raises:
        ArtistidError: fingerprints of another format.
    """

    def __init__(self, sha1: Collection[str], fingerprints: Mapping[str, str] | None, features: Features) -> None:
        if not isinstance(fingerprints, Mapping | None):
            raise ArtistidError(f"fingerprints: expected texts by SHA-1, found {type(fingerprints).__name__}")
        self.sha1 = frozenset(sha1)
        self.without_sound = len(self.sha1 - set(fingerprints or {}))
        self._of_codes = list(fingerprints or {})
        self._codes = [read_codes(text) for text in (fingerprints or {}).values()]
        self._features = features

    @cached_property
    def _span(self) -> int:
        """Frames that a fingerprint averages over."""
        return max(1, round(SMOOTHING_S * self._features.sample_rate / self._features.hop_length))

    def warn_if_deaf(self, whose: str) -> None:
        """Warn of recordings that are kept without a fingerprint."""
        if self.without_sound:
            unsupported = not can_be_fingerprinted(self._features)
            why = f"since features={self._features.name} have none" if unsupported else "by an earlier version"
            log.warning(
                "%s keeps no fingerprints of %d of the %s that it was trained on, %s: only equal samples of these are "
                "recognised, not re-encoded copies",
                *(whose, self.without_sound, counted(len(self.sha1), "recording"), why),
            )

    def knows(self, sha1: str | None, rows: npt.NDArray[np.floating]) -> bool:
        """Whether a song, by its samples or by its features ``(rows, width)``, is one of the recordings."""
        return sha1 in self.sha1 or next(self._sounding_like(rows), None) is not None

    def which(self, sha1: str | None, rows: npt.NDArray[np.floating]) -> set[str]:
        """The SHA-1 of the recordings that match a song, see :meth:`knows`."""
        same = {sha1} & self.sha1 if sha1 else set()
        return same | set(self._sounding_like(rows))

    def among(self, catalog: Catalog, store: Store) -> list[str]:
        """The track ids of a catalog that are these recordings."""
        return [track.track_id for track in catalog if self.knows(track.sha1, store.track(track.track_id))]

    def _sounding_like(self, rows: npt.NDArray[np.floating]) -> Iterator[str]:
        if not self._codes or not can_be_fingerprinted(self._features):
            return
        codes = fingerprint(rows, self._features)
        frame_s = self._features.hop_length / self._features.sample_rate
        for number, shift in self._elected(codes):
            kept = self._codes[number]
            sounding = min(np.count_nonzero(codes), KEPT_EVERY * np.count_nonzero(kept))
            for offset in range(shift, shift + self._span):
                if is_one_recording(_compare(codes, kept, offset), int(sounding), frame_s):
                    yield self._of_codes[number]
                    break

    @cached_property
    def _index(self) -> tuple[Codes, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """All kept codes ``(n,)`` except silence, sorted, with the recording and the frame of each."""
        codes = np.concatenate([*self._codes, np.empty(0, np.uint32)])
        lengths = [len(codes) for codes in self._codes]
        number = np.repeat(np.arange(len(lengths)), lengths)
        frame = KEPT_EVERY * (np.arange(len(codes)) - np.repeat(np.cumsum([0, *lengths])[:-1], lengths))
        order = np.argsort(codes, kind="stable")
        order = order[codes[order] != 0]
        return codes[order], number[order], frame[order]

    def _elected(self, codes: Codes) -> list[tuple[int, int]]:
        """The recordings with frames equal to a song's, most votes first, each with the shift of most votes.

        A shift is how many frames into the recording the song begins, or somewhat less: ``_span`` consecutive shifts
        are counted together.
        """
        known, number, frame = self._index
        telling = np.flatnonzero((codes != 0) & (codes != np.append(0, codes[:-1])))
        first = np.searchsorted(known, codes[telling], "left")
        n_equal = np.minimum(np.searchsorted(known, codes[telling], "right") - first, VOTING_NEIGHBOURS)
        of_song = np.repeat(telling, n_equal)
        begins = np.cumsum(n_equal) - n_equal
        of_known = np.repeat(first - begins, n_equal) + np.arange(n_equal.sum())
        shift_bin = (frame[of_known] - of_song) // self._span
        if not len(shift_bin):
            return []
        lowest, n_bins = int(shift_bin.min()), int(np.ptp(shift_bin)) + 1
        ballots, votes = np.unique(number[of_known] * n_bins + (shift_bin - lowest), return_counts=True)
        best: dict[int, int] = {}
        for ballot in ballots[np.argsort(-votes, kind="stable")]:
            which, where = divmod(int(ballot), n_bins)
            best.setdefault(which, (where + lowest) * self._span)
            if len(best) == COMPARED:
                break
        return list(best.items())


def _compare(codes: Codes, kept: Codes, shift: int) -> RecordingMatch:
    """Match a song's codes with those kept of a recording, into which the song begins ``shift`` frames."""
    frame = KEPT_EVERY * np.arange(len(kept)) - shift
    there = (frame >= 0) & (frame < len(codes))
    others, codes = kept[there], codes[frame[there]]
    sounding = (codes != 0) & (others != 0)
    n = int(sounding.sum())
    unequal = int(np.bitwise_count((codes ^ others)[sounding]).sum())
    return RecordingMatch(0, 1, 1 - unequal / (N_BITS * max(1, n)), shift, KEPT_EVERY * n)
