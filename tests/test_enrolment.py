"""Artists who are enrolled, claims that are checked, and songs that nobody enrolled has made, through the commands."""

from __future__ import annotations

import csv
import json
import multiprocessing
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import artistid
from artistid.errors import ArtistidError
from artistid.inference import enrolment
from artistid.inference.collection import Collection
from artistid.inference.roster import Roster
from artistid.learning.kept_verifier import VERIFIER_KEY, load_verifier
from artistid.models.verification import Songs
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
    """The first album of each of the test's artists, who are named by their folders."""
    path = tmp_path_factory.mktemp("collections") / "artists.parquet"
    for artist in sorted(by_subset["enrol"]):
        shutil.copytree(music / artist / "album1", path.parent / "albums" / artist / "album1")
    enrol(path, checkpoint, f"audio={path.parent / 'albums'}", "min_seconds=5")
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
        assert told["songs"] == {"train": 6, "val": 6, "val_enrol": 4, "val_claims": 8, "enrol": 6, "claims": 18}
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

    @pytest.mark.parametrize(
        ("part", "name", "value"),
        [
            ("arrays", "scorer.projection", torch.zeros(3, 3)),
            ("arrays", "scorer.centre", torch.tensor([float("nan")])),
            ("arrays", "scorer.other", torch.zeros(1)),
            ("arrays", "strangers.vector", "text"),
            ("settings", "calibration", ["a", "b"]),
            ("settings", "names", {"_target_": "os.system"}),
            ("settings", "snorm_share", [1]),
        ],
    )
    def test_a_damaged_one_is_refused(
        self, checkpoint: Path, tmp_path: Path, part: str, name: str, value: object
    ) -> None:
        kept = torch.load(checkpoint, weights_only=True)
        kept[VERIFIER_KEY][part][name] = value
        torch.save(kept, tmp_path / "damaged.ckpt")
        with pytest.raises(ArtistidError, match=r"damaged\.ckpt is (damaged|not safe)"):
            load_verifier(tmp_path / "damaged.ckpt")

    def test_for_systems_without_vectors_it_is_refused(self, music: Path, capsys: pytest.CaptureFixture[str]) -> None:
        said = fails(capsys, "train", "data=folder", f"data.root={music}", "split=artists", "model=majority")
        assert "split=artists is for networks" in said


class TestEvaluate:
    """``evaluate subset=unseen``."""

    @staticmethod
    def evaluate(checkpoint: Path, folder: Path, *overrides: str) -> dict:
        settings = ("trainer.enable_progress_bar=false", "workers=0", "draws=50", "subset=unseen")
        run_verb("evaluate", f"checkpoint={checkpoint}", f"run_dir={folder}", *settings, *overrides)
        return read_scores(folder)

    def test_own_artists_as_at_the_end_of_training(self, run: Path, checkpoint: Path, tmp_path: Path) -> None:
        before = read_scores(run)["verification"]
        told = self.evaluate(checkpoint, tmp_path / "again")["verification"]
        assert set(told["systems"]) == {before["chosen"], "cosine"}
        for name, system in told["systems"].items():
            for measure, found in system["test"].items():
                assert found["value"] == pytest.approx(before["systems"][name]["test"][measure]["value"], abs=1e-9)
        for part in ("chosen", "over_cosine", "stated", "by_songs", "by_artists"):
            assert told[part] == before[part], part

    def test_artists_of_other_music(self, checkpoint: Path, tmp_path: Path, capsys: Any) -> None:
        """Those of two albums are enrolled by one, but for a share; those of one album are impostors."""
        music = make_corpus(tmp_path / "others", artists=5, albums=2, songs=2, endings=("wav",))
        for artist in music.iterdir():
            artist.rename(music / f"other {artist.name}")
        shutil.rmtree(music / "other artist1" / "album2")
        scores = self.evaluate(checkpoint, tmp_path / "run", "data=folder", f"data.root={music}", "logger=csv")
        told = scores["verification"]
        assert told["artists"] == {"enrolled": 3, "impostors": 2}
        assert told["songs"] == {"enrol": 6, "claims": 6 + 4 + 2}
        split = {row["track_id"]: row["subset"] for row in csv.DictReader((tmp_path / "run" / "split.csv").open())}
        enrolled = {tuple(Path(name).parts[:2]) for name, subset in split.items() if subset == "enrol"}
        tried = {tuple(Path(name).parts[:2]) for name, subset in split.items() if subset == "claims"}
        assert len(enrolled) == 3
        assert enrolled.isdisjoint(tried)
        assert ("other artist1", "album1") in tried
        assert scores["seen_in_training"], "the same sounds under other names"
        assert "the network was trained on" in capsys.readouterr().out
        logged = pd.read_csv(next((tmp_path / "run").rglob("metrics.csv")))
        assert logged[f"{told['chosen']}/eer"].iloc[-1] == pytest.approx(
            told["systems"][told["chosen"]]["test"]["eer"]["value"]
        )
        again = self.evaluate(checkpoint, tmp_path / "again", "data=folder", f"data.root={music}", "seed=1")
        assert again["verification"]["artists"] == told["artists"]
        assert (tmp_path / "again" / "split.csv").read_text() != (tmp_path / "run" / "split.csv").read_text()

    def test_artists_who_were_trained_on(self, checkpoint: Path, music: Path, capsys: Any) -> None:
        said = fails(
            capsys, "evaluate", f"checkpoint={checkpoint}", "subset=unseen", "data=folder", f"data.root={music}"
        )
        assert "the network was trained on 5 of 9 artists" in said
        assert "data.artists=" in said

    @pytest.mark.parametrize(
        ("overrides", "expected"),
        [
            (("unseen.impostors=3",), "unseen.impostors=3 leaves 1 of these to enrol"),
            (("unseen.impostors=0",), "needs 2 artists or more"),
            (("unseen.impostors=1.5",), "unseen.impostors=1.5: expected a whole number"),
        ],
    )
    def test_too_few_of_either(
        self, checkpoint: Path, music: Path, by_subset: dict, overrides: tuple[str, ...], expected: str, capsys: Any
    ) -> None:
        others = sorted(by_subset["enrol"] | by_subset["claims"])
        data = (f"data.root={music}", f"data.artists=[{','.join(others)}]", *overrides)
        assert expected in fails(capsys, "evaluate", f"checkpoint={checkpoint}", "subset=unseen", "data=folder", *data)

    def test_without_a_verifier(self, trained: Path, capsys: Any) -> None:
        said = fails(capsys, "evaluate", f"checkpoint={trained / 'checkpoints' / 'best.ckpt'}", "subset=unseen")
        assert "expected that of a run with split=artists" in said


class TestEnrol:
    def test_the_collection_grows(self, enrolled: Path, by_subset: dict[str, set[str]]) -> None:
        collection = Collection.read(enrolled)
        assert enrolment.artists_of(collection) == dict.fromkeys(by_subset["enrol"], 2)
        assert set(collection.songs["album"]) == {"album1"}
        assert not [path for path in enrolled.parent.iterdir() if path.suffix in (".new", ".parts", ".part")]

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
        there = music / first / "album1" / "song1.wav"
        asked = (f"collection={enrolled}", f"checkpoint={checkpoint}")
        said = fails(capsys, "enrol", *asked, f"audio=[{silence},{there},{short}]", "artist=New")
        for expected in ("silent", "this recording is enrolled already", "5 s of audio in 1 song", "min_seconds=30"):
            assert expected in said
        said = fails(capsys, "enrol", *asked, f"audio={music / first / 'album2'}", f"artist={first}")
        assert "enrolled already, by 2 songs" in said
        assert "have no artist" in fails(capsys, "enrol", *asked, f"audio={short}")
        assert enrolled.read_bytes() == before
        one = self.of_one(enrolled, tmp_path)
        assert "would leave nothing" in fails(capsys, "enrol", f"collection={one}", "remove=x")

    @staticmethod
    def of_one(enrolled: Path, tmp_path: Path) -> Path:
        """A collection of one artist, x."""
        path = Path(shutil.copy(enrolled, tmp_path / "one.parquet"))
        table = pq.read_table(path)
        place = table.column_names.index("artist")
        pq.write_table(table.set_column(place, "artist", pa.array(["x"] * len(table))), path)
        return path

    def test_another_networks_collection(
        self, trained: Path, music: Path, enrolled: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        asked = (f"collection={enrolled}", f"checkpoint={trained / 'checkpoints' / 'best.ckpt'}")
        audio = f"audio={music / 'artist1' / 'album2'}"
        assert "another network" in fails(capsys, "enrol", *asked, audio, "artist=x")
        assert "split=artists" in fails(capsys, "predict", *asked, audio), "which scores songs against enrolled artists"

    @pytest.mark.parametrize("given", [(), ("audio=x", "remove=y")])
    def test_one_thing_at_a_time(self, given: tuple[str, ...], tmp_path: Path, capsys: Any) -> None:
        assert "expected one of" in fails(capsys, "enrol", f"collection={tmp_path / 'c'}", *given)


class TestVerify:
    @pytest.fixture
    def asked(self, checkpoint: Path, enrolled: Path) -> tuple[str, str]:
        return f"checkpoint={checkpoint}", f"collection={enrolled}"

    def test_claims_of_a_list(
        self, asked: tuple[str, str], enrolled: Path, music: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        names = sorted(enrolment.artists_of(Collection.read(enrolled)))
        songs = [music / name / "album3" / "song1.wav" for name in names]
        table = tmp_path / "claims.csv"
        rows = "".join(f"{song},{name}\n" for song in songs for name in names)
        table.write_text(f"path,artist\n{rows}", encoding="utf-8")
        found = answers(capsys, "verify", *asked, f"claims={table}", "false_alarms=0.25")
        assert [(each["name"], each["artist"]) for each in found] == [(str(a), b) for a in songs for b in names]
        ratio = np.array([each["llr"] for each in found]).reshape(3, 3)
        assert np.trace(ratio) > (ratio.sum() - np.trace(ratio)) / 2, "those who made them are the likelier ones"
        strangers = self.strangers(asked, names)
        for each in found:
            assert each["accepted"] == (each["llr"] > each["threshold"])
            assert (each["songs"], each["false_alarms"], each["strangers"]) == (2, 0.25, 12)
            assert (strangers[each["artist"]] > each["threshold"] + 1e-6).sum() == 3, "a quarter of twelve"
            assert each["segments"][0]["start_s"] == 0
            assert 3 < each["segments"][-1]["end_s"] <= 4
            signs = [segment["llr"] > 0 for segment in each["segments"]]
            assert all(one != other for one, other in pairwise(signs))

    @staticmethod
    def strangers(asked: tuple[str, str], names: list[str]) -> dict[str, np.ndarray]:
        """The strangers' ratios, worked out again from the checkpoint and the collection."""
        verifier, collection = load_verifier(asked[0].removeprefix("checkpoint=")), Collection.read(asked[1][11:])
        assert verifier is not None
        found = {}
        for name in names:
            own = collection.vectors[collection.songs["artist"] == name]
            enrolled = verifier.scorer.enrol(Songs(own, np.zeros(2, np.int64), np.zeros(2, np.int64)))
            found[name] = verifier.ratios(enrolled, verifier.strangers.vector)[:, 0]
        return found

    def test_a_copy_proves_nothing(
        self, asked: tuple[str, str], enrolled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Other encodings of an enrolled song are left out of what the artist is known by."""
        path, samples = Path(shutil.copy(enrolled, tmp_path)), make_song(77, np.random.default_rng(0), 12)
        song, other, copy = (tmp_path / name for name in ("song.wav", "other.wav", "copy.mp3"))
        for file in (song, copy):
            write_audio(file, samples)
        write_audio(other, make_song(77, np.random.default_rng(1), 20))
        enrol(path, Path(asked[0][11:]), f"audio=[{song},{other}]", "artist=New")
        found = answers(capsys, "verify", asked[0], f"collection={path}", f"audio=[{song},{copy}]", "artist=New")
        for each in found:
            assert each["songs"] == 1
            assert each["left_out"] == [str(song)]
            assert any("same recording" in warning for warning in each["warnings"])

    def test_what_cannot_be_answered(
        self, asked: tuple[str, str], enrolled: Path, music: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        artist = min(enrolment.artists_of(Collection.read(enrolled)))
        song = music / artist / "album2" / "song1.wav"
        assert "artist=Nobody is not enrolled" in fails(capsys, "verify", *asked, f"audio={song}", "artist=Nobody")
        table = tmp_path / "claims.csv"
        table.write_text(f"path,artist\n{song},Nobody\nlacking.wav,{artist}\n{song},{artist}\n", encoding="utf-8")
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            run_verb("verify", *asked, f"claims={table}", "false_alarms=0.9")
        assert ended.value.code == 1
        said = capsys.readouterr()
        assert "accepted" in said.out
        assert "90 % of strangers" in said.out
        assert "artist=Nobody is not enrolled" in said.err
        assert "lacking.wav" in said.err
        assert "2 of 3 claims could not be answered" in said.err


class TestPredict:
    def test_enrolled_artists_or_nobody(
        self, checkpoint: Path, enrolled: Path, music: Path, by_subset: dict[str, set[str]]
    ) -> None:
        identifier, collection = artistid.load(checkpoint), Collection.read(enrolled)
        rosters = [Roster(collection, identifier, rate) for rate in (0.05, 0.5)]
        songs = [path for name in by_subset["val_enrol"] for path in sorted((music / name).rglob("*.wav"))]
        songs += [music / name / "album2" / "song1.wav" for name in sorted(by_subset["enrol"])]
        heard = [rosters[0].hear(identifier.read(path)) for path in songs]
        strict, loose = ([roster.recognise(each, top=2) for each in heard] for roster in rosters)
        for one, other in zip(strict, loose, strict=True):
            assert one.llr == other.llr == one.top[0].llr >= one.top[1].llr
            assert one.threshold > other.threshold
            assert one.artist == (one.top[0].artist if one.llr > one.threshold else None)
            assert one.enrolled == 3
            assert {each.artist for each in one.top} <= by_subset["enrol"]
        named = sum(each.artist is not None for each in loose[:12])
        assert named == 6, "of twelve strangers half, as is stated"

    def test_in_words(
        self, checkpoint: Path, enrolled: Path, music: Path, by_subset: dict[str, set[str]], capsys: Any
    ) -> None:
        [impostor] = by_subset["claims"] - by_subset["enrol"]
        album = music / impostor / "album1"
        capsys.readouterr()
        run_verb("predict", f"checkpoint={checkpoint}", f"collection={enrolled}", f"audio={album}", "false_alarms=0")
        said = capsys.readouterr().out
        assert "0 % of strangers" in said
        assert "3 enrolled artists" in said


@pytest.mark.slow
def test_the_report_shows_what_was_measured(run: Path, tmp_path: Path) -> None:
    run_verb("report", f"runs={run}", f"out={tmp_path / 'report'}", "draws=20", "maps=null")
    text = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    told = read_scores(run)["verification"]
    assert "Artists never trained on" in text
    assert rf"{told['chosen']} \*" in text
    table = pd.read_csv(tmp_path / "report" / "tables" / "verification-run1.csv")
    for _, row in table.iterrows():
        found = told["systems"][row["scorer"]]["test"]["eer"]
        assert (row["eer"], row["eer_low"]) == pytest.approx((found["value"], found["ci95"][0]))
    stated = pd.read_csv(tmp_path / "report" / "tables" / "verification_stated-run1.csv")
    assert list(stated["false_alarms"]) == [0.01, 0.05]
    assert (tmp_path / "report" / "figures" / "verification-run1.png").exists()


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
