"""Artists that are taken out of a collection."""

from __future__ import annotations

import pytest

from artistid.data.splits.drawing import hold_out_artists
from artistid.errors import ArtistidError
from tests.data.stores import make_store

CATALOG, _ = make_store({f"{artist}/{album}/x": 10 for artist in "abcdef" for album in "12"})


def test_every_track_is_on_one_side_with_all_of_its_artist() -> None:
    stay, leave = hold_out_artists(CATALOG, 2, seed=0)
    assert len(leave.artists) == 2
    assert sorted([*stay, *leave], key=lambda track: track.track_id) == list(CATALOG)
    assert not set(stay.artists) & set(leave.artists)


def test_the_seed_draws_them() -> None:
    assert hold_out_artists(CATALOG, 2, seed=0) == hold_out_artists(CATALOG, 2, seed=0)
    assert len({hold_out_artists(CATALOG, 2, seed)[1].artists for seed in range(20)}) > 5


def test_more_are_drawn_to_the_same() -> None:
    assert set(hold_out_artists(CATALOG, 2, seed=3)[1].artists) < set(hold_out_artists(CATALOG, 3, seed=3)[1].artists)


def test_by_name() -> None:
    assert hold_out_artists(CATALOG, ["e", "b"], seed=0)[1].artists == ("b", "e")


def test_none() -> None:
    stay, leave = hold_out_artists(CATALOG, 0, seed=0)
    assert stay == CATALOG
    assert not len(leave)


@pytest.mark.parametrize(
    ("unknown", "message"), [(["z"], r"does not have: \['z'\]"), (5, "leaves 1 of 6"), (9, "leaves")]
)
def test_too_many_or_strangers(unknown: int | list[str], message: str) -> None:
    with pytest.raises(ArtistidError, match=message):
        hold_out_artists(CATALOG, unknown, seed=0)
