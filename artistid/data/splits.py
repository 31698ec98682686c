"""Splits: which tracks train, validate and test (paper III-A).

A split is drawn from the catalog's names and a seed alone, so neither the file system's order nor Python's hash seed
matters; it is written as CSV and can be read back.
"""

from __future__ import annotations

import csv
import hashlib
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from artistid.data.catalog import Catalog, Track
from artistid.errors import ArtistidError

log = logging.getLogger(__name__)

PARTS = ("train", "val", "test")
MIN_ALBUMS = MIN_SONGS = 3  # one for each part


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
            ArtistidError: an empty part, an artist without a training track, an album in two parts (rule ``album``), or one recording
                in two parts under two names; the message lists them.
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
        self._require_apart(tracks, recordings, "recording", hint="leave all but one of each out: data.exclude=[…]")

    def _require_apart(self, tracks: Iterable[Track], key: Mapping[str, str], what: str, hint: str = "") -> None:
        groups: dict[str, list[str]] = defaultdict(list)
        for track in tracks:
            if track.track_id in key:
                groups[key[track.track_id]].append(track.track_id)
        leaks = [names for names in groups.values() if len({self.parts[name] for name in names}) > 1]
        if leaks:
            listing = "; ".join(", ".join(f"{name} ({self.parts[name]})" for name in names[:4]) for names in leaks[:5])
            raise ArtistidError(
                f"{len(leaks)} {what}{'s are' if len(leaks) > 1 else ' is'} in more than one part of the split: {listing}"
                + ("; …" if len(leaks) > 5 else "")
                + (f"\n{hint}" if hint else "")
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
            ArtistidError: no such file, columns missing, a part that is none of train, val, test, or a track that is there twice.
        """
        if not path.is_file():
            raise ArtistidError(f"split.path={path} does not exist (seen from {Path.cwd()})")
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if missing := [name for name in ("track_id", "part") if name not in (reader.fieldnames or ())]:
                raise ArtistidError(f"{path} is no split: it lacks the columns {', '.join(missing)}; found {reader.fieldnames}")
            rows = list(reader)
        parts: dict[str, str] = {}
        for line, row in enumerate(rows, start=2):
            if row["part"] not in PARTS:
                raise ArtistidError(f"{path}, line {line}: the part {row['part']!r} is none of {', '.join(PARTS)}")
            if row["track_id"] in parts:
                raise ArtistidError(f"{path}, line {line}: the track {row['track_id']!r} is there twice")
            parts[row["track_id"]] = row["part"]
        first = rows[0] if rows else {}
        return cls(parts, first.get("rule") or "file", int(first["seed"]) if first.get("seed") else None)


class Rule(Protocol):
    """How a split is made; the classes below."""

    name: str

    def draw(self, catalog: Catalog, seed: int) -> Split: ...


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
        if loose := [track for track in catalog if not track.album]:
            raise ArtistidError(
                f"split={self.name} needs an album for every track; {len(loose)} lie directly under their artist: "
                f"{', '.join(track.track_id for track in loose[:5])}" + (", …" if len(loose) > 5 else "") + "; split=song takes them"
            )
        albums = catalog.albums
        _require_enough({artist: len(names) for artist, names in albums.items()}, MIN_ALBUMS, "albums", self.name, "data.min_albums=3")
        part_of: dict[tuple[str, str], str] = {}
        for artist, names in albums.items():
            order = _generator(seed, artist).permutation(len(names))
            for place, index in enumerate(order):
                part_of[artist, names[index]] = {0: "test", 1: "val"}.get(place, "train")
        return Split({track.track_id: part_of[track.artist, track.album] for track in catalog}, self.name, seed)


@dataclass(frozen=True, kw_only=True)
class SongSplit:
    """Songs drawn at random, stratified by artist: a tenth to test, a tenth of the others to validation (paper III-A).

    Every artist has at least one song in every part, which a plain stratified draw does not promise for artists of few songs.

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
        _require_enough(songs, MIN_SONGS, "songs", self.name, "data.min_songs=3")
        generator = _generator(seed, "")
        n_test = self._allocate(np.array(list(songs.values())), generator, leave=2)
        n_val = self._allocate(np.array(list(songs.values())) - n_test, generator, leave=1)
        parts: dict[str, str] = {}
        for (artist, tracks), tests, vals in zip(catalog.by_artist().items(), n_test, n_val, strict=True):
            order = _generator(seed, artist).permutation(len(tracks))
            for place, index in enumerate(order):
                parts[tracks[index].track_id] = "test" if place < tests else "val" if place < tests + vals else "train"
        return Split(parts, self.name, seed)

    def _allocate(self, songs: npt.NDArray[np.int64], generator: np.random.Generator, leave: int) -> npt.NDArray[np.int64]:
        """How many of each artist's songs (artists,) to draw: in proportion, at least one, and ``leave`` stay.

        What rounding down leaves over goes to the largest remainders, drawn by lot among equals.
        """
        total = int(np.ceil(self.share * songs.sum()))
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

    path: str | Path
    name: str = "file"

    def draw(self, catalog: Catalog, seed: int) -> Split:
        """Read the split, whatever the seed; tracks of the catalog that it does not name are left out and listed in the log.

        Raises:
            ArtistidError: see :meth:`Split.from_csv`; also if the file names tracks that the catalog does not have.
        """
        path = Path(self.path).expanduser()
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


def _require_enough(counts: Mapping[str, int], needed: int, what: str, split: str, remedy: str) -> None:
    if short := {artist: count for artist, count in counts.items() if count < needed}:
        listing = ", ".join(f"{artist} ({count})" for artist, count in sorted(short.items()))
        raise ArtistidError(
            f"split={split} needs {needed} {what} of every artist, one for each part; {len(short)} of {len(counts)} artists have fewer: {listing}\n"
            f"{remedy} leaves them out; data.artists=[…] names those to use"
        )


def _generator(seed: int, artist: str) -> np.random.Generator:
    """A generator that depends on the seed and a name, the same on every machine."""
    return np.random.default_rng([seed, int.from_bytes(hashlib.sha1(artist.encode()).digest()[:8], "big")])
