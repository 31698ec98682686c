from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import mutagen
import mutagen.id3
import pytest

from artistid.data.tags import Tags, read_all_tags, read_tags
from artistid.errors import ArtistidError
from tests.tagging import tag_id3, tagged

FIELDS = {"artist": "Anna feat. B", "album_artist": "Anna", "album": "One", "title": "X", "disc": "2", "number": "7"}


@pytest.mark.parametrize("ending", ["mp3", "flac", "ogg", "wav", "aiff", "m4a", "ape"])
def test_each_format_says_the_same(tmp_path: Path, ending: str) -> None:
    path = tagged(tmp_path / f"x.{ending}", **FIELDS)
    assert read_tags(path) == Tags(**FIELDS)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["7/12", "07", "007/012"])
def test_a_number_is_without_its_total(tmp_path: Path, text: str) -> None:
    assert read_tags(tagged(tmp_path / "x.mp3", number=text)).number == "7"


@pytest.mark.parametrize(("ending", "flag"), [("mp3", "1"), ("flac", "1"), ("ogg", "true"), ("m4a", "1")])
def test_a_compilation_is_marked(tmp_path: Path, ending: str, flag: str) -> None:
    assert read_tags(tagged(tmp_path / f"x.{ending}", compilation=flag)).compilation
    assert not read_tags(tagged(tmp_path / f"y.{ending}", compilation="0")).compilation


@pytest.mark.parametrize("ending", ["mp3", "flac", "wav"])
def test_a_file_without_tags_says_nothing(tmp_path: Path, ending: str) -> None:
    assert read_tags(tagged(tmp_path / f"x.{ending}")) == Tags()


def test_several_artists_are_joined(tmp_path: Path) -> None:
    assert read_tags(tag_id3(tmp_path / "x.mp3", TPE1=["A", "B"])).artist == "A; B"
    path = tagged(tmp_path / "x.flac")
    file = mutagen.File(path)
    file["ARTIST"] = ["A", "B"]
    file.save()
    assert read_tags(path).artist == "A; B"


@pytest.mark.parametrize("encoding", [0, 1, 2, 3])
@pytest.mark.parametrize("version", [3, 4])
def test_every_encoding_of_id3(tmp_path: Path, encoding: int, version: int) -> None:
    path = tag_id3(tmp_path / "x.mp3", encoding, version, TPE1="Bjo\u0308rk" if encoding else "Bj\xf6rk", TALB="AC/DC")
    assert read_tags(path)[:3] == ("Bj\u00f6rk", "", "AC/DC")


def test_an_old_tag_at_the_files_end(tmp_path: Path) -> None:
    path = tagged(tmp_path / "x.mp3")
    old = b"TAG" + b"Title".ljust(30, b"\0") + "Bj\xf6rk".encode("latin-1").ljust(30, b"\0") + b"Album".ljust(30, b"\0")
    path.write_bytes(path.read_bytes() + old.ljust(126, b"\0") + b"\x05\x00")
    tags = read_tags(path)
    assert (tags.artist, tags.album, tags.title, tags.number) == ("Bj\u00f6rk", "Album", "Title", "5")


def misread(name: str, encoding: str) -> str:
    """What a tagger that knows no encodings makes of a name: its bytes, called Latin-1."""
    return name.encode(encoding).decode("latin-1")


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("\u041a\u0438\u043d\u043e", "cp1251"),
        ("\u690e\u540d\u6797\u6a8e", "cp932"),
        ("\u0141\u0105ki \u0142\u0105ki", "cp1250"),
    ],
)
def test_latin_1_that_is_none(tmp_path: Path, name: str, encoding: str) -> None:
    path = tag_id3(tmp_path / "x.mp3", TPE1=misread(name, encoding), TALB="Plain")
    as_it_is, mended = read_tags(path), read_tags(path, encoding)
    assert as_it_is.artist != name
    assert (mended.artist, mended.album, mended.doubtful) == (name, "Plain", False)


def test_doubts_are_about_names_that_are_hardly_latin(tmp_path: Path) -> None:
    names = {
        misread("\u041a\u0438\u043d\u043e", "cp1251"): True,
        "Bj\xf6rk": False,
        "M\xf6tley Cr\xfce": False,
        "": False,
    }
    for number, (name, doubtful) in enumerate(names.items()):
        assert read_tags(tag_id3(tmp_path / f"{number}.mp3", TPE1=name)).doubtful == doubtful
    assert not read_tags(tag_id3(tmp_path / "utf8.mp3", 3, TPE1="\u041a\u0438\u043d\u043e")).doubtful


def test_utf_8_that_claims_to_be_latin_1_is_recognised(tmp_path: Path) -> None:
    tags = read_tags(
        tag_id3(tmp_path / "x.mp3", TPE1=misread("\u041a\u0438\u043d\u043e", "utf-8"), TALB="Bj\xf6rk"), "cp1250"
    )
    assert (tags.artist, tags.album, tags.doubtful) == ("\u041a\u0438\u043d\u043e", "Bj\u00f6rk", False)


def test_what_is_no_audio_says_why(tmp_path: Path) -> None:
    (tmp_path / "x.flac").write_bytes(b"fLaC" + b"\x00\x00\x00\x22")
    assert read_tags(tmp_path / "x.flac").error
    assert read_tags(tmp_path / "gone.mp3").error
    (tmp_path / "x.mp3").write_bytes(b"")
    assert read_tags(tmp_path / "x.mp3").artist == ""


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files whose tags are opened, as they are."""
    names: list[str] = []
    real = mutagen.File

    def spy(path: Path, *args: Any) -> Any:
        names.append(path.name)
        return real(path, *args)

    monkeypatch.setattr(mutagen, "File", spy)
    return names


def test_only_what_has_changed_is_opened_again(tmp_path: Path, opened: list[str]) -> None:
    paths = [tagged(tmp_path / f"{name}.flac", artist=name) for name in "abc"]
    cache = tmp_path / "cache" / "tags.json"
    opened.clear()
    first = read_all_tags(paths, cache)
    assert [tags.artist for tags in first] == ["a", "b", "c"]
    assert opened == ["a.flac", "b.flac", "c.flac"]
    opened.clear()
    assert read_all_tags(paths, cache) == first
    assert opened == []
    tagged(paths[1], artist="other")
    os.utime(paths[1], ns=(0, 0))
    opened.clear()
    assert [tags.artist for tags in read_all_tags([*paths, tagged(tmp_path / "d.mp3")], cache)] == [
        "a",
        "other",
        "c",
        "",
    ]
    assert sorted(set(opened)) == ["b.flac", "d.mp3"]


def test_another_encoding_reads_all_again(tmp_path: Path) -> None:
    path = tag_id3(tmp_path / "x.mp3", TPE1=misread("\u041a\u0438\u043d\u043e", "cp1251"))
    cache = tmp_path / "tags.json"
    before = read_all_tags([path], cache)
    assert read_all_tags([path], cache, "cp1251")[0].artist == "\u041a\u0438\u043d\u043e"
    assert read_all_tags([path], cache) == before


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"made_by": [0, null], "files": {}}', "{"])
def test_a_cache_that_is_none_is_made_anew(tmp_path: Path, content: str) -> None:
    path = tagged(tmp_path / "x.flac", artist="a")
    (tmp_path / "tags.json").write_text(content)
    assert read_all_tags([path], tmp_path / "tags.json")[0].artist == "a"


def test_an_unknown_encoding_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtistidError, match=r"data\.tag_encoding=cp9999 is no encoding"):
        read_all_tags([], tmp_path / "tags.json", "cp9999")


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ArtistidError, match=r"cannot be kept in .*file.*cache_dir"):
        read_all_tags([tagged(tmp_path / "x.mp3")], tmp_path / "file" / "tags.json")


@pytest.mark.slow
def test_many_files_are_read_by_several_processes(tmp_path: Path) -> None:
    path = tagged(tmp_path / "0.flac", artist="a")
    paths = [path, *(tmp_path / f"{number}.flac" for number in range(1, 2000))]
    for each in paths[1:]:
        each.symlink_to(path)
    assert {tags.artist for tags in read_all_tags(paths, tmp_path / "tags.json", workers=2)} == {"a"}
