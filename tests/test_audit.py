"""Audits of the tests' corpus with songs that are known to be under the wrong artist, through the real command."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.corpus import make_corpus
from tests.verbs import run_verb

pytest.importorskip("cleanlab", reason="cleanlab, which audits need, is not installed")

QUICK = ("model=probe", "clip=1s", "workers=0", "split.n_folds=3")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three artists with three albums of three songs: a song of artist1 and two of artist3 lie with artist2."""
    root = make_corpus(tmp_path_factory.mktemp("libraries") / "library", albums=3, songs=3, endings=("wav",))
    (root / "artist1" / "album2" / "song1.wav").rename(root / "artist2" / "album1" / "stray.wav")
    for song in (1, 2):
        (root / "artist3" / "album3" / f"song{song}.wav").rename(root / "artist2" / "album3" / f"guest{song}.wav")
    return root


STRAYS = {
    "artist2/album1/stray": "artist1",
    "artist2/album3/guest1": "artist3",
    "artist2/album3/guest2": "artist3",
}


def audit(root: Path, folder: Path, capsys: pytest.CaptureFixture[str], *overrides: str) -> dict[str, Any]:
    """What an audit of a folder of music says."""
    capsys.readouterr()
    data = () if any(each.startswith("data=") for each in overrides) else ("data=folder",)
    run_verb("audit", *data, f"data.root={root}", f"run_dir={folder}", "format=json", *QUICK, *overrides)
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def refused(capsys: pytest.CaptureFixture[str], *overrides: str) -> str:
    """The sentence that a command is refused with."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit_:
        run_verb("audit", *QUICK, *overrides)
    assert exit_.value.code == 1
    told = capsys.readouterr().err
    assert "Traceback" not in told
    return told


def test_songs_under_the_wrong_artist_are_found_corrected_and_read_back(
    library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = audit(library, tmp_path / "audit", capsys)
    assert {each["track_id"]: each["proposed"] for each in found["suspects"]} == STRAYS
    assert {each["artist"] for each in found["suspects"]} == {"artist2"}
    assert all(each["probability"] > each["own_probability"] for each in found["suspects"])
    assert found["albums"] == [
        {"artist": "artist2", "album": "album3", "songs": 5, "other": "artist3", "others_songs": 2}
    ]
    assert (found["audited"], found["artists"], found["duplicates"], found["planted"]) == (27, [], [], None)
    table = tmp_path / "audit" / "songs.csv"
    rows = rows_of(table)
    assert len(rows) == 27
    assert {row["path"] for row in rows[:3]} == {f"{name}.wav" for name in STRAYS}
    kept, *moved = rows[:3]
    kept["checked"] = "yes"  # someone has listened to it, and it is not to be listed again
    for row in moved:
        row["artist"] = row["proposed"]
    with table.open("w", encoding="utf-8", newline="") as file:  # as by a spreadsheet
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    for source in ("csv", "library"):
        again = audit(library, tmp_path / source, capsys, f"data={source}", f"data.csv={table}")
        assert again["suspects"] == []
        assert sum(row["artist"] == "artist2" for row in rows_of(tmp_path / source / "songs.csv")) == 10


def test_a_killed_audit_goes_on_by_its_folds(library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "audit"
    whole = audit(library, folder, capsys)
    for file in ("audit.json", "songs.csv", "folds/1.parquet"):  # as killed in its second fold
        (folder / file).unlink()
    (folder / "folds" / "1").mkdir()
    written = (folder / "folds" / "0.parquet").stat().st_mtime_ns
    assert audit(library, folder, capsys) == whole
    assert (folder / "folds" / "0.parquet").stat().st_mtime_ns == written
    (folder / "audit.json").unlink()
    told = refused(capsys, "data=folder", f"data.root={library}", f"run_dir={folder}", "seed=1")
    assert "seed was 0, is 1" in told
    assert "overwrite=true" in told
    assert audit(library, folder, capsys, "seed=1", "overwrite=true")["suspects"]
    assert "finished audit" in refused(capsys, "data=folder", f"data.root={library}", f"run_dir={folder}", "seed=1")


def test_planted_errors_are_counted(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = audit(corpus, tmp_path / "audit", capsys, "plant=0.1")
    assert found["planted"] == {
        **{"planted": 2, "precision": 1, "named": 1, "listed": 2, "precision_listed": 1, "recall_listed": 1}
    }
    moved = {each["track_id"]: each["artist"] for each in found["suspects"]}
    assert all(not track_id.startswith(filed) for track_id, filed in moved.items())


def test_names_and_recordings_that_are_there_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One artist under two names, names that are numbers, a copy under another artist, songs of no album."""
    root = make_corpus(tmp_path / "music", artists=3, albums=2, songs=3, seconds=6, endings=("wav",))
    (root / "artist1").rename(root / "1999")
    (root / "artist2").rename(root / "311")
    (root / "The 311").mkdir()
    (root / "311" / "album2").rename(root / "The 311" / "album2")
    shutil.copy(root / "artist3" / "album1" / "song1.wav", root / "1999" / "album1" / "copy.wav")
    for song in (1, 2):
        (root / "artist3" / "album2" / f"song{song}.wav").rename(root / "artist3" / f"single{song}.wav")
    (root / "alone").mkdir()
    (root / "artist3" / "album2" / "song3.wav").rename(root / "alone" / "song.wav")
    found = audit(root, tmp_path / "audit", capsys)
    assert found["artists"][0]["names"] == ["311", "The 311"]
    assert found["artists"][0]["alike"]
    assert found["duplicates"] == [
        {"first": "1999/album1/copy", "second": "artist3/album1/song1", "artists": ["1999", "artist3"], "score": 1.0}
    ]
    assert found["audited_by_songs"] == {"311": 3, "The 311": 3, "artist3": 4}
    assert found["left_out"].keys() == {"alone/song", "artist3/album1/song1"}
    assert found["audited"] == 17
    notes = {row["track_id"]: row["note"] for row in rows_of(tmp_path / "audit" / "songs.csv")}
    assert "same recording as 1999/album1/copy" in notes["artist3/album1/song1"]
    assert "only song" in notes["alone/song"]


@pytest.mark.parametrize(
    ("artists", "overrides", "message"),
    [
        (0, (), "holds no tracks"),
        (1, (), "two artists or more, found only"),
        (2, ("split=jackknife",), "expected split=folds"),
        (2, ("plant=0.7",), "plant=0.7"),
        (2, ("format=xml",), "format=xml"),
        (2, ("run_dir={root}",), "is not empty"),
        (2, ("review={root}",), "not the folder of a finished audit"),
    ],
)
def test_bad_input(
    artists: int, overrides: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "music"
    root.mkdir()
    if artists:
        make_corpus(root, artists=artists, albums=2, songs=2, seconds=1, endings=("wav",))
    given = [each.format(root=root) for each in overrides]
    told = refused(capsys, "data=folder", f"data.root={root}", f"run_dir={tmp_path}/audit", *given)
    assert message in told


def test_artists_with_a_song_each_cannot_be_audited(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_corpus(tmp_path / "music", artists=3, albums=1, songs=1, seconds=1, endings=("wav",))
    told = refused(capsys, "data=folder", f"data.root={tmp_path}/music", f"run_dir={tmp_path}/audit")
    assert "two songs" in told
    assert not (tmp_path / "audit").exists()


def test_table_and_csv_for_people_and_programs(
    library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ("audit", "data=folder", f"data.root={library}", "plant=0.05", *QUICK)
    run_verb(*run, f"run_dir={tmp_path}/table")
    told = capsys.readouterr().out
    for words in ("probably under the wrong artist", "stray", "artist3", "planted: 1 error;", "songs.csv"):
        assert words in told
    run_verb(*run, f"run_dir={tmp_path}/csv", "format=csv")
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert STRAYS.keys() <= {row["track_id"] for row in rows}
