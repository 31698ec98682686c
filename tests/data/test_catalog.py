from __future__ import annotations

import codecs
import os
from pathlib import Path

import pytest

from artistid.data.catalog import Catalog, Track
from artistid.errors import ArtistidError


def track(track_id: str) -> Track:
    artist, *album, title = track_id.split("/")
    return Track(track_id, artist, "/".join(album), title, Path("/music", track_id + ".mp3"))


def catalog(*track_ids: str) -> Catalog:
    return Catalog(track(track_id) for track_id in track_ids)


SMALL = ("b/1/x", "a/2/x", "a/1/x", "a/1/y", "b/loose", "c/1/x", "c/2/x")


def test_order_is_that_of_the_ids() -> None:
    assert catalog(*SMALL) == catalog(*reversed(SMALL))
    assert [each.track_id for each in catalog(*SMALL)] == sorted(SMALL)


def test_facts_about_artists() -> None:
    small = catalog(*SMALL)
    assert small.artists == ("a", "b", "c")
    assert small.albums == {"a": ("1", "2"), "b": ("1",), "c": ("1", "2")}
    assert [each.title for each in small.by_artist()["b"]] == ["x", "loose"]
    assert small[0].track_id == "a/1/x"
    assert [each.track_id for each in small[1:3]] == ["a/1/y", "a/2/x"]


def test_an_id_that_is_there_twice_names_both_files() -> None:
    twin = Track("a/1/x", "a", "1", "x", Path("/music/a/1/x.flac"))
    with pytest.raises(ArtistidError, match=r"'a/1/x'.*x\.(mp3|flac) and .*x\.(mp3|flac)"):
        Catalog([track("a/1/x"), twin])


@pytest.mark.parametrize(
    ("selection", "kept"),
    [
        ({}, ("a", "b", "c")),
        ({"artists": ["c", "a"]}, ("a", "c")),
        ({"min_albums": 2}, ("a", "c")),
        ({"min_songs": 3}, ("a",)),
        ({"min_albums": 2, "exclude": ["c/2/x"]}, ("a",)),
        ({"artists": ["b", "c"], "min_albums": 2}, ("c",)),
    ],
)
def test_select(selection: dict[str, object], kept: tuple[str, ...]) -> None:
    assert catalog(*SMALL).select(**selection).artists == kept  # type: ignore[arg-type]


def test_select_leaves_out_single_tracks() -> None:
    assert [each.track_id for each in catalog(*SMALL).select(exclude=["a/1/y"]).by_artist()["a"]] == ["a/1/x", "a/2/x"]


def test_tracks_without_an_album_can_be_left_out(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        assert catalog(*SMALL).select(albums_only=True).by_artist()["b"] == (track("b/1/x"),)
    assert "left out 1 track without an album (data.albums_only=true): b/loose" in caplog.text


def test_select_says_whom_it_leaves_out(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        catalog(*SMALL).select(min_albums=2)
    assert "left out 1 of 3 artists" in caplog.text
    assert caplog.text.rstrip().endswith(": b")


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ({"artists": ["a", "zz"]}, r"data\.artists.*\['zz'\]; it has a, b, c"),
        ({"exclude": ["a/1/z"]}, r"data\.exclude.*\['a/1/z'\]"),
        ({"min_albums": 3}, r"no artist is left of 3 with data\.min_albums=3.*2 albums, 3 songs"),
        ({"artists": []}, "no artist is left of 3.* 0 wanted"),
        ({"artists": ["b"], "exclude": ["b/1/x", "b/loose"]}, "no artist is left.*2 tracks left out"),
    ],
)
def test_select_refuses(selection: dict[str, object], message: str) -> None:
    with pytest.raises(ArtistidError, match=message):
        catalog(*SMALL).select(**selection)  # type: ignore[arg-type]


def test_names_to_select_may_be_decomposed() -> None:
    composed, decomposed = "Bj\u00f6rk", "Bjo\u0308rk"
    both = catalog(f"{composed}/1/x", "a/1/x")
    assert both.select(artists=[decomposed]).artists == (composed,)
    assert both.select(exclude=[f"{decomposed}/1/x"]).artists == ("a",)


def test_csv_round_trip(tmp_path: Path) -> None:
    prepared = catalog(*SMALL, 'd/"1", 2/\u00e4\u97f3').with_facts(
        {"a/1/x": (1 / 3, "ab"), "b/loose": (2.0, "cd"), 'd/"1", 2/\u00e4\u97f3': (9.0, "ef")}
    )
    assert len(prepared) == 3
    prepared.to_csv(tmp_path / "catalog.csv")
    assert Catalog.from_csv(tmp_path / "catalog.csv") == prepared
    earlier = (tmp_path / "catalog.csv").read_text(encoding="utf-8").replace(",production\n", "\n").replace(",\n", "\n")
    (tmp_path / "earlier.csv").write_text(earlier, encoding="utf-8")
    assert Catalog.from_csv(tmp_path / "earlier.csv") == prepared, "of a version that knew of no productions"
    catalog(*SMALL).to_csv(tmp_path / "bare.csv")
    assert Catalog.from_csv(tmp_path / "bare.csv") == catalog(*SMALL)


def test_csv_keeps_a_path_that_is_no_unicode(tmp_path: Path) -> None:
    odd = Catalog([Track("a/1/x", "a", "1", "x", Path(os.fsdecode(b"/music/caf\xe9.mp3")))])
    odd.to_csv(tmp_path / "catalog.csv")
    assert Catalog.from_csv(tmp_path / "catalog.csv") == odd


HEADER = "track_id,artist,album,title,path,duration_s,sha1\n"


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("at", ["in the first line", "in a row"])
def test_utf_16_that_is_cut_short_within_a_letter(tmp_path: Path, encoding: str, at: str) -> None:
    mark = codecs.BOM_UTF16_LE if encoding == "utf-16-le" else codecs.BOM_UTF16_BE
    whole = mark + (HEADER + "a,b,c,d,e,1,g\n").encode(encoding)
    path = tmp_path / "catalog.csv"
    path.write_bytes(whole[:21] if at == "in the first line" else whole[:-3])
    with pytest.raises(
        ArtistidError, match=r"catalog\.csv is not a catalog: it is not valid UTF-16 text: truncated data"
    ):
        Catalog.from_csv(path)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00\xd8a\x00", b"\xfe\xff\xdc\x00\x00a"])
def test_utf_16_with_half_a_letter(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "catalog.csv"
    path.write_bytes(content)
    with pytest.raises(ArtistidError, match=r"it is not valid UTF-16 text: illegal"):
        Catalog.from_csv(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "catalog .*is not a file"),
        ("track_id,artist\na,b\n", "lacks the columns album, title, path, duration_s, sha1"),
        ("", "lacks the columns track_id"),
        ("track_id,artist,album,title,path,duration_s,sha1\na,b,c\n", "line 2: expected 7 cells"),
        ("track_id,artist,album,title,path,duration_s,sha1\na,b,c,d,e,f,g,h\n", "line 2: expected 7 cells"),
        ("track_id,artist,album,title,path,duration_s,sha1\na,b,c,d,e,long,g\n", "duration_s.*'long'"),
    ],
)
def test_csv_that_is_no_catalog(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "catalog.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ArtistidError, match=message) as error:
        Catalog.from_csv(path)
    assert str(path) in str(error.value)
