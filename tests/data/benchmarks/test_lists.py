from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from artistid.data.benchmarks import lists
from artistid.data.benchmarks.lists import BENCHMARKS, SPLIT_SEEDS, Benchmark, write
from artistid.data.splits import SUBSETS
from artistid.errors import ArtistidError


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_artist_has_four_albums_to_train_one_to_validate_and_one_to_test(name: str) -> None:
    entries = Benchmark.load(name).entries
    for index, _ in enumerate(SPLIT_SEEDS):
        parts = Counter((artist, part) for artist, _, part in {(e.artist, e.album, e.subsets[index]) for e in entries})
        assert all(parts[entry.artist, part] == (4 if part == "train" else 1) for entry in entries for part in SUBSETS)


def test_the_small_one_is_a_part_of_the_large_one() -> None:
    small, large = (set(Benchmark.load(name).entries) for name in BENCHMARKS)
    artists = {entry.artist for entry in small}
    assert small == {entry for entry in large if entry.artist in artists}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_what_is_written_is_what_is_shipped(tmp_path: Path, name: str) -> None:
    write(map(Benchmark.load, BENCHMARKS), tmp_path)
    for file in (f"{name}.csv", lists.CHECKSUMS):
        assert (tmp_path / file).read_bytes() == (lists.FOLDER / file).read_bytes()


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the shipped files that may be changed."""
    folder = tmp_path / "benchmarks"
    shutil.copytree(lists.FOLDER, folder)
    monkeypatch.setattr(lists, "FOLDER", folder)
    return folder / "jamendo20.csv"


def test_a_changed_list_is_refused(copy: Path) -> None:
    copy.write_text(copy.read_text(encoding="utf-8").replace("test", "train", 1), encoding="utf-8")
    with pytest.raises(ArtistidError, match=r"jamendo20.csv has been changed: its SHA-256 is [0-9a-f]{64}"):
        Benchmark.load("jamendo20")


def test_other_line_ends_are_no_change(copy: Path) -> None:
    expected = Benchmark.load("jamendo20")
    copy.write_bytes(copy.read_bytes().replace(b"\n", b"\r\n"))
    assert Benchmark.load("jamendo20") == expected
