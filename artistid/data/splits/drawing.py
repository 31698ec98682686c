"""Random draws for splits, by seed and names alone, of shares of songs and of whole artists; checks for too few."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from artistid.data.catalog import Catalog, Track, nfc
from artistid.errors import ArtistidError, abbreviate, counted

T = TypeVar("T")
Counts = npt.NDArray[np.int64]


def generator_of(seed: int, artist: str = "") -> np.random.Generator:
    """A generator that depends on the seed and a name, the same on every machine."""
    if seed < 0:
        raise ArtistidError(f"seed={seed}: expected 0 or more")
    return np.random.default_rng([seed, int.from_bytes(hashlib.sha1(artist.encode()).digest()[:8], "big")])


def shuffled(items: Sequence[T], seed: int, artist: str) -> list[T]:
    """An artist's albums or songs in random order, independent of other artists."""
    return [items[index] for index in generator_of(seed, artist).permutation(len(items))]


def rounds(items: Sequence[T], n_folds: int, seed: int, artist: str) -> dict[T, int]:
    """A fold for each of an artist's albums or songs: in random order, dealt in turn to the folds from a random one."""
    generator = generator_of(seed, artist)
    order, first = generator.permutation(len(items)), generator.integers(n_folds)
    return {items[index]: int(first + position) % n_folds for position, index in enumerate(order)}


def allocate(songs: Counts, share: float, generator: np.random.Generator, leave: int) -> Counts:
    """How many of each artist's ``songs`` ``(artists,)`` to draw: in proportion, at least one, leaving ``leave``.

    What rounding down leaves over goes to the largest remainders, with ties broken at random.
    """
    total = math.ceil(round(share * int(songs.sum()), 9))  # 0.1 * 3 is a little more than 0.3
    quota = share * songs
    drawn = np.maximum(1, np.floor(quota).astype(np.int64))
    lot = generator.permutation(len(songs))
    for artist in np.lexsort((lot, -(quota - np.floor(quota)))):
        if drawn.sum() < total and quota[artist] > drawn[artist]:
            drawn[artist] += 1
    return np.minimum(drawn, songs - leave)


def with_validation_songs(
    subsets: Mapping[str, str], catalog: Catalog, share: float, seed: int, spare_single: bool = False
) -> dict[str, str]:
    """The subsets, with a share of each artist's training songs moved to validation.

    At least one song of every artist validates, and one still trains.

    Args:
        subsets: track id to subset.
        catalog: has the tracks.
        share: of the training songs, rounded up.
        seed: of the draw.
        spare_single: an artist's single training song stays in training, and none of that artist validates.

    Raises:
        ArtistidError: an artist with a single training song that is not spared; all such are listed.
    """
    check_share(share)
    songs = Catalog(track for track in catalog if subsets.get(track.track_id) == "train").by_artist()
    single = sorted(artist for artist, tracks in songs.items() if len(tracks) < 2)
    if single and not spare_single:
        raise ArtistidError(
            "validation takes songs of the training albums, so each artist needs two of them; "
            f"{counted(len(single), 'artist has', 'artists have')} only one: {abbreviate(single, 5)}"
        )
    n_val = allocate(np.array([len(tracks) for tracks in songs.values()]), share, generator_of(seed), leave=1)
    drawn = (
        track.track_id
        for (artist, tracks), n in zip(songs.items(), n_val, strict=True)
        for track in shuffled(tracks, seed, artist)[:n]
    )
    return {**subsets, **dict.fromkeys(drawn, "val")}


def check_share(share: float) -> None:
    """Raises ArtistidError unless it is between 0 and 0.5."""
    if not 0 < share < 0.5:
        raise ArtistidError(f"split.share={share} is out of range: expected a number above 0 and below 0.5")


def require_albums(tracks: Iterable[Track], rule: str) -> None:
    """Raises ArtistidError where tracks lack the album that a rule needs; all are counted."""
    if loose := [track.track_id for track in tracks if not track.album]:
        raise ArtistidError(
            f"{rule} needs an album for every track; {counted(len(loose), 'track lies', 'tracks lie')} directly under "
            f"an artist: {abbreviate(loose, 5)}; split=song takes them, data.albums_only=true leaves them out"
        )


def require_enough(counts: Mapping[str, int], needed: int, what: str, rule: str, otherwise: str = "") -> None:
    """Make sure that every artist has enough albums or songs.

    Args:
        counts: artist to albums or songs.
        needed: of each.
        what: ``album`` or ``song``.
        rule: which rule needs them, and what for.
        otherwise: rules that need fewer.

    Raises:
        ArtistidError: some have fewer; the message lists them and says what to do.
    """
    short = {artist: count for artist, count in counts.items() if count < needed}
    if not short:
        return
    found = ", ".join(f"{artist} ({count})" for artist, count in sorted(short.items()))
    advice = [f"data.min_{what}s={needed} leaves them out", "data.artists=[…] names those to use"]
    if len(short) == len(counts):
        advice = [f"data=synthetic makes as many with data.n_{what}s={needed}"]
    raise ArtistidError(
        f"{rule}; fewer: {len(short)} of {counted(len(counts), 'artist')}: {found}\n"
        + "; ".join([*advice, *([otherwise] if otherwise else [])])
    )


def hold_out_artists(catalog: Catalog, unknown: int | Sequence[str], seed: int) -> tuple[Catalog, Catalog]:
    """Divide a catalog by artists.

    Args:
        catalog: of all artists.
        unknown: the artists to hold out, or how many.
        seed: of the draw.

    Returns:
        The tracks of the remaining artists, and those of the others.

    Raises:
        ArtistidError: an artist that the catalog does not have, or fewer than two remaining.
    """
    names = set(_drawn(catalog.artists, unknown, seed) if isinstance(unknown, int) else map(nfc, unknown))
    if strangers := sorted(names - set(catalog.artists)):
        raise ArtistidError(
            f"unknown_artists names artists that the collection does not have: {strangers}; it has "
            + abbreviate(catalog.artists)
        )
    if len(catalog.artists) - len(names) < 2:
        raise ArtistidError(
            f"unknown_artists={unknown} leaves {len(catalog.artists) - len(names)} of "
            f"{counted(len(catalog.artists), 'artist')}: telling artists apart needs two or more"
        )
    stay, leave = (Catalog(track for track in catalog if (track.artist in names) == out) for out in (False, True))
    return stay, leave


def _drawn(artists: Sequence[str], n: int, seed: int) -> list[str]:
    return [artists[index] for index in generator_of(seed, "unknown artists").permutation(len(artists))[:n]]
