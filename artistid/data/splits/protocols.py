"""The split protocols: each draws its split from a catalog and a seed, or reads it from lists or a file."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import TypeVar

import numpy as np

from artistid.data.catalog import Catalog, folded
from artistid.data.sources.artist20 import read_track_list
from artistid.data.splits.drawing import (
    allocate,
    check_share,
    generator_of,
    require_albums,
    require_enough,
    rounds,
    shuffled,
    with_validation_songs,
)
from artistid.data.splits.split import Split
from artistid.errors import ArtistidError, abbreviate, counted, require_choice
from artistid.hints import Count, Share
from artistid.places import expanded


@dataclass(frozen=True, kw_only=True)
class AlbumSplit:
    """Per artist two albums are drawn at random, one to test, one to validate; the rest train (paper III-A).

    An artist's draw depends on the seed, the artist's name and the albums' names only, not on other artists. With
    validation by songs the same album tests, all others train, and a share of their songs validates. That is another
    protocol, for which two albums per artist suffice; its validation albums are trained on, so validation scores higher
    than the test.

    Attributes:
        validation: None for an album of its own, ``song`` for songs of the training albums.
        share: for ``song``, of each artist's training songs that validates, rounded up.
    """

    name: str = "album"
    validation: str | None = None
    share: float = 0.1

    def draw(self, catalog: Catalog, seed: int) -> Split:
        """Draw a split.

        Raises:
            ArtistidError: an unknown ``validation``, a track without an album, or an artist with too few albums or
                songs; all are listed.
        """
        require_choice("split.validation", self.validation, (None, "song"))
        require_albums(catalog, "split=album")
        n_albums = {artist: len(names) for artist, names in catalog.albums.items()}
        if self.validation == "song":
            need = "split=album split.validation=song needs 2 albums of every artist, one to test and one to train"
            require_enough(n_albums, 2, "album", need, "split=song takes single albums")
            tested = self._parts(catalog, seed, "test")
            return Split(with_validation_songs(tested, catalog, self.share, seed), "album-songval", seed)
        need = "split=album needs 3 albums of every artist, one for each subset"
        require_enough(n_albums, 3, "album", need, "split.validation=song needs 2, split=song takes single albums")
        return Split(self._parts(catalog, seed, "test", "val"), "album", seed)

    def _parts(self, catalog: Catalog, seed: int, *drawn: str) -> dict[str, str]:
        """Track id to subset: an album of each artist for each subset in ``drawn``; the rest train."""
        part_of = {
            (artist, folded(album)): subset
            for artist, names in catalog.albums.items()
            for album, subset in zip(shuffled(names, seed, artist), chain(drawn, repeat("train")), strict=False)
        }
        return {track.track_id: part_of[track.album_key] for track in catalog}


@dataclass(frozen=True, kw_only=True)
class ArtistsSplit:
    """Artists are drawn at random: most train, others are enrolled without training, still others are impostors.

    The training artists' albums are split as by ``split=album``. One album of each validation or enrolled artist, drawn
    at random, is enrolled, and the songs of their other albums are claims: enrolment and claims never share an album.
    All songs of impostors are claims.

    Attributes:
        validation: artists who calibrate the scores: their number, or if below 1 their share.
        enrolled: artists who are enrolled for the test, likewise.
        impostors: artists who are not, likewise.
    """

    name: str = "artists"
    validation: Count | Share = 0.2
    enrolled: Count | Share = 0.2
    impostors: Count | Share = 0.1

    def draw(self, catalog: Catalog, seed: int) -> Split:
        """Draw a split.

        Raises:
            ArtistidError: a track without an album, artists with fewer than three albums, or too few artists.
        """
        require_albums(catalog, "split=artists")
        n_albums = {artist: len(names) for artist, names in catalog.albums.items()}
        require_enough(n_albums, 3, "album", "split=artists needs 3 albums of every artist, as split=album does")
        artists = shuffled(catalog.artists, seed, "unseen artists")
        least = {"validation": 2, "enrolled": 2, "impostors": 1}
        counts = {name: n_artists(name, getattr(self, name), len(artists), fewest) for name, fewest in least.items()}
        if len(artists) - sum(counts.values()) < 2:
            raise ArtistidError(
                f"split=artists: of {counted(len(artists), 'artist')} fewer than 2 are left to train on, beside "
                + ", ".join(f"split.{name}={getattr(self, name):g} ({n})" for name, n in counts.items())
            )
        kinds = [*chain.from_iterable(repeat(name, n) for name, n in counts.items())]
        kind_of = dict(zip(artists, kinds, strict=False))
        album = AlbumSplit().draw(Catalog(track for track in catalog if track.artist not in kind_of), seed)
        subsets_of = {
            "validation": ("val_enrol", "val_claims"),
            "enrolled": ("enrol", "claims"),
            "impostors": ("claims", "claims"),
        }
        unseen = enrolled_and_tried(catalog, {artist: subsets_of[kind] for artist, kind in kind_of.items()}, seed)
        return Split({**album.subsets, **unseen}, "artists", seed)


@dataclass(frozen=True, kw_only=True)
class EnrolmentSplit:
    """Artists none of whom was trained on: one album of each is enrolled, and the songs of the others are claims.

    Artists with a single album, and some of the others, are impostors, all of whose songs are claims.

    Attributes:
        impostors: of the artists with two albums or more: their number, or if below 1 their share.
    """

    impostors: Count | Share = 0.2

    def draw(self, catalog: Catalog, seed: int) -> Split:
        """Draw a split.

        Raises:
            ArtistidError: a track without an album, fewer than two artists to enrol, or no impostor.
        """
        require_albums(catalog, "subset=unseen")
        several = [artist for artist, albums in catalog.albums.items() if len(albums) > 1]
        n = n_artists("impostors", self.impostors, len(several), least=0, group="unseen")
        enrolled = shuffled(several, seed, "unseen artists")[n:]
        if len(enrolled) < 2 or len(enrolled) == len(catalog.artists):
            raise ArtistidError(
                "subset=unseen needs 2 artists or more with an album to enrol and another to test, and impostors "
                f"beside them: of {counted(len(catalog.artists), 'artist')} {len(several)} have two albums, and "
                f"unseen.impostors={self.impostors:g} leaves {len(enrolled)} of these to enrol"
            )
        subsets_of = dict.fromkeys(catalog.artists, ("claims", "claims"))
        subsets_of |= dict.fromkeys(enrolled, ("enrol", "claims"))
        return Split(enrolled_and_tried(catalog, subsets_of, seed), "artists", seed)


def enrolled_and_tried(catalog: Catalog, subsets_of: Mapping[str, tuple[str, str]], seed: int) -> dict[str, str]:
    """The subset of each track of some artists: their first for one album, drawn at random, their second for others."""
    albums = catalog.albums
    drawn = {artist: folded(shuffled(albums[artist], seed, artist)[0]) for artist in subsets_of}
    return {
        track.track_id: subsets_of[track.artist][folded(track.album) != drawn[track.artist]]
        for track in catalog
        if track.artist in subsets_of
    }


def n_artists(name: str, value: Count | Share, of: int, least: int, group: str = "split") -> int:
    """The number out of ``of`` artists by a setting ``group.name``, at least ``least``; below 1 it is a share."""
    if value < 0 or (value == 0 and least) or (value >= 1 and value != int(value)):
        raise ArtistidError(f"{group}.{name}={value}: expected a whole number from {least}, or a share below 1")
    return max(least, round(value * of) if value < 1 else int(value))


@dataclass(frozen=True, kw_only=True)
class SongSplit:
    """Songs drawn at random, stratified by artist: a tenth tests, a tenth of the others validates (paper III-A).

    Every artist has at least one song in every subset, which a plain stratified draw does not guarantee for few songs.

    Attributes:
        share: of the songs that tests, and of the remaining ones that validates; rounded up.
    """

    name: str = "song"
    share: float = 0.1

    def draw(self, catalog: Catalog, seed: int) -> Split:
        """Draw a split; raises ArtistidError for artists with fewer than three songs, all of whom are listed."""
        check_share(self.share)
        songs = {artist: len(tracks) for artist, tracks in catalog.by_artist().items()}
        require_enough(songs, 3, "song", "split=song needs 3 songs of every artist, one for each subset")
        generator = generator_of(seed)
        n_songs = np.array(list(songs.values()))
        n_test = allocate(n_songs, self.share, generator, leave=2)
        n_val = allocate(n_songs - n_test, self.share, generator, leave=1)
        subsets: dict[str, str] = {}
        for (artist, tracks), tests, vals in zip(catalog.by_artist().items(), n_test, n_val, strict=True):
            order = chain(repeat("test", tests), repeat("val", vals), repeat("train"))
            subsets |= {
                track.track_id: subset for track, subset in zip(shuffled(tracks, seed, artist), order, strict=False)
            }
        return Split(subsets, "song", seed)


log = logging.getLogger(__name__)

T = TypeVar("T")


def by_lists(catalog: Catalog, lists: Mapping[T, Path]) -> dict[str, T]:
    """Assign tracks by the lists that contain them.

    Tracks in no list are left out and logged. Lists may contain tracks that are not in the catalog, since a selection
    of artists has left them out; these are logged, too.

    Args:
        catalog: the tracks.
        lists: files by what they stand for, such as a subset; one ``artist/album/NN-Title`` per line.

    Returns:
        Track id to what its list stands for.

    Raises:
        ArtistidError: a list that is missing or has no tracks, a track in two lists, or no track of the catalog in any.
    """
    folder = next(iter(lists.values())).parent
    if missing := [path.name for path in lists.values() if not path.is_file()]:
        found = sorted(path.name for path in folder.glob("*.list"))
        raise ArtistidError(
            f"split.lists={folder} lacks {', '.join(missing)}; found {abbreviate(found, 5) or 'no *.list'}"
        )
    named: dict[str, T] = {}
    twice: set[str] = set()
    for key, path in lists.items():
        tracks = read_track_list(path)
        if not tracks:
            raise ArtistidError(f"{path} names no track: expected lines artist/album/NN-Title")
        twice |= tracks & named.keys()
        named |= dict.fromkeys(tracks, key)
    if twice:
        names = ", ".join(path.name for path in lists.values())
        raise ArtistidError(
            f"{folder}: {counted(len(twice), 'track is', 'tracks are')} in more than one of {names}: "
            f"{abbreviate(sorted(twice), 5)}"
        )
    known = {track.track_id for track in catalog}
    if not known & named.keys():
        raise ArtistidError(
            f"the lists in split.lists={folder} name none of the collection's {counted(len(known), 'track')}: they "
            f"have {abbreviate(sorted(named), 2)}, it has {abbreviate(sorted(known), 2)}"
        )
    if unnamed := sorted(known - named.keys()):
        left_out = counted(len(unnamed), "track")
        log.warning("left out %s that no list in %s names: %s", left_out, folder, ", ".join(unnamed))
    if absent := sorted(named.keys() - known):
        not_used = counted(len(absent), "track")
        log.info(
            "the lists in %s name %s that the collection does not have: %s", folder, not_used, abbreviate(absent, 5)
        )
    return {name: key for name, key in named.items() if name in known}


CANONICAL_LISTS = {"train": "a20-trn-tracks.list", "val": "a20-val-tracks.list", "test": "a20-tst-tracks.list"}


@dataclass(frozen=True, kw_only=True)
class CanonicalSplit:
    """The split that comes with artist20: of each artist three albums train, one validates, two test (Ellis 2007).

    Attributes:
        lists: folder of ``a20-trn-tracks.list``, ``a20-val-tracks.list`` and ``a20-tst-tracks.list``.
    """

    lists: str | Path | None
    name: str = "canonical"

    def draw(self, catalog: Catalog, seed: int) -> Split:
        """Read the split, whatever the seed; raises ArtistidError, see :func:`by_lists`."""
        if self.lists is None:
            raise ArtistidError(
                f"split=canonical reads {', '.join(CANONICAL_LISTS.values())}, and data.root has no lists/ with them: "
                "split.lists=FOLDER says where they are"
            )
        folder = expanded(self.lists)
        return Split(
            by_lists(catalog, {subset: folder / name for subset, name in CANONICAL_LISTS.items()}), "canonical", None
        )


@dataclass(frozen=True, kw_only=True)
class JackknifeSplit:
    """One fold of a jackknife: its albums test, the others train, and a share of their songs validates (Ellis 2007).

    Once all folds have been run, every track has been tested by a system that was not trained on its album; reports
    pool the folds' test predictions into one score. artist20's lists put one album of each artist into each of six
    folds. Without lists the seed draws the folds: an artist's albums, in random order, are dealt in turn to the folds,
    from a random one.

    Attributes:
        fold: the one that tests, from 0.
        n_folds: how many there are.
        lists: folder of ``a20-cut0-tracks.list`` and so on, which name the test tracks of each fold; None draws them.
        share: of each artist's training songs that validates, rounded up.
    """

    name: str = "jackknife"
    fold: int = 0
    n_folds: int = 6
    lists: str | Path | None = None
    share: float = 0.1

    def draw(self, catalog: Catalog, seed: int) -> Split:
        """Draw the validation, and the folds where there are no lists.

        Raises:
            ArtistidError: a fold out of range, lists that are not as expected (:func:`by_lists`), or too few albums or
                songs; all are listed.
        """
        check_folds(self.fold, self.n_folds)
        folds = self._listed(catalog) if self.lists else self._drawn(catalog, seed)
        subsets = {track_id: "test" if fold == self.fold else "train" for track_id, fold in folds.items()}
        rule = "jackknife" if self.lists else "jackknife-drawn"
        return Split(with_validation_songs(subsets, catalog, self.share, seed), rule, seed)

    def _listed(self, catalog: Catalog) -> dict[str, int]:
        """Track id to fold, by the lists."""
        folder = expanded(str(self.lists))
        lists = sorted(path.name for path in folder.glob("a20-cut*-tracks.list"))
        if len(lists) > self.n_folds:
            raise ArtistidError(
                f"split.lists={folder} has {counted(len(lists), 'fold')} ({lists[0]} to {lists[-1]}), "
                f"split.n_folds={self.n_folds}; split.lists=null draws the folds by the seed"
            )
        return by_lists(catalog, {fold: folder / f"a20-cut{fold}-tracks.list" for fold in range(self.n_folds)})

    def _drawn(self, catalog: Catalog, seed: int) -> dict[str, int]:
        """Track id to fold; an artist's draw depends on the seed and on that artist's names only."""
        require_albums(catalog, "split=jackknife")
        albums = catalog.albums
        need = "split=jackknife needs 2 albums of every artist, so that one trains while the other tests"
        require_enough({artist: len(names) for artist, names in albums.items()}, 2, "album", need)
        most = max(map(len, albums.values()))
        if self.n_folds > most:
            raise ArtistidError(
                f"split.n_folds={self.n_folds}, but no artist has more than {counted(most, 'album')}: a fold could be "
                f"empty; split.n_folds={most} fits"
            )
        fold_of: dict[tuple[str, str], int] = {}
        for artist, names in albums.items():
            drawn = rounds(names, self.n_folds, seed, artist)
            fold_of |= {(artist, folded(name)): fold for name, fold in drawn.items()}
        return {track.track_id: fold_of[track.album_key] for track in catalog}


def check_folds(fold: int, n_folds: int) -> None:
    """Raises ArtistidError for fewer than two folds, or a fold out of range."""
    if not isinstance(n_folds, int) or n_folds < 2:
        raise ArtistidError(f"split.n_folds={n_folds}: expected a whole number from 2")
    if not isinstance(fold, int) or not 0 <= fold < n_folds:
        raise ArtistidError(f"split.fold={fold}: expected 0 to {n_folds - 1}, as split.n_folds says")


@dataclass(frozen=True, kw_only=True)
class FoldSplit:
    """A jackknife for every artist with two songs or more, as an audit needs it: each song is tested in one fold.

    An artist's albums are dealt to the folds, as in :class:`JackknifeSplit`, if there are two or more. Else, and for
    songs without an album, single songs are: other songs of their album then train. An artist's only training song is
    not used for validation.

    Attributes:
        fold: the one that tests, from 0; may be empty in a small collection.
        n_folds: how many there are.
        share: of each artist's training songs that validates, rounded up.
    """

    name: str = "folds"
    fold: int = 0
    n_folds: int = 6
    share: float = 0.1

    def draw(self, catalog: Catalog, seed: int) -> Split:
        """Draw folds and validation; raises ArtistidError for a fold out of range, or an artist's only song."""
        check_folds(self.fold, self.n_folds)
        songs = {artist: len(tracks) for artist, tracks in catalog.by_artist().items()}
        require_enough(songs, 2, "song", "split=folds needs 2 songs of every artist, one to test and one to train")
        folds = self.folds(catalog, seed)
        subsets = {track_id: "test" if fold == self.fold else "train" for track_id, fold in folds.items()}
        return Split(with_validation_songs(subsets, catalog, self.share, seed, spare_single=True), "folds", seed)

    def folds(self, catalog: Catalog, seed: int) -> dict[str, int]:
        """Track id to fold; an artist's draw depends on the seed and on that artist's names only."""
        fold_of: dict[str, int] = {}
        albums = catalog.albums
        for artist, tracks in catalog.by_artist().items():
            if len(albums[artist]) > 1:
                of_album = {
                    folded(name): fold for name, fold in rounds(albums[artist], self.n_folds, seed, artist).items()
                }
                fold_of |= {track.track_id: of_album[folded(track.album)] for track in tracks if track.album}
            loose = [track.track_id for track in tracks if track.track_id not in fold_of]
            fold_of |= rounds(loose, self.n_folds, seed, artist)
        return fold_of


@dataclass(frozen=True, kw_only=True)
class FileSplit:
    """A split read from a CSV file, such as the ``split.csv`` of a run folder."""

    path: str | Path | None
    name: str = "file"

    def draw(self, catalog: Catalog, seed: int) -> Split:
        """Read the split, whatever the seed; tracks that are not in it are left out and logged.

        Raises:
            ArtistidError: see :meth:`Split.from_csv`; also if the file names tracks that the catalog does not have.
        """
        if self.path is None:
            raise ArtistidError("split.path is not set: say which CSV file holds the split")
        path = expanded(self.path)
        if not path.is_file():
            raise ArtistidError(f"split.path={path} does not exist (seen from {Path.cwd()})")
        split = Split.from_csv(path)
        known = {track.track_id for track in catalog}
        if absent := sorted(set(split.subsets) - known):
            raise ArtistidError(
                f"{path} names {counted(len(absent), 'track')} that the collection does not have: "
                f"{abbreviate(absent, 5)}"
            )
        if unnamed := sorted(known - set(split.subsets)):
            left_out = counted(len(unnamed), "track")
            log.warning("left out %s that %s does not name: %s", left_out, path, ", ".join(unnamed))
        return split
