"""Unknown artists: some are taken out of a collection altogether, to find out what a system says of their songs."""

from __future__ import annotations

from collections.abc import Sequence

from artistid.data.catalog import Catalog, nfc
from artistid.data.splits.drawing import generator_of
from artistid.errors import ArtistidError, abbreviate


def hold_out_artists(catalog: Catalog, unknown: int | Sequence[str], seed: int) -> tuple[Catalog, Catalog]:
    """Part a catalog by artists.

    Args:
        catalog: of all artists.
        unknown: the artists to take out, or how many.
        seed: of the draw.

    Returns:
        The tracks of the artists that stay, and those of the others.

    Raises:
        ArtistidError: an artist that the catalog does not have, or fewer than two that stay.
    """
    names = set(_drawn(catalog.artists, unknown, seed) if isinstance(unknown, int) else map(nfc, unknown))
    if strangers := sorted(names - set(catalog.artists)):
        raise ArtistidError(
            f"unknown_artists names artists that the collection does not have: {strangers}; it has "
            + abbreviate(catalog.artists)
        )
    if len(catalog.artists) - len(names) < 2:
        raise ArtistidError(
            f"unknown_artists={unknown} leaves {len(catalog.artists) - len(names)} of {len(catalog.artists)} artists: "
            "telling artists apart needs two or more"
        )
    stay, leave = (Catalog(track for track in catalog if (track.artist in names) == out) for out in (False, True))
    return stay, leave


def _drawn(artists: Sequence[str], n: int, seed: int) -> list[str]:
    return [artists[place] for place in generator_of(seed, "unknown artists").permutation(len(artists))[:n]]
