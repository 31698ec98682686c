"""What a split is: the part of every track, and what the protocol that drew it promises."""

from __future__ import annotations

import csv
import json
import logging
import shlex
from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from artistid.data.catalog import Catalog, Track, nfc, read_rows
from artistid.errors import ArtistidError, listing
from artistid.writing import whole

log = logging.getLogger(__name__)

PARTS = ("train", "val", "test")


class Protocol(NamedTuple):
    """A way to split that people report scores on; scores of different protocols are not comparable.

    Attributes:
        words: what it does, for reports.
        new_albums: the parts that share no album with any other part.
    """

    words: str
    new_albums: tuple[str, ...]


# By the name that run folders, scores and reports tell them apart by. A split that a file brings promises nothing.
PROTOCOLS = {
    "song": Protocol("a tenth of the songs tests and a tenth of the others validates; albums are shared", ()),
    "album": Protocol("of each artist one album tests, another validates, the rest train", ("val", "test")),
    "album-songval": Protocol(
        "of each artist one album tests, the rest train; validation is of songs of the training albums", ("test",)
    ),
    "canonical": Protocol(
        "artist20's own lists: of each artist three albums train, one validates, two test", ("val", "test")
    ),
    "jackknife": Protocol(
        "artist20's own six folds: of each artist one album tests, the others train, in turn; validation is of songs "
        "of the training albums; the test is of all tracks, the folds' taken together",
        ("test",),
    ),
    "jackknife-drawn": Protocol(
        "each artist's albums in folds drawn by the seed: one fold tests, the others train, in turn; validation is of "
        "songs of the training albums; the test is of all tracks, the folds' taken together",
        ("test",),
    ),
    "file": Protocol("a split that a file brought", ()),
}


@dataclass(frozen=True)
class Split:
    """Which part every track belongs to.

    Attributes:
        parts: track id to ``train``, ``val`` or ``test``.
        rule: name of the rule that drew it, see ``PROTOCOLS`` for what it promises.
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
            ArtistidError: an empty part, an artist without a training track, an album in two parts that the
                protocol keeps apart, or one recording in two parts under two names; the message lists them.
        """
        tracks = [track for track in catalog if track.track_id in self.parts]
        counts = Counter(self.parts[track.track_id] for track in tracks)
        if empty := [part for part in PARTS if not counts[part]]:
            raise ArtistidError(f"the split leaves no tracks for {' and '.join(empty)}: {dict(counts)}")
        trained = {track.artist for track in tracks if self.parts[track.track_id] == "train"}
        if untrained := sorted({track.artist for track in tracks} - trained):
            raise ArtistidError(f"the split has no training tracks of {', '.join(untrained)}")
        if self.rule in PROTOCOLS:
            albums = {track.track_id: (track.artist, track.album) for track in tracks}
            self._require_apart(tracks, albums, "album", PROTOCOLS[self.rule].new_albums)
        self._warn_of_spellings(tracks)
        recordings = {track.track_id: track.sha1 for track in tracks if track.sha1}
        self._require_apart(tracks, recordings, "recording", PARTS, remedy="data.exclude")

    def _require_apart(
        self, tracks: Iterable[Track], key: Mapping[str, Hashable], what: str, apart: Collection[str], remedy: str = ""
    ) -> None:
        """Raises ArtistidError where tracks of one key are in several parts, and one of these is to stand apart."""
        groups: dict[Hashable, list[str]] = defaultdict(list)
        for track in tracks:
            if track.track_id in key:
                groups[key[track.track_id]].append(track.track_id)
        parts = {group: {self.parts[name] for name in names} for group, names in groups.items()}
        leaks = [names for group, names in groups.items() if len(parts[group]) > 1 and parts[group] & set(apart)]
        if leaks:
            listed = "; ".join(", ".join(f"{name} ({self.parts[name]})" for name in names[:4]) for names in leaks[:5])
            raise ArtistidError(
                f"{len(leaks)} {what}{'s are' if len(leaks) > 1 else ' is'} in more than one part of the split: "
                + listed
                + ("; …" if len(leaks) > 5 else "")
                + (f"\nto leave all but one of each out: {_setting(remedy, leaks)}" if remedy else "")
            )

    def _warn_of_spellings(self, tracks: Iterable[Track]) -> None:
        """Warn of albums whose spellings a list or a file has put, each as a whole, into different parts.

        What this package draws has none. Where a spelling itself is in several parts, albums are shared on purpose.
        """
        apart = PROTOCOLS[self.rule].new_albums if self.rule in PROTOCOLS and self.rule != "file" else PARTS
        albums: dict[tuple[str, str], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        for track in tracks:
            if track.album:
                albums[track.album_key][track.album].add(self.parts[track.track_id])
        parted = [
            f"{artist}: " + " = ".join(f"{name} ({part})" for name, (part,) in sorted(parts.items()))
            for (artist, _), parts in albums.items()
            if all(len(each) == 1 for each in parts.values())
            and len(found := set().union(*parts.values())) > 1
            and found & set(apart)
        ]
        if parted:
            log.warning(
                "%d albums, whose names differ only in case, accents or blanks, are in more than one part of the "
                "split: %s",
                *(len(parted), listing(parted)),
            )

    def to_csv(self, path: Path) -> None:
        """Write the columns track_id, part, rule, seed."""
        with whole(path, newline="") as file:
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


def _setting(name: str, groups: Iterable[list[str]]) -> str:
    """A setting, ready to be pasted into a shell, that lists all but the first of each group."""
    listed = json.dumps([track_id for group in groups for track_id in group[1:]], ensure_ascii=False)
    return shlex.quote(f"{name}={listed}")
