"""The album split."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, repeat

from artistid.data.catalog import Catalog, folded
from artistid.data.splits.drawing import require_albums, require_enough, shuffled, with_validation_songs
from artistid.data.splits.split import Split
from artistid.errors import ArtistidError


@dataclass(frozen=True, kw_only=True)
class AlbumSplit:
    """Per artist two albums drawn at random, one to test, one to validation; the rest train (paper III-A).

    An artist's draw depends on the seed, the artist's name and the albums' names only: other artists don't change it.
    With validation of songs the same album tests, all others train, and a share of their songs validates. That is
    another protocol, which artists with two albums can follow; its validation has heard the albums, so it scores higher
    than the test.

    Attributes:
        validation: None for an album of its own, ``song`` for songs of the training albums.
        share: of each artist's training songs that validates then, rounded up.
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
        if self.validation not in (None, "song"):
            raise ArtistidError(f"split.validation={self.validation!r} is none of null, song")
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
        """Track id to subset: of each artist an album for each subset in ``drawn``; the rest train."""
        part_of = {
            (artist, folded(album)): subset
            for artist, names in catalog.albums.items()
            for album, subset in zip(shuffled(names, seed, artist), chain(drawn, repeat("train")), strict=False)
        }
        return {track.track_id: part_of[track.album_key] for track in catalog}
