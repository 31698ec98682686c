"""The song split."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, repeat

import numpy as np

from artistid.data.catalog import Catalog
from artistid.data.splits.drawing import allocate, check_share, generator_of, require_enough, shuffled
from artistid.data.splits.split import Split


@dataclass(frozen=True, kw_only=True)
class SongSplit:
    """Songs drawn at random, stratified by artist: a tenth to test, a tenth of the others to validation (paper III-A).

    Every artist has at least one song in every subset, which a plain stratified draw does not promise of few songs.

    Attributes:
        share: of the songs that goes to test, and of the remaining ones to validation; rounded up.
    """

    name: str = "song"
    share: float = 0.1

    def draw(self, catalog: Catalog, seed: int) -> Split:
        """Draw a split; raises ArtistidError for one artist with fewer than three songs, all such are listed."""
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
