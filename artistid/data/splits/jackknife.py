"""The jackknife over albums."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from artistid.data.catalog import Catalog, folded
from artistid.data.splits.drawing import generator_of, require_albums, require_enough, with_validation_songs
from artistid.data.splits.official import by_lists
from artistid.data.splits.split import Split
from artistid.errors import ArtistidError
from artistid.places import expanded


@dataclass(frozen=True, kw_only=True)
class JackknifeSplit:
    """One fold of a jackknife: its albums test, the others train, and a share of their songs validates (Ellis 2007).

    Once all folds have been run, every track has been tested by a system that has not heard its album; reports pool
    the folds' test predictions into one score. artist20's lists put one album of each artist into each of six folds.
    Without lists the seed draws the folds: an artist's albums, in a drawn order, go round the folds from a drawn one.

    Attributes:
        fold: which tests, from 0.
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
            ArtistidError: a fold that is none, lists that are not as expected (:func:`by_lists`), or too few albums or
                songs; all are listed.
        """
        if not isinstance(self.n_folds, int) or self.n_folds < 2:
            raise ArtistidError(f"split.n_folds={self.n_folds}: expected a whole number from 2")
        if not isinstance(self.fold, int) or not 0 <= self.fold < self.n_folds:
            raise ArtistidError(f"split.fold={self.fold}: expected 0 to {self.n_folds - 1}, as split.n_folds says")
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
                f"split.lists={folder} has {len(lists)} folds ({lists[0]} to {lists[-1]}), split.n_folds={self.n_folds}"
                "; split.lists=null draws the folds by the seed"
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
                f"split.n_folds={self.n_folds}, but no artist has more than {most} albums: a fold could be empty; "
                f"split.n_folds={most} fits"
            )
        fold_of: dict[tuple[str, str], int] = {}
        for artist, names in albums.items():
            generator = generator_of(seed, artist)
            order, first = generator.permutation(len(names)), generator.integers(self.n_folds)
            fold_of |= {(artist, folded(names[i])): int(first + place) % self.n_folds for place, i in enumerate(order)}
        return {track.track_id: fold_of[track.album_key] for track in catalog}
