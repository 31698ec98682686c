from __future__ import annotations

from pathlib import Path

import pytest

from artistid.data.catalog import Catalog
from artistid.data.sources.catalog_file import CatalogFile
from artistid.errors import ArtistidError


def write(root: Path, content: str, encoding: str = "utf-8", name: str = "music.csv") -> Path:
    """A catalog, and an empty file for each of the audio files that the tests' catalogs name."""
    for path in ("A/1/x.mp3", "A/1/y.mp3", "A/2/x.mp3", "B/1/x.flac"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    (root / name).write_bytes(content.encode(encoding))
    return root / name


def read(table: Path, **settings: object) -> Catalog:
    return CatalogFile(name="music", csv=table, **settings).catalog()  # type: ignore[arg-type]


def test_the_least_that_a_catalog_says(tmp_path: Path) -> None:
    catalog = read(write(tmp_path, "path,artist\nA/1/x.mp3,Anna\nB/1/x.flac,Bert\n"))
    assert [(track.track_id, track.artist, track.album, track.title) for track in catalog] == [
        ("A/1/x", "Anna", "", "x"),
        ("B/1/x", "Bert", "", "x"),
    ]
    assert catalog[0].path == tmp_path / "A/1/x.mp3"


def test_all_that_a_catalog_may_say(tmp_path: Path) -> None:
    table = write(tmp_path, "title,year,album,track_id,artist,path\n X  Y ,1999,One,a1,Bjo\u0308rk,A/1/x.mp3\n")
    [track] = read(table)
    assert (track.track_id, track.artist, track.album, track.title) == ("a1", "Bj\u00f6rk", "One", "X Y")
    assert track.production == "1999", "what songs of a year may have in common"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_whatever_a_spreadsheet_writes(tmp_path: Path, encoding: str, delimiter: str, line_end: str) -> None:
    rows = [("Path", "Artist ", "ALBUM"), ("A/1/x.mp3", "Sigur R\u00f3s", '"a, b; ""c"""'), ("", "", "")]
    table = write(tmp_path, line_end.join(delimiter.join(row) for row in rows) + line_end, encoding)
    [track] = read(table)
    assert (track.artist, track.album) == ("Sigur R\u00f3s", 'a, b; "c"')


def test_paths_are_relative_to_the_root(tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    table = write(tmp_path, "path,artist\nA/1/x.mp3,Anna\n").rename(tmp_path / "lists" / "music.csv")
    assert read(table, root=tmp_path)[0].path == tmp_path / "A/1/x.mp3"
    with pytest.raises(ArtistidError, match=r"of 1 file .*none.*lists/A/1/x\.mp3.*relative to data\.root=.*lists"):
        read(table)


@pytest.mark.parametrize("path", ["{root}/A/1/x.mp3", "A\\1\\x.mp3", "./A//1/../1/x.mp3", ".\\A\\1\\x.mp3"])
def test_a_path_below_the_root_may_be_written_in_any_way(tmp_path: Path, path: str) -> None:
    [track] = read(write(tmp_path, f"path,artist\n{path.format(root=tmp_path)},Anna\n"))
    assert track.track_id == "A/1/x"
    assert track.path == tmp_path / "A/1/x.mp3"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("../x.mp3", "not a file below data.root="),
        ("A/../../x.mp3", "not a file below data.root="),
        ("..\\x.mp3", "not a file below data.root="),
        ("/etc/passwd", "not a file below data.root="),
        ("C:\\Music\\x.mp3", "a path on a Windows drive"),
        ("C:/Music/x.mp3", "a path on a Windows drive"),
        ("\\\\server\\music\\x.mp3", "a path on a Windows drive"),
        (".", "not a file below data.root="),
    ],
)
def test_a_path_that_leads_elsewhere_is_an_error(tmp_path: Path, path: str, message: str) -> None:
    root = tmp_path / "music"
    root.mkdir()
    (tmp_path / "x.mp3").touch()
    table = write(root, f"path,artist\nA/1/x.mp3,Anna\n{path},Bert\n")
    with pytest.raises(ArtistidError, match=message) as error:
        read(table)
    assert str(table) in str(error.value)
    assert repr(path) in str(error.value)


def test_albums_of_one_title_are_apart(tmp_path: Path) -> None:
    table = write(tmp_path, "path,artist,album\nA/1/x.mp3,Anna,Hits\nB/1/x.flac,Bert,Hits\n")
    assert read(table).albums == {"Anna": ("Hits",), "Bert": ("Hits",)}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("A/1/x.mp3,Anna,One,\nA/1/x.mp3,Anna,Two,", r"'A/1/x\.mp3' appears twice, in the albums 'One' and 'Two'"),
        ("A/1/x.mp3,Anna,One,7\nA/1/y.mp3,Anna,One,7", r"'7' appears twice: .*x\.mp3 and .*y\.mp3"),
        ("A/1/x.mp3,Anna", "line 2: expected 4 cells.*found 2"),
        ("", "names no tracks"),
        ("A/1/x.mp3,,One,\nA/1/y.mp3,Various Artists,One,", "none of 2 tracks names an artist of its own"),
    ],
)
def test_rows_that_cannot_be(tmp_path: Path, rows: str, message: str) -> None:
    table = write(tmp_path, f"path,artist,album,track_id\n{rows}\n")
    with pytest.raises(ArtistidError, match=message):
        read(table)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "path,album\nA/1/x.mp3,One\n",
            r"music\.csv is not a catalog: it lacks the columns artist; found \['path', 'album'\]",
        ),
        ("path,artist,artist\nA/1/x.mp3,a,b\n", "the columns artist appear twice"),
        ("", "lacks the columns path, artist"),
    ],
)
def test_columns_that_are_missing(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(ArtistidError, match=message):
        read(write(tmp_path, content))


def test_other_encodings_are_named(tmp_path: Path) -> None:
    table = write(tmp_path, "path,artist\nA/1/x.mp3,Sigur R\u00f3s\n", "cp1252")
    with pytest.raises(
        ArtistidError, match=r"artist 'Sigur R\ufffds' of 'A/1/x\.mp3' is not UTF-8.*save the file as UTF-8"
    ):
        read(table)


def test_what_has_no_artist_of_its_own_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = "A/1/x.mp3,Anna\nA/1/y.mp3, \nA/2/x.mp3,VARIOUS  ARTISTS\n"
    assert read(write(tmp_path, f"path,artist\n{rows}")).artists == ("Anna",)
    assert "left out 1 of 3 tracks, without an artist: A/1/y" in caplog.text
    assert "left out 1 of 3 tracks, on compilations, by various artists: A/2/x" in caplog.text


def test_files_that_are_not_there_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = write(tmp_path, "path,artist\nA/1/x.mp3,Anna\nA/1/gone.mp3,Anna\n")
    assert len(read(table)) == 2  # on_error says what becomes of them, as of all that cannot be decoded
    assert "of 2 files" in caplog.text
    assert "gone.mp3" in caplog.text


def test_names_that_differ_in_case_or_accents_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = write(
        tmp_path, "path,artist\nA/1/x.mp3,Bj\u00f6rk\nA/1/y.mp3,bjork\nA/2/x.mp3,BJ\u00d6RK\nB/1/x.flac,Bert\n"
    )
    assert len(read(table).artists) == 4
    assert "1 artist's name in spellings that differ only in case, accents or blanks" in caplog.text
    assert "BJ\u00d6RK = Bj\u00f6rk = bjork" in caplog.text
    caplog.clear()
    assert read(table, artists=["Bert"]).artists == ("Bert",)
    assert caplog.text == ""
    read(table, artists=["bjork"])
    assert "BJ\u00d6RK = Bj\u00f6rk = bjork" in caplog.text


def test_a_catalog_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ArtistidError, match=r"data\.csv is not set[\s\S]*columns path and artist"):
        CatalogFile(name="music", csv=None).catalog()
    with pytest.raises(ArtistidError, match=r"data\.csv=.*gone\.csv is not a file[\s\S]*columns path and artist"):
        read(tmp_path / "gone.csv")


def test_a_run_folders_catalog_can_be_read(tmp_path: Path) -> None:
    catalog = read(write(tmp_path, "path,artist,album,track_id\nA/1/x.mp3,Anna,One,a1\nB/1/x.flac,Bert,,b1\n"))
    catalog.to_csv(tmp_path / "catalog.csv")
    assert read(tmp_path / "catalog.csv") == catalog
