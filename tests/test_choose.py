from __future__ import annotations

from pathlib import Path

import pytest

from artistid.data.benchmarks.lists import FOLDER
from tests.data.jamendo import SHARED_TABLE, collection, table
from tests.verbs import run_verb

FILES = ("jamendo20.csv", "jamendo200.csv", "SHA256SUMS")


def test_another_table_is_told_from_the_published_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = collection(artists=210)
    for name, part in (("train.tsv", rows[:2000]), ("test.tsv", rows[2000:])):
        (tmp_path / name).write_text(table(part), encoding="utf-8")
    with pytest.raises(SystemExit):
        run_verb("choose", f"table=[{tmp_path / 'train.tsv'},{tmp_path / 'test.tsv'}]", f"out={tmp_path / 'lists'}")
    output = capsys.readouterr()
    assert "| jamendo200 | 200 | 1200 | 3600 | " in output.out
    assert "jamendo20 and jamendo200 differ from the published lists" in output.err
    assert sorted(path.name for path in (tmp_path / "lists").iterdir()) == sorted(FILES)


def test_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run_verb("choose")
    assert "table=PATH is missing" in capsys.readouterr().err


@pytest.mark.skipif(not SHARED_TABLE.is_file(), reason="the table of MTG-Jamendo is not here")
def test_the_choice_repeats_byte_for_byte(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_verb("choose", f"table={SHARED_TABLE}", f"out={tmp_path}")
    assert "identical, byte for byte, to those of the package" in capsys.readouterr().out
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes()
