from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import mutagen
import mutagen.id3
import numpy as np
import pytest
from mutagen.apev2 import BINARY, APEv2, APEValue

from artistid.data.credits import credits_of
from artistid.data.tags import Tags, read_all_tags, read_tags
from artistid.errors import ArtistidError
from tests.data.test_mutants import MUTATIONS
from tests.tagging import tag_id3, tagged
from tests.thorough import THOROUGH

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

    assert read_tags(path).artists == ("A", "B")


IDS = {
    "artist": "0383dadf-2a4e-4d10-a46a-e9e041da8eb3",
    "albumartist": "5b11f4ce-a62d-471e-81fc-a69a8278c7da",
    "album": "b52a8f31-b5ab-34e9-92f4-f5b7110220f0",
}
FIRST_OF_TWO = f"{IDS['artist']}; {IDS['albumartist']}"


@pytest.mark.parametrize(
    ("ending", "names"),
    [
        ("mp3", "TXXX:MusicBrainz {} Id"),
        ("mp3", "TXXX:MUSICBRAINZ_{}ID"),
        ("flac", "MUSICBRAINZ_{}ID"),
        ("ogg", "musicbrainz_{}id"),
        ("ape", "MUSICBRAINZ_{}ID"),
        ("m4a", "----:com.apple.iTunes:MusicBrainz {} Id"),
    ],
)
def test_musicbrainz_identifiers(tmp_path: Path, ending: str, names: str) -> None:
    path = tagged(tmp_path / f"x.{ending}", artist="A")
    file = mutagen.File(path)
    for name, text in {**IDS, "artist": FIRST_OF_TWO}.items():
        spoken = name.replace("albumartist", "album artist").title() if " " in names else name
        key = names.format(spoken if "{} Id" in names else name.upper())
        if ending == "mp3":
            file.tags.add(mutagen.id3.TXXX(encoding=3, desc=key.removeprefix("TXXX:"), text=text))
        else:
            file.tags[key] = text.encode() if ending == "m4a" else text
    file.save()
    tags = read_tags(path)
    assert tags.artist_ids == (IDS["artist"], IDS["albumartist"])
    assert tags.album_artist_ids == (IDS["albumartist"],)
    assert tags.album_id == IDS["album"]


def test_the_tag_that_lists_artists_counts_before_the_credit(tmp_path: Path) -> None:
    path = tagged(tmp_path / "x.flac", artist="Hocico & Prayers")
    file = mutagen.File(path)
    file["ARTISTS"] = ["Hocico", "Prayers"]
    file.save()
    assert read_tags(path)[:1] == ("Hocico & Prayers",)
    assert read_tags(path).artists == ("Hocico", "Prayers")


# --- several kinds of tags in one file ---

OLD = b"TAG" + b"Title".ljust(30, b"\0") + b"The Presidents of the United St".ljust(30, b"\0")[:30]


def with_ape(path: Path, **fields: str) -> Path:
    tags = APEv2()
    tags.update(fields)
    tags.save(path)
    return path


def test_ape_tags_of_an_mp3(tmp_path: Path) -> None:
    path = with_ape(
        tagged(tmp_path / "x.mp3"), Artist="A", Album="One", Title="X", Track="7/9", **{"Album Artist": "B"}
    )
    assert read_tags(path) == Tags("A", "B", "One", "X", number="7")


def test_ape_tags_complete_those_that_come_before(tmp_path: Path) -> None:
    path = with_ape(tagged(tmp_path / "x.mp3", title="Of ID3"), Artist="A", Title="Of APE")
    assert read_tags(path) == Tags("A", title="Of ID3")


def test_ape_tags_count_before_thirty_letters_at_the_files_end(tmp_path: Path) -> None:
    path = tagged(tmp_path / "x.mp3")
    sound = path.read_bytes()
    path.write_bytes(sound + OLD.ljust(128, b"\0"))
    assert read_tags(path).artist == "The Presidents of the United S"
    path.write_bytes(sound)
    name = "The Presidents of the United States of America"
    path.write_bytes(with_ape(path, Artist=name).read_bytes() + OLD.ljust(128, b"\0"))
    assert read_tags(path) == Tags(name, title="Title")


def test_an_id3_tag_at_the_files_end(tmp_path: Path) -> None:
    """As Audacious writes it: with a footer that is the header with its letters turned round."""
    tag = tagged(tmp_path / "x.mp3", artist="A", title="X").read_bytes()
    tag = tag[: mutagen.id3.ID3(tmp_path / "x.mp3").size]
    header = tag[:3] + b"\4\0\x10" + tag[6:10]
    path = tagged(tmp_path / "y.mp3")
    path.write_bytes(path.read_bytes() + header + tag[10:] + b"3DI" + header[3:])
    assert read_tags(path) == Tags("A", title="X")
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    assert read_tags(path).artist == ""


def test_tags_of_a_file_whose_sound_is_broken(tmp_path: Path) -> None:
    path = tagged(tmp_path / "x.mp3", artist="A", title="X")
    path.write_bytes(path.read_bytes()[: 10 + mutagen.id3.ID3(path).size] + bytes(5000))
    with pytest.raises(mutagen.MutagenError):
        mutagen.File(path)
    assert read_tags(path) == Tags("A", title="X")


def test_an_ape_tag_that_is_broken_costs_only_itself(tmp_path: Path) -> None:
    path = with_ape(tagged(tmp_path / "x.mp3", artist="A"), Album="One")
    path.write_bytes(path.read_bytes().replace(b"Album", b"Al\xffum"))
    assert read_tags(path) == Tags("A")
    path = with_ape(tagged(tmp_path / "y.mp3"), Artist="A")
    path.write_bytes(path.read_bytes().replace(b"Artist", b"Art\xffst"))
    assert read_tags(path).error


def test_a_picture_under_the_name_of_a_text(tmp_path: Path) -> None:
    path = with_ape(tagged(tmp_path / "x.mp3"), Artist="A")
    tags = APEv2(path)
    tags["Album"] = APEValue(b"\xff\xd8", BINARY)
    tags.save()
    assert read_tags(path) == Tags("A")


# --- what other programs write ---


def run(*command: object) -> None:
    if shutil.which(str(command[0])) is None:
        pytest.skip(f"{command[0]} is not installed")
    subprocess.run(list(map(str, command)), check=True, capture_output=True)


@pytest.mark.parametrize("ending", ["wav", "mp3", "flac", "ogg", "m4a", "wv", "wma", "aiff", "opus", "tta"])
def test_what_ffmpeg_writes(tmp_path: Path, ending: str) -> None:
    metadata = [word for name in ("artist=A", "album=One", "title=Björk", "track=7") for word in ("-metadata", name)]
    if ending == "aiff":
        metadata += ["-write_id3v2", "1"]
    run("ffmpeg", "-f", "lavfi", "-i", "sine=d=0.1:r=48000", *metadata, tmp_path / f"x.{ending}")
    assert read_tags(tmp_path / f"x.{ending}") == Tags("A", album="One", title="Björk", number="7")


@pytest.mark.parametrize("chunk", [b"", b"\0n\0i\0\0\0\0", b"LIST\x04\0\0\0adtl", b"LIST\xff\xff\xff\x7fINFO"])
def test_texts_of_a_wav_file(tmp_path: Path, chunk: bytes) -> None:
    info = b"INFO" + b"".join(
        name + len(text).to_bytes(4, "little") + text
        for name, text in (
            (b"IART", "Кино".encode("cp1251") + b"\0\0"),
            (b"IPRD", "Björk\0".encode() + b"\0"),
            (b"INAM", b"X\0"),
        )
    )
    path = tagged(tmp_path / "x.wav")
    path.write_bytes(path.read_bytes() + chunk + b"LIST" + len(info).to_bytes(4, "little") + info)
    if b"\x7f" in chunk:  # which claims all that follows, and is not a list of texts
        assert read_tags(path).error == ""
        return
    assert read_tags(path, "cp1251") == Tags("Кино", album="Björk", title="X")


A_AND_B = Tags("A; B", album="One", number="7", artists=("A", "B"))


@pytest.mark.parametrize(
    ("ending", "words", "tags"),
    [
        (
            "flac",
            "metaflac --set-tag=ARTIST=A --set-tag=ARTIST=B --set-tag=ALBUM=One --set-tag=TRACKNUMBER=07",
            A_AND_B,
        ),
        ("ogg", "vorbiscomment -w -t ARTIST=A -t artist=B -t Album=One -t TRACKNUMBER=7/9", A_AND_B),
        ("mp3", "id3v2 -2 -a A/B -A One -T 7/9", Tags("A/B", album="One", number="7")),
        ("mp3", "id3v2 -1 -a A -A One -T 7", Tags("A", album="One", number="7")),
        (
            "mp3",
            f"eyeD3 -Q -a A -b B -A One --user-text-frame MUSICBRAINZ_ALBUMID:{IDS['album']}",
            Tags("A", "B", "One", album_id=IDS["album"]),
        ),
    ],
)
def test_what_taggers_write(tmp_path: Path, ending: str, words: str, tags: Tags) -> None:
    path = tagged(tmp_path / f"x.{ending}")
    run(*words.split(), path)
    assert read_tags(path) == tags


def test_what_encoders_write(tmp_path: Path) -> None:
    wav = tagged(tmp_path / "x.wav")
    run("opusenc", "--artist", "A", "--artist", "B", "--album", "One", "--tracknumber", "7", wav, tmp_path / "x.opus")
    assert read_tags(tmp_path / "x.opus") == A_AND_B
    run("lame", "--quiet", "--ta", "Bj\xf6rk", "--tl", "One", "--tt", "X", wav, tmp_path / "x.mp3")
    assert read_tags(tmp_path / "x.mp3") == Tags("Bj\xf6rk", album="One", title="X")


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


def corrected_unseen(path: Path, before: bytes, after: bytes) -> None:
    """As a tagger does that writes within a tag's padding, and keeps the file's date."""
    stat = path.stat()
    content = path.read_bytes()
    assert content.count(before) == 1
    path.write_bytes(content.replace(before, after))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)


@pytest.mark.parametrize("ending", ["mp3", "flac", "ogg", "m4a"])
def test_what_was_corrected_under_its_old_date_is_read_again(tmp_path: Path, ending: str) -> None:
    path = tagged(tmp_path / f"x.{ending}", artist="Alicia")
    assert read_all_tags([path], tmp_path / "tags.json")[0].artist == "Alicia"
    corrected_unseen(path, b"Alicia", b"Alison")
    assert read_all_tags([path], tmp_path / "tags.json")[0].artist == "Alison"


def test_all_are_read_again_if_asked_for(tmp_path: Path, opened: list[str]) -> None:
    paths = [tagged(tmp_path / f"{name}.flac", artist=name) for name in "ab"]
    first = read_all_tags(paths, tmp_path / "tags.json")
    opened.clear()
    assert read_all_tags(paths, tmp_path / "tags.json", reread=True) == first
    assert opened == ["a.flac", "b.flac"]


def test_a_cache_keeps_all_that_tags_say(tmp_path: Path) -> None:
    path = tagged(tmp_path / "x.flac", artist="A & B", compilation="1")
    file = mutagen.File(path)
    file.update({"ARTISTS": ["A", "B"], "MUSICBRAINZ_ARTISTID": list(IDS.values())})
    file.save()
    assert (
        read_all_tags([path], tmp_path / "tags.json")
        == read_all_tags([path], tmp_path / "tags.json")
        == [read_tags(path)]
    )


def test_another_encoding_reads_all_again(tmp_path: Path) -> None:
    path = tag_id3(tmp_path / "x.mp3", TPE1=misread("\u041a\u0438\u043d\u043e", "cp1251"))
    cache = tmp_path / "tags.json"
    before = read_all_tags([path], cache)
    assert read_all_tags([path], cache, "cp1251")[0].artist == "\u041a\u0438\u043d\u043e"
    assert read_all_tags([path], cache) == before


def test_a_file_that_is_gone_says_so(tmp_path: Path) -> None:
    tags = read_all_tags([tmp_path / "gone.mp3"], tmp_path / "tags.json")
    assert "No such file" in tags[0].error


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"made_by": [0, null], "files": {}}', "{"])
def test_a_cache_that_is_none_is_made_anew(tmp_path: Path, content: str) -> None:
    path = tagged(tmp_path / "x.flac", artist="a")
    (tmp_path / "tags.json").write_text(content)
    assert read_all_tags([path], tmp_path / "tags.json")[0].artist == "a"


def test_an_unknown_encoding_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtistidError, match=r"data\.tag_encoding=cp9999 is not an encoding"):
        read_all_tags([], tmp_path / "tags.json", "cp9999")


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ArtistidError, match=r"cannot be cached in .*file.*cache_dir"):
        read_all_tags([tagged(tmp_path / "x.mp3")], tmp_path / "file" / "tags.json")


@pytest.mark.slow
def test_many_files_are_read_by_several_processes(tmp_path: Path) -> None:
    path = tagged(tmp_path / "0.flac", artist="a")
    paths = [path, *(tmp_path / f"{number}.flac" for number in range(1, 2000))]
    for each in paths[1:]:
        each.symlink_to(path)
    assert {tags.artist for tags in read_all_tags(paths, tmp_path / "tags.json", workers=2)} == {"a"}


FULL = {**FIELDS, "compilation": "1"}
MUTANTS = 840 if THOROUGH else 84  # of each format


@pytest.mark.slow
def test_whatever_is_broken_is_that_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Thousands of broken tags: each file's are read, or say why not, and can be asked whose songs they are."""
    generator = np.random.default_rng(0)
    paths, errors = [], Counter[str]()
    for ending in ("mp3", "flac", "ogg", "wav", "aiff", "m4a", "ape"):
        content = tagged(tmp_path / f"whole.{ending}", **FULL).read_bytes()[:4000]
        for number in range(10 * MUTANTS):
            broken = content
            for _ in range(generator.integers(1, 4)):
                mutation = MUTATIONS[generator.integers(len(MUTATIONS))]
                broken = mutation(broken, generator) if len(broken) > 1 else broken
            paths.append(tmp_path / f"{number}.{ending}")
            paths[-1].write_bytes(broken[:100_000])
    read = read_all_tags(paths, tmp_path / "tags.json", workers=0)
    assert read_all_tags(paths, tmp_path / "tags.json", workers=0) == read
    assert set(credits_of(dict(zip(paths, read, strict=True))).artists) == set(paths)
    for path, tags in zip(paths, read, strict=True):
        errors[path.suffix] += bool(tags.error)
    print(f"{len(paths)} files, tags that cannot be read by format: {dict(errors)}")
    assert 0 < errors.total() < len(paths)
