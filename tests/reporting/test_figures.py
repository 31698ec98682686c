from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score

from artistid.evaluation.plots import ARTIST_COLOURS, OTHER_SPLIT, SPLIT_COLOURS
from artistid.reporting import figures, tables
from artistid.runs.studies import Results, collect
from tests.evaluation.test_plots import is_drawn, margin_is_white, pixels
from tests.reporting.made_runs import make_run

ALBUM, SONG, FILE = (0, 114, 178), (213, 94, 0), (230, 159, 0)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Two trials on both splits."""
    root = tmp_path_factory.mktemp("runs")
    for split in ("song", "album"):
        for seed in (0, 21):
            make_run(root / f"{split}{seed}", split, "3s", seed)
    return collect([root])


def colours(image: np.ndarray, *colour: int) -> int:
    """How many pixels have a colour."""
    return int((np.abs(image - np.array(colour) / 255) < 0.02).all(axis=2).sum())


def test_all_figures_are_whole_and_fit_for_print(results: Results, tmp_path: Path) -> None:
    (study,) = results.studies
    album = study.cell("album", 3)
    figures.f1_by_clip(study, tmp_path / "clip.png")
    figures.producer_effect(study, tables.producer_effect(study, 50, 0), tmp_path / "producer.png")
    figures.f1_per_artist({3: album}, album[0].votes.artists, tmp_path / "artist.png")
    figures.confusion_over_trials(album, "song", "title", tmp_path / "confusion.png")
    assert figures.learning_curves(album, tmp_path / "curves.png") == list(album)
    for path in tmp_path.glob("*.png"):
        image = pixels(path)
        assert is_drawn(image), path
        assert margin_is_white(image), path
        assert 1200 < image.shape[1] < 6500, path


def test_splits_differ_in_colour_and_an_unknown_one_is_drawn_too(results: Results, tmp_path: Path) -> None:
    (study,) = results.studies
    figures.f1_by_clip(study, tmp_path / "two.png")
    two = pixels(tmp_path / "two.png")
    assert colours(two, *ALBUM) > 1000
    assert colours(two, *SONG) > 1000
    assert colours(two, *FILE) == 0
    make_run(tmp_path / "run", "album", "3s", settings={"split.name": "file"})
    figures.f1_by_clip(collect([tmp_path / "run"]).studies[0], tmp_path / "three.png")
    assert colours(pixels(tmp_path / "three.png"), *FILE) > 300


def test_a_colour_means_a_split_in_all_figures(results: Results, tmp_path: Path) -> None:
    (study,) = results.studies
    album = study.cell("album", 3)
    figures.systems(tables.system_scores([study]), tmp_path / "systems.png")
    systems = pixels(tmp_path / "systems.png")
    assert min(colours(systems, *ALBUM), colours(systems, *SONG)) > 50
    figures.learning_curves(album, tmp_path / "curves.png")
    curves = pixels(tmp_path / "curves.png")
    assert colours(curves, *ALBUM) > 300
    assert colours(curves, *SONG) == 0
    figures.producer_effect(study, tables.producer_effect(study, 50, 0), tmp_path / "producer.png")
    figures.f1_per_artist({3: album}, album[0].votes.artists, tmp_path / "artist.png")
    figures.confusion_over_trials(album, "song", "title", tmp_path / "confusion.png")
    for name in ("producer", "artist", "confusion"):
        assert np.ptp(pixels(tmp_path / f"{name}.png"), axis=2).max() == 0, f"{name}: grey, as it is of no one split"
    assert not set(ARTIST_COLOURS) & {*SPLIT_COLOURS.values(), OTHER_SPLIT}


def test_pdf_and_svg_bring_their_letters(results: Results, tmp_path: Path) -> None:
    (study,) = results.studies
    figures.f1_by_clip(study, tmp_path / "clip.png")
    pdf = (tmp_path / "clip.pdf").read_bytes()
    assert b"/FontFile2" in pdf
    assert b"/CIDFontType2" in pdf
    assert b"/Type3" not in pdf
    svg = (tmp_path / "clip.svg").read_text()
    assert "<path" in svg
    assert "<text" not in svg
    assert "font-family" not in svg


def test_runs_without_epochs_draw_nothing(tmp_path: Path) -> None:
    make_run(tmp_path / "run", epochs=0)
    (run,) = collect([tmp_path / "run"]).runs
    assert figures.learning_curves([run], tmp_path / "curves.png") == []
    assert not (tmp_path / "curves.png").exists()


def test_f1_of_artists_is_that_of_all_trials_together(results: Results) -> None:
    (study,) = results.studies
    runs = study.cell("album", 3)
    label, predicted = (
        np.concatenate([getattr(run.outcomes["frame"], name) for run in runs]) for name in ("label", "predicted")
    )
    expected = f1_score(label, predicted, average=None, labels=range(4))
    np.testing.assert_allclose(figures.f1_over_trials(runs, "frame", 4), expected)


def test_producer_effect_is_the_difference_of_the_means(results: Results) -> None:
    (study,) = results.studies
    effect = tables.producer_effect(study, 500, 0).set_index("level")
    for level in ("frame", "song"):
        means = [
            np.mean([run.test(level)["f1_weighted"] for run in study.cell(split, 3)]) for split in ("song", "album")
        ]
        row = effect.loc[level]
        assert row["difference"] == pytest.approx(means[0] - means[1])
        assert row["ci95_low"] < row["difference"] < row["ci95_high"]
    assert effect.loc["song", "published"] == pytest.approx(0.937 - 0.651, abs=1e-3)
