from __future__ import annotations

import csv
from pathlib import Path

import pytest

from artistid.data.sources.fma import SILENT, Fma
from artistid.errors import ArtistidError

# A third of the columns of the real file, in its order, with the third row that names the first column.
HEADER = (
    ("", "album", "album", "album", "artist", "artist", "artist", "set", "set", "track", "track"),
    ("", "id", "information", "title", "bio", "id", "name", "split", "subset", "number", "title"),
    ("track_id", *[""] * 10),
)


def row(
    track_id: int, artist: str, album: str, title: str, subset: str = "small", artist_id: int = 0, album_id: int = 0
) -> list[str]:
    """A row of the table; ids are made from the names unless they are given, and no album is -1."""
    artist_id = artist_id or 1 + sum(artist.encode())
    album_id = album_id or (1 + sum(album.encode()) if album else -1)
    texts = (str(album_id), "a <p>long</p>\ntext, with a line", album, 'its "bio"', str(artist_id), artist)
    return [str(track_id), *texts, "training", subset, "3", title]


ROWS = [
    row(2, "AWOL", "AWOL - A Way Of Life", "Food"),
    row(3, "AWOL", "AWOL - A Way Of Life", "Electric Ave", "medium"),
    row(20, "Nicky Cook", "Niris", "Spiritual Level", "large"),
    row(137000, "Nicky Cook", "", "Where is your Love?"),
]


def write(
    root: Path, rows: list[list[str]] = ROWS, folder: str = "fma_small", absent: tuple[str, ...] = (), **format: str
) -> Path:
    """FMA's tree with an empty file for each row that is not ``absent``; ``format`` is that of the table."""
    (root / "fma_metadata").mkdir(parents=True, exist_ok=True)
    table = root / "fma_metadata" / "tracks.csv"
    with table.open("w", encoding=format.pop("encoding", "utf-8"), newline="") as file:
        csv.writer(file, **format).writerows([*HEADER, *rows])  # type: ignore[arg-type]
    for track_id in (row[0].zfill(6) for row in rows):
        if track_id not in absent:
            path = root / folder / track_id[:3] / f"{track_id}.mp3"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return table


def source(root: Path, subset: str = "small", **settings: object) -> Fma:
    return Fma(name="fma", root=root, subset=subset, **settings)  # type: ignore[arg-type]


def test_a_track_is_what_the_table_says(tmp_path: Path) -> None:
    write(tmp_path)
    first, loose = source(tmp_path).catalog()
    assert (first.track_id, first.artist, first.album, first.title) == (
        "000002",
        "AWOL",
        "AWOL - A Way Of Life",
        "Food",
    )
    assert first.path == tmp_path / "fma_small" / "000" / "000002.mp3"
    assert (loose.track_id, loose.album) == ("137000", "")


@pytest.mark.parametrize(
    ("subset", "ids"),
    [
        ("small", ["000002", "137000"]),
        ("medium", ["000002", "000003", "137000"]),
        ("large", ["000002", "000003", "000020", "137000"]),
        ("full", ["000002", "000003", "000004", "000020", "137000"]),
    ],
)
def test_each_subset_holds_those_before_it(tmp_path: Path, subset: str, ids: list[str]) -> None:
    write(tmp_path, [*ROWS, row(4, "AWOL", "Later", "Cut Out", "")], f"fma_{subset}")
    assert [track.track_id for track in source(tmp_path, subset).catalog()] == ids


def test_an_album_id_of_minus_one_is_no_album(tmp_path: Path) -> None:
    write(tmp_path, [row(1, "A", "", "x"), row(2, "A", "Named", "x", album_id=-1), row(3, "A", "One", "x")])
    assert source(tmp_path).catalog().albums == {"A": ("One",)}
    assert [track.track_id for track in source(tmp_path, albums_only=True).catalog()] == ["000003"]


def test_what_shares_a_name_is_told_apart_by_its_id(tmp_path: Path) -> None:
    rows = [
        row(1, "Nobody", "Untitled", "x", artist_id=7, album_id=70),
        row(2, "Nobody", "Untitled", "x", artist_id=7, album_id=71),
        row(3, "Nobody", "Untitled", "x", artist_id=8, album_id=80),
        row(4, "Other", "Untitled", "x", artist_id=9, album_id=90),
        row(5, "Other", " ", "x", artist_id=9, album_id=91),
    ]
    write(tmp_path, rows)
    assert source(tmp_path).catalog().albums == {
        "Nobody (7)": ("Untitled (70)", "Untitled (71)"),
        "Nobody (8)": ("Untitled",),
        "Other": ("Untitled", "album 91"),
    }


def test_an_artist_is_called_the_same_in_every_subset(tmp_path: Path) -> None:
    write(tmp_path, [row(1, "Nobody", "A", "x", artist_id=7), row(2, "Nobody", "B", "x", "large", artist_id=8)])
    assert source(tmp_path).catalog().artists == ("Nobody (7)",)


def test_the_published_size_is_compared(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path)
    source(tmp_path).catalog()
    assert "tracks.csv has 4 tracks; the published one has 106,574" in caplog.text


def test_absent_and_unknown_files_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, absent=("137000",))
    (tmp_path / "fma_small" / "000" / "000999.mp3").touch()
    assert [track.track_id for track in source(tmp_path).catalog()] == ["000002"]
    assert "left out: 1 of 2 tracks" in caplog.text
    assert "137000" in caplog.text
    assert "left out 1 file of" in caplog.text
    assert "000999" in caplog.text


def test_known_bad_clips_are_listed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [row(track_id, "A", "One", "x") for track_id in (5, 2624, 98565, 133297)]
    write(tmp_path, rows)
    with caplog.at_level("INFO"):
        assert [track.track_id for track in source(tmp_path).catalog()] == ["000005", "002624", "098565"]
    assert "known to be silent, left out: 1 clip: 133297" in caplog.text
    assert "shorter than 30 s: 1 clip: 098565" in caplog.text
    assert "trouble some decoders" in caplog.text


def test_whole_tracks_are_not_known_to_be_bad(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, [row(track_id, "A", "One", "x") for track_id in sorted(SILENT)], "fma_full")
    assert len(source(tmp_path, "full").catalog()) == len(SILENT) == 15
    assert "known" not in caplog.text


@pytest.mark.parametrize(("folder", "kind"), [("fma_large", "the same clips"), ("fma_full", "whole tracks")])
def test_audio_of_a_larger_subset_will_do(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, folder: str, kind: str
) -> None:
    write(tmp_path, folder=folder)
    assert source(tmp_path).catalog()[0].path.parts[-3:] == (folder, "000", "000002.mp3")
    assert f"data.subset=small is read from {tmp_path / folder}, which has {kind}" in caplog.text


@pytest.mark.parametrize("format", [{"encoding": "utf-8-sig"}, {"lineterminator": "\r\n"}, {"lineterminator": "\n"}])
def test_marks_and_line_ends_do_not_matter(tmp_path: Path, format: dict[str, str]) -> None:
    write(tmp_path, [row(2, "Bjo\u0308rk  G.", "One", "x")], **format)
    assert source(tmp_path).catalog().artists == ("Bj\u00f6rk G.",)


def test_tracks_csv_may_lie_in_the_root(tmp_path: Path) -> None:
    write(tmp_path).rename(tmp_path / "tracks.csv")
    assert len(source(tmp_path).catalog()) == 2


def test_a_track_without_an_artist_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, [row(2, "A", "One", "x"), row(3, " ", "One", "x")])
    assert source(tmp_path).catalog().artists == ("A",)
    assert "left out 1 track without an artist: 000003" in caplog.text


def test_a_track_that_is_there_twice_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, [row(2, "A", "One", "x"), row(2, "A", "Two", "x")])
    with pytest.raises(ArtistidError, match=r"'000002' appears twice"):
        source(tmp_path).catalog()


SHORT_HEADER = ",artist,artist,album,album,track,set\n,id,name,id,title,title,subset\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("track_id,artist_name\n2,AWOL\n", r"lacks the columns  / , artist / id.*two header rows"),
        ("", "lacks the columns"),
        (f"{SHORT_HEADER}2,x,A,1,B,C,small\n", "artist id 'x' of the track '2'"),
        (f"{SHORT_HEADER}2,1,A,,B,C,small\n", "album id '' of the track '2'"),
        (f"{SHORT_HEADER}two,1,A,1,B,C,small\n", "track id 'two'"),
        (f'{SHORT_HEADER}2,1,A,1,B,C,small\n3,1,"A', "not a table of FMA's tracks.*EOF"),
        (b"\xff\xfe\x00", "not a table of FMA's tracks.*codec"),
    ],
)
def test_a_table_that_is_another(tmp_path: Path, content: str | bytes, message: str) -> None:
    table = write(tmp_path)
    table.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ArtistidError, match=message) as error:
        source(tmp_path).catalog()
    assert str(table) in str(error.value)


def test_a_tree_that_lacks_a_part(tmp_path: Path) -> None:
    with pytest.raises(ArtistidError, match=r"data\.subset=tiny: expected one of small, medium, large, full"):
        source(tmp_path, "tiny").catalog()
    with pytest.raises(
        ArtistidError, match=r"holds none of fma_large, fma_full: found an empty folder[\s\S]*mdeff/fma"
    ):
        source(tmp_path, "large").catalog()
    (tmp_path / "fma_small").mkdir()
    with pytest.raises(ArtistidError, match=r"holds no fma_metadata/tracks\.csv.*found fma_small/"):
        source(tmp_path).catalog()
