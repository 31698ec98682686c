"""Training through the real command: what a run leaves behind, and that it is right."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
import yaml
from sklearn.metrics import accuracy_score, f1_score

import artistid
from artistid.errors import ArtistidError
from artistid.evaluation.predictions import Predictions
from artistid.runs import read_runs
from artistid.runs.folder import RunFolder
from tests.corpus import make_corpus
from tests.verbs import QUICK, read_scores, run_verb, train

Run = tuple[Path, dict[str, Any]]


@pytest.fixture(scope="module")
def album_run(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run of two epochs with the album split, and its scores file."""
    folder = tmp_path_factory.mktemp("runs") / "album"
    return folder, train(corpus, folder, "split=album", "trainer.max_epochs=2", "optimizer.lr=1e-3", "figures=true")


def test_run_folder_is_complete(album_run: Run) -> None:
    folder, _ = album_run
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found >= {
        "config.yaml",
        "catalog.csv",
        "split.csv",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "predictions/val.parquet",
        "predictions/test.parquet",
        "songs_test.csv",
        "per_artist.csv",
        "metrics.csv",
        "scores.json",
        "run.log",
    }
    for name in ("confusion_frame.png", "confusion_song.png", "learning_curves.png"):
        assert matplotlib.image.imread(folder / name).shape[0] > 300, name


def test_scores_follow_from_the_predictions(album_run: Run) -> None:
    folder, scores = album_run
    clips = Predictions.from_parquet(folder / "predictions" / "test.parquet")
    frame, song = scores["test"]["frame"], scores["test"]["song"]
    assert frame["f1_weighted"] == pytest.approx(f1_score(clips.label, clips.predicted, average="weighted"), abs=1e-6)
    assert frame["n"] == len(clips) == scores["counts"]["test"]["clips"]
    songs = pd.read_csv(folder / "songs_test.csv")
    assert song["accuracy"] == pytest.approx(accuracy_score(songs["artist"], songs["predicted"]))
    assert song["n"] == len(songs) == 6
    low, high = song["f1_weighted_ci95"]
    assert 0 <= low <= song["f1_weighted"] <= high <= 1


def test_scores_say_where_they_come_from(album_run: Run) -> None:
    _, scores = album_run
    assert scores["condition"] == {
        "data": "corpus",
        "split": "album",
        "clip": "1s",
        "model": "crnn",
        "variant": "optimizer.lr=0.001-trainer.max_epochs=2",
        "seed": 0,
        "vote": "majority",
    }
    assert scores["artists"] == ["artist1", "artist2", "artist3"]
    assert torch.__version__.startswith(scores["versions"]["torch"])
    assert scores["training"]["epochs"] == 2
    assert scores["parameters"] == 393_364 - 17 * 33  # 3 artists instead of 20
    assert set(scores["seconds"]) == {"prepare", "split", "fit", "test"}
    assert scores["device"]
    assert scores["command"].startswith("python -m artistid.train data=folder data.root=")


def test_split_keeps_albums_apart(album_run: Run) -> None:
    folder, _ = album_run
    with (folder / "split.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    subsets: dict[str, set[str]] = {}
    for row in rows:
        subsets.setdefault(row["track_id"].rsplit("/", 1)[0], set()).add(row["subset"])
    assert len(subsets) == 9
    assert all(len(found) == 1 for found in subsets.values())
    assert {(row["rule"], row["seed"]) for row in rows} == {("album", "0")}


def test_checkpoint_is_plain_and_complete(album_run: Run) -> None:
    folder, _ = album_run
    for name in ("best.ckpt", "last.ckpt"):
        checkpoint = torch.load(folder / "checkpoints" / name, weights_only=True)
        inside = checkpoint["artistid"]
        assert inside["artists"] == ["artist1", "artist2", "artist3"]
        assert inside["features"]["hop_length"] == 512
        assert inside["clip"]["frames"] == 32
        assert len(inside["recordings"]) == 6


def test_best_epoch_is_tested(album_run: Run) -> None:
    folder, scores = album_run
    losses = pd.read_csv(folder / "metrics.csv")["val/loss"].dropna()
    assert scores["training"]["best_val_loss"] == pytest.approx(losses.min(), rel=1e-6)
    assert scores["training"]["best_epoch"] == losses.to_numpy().argmin()
    clips = Predictions.from_parquet(folder / "predictions" / "val.parquet")
    own = clips.probability[np.arange(len(clips)), clips.label]
    assert -np.log(own).mean() == pytest.approx(losses.min(), rel=1e-4)


def test_config_is_resolved(album_run: Run, corpus: Path) -> None:
    folder, _ = album_run
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    assert config["data"]["root"] == str(corpus)
    assert config["data"]["name"] == "corpus"
    assert config["run_dir"] == str(folder)


def test_one_seed_gives_one_result(album_run: Run, corpus: Path, tmp_path: Path) -> None:
    folder, scores = album_run
    again = train(corpus, tmp_path / "again", "split=album", "trainer.max_epochs=2", "optimizer.lr=1e-3")
    assert again["test"] == scores["test"]
    assert (tmp_path / "again" / "split.csv").read_text() == (folder / "split.csv").read_text()
    first, second = (
        Predictions.from_parquet(path / "predictions" / "test.parquet") for path in (folder, tmp_path / "again")
    )
    assert np.array_equal(first.probability, second.probability)


def test_where_the_clips_are_kept_changes_nothing(album_run: Run, corpus: Path, tmp_path: Path) -> None:
    _, scores = album_run
    again = train(
        corpus, tmp_path / "run", "split=album", "trainer.max_epochs=2", "optimizer.lr=1e-3", "data_device=device"
    )
    assert again["test"] == scores["test"]
    assert again["training"] == scores["training"]


def test_another_seed_gives_another_split(album_run: Run, corpus: Path, tmp_path: Path) -> None:
    folder, _ = album_run
    train(corpus, tmp_path / "other", "split=album", "seed=1")
    assert (tmp_path / "other" / "split.csv").read_text() != (folder / "split.csv").read_text()


def test_split_can_be_given_back(album_run: Run, corpus: Path, tmp_path: Path) -> None:
    folder, _ = album_run
    train(corpus, tmp_path / "run", "split=file", f"split.path={folder / 'split.csv'}", "seed=5")
    assert (tmp_path / "run" / "split.csv").read_text() == (folder / "split.csv").read_text()


def test_it_learns(tmp_path: Path) -> None:
    root = make_corpus(tmp_path / "music", songs=6)
    # Small batches, so that the running statistics of batch norm, which move by a hundredth a step, arrive.
    settings = ("batch_size=4", "trainer.max_epochs=10", "optimizer.lr=1e-3", "trainer.precision=32-true")
    scores = train(root, tmp_path / "run", "split=song", *settings)
    assert scores["test"]["frame"]["f1_weighted"] > 0.6  # chance is 0.33
    assert scores["test"]["song"]["f1_weighted"] > 0.6


def test_reference_experiment(corpus: Path, tmp_path: Path) -> None:
    scores = train(corpus, tmp_path / "run", "split=album", "experiment=reference")
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text(encoding="utf-8"))
    assert scores["precision"] == "32-true"
    assert config["batch_norm_warm_up"] is False
    assert (config["vote"], config["optimizer"]["lr"], config["features"]["pad_mode"]) == ("confident", 1e-3, "reflect")
    assert scores["counts"]["test"]["clips"] == 6 * 2  # 126 frames hold three clips of 32, of which the last is dropped


def test_short_songs_get_their_vote_and_are_counted(corpus: Path, tmp_path: Path) -> None:
    scores = train(corpus, tmp_path / "run", "split=album", "clip=5s")
    assert scores["counts"]["test"] == {"songs": 6, "clips": 6, "songs_padded": 6, "songs_dropped": 0}
    assert scores["test"]["song"]["n"] == 6


def test_unknown_artists_are_not_trained_on_and_are_told_apart(tmp_path: Path) -> None:
    root = make_corpus(tmp_path / "music", artists=4)
    scores = train(root, tmp_path / "run", "split=album", "unknown_artists=[artist2]", "optimizer.lr=1e-3")
    assert scores["artists"] == ["artist1", "artist3", "artist4"]
    assert scores["condition"]["data"] == "music-unknown1", "another task, which reports keep apart"
    unknown = scores["unknown"]
    assert unknown["artists"] == ["artist2"]
    assert (unknown["known"], unknown["unknown"]) == (6, 6)
    assert 0 <= unknown["auroc"] <= 1
    by_score = unknown["by_score"]
    assert set(by_score) == {"msp", "energy", "mahalanobis", "nearest", "cosine", "wccn", "plda"}
    assert by_score["msp"]["auroc"]["value"] == pytest.approx(unknown["auroc"])
    for found in by_score.values():
        low, high = found["auroc"]["ci95"]
        assert 0 <= low <= found["auroc"]["value"] <= high <= 1
        assert found["dir1"]["value"] <= found["dir5"]["value"] <= 1
    songs = pd.read_csv(tmp_path / "run" / "songs_test.csv")
    assert unknown["known_accepted"] == np.mean(songs["confidence"] >= scores["open_set"]["threshold"])
    assert "artist2" not in (tmp_path / "run" / "catalog.csv").read_text()
    specification = torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)["artistid"]
    assert specification["open_set"] == scores["open_set"]


def test_undecodable_files_are_listed(corpus: Path, tmp_path: Path) -> None:
    root = tmp_path / "music"
    shutil.copytree(corpus, root)
    (root / "artist1" / "album1" / "broken.mp3").write_bytes(b"no music")
    with pytest.raises(SystemExit):
        train(root, tmp_path / "run")
    scores = train(root, tmp_path / "run", "on_error=skip")
    assert scores["left_out"] == ["artist1/album1/broken"]


def test_finished_run_is_not_written_over(album_run: Run, corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, scores = album_run
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    with pytest.raises(SystemExit) as exit_:
        train(corpus, folder)
    assert exit_.value.code == 1
    assert "overwrite=true" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert read_scores(folder) == scores


def test_overwriting_removes_nothing_of_others(corpus: Path, tmp_path: Path) -> None:
    train(corpus, tmp_path / "run")
    (tmp_path / "run" / "notes.txt").write_text("mine")
    train(corpus, tmp_path / "run", "overwrite=true", "seed=3")
    assert read_scores(tmp_path / "run")["condition"]["seed"] == 3
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"


def test_run_without_a_finished_epoch_starts_anew(corpus: Path, tmp_path: Path) -> None:
    train(corpus, tmp_path / "run")
    (tmp_path / "run" / "scores.json").unlink()
    (tmp_path / "run" / "checkpoints" / "last.ckpt").unlink()
    assert train(corpus, tmp_path / "run", "seed=3")["training"]["epochs"] == 1


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("vote=loudest",), "vote=loudest: expected one of majority"),
        (("seed=abc",), "seed='abc': expected a whole number from 0 to 4294967295"),
        (("seed=5000000000",), "seed=5000000000"),
        (("batch_size=0",), "batch_size=0"),
        (("memory_format=rows",), "memory_format=rows: expected one of auto"),
        (("data_device=disk",), "data_device=disk: expected one of auto"),
        (("early_stopping.patience=-1",), "early_stopping.patience=-1"),
        (("optimizer.lr=-1",), "optimizer.*: Invalid learning rate"),
        (("trainer.precision=foo",), "trainer.*: Precision 'foo' is invalid"),
        (("trainer.max_epochs=0",), "trainer.max_epochs=0 leaves nothing to train"),
        (("data.artists=[artist1]",), "training needs two artists or more, found only 'artist1'"),
        (("data.artists=[nobody]",), "data.artists names artists"),
        (
            ("data.artists=artist1",),
            "data.artists='artist1': expected a list of texts or null; write data.artists=[artist1]",
        ),
        (("data.min_albums=4",), "no artist is left"),
        (("features.n_mels=64",), "the CRNN pools 128 mel bins into one: the features have 64 columns"),
        (("features.mel_scale=bark",), "features.mel_scale=bark: expected one of"),
        (("on_error=ignore",), "on_error=ignore: expected one of raise, skip"),
        (("split=file",), "split.path is not set"),
        (("unknown_artists=2",), "unknown_artists=2 leaves 1 of 3 artists"),
        (("unknown_artists=-1",), "unknown_artists='-1': expected a whole number from 0 or a list of texts"),
        (("unknown_artists=[nobody]",), "unknown_artists names artists that the collection does not have"),
        (("unknown_artists=1", "model=majority"), "unknown_artists=1: expected 0, since model=majority is a baseline"),
        (("split=file", "split.path=nowhere.csv"), "split.path=nowhere.csv does not exist"),
        (("clip.frames=8",), "the CRNN pools time by 16"),
    ],
)
def test_bad_settings(
    overrides: tuple[str, ...], message: str, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        train(corpus, tmp_path / "run", *overrides)
    assert exit_.value.code == 1
    told = capsys.readouterr().err
    assert f"error: {message}" in told
    assert "Traceback" not in told
    assert "HYDRA_FULL_ERROR" not in told
    assert not (tmp_path / "run" / "scores.json").exists()


def test_run_that_fails_says_why_in_its_log(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        train(corpus, tmp_path / "run", "optimizer.lr=1e30")
    log = (tmp_path / "run" / "run.log").read_text()
    assert "ERROR artistid.runs.folder: failed: training diverged in epoch 1" in log
    assert train(corpus, tmp_path / "run")["training"]["epochs"] == 1


def test_run_that_never_began_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        train(tmp_path / "nowhere", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_failed_overwriting_keeps_the_finished_run(corpus: Path, tmp_path: Path) -> None:
    before = train(corpus, tmp_path / "run")
    for override in ("features.n_mels=64", "data.artists=[nobody]", "vote=loudest"):
        with pytest.raises(SystemExit):
            train(corpus, tmp_path / "run", "overwrite=true", override)
    assert read_scores(tmp_path / "run") == before
    assert (tmp_path / "run" / "checkpoints" / "best.ckpt").exists()


def test_run_folder_that_cannot_be_used(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(SystemExit):
        train(corpus, tmp_path / "file" / "run")
    assert f"cannot write the run folder run_dir={tmp_path / 'file' / 'run'}" in capsys.readouterr().err
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "config.yaml").write_text("mine")
    with pytest.raises(SystemExit):
        train(corpus, tmp_path / "full")
    assert "is not a run folder" in capsys.readouterr().err
    assert (tmp_path / "full" / "config.yaml").read_text() == "mine"


@pytest.mark.parametrize(
    ("files", "accepted"),
    [
        ((), True),
        ((".artistid-run",), True),
        ((".artistid-run", ".lock", "run.log", ".config.yaml.elsewhere-1-0.subset"), True),
        (("run.log", "config.yaml"), True),  # of a version without marks
        ((".lock",), False),
        (("run.log",), False),
        (("config.yaml",), False),
        (("scores.md",), False),
    ],
)
def test_a_folder_that_a_run_was_begun_in_is_known(files: tuple[str, ...], accepted: bool, tmp_path: Path) -> None:
    for file in files:
        (tmp_path / file).touch()
    begun = RunFolder(tmp_path).begin(overwrite=False)
    if accepted:
        with begun:
            pass
    else:
        with pytest.raises(ArtistidError, match="is not a run folder"), begun:
            pass
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(files)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files as POSIX does")
def test_full_disk_while_training(corpus: Path, tmp_path: Path) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, resource.RLIM_INFINITY)); "
    code = limit + "from artistid.cli import command; command('train')"  # features fit into 2 MB, checkpoints do not
    run = ("data=folder", f"data.root={corpus}", f"run_dir={tmp_path / 'run'}", *QUICK)
    done = subprocess.run([sys.executable, "-c", code, *run], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"error: cannot write to run_dir={tmp_path / 'run'}: File too large" in done.stderr
    assert train(corpus, tmp_path / "run")["training"]["epochs"] == 1


def test_paths_of_any_letters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    make_corpus(tmp_path / "Sigur Rós (live)'s", artists=2)
    run_verb("train", "data=folder", "data.root=~/Sigur Rós (live)'s", f"run_dir={tmp_path}/a run", *QUICK)
    assert read_scores(tmp_path / "a run")["condition"]["data"] == "Sigur Rós (live)'s"


def test_silent_and_very_short_songs_get_their_vote(tmp_path: Path) -> None:
    root = make_corpus(tmp_path / "music", artists=2)
    for album in range(1, 4):
        soundfile.write(root / "artist1" / f"album{album}" / "short.wav", np.full(160, album / 10), 16000)  # 10 ms
        soundfile.write(root / "artist2" / f"album{album}" / "silence.wav", np.zeros(16000 + album), 16000)
    scores = train(root, tmp_path / "run", "split=album")
    assert scores["counts"]["test"]["songs_padded"] == 1
    assert scores["test"]["song"]["n"] == 6


def test_artists_with_too_few_albums_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_corpus(tmp_path / "music", artists=2)
    make_corpus(tmp_path / "more", artists=1, albums=2)
    shutil.copytree(tmp_path / "more" / "artist1", root / "newcomer")
    with pytest.raises(SystemExit):
        train(root, tmp_path / "run", "split=album")
    message = capsys.readouterr().err
    assert "newcomer (2)" in message
    assert "needs 3 albums" in message
    assert "data.min_albums=3" in message
    assert train(root, tmp_path / "run", "split=album", "data.min_albums=3")["artists"] == ["artist1", "artist2"]


def test_artists_with_too_few_songs_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_corpus(tmp_path / "music", artists=2, albums=1, songs=3)
    sorted((root / "artist2" / "album1").iterdir())[2].unlink()
    with pytest.raises(SystemExit):
        train(root, tmp_path / "run", "split=song")
    assert "artist2 (2)" in capsys.readouterr().err


def test_loose_tracks_are_for_the_song_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_corpus(tmp_path / "music", artists=2, songs=1)
    for path in list(root.rglob("song*.*")):
        path.rename(path.parent.parent / f"{path.parent.name}{path.suffix}")
    with pytest.raises(SystemExit):
        train(root, tmp_path / "run", "split=album")
    assert "artist1/album1" in capsys.readouterr().err
    assert train(root, tmp_path / "run", "split=song")["counts"]["train"]["songs"] == 2


def test_one_recording_under_two_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_corpus(tmp_path / "music", artists=2, endings=("wav",))
    for album in ("album2", "album3"):
        samples, rate = soundfile.read(root / "artist1" / "album1" / "song1.wav", dtype="int16")
        soundfile.write(root / "artist1" / album / "reissue.flac", samples, rate)  # other bytes, the same samples
    with pytest.raises(SystemExit):
        train(root, tmp_path / "run", "split=album")
    message = capsys.readouterr().err
    assert "artist1/album2/reissue" in message
    assert "data.exclude" in message
    train(root, tmp_path / "run", "data.exclude=[artist1/album2/reissue,artist1/album3/reissue]")


def test_unknown_choice_lists_the_choices(tmp_path: Path) -> None:
    done = shell("split=artist", cwd=tmp_path)
    assert done.returncode != 0
    for name in ("album", "song", "file"):
        assert name in done.stderr


def test_help_answers_without_torch() -> None:
    code = "import sys; sys.argv = ['train', '--help']\nfrom artistid.cli import command\ntry: command('train')\n"
    code += "finally: assert 'torch' not in sys.modules and 'pandas' not in sys.modules, 'slow imports'"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "3s | 10s | 15s | 1s | 20s" in " ".join(done.stdout.split())


def test_missing_root_says_what_was_expected(tmp_path: Path) -> None:
    done = shell("data=folder", "data.root=/nowhere/at/all", cwd=tmp_path)
    assert done.returncode == 1
    assert "ROOT/artist/album/track" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_sweep_gives_each_run_a_folder_and_a_log(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_verb("train", "-m", "data=folder", f"data.root={corpus}", "split=album,song", "seed=0,21", *QUICK)
    folders = sorted(path.parent for path in tmp_path.rglob("scores.json"))
    names = [str(path.relative_to(tmp_path / "runs" / "corpus")) for path in folders]
    given = "crnn-trainer.max_epochs=1"
    assert names == [f"{split}-1s-{given}/{seed}" for split in ("album", "song") for seed in (0, 21)]
    assert all((path / "run.log").read_text().count("epoch 1:") == 1 for path in folders)


def test_sweep_goes_on_after_a_run_that_fails(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_:
        run_verb("train", "-m", "data=folder", f"data.root={corpus}", "vote=loudest,majority", "run_by=time", *QUICK)
    assert exit_.value.code == 1
    assert len(list(tmp_path.rglob("scores.json"))) == 1
    assert "jobs of the sweep that failed: 1" in capsys.readouterr().err


def shell(*overrides: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "artistid.train", *overrides]
    environment = {**os.environ, "PYTHONPATH": str(Path(artistid.__file__).parent.parent)}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=environment)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_sweep_in_several_processes_from_nothing(launcher: str, tmp_path: Path) -> None:
    """All jobs need the same music and features, one makes them; the job that fails is told at the end."""
    at_once = {"joblib": ("hydra.launcher.n_jobs=2",), "submitit_local": ("hydra.launcher.timeout_min=10",)}
    tiny = ("data.n_artists=2", "data.n_albums=3", "data.n_songs=1", "data.seconds=5", f"cache_dir={tmp_path}/cache")
    sweep = ("-m", f"hydra/launcher={launcher}", *at_once[launcher], *tiny, "seed=0,1", "vote=majority,loudest")
    done = shell(*sweep, *(setting for setting in QUICK if setting != "workers=0"), cwd=tmp_path)
    assert done.returncode == 1
    assert "jobs of the sweep that failed: 2" in done.stderr
    assert done.stderr.count("vote=loudest: expected") >= 2
    assert read_runs(tmp_path / "runs")["seed"].tolist() == [0, 0, 1, 1]


def test_sweep_started_again_makes_what_is_missing(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = (f"run_dir={tmp_path}/runs/${{seed}}", f"hydra.sweep.dir={tmp_path}/sweep")
    sweep = ("-m", "seed=0,1", "data=folder", f"data.root={corpus}", *folders, *QUICK)
    run_verb("train", *sweep)
    (tmp_path / "runs" / "1" / "scores.json").unlink()
    kept = (tmp_path / "runs" / "0" / "scores.json").stat().st_mtime_ns
    run_verb("train", *sweep)
    assert "runs/0: finished already, left as it is" in capsys.readouterr().out
    assert (tmp_path / "runs" / "0" / "scores.json").stat().st_mtime_ns == kept
    assert read_runs(tmp_path / "runs")["run"].tolist() == ["0", "0", "1", "1"]
    with pytest.raises(SystemExit):
        run_verb("train", *sweep, "batch_size=8")
    assert "finished run with other settings (batch_size was 16, is 8)" in capsys.readouterr().err


def test_runs_are_read_together(album_run: Run) -> None:
    folder, scores = album_run
    runs = read_runs(folder.parent, settings=["data.min_albums", "no.such"])
    mine = runs[runs["run"] == folder.name]
    assert mine["level"].tolist() == ["frame", "song"]
    assert mine["f1_weighted"].tolist() == [scores["test"][level]["f1_weighted"] for level in ("frame", "song")]
    assert mine["split"].tolist() == ["album", "album"]
    assert mine["data.min_albums"].tolist() == [0, 0]
    assert mine["no.such"].isna().all()


def test_folder_without_a_finished_run(tmp_path: Path) -> None:
    with pytest.raises(ArtistidError, match="no finished run is in"):
        read_runs(tmp_path)


@pytest.mark.slow
def test_folds_of_a_jackknife_are_scored_together(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folds = ("split=jackknife", "split.n_folds=3", "split.fold=0,1,2")
    run_verb("train", "-m", "data=folder", f"data.root={corpus}", *folds, *QUICK)
    assert "scores its folds together" in capsys.readouterr().out
    runs = tmp_path / "runs" / "corpus" / "jackknife-drawn-1s-crnn-split.n_folds=3-trainer.max_epochs=1"
    assert sorted(path.name for path in runs.iterdir()) == ["0-fold0", "0-fold1", "0-fold2"]
    assert read_scores(runs / "0-fold2")["condition"]["fold"] == 2
    run_verb("report", "runs=runs", "maps=null")
    (path,) = (tmp_path / "report" / "tables").glob("table_v_song*.csv")
    row = pd.read_csv(path).set_index("split").loc["jackknife-drawn"]
    assert (row["songs_min"], row["trials"], row["runs"]) == (18, 1, "1 2 3"), "every song of the corpus, once"
    assert "jackknife-drawn: each artist's albums in folds" in (tmp_path / "report" / "report.md").read_text()
