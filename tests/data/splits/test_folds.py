"""Folds in which every song of a collection is tested once: by albums where an artist has two, else by songs."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import pytest

from artistid.auditing.planting import plant
from artistid.data.catalog import Catalog, Track
from artistid.data.splits import FoldSplit
from artistid.errors import ArtistidError


def track(artist: str, album: str, title: str) -> Track:
    name = f"{artist}/{album}/{title}"
    return Track(name, artist, album, title, Path(f"{name}.wav"))


@pytest.fixture
def catalog() -> Catalog:
    """An artist with three albums, one in two spellings, and a loose song; one with an album; one with two songs."""
    albums = [("many", album, 3) for album in ("a", "b", "c", "C ")] + [
        ("many", "", 1),
        ("single", "a", 4),
        ("few", "", 2),
    ]
    return Catalog(track(artist, album, str(song)) for artist, album, songs in albums for song in range(songs))


def test_each_song_is_tested_once_without_its_album(catalog: Catalog) -> None:
    tested: Counter[str] = Counter()
    for fold in range(3):
        split = FoldSplit(n_folds=3, fold=fold).draw(catalog, seed=0)
        subsets: dict[tuple[str, str], set[str]] = defaultdict(set)
        for each in catalog:
            subsets[each.album_key].add(split.subsets[each.track_id])
        tested.update(name for name, subset in split.subsets.items() if subset == "test")
        for album in ("a", "b", "c"):
            assert subsets["many", album] == {"test"} or "test" not in subsets["many", album]
        trained = {each.artist for each in catalog if split.subsets[each.track_id] == "train"}
        assert trained == {"many", "single", "few"}
        split.check(catalog)
    assert tested == Counter(each.track_id for each in catalog)


def test_folds_that_cannot_be(catalog: Catalog) -> None:
    with pytest.raises(ArtistidError, match="alone"):
        FoldSplit().draw(Catalog([*catalog, track("alone", "a", "1")]), seed=0)
    with pytest.raises(ArtistidError, match=r"split\.fold=6"):
        FoldSplit(fold=6).draw(catalog, seed=0)


def test_planted_errors_are_on_albums_of_other_artists(catalog: Catalog) -> None:
    changed, planted = plant(catalog, 0.2, seed=0)
    before = {each.track_id: each for each in catalog}
    moved = {each.track_id: each for each in changed if each != before[each.track_id]}
    assert moved.keys() == {each.track_id for each in planted}
    assert len(planted) == round(0.2 * len(catalog))
    for each in planted:
        assert each.artist == before[each.track_id].artist != each.filed == moved[each.track_id].artist
    known = {each.album_key for each in catalog}
    assert {each.album_key for each in moved.values()} <= known
    assert plant(catalog, 0.2, seed=0) == (changed, planted)
    assert plant(catalog, 0.2, seed=1)[1] != planted
