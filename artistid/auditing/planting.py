"""Errors planted on purpose, to measure how many of them an audit finds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from artistid.auditing.findings import Song
from artistid.data.catalog import Catalog
from artistid.data.splits.drawing import generator_of
from artistid.errors import ArtistidError

FEWEST = 2  # songs that stay with each artist, so that they can be held out


@dataclass(frozen=True)
class Planted:
    """A song that was filed under a wrong artist on purpose.

    Attributes:
        track_id: of the song.
        artist: its own.
        filed: the wrong one.
    """

    track_id: str
    artist: str
    filed: str


def plant(catalog: Catalog, share: float, seed: int) -> tuple[Catalog, list[Planted]]:
    """File a share of the songs, drawn at random, under a random album of a random other artist, drawn uniformly.

    Args:
        catalog: of two artists or more.
        share: of its songs, rounded; at least one.
        seed: of the draw.

    Returns:
        The catalog with the errors, and what they are.

    Raises:
        ArtistidError: a share that is not between 0 and 0.5, or no artist with more than two songs.
    """
    if not 0 < share <= 0.5:
        raise ArtistidError(f"plant={share}: expected 0, or the share of songs to put under wrong artists, up to 0.5")
    generator = generator_of(seed, "planted errors")
    albums = {artist: sorted({track.album for track in tracks}) for artist, tracks in catalog.by_artist().items()}
    number = max(1, round(share * len(catalog)))
    drawn: list[int] = []
    left = Counter(track.artist for track in catalog)
    for index in generator.permutation(len(catalog)):
        artist = catalog[index].artist
        if len(drawn) < number and left[artist] > FEWEST:
            drawn.append(index)
            left[artist] -= 1
    if not drawn:
        raise ArtistidError(f"plant={share}: no artist has a song to spare: expected some with more than {FEWEST}")
    moved, planted = {}, []
    for track in (catalog[index] for index in sorted(drawn)):
        others = [artist for artist in albums if artist != track.artist]
        filed = others[generator.integers(len(others))]
        album = albums[filed][generator.integers(len(albums[filed]))]
        moved[track.track_id] = replace(track, artist=filed, album=album)
        planted.append(Planted(track.track_id, track.artist, filed))
    return Catalog(moved.get(track.track_id, track) for track in catalog), planted


def score_planted(planted: Sequence[Planted], songs: Sequence[Song]) -> dict[str, float]:
    """How well an audit finds errors that were planted.

    Args:
        planted: the errors.
        songs: that were audited, the most suspicious first.

    Returns:
        ``planted``, their number; ``precision`` among as many first songs of the ranking as were planted, which equals
        the recall; ``named``, the share of the errors among these for which the song's own artist was proposed; and for
        the songs that the audit lists: ``listed``, their number, ``precision_listed`` and ``recall_listed``.
    """
    artist_of = {each.track_id: each.artist for each in planted}
    first = [song for song in songs[: len(planted)] if song.track.track_id in artist_of]
    listed = [song for song in songs if song.suspect]
    n_found = sum(song.track.track_id in artist_of for song in listed)
    named = sum(song.proposed == artist_of[song.track.track_id] for song in first)
    return {
        "planted": len(planted),
        "precision": round(len(first) / len(planted), 4),
        "named": round(named / max(1, len(first)), 4),
        "listed": len(listed),
        "precision_listed": round(n_found / max(1, len(listed)), 4),
        "recall_listed": round(n_found / len(planted), 4),
    }
