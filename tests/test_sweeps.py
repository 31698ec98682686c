"""Sweeps over anything: folders that tell runs apart, and what is said at the end and at the beginning."""

from __future__ import annotations

import json
import logging
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from artistid.naming import MOST_BYTES, as_word, bounded
from artistid.runs import read_runs
from artistid.runs.studies import collect
from tests.corpus import make_corpus
from tests.named import run_dirs
from tests.verbs import QUICK, read_scores, run_verb

DEFAULT = "synthetic-8x6x4x20s-style1-producer1-seed0"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweeps are made below the working directory."""
    monkeypatch.chdir(tmp_path)
    for name in ("a/music", "b/music"):
        (tmp_path / name).mkdir(parents=True)


@pytest.mark.parametrize(
    ("arguments", "folders"),
    [
        ((), [f"{DEFAULT}/album-3s-crnn/0"]),
        (("experiment=reference",), [f"{DEFAULT}/album-3s-crnn-experiment=reference/0"]),
        (
            ("-m", "seed=range(0,2)", "optimizer.lr=1e-4", "data.n_songs=5", "batch_size=8", "workers=2"),
            [
                f"{DEFAULT.replace('x4x', 'x5x')}/album-3s-crnn-batch_size=8-optimizer.lr=0.0001/{seed}"
                for seed in (0, 1)
            ],
        ),
        (
            ("-m", "augment=[mixup,spec_augment],mixup", "~early_stopping.patience", "+of.mine=${seed}"),
            [
                f"{DEFAULT}/album-3s-crnn-augment={names}-of.mine=0-~early_stopping.patience/0"
                for names in ("mixup+spec_augment", "mixup")
            ],
        ),
        (
            ("-m", "+notes='a b',a-b", "split=album", "split.validation=song"),
            [f"{DEFAULT}/album-songval-3s-crnn-notes={word}/0" for word in ("a-b-7dbde9", "a-b")],
        ),
        (
            ("-m", "augment=null,mixup", "scheduler=null", "logger=csv,null"),
            [f"{DEFAULT}/album-3s-crnn-{given}scheduler=null/0" for given in ("", "", *2 * ["augment=mixup-"])],
        ),
        (
            ("-m", "scheduler=choice(null,cosine)"),
            [f"{DEFAULT}/album-3s-crnn-scheduler={name}/0" for name in ("null", "cosine")],
        ),
        (("augment=null", "scheduler=null"), [f"{DEFAULT}/album-3s-crnn-scheduler=null/0"]),
        (("-m", "data=folder", "data.root=a/music,b/music"), ["a-music/album-3s-crnn/0", "b-music/album-3s-crnn/0"]),
        (("-m", "data=folder,library", "data.root=b"), ["b-folder/album-3s-crnn/0", "b-library/album-3s-crnn/0"]),
        (
            ("-m", "experiment=producer_effect", "seed=0", "data.style_strength=1", "data.producer_strength=2"),
            [f"{DEFAULT.replace('producer1', 'producer2')}/{split}-3s-crnn/0" for split in ("album", "song")],
        ),
    ],
)
def test_folders_carry_the_settings_that_the_name_lacks(arguments: tuple[str, ...], folders: list[str]) -> None:
    assert run_dirs(*arguments) == folders


def test_the_papers_runs_are_called_as_ever() -> None:
    names = run_dirs("-m", "experiment=paper", "data=artist20", "data.root=b", "clip=1s", "seed=21")
    assert names == [f"artist20/{split}-1s-crnn/21" for split in ("album", "song")]


@pytest.mark.parametrize(
    ("settings", "system"),
    [
        (("backend=plda", "backend.refit=true"), "crnn-plda-backend.refit=true"),
        (("model=probe", "features=descriptors"), "probe-descriptors-lda"),
        (("model=layer_mix", "features=encoder", "encoder=musicnn"), "layer_mix-musicnn"),
        (("model=layer_mix", "features=encoder", "encoder=onnx"), "layer_mix-encoder=onnx-features=encoder"),
        (("features.stem=vocals", "switch=[equaliser]", "backend=lda"), "crnn-vocals-lda+equaliser"),
        (("features.separator=openunmix",), "crnn"),  # without a stem it separates nothing
    ],
)
def test_what_a_system_is_made_of_is_told_once(settings: tuple[str, ...], system: str) -> None:
    assert run_dirs(*settings) == [f"{DEFAULT}/album-3s-{system}/0"]


def test_jobs_that_the_time_tells_apart() -> None:
    names = run_dirs("-m", "seed=0,0", "run_by=time")
    assert [re.fullmatch(rf"{DEFAULT}/album-3s-crnn/[\d_-]+-job(\d)-seed0", name)[1] for name in names] == ["0", "1"]  # type: ignore[index]


def test_names_are_bounded_and_no_two_are_one() -> None:
    values = [f"{'x' * n}/music" for n in range(300)] + ["a b", "a_b", "a-b", "a/b", ["a", "b"], "é", True, None, 1e-5]
    words = {as_word(value) for value in values}
    assert len(words) == len(values)
    assert all(re.fullmatch(r"[\w.+=@%~-]{1,60}", word) for word in words)
    long = [bounded(f"album-3s-crnn-{'ä' * 200}{n}", MOST_BYTES) for n in range(2)]
    assert long[0] != long[1]
    assert {len(name.encode()) for name in long} <= {MOST_BYTES - 1, MOST_BYTES}


def test_a_sweep_ends_with_a_table(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = ("-m", "data=folder", f"data.root={corpus}", *QUICK, "optimizer.lr=1e-3,1e-4", "seed=0,1")
    run_verb("train", *sweep)
    runs = read_runs("runs")
    conditions = [f"corpus/album-1s-crnn-optimizer.lr={rate}-trainer.max_epochs=1" for rate in ("0.001", "0.0001")]
    told = capsys.readouterr().out.splitlines()
    for condition in conditions:
        of_it = runs[runs["run"].str.startswith(condition)]
        f1 = [of_it[of_it["level"] == level]["f1_weighted"] for level in ("frame", "song")]
        expected = ["2", *(f"{np.mean(each):.3f} ± {np.std(each, ddof=1):.3f}" for each in f1), condition]
        assert "  ".join(expected) in (re.sub(" {3,}", "  ", line.strip()) for line in told)
    assert "jobs of the sweep: 4: 4 trained" in told

    interrupted = Path("runs", conditions[0], "1")
    before = read_scores(interrupted)["test"]
    (interrupted / "scores.json").unlink()
    run_verb("train", *sweep)
    told = capsys.readouterr().out.splitlines()
    assert "jobs of the sweep: 4: 1 resumed, 3 skipped, finished already" in told
    assert read_scores(interrupted)["test"] == before

    (command,) = (line.partition(": ")[2] for line in told if line.startswith("a report of them: "))
    python, _, module, *settings = shlex.split(command)
    assert (python, module, settings) == ("python", "artistid.report", ["runs=runs/corpus"])
    run_verb("report", *settings, "maps=null", "draws=10")
    assert [study.variant for study in collect(["runs/corpus"]).studies] == [
        "optimizer.lr=0.0001",
        "optimizer.lr=0.001",
    ]
    assert {run["variant"] for _, run in runs.iterrows()} == {name.partition("crnn-")[2] for name in conditions}


def test_jobs_that_fail_are_counted(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run_verb("train", "-m", "data=folder", f"data.root={corpus}", "run_dir=x/${seed}", "vote=loudest,quietest")
    told = capsys.readouterr()
    assert "jobs of the sweep: 2: 2 failed" in told.out
    assert "a report" not in told.out
    assert "vote=loudest: vote=loudest: expected" in told.err


def test_an_experiment_that_is_a_sweep_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run_verb("train", "experiment=paper")
    told = capsys.readouterr().err
    assert "experiment=paper is a sweep" in told
    assert "-m" in told
    assert not Path("runs").exists()
    assert run_dirs("experiment=paper", "hydra.sweeper.params=null") == [f"{DEFAULT}/album-3s-crnn/0"]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (("split=album",), "3 albums"),
        (("split=jackknife", "split.n_folds=9"), "split.n_folds"),
        (("split=song", "unknown_artists=2"), "unknown_artists"),
        (("split=song", "data.artists=[artist1]"), "artist1"),
        (("split=file", "split.path=split.csv"), "artist9/song1"),
        (("split=song", "data.name=x${y}"), "x${y}"),
        (("split=song", "run_dir=file/run"), "run_dir=file/run"),
    ],
)
def test_what_can_be_refused_is_refused_before_decoding(
    settings: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    Path("file").touch()
    Path("split.csv").write_text("track_id,subset\nartist9/song1,train\n")
    make_corpus(Path("music"), albums=2, seconds=1)
    with pytest.raises(SystemExit):
        run_verb("train", "data=folder", "data.root=music", "cache_dir=cache", *QUICK, *settings)
    assert told in capsys.readouterr().err
    assert not Path("cache").exists(), "a song was decoded"


@pytest.mark.parametrize(
    ("verb", "settings", "told"),
    [
        ("train", ("data.n_albums=2",), "data.n_albums=3"),
        ("train", ("unknown_artists=7",), "unknown_artists"),
        ("train", ("data.exclude=[no/such]",), "no/such"),
        ("train", ("metrics=[no.such]",), "no.such"),
        ("train", ("workers=-1",), "workers=-1"),
        ("train", ("limits.hours=0",), "limits.hours"),
        ("train", ("on_error=ask",), "on_error"),
        ("prepare", ("shard=1", "shards=1"), "shard"),
        ("prepare", ("data.min_songs=999",), "data.min_songs"),
        ("doctor", ("data.min_songs=999",), "data.min_songs"),
    ],
)
def test_what_can_be_refused_is_refused_before_composing(
    verb: str, settings: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run_verb(verb, "data=synthetic", "cache_dir=cache", *settings)
    assert told in capsys.readouterr().err
    assert not list(Path().glob("cache/**/*.mp3")), "a song was composed"


def test_a_split_without_songs_that_fail_is_of_the_others(corpus: Path, tmp_path: Path) -> None:
    music = make_corpus(tmp_path / "music", artists=2, seconds=1, endings=("wav",))
    (music / "artist1" / "album1" / "song1.wav").write_bytes(b"no sound")
    settings = ("data=folder", f"data.root={music}", "split=song", "on_error=skip", "run_dir=run", *QUICK)
    run_verb("train", *settings)
    assert read_scores(Path("run"))["left_out"] == ["artist1/album1/song1"]
    assert "artist1/album1/song1," not in Path("run", "split.csv").read_text()


class TestOptuna:
    """Searches, where the plugin is installed."""

    @pytest.fixture(autouse=True)
    def plugin(self) -> None:
        pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")

    def test_the_lowest_score_is_not_searched_for(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            run_verb("train", "-m", "hydra/sweeper=optuna", "optimizer.lr=interval(1e-5,1e-2)")
        assert "hydra.sweeper.direction=minimize" in capsys.readouterr().err

    @pytest.mark.slow
    def test_the_same_search_goes_on(self, corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
        settings = ("data=folder", f"data.root={corpus}", *QUICK, "clip=1s", "+notes='a b'", "hydra.sweep.dir=sweep")
        run_verb("train", "-m", "experiment=search", "hydra.sweeper.n_trials=2", *settings)
        assert "jobs of the sweep: 2: 2 trained" in capsys.readouterr().out
        run_verb("train", "-m", "experiment=search", "hydra.sweeper.n_trials=3", *settings)
        assert "jobs of the sweep: 3: 1 trained, 2 skipped" in capsys.readouterr().out
        jobs = [json.loads(path.read_text()) for path in sorted(Path("sweep/jobs").glob("*.json"))]
        assert len({job["condition"] for job in jobs}) == 3
