"""Splits by artist20's lists."""

from __future__ import annotations

from pathlib import Path

import pytest

from artistid.data.catalog import Catalog
from artistid.data.sources.artist20 import Artist20
from artistid.data.splits import CanonicalSplit
from artistid.errors import ArtistidError
from tests.data.splits.test_split import discography

CATALOG = discography({artist: [3, 2, 1, 2, 2, 3] for artist in ("aerosmith", "björk", "u2")})
PART_OF_ALBUM = dict(zip([f"album {number}" for number in range(6)], ["train", "val", "test"] * 2, strict=True))
PART_OF_ALBUM["album 4"] = "train"
NAMES = {"train": "a20-trn-tracks.list", "val": "a20-val-tracks.list", "test": "a20-tst-tracks.list"}


def write_lists(folder: Path, catalog: Catalog = CATALOG) -> Path:
    """The three lists, as LabROSA writes them: a line per track, without its ending."""
    folder.mkdir(parents=True, exist_ok=True)
    for subset, name in NAMES.items():
        lines = [track.track_id for track in catalog if PART_OF_ALBUM[track.album] == subset]
        (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return folder


def test_the_lists_say_who_belongs_where(tmp_path: Path) -> None:
    split = CanonicalSplit(lists=write_lists(tmp_path)).draw(CATALOG, seed=7)
    split.check(CATALOG)
    assert (split.rule, split.seed) == ("canonical", None)
    assert split.subsets == {track.track_id: PART_OF_ALBUM[track.album] for track in CATALOG}
    numbers = {subset: len(split.select(CATALOG, subset).albums["u2"]) for subset in NAMES}
    assert numbers == {"train": 3, "val": 1, "test": 2}


def test_a_selection_of_artists_takes_its_share_of_the_lists(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    few = CATALOG.select(artists=["u2", "björk"])
    split = CanonicalSplit(lists=write_lists(tmp_path)).draw(few, 0)
    assert split.subsets.keys() == {track.track_id for track in few}
    assert "name 13 tracks that the collection does not have" in caplog.text


def test_a_track_that_no_list_names_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lists = write_lists(tmp_path, CATALOG.select(exclude=["u2/album 0/song 2"]))
    assert "u2/album 0/song 2" not in CanonicalSplit(lists=lists).draw(CATALOG, 0).subsets
    assert "left out 1 track that no list" in caplog.text
    assert "u2/album 0/song 2" in caplog.text


def test_letters_beyond_ascii_line_ends_and_endings(tmp_path: Path) -> None:
    for path in write_lists(tmp_path).iterdir():
        lines = path.read_text(encoding="utf-8").replace("ö", "o\u0308").splitlines()
        path.write_bytes("".join(f"{line}.mp3\r\n" for line in lines).encode("utf-8-sig"))
    assert CanonicalSplit(lists=tmp_path).draw(CATALOG, 0).subsets.keys() == {track.track_id for track in CATALOG}


def test_the_trees_own_lists_are_the_sources_too(tmp_path: Path) -> None:
    for track in CATALOG:
        path = tmp_path / "mp3s-32k" / f"{track.track_id}.mp3"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    lists = write_lists(tmp_path / "lists")
    catalog = Artist20(name="artist20", root=tmp_path).catalog()
    CanonicalSplit(lists=lists).draw(catalog, 0).check(catalog)


def spoil(lists: Path, how: str) -> None:
    path = lists / NAMES["val"]
    match how:
        case "missing":
            path.unlink()
        case "empty":
            path.write_text("u2/album 1\n", encoding="utf-8")
        case "twice":
            path.write_text(path.read_text(encoding="utf-8") + "u2/album 0/song 0\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("missing", r"split\.lists=.* lacks a20-val-tracks\.list; found a20-trn-tracks\.list, a20-tst-tracks\.list"),
        ("empty", r"a20-val-tracks\.list names no track: expected lines artist/album/NN-Title"),
        ("twice", r"1 track is in more than one of a20-trn-tracks\.list, .*: u2/album 0/song 0"),
    ],
)
def test_lists_that_are_not_as_expected(tmp_path: Path, how: str, message: str) -> None:
    spoil(write_lists(tmp_path), how)
    with pytest.raises(ArtistidError, match=message):
        CanonicalSplit(lists=tmp_path).draw(CATALOG, 0)


def test_lists_of_other_music(tmp_path: Path) -> None:
    lists = write_lists(tmp_path)
    with pytest.raises(ArtistidError, match=r"name none of the collection's 1 track: they have .*, it has queen/"):
        CanonicalSplit(lists=lists).draw(discography({"queen": [1]}), 0)


def test_no_lists_says_which_are_wanted() -> None:
    with pytest.raises(ArtistidError, match=r"reads a20-trn-tracks\.list.*split\.lists=FOLDER"):
        CanonicalSplit(lists=None).draw(CATALOG, 0)


def test_check_finds_an_album_that_the_lists_tear_apart(tmp_path: Path) -> None:
    lists = write_lists(tmp_path)
    train, test = lists / NAMES["train"], lists / NAMES["test"]
    train.write_text(train.read_text(encoding="utf-8").replace("u2/album 0/song 0\n", ""), encoding="utf-8")
    test.write_text(test.read_text(encoding="utf-8") + "u2/album 0/song 0\n", encoding="utf-8")
    with pytest.raises(ArtistidError, match="1 album is in more than one subset of the split: u2/album 0"):
        CanonicalSplit(lists=lists).draw(CATALOG, 0).check(CATALOG)
