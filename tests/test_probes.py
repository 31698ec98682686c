"""Probes and back ends through the real commands: the same run folders, checkpoints and answers as any network."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import artistid
from artistid.evaluation.predictions import Predictions
from artistid.evaluation.voting import vote
from artistid.inference.collection import Collection
from artistid.learning.specification import load_network
from tests.corpus import make_corpus
from tests.verbs import read_scores, run_verb, train


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("music"), artists=3, albums=4, songs=2, seconds=5, endings=("wav",))


@pytest.fixture(scope="module")
def probe(music: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a probe of log-mel; to be left as it is."""
    folder = tmp_path_factory.mktemp("runs") / "probe"
    train(music, folder, "model=probe")
    return folder


def checkpoint(run: Path, name: str = "best") -> Path:
    return run / "checkpoints" / f"{name}.ckpt"


def test_probe_is_a_run_like_any_other(probe: Path) -> None:
    scores = read_scores(probe)
    assert scores["condition"]["model"] == "probe-logmel-lda"
    assert scores["condition"]["vote"] == "mean_embedding"
    assert scores["test"]["song"]["f1_weighted"] == 1
    assert scores["test"]["frame"]["f1_weighted"] > 0.9
    assert scores["training"]["backend"]["fitted_to"] == ["train"]
    assert scores["open_set"]["n_songs"] == 6
    # 3 × 128 statistics to two dimensions, a centre and an offset, three centroids, a temperature.
    assert scores["parameters"] == 384 * 2 + 384 + 2 + 3 * 2 + 1


def test_songs_are_named_by_the_mean_of_their_embeddings(music: Path, probe: Path) -> None:
    """The run's votes, worked out again with the checkpoint's own parts."""
    identifier = artistid.load(checkpoint(probe), device="cpu")
    _, network = load_network(checkpoint(probe))
    songs = pd.read_csv(probe / "songs_test.csv").set_index("track_id")
    for track_id, row in songs.iterrows():
        outputs = identifier.hear(next(music.glob(f"{track_id}*")))
        mean = torch.from_numpy(outputs.embedding.mean(axis=0, keepdims=True))
        expected = network.classify(mean).softmax(dim=1)[0].numpy(force=True)
        answer = identifier.identify(outputs)
        assert answer.top[0].artist == row["predicted"] == identifier.artists[expected.argmax()]
        assert answer.score == pytest.approx(expected.max(), abs=1e-5)
        assert row["confidence"] == pytest.approx(expected.max(), abs=1e-3)


def test_evaluate_embed_and_similar_take_a_probe(music: Path, probe: Path, tmp_path: Path) -> None:
    run_verb("evaluate", f"checkpoint={checkpoint(probe)}", f"run_dir={tmp_path / 'again'}", "figures=false")
    assert read_scores(tmp_path / "again")["test"] == read_scores(probe)["test"]
    out = tmp_path / "songs.parquet"
    run_verb("embed", f"checkpoint={checkpoint(probe)}", f"out={out}", f"audio={music}")
    collection = Collection.read(out)
    assert len(collection) == 24
    vector = artistid.load(checkpoint(probe)).embed(music / "artist1" / "album1" / "song1.wav")
    nearest = collection.nearest_songs(vector, 2)[0]
    assert nearest.similarity == pytest.approx(1, abs=1e-3)


def test_refitting_takes_the_validation_and_says_so(music: Path, probe: Path, tmp_path: Path) -> None:
    scores = train(music, tmp_path / "refitted", "model=probe", "backend.refit=true")
    assert scores["training"]["backend"]["fitted_to"] == ["train", "val"]
    before, after = (
        Predictions.from_parquet(run / "predictions" / "val.parquet").probability
        for run in (probe, tmp_path / "refitted")
    )
    assert np.array_equal(before, after), "the validation's scores are of what had not heard it"
    (first, _), (second, network) = (load_network(checkpoint(run)) for run in (probe, tmp_path / "refitted"))
    assert (len(first.recordings), len(second.recordings)) == (12, 18)
    assert not torch.equal(network.projection, load_network(checkpoint(probe))[1].projection)


@pytest.mark.slow
def test_any_features_and_back_end(music: Path, probe: Path, tmp_path: Path) -> None:
    bottleneck = ("features=bottleneck", f"features.checkpoint={checkpoint(probe)}", "backend=logistic")
    for name, settings in {
        "probe-descriptors-plda": ("features=descriptors", "backend=plda"),
        "probe-bottleneck-logistic": bottleneck,
        "ivector-wccn": ("backend=wccn", "clip=1s", "model.network.n_components=8", "model.network.n_units=5"),
    }.items():
        scores = train(music, tmp_path / name, f"model={name.split('-')[0]}", *settings)
        assert scores["condition"]["model"] == name
        assert scores["test"]["song"]["f1_weighted"] > 0.6
    assert set(pd.read_csv(tmp_path / "probe-bottleneck-logistic" / "grid.csv")["C"]) == {0.01, 0.1, 1, 10}
    answer = artistid.load(checkpoint(tmp_path / "ivector-wccn")).predict(music / "artist2" / "album1" / "song1.wav")
    assert answer.artist == "artist2"


def test_a_trained_network_with_a_back_end(music: Path, tmp_path: Path) -> None:
    plain = train(music, tmp_path / "plain", "vote=mean_embedding")
    scores = train(music, tmp_path / "crnn", "backend=lda")
    assert scores["condition"]["model"] == "crnn-lda"
    assert scores["training"]["best_val_loss"] == plain["training"]["best_val_loss"], "it was trained alike"
    assert scores["training"]["backend"]["temperature"] > 0
    specification, network = load_network(checkpoint(tmp_path / "crnn"))
    _, trained = load_network(checkpoint(tmp_path / "plain"))
    clips = torch.randn(2, 128, 31)
    assert torch.allclose(network.front(clips), trained.bottleneck(clips), atol=1e-5)
    assert specification.vote == "mean_embedding"
    before, _ = load_network(checkpoint(tmp_path / "crnn", "network"))
    assert before.network["_target_"] == "artistid.models.crnn.CRNN"


def test_a_network_s_temperature_changes_how_sure_it_is_only(music: Path, tmp_path: Path) -> None:
    plain, calibrated = (
        train(music, tmp_path / name, *settings)
        for name, settings in (("plain", ()), ("calibrated", ("temperature=validation",)))
    )
    temperature = calibrated["training"]["temperature"]
    loss, probability = {}, {}
    for name in ("plain", "calibrated"):
        clips = {s: Predictions.from_parquet(tmp_path / name / "predictions" / f"{s}.parquet") for s in ("val", "test")}
        said = clips["val"].probability[np.arange(len(clips["val"])), clips["val"].label]
        loss[name], probability[name] = -np.log(said).mean(), clips["test"].probability
    assert loss["calibrated"] < loss["plain"]
    powers = probability["plain"].astype(np.float64) ** (1 / temperature)
    assert probability["calibrated"] == pytest.approx(powers / powers.sum(axis=1, keepdims=True), abs=1e-3)
    assert calibrated["test"]["frame"]["f1_weighted"] == plain["test"]["frame"]["f1_weighted"]


@pytest.mark.slow
def test_the_best_experiment_is_a_network_to_whoever_opens_it(music: Path, tmp_path: Path) -> None:
    scores = train(music, tmp_path / "run", "experiment=best")
    assert scores["condition"]["model"] == "timbre_pitch-lda"
    assert scores["test"]["song"]["f1_weighted"] == 1
    assert scores["duplicates"]["searched"], "copies are looked for in semitones, too"
    grid = pd.read_csv(tmp_path / "run" / "grid.csv")
    best = grid.sort_values(["val/frame/f1_weighted", "val/loss"], ascending=[False, True], kind="stable").iloc[0]
    chosen = scores["training"]["backend"]["chosen"]["parts"]
    assert len(grid) == scores["training"]["backend"]["grid_points"] == 2
    assert str(chosen) == best["parts"]
    specification, network = load_network(checkpoint(tmp_path / "run"))
    assert specification.network["front"]["parts"] == chosen
    assert len(network.front.parts) == len(chosen)
    song = music / "artist2" / "album1" / "song1.wav"
    assert artistid.load(checkpoint(tmp_path / "run")).predict(song).artist == "artist2"
    pytest.importorskip("onnxruntime")
    run_verb("export", f"checkpoint={checkpoint(tmp_path / 'run')}", f"out={tmp_path / 'best.onnx'}")


@pytest.mark.slow
def test_export_takes_rhythm(music: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    train(music, tmp_path / "run", "experiment=best", "clip=3s", "model.grid.parts=[[rhythm]]")
    run_verb("export", f"checkpoint={checkpoint(tmp_path / 'run')}", f"out={tmp_path / 'rhythm.onnx'}")  # and compares


@pytest.mark.slow
def test_export_takes_a_probe_of_log_mel(probe: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    run_verb("export", f"checkpoint={checkpoint(probe)}", f"out={tmp_path / 'probe.onnx'}")  # which compares with ours
    assert (tmp_path / "probe.onnx").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model=probe", "~backend"], "model=probe.*expected backend=lda"),
        (["model=probe", "clip=song"], "clip=song"),
        (["model=probe", "switch=[equaliser]"], r"switch=\[equaliser\] has no effect on model=probe"),
        (["model=mandel_svm", "backend=lda"], "backend=.* has no effect on model=mandel_svm"),
        (["model=statistics_svm", "augment=mixup"], "augment=.* has no effect"),
        (["model=probe", "clip.crop=random"], "clip.crop=random"),
        (["model=probe", "backend.estimator.scorer=svm"], "scorer=.svm.*cosine, plda, logistic"),
        (["model=probe", "+backend.grid.nu=[1]"], "backend.grid: nu is not a parameter"),
        (["experiment=best", "+model.network.parts=[cepstra]"], "model.grid: parts is in model.network as well"),
        (["experiment=best", "model.grid.parts=[[melody]]"], "parts=melody: expected one of"),
        (["experiment=best", "model.grid.parts=cepstra"], "model.grid.parts=.cepstra.: expected a list"),
        (["experiment=best", "+model.grid.lag=[1]"], "model.network.*lag"),
        (["model=probe", "backend.estimator.pca=1000"], "backend.* cannot be fitted.*n_components=1000"),
        (["model=probe", "backend.estimator.max_components=0"], "max_components=0"),
        (["model=probe", "init_from=x.ckpt"], "init_from"),
        (["temperature=2"], "temperature=2.*validation"),
        (
            ["model=probe", "backend=plda", "data.exclude=[artist1/album4/,artist2/album4/,artist3/album4/]"],
            "two albums",
        ),
    ],
)
def test_settings_that_do_not_fit_together(
    music: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], overrides: list[str], message: str
) -> None:
    with pytest.raises(SystemExit):
        train(music, tmp_path / "run", *overrides)
    said = capsys.readouterr()
    assert re.search(message, " ".join((said.out + said.err).split()))
    assert not (tmp_path / "run" / "scores.json").exists()


def scores_of(run: Path) -> dict[str, Any]:
    return read_scores(run)["test"]["song"]


def test_the_vote_by_embeddings_is_scored_as_it_is_read_again(probe: Path) -> None:
    test = Predictions.from_parquet(probe / "predictions" / "test.parquet")
    assert test.of_song is not None
    votes = vote(test, "mean_embedding")
    assert np.mean(votes.predicted == votes.label) == scores_of(probe)["accuracy"]
