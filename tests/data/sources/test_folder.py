from __future__ import annotations

import os
import sys
import unicodedata
from pathlib import Path

import pytest

from artistid.data.sources.folder import Folder
from artistid.errors import ArtistidError


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def ids(root: Path, **settings: object) -> list[str]:
    return [track.track_id for track in Folder(name="music", root=root, **settings).catalog()]  # type: ignore[arg-type]


def test_a_track_is_named_after_its_place(tmp_path: Path) -> None:
    touch(tmp_path, "A/First/01. Mr. X.mp3", "A/First/disc 2/01.FLAC", "B/loose.ogg")
    tracks = {track.track_id: track for track in Folder(name="music", root=tmp_path).catalog()}
    assert [(track.artist, track.album, track.title) for track in tracks.values()] == [
        ("A", "First", "01. Mr. X"),
        ("A", "First", "01"),
        ("B", "", "loose"),
    ]
    assert list(tracks) == ["A/First/01. Mr. X", "A/First/disc 2/01", "B/loose"]
    assert tracks["B/loose"].path == tmp_path / "B" / "loose.ogg"


def test_other_and_hidden_files_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "A/1/x.mp3", "A/1/cover.jpg", "A/1/README", "cover.JPG")
    touch(tmp_path, ".DS_Store", "A/1/._x.mp3", "A/.hidden/y.mp3", ".git/z/y.mp3")
    with caplog.at_level("INFO"):
        assert ids(tmp_path) == ["A/1/x"]
    assert "left out: 3 files" in caplog.text
    assert ".jpg 2, no ending 1" in caplog.text


def test_decomposed_names_are_composed(tmp_path: Path) -> None:
    name = "Sigur R\u00f3s/\u00c1g\u00e6tis byrjun/Sv\u00e9fn-g-englar"
    touch(tmp_path, unicodedata.normalize("NFD", name) + ".mp3")
    assert ids(tmp_path) == [name]
    assert ids(tmp_path, artists=["Sigur R\u00f3s"]) == [name]


@pytest.mark.skipif(sys.platform != "linux", reason="only there may a file name be any bytes")
def test_a_name_that_is_no_unicode(tmp_path: Path) -> None:
    touch(tmp_path, os.fsdecode(b"A/1/caf\xe9.mp3"))
    (track,) = Folder(name="music", root=tmp_path).catalog()
    assert track.track_id == "A/1/caf\ufffd"
    assert track.path.exists()


def test_links_are_followed_once(tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere", "1/x.mp3")
    touch(tmp_path / "music", "A/1/x.mp3")
    (tmp_path / "music" / "B").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "music" / "A" / "2").symlink_to(tmp_path / "elsewhere" / "1")
    (tmp_path / "music" / "A" / "up").symlink_to(tmp_path / "music")
    assert ids(tmp_path / "music") == ["A/1/x", "A/2/x", "B/1/x"]


def test_a_link_to_nothing_is_an_error(tmp_path: Path) -> None:
    touch(tmp_path, "A/1/x.mp3")
    (tmp_path / "A" / "1" / "y.mp3").symlink_to(tmp_path / "gone.mp3")
    with pytest.raises(ArtistidError, match=r"1 link leads nowhere.*y\.mp3"):
        ids(tmp_path)


def test_a_track_without_an_artist_is_an_error(tmp_path: Path) -> None:
    touch(tmp_path, "A/1/x.mp3", "stray.mp3")
    with pytest.raises(ArtistidError, match=r"stray\.mp3 lies directly in data\.root"):
        ids(tmp_path)


def test_one_title_in_two_formats_is_an_error(tmp_path: Path) -> None:
    touch(tmp_path, "A/1/x.mp3", "A/1/x.flac")
    with pytest.raises(ArtistidError, match=r"'A/1/x' appears twice: .*x\.(mp3|flac) and .*x\.(mp3|flac)"):
        ids(tmp_path)


@pytest.mark.parametrize(
    ("root", "found"),
    [
        (None, r"data\.root is not set"),
        ("missing", r"data\.root=.*missing does not exist"),
        ("file", r"data\.root=.*file is a file"),
        ("empty", "holds no tracks: found an empty folder"),
        ("texts", "holds no tracks: found 0/, 1/, 2/, 3/, 4/, 5/, 6/, 7/ and 2 more"),
    ],
)
def test_a_root_without_music_says_what_was_expected(tmp_path: Path, root: str | None, found: str) -> None:
    touch(tmp_path, "file", *(f"texts/{number}/notes.txt" for number in range(10)))
    (tmp_path / "empty").mkdir()
    source = Folder(name="music", root=None if root is None else tmp_path / root)
    with pytest.raises(ArtistidError, match=found) as error:
        source.catalog()
    assert "expected tree: ROOT/artist/album/track.mp3" in str(error.value)
    assert "how to get it: any mp3" in str(error.value)


def test_a_selection(tmp_path: Path) -> None:
    touch(tmp_path, "A/1/x.mp3", "A/2/x.mp3", "B/1/x.mp3", "C/1/x.mp3", "C/2/x.mp3")
    assert ids(tmp_path, min_albums=2, exclude=["A/2/x"]) == ["C/1/x", "C/2/x"]


def test_names_spelled_almost_alike_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "A/Días/x.mp3", "A/dias/y.mp3", "A/2/x.mp3", "a/Días/z.mp3", "B/dias/x.mp3", "Ç/1/x.mp3")
    assert len(ids(tmp_path)) == 6
    artists, albums = (record.getMessage() for record in caplog.records)
    assert artists.startswith(
        "1 artist's name in spellings that differ only in case, accents or blanks, taken for different"
    )
    assert artists.endswith("artists: A = a")
    assert albums == (
        "1 album's name in spellings that differ only in case, accents or blanks, taken for one album, which no split "
        "takes apart: A: Días = dias"
    )
    caplog.clear()
    ids(tmp_path, artists=["B", "Ç"])
    assert not caplog.records, "of what is not used"
