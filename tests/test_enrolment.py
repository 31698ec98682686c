"""Artists who are enrolled, claims that are checked, and songs that nobody enrolled has made, through the commands."""

from __future__ import annotations

import csv
import io
import json
import multiprocessing
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import artistid
from artistid.inference import enrolment
from artistid.inference.collection import Collection
from artistid.learning.kept_verifier import load_verifier
from artistid.verify import REJECTED
from tests.corpus import make_corpus, make_song, write_audio
from tests.verbs import read_scores, run_verb, train

ARTISTS = 9  # of whom 3 train, 2 validate, 3 are enrolled, 1 is an impostor
SPLIT = ("split=artists", "split.validation=2", "split.enrolled=3", "split.impostors=1")


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("many") / "many", artists=ARTISTS, albums=3, songs=2, endings=("wav",))


@pytest.fixture(scope="module")
def run(music: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    settings = ("optimizer.lr=1e-3", "trainer.precision=32-true", "figures=true", "verification.draws=50")
    train(music, folder, *SPLIT, *settings)
    return folder


@pytest.fixture(scope="module")
def checkpoint(run: Path) -> Path:
    return run / "checkpoints" / "best.ckpt"


@pytest.fixture(scope="module")
def by_subset(run: Path) -> dict[str, set[str]]:
    """The artists of each subset."""
    found: dict[str, set[str]] = {}
    for row in csv.DictReader((run / "split.csv").open()):
        found.setdefault(row["subset"], set()).add(row["track_id"].split("/")[0])
    return found


@pytest.fixture(scope="module")
def enrolled(checkpoint: Path, music: Path, by_subset: dict[str, set[str]], tmp_path_factory: Any) -> Path:
    """The first album of each of the test's artists."""
    path = tmp_path_factory.mktemp("collections") / "artists.parquet"
    for artist in sorted(by_subset["enrol"]):
        enrol(path, checkpoint, f"audio={music / artist / 'album1'}", f"artist={artist}", "min_seconds=5")
    return path


def enrol(path: Path, checkpoint: Path, *overrides: str) -> None:
    run_verb("enrol", f"collection={path}", f"checkpoint={checkpoint}", *overrides)


def answers(capsys: pytest.CaptureFixture[str], verb: str, *overrides: str) -> list[dict]:
    """The answers of a command, whose exit code says whether all claims were accepted."""
    capsys.readouterr()
    code: Any = 0
    try:
        run_verb(verb, "format=json", *overrides)
    except SystemExit as ended:
        code = ended.code
    found: list[dict] = json.loads(capsys.readouterr().out)
    rejected = verb == "verify" and not all(each["accepted"] for each in found)
    assert code == (REJECTED if rejected else 0)
    return found


def fails(capsys: pytest.CaptureFixture[str], verb: str, *overrides: str) -> str:
    """What a command says that ends with an error, in a sentence."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        run_verb(verb, *overrides)
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said


class TestTraining:
    def test_the_scores_say_what_was_measured(self, run: Path, by_subset: dict[str, set[str]]) -> None:
        scores = read_scores(run)
        assert set(scores["artists"]) == by_subset["train"]
        told = scores["verification"]
        assert told["artists"] == {"trained": 3, "validation": 2, "enrolled": 3, "impostors": 1}
        assert told["songs"] == {"train": 6, "val_enrol": 4, "val_claims": 8, "enrol": 6, "claims": 18}
        assert set(told["systems"]) == {
            f"{scorer}{snorm}" for scorer in ("cosine", "standardised", "wccn", "plda") for snorm in ("", "+snorm")
        }
        assert told["chosen"] in told["systems"]
        validated = {name: system["val"]["min_cllr"] for name, system in told["systems"].items()}
        assert validated[told["chosen"]] == pytest.approx(min(validated.values()))
        for found in told["systems"][told["chosen"]]["test"].values():
            low, high = found["ci95"]
            assert low <= found["value"] <= high
        assert [row["songs"] for row in told["by_songs"]] == [1, None]
        assert [row["artists"] for row in told["by_artists"]] == [3]
        rows = list(csv.DictReader((run / "verification.csv").open()))
        eer = next(row for row in rows if (row["scorer"], row["measure"]) == (told["chosen"], "eer"))
        assert float(eer["test"]) == pytest.approx(told["systems"][told["chosen"]]["test"]["eer"]["value"])
        assert (run / "verification.png").stat().st_size > 10_000

    def test_nothing_of_the_test_was_fitted_to(self, checkpoint: Path, by_subset: dict[str, set[str]]) -> None:
        verifier = load_verifier(checkpoint)
        assert verifier is not None
        assert set(verifier.names) == by_subset["val_enrol"] == by_subset["val_claims"]

    def test_a_saved_folder_has_the_same(self, checkpoint: Path, tmp_path: Path) -> None:
        artistid.load(checkpoint).save_pretrained(tmp_path / "saved")
        one, other = (artistid.load(path).verifier for path in (checkpoint, tmp_path / "saved"))
        assert one
        assert other
        assert one.settings() == other.settings()
        assert all(np.array_equal(each, other.arrays()[name]) for name, each in one.arrays().items())

    def test_for_systems_without_vectors_it_is_refused(self, music: Path, capsys: pytest.CaptureFixture[str]) -> None:
        said = fails(capsys, "train", "data=folder", f"data.root={music}", "split=artists", "model=majority")
        assert "split=artists is for networks" in said


class TestEnrol:
    def test_the_collection_grows(self, enrolled: Path, by_subset: dict[str, set[str]]) -> None:
        collection = Collection.read(enrolled)
        assert enrolment.artists_of(collection) == dict.fromkeys(by_subset["enrol"], 2)
        assert set(collection.songs["album"]) == {"album1"}
        assert not [path for path in enrolled.parent.iterdir() if path.suffix in (".new", ".parts", ".part")]

    def test_folders_name_many_at_once(self, checkpoint: Path, music: Path, enrolled: Path, tmp_path: Path) -> None:
        enrol(tmp_path / "all.parquet", checkpoint, f"audio={music}", "min_seconds=5")
        collection = Collection.read(tmp_path / "all.parquet")
        assert enrolment.artists_of(collection) == {f"artist{number + 1}": 6 for number in range(ARTISTS)}
        before = Collection.read(enrolled)
        place = {sha1: row for row, sha1 in enumerate(collection.songs["sha1"])}
        rows = [place[sha1] for sha1 in before.songs["sha1"]]
        assert collection.vectors[rows] == pytest.approx(before.vectors, abs=1e-5)

    def test_more_renamed_and_removed(self, checkpoint: Path, music: Path, enrolled: Path, tmp_path: Path) -> None:
        path = Path(shutil.copy(enrolled, tmp_path))
        first, second, third = sorted(enrolment.artists_of(Collection.read(path)))
        enrol(path, checkpoint, f"audio={music / first / 'album2'}", f"artist={first}", "more=true")
        run_verb("enrol", f"collection={path}", f"rename={second}", "into=Sigur Rós")
        run_verb("enrol", f"collection={path}", f"remove={third}")
        collection = Collection.read(path)
        assert enrolment.artists_of(collection) == {first: 4, "Sigur Rós": 2}
        before = Collection.read(enrolled)
        kept = before.songs["artist"].isin([first, second]).to_numpy()
        assert np.array_equal(collection.vectors[:4], before.vectors[kept])
        assert np.array_equal(collection.clips_of(3).vectors, before.clips_of(np.flatnonzero(kept)[3]).vectors)

    @pytest.mark.parametrize("setting", ["remove", "rename"])
    def test_unknown_names(self, enrolled: Path, capsys: pytest.CaptureFixture[str], setting: str) -> None:
        said = fails(capsys, "enrol", f"collection={enrolled}", f"{setting}=ARTIST", "into=x")
        assert f"{setting}=ARTIST is not enrolled" in said
        assert "similar ones are artist" in said

    def test_bad_songs_enrol_nobody(
        self, checkpoint: Path, music: Path, enrolled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        before = enrolled.read_bytes()
        first = min(enrolment.artists_of(Collection.read(enrolled)))
        silence, short = tmp_path / "silence.wav", tmp_path / "short.wav"
        write_audio(silence, np.zeros(22050 * 8, np.float32))
        write_audio(short, make_song(40, np.random.default_rng(0), 5))
        album = music / first / "album2"
        for audio, artist, expected in (
            (album, first, "enrolled already"),
            (short, "New", "min_seconds=30"),
            (silence, "New", "silent"),
            (music / first / "album1" / "song1.wav", "New", "this recording is enrolled already"),
            (short, "", "have no artist"),
        ):
            given = [f"artist={artist}"] if artist else []
            said = fails(
                capsys, "enrol", f"collection={enrolled}", f"checkpoint={checkpoint}", f"audio={audio}", *given
            )
            assert expected in said
            assert enrolled.read_bytes() == before

    def test_another_networks_collection(
        self, trained: Path, music: Path, enrolled: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        other = f"checkpoint={trained / 'checkpoints' / 'best.ckpt'}"
        audio = f"audio={music / 'artist1' / 'album2'}"
        assert "another network" in fails(capsys, "enrol", f"collection={enrolled}", other, audio, "artist=x")
        assert "another network" in fails(capsys, "predict", f"collection={enrolled}", other, audio)

    def test_the_only_artist_stays(self, checkpoint: Path, music: Path, tmp_path: Path, capsys: Any) -> None:
        path = tmp_path / "one.parquet"
        enrol(path, checkpoint, f"audio={music / 'artist1' / 'album1'}", "artist=One", "min_seconds=5")
        assert "would leave nothing" in fails(capsys, "enrol", f"collection={path}", "remove=One")
        assert pq.read_table(path).num_rows == 2

    @pytest.mark.parametrize("given", [(), ("audio=x", "remove=y")])
    def test_one_thing_at_a_time(self, given: tuple[str, ...], tmp_path: Path, capsys: Any) -> None:
        assert "expected one of" in fails(capsys, "enrol", f"collection={tmp_path / 'c'}", *given)


class TestVerify:
    @pytest.fixture
    def asked(self, checkpoint: Path, enrolled: Path) -> tuple[str, str]:
        return f"checkpoint={checkpoint}", f"collection={enrolled}"

    def test_claims_of_a_list(
        self, asked: tuple[str, str], music: Path, by_subset: dict[str, set[str]], tmp_path: Path, capsys: Any
    ) -> None:
        names = sorted(by_subset["enrol"])
        songs = [music / name / "album3" / "song1.wav" for name in names]
        table = tmp_path / "claims.csv"
        rows = "".join(f"{song},{name}\n" for song in songs for name in names)
        table.write_text(f"path,artist\n{rows}", encoding="utf-8")
        found = answers(capsys, "verify", *asked, f"claims={table}", "false_alarms=0.2")
        assert [(each["name"], each["artist"]) for each in found] == [(str(a), b) for a in songs for b in names]
        ratio = np.array([each["llr"] for each in found]).reshape(3, 3)
        assert np.trace(ratio) > (ratio.sum() - np.trace(ratio)) / 2, "those who made them are the likelier ones"
        for each in found:
            assert each["accepted"] == (each["llr"] > each["threshold"])
            assert (each["songs"], each["false_alarms"], each["strangers"]) == (2, 0.2, 12)
            assert each["segments"][0]["start_s"] == 0
            assert each["segments"][-1]["end_s"] == pytest.approx(4)
            signs = [segment["llr"] > 0 for segment in each["segments"]]
            assert all(one != other for one, other in pairwise(signs))

    def test_the_threshold_is_the_strangers(
        self, asked: tuple[str, str], checkpoint: Path, enrolled: Path, music: Path, capsys: Any
    ) -> None:
        """Worked out again from the checkpoint and the collection."""
        verifier, collection = load_verifier(checkpoint), Collection.read(enrolled)
        assert verifier is not None
        artist = min(enrolment.artists_of(collection))
        own = collection.vectors[collection.songs["artist"] == artist]
        songs = type(verifier.strangers)(own, np.zeros(2, np.int64), np.zeros(2, np.int64))
        ratios = verifier.ratios(verifier.scorer.enrol(songs), verifier.strangers.vector)[:, 0]
        song = music / artist / "album2" / "song1.wav"
        [found] = answers(capsys, "verify", *asked, f"audio={song}", f"artist={artist}", "false_alarms=0.25")
        assert (ratios > found["threshold"] + 1e-6).sum() == 3
        assert found["accepted"] == (found["llr"] > found["threshold"])

    def test_a_copy_proves_nothing(
        self, asked: tuple[str, str], enrolled: Path, music: Path, tmp_path: Path, capsys: Any
    ) -> None:
        """The same samples, and another encoding of them, are left out of what the artist is known by."""
        artist = min(enrolment.artists_of(Collection.read(enrolled)))
        song = music / artist / "album1" / "song1.wav"
        samples = make_song(int(artist.removeprefix("artist")), np.random.default_rng([0, int(artist[6:]), 1, 1]), 4)
        write_audio(tmp_path / "copy.ogg", samples)
        for each in (song, tmp_path / "copy.ogg"):
            [found] = answers(capsys, "verify", *asked, f"audio={each}", f"artist={artist}")
            assert found["songs"] == 1
            assert len(found["left_out"]) == 1
            assert found["left_out"][0].endswith("song1.wav")

    def test_formats(self, asked: tuple[str, str], enrolled: Path, music: Path, capsys: Any) -> None:
        artist = min(enrolment.artists_of(Collection.read(enrolled)))
        claim = (f"audio={music / artist / 'album2' / 'song1.wav'}", f"artist={artist}", "false_alarms=0.9")
        capsys.readouterr()
        run_verb("verify", *asked, *claim)
        said = capsys.readouterr().out
        assert "accepted" in said
        assert "90 % of strangers" in said
        run_verb("verify", *asked, *claim, "format=csv")
        [row] = csv.DictReader(io.StringIO(capsys.readouterr().out))
        assert (row["artist"], row["accepted"]) == (artist, "True")

    def test_unknown_names_and_what_cannot_be_read(
        self, asked: tuple[str, str], enrolled: Path, music: Path, tmp_path: Path, capsys: Any
    ) -> None:
        song = music / "artist1" / "album1" / "song1.wav"
        said = fails(capsys, "verify", *asked, f"audio={song}", "artist=Nobody")
        assert "artist=Nobody is not enrolled" in said
        artist = min(enrolment.artists_of(Collection.read(enrolled)))
        table = tmp_path / "claims.csv"
        table.write_text(f"path,artist\n{song},Nobody\nlacking.wav,{artist}\n{song},{artist}\n", encoding="utf-8")
        said = fails(capsys, "verify", *asked, f"claims={table}")
        assert "artist=Nobody is not enrolled" in said
        assert "lacking.wav" in said
        assert "2 of 3 claims could not be answered" in said

    def test_a_checkpoint_of_another_split_cannot(
        self, trained: Path, music: Path, tmp_path: Path, capsys: Any
    ) -> None:
        other = trained / "checkpoints" / "best.ckpt"
        album = music / "artist1" / "album1"
        enrol(tmp_path / "c.parquet", other, f"audio={album}", "artist=x", "min_seconds=1")
        asked = (f"checkpoint={other}", f"collection={tmp_path / 'c.parquet'}", f"audio={album}")
        assert "split=artists" in fails(capsys, "verify", *asked, "artist=x")


class TestPredict:
    def test_enrolled_artists_or_nobody(
        self, checkpoint: Path, enrolled: Path, music: Path, by_subset: dict[str, set[str]], capsys: Any
    ) -> None:
        asked = (f"checkpoint={checkpoint}", f"collection={enrolled}", f"audio={music}")
        strict, loose = (answers(capsys, "predict", *asked, f"false_alarms={rate}", "top=2") for rate in (0.05, 0.9))
        assert len(strict) == ARTISTS * 6
        for one, other in zip(strict, loose, strict=True):
            assert one["llr"] == other["llr"] == one["top"][0]["llr"] >= one["top"][1]["llr"]
            assert one["threshold"] > other["threshold"]
            assert one["artist"] == (one["top"][0]["artist"] if one["llr"] > one["threshold"] else None)
            assert one["enrolled"] == 3
            assert {each["artist"] for each in one["top"]} <= by_subset["enrol"]
        named = [sum(each["artist"] is not None for each in given) for given in (strict, loose)]
        assert named[0] < named[1]
        strangers = [each for each in loose if Path(each["name"]).parts[-3] in by_subset["val_enrol"]]
        assert sum(each["artist"] is not None for each in strangers) == round(0.9 * 12 - 0.5), "as is stated"

    def test_in_words(self, checkpoint: Path, enrolled: Path, music: Path, by_subset: Any, capsys: Any) -> None:
        [impostor] = by_subset["claims"] - by_subset["enrol"]
        song = music / impostor / "album1" / "song1.wav"
        capsys.readouterr()
        run_verb("predict", f"checkpoint={checkpoint}", f"collection={enrolled}", f"audio={song}", "false_alarms=0")
        said = capsys.readouterr().out
        assert "0 % of strangers" in said
        assert "of 3 enrolled artists" in said or "nobody I know" in said


def _enrol_one(path: Path, checkpoint: Path, album: Path, name: str) -> None:
    enrol(path, checkpoint, f"audio={album}", f"artist={name}", "min_seconds=1")


@pytest.mark.slow
def test_processes_that_enrol_at_once_wait_for_one_another(checkpoint: Path, music: Path, tmp_path: Path) -> None:
    path, context = tmp_path / "c.parquet", multiprocessing.get_context("spawn")
    folders = [music / f"artist{number}" / "album1" for number in range(1, 5)]
    processes = [
        context.Process(target=_enrol_one, args=(path, checkpoint, folder, folder.parent.name)) for folder in folders
    ]
    for each in processes:
        each.start()
    for each in processes:
        each.join()
    assert enrolment.artists_of(Collection.read(path)) == {folder.parent.name: 2 for folder in folders}


@pytest.mark.slow
@pytest.mark.parametrize("after_s", [4.0, 6.0, 8.0])
def test_a_kill_loses_nothing(checkpoint: Path, music: Path, enrolled: Path, tmp_path: Path, after_s: float) -> None:
    path = Path(shutil.copy(enrolled, tmp_path))
    before, context = enrolment.artists_of(Collection.read(path)), multiprocessing.get_context("spawn")
    process = context.Process(target=_enrol_one, args=(path, checkpoint, music / "artist1", "New"))
    process.start()
    process.join(after_s)
    process.kill()
    process.join()
    assert enrolment.artists_of(Collection.read(path)) in (before, {**before, "New": 6})
    if "New" not in enrolment.artists_of(Collection.read(path)):
        _enrol_one(path, checkpoint, music / "artist1", "New")
    assert enrolment.artists_of(Collection.read(path)) == {**before, "New": 6}
