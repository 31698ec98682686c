"""What lies in people's folders beside music, given to every source and verb that looks for music."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from artistid.data.sources.folder import Folder, albums_in_one_file, audio_files
from artistid.data.tags import read_tags
from artistid.errors import ArtistidError
from artistid.inference.files import find_audio
from tests.corpus import write_audio
from tests.verbs import run_verb

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="pipes and devices are Linux's here")


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def ids(root: Path, **settings: object) -> list[str]:
    return [track.track_id for track in Folder(name="music", root=root, **settings).catalog()]  # type: ignore[arg-type]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


# --- what is left out is counted, by its reason ---

MIXED = (
    "A/1/x.mp3",
    "A/1/cover.jpg",
    "A/1/notes.txt",
    "A/1/README",
    "A/1/y.ofr",
    "A/1/z.MID",
    "A/2/z.mid",
    "A/1/q.m4p",
)
NO_AUDIO = ": .jpg 1, .txt 1, no ending 1"
OTHER_SOUND = "of formats that are not searched for: .m4p 1, .mid 2, .ofr 1"


def test_endings_are_counted_by_kind(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, *MIXED)
    with caplog.at_level("INFO"):
        assert ids(tmp_path) == ["A/1/x"]
    assert f"not audio, left out: 3 files of {tmp_path}{NO_AUDIO}" in caplog.text
    assert f"left out 4 files of {tmp_path}, {OTHER_SOUND}" in caplog.text
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]


@pytest.mark.parametrize("pattern", ["", "/*/*/*", "/**", "/**/*"])
def test_folders_and_patterns_of_files_count_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, pattern: str
) -> None:
    touch(tmp_path, *MIXED)
    with caplog.at_level("INFO"):
        assert find_audio(f"{tmp_path}{pattern}") == [tmp_path / "A" / "1" / "x.mp3"]
    assert NO_AUDIO in caplog.text
    assert OTHER_SOUND in caplog.text


def test_a_folder_of_nothing_else_says_what_there_is(tmp_path: Path) -> None:
    touch(tmp_path, *MIXED[1:])
    told = r"; found files of these endings: \.jpg 1, \.m4p 1, \.mid 2, \.ofr 1, \.txt 1, no ending 1"
    with pytest.raises(ArtistidError, match="is a folder without audio files" + told):
        find_audio(str(tmp_path))
    with pytest.raises(ArtistidError, match="matches no audio file" + told):
        find_audio(f"{tmp_path}/*/*/*")


def test_music_that_is_hidden_by_its_name_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An album called ".5: The Gray Chapter", a song called "...Baby One More Time"; but not what systems hide."""
    touch(tmp_path, "A/1/x.mp3", "A/.5 The Gray Chapter/y.mp3", "A/1/...Baby One More Time.flac", "A/1/.nomedia")
    touch(tmp_path, "A/1/._x.mp3", ".Trash-1000/files/x.mp3", ".stfolder/x.mp3", "A/.DS_Store", ".git/x.mp3")
    assert ids(tmp_path) == ["A/1/x"]
    [message] = warnings(caplog)
    assert message.startswith(f"left out of {tmp_path}, hidden by a leading dot: 2: ")
    assert f"{tmp_path}/A/.5 The Gray Chapter" in message
    assert f"{tmp_path}/A/1/...Baby One More Time.flac" in message


# --- what is not a file ---


@pytest.fixture
def with_pipe(tmp_path: Path) -> Path:
    """A folder of a song, a pipe that nobody writes to, a device that never ends, and a socket."""
    root = touch(tmp_path / "music", "A/1/song.mp3")
    os.mkfifo(root / "A" / "1" / "pipe.mp3")
    (root / "A" / "1" / "zero.wav").symlink_to("/dev/zero")
    (root / "A" / "1" / "link.mp3").symlink_to("pipe.mp3")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(root / "A" / "1" / "s.flac"))
    return root


@LINUX
def test_pipes_and_devices_are_passed_over(with_pipe: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert audio_files(with_pipe) == [with_pipe / "A" / "1" / "song.mp3"]
    [message] = warnings(caplog)
    assert message.startswith(f"left out of {with_pipe}, not readable files: 4: ")
    for name, what in (
        ("pipe.mp3", "a pipe"),
        ("link.mp3", "a pipe"),
        ("zero.wav", "a device"),
        ("s.flac", "a socket"),
    ):
        assert f"{with_pipe}/A/1/{name} ({what})" in message
    caplog.clear()
    assert find_audio(f"{with_pipe}/**/*.*") == [with_pipe / "A" / "1" / "song.mp3"]
    assert "not readable files: 4" in caplog.text


@LINUX
def test_prepare_ends_with_a_pipe_in_the_folder(
    with_pipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    song = with_pipe / "A" / "1" / "song.mp3"
    write_audio(song, (0.1 * np.sin(np.arange(16000) / 5)).astype(np.float32), 16000)
    run_verb("prepare", "data=folder", f"data.root={with_pipe}", f"cache_dir={tmp_path}/cache", "workers=0")
    assert "1 song by 1 artist" in capsys.readouterr().out


@LINUX
def test_prepare_ends_with_a_pipe_in_a_table(
    with_pipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "table.csv").write_text("path,artist\nA/1/pipe.mp3,A\n")
    settings = (f"data.csv={tmp_path}/table.csv", f"data.root={with_pipe}", f"cache_dir={tmp_path}/cache", "workers=0")
    with pytest.raises(SystemExit):
        run_verb("prepare", "data=csv", *settings)
    assert f"error: {with_pipe}/A/1/pipe.mp3: it is a pipe: expected a file" in capsys.readouterr().err


@LINUX
def test_a_pipes_tags_are_not_waited_for(with_pipe: Path) -> None:
    assert read_tags(with_pipe / "A" / "1" / "pipe.mp3").error == "it is a pipe"


@LINUX
@pytest.mark.parametrize("name", ["pipe.mp3", "zero.wav", "link.mp3", "s.flac"])
def test_a_pipe_that_is_asked_for_is_named(with_pipe: Path, name: str) -> None:
    path = with_pipe / "A" / "1" / name
    with pytest.raises(
        ArtistidError, match=rf"audio={path} is a (pipe|device|socket): expected a file.*save it to one"
    ):
        find_audio(str(path))


@LINUX
def test_standard_input(tmp_path: Path) -> None:
    """A pipe is refused; a file goes by its own name, since other processes have another input."""
    song = touch(tmp_path, "song.mp3") / "song.mp3"
    code = "from artistid.inference.files import find_audio; print(find_audio('/dev/stdin'))"
    with song.open("rb") as file:
        done = subprocess.run([sys.executable, "-c", code], stdin=file, capture_output=True, text=True, check=True)
    assert done.stdout == f"[PosixPath('{song}')]\n"
    done = subprocess.run([sys.executable, "-c", code], input="x", capture_output=True, text=True, check=False)
    assert "ArtistidError: audio=/dev/stdin is a pipe" in done.stderr


# --- folders that are not the user's ---


@pytest.mark.parametrize("name", ["@eaDir", "#recycle", "lost+found", "$RECYCLE.BIN", "System Volume Information"])
def test_folders_of_the_system_never_hold_music(tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str) -> None:
    touch(tmp_path, "A/1/x.mp3", f"A/1/{name}/x.mp3", f"{name}/deleted.mp3")
    assert ids(tmp_path) == ["A/1/x"]
    assert f"left out of {tmp_path}, folders that a system keeps for itself: 2: " in caplog.text
    assert f"{tmp_path}/A/1/{name}" in caplog.text
    assert find_audio(str(tmp_path / name)) == [tmp_path / name / "deleted.mp3"], "who names it means it"


def without_rights(code: str, *arguments: object) -> str:
    """What Python prints that may read no more than the modes of files let it, whoever runs the tests."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("setpriv, by which root can be without rights, is not installed")
        rights = "-dac_override,-dac_read_search"
        command = ["setpriv", f"--inh-caps={rights}", f"--bounding-set={rights}", *command]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@LINUX
def test_a_folder_that_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, "A/1/x.mp3", "A/private/y.mp3", "private/1/y.mp3", "elsewhere/deep/z.mp3")
    (tmp_path / "A" / "1" / "z.mp3").symlink_to(tmp_path / "elsewhere" / "deep" / "z.mp3")
    closed = [tmp_path / "A" / "private", tmp_path / "elsewhere", tmp_path / "private"]
    code = (
        "import logging, sys; from pathlib import Path; from artistid.data.sources.folder import audio_files\n"
        "logging.basicConfig(stream=sys.stdout, format='%(message)s'); print(audio_files(Path(sys.argv[1])))"
    )
    for path in closed:
        path.chmod(0)
    try:
        said = without_rights(code, tmp_path)
    finally:
        for path in closed:
            path.chmod(0o700)
    assert f"left out of {tmp_path}, cannot be read: 4: " in said
    assert f"{tmp_path}/A/private (Permission denied)" in said
    assert f"PosixPath('{tmp_path}/A/1/x.mp3')" in said
    assert f"{tmp_path}/A/1/z.mp3 (Permission denied)" in said
    assert "y.mp3" not in said


def test_links_that_lead_in_circles_are_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, "A/1/x.mp3")
    (tmp_path / "A" / "loop").symlink_to(tmp_path / "A" / "loop")
    (tmp_path / "A" / "1" / "up").symlink_to(tmp_path)
    assert ids(tmp_path) == ["A/1/x"]


# --- one song in two formats ---

TWICE = ("A/1/x.mp3", "A/1/x.flac", "A/1/x.WAV", "A/1/y.mp3")


@pytest.mark.parametrize(
    ("settings", "left"),
    [
        ({"prefer": ["flac", "mp3"]}, ["x.flac", "y.mp3"]),
        ({"prefer": [".MP3"]}, ["x.mp3", "y.mp3"]),
        ({"prefer": ["opus", "wav"]}, ["x.WAV", "y.mp3"]),
        ({"exclude": ["A/1/x.mp3", "A/1/x.WAV"]}, ["x.flac", "y.mp3"]),
        ({"exclude": ["A/1/x.mp3"], "prefer": ["mp3", "flac"]}, ["x.flac", "y.mp3"]),
        ({"exclude": ["A/1/y"], "prefer": ["flac"]}, ["x.flac"]),
    ],
)
def test_one_of_two_formats_is_chosen(tmp_path: Path, settings: dict[str, list[str]], left: list[str]) -> None:
    touch(tmp_path, *TWICE)
    catalog = Folder(name="music", root=tmp_path, **settings).catalog()  # type: ignore[arg-type]
    assert [track.path.name for track in catalog] == left


@pytest.mark.parametrize("settings", [{}, {"prefer": ["opus"]}, {"exclude": ["A/1/x.mp3"]}])
def test_the_error_says_which_settings_choose(tmp_path: Path, settings: dict[str, list[str]]) -> None:
    touch(tmp_path, *TWICE)
    with pytest.raises(ArtistidError, match=r"'A/1/x' appears twice: .*; data\.prefer=\[flac,mp3\].*data\.exclude="):
        ids(tmp_path, **settings)


def test_a_folder_is_excluded(tmp_path: Path) -> None:
    touch(tmp_path, *TWICE[2:], "A/2/z.mp3", "B/1/x.mp3", "B/12/x.mp3")
    assert ids(tmp_path, exclude=["A/1/", "B/1/x"]) == ["A/2/z", "B/12/x"]
    with pytest.raises(
        ArtistidError, match=r"data\.exclude names track ids that the collection does not have: \['C/'\]"
    ):
        ids(tmp_path, exclude=["C/"])


# --- cue sheets ---

SHEET = """REM GENRE Rock
PERFORMER "Alice"
TITLE "Album"
FILE "{name}" WAVE
  TRACK 01 AUDIO
    TITLE "One"
    INDEX 01 00:00:00
  TRACK 02 AUDIO
    TITLE "Two"
    INDEX 01 03:20:10
"""


@pytest.mark.parametrize("name", ["Album.flac", "CDImage.wav", r"D:\Rips\Album.wav"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1251"])
def test_an_album_in_one_file_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, encoding: str
) -> None:
    touch(tmp_path, "A/1/Album.flac", "A/2/x.mp3")
    (tmp_path / "A" / "1" / "Album.cue").write_text(SHEET.format(name=name) + "REM \u041a", encoding, newline="\r\n")
    for look in (lambda: ids(tmp_path), lambda: find_audio(str(tmp_path))):
        caplog.clear()
        assert len(look()) == 2
        [message] = warnings(caplog)
        assert message.startswith("albums in one file, by the cue sheets beside them")
        assert f"one song: 1 file: {tmp_path}/A/1/Album.flac; shnsplit -f" in message


def test_a_sheet_of_an_albums_own_files_is_nothing_to_tell(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "A/1/01.flac", "A/1/02.flac")
    sheet = 'FILE "01.wav" WAVE\n  TRACK 01 AUDIO\nFILE "02.wav" WAVE\n  TRACK 02 AUDIO\n'
    (tmp_path / "A" / "1" / "Album.cue").write_text(sheet)
    assert ids(tmp_path) == ["A/1/01", "A/1/02"]
    assert warnings(caplog) == []


@pytest.mark.parametrize(
    "content", [b"", bytes(100), b"FILE\nTRACK 01 AUDIO\n", b"TRACK 01 AUDIO\n" * 3, b"\xff\xfe" * 50]
)
def test_a_sheet_that_says_nothing(tmp_path: Path, content: bytes) -> None:
    touch(tmp_path, "x.flac")
    (tmp_path / "x.cue").write_bytes(content)
    assert albums_in_one_file(tmp_path / "x.cue") == []
    assert albums_in_one_file(tmp_path / "gone.cue") == []
