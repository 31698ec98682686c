"""Files that are whole or not there."""

from __future__ import annotations

import errno
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from artistid.writing import DRAFT, sweep, whole, write_csv, write_text


@pytest.fixture
def ended_process() -> Iterator[int]:
    """The number of a process that is no more."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
        yield process.pid


def draft(folder: Path, name: str, process: int, host: str = "") -> Path:
    path = folder / f".{name}.{host or platform.node()}-{process}-0.part"
    path.write_text("half")
    return path


def test_what_was_there_stays_until_the_new_file_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("before")
    with whole(path) as file:
        file.write("aft")
        file.flush()
        assert path.read_text() == "before"
        (hidden,) = set(tmp_path.iterdir()) - {path}
        assert hidden.name.startswith(".a.txt.")
        assert DRAFT.fullmatch(hidden.name)
        file.write("er")
    assert path.read_text() == "after"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_whatever_ends_the_writing_leaves_what_was_there(error: type[BaseException], tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"before")

    def write() -> None:
        with whole(path, "wb") as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        write()
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_text_is_utf_8_with_line_feeds(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "Björk\n")
    assert (tmp_path / "a").read_bytes() == b"Bj\xc3\xb6rk\n"
    with whole(tmp_path / "b", encoding="utf-8-sig", newline="\r\n") as file:
        file.write("ö\n")
    assert (tmp_path / "b").read_bytes() == b"\xef\xbb\xbf\xc3\xb6\r\n"
    write_csv(tmp_path / "c.csv", pd.DataFrame({"x": [1, 2], "y": ["a, b", ""]}))
    assert (tmp_path / "c.csv").read_bytes() == b'x,y\n1,"a, b"\n2,\n'


def test_drafts_of_killed_processes_are_swept_and_no_others(tmp_path: Path, ended_process: int) -> None:
    left = draft(tmp_path, "a.txt", ended_process)
    of_another_file = draft(tmp_path, "b.txt", ended_process)
    in_work = draft(tmp_path, "a.txt", os.getppid())
    elsewhere = draft(tmp_path, "a.txt", ended_process, host="another-machine")
    no_draft = tmp_path / ".a.txt.part"
    no_draft.touch()
    write_text(tmp_path / "a.txt", "whole")
    assert set(tmp_path.iterdir()) == {tmp_path / "a.txt", of_another_file, in_work, elsewhere, no_draft}
    assert not left.exists()
    sweep(tmp_path)
    assert set(tmp_path.iterdir()) == {tmp_path / "a.txt", in_work, elsewhere, no_draft}


def test_the_longest_name_can_be_written(tmp_path: Path, ended_process: int) -> None:
    name = "é" * 127  # 254 bytes
    left = draft(tmp_path, name[:40], ended_process)
    write_text(tmp_path / name, "whole")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert not left.exists()


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "file")
    write_text(tmp_path / "link", "whole")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "whole"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_pipe_is_written_as_it_is(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE, text=True) as reader:
        write_text(tmp_path / "pipe", "through")
        assert reader.communicate()[0] == "through"
    assert (tmp_path / "pipe").is_fifo()


def test_an_error_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as error:
        write_text(tmp_path / "nowhere" / "a.txt", "")
    assert error.value.filename == str(tmp_path / "nowhere" / "a.txt")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder") as refused:
        write_text(tmp_path / "folder", "")
    assert refused.value.errno == errno.EISDIR
