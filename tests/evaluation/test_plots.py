from __future__ import annotations

import threading
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from artistid.errors import ArtistidError
from artistid.evaluation.plots import confusion_matrix, learning_curves


def pixels(path: Path) -> np.ndarray:
    """``(height, width, 3)`` of a PNG; fails if the file is none."""
    assert path.read_bytes().startswith(b"\x89PNG")
    return matplotlib.image.imread(path)[..., :3]


def is_drawn(image: np.ndarray) -> bool:
    """Something dark on a mostly light page."""
    return bool(image.min() < 0.3 and 0.5 < image.mean() < 0.999)


def margin_is_white(image: np.ndarray) -> bool:
    """Nothing touches the edge, so nothing was cut off."""
    edge = np.concatenate([image[:3].ravel(), image[-3:].ravel(), image[:, :3].ravel(), image[:, -3:].ravel()])
    return bool((edge == 1).all())


class TestConfusionMatrix:
    @pytest.mark.parametrize("n_artists", [1, 2, 20, 26, pytest.param(200, marks=pytest.mark.slow)])
    def test_readable_for_any_number_of_artists(self, tmp_path: Path, n_artists: int) -> None:
        generator = np.random.default_rng(0)
        label, predicted = generator.integers(n_artists, size=(2, 500))
        path = tmp_path / "made" / "confusion.png"
        confusion_matrix(label, predicted, [f"Artist {n}" for n in range(n_artists)], "Song level", path)
        image = pixels(path)
        assert is_drawn(image)
        assert margin_is_white(image)
        height, width = image.shape[:2]
        assert min(height, width) > max(300, 18 * n_artists), "a row must be high enough for a name"
        assert max(height, width) < 5000

    def test_long_names_and_a_long_title_are_not_cut_off(self, tmp_path: Path) -> None:
        artists = ["The Orchestra of " + "very " * 40 + "long names", "$uicideboy$ & A$AP _{^", "Sigur Rós, Σωκράτης"]
        confusion_matrix(np.arange(3), np.arange(3), artists, "A title that goes on " * 10, tmp_path / "c.png")
        image = pixels(tmp_path / "c.png")
        assert margin_is_white(image)
        assert max(image.shape) < 2000

    def test_colour_is_the_share_of_the_row_not_the_count(self, tmp_path: Path) -> None:
        def draw(n: int) -> np.ndarray:
            """Thirty artists, too many for counts to be printed; the second has ``n`` samples, half mistaken."""
            label, predicted = np.array([0] + [1] * 2 * n), np.array([0] + [0, 1] * n)
            path = tmp_path / f"{n}.png"
            confusion_matrix(label, predicted, ["x"] * 30, "", path)
            return pixels(path)

        np.testing.assert_array_equal(draw(1), draw(50))

    def test_counts_are_printed_for_few_artists(self, tmp_path: Path) -> None:
        def draw(n: int) -> np.ndarray:
            confusion_matrix(np.zeros(n, int), np.zeros(n, int), ["x", "y"], "", tmp_path / f"{n}.png")
            return pixels(tmp_path / f"{n}.png")

        three, eight = draw(3), draw(8)
        assert three.shape == eight.shape
        assert (three != eight).any()

    def test_rows_are_the_truth(self, tmp_path: Path) -> None:
        """All of the first artist taken for the second: the dark cell is at the upper right."""
        confusion_matrix(np.zeros(9, int), np.ones(9, int), ["x", "y"], "", tmp_path / "c.png")
        image = pixels(tmp_path / "c.png")
        height, width = image.shape[:2]
        black = (image < 0.02).all(axis=2)
        rows, columns = np.nonzero(black[:, : int(0.8 * width)])  # the colour bar is right of that
        assert len(rows) > 1000
        assert rows.mean() < height / 2
        assert columns.mean() > width / 3

    def test_drawing_in_a_thread(self, tmp_path: Path) -> None:
        arguments = (np.arange(2), np.arange(2), ["x", "y"], "", tmp_path / "c.png")
        thread = threading.Thread(target=confusion_matrix, args=arguments)
        thread.start()
        thread.join()
        assert is_drawn(pixels(tmp_path / "c.png"))


def csv_logger_metrics(n_epochs: int) -> pd.DataFrame:
    """As Lightning's CSVLogger writes them: training and validation of an epoch in rows of their own."""
    rows: list[dict[str, float]] = []
    for epoch in range(n_epochs):
        f1 = 1 - 0.9**epoch
        rows.append({"epoch": epoch, "step": 10 * epoch + 4, "train/loss": 3 * 0.9**epoch})
        validation = {"val/loss": 1 + abs(epoch - 7) / 5, "val/frame/f1_weighted": f1 / 2, "val/song/f1_weighted": f1}
        rows.append({"epoch": epoch, "step": 10 * epoch + 9, **validation})
    return pd.DataFrame(rows)


class TestLearningCurves:
    @pytest.mark.parametrize("n_epochs", [1, 2, 100])
    def test_runs_of_any_length(self, tmp_path: Path, n_epochs: int) -> None:
        path = tmp_path / "made" / "curves.png"
        learning_curves(csv_logger_metrics(n_epochs), path)
        image = pixels(path)
        assert is_drawn(image)
        assert margin_is_white(image)
        assert 1000 < image.shape[1] < 2500
        assert np.ptp(image, axis=2).max() == 0, "colours mean splits, and a run has but one"

    def test_the_best_epoch_follows_the_monitored_metric(self, tmp_path: Path) -> None:
        """The dashed line is at epoch 8 of 20 for the loss, at the last one for the F1."""

        def line(monitor: str) -> float:
            """How far right in the left panel the line is; nothing else is as long in such a grey."""
            learning_curves(csv_logger_metrics(20), tmp_path / "curves.png", monitor)
            image = pixels(tmp_path / "curves.png")
            grey = (np.abs(image - 0.6) < 0.06).all(axis=2)[:, : image.shape[1] // 2]
            return float(grey.sum(axis=0).argmax() / image.shape[1])

        assert 0.15 < line("val/loss") < 0.25
        assert line("val/song/f1_weighted") > 0.42

    def test_steps_of_an_epoch_are_averaged(self, tmp_path: Path) -> None:
        once = csv_logger_metrics(3)
        lower, higher = once.copy(), once.copy()
        lower["train/loss"] -= 0.25
        higher["train/loss"] += 0.25
        learning_curves(once, tmp_path / "once.png")
        learning_curves(pd.concat([lower, higher]), tmp_path / "steps.png")
        np.testing.assert_array_equal(pixels(tmp_path / "once.png"), pixels(tmp_path / "steps.png"))

    def test_a_curve_never_logged_is_left_out(self, tmp_path: Path) -> None:
        learning_curves(csv_logger_metrics(5), tmp_path / "all.png")
        learning_curves(csv_logger_metrics(5)[["epoch", "step", "val/loss"]], tmp_path / "curves.png")
        image = pixels(tmp_path / "curves.png")
        assert is_drawn(image)
        (all_loss, all_f1), (loss, f1) = (
            [(panel < 0.1).sum() for panel in np.array_split(each, 2, axis=1)]
            for each in (pixels(tmp_path / "all.png"), image)
        )
        assert 0.3 * all_loss < loss < all_loss
        assert f1 < 0.7 * all_f1

    @pytest.mark.parametrize("missing", ["epoch", "val/loss"])
    def test_what_was_never_logged_is_named(self, tmp_path: Path, missing: str) -> None:
        metrics = csv_logger_metrics(3)
        for broken in (metrics.drop(columns=missing), metrics.assign(**{missing: np.nan})):
            with pytest.raises(ArtistidError, match=rf"need '{missing}' among the metrics; logged was: .*train/loss"):
                learning_curves(broken, tmp_path / "curves.png")
