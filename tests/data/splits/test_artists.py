"""Splits in which some artists are not trained on."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from artistid.data.catalog import Catalog
from artistid.data.splits import ALL_SUBSETS, UNSEEN_SUBSETS, AlbumSplit, ArtistsSplit, EnrolmentSplit, Split
from artistid.errors import ArtistidError
from tests.data.splits.test_split import discography

CATALOG = discography({f"artist {number}": [3, 2, 4, 1][: 3 + number % 2] for number in range(20)})
DRAWN = ArtistsSplit().draw(CATALOG, 0)


def artists_of(split: Split, *subsets: str) -> set[str]:
    return {track.artist for track in CATALOG if split.subsets[track.track_id] in subsets}


def test_artists_are_of_one_kind_and_albums_of_one_subset() -> None:
    DRAWN.check(CATALOG)
    assert DRAWN.subsets.keys() == {track.track_id for track in CATALOG}
    seen, validating = artists_of(DRAWN, "train", "val", "test"), artists_of(DRAWN, "val_enrol", "val_claims")
    enrolled, tried = artists_of(DRAWN, "enrol"), artists_of(DRAWN, "claims")
    assert (len(seen), len(validating), len(enrolled), len(tried - enrolled)) == (10, 4, 4, 2)
    assert enrolled < tried
    assert not (seen & validating) | (seen & tried) | (validating & tried)
    assert seen == artists_of(DRAWN, "train") == set(DRAWN.seen(CATALOG).artists)
    albums = {(track.album_key, DRAWN.subsets[track.track_id]) for track in CATALOG}
    assert len(albums) == len({track.album_key for track in CATALOG})
    of_subset = Counter((artist, subset) for (artist, _), subset in albums)
    for artist in enrolled | validating:
        assert sum(of_subset[artist, subset] for subset in ("enrol", "val_enrol")) == 1


def test_those_who_train_have_the_albums_of_an_album_split() -> None:
    seen = DRAWN.seen(CATALOG)
    assert {track.track_id: DRAWN.subsets[track.track_id] for track in seen} == AlbumSplit().draw(seen, 0).subsets


def test_counts_and_shares() -> None:
    split = ArtistsSplit(validation=2, enrolled=0.5, impostors=3).draw(CATALOG, 1)
    kinds = [artists_of(split, *subsets) for subsets in (("train",), ("val_enrol",), ("enrol",), ("claims",))]
    assert [len(kind) for kind in kinds] == [5, 2, 10, 13]
    assert split.subsets != ArtistsSplit(validation=2, enrolled=0.5, impostors=3).draw(CATALOG, 2).subsets


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"enrolled": 17}, r"fewer than 2 are left.*split\.enrolled=17"),
        ({"impostors": 0}, r"split\.impostors=0"),
        ({"validation": 2.5}, r"split\.validation=2\.5"),
    ],
)
def test_numbers_that_cannot_be(settings: dict, message: str) -> None:
    with pytest.raises(ArtistidError, match=message):
        ArtistsSplit(**settings).draw(CATALOG, 0)


def test_albums_are_needed() -> None:
    with pytest.raises(ArtistidError, match="3 albums"):
        ArtistsSplit().draw(discography({f"{number}": [1, 1] for number in range(10)}), 0)


def test_it_is_read_back(tmp_path: Path) -> None:
    DRAWN.to_csv(tmp_path / "split.csv")
    again = Split.from_csv(tmp_path / "split.csv")
    assert (dict(again.subsets), again.rule, again.seed) == (dict(DRAWN.subsets), "artists", 0)
    assert again.has_unseen
    assert set(again.subsets.values()) == set(ALL_SUBSETS)


def test_an_artist_of_two_kinds_is_refused() -> None:
    subsets = dict(DRAWN.subsets)
    artist = min(artists_of(DRAWN, "train"))
    album = next(track.album for track in CATALOG if track.artist == artist and subsets[track.track_id] == "test")
    for track in CATALOG:
        if (track.artist, track.album) == (artist, album):
            subsets[track.track_id] = "claims"
    with pytest.raises(ArtistidError, match="trained on and also test: artist"):
        Split(subsets, "file", None).check(CATALOG)


def test_a_recording_that_is_enrolled_and_tried_is_refused() -> None:
    artist = min(artists_of(DRAWN, "enrol"))
    own = {DRAWN.subsets[track.track_id]: track.track_id for track in CATALOG if track.artist == artist}
    same = Catalog(replace(track, sha1="the same") if track.track_id in own.values() else track for track in CATALOG)
    with pytest.raises(ArtistidError, match="1 recording is in more than one subset"):
        DRAWN.check(same)


def test_a_subset_without_songs_is_refused() -> None:
    left = Catalog(track for track in CATALOG if DRAWN.subsets[track.track_id] != "val_enrol")
    with pytest.raises(ArtistidError, match="no tracks for val_enrol"):
        DRAWN.check(left)
    assert "val_enrol" in UNSEEN_SUBSETS


class TestEnrolmentSplit:
    """Of a catalog that nothing was trained on."""

    MIXED = discography({"one": [3], "another": [2], **{f"artist {number}": [3, 2] for number in range(6)}})

    def test_who_is_enrolled_by_what(self) -> None:
        drawn = EnrolmentSplit(impostors=2).draw(self.MIXED, 0)
        assert drawn.subsets.keys() == {track.track_id for track in self.MIXED}
        albums = {(track.artist, track.album, drawn.subsets[track.track_id]) for track in self.MIXED}
        kinds = {artist: Counter(kind for who, _, kind in albums if who == artist) for artist in self.MIXED.artists}
        assert kinds["one"] == kinds["another"] == {"claims": 1}
        assert Counter(map(tuple, (sorted(each.items()) for each in kinds.values()))) == {
            (("claims", 1),): 2,
            (("claims", 2),): 2,
            (("claims", 1), ("enrol", 1)): 4,
        }

    def test_the_seed_draws_them(self) -> None:
        again, other = (EnrolmentSplit(impostors=0.3).draw(self.MIXED, seed).subsets for seed in (0, 1))
        assert EnrolmentSplit(impostors=0.3).draw(Catalog(reversed([*self.MIXED])), 0).subsets == again
        assert other != again

    def test_without_impostors_those_of_one_album_do(self) -> None:
        drawn = EnrolmentSplit(impostors=0).draw(self.MIXED, 0)
        assert len({track.artist for track in self.MIXED if drawn.subsets[track.track_id] == "enrol"}) == 6
        with pytest.raises(ArtistidError, match="of 2 artists 2 have two albums"):
            EnrolmentSplit(impostors=0).draw(discography({"a": [1, 1], "b": [1, 1]}), 0)
