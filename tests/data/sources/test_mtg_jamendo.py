from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from artistid.data.benchmarks.lists import SPLIT_SEEDS, Benchmark
from artistid.data.catalog import Catalog
from artistid.data.sources.mtg_jamendo import MtgJamendo, read_table
from artistid.data.splits import AlbumSplit, Split
from artistid.errors import ArtistidError
from tests.corpus import make_song, write_audio
from tests.data.jamendo import HEADER, SHARED_TABLE, row, table, tree
from tests.verbs import QUICK, run_verb

ROWS = [
    row(214, 14, 31, 124.6, ("genre---punkrock",)),
    row(1376256, 490499, 161779, 166.0, ("genre---easylistening", "mood/theme---commercial", "instrument---piano")),
    row(1376356, 490499, 161779, 90.0, ()),
]
IDS = [entry.track_id for entry in ROWS]


def catalog(root: Path, **settings: object) -> Catalog:
    return MtgJamendo(name="mtg_jamendo", root=root, **settings).catalog()  # type: ignore[arg-type]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "autotagging.tsv").write_text(table(ROWS), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("folder", "ending"), [(".", ".mp3"), ("audio", ".mp3"), (".", ".low.mp3"), ("audio-low", ".low.mp3")]
)
def test_every_layout(root: Path, folder: str, ending: str, caplog: pytest.LogCaptureFixture) -> None:
    tree(root / folder, IDS, ending)
    tracks = catalog(root)
    assert [(track.track_id, track.artist, track.album) for track in tracks] == [entry[:3] for entry in ROWS]
    assert tracks[0].path == root / folder / "14" / f"214{ending}"
    assert caplog.text == ""


def test_two_kinds_of_audio_need_a_choice(root: Path) -> None:
    tree(root / "audio", IDS)
    tree(root / "audio-low", IDS[:2], ".low.mp3")
    with pytest.raises(ArtistidError, match=r"3 files of audio and 2 files of audio-low: choose with data\.audio="):
        catalog(root)
    assert len(catalog(root, audio="audio")) == 3
    assert [track.path.name for track in catalog(root, audio="audio-low")] == ["214.low.mp3", "1376256.low.mp3"]
    with pytest.raises(ArtistidError, match=r"data\.audio=flac: expected one of null, audio, audio-low"):
        catalog(root, audio="flac")


def test_one_track_in_two_folders(root: Path) -> None:
    tree(root, IDS)
    tree(root / "audio", IDS[:1])
    with pytest.raises(ArtistidError, match="14/214 appears twice"):
        catalog(root)


def test_what_is_absent_or_not_listed_is_counted(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    tree(root, [IDS[1], "track_0000999"])
    (root / "56" / "notes.mp3").touch()
    with caplog.at_level("DEBUG"):
        assert [track.track_id for track in catalog(root)] == [IDS[1]]
    assert "not on disk: 2 of 3 tracks of autotagging.tsv (nothing in the folders 14): " in caplog.text
    assert f"not on disk: {IDS[0]}, {IDS[2]}" in caplog.text
    assert "left out 1 file that autotagging.tsv does not name" in caplog.text
    assert "not named: 99/999" in caplog.text


def test_a_long_list_of_absent_tracks_is_shown_in_full_on_request(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [row(number, 1, 1) for number in range(100)]
    (root / "autotagging.tsv").write_text(table(rows), encoding="utf-8")
    tree(root, [rows[0].track_id])
    with caplog.at_level("DEBUG"):
        catalog(root)
    warning, everything = (record.getMessage() for record in caplog.records)
    assert warning.startswith("not on disk: 99 of 100 tracks")
    assert warning.endswith("track_0000020, … (hydra.verbose=artistid lists all)")
    assert everything.count("track_") == 99


@pytest.mark.parametrize("form", ["crlf", "mark", "gz", "elsewhere"])
def test_forms_of_the_table(root: Path, form: str) -> None:
    tree(root, IDS)
    path = root / "autotagging.tsv"
    text = path.read_bytes()
    path.unlink()
    elsewhere = root / "elsewhere" / "table.tsv.gz"
    elsewhere.parent.mkdir()
    if form == "crlf":
        path.write_bytes(text.replace(b"\n", b"\r\n"))
    elif form == "mark":
        path.write_bytes(b"\xef\xbb\xbf" + text)
    else:
        elsewhere.write_bytes(gzip.compress(text))
    settings = {"gz": {"table": "elsewhere/table.tsv.gz"}, "elsewhere": {"table": elsewhere}}
    assert [track.track_id for track in catalog(root, **settings.get(form, {}))] == IDS


def test_tags_in_a_varying_number_of_columns(root: Path) -> None:
    assert read_table(root / "autotagging.tsv") == ROWS


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("track_0000216\tartist_000014", "line 5: expected 5 cells or more, found 2"),
        (
            "track_0000214\tartist_000014\talbum_000031\t14/214.mp3\t9.5",
            "line 5: the track track_0000214 appears twice",
        ),
        ("216\tartist_000014\talbum_000031\t16/216.mp3\t9.5", r"line 5: TRACK_ID is '216', expected the form"),
        ("track_0000216\tartist_000014\t-1\t16/216.mp3\t9.5", r"line 5: ALBUM_ID is '-1'"),
        ("track_0000216\tartist_000014\talbum_000031\t16/216.mp3\tlong", r"line 5: DURATION is 'long'"),
        ("track_0000216\tartist_000014\talbum_000031\t../216.mp3\t9.5", r"line 5: PATH is '\.\./216\.mp3'"),
        ("track_0000216\tartist_000014\talbum_000031\t/data/16/216.mp3\t9.5", "line 5: PATH is '/data/16/216.mp3'"),
        ("track_0000216\tartist_000014\talbum_000031\t16\\216.mp3\t9.5", "line 5: PATH is "),
        ("track_0000216\tartist_000014\talbum_000031\t14/214.mp3\t9.5", "PATH is 14/214.mp3, expected 16/216.mp3"),
    ],
)
def test_a_line_of_another_form(root: Path, line: str, message: str) -> None:
    tree(root, IDS)
    with (root / "autotagging.tsv").open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    with pytest.raises(ArtistidError, match=message):
        catalog(root)


def test_other_tables_and_none(root: Path) -> None:
    tree(root, IDS)
    (root / "tracks.csv").write_text("track_id,subset\n", encoding="utf-8")
    with pytest.raises(ArtistidError, match=r"tracks.csv is not a table of MTG-Jamendo: expected the columns TRACK_ID"):
        catalog(root, table="tracks.csv")
    with pytest.raises(ArtistidError, match=r"none.tsv is not a file; expected a table such as autotagging.tsv"):
        catalog(root, table="none.tsv")
    (root / "autotagging.tsv").write_text(HEADER, encoding="utf-8")
    with pytest.raises(ArtistidError, match=r"holds no tracks: found 14/, 56/[\s\S]*how to get it: https://github"):
        catalog(root)


def test_a_root_without_audio_shows_the_card(root: Path) -> None:
    with pytest.raises(ArtistidError, match=r"holds no NN/<track>.mp3 or NN/<track>.low.mp3[\s\S]*share no artist"):
        catalog(root)


def test_titles_from_the_names_beside_the_table(root: Path) -> None:
    tree(root, IDS)
    lines = [
        "TRACK_ID\tARTIST_ID\tALBUM_ID\tTRACK_NAME\tARTIST_NAME\tALBUM_NAME\tRELEASEDATE\tURL",
        f'{IDS[0]}\tartist_000014\talbum_000031\t"Intro\tChiante\tNo Deal\t2004-12-28\thttp://www.jamendo.com/track/214',
        f"{IDS[1]}\tartist_490499\talbum_161779\tÉté\t\tX\tY\t2016-01-01\thttp://www.jamendo.com/track/1376256",
    ]
    (root / "raw.meta.tsv").write_text("\n".join(lines), encoding="utf-8")
    assert [track.title for track in catalog(root)] == ['Chiante – No Deal – "Intro', "X – Y – Été", IDS[2]]
    (root / "raw.meta.tsv").write_text("a\tb\n", encoding="utf-8")
    with pytest.raises(ArtistidError, match=r"raw.meta.tsv, line 1: expected 8 cells, found 2"):
        catalog(root)


@pytest.mark.parametrize(("name", "artists"), [("jamendo20", 20), ("jamendo200", 200)])
def test_a_benchmark_splits_as_published(
    tmp_path: Path, name: str, artists: int, caplog: pytest.LogCaptureFixture
) -> None:
    benchmark = Benchmark.load(name)
    tree(tmp_path, (entry.track_id for entry in benchmark.entries), ".low.mp3")
    tracks = catalog(tmp_path, benchmark=name)
    assert {len(albums) for albums in tracks.albums.values()} == {6}
    assert len(tracks.artists) == artists
    for seed in SPLIT_SEEDS:
        split = AlbumSplit().draw(tracks, seed)
        split.check(tracks)
        assert split == benchmark.split(seed)
    assert caplog.text == ""


def test_a_part_of_a_benchmark_is_said_to_be_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    entries = Benchmark.load("jamendo20").entries
    tree(tmp_path, [entry.track_id for entry in entries[1:]])
    assert len(catalog(tmp_path, benchmark="jamendo20")) == len(entries) - 1
    assert f"not on disk: 1 of {len(entries)} tracks of jamendo20: {entries[0].track_id}" in caplog.text
    assert "can't be compared" in caplog.text
    with pytest.raises(ArtistidError, match=r"data\.benchmark=jamendo2: expected one of jamendo20, jamendo200"):
        catalog(tmp_path, benchmark="jamendo2")


def test_the_command_prepares_a_benchmark(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    track_ids = [entry.track_id for entry in Benchmark.load("jamendo20").entries[:2]]
    tree(tmp_path / "audio", track_ids)
    for number, path in enumerate(sorted((tmp_path / "audio").rglob("*.mp3"))):
        write_audio(path, make_song(1, np.random.default_rng(number), 2.0))
    settings = (f"data.root={tmp_path}", "workers=0", f"cache_dir={tmp_path / 'cache'}")
    run_verb("prepare", "data=mtg_jamendo", "data.benchmark=jamendo20", *settings)
    assert "2 songs by 1 artist" in capsys.readouterr().out
    assert (tmp_path / "cache" / "jamendo20").is_dir()


@pytest.mark.slow
def test_a_run_on_a_benchmark_has_the_published_split(tmp_path: Path) -> None:
    benchmark = Benchmark.load("jamendo20")
    tree(tmp_path, (entry.track_id for entry in benchmark.entries))
    for path in tmp_path.rglob("*.mp3"):
        write_audio(path, make_song(1, np.random.default_rng(int(path.stem)), 1.2))
    data = ("data=mtg_jamendo", "data.benchmark=jamendo20", f"data.root={tmp_path}")
    settings = ("model=majority", "split=album", "seed=21", f"run_dir={tmp_path / 'run'}")
    run_verb("train", *data, *settings, f"cache_dir={tmp_path / 'cache'}", *QUICK)
    assert Split.from_csv(tmp_path / "run" / "split.csv") == benchmark.split(21)


@pytest.mark.slow
def test_55000_tracks_open_in_little_memory(tmp_path: Path) -> None:
    """In a process of its own, whose memory is counted from the start; ``-s`` shows the seconds."""
    rows = [row(25 * number, number // 15, number // 5, 60 + number % 3000 / 10) for number in range(55_000)]
    (tmp_path / "autotagging.tsv").write_text(table(rows), encoding="utf-8")
    tree(tmp_path, (entry.track_id for entry in rows))
    script = (
        "import json, sys, time; from artistid.data.sources.mtg_jamendo import MtgJamendo;"
        "start = time.process_time(); tracks = MtgJamendo(name='m', root=sys.argv[1]).catalog();"
        "seconds = time.process_time() - start; "
        "status = dict(line.split(':') for line in open('/proc/self/status'));"
        "print(json.dumps([len(tracks), seconds, int(status['VmHWM'].split()[0])]))"
    )
    run = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True)
    n_tracks, seconds, kilobytes = json.loads(run.stdout)
    assert n_tracks == 55_000
    print(f"55,000 tracks: {seconds:.1f} s of one core, {kilobytes / 1000:.0f} MB at most")
    assert kilobytes < 1_000_000


@pytest.mark.skipif(not SHARED_TABLE.is_file(), reason="the table of MTG-Jamendo is not here")
def test_the_real_table() -> None:
    rows = read_table(SHARED_TABLE)
    assert len(rows) == 55_525
    assert len({entry.artist for entry in rows}) == 3_565
    assert len({entry.album for entry in rows}) == 11_256
    assert rows[0] == row(214, 14, 31, 124.6, ("genre---punkrock",))
