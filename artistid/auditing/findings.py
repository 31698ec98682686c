"""Findings from out-of-fold predictions on a collection: songs, albums and artists that may be filed wrongly."""

from __future__ import annotations

import difflib
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from artistid.data.catalog import Catalog, Track, folded
from artistid.evaluation.predictions import Predictions

# How many of an album's songs must be proposed for one other artist before the album as a whole is reported.
FEWEST_ON_ALBUM = 2
# Names this similar are alike: "The Beatles" and "Beatles", "Sigur Ros" and "Sigur Rós"; from difflib's ratio.
ALIKE = 0.9
ARTICLE = re.compile(r"^(?:the|die|les?|los|las)\s+|,\s*the$", re.IGNORECASE)


@dataclass(frozen=True)
class Song:
    """A song and what its out-of-fold prediction says about the artist that it is filed under.

    Attributes:
        track: as it is filed.
        quality: how well the artist fits, in [0, 1]: cleanlab's label quality, the probability of the artist.
        suspect: whether cleanlab counts it among the songs under a wrong artist.
        proposed: the likeliest other artist.
        probability: of the proposed one.
        own_probability: of the one it is filed under.
    """

    track: Track
    quality: float
    suspect: bool
    proposed: str
    probability: float
    own_probability: float

    def plain(self) -> dict[str, Any]:
        """As plain types."""
        facts = {name: getattr(self.track, name) for name in ("track_id", "artist", "album", "title")}
        return {
            **facts,
            "path": str(self.track.path),
            "proposed": self.proposed,
            "probability": round(self.probability, 4),
            "own_probability": round(self.own_probability, 4),
        }


def judge(catalog: Catalog, predictions: Predictions, confirmed: Collection[Path] = ()) -> list[Song]:
    """The predicted songs, the most suspicious first.

    Suspects are found by confident learning (Northcutt, Jiang & Chuang, JAIR 2021), in cleanlab: how confident a
    prediction must be depends on the confidence for the artist's own songs, so that probabilities need not be
    calibrated.

    Args:
        catalog: with the tracks.
        predictions: of songs, one row each, by systems not trained on it.
        confirmed: files that someone has checked by ear, which are not suspects.
    """
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    probability = predictions.probability.astype(np.float64)
    probability /= probability.sum(axis=1, keepdims=True)
    rows, label = np.arange(len(predictions)), predictions.label
    suspect = find_label_issues(label, probability, filter_by="both", n_jobs=1)
    quality = get_label_quality_scores(label, probability, method="self_confidence")
    own = probability[rows, label]
    others = probability.copy()
    others[rows, label] = -1
    proposed = others.argmax(axis=1)
    track_of = {track.track_id: track for track in catalog}
    return [
        Song(
            track=track_of[predictions.track_id[row]],
            quality=float(quality[row]),
            suspect=bool(suspect[row]) and track_of[predictions.track_id[row]].path not in confirmed,
            proposed=predictions.artists[proposed[row]],
            probability=float(others[row, proposed[row]]),
            own_probability=float(own[row]),
        )
        for row in np.lexsort((-others[rows, proposed], quality))
    ]


@dataclass(frozen=True)
class MixedAlbum:
    """An album with some songs, or all, that sound like one other artist's.

    Attributes:
        artist: that it is filed under.
        album: its name.
        songs: on it.
        other: the other artist.
        others_songs: how many of them sound like the other's.
    """

    artist: str
    album: str
    songs: int
    other: str
    others_songs: int

    def plain(self) -> dict[str, Any]:
        """As plain types."""
        return asdict(self)


def mixed_albums(songs: Sequence[Song]) -> list[MixedAlbum]:
    """Albums that may mix two artists, or be another's as a whole, by descending share of the other's songs."""
    by_album: dict[tuple[str, str], list[Song]] = defaultdict(list)
    for song in songs:
        if song.track.album:
            by_album[song.track.album_key].append(song)
    found = []
    for on_album in by_album.values():
        proposed = Counter(song.proposed for song in on_album if song.suspect)
        for other, number in proposed.items():
            if number >= FEWEST_ON_ALBUM:
                track = on_album[0].track
                found.append(MixedAlbum(track.artist, track.album, len(on_album), other, number))
    return sorted(found, key=lambda each: (-each.others_songs / each.songs, each.artist, each.album))


@dataclass(frozen=True)
class SameArtist:
    """Two names that may be one artist's.

    Attributes:
        names: both, that with fewer songs first.
        songs: of each.
        taken: mean probability of the second name on the first one's songs, divided by that of the first name; None if
            they were not predicted.
        alike: whether the names are spelled alike.
    """

    names: tuple[str, str]
    songs: tuple[int, int]
    taken: float | None
    alike: bool

    def plain(self) -> dict[str, Any]:
        """As plain types."""
        return asdict(self)


def same_artists(catalog: Catalog, predictions: Predictions) -> list[SameArtist]:
    """Pairs of names that may be one artist's: spelled alike, or with songs of one that sound as much like the other's.

    The probability of a song by an artist with two names is split between them, whichever name is held out: for the one
    with fewer songs, the other gets the larger part.

    Args:
        catalog: of all songs, including those that could not be predicted.
        predictions: see :func:`judge`.
    """
    counts = Counter(track.artist for track in catalog)
    taken = _taken(predictions, counts)
    alike = set(_alike(sorted(counts)))
    by_sound = {pair for pair, ratio in taken.items() if ratio >= 1}
    pairs = []
    for pair in alike | by_sound:
        fewer, more = sorted(pair, key=lambda name: (counts[name], name))
        found = taken.get(pair)
        pairs.append(SameArtist((fewer, more), (counts[fewer], counts[more]), found and round(found, 2), pair in alike))
    return sorted(pairs, key=lambda each: (not each.alike, -(each.taken or 0), each.names))


def _taken(predictions: Predictions, counts: Mapping[str, int]) -> dict[frozenset[str], float]:
    """For each artist and the one that its songs are most taken for: the ratio of their mean probabilities."""
    ratio: dict[frozenset[str], float] = {}
    for index, artist in enumerate(predictions.artists):
        of_artist = predictions.probability[predictions.label == index]
        if len(of_artist) < FEWEST_ON_ALBUM:
            continue
        mean: NDArray[np.float64] = of_artist.mean(axis=0, dtype=np.float64)
        own, mean[index] = mean[index], 0
        other = predictions.artists[int(mean.argmax())]
        if (counts[artist], artist) < (counts[other], other):
            ratio[frozenset((artist, other))] = float(mean.max() / max(own, np.finfo(np.float32).tiny))
    return ratio


def _alike(names: Sequence[str]) -> list[frozenset[str]]:
    """Pairs of names that are spelled alike; only names that begin or end alike are compared."""
    plain = {name: "".join(filter(str.isalnum, folded(ARTICLE.sub("", name)))) or name for name in names}
    near: dict[str, list[str]] = defaultdict(list)
    for name, letters in plain.items():
        near[letters[:3]].append(name)
        near[f"…{letters[-3:]}"].append(name)
    return [
        frozenset((first, second))
        for group in near.values()
        for number, first in enumerate(group)
        for second in group[number + 1 :]
        if _are_alike(plain[first], plain[second])
    ]


def _are_alike(first: str, second: str) -> bool:
    """Whether two names, without case, accents and blanks, are alike; numbers in them must be equal."""
    if first == second:
        return True
    digits = [re.sub(r"\D", "", name) for name in (first, second)]
    return digits[0] == digits[1] and difflib.SequenceMatcher(None, first, second).ratio() >= ALIKE
