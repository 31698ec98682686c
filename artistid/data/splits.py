"""Splits: which tracks train, validate and test (paper III-A).

A split is drawn from the catalog's names and a seed alone, so neither the file system's order nor Python's hash seed
matters; it is written as CSV and can be read back.
"""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import math
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from artistid.data.catalog import Catalog, Track, nfc, read_rows
from artistid.errors import ArtistidError

log = logging.getLogger(__name__)

PARTS = ("train", "val", "test")
MIN_ALBUMS = MIN_SONGS = 3  # one for each part

T = TypeVar("T")
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Which part every track belongs to.

    Attributes:
        parts: track id to ``train``, ``val`` or ``test``.
        rule: name of the rule that drew it; ``album`` promises that no album is in two parts.
        seed: of the draw; None where no seed was used.
    """

    parts: Mapping[str, str]
    rule: str
    seed: int | None

    def select(self, catalog: Catalog, part: str) -> Catalog:
        """The tracks of ``catalog`` that are in ``part``."""
        return Catalog(track for track in catalog if self.parts.get(track.track_id) == part)

    def check(self, catalog: Catalog) -> None:
        """Make sure that nothing leaks and that all can be learned.

        Raises:
            ArtistidError: an empty part, an artist without a training track, an album in two parts (rule ``album``), or
                one recording in two parts under two names; the message lists them.
        """
        tracks = [track for track in catalog if track.track_id in self.parts]
        counts = Counter(self.parts[track.track_id] for track in tracks)
        if empty := [part for part in PARTS if not counts[part]]:
            raise ArtistidError(f"the split leaves no tracks for {' and '.join(empty)}: {dict(counts)}")
        trained = {track.artist for track in tracks if self.parts[track.track_id] == "train"}
        if untrained := sorted({track.artist for track in tracks} - trained):
            raise ArtistidError(f"the split has no training tracks of {', '.join(untrained)}")
        if self.rule == "album":
            self._require_apart(tracks, {track.track_id: f"{track.artist}/{track.album}" for track in tracks}, "album")
        recordings = {track.track_id: track.sha1 for track in tracks if track.sha1}
        self._require_apart(tracks, recordings, "recording", remedy="data.exclude")

    def _require_apart(self, tracks: Iterable[Track], key: Mapping[str, str], what: str, remedy: str = "") -> None:
        groups: dict[str, list[str]] = defaultdict(list)
        for track in tracks:
            if track.track_id in key:
                groups[key[track.track_id]].append(track.track_id)
        leaks = [names for names in groups.values() if len({self.parts[name] for name in names}) > 1]
        if leaks:
            listing = "; ".join(", ".join(f"{name} ({self.parts[name]})" for name in names[:4]) for names in leaks[:5])
            raise ArtistidError(
                f"{len(leaks)} {what}{'s are' if len(leaks) > 1 else ' is'} in more than one part of the split: "
                + listing
                + ("; …" if len(leaks) > 5 else "")
                + (f"\nto leave all but one of each out: {_setting(remedy, leaks)}" if remedy else "")
            )

    def to_csv(self, path: Path) -> None:
        """Write the columns track_id, part, rule, seed."""
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("track_id", "part", "rule", "seed"))
            writer.writerows((name, self.parts[name], self.rule, self.seed) for name in sorted(self.parts))

    @classmethod
    def from_csv(cls, path: Path) -> Split:
        """Read what :meth:`to_csv` wrote; a file with only track_id and part has the rule ``file``.

        Raises:
            ArtistidError: no such file, columns missing, a part that is none of train, val, test, a seed that is no
                number, or a track that is there twice.
        """
        rows = read_rows(path, ("track_id", "part"), "split")
        parts: dict[str, str] = {}
        for row in rows:
            name, part = nfc(row["track_id"]), row["part"]
            if part not in PARTS:
                raise ArtistidError(f"{path}: the part {part!r} of the track {name!r} is none of {', '.join(PARTS)}")
            if name in parts:
                raise ArtistidError(f"{path}: the track {name!r} is there twice")
            parts[name] = part
        first = rows[0] if rows else {}
        try:
            seed = int(first["seed"]) if first.get("seed") else None
        except ValueError:
            raise ArtistidError(f"{path}: the seed {first['seed']!r} is no whole number") from None
        return cls(parts, first.get("rule") or "file", seed)


@dataclass(frozen=True, kw_only=True)
class AlbumSplit:
    """Per artist two albums drawn at random, one to test, one to validation; the rest train (paper III-A).

    An artist's draw depends on the seed, the artist's name and the albums' names only: other artists don't change it.
    """

    name: str = "album"

    def draw(self, catalog: Catalog, seed: int) -> Split:
        """Draw a split.

        Raises:
            ArtistidError: a track without an album, or an artist with fewer than three albums; all are listed.
        """
        if loose := [track.track_id for track in catalog if not track.album]:
            raise ArtistidError(
                f"split=album needs an album for every track; {len(loose)} lie directly under their artist: "
                + ", ".join(loose[:5])
                + (", …" if len(loose) > 5 else "")
                + "; split=song takes them"
            )
        albums = catalog.albums
        _require_enough({artist: len(names) for artist, names in albums.items()}, MIN_ALBUMS, "album")
        part_of = {
            (artist, album): part
            for artist, names in albums.items()
            for album, part in zip(
                _shuffled(names, seed, artist), chain(("test", "val"), repeat("train")), strict=False
            )
        }
        return Split({track.track_id: part_of[track.artist, track.album] for track in catalog}, "album", seed)


@dataclass(frozen=True, kw_only=True)
class SongSplit:
    """Songs drawn at random, stratified by artist: a tenth to test, a tenth of the others to validation (paper III-A).

    Every artist has at least one song in every part; a plain stratified draw does not promise that where songs are few.

    Attributes:
        share: of the songs that goes to test, and of the remaining ones to validation; rounded up.
    """

    name: str = "song"
    share: float = 0.1

    def draw(self, catalog: Catalog, seed: int) -> Split:
        """Draw a split; raises ArtistidError for one artist with fewer than three songs, all such are listed."""
        if not 0 < self.share < 0.5:
            raise ArtistidError(f"split.share={self.share} is no share: expected a number above 0 and below 0.5")
        songs = {artist: len(tracks) for artist, tracks in catalog.by_artist().items()}
        _require_enough(songs, MIN_SONGS, "song")
        generator = _generator(seed, "")
        n_songs = np.array(list(songs.values()))
        n_test = self._allocate(n_songs, generator, leave=2)
        n_val = self._allocate(n_songs - n_test, generator, leave=1)
        parts: dict[str, str] = {}
        for (artist, tracks), tests, vals in zip(catalog.by_artist().items(), n_test, n_val, strict=True):
            order = chain(repeat("test", tests), repeat("val", vals), repeat("train"))
            parts |= {track.track_id: part for track, part in zip(_shuffled(tracks, seed, artist), order, strict=False)}
        return Split(parts, "song", seed)

    def _allocate(self, songs: Counts, generator: np.random.Generator, leave: int) -> Counts:
        """How many of each artist's ``songs`` ``(artists,)`` to draw: in proportion, at least one, and ``leave`` stay.

        What rounding down leaves over goes to the largest remainders, drawn by lot among equals.
        """
        total = math.ceil(round(self.share * int(songs.sum()), 9))  # 0.1 * 3 is a little more than 0.3
        quota = self.share * songs
        drawn = np.maximum(1, np.floor(quota).astype(np.int64))
        lot = generator.permutation(len(songs))
        for artist in np.lexsort((lot, -(quota - np.floor(quota)))):
            if drawn.sum() < total and quota[artist] > drawn[artist]:
                drawn[artist] += 1
        return np.minimum(drawn, songs - leave)


@dataclass(frozen=True, kw_only=True)
class FileSplit:
    """A split read from a CSV file, such as the ``split.csv`` of a run folder."""

    path: str | Path | None
    name: str = "file"

    def draw(self, catalog: Catalog, seed: int) -> Split:
        """Read the split, whatever the seed; tracks that it does not name are left out and listed in the log.

        Raises:
            ArtistidError: see :meth:`Split.from_csv`; also if the file names tracks that the catalog does not have.
        """
        if self.path is None:
            raise ArtistidError("split.path is not set: say which CSV file holds the split")
        path = Path(self.path).expanduser()
        if not path.is_file():
            raise ArtistidError(f"split.path={path} does not exist (seen from {Path.cwd()})")
        split = Split.from_csv(path)
        known = {track.track_id for track in catalog}
        if absent := sorted(set(split.parts) - known):
            raise ArtistidError(
                f"{path} names {len(absent)} tracks that the collection does not have: {', '.join(absent[:5])}"
                + (", …" if len(absent) > 5 else "")
            )
        if unnamed := sorted(known - set(split.parts)):
            log.warning("left out %d tracks that %s does not name: %s", len(unnamed), path, ", ".join(unnamed))
        return split


def _setting(name: str, groups: Iterable[list[str]]) -> str:
    """A setting, ready to be pasted into a shell, that lists all but the first of each group."""
    listed = json.dumps([track_id for group in groups for track_id in group[1:]], ensure_ascii=False)
    return shlex.quote(f"{name}={listed}")


def _require_enough(counts: Mapping[str, int], needed: int, what: str) -> None:
    if short := {artist: count for artist, count in counts.items() if count < needed}:
        listing = ", ".join(f"{artist} ({count})" for artist, count in sorted(short.items()))
        raise ArtistidError(
            f"split={what} needs {needed} {what}s of every artist, one for each part; "
            f"{len(short)} of {len(counts)} artists have fewer: {listing}\n"
            f"data.min_{what}s={needed} leaves them out; data.artists=[…] names those to use"
        )


def _generator(seed: int, artist: str) -> np.random.Generator:
    """A generator that depends on the seed and a name, the same on every machine."""
    if seed < 0:
        raise ArtistidError(f"seed={seed} is no seed: expected 0 or more")
    return np.random.default_rng([seed, int.from_bytes(hashlib.sha1(artist.encode()).digest()[:8], "big")])


def _shuffled(items: Sequence[T], seed: int, artist: str) -> list[T]:
    return [items[index] for index in _generator(seed, artist).permutation(len(items))]
