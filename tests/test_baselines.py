"""Baselines through the real command: the same splits, run folders and scores as any network."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from joblib import cpu_count
from omegaconf import OmegaConf

from artistid.config import config_dir
from artistid.evaluation.predictions import Predictions
from artistid.runs import read_runs
from tests.corpus import make_corpus
from tests.reporting.made_runs import BASELINES
from tests.verbs import read_scores, run_verb

WHOLE_SONGS = (
    "mandel_svm",
    "mandel_svm_mahalanobis",
    "statistics_svm",
    "statistics_lda",
    "random_labels",
)  # by default
SONGS_ONLY = WHOLE_SONGS[:2]
BY_CLIPS = ("whitman_svm", "ellis_gaussian", "mandel_gmm", "majority")


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("music"), artists=3, albums=4, songs=2, seconds=5, endings=("wav",))


def fit(music: Path, run_dir: Path, model: str, *overrides: str) -> dict[str, Any]:
    run_verb(
        "train", f"model={model}", "data=folder", f"data.root={music}", f"run_dir={run_dir}", "workers=0", *overrides
    )
    return read_scores(run_dir)


def test_all_baselines_are_tested_here() -> None:
    assert set(BASELINES) == {*WHOLE_SONGS, *BY_CLIPS}


@pytest.mark.parametrize("model", [*WHOLE_SONGS, *BY_CLIPS])
def test_every_baseline_ends_in_a_run_folder(music: Path, tmp_path: Path, model: str) -> None:
    scores = fit(music, tmp_path / "run", model, "figures=true")
    levels = ["song"] if model in WHOLE_SONGS else ["frame", "song"]
    assert list(scores["test"]) == list(scores["val"]) == levels
    assert scores["test"]["song"]["n"] == 6
    grid = pd.read_csv(tmp_path / "run" / "grid.csv")
    config = OmegaConf.load(config_dir() / "model" / f"{model}.yaml")
    assert len(grid) == scores["training"]["grid_points"] == np.prod([len(values) for values in config.grid.values()])
    best = grid[f"val/{levels[0]}/f1_weighted"]
    chosen = grid[best == best.max()].round({"val/loss": 6}).sort_values("val/loss", kind="stable").iloc[0]
    assert {name: chosen[name] for name in config.grid} == scores["training"]["chosen"]
    assert scores["val"][levels[0]]["f1_weighted"] == pytest.approx(best.max())
    test = Predictions.from_parquet(tmp_path / "run" / "predictions" / "test.parquet")
    assert set(test.artist) == {"artist1", "artist2", "artist3"}
    assert (tmp_path / "run" / "confusion_song.png").exists()
    assert (tmp_path / "run" / "confusion_frame.png").exists() == ("frame" in levels)
    assert set(pd.read_csv(tmp_path / "run" / "per_artist.csv")["level"]) == set(levels)
    if model not in ("majority", "random_labels"):
        assert scores["test"]["song"]["f1_weighted"] > 0.6  # a third is chance


CLIPS = [path.stem for path in sorted((config_dir() / "clip").glob("*.yaml"))]
# Four artists, each in a style of its own, albums without one: 8 songs test, 24 train or validate. Chance is 0.25.
STYLES = ("data=synthetic", "data.n_artists=4", "data.n_albums=4", "data.n_songs=2", "data.seconds=31")
STYLES += ("data.style_strength=3", "data.producer_strength=0", "data.name=styles")
QUICK = {"mandel_gmm": ("model.grid.n_components=[4]",)}


def check_length(tmp_path: Path, capsys: pytest.CaptureFixture[str], model: str, clip: str) -> str:
    """A baseline given clips of a length refuses them, or names songs as well as its kind can; returns how it went."""
    command = ("train", f"model={model}", f"clip={clip}", *STYLES, f"run_dir={tmp_path / 'run'}", "workers=0")
    command += QUICK.get(model, ())
    if model in SONGS_ONLY and clip != "song":
        with pytest.raises(SystemExit):
            run_verb(*command)
        said = " ".join(capsys.readouterr().err.split())
        assert f"model={model} describes whole songs" in said
        assert f"found clip={clip}, expected clip=song" in said
        assert not (tmp_path / "run").exists()
        return "refused"
    run_verb(*command)
    test = read_scores(tmp_path / "run")["test"]
    f1 = {level: score["f1_weighted"] for level, score in test.items()}
    assert list(f1) == (["song"] if clip == "song" else ["frame", "song"])
    if model == "majority":
        assert f1["song"] == pytest.approx(0.1), "one artist's precision 1/4 and recall 1, of a quarter of the songs"
    elif model == "random_labels":
        assert f1["song"] < 0.7, "it was taught nothing"
    else:
        assert min(f1.values()) > 0.6
    return ", ".join(f"{level} {value:.3f}" for level, value in f1.items())


@pytest.mark.parametrize(("model", "clip"), [("statistics_svm", "3s"), ("mandel_svm", "3s"), ("ellis_gaussian", "1s")])
def test_a_system_is_tested_on_what_it_was_fitted_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], model: str, clip: str
) -> None:
    check_length(tmp_path, capsys, model, clip)


@pytest.mark.slow
@pytest.mark.parametrize("model", [*WHOLE_SONGS, *BY_CLIPS])
def test_every_baseline_with_every_length_of_clip(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], model: str
) -> None:
    told = {clip: check_length(tmp_path / clip, capsys, model, clip) for clip in CLIPS}
    with capsys.disabled():
        print(f"\n{model}: " + "; ".join(f"{clip}: {how}" for clip, how in told.items()))


def test_songs_are_described_as_ever_and_clips_as_clips(music: Path, tmp_path: Path) -> None:
    """What is fitted on clips=song is what was fitted on songs, to the bit."""
    as_clips, as_songs = (
        fit(music, tmp_path / fit_on, "statistics_svm", f"model.fit_on={fit_on}") for fit_on in ("clips", "songs")
    )
    assert as_clips["test"] == as_songs["test"]
    assert as_clips["training"] == as_songs["training"]


def test_a_song_systems_source_may_be_left_at_will(music: Path, tmp_path: Path) -> None:
    scores = fit(music, tmp_path / "run", "mandel_svm", "clip=1s", "model.fit_on=clips")
    assert scores["test"]["song"]["f1_weighted"] > 0.6


def test_the_same_clips_as_a_network_hears(music: Path, tmp_path: Path) -> None:
    fit(music, tmp_path / "gmm", "mandel_gmm", "clip=1s")
    fit(music, tmp_path / "crnn", "crnn", "clip=1s", "trainer.max_epochs=1", "trainer.enable_progress_bar=false")
    gmm, crnn = (Predictions.from_parquet(tmp_path / name / "predictions" / "test.parquet") for name in ("gmm", "crnn"))
    assert gmm.track_id.tolist() == crnn.track_id.tolist()
    assert gmm.clip.tolist() == crnn.clip.tolist()


@pytest.mark.parametrize("model", ["mandel_gmm", "random_labels"])
def test_the_same_seed_gives_the_same_scores(music: Path, tmp_path: Path, model: str) -> None:
    first, again, _ = (
        fit(music, tmp_path / name, model, f"seed={seed}") for name, seed in (("1", 3), ("2", 3), ("3", 4))
    )
    one, two, three = (
        Predictions.from_parquet(tmp_path / name / "predictions" / "test.parquet") for name in ("1", "2", "3")
    )
    assert np.array_equal(one.probability, two.probability)
    assert first["test"] == again["test"]
    assert first["training"] == again["training"]
    assert not np.array_equal(one.probability, three.probability)


def test_a_sweep_over_systems(music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sweep = ("-m", "model=majority,ellis_gaussian,mandel_svm", "split=song,album", "workers=0")
    run_verb("train", *sweep, "data=folder", f"data.root={music}", "data.name=music")
    runs = read_runs("runs")
    assert set(zip(runs["model"], runs["split"], runs["clip"], strict=True)) == {
        (model, split, clip)
        for model, clip in (("majority", "3s"), ("ellis_gaussian", "3s"), ("mandel_svm", "song"))
        for split in ("song", "album")
    }
    assert len(runs[runs["level"] == "song"]) == 6
    assert len(runs[runs["level"] == "frame"]) == 4


def test_a_run_says_on_how_many_threads(music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    told = fit(music, tmp_path / "run", "majority")["threads"]
    assert (told["torch"], told["interop"]) == (torch.get_num_threads(), torch.get_num_interop_threads())
    assert told["environment"]["OMP_NUM_THREADS"] == "3"
    assert told["jobs"] == 1


@pytest.mark.slow
def test_jobs_at_once_share_the_threads(music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    monkeypatch.chdir(tmp_path)
    sweep = ("-m", "model=majority", "seed=0,1", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "workers=0")
    run_verb("train", *sweep, "data=folder", f"data.root={music}", "data.name=music")
    told = [read_scores(path.parent)["threads"] for path in (tmp_path / "runs").rglob("scores.json")]
    assert [each["jobs"] for each in told] == [2, 2]
    assert {each["torch"] for each in told} == {max(1, cpu_count() // 2)}


@pytest.mark.parametrize(
    ("model", "overrides", "message"),
    [
        ("crnn", ["clip=song"], "model=crnn is given batches of clips, all of one length: clip=song has whole songs"),
        ("crnn", ["features=descriptors"], "the CRNN pools 128 mel bins into one: the features have 40 columns"),
        ("mandel_svm", ["features=logmel"], "model=mandel_svm: expected features=descriptors, found features=logmel"),
        (
            "mandel_svm",
            ["+model.grid.nu=[1]"],
            r"model\.grid: nu is not a parameter of SongSVM; it has C, clip_spectrum",
        ),
        ("mandel_svm", ["model.fit_on=albums"], r"model\.fit_on=albums: expected one of clips, songs"),
        (
            "whitman_svm",
            ["model.most_clips_per_song=0"],
            r"model\.most_clips_per_song=0: expected a whole number from 1 or null",
        ),
        ("statistics_svm", ["model.grid.C=[-1]"], "model=statistics_svm cannot be fitted .C=-1, gamma="),
        ("mandel_svm", ["+model.estimator.nu=1"], "model.estimator: .*nu"),
        ("mandel_svm", ["vote=mean_embedding"], "vote=mean_embedding: .* without embeddings"),
    ],
)
def test_settings_that_do_not_fit_together(
    music: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], model: str, overrides: list[str], message: str
) -> None:
    with pytest.raises(SystemExit):
        fit(music, tmp_path / "run", model, *overrides)
    said = capsys.readouterr()
    assert re.search(message, " ".join((said.out + said.err).split()))
    assert not (tmp_path / "run" / "scores.json").exists()
