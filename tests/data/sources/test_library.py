from __future__ import annotations

import csv
import logging
import os
from pathlib import Path

import pytest

from artistid.data.catalog import Catalog
from artistid.data.sources.library import Library
from artistid.errors import ArtistidError
from tests.tagging import tag_id3, tagged
from tests.verbs import run_verb


def read(root: Path, **settings: object) -> Catalog:
    return Library(name="music", root=root, cache_dir=root.parent / "cache", workers=0, **settings).catalog()  # type: ignore[arg-type]


def rows(table: Path) -> dict[str, dict[str, str]]:
    """The rows of a table by path."""
    with table.open(encoding="utf-8-sig", newline="") as file:
        return {row["path"]: row for row in csv.DictReader(file)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "music"


def test_tags_count_and_not_folders(root: Path) -> None:
    tagged(root / "inbox" / "01.mp3", artist="Anna", album="One", title="X")
    tagged(root / "02.flac", artist="Anna", album="One", title="Y")
    tagged(root / "a" / "b" / "c" / "03.ogg", artist="Bert", title="Z")
    assert [(track.track_id, track.artist, track.album, track.title) for track in read(root)] == [
        ("02", "Anna", "One", "Y"),
        ("a/b/c/03", "Bert", "", "Z"),
        ("inbox/01", "Anna", "One", "X"),
    ]


@pytest.mark.parametrize(
    ("tags", "artist"),
    [
        ({"artist": "Anna feat. Bert", "album_artist": "Anna"}, "Anna"),
        ({"artist": "Anna feat. Bert"}, "Anna"),
        ({"artist": "Anna (ft. Bert & Carl)"}, "Anna"),
        ({"artist": "Anna Featuring Bert"}, "Anna"),
        ({"artist": "Anna & the Feats"}, "Anna & the Feats"),
        ({"artist": "Little Feat"}, "Little Feat"),
        ({"artist": "Anna", "album_artist": "Anna", "compilation": "1"}, "Anna"),
        ({"artist": "AC/DC"}, "AC/DC"),
    ],
)
def test_the_albums_artist_comes_first(root: Path, tags: dict[str, str], artist: str) -> None:
    tagged(root / "x.mp3", **tags)
    assert read(root).artists == (artist,)


@pytest.mark.parametrize(
    "tags",
    [
        {"album_artist": "Various Artists"},
        {"album_artist": "various  artists"},
        {"album_artist": "V.A."},
        {"album_artist": "Artistes Vari\u00e9s"},
        {"compilation": "1"},
    ],
)
def test_compilations_are_left_out(root: Path, caplog: pytest.LogCaptureFixture, tags: dict[str, str]) -> None:
    tagged(root / "x.mp3", artist="Anna", album="Own")
    tagged(root / "y.mp3", artist="Anna", album="Hits of 1999", **tags)
    assert [track.track_id for track in read(root)] == ["x"]
    assert "left out 1 of 2 tracks, on compilations, by various artists: y" in caplog.text


def test_a_compilation_that_is_not_marked_is_left_out(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number, artist in enumerate(["Anna", "Bert", "Carl", "Anna"]):
        tagged(root / "hits" / f"{number}.mp3", artist=artist, album="Hits")
    for number, artist in enumerate(["Anna", "Anna feat. Bert", "Anna ft. Carl", "Dora"]):
        tagged(root / "own" / f"{number}.mp3", artist=artist, album="Own")
    tagged(root / "pair" / "0.mp3", artist="Anna", album="Split")
    tagged(root / "pair" / "1.mp3", artist="Bert", album="Split")
    tagged(root / "mended" / "0.mp3", artist="Carl", album_artist="Carl", album="Hits")
    assert read(root).albums == {"Anna": ("Own", "Split"), "Bert": ("Split",), "Carl": ("Hits",), "Dora": ("Own",)}
    assert "left out 4 of 11 tracks, on compilations" in caplog.text


def flat(root: Path, title: str, artists: list[str], **fields: str) -> None:
    for number, artist in enumerate(artists):
        tagged(root / f"{title} {number:02} {artist.replace('/', '-')}.mp3", artist=artist, album=title, **fields)


def test_one_title_by_several_artists_in_a_flat_folder(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As players' own folders are: who has a title in common has not made a compilation with the others."""
    for title in ("Greatest Hits", "Live"):
        flat(root, title, [artist for artist in ("Anna", "Bert", "Carl", "Dora") for _ in range(2)])
    assert read(root).albums == dict.fromkeys(("Anna", "Bert", "Carl", "Dora"), ("Greatest Hits", "Live"))
    assert "left out" not in caplog.text


def test_albums_with_guests_are_the_artists_own(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    guests = ["Anna & Bert", "Anna x Carl", "Anna with Dora", "Anna, Emil", "Anna vs. Fritz"]
    flat(root / "1", "One", ["Anna"] * 5 + guests)
    flat(root / "2", "Two", ["Simon & Garfunkel"] * 3 + ["Simon & Garfunkel & Anna"])
    flat(root / "3", "Three", ["Simon"] * 3)
    with caplog.at_level("INFO"):
        assert read(root).albums == {"Anna": ("One",), "Simon": ("Three",), "Simon & Garfunkel": ("Two",)}
    assert 'one of them with guests: 6: "Anna & Bert" → Anna' in caplog.text


def test_what_is_left_out_by_a_guess_is_listed_with_why_and_what_keeps_it(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flat(root / "party", "Hits", ["Anna", "Bert", "Carl", "Dora"])
    flat(root / "own", "Own", ["Anna"] * 2)
    table = root.parent / "music.csv"
    assert len(read(root, csv=table)) == 2
    assert "left out: 4 tracks of 1 album (data.keep_compilations=true" in caplog.text
    assert "(data.keep_compilations=true keeps all such tracks, data.csv=…" in caplog.text
    assert "Hits (party: 4 tracks by 4 artists, none of whom has most)" in caplog.text
    assert rows(table)["party/Hits 00 Anna.mp3"]["note"] == (
        "on a compilation, by Anna: 4 tracks by 4 artists, none of whom has most"
    )
    caplog.clear()
    kept = {"Anna": ("Hits", "Own"), **dict.fromkeys(("Bert", "Carl", "Dora"), ("Hits",))}
    assert read(root, keep_compilations=True).albums == kept
    assert "left out" not in caplog.text


def test_marked_compilations_are_kept_if_asked_for(root: Path) -> None:
    flat(root, "Hits", ["Anna", "Bert & Co", "Various Artists"], album_artist="Various Artists", compilation="1")
    flat(root, "Own", ["Anna"], album_artist="Anna")
    assert read(root).albums == {"Anna": ("Own",)}
    assert read(root, keep_compilations=True).albums == {"Anna": ("Hits", "Own"), "Bert & Co": ("Hits",)}


def test_a_best_of_that_is_marked_as_a_compilation(root: Path) -> None:
    flat(root, "The Best", ["Anna"] * 3, compilation="1")
    assert read(root).albums == {"Anna": ("The Best",)}


def test_several_artists_in_one_tag(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    tag_id3(root / "1.mp3", TPE1=["Anna", "Bert"])
    tag_id3(root / "2.mp3", TPE1=["Bert", "Anna"], TPE2="Anna")
    tagged(root / "3.mp3", artist="Anna")
    with caplog.at_level("INFO"):
        assert read(root).artists == ("Anna",)
    assert 'of whom the album\'s, or else the first, is taken: 1: "Anna; Bert" → Anna' in (caplog.text)


def test_a_placeholder_is_no_artist(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    flat(root, "Unknown Album", ["Unknown Artist", "Anna"])
    assert read(root).albums == {"Anna": ("Unknown Album",)}
    assert "left out 1 of 2 tracks, without an artist: Unknown Album 00 Unknown Artist" in caplog.text


def test_a_damaged_tag_costs_one_file(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    for ending in ("ogg", "flac", "mp3", "m4a", "ape"):
        tagged(root / f"good.{ending}", artist=f"Anna of {ending}", title=ending).rename(
            root / f"good {ending}.{ending}"
        )
        path = tagged(root / f"bad {ending}.{ending}", artist="Bert", title="Y")
        content = bytearray(path.read_bytes())
        if ending != "ogg":
            del content[len(content) // 2 :]
        content[30:60] = b"\xff" * 30
        path.write_bytes(content)
    artists = read(root).artists
    assert {f"Anna of {ending}" for ending in ("ogg", "flac", "mp3", "m4a", "ape")} <= set(artists)
    [message] = [message for message in caplog.messages if "cannot be read" in message]
    assert "bad flac.flac (" in message
    assert "bad mp3.mp3 (" in message
    assert "good" not in message


def test_a_song_in_two_formats_is_taken_once(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    for ending in ("mp3", "flac"):
        tagged(root / f"x.{ending}", artist="Anna", title="X")
    with pytest.raises(ArtistidError, match=r"'x' appears twice: .*data\.prefer=\[flac,mp3\]"):
        read(root)
    caplog.clear()
    with caplog.at_level("INFO"):
        assert [track.path.name for track in read(root, prefer=["flac", "mp3"])] == ["x.flac"]
    assert "left out 1 file, each also there in a preferred format" in caplog.text
    assert "more than once" not in caplog.text


@pytest.mark.parametrize("settings", [{}, {"reread": True}])
def test_a_tag_corrected_within_its_padding_is_noticed(root: Path, settings: dict[str, bool]) -> None:
    path = tagged(root / "x.flac", artist="Alicia")
    assert read(root, **settings).artists == ("Alicia",)
    stat = path.stat()
    path.write_bytes(path.read_bytes().replace(b"Alicia", b"Alison"))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert read(root, **settings).artists == ("Alison",)


@pytest.mark.parametrize(
    ("discs", "album"),
    [
        (["Tago Mago (Disc 1)", "Tago Mago (Disc 2)"], "Tago Mago"),
        (["Tago Mago [CD1]", "Tago Mago CD 2"], "Tago Mago"),
        (["Tago Mago, Disk One", "Tago Mago (disc II: Peking O)"], "Tago Mago"),
        (["Tago Mago - disc 1", "Tago Mago"], "Tago Mago"),
    ],
)
def test_the_discs_of_a_set_are_one_album(
    root: Path, caplog: pytest.LogCaptureFixture, discs: list[str], album: str
) -> None:
    for number, disc in enumerate(discs):
        tagged(root / f"cd{number}" / "01.mp3", artist="Can", album=disc, title=f"Song {number}")
    with caplog.at_level("INFO"):
        assert read(root).albums == {"Can": (album,)}
    assert f"joined the discs of 1 album: Can \u2013 {album}" in caplog.text


@pytest.mark.parametrize("album", ["Volume 2", "CD 1", "Disco 2000", "Discovery", "Live 2", "The CD", "Vivid 3"])
def test_not_every_number_is_a_discs(root: Path, album: str) -> None:
    tagged(root / "x.mp3", artist="Can", album=album)
    assert read(root).albums == {"Can": (album,)}


def test_albums_of_one_title_are_apart(root: Path) -> None:
    tagged(root / "x.mp3", artist="Anna", album="Greatest Hits")
    tagged(root / "y.mp3", artist="Bert", album="Greatest Hits")
    assert read(root).albums == {"Anna": ("Greatest Hits",), "Bert": ("Greatest Hits",)}


def test_versions_of_a_song_are_reported(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    titles = {
        "1": "Vitamin C",
        "2": "Vitamin C (Live at the BBC)",
        "3": "Vitamin C - 2004 Remaster",
        "4": "VITAMIN C [Mono Version]",
        "5": "Vitamin D",
        "6": "Live",
    }
    for name, title in titles.items():
        tagged(root / f"{name}.mp3", artist="Can", album=f"Album {name}", title=title)
    tagged(root / "7.mp3", artist="Another", album="One", title="Vitamin C")
    assert len(read(root)) == 7
    assert "1 song exists more than once" in caplog.text
    listed = " = ".join(f"Can \u2013 {titles[name]} (Album {name})" for name in "1234")
    assert listed in caplog.text


def test_a_song_on_two_albums_is_reported(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    tagged(root / "1.mp3", artist="Can", album="Ege Bamyasi", title="Spoon")
    tagged(root / "2.mp3", artist="Can", album="Cannibalism", title="Spoon")
    read(root)
    assert "Can \u2013 Spoon (Ege Bamyasi) = Can \u2013 Spoon (Cannibalism)" in caplog.text


def test_a_file_that_names_no_artist_is_counted(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    tagged(root / "x.mp3", artist="Anna")
    tagged(root / "y.mp3", title="Untitled")
    (root / "broken.flac").write_bytes(b"fLaC" + b"\x00\x00\x00\x22")
    assert [track.track_id for track in read(root)] == ["x"]
    assert "left out 2 of 3 tracks, without an artist: broken, y" in caplog.text
    assert "the tags of 1 file cannot be read: broken.flac" in caplog.text
    (root / "x.mp3").unlink()
    with pytest.raises(ArtistidError, match=r"none of 2 tracks names an artist of its own\ndata\.csv=.*data=folder"):
        read(root)


def test_names_in_odd_encodings_are_reported_and_mended(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    kino = "\u041a\u0438\u043d\u043e"
    tag_id3(root / "x.mp3", TPE1=kino.encode("cp1251").decode("latin-1"), TALB="46")
    assert read(root).artists != (kino,)
    assert "data.tag_encoding=cp1251" in caplog.text
    caplog.clear()
    assert read(root, tag_encoding="cp1251").artists == (kino,)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_an_empty_library_is_an_error(root: Path) -> None:
    root.mkdir()
    with pytest.raises(ArtistidError, match=r"holds no tracks: found an empty folder[\s\S]*ROOT/\*\*/\*\.mp3"):
        read(root)


def test_a_retagged_file_is_read_again(root: Path) -> None:
    path = tagged(root / "x.mp3", artist="Ana")
    assert read(root).artists == ("Ana",)
    tagged(path, artist="Anna B.")
    os.utime(path, ns=(0, 0))
    assert read(root).artists == ("Anna B.",)


def make_library(root: Path) -> None:
    tagged(root / "1.mp3", artist="Can", album="Ege Bamyasi (CD 1)", title="Spoon", number="7/7")
    tagged(root / "2.mp3", artist="Can", album="Cannibalism", title="Spoon (edit)", disc="1/2")
    tagged(root / "3.mp3", artist="Kraan", album_artist="Various Artists", album="Krautrock")
    tagged(root / "4.mp3", title="Bj\u00f6rk's")


def test_the_table_holds_what_the_tags_say(root: Path) -> None:
    make_library(root)
    table = root.parent / "music.csv"
    read(root, csv=table)
    written = rows(table)
    assert list(written) == ["1.mp3", "2.mp3", "3.mp3", "4.mp3"]
    assert list(written["1.mp3"].values()) == ["1.mp3", "Can", "Ege Bamyasi", "Spoon", "1", "7", "also 2.mp3"]
    assert (written["2.mp3"]["disc"], written["2.mp3"]["note"]) == ("1", "also 1.mp3")
    assert (written["3.mp3"]["artist"], written["3.mp3"]["note"]) == ("Various Artists", "on a compilation, by Kraan")
    assert (written["4.mp3"]["artist"], written["4.mp3"]["note"]) == ("", "no artist")
    assert written["4.mp3"]["title"] == "Bj\u00f6rk's"


def test_the_table_gives_the_same_catalog_as_the_tags(root: Path) -> None:
    make_library(root)
    first = read(root, csv=root.parent / "music.csv")
    assert read(root, csv=root.parent / "music.csv") == first == read(root)


def test_what_is_corrected_in_the_table_counts(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_library(root)
    table = root.parent / "music.csv"
    read(root, csv=table)
    text = table.read_text(encoding="utf-8-sig")
    text = text.replace("3.mp3,Various Artists", "3.mp3,Kraan").replace("2.mp3,Can", "2.mp3,")
    text = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("4.mp3"))
    table.write_text(text.replace(",", ";"), encoding="cp1252")  # as a spreadsheet might save it; it is all ASCII now
    before = table.read_bytes()
    caplog.clear()
    assert read(root, csv=table).albums == {"Can": ("Ege Bamyasi",), "Kraan": ("Krautrock",)}
    assert f"left out 1 file that {table} does not name: 4.mp3" in caplog.text
    assert "left out 1 of 3 tracks, without an artist: 2" in caplog.text
    assert table.read_bytes() == before


def test_music_without_tags_is_named_in_the_table(root: Path, tmp_path: Path) -> None:
    tagged(root / "x.mp3")
    table = tmp_path / "music.csv"
    with pytest.raises(ArtistidError, match=r"none of 1 track names an artist of its own\n.*music\.csv lists them"):
        read(root, csv=table)
    table.write_text(table.read_text(encoding="utf-8-sig").replace("x.mp3,", "x.mp3,Anna", 1), encoding="utf-8")
    assert read(root, csv=table).artists == ("Anna",)


def test_a_table_that_cannot_be_written_is_named(root: Path) -> None:
    make_library(root)
    with pytest.raises(ArtistidError, match=r"data\.csv=.*gone.music\.csv cannot be written"):
        read(root, csv=root.parent / "gone" / "music.csv")


def test_from_tags_over_a_table_to_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "My M\u00fcsic"
    for artist in ("Anna", "Bert"):
        tagged(root / f"{artist}.ogg", artist=artist, album="One", title="X")
    tagged(root / "hit.mp3", artist="Carl", album_artist="Various Artists")
    monkeypatch.chdir(tmp_path)
    settings = (f"data.root={root}", "data.csv=tracks.csv", f"cache_dir={tmp_path / 'cache'}", "workers=0")
    run_verb("prepare", "data=library", *settings)
    assert "2 songs by 2 artists" in capsys.readouterr().out
    table = tmp_path / "tracks.csv"
    table.write_text(table.read_text(encoding="utf-8-sig").replace("hit.mp3,Various Artists", "hit.mp3,Carl"))
    run_verb("prepare", "data=library", *settings)
    assert "3 songs by 3 artists" in capsys.readouterr().out
    run_verb("prepare", "data=csv", *settings)
    assert "3 songs by 3 artists" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        run_verb("prepare", "data=csv", *settings[1:])
    assert f"relative to data.root={tmp_path}" in capsys.readouterr().err
