"""What a split is: the subset of every track, and the guarantees of the protocol that drew it."""

from __future__ import annotations

import csv
import json
import logging
import shlex
from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from artistid import old_names
from artistid.data.catalog import Catalog, Track, nfc, read_rows
from artistid.errors import ArtistidError, abbreviate, counted, require_choice
from artistid.writing import whole

log = logging.getLogger(__name__)

SUBSETS = ("train", "val", "test")
# Of artists that are not trained on: enrolled songs and claims, for validation and for the test.
UNSEEN_SUBSETS = ("val_enrol", "val_claims", "enrol", "claims")
ALL_SUBSETS = (*SUBSETS, *UNSEEN_SUBSETS)


class SplitProtocol(NamedTuple):
    """A way to split that people report scores on; scores of different protocols are not comparable.

    Attributes:
        words: what it does, for reports.
        new_albums: the subsets that share no album with any other subset.
    """

    words: str
    new_albums: tuple[str, ...]


# By their name in run folders, scores and reports. A split from a file guarantees nothing.
PROTOCOLS = {
    "song": SplitProtocol("a tenth of the songs tests and a tenth of the others validates; albums are shared", ()),
    "album": SplitProtocol("of each artist one album tests, another validates, the rest train", ("val", "test")),
    "album-songval": SplitProtocol(
        "of each artist one album tests, the rest train; validation is of songs of the training albums", ("test",)
    ),
    "canonical": SplitProtocol(
        "artist20's own lists: of each artist three albums train, one validates, two test", ("val", "test")
    ),
    "jackknife": SplitProtocol(
        "artist20's own six folds: of each artist one album tests, the others train, in turn; validation is of songs "
        "of the training albums; the test is of all tracks, the folds' taken together",
        ("test",),
    ),
    "jackknife-drawn": SplitProtocol(
        "each artist's albums in folds drawn by the seed: one fold tests, the others train, in turn; validation is of "
        "songs of the training albums; the test is of all tracks, the folds' taken together",
        ("test",),
    ),
    "artists": SplitProtocol(
        "most artists train, with an album each that validates and one that tests; of others, drawn by the seed, an "
        "album is enrolled and the rest are tried, some to validate and some to test; of still others all are tried",
        ("val", "test", *UNSEEN_SUBSETS),
    ),
    "folds": SplitProtocol(
        "each artist's albums, or of an artist with one album its songs, in folds drawn by the seed: one fold tests, "
        "the others train, in turn; validation is of songs of the training albums",
        (),
    ),
    "file": SplitProtocol("a split that a file brought", ()),
}


@dataclass(frozen=True)
class Split:
    """Which subset every track belongs to.

    Attributes:
        subsets: track id to ``train``, ``val`` or ``test``, or one of ``UNSEEN_SUBSETS``.
        rule: name of the rule that drew it, see ``PROTOCOLS`` for its guarantees.
        seed: of the draw; None where no seed was used.
    """

    subsets: Mapping[str, str]
    rule: str
    seed: int | None

    def select(self, catalog: Catalog, subset: str) -> Catalog:
        """The tracks of ``catalog`` that are in ``subset``."""
        return Catalog(track for track in catalog if self.subsets.get(track.track_id) == subset)

    @property
    def has_unseen(self) -> bool:
        """Whether there are artists that are not trained on, to be enrolled."""
        return not set(UNSEEN_SUBSETS).isdisjoint(self.subsets.values())

    def seen(self, catalog: Catalog) -> Catalog:
        """The tracks of ``catalog`` except those of artists that are not trained on."""
        return Catalog(track for track in catalog if self.subsets.get(track.track_id) not in UNSEEN_SUBSETS)

    def plain(self) -> dict[str, Any]:
        """As plain values, for a checkpoint."""
        return {"rule": self.rule, "seed": self.seed, "subsets": dict(self.subsets)}

    def check(self, catalog: Catalog) -> None:
        """Make sure that nothing leaks and that all artists can be learned.

        Raises:
            ArtistidError: an empty subset, an artist without a training track, or one both trained on and unseen, an
                album in two subsets that the protocol keeps apart, or one recording in two subsets under two names; the
                message lists them.
        """
        tracks = [track for track in catalog if track.track_id in self.subsets]
        counts = Counter(self.subsets[track.track_id] for track in tracks)
        needed = ALL_SUBSETS if self.has_unseen else SUBSETS
        if empty := [subset for subset in needed if not counts[subset]]:
            raise ArtistidError(f"the split leaves no tracks for {' and '.join(empty)}: {dict(counts)}")
        seen = {track.artist for track in tracks if self.subsets[track.track_id] in SUBSETS}
        trained = {track.artist for track in tracks if self.subsets[track.track_id] == "train"}
        if untrained := sorted(seen - trained):
            raise ArtistidError(f"the split has no training tracks of {', '.join(untrained)}")
        self._require_unseen(tracks, seen)
        if self.rule in PROTOCOLS:
            albums = {track.track_id: (track.artist, track.album) for track in tracks}
            self._require_apart(tracks, albums, "album", PROTOCOLS[self.rule].new_albums)
        recordings = {track.track_id: track.sha1 for track in tracks if track.sha1}
        self._require_apart(tracks, recordings, "recording", ALL_SUBSETS, remedy="data.exclude")

    def _require_unseen(self, tracks: Iterable[Track], seen: Collection[str]) -> None:
        """Raises ArtistidError for artists in more than one of training, unseen validation and unseen test."""
        kinds: dict[str, set[str]] = {"are trained on": set(seen), "validate": set(), "test": set()}
        for track in tracks:
            if (subset := self.subsets[track.track_id]) in UNSEEN_SUBSETS:
                kinds["validate" if subset.startswith("val") else "test"].add(track.artist)
        for (one, artists), (another, others) in combinations(kinds.items(), 2):
            if both := sorted(artists & others):
                raise ArtistidError(f"the split has artists that {one} and also {another}: {abbreviate(both)}")

    def _require_apart(
        self, tracks: Iterable[Track], key: Mapping[str, Hashable], what: str, apart: Collection[str], remedy: str = ""
    ) -> None:
        """Raises ArtistidError where tracks of one key are in several subsets, one of them in ``apart``."""
        groups: dict[Hashable, list[str]] = defaultdict(list)
        for track in tracks:
            if track.track_id in key:
                groups[key[track.track_id]].append(track.track_id)
        subsets = {group: {self.subsets[name] for name in names} for group, names in groups.items()}
        leaking = [names for group, names in groups.items() if len(subsets[group]) > 1 and subsets[group] & set(apart)]
        if leaking:
            listed = "; ".join(
                ", ".join(f"{name} ({self.subsets[name]})" for name in names[:4]) for names in leaking[:5]
            )
            raise ArtistidError(
                f"{counted(len(leaking), f'{what} is', f'{what}s are')} in more than one subset of the split: "
                + listed
                + ("; …" if len(leaking) > 5 else "")
                + (f"\nto leave all but one of each out: {_setting(remedy, leaking)}" if remedy else "")
            )

    def warn_of_spellings(self, catalog: Catalog) -> None:
        """Warn of albums of which a list or file puts different spellings, each as a whole, into different subsets.

        Splits drawn by this package have none. If one spelling is in several subsets, albums are shared on purpose.
        """
        apart = PROTOCOLS[self.rule].new_albums if self.rule in PROTOCOLS and self.rule != "file" else SUBSETS
        albums: dict[tuple[str, str], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        for track in catalog:
            if track.album and track.track_id in self.subsets:
                albums[track.album_key][track.album].add(self.subsets[track.track_id])
        parted = [
            f"{artist}: " + " = ".join(f"{name} ({subset})" for name, (subset,) in sorted(subsets.items()))
            for (artist, _), subsets in albums.items()
            if all(len(of_spelling) == 1 for of_spelling in subsets.values())
            and len(found := set().union(*subsets.values())) > 1
            and found & set(apart)
        ]
        if parted:
            log.warning(
                "in more than one subset of the split, since its spellings differ in case, accents or blanks: %s: %s",
                *(counted(len(parted), "album"), abbreviate(parted)),
            )

    def to_csv(self, path: Path) -> None:
        """Write the columns track_id, subset, rule, seed."""
        with whole(path, newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("track_id", "subset", "rule", "seed"))
            writer.writerows((name, self.subsets[name], self.rule, self.seed) for name in sorted(self.subsets))

    @classmethod
    def from_csv(cls, path: Path) -> Split:
        """Read what :meth:`to_csv` wrote; a file with only track_id and subset has the rule ``file``.

        Raises:
            ArtistidError: no such file, columns missing, an unknown subset, a seed that is not a number, or a track
                that appears twice.
        """
        rows = read_rows(path, ("track_id", "subset"), "split", old_names.SPLIT)
        subsets: dict[str, str] = {}
        for row in rows:
            name, subset = nfc(row["track_id"]), row["subset"]
            require_choice(f"{path}: the subset of the track {name!r}", subset, ALL_SUBSETS)
            if name in subsets:
                raise ArtistidError(f"{path}: the track {name!r} appears twice")
            subsets[name] = subset
        first = rows[0] if rows else {}
        try:
            seed = int(first["seed"]) if first.get("seed") else None
        except ValueError:
            raise ArtistidError(f"{path}: the seed {first['seed']!r} is not a whole number") from None
        return cls(subsets, first.get("rule") or "file", seed)


def _setting(name: str, groups: Iterable[list[str]]) -> str:
    """A setting, ready to be pasted into a shell, that lists all but the first of each group."""
    listed = json.dumps([track_id for group in groups for track_id in group[1:]], ensure_ascii=False)
    return shlex.quote(f"{name}={listed}")
