"""The jackknife over albums: by lists, and drawn."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from artistid.data.catalog import Catalog
from artistid.data.splits import JackknifeSplit, Split
from artistid.errors import ArtistidError
from tests.data.splits.test_split import artist20_sized, discography


def all_folds(catalog: Catalog, seed: int = 0, n_folds: int = 6, lists: Path | None = None) -> list[Split]:
    return [JackknifeSplit(fold=fold, n_folds=n_folds, lists=lists).draw(catalog, seed) for fold in range(n_folds)]


def tracks_tested(split: Split) -> set[str]:
    return {name for name, subset in split.subsets.items() if subset == "test"}


def write_lists(folder: Path, catalog: Catalog) -> Path:
    """Six lists: of each artist album 0 is in the first, album 1 in the second and so on."""
    folder.mkdir(exist_ok=True)
    for fold in range(6):
        lines = [f"{track.track_id}\n" for track in catalog if track.album == f"album {fold}"]
        (folder / f"a20-cut{fold}-tracks.list").write_text("".join(lines), encoding="utf-8")
    return folder


def test_folds_test_every_track_once() -> None:
    catalog = artist20_sized()
    folds = all_folds(catalog)
    times = Counter(name for split in folds for name in tracks_tested(split))
    assert len(times) == 1413
    assert set(times.values()) == {1}
    for split in folds:
        split.check(catalog)
        assert split.rule == "jackknife-drawn"
        albums = split.select(catalog, "test").albums
        assert all(len(albums[artist]) == 1 for artist in catalog.artists)
        counts = Counter(split.subsets.values())
        assert counts["val"] == -(-(1413 - counts["test"]) // 10)
        train = split.select(catalog, "train").albums
        assert all(len(train[artist]) == 5 for artist in catalog.artists)


def test_lists_make_the_folds_whatever_the_seed(tmp_path: Path) -> None:
    catalog = artist20_sized()
    lists = write_lists(tmp_path / "lists", catalog)
    for fold, split in enumerate(all_folds(catalog, seed=3, lists=lists)):
        split.check(catalog)
        assert split.rule == "jackknife"
        assert tracks_tested(split) == {track.track_id for track in catalog if track.album == f"album {fold}"}
    other = JackknifeSplit(lists=lists).draw(catalog, 4)
    assert tracks_tested(other) == tracks_tested(JackknifeSplit(lists=lists).draw(catalog, 3))
    assert other.subsets != JackknifeSplit(lists=lists).draw(catalog, 3).subsets, "the seed draws the validation"


def test_the_seed_draws_the_folds_and_other_artists_change_nothing() -> None:
    catalog = artist20_sized()
    split = JackknifeSplit(fold=2).draw(catalog, 0)
    assert tracks_tested(split) != tracks_tested(JackknifeSplit(fold=2).draw(catalog, 1))
    few = catalog.select(artists=["artist 3", "artist 17"])
    assert tracks_tested(JackknifeSplit(fold=2).draw(few, 0)) == tracks_tested(split) & {
        track.track_id for track in few
    }


@pytest.mark.parametrize("n_folds", [2, 3, 4])
def test_uneven_discographies(n_folds: int) -> None:
    catalog = discography({"a": [2, 3], "b": [2, 2, 2, 2, 2], "c": [2, 2, 2], "d": [4, 4, 4, 4]})
    folds = all_folds(catalog, n_folds=n_folds)
    times = Counter(name for split in folds for name in tracks_tested(split))
    assert times.keys() == {track.track_id for track in catalog}
    assert set(times.values()) == {1}
    for split in folds:
        split.check(catalog)
        assert set(split.select(catalog, "train").artists) == set(catalog.artists)


def test_check_finds_an_album_that_trains_and_tests() -> None:
    catalog = artist20_sized()
    split = JackknifeSplit().draw(catalog, 0)
    name = min(tracks_tested(split))
    with pytest.raises(ArtistidError, match="1 album is in more than one subset of the split"):
        replace(split, subsets={**split.subsets, name: "train"}).check(catalog)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fold": 6}, r"split\.fold=6: expected 0 to 5, as split\.n_folds says"),
        ({"fold": -1}, r"split\.fold=-1: expected 0 to 5"),
        ({"fold": "a"}, r"split\.fold=a: expected 0 to 5"),
        ({"n_folds": 1}, r"split\.n_folds=1: expected a whole number from 2"),
        ({"n_folds": 7}, r"split\.n_folds=7, but no artist has more than 6 albums: .* split\.n_folds=6 fits"),
        ({"share": 0.5}, r"split\.share=0\.5"),
    ],
)
def test_settings_that_do_not_fit(settings: dict, message: str) -> None:
    with pytest.raises(ArtistidError, match=message):
        JackknifeSplit(**settings).draw(artist20_sized(), 0)


def test_lists_and_folds_must_agree(tmp_path: Path) -> None:
    catalog = artist20_sized()
    lists = write_lists(tmp_path / "lists", catalog)
    with pytest.raises(ArtistidError, match=r"has 6 folds .*split\.n_folds=5; split\.lists=null draws"):
        JackknifeSplit(n_folds=5, lists=lists).draw(catalog, 0)
    (lists / "a20-cut3-tracks.list").unlink()
    with pytest.raises(ArtistidError, match=r"lacks a20-cut3-tracks\.list"):
        JackknifeSplit(lists=lists).draw(catalog, 0)


def test_lists_of_training_tracks_are_refused(tmp_path: Path) -> None:
    catalog = discography({"a": [1] * 6, "b": [1] * 6})
    lists = write_lists(tmp_path / "lists", catalog)
    every = {f"{track.track_id}\n" for track in catalog}
    for path in lists.iterdir():
        path.write_text("".join(sorted(every - set(path.read_text().splitlines(keepends=True)))))
    with pytest.raises(ArtistidError, match="12 tracks are in more than one of a20-cut0"):
        JackknifeSplit(lists=lists).draw(catalog, 0)


def test_artists_that_cannot_take_part_are_named() -> None:
    with pytest.raises(ArtistidError, match=r"needs 2 albums of every artist.*b \(1\)\ndata\.min_albums=2 leaves"):
        JackknifeSplit(n_folds=2).draw(discography({"a": [2, 2], "b": [9]}), 0)
