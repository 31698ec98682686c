from __future__ import annotations

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from artistid.data.catalog import Catalog
from artistid.data.features import LogMel
from artistid.data.store import Store
from artistid.errors import ArtistidError
from artistid.reporting.spectrograms import draw_excerpts, draw_spectrograms, write_spectrograms
from tests.data.stores import make_store

FEATURES = LogMel()
HOP_SECONDS = 512 / 16000
THREE_SECONDS = 94  # frames


def with_frames(store: Store, track_id: str, log_mel: np.ndarray) -> None:
    """Put values (frames, mel), or those of each frame (frames, 1), in place of a track's."""
    store.track(track_id)[:] = log_mel


def many_artists(n: int) -> tuple[Catalog, Store]:
    return make_store({f"artist {number}/album/{song}": 150 for number in range(n) for song in "xyz"})


class TestChoice:
    def test_one_per_artist_cut_from_where_it_says(self) -> None:
        catalog, store = many_artists(5)
        excerpts = draw_excerpts(catalog, store, FEATURES, seed=3)
        assert [excerpt.track.artist for excerpt in excerpts] == list(catalog.artists)
        for excerpt in excerpts:
            start = round(excerpt.start_s / HOP_SECONDS)
            whole = store.track(excerpt.track.track_id)
            np.testing.assert_array_equal(excerpt.log_mel, whole[start : start + THREE_SECONDS])
            assert len(excerpt.log_mel) == THREE_SECONDS

    def test_seed_draws_song_and_place(self) -> None:
        catalog, store = many_artists(5)

        def drawn(seed: int) -> list[tuple[str, float]]:
            return [(each.track.track_id, each.start_s) for each in draw_excerpts(catalog, store, FEATURES, seed)]

        assert drawn(0) == drawn(0)
        of_first_artist = {drawn(seed)[0] for seed in range(30)}
        assert {track_id for track_id, _ in of_first_artist} == {
            "artist 0/album/x",
            "artist 0/album/y",
            "artist 0/album/z",
        }
        assert len({start for _, start in of_first_artist}) > 10

    def test_silence_is_not_shown(self) -> None:
        catalog, store = make_store({"a/album/x": 1000})
        level = np.full((1000, 1), -70.0)
        level[400:700] = -5
        with_frames(store, "a/album/x", level)
        for seed in range(40):
            [excerpt] = draw_excerpts(catalog, store, FEATURES, seed)
            assert (excerpt.log_mel.max(axis=1) > -45).mean() >= 0.9

    def test_songs_too_short_give_way_and_else_the_longest_is_shown_whole(self) -> None:
        catalog, store = make_store({"a/album/x": 50, "a/album/y": 94, "b/album/x": 20, "b/album/y": 60})
        for seed in range(10):
            first, second = draw_excerpts(catalog, store, FEATURES, seed)
            assert (first.track.track_id, len(first.log_mel)) == ("a/album/y", 94)
            assert (second.track.track_id, len(second.log_mel), second.start_s) == ("b/album/y", 60, 0)

    def test_no_frame(self) -> None:
        with pytest.raises(ArtistidError, match=r"seconds=0\.01: expected at least one frame, 0\.032 s"):
            draw_excerpts(*many_artists(1), FEATURES, seconds=0.01)


class TestFigure:
    @pytest.mark.parametrize(("n_artists", "columns", "rows"), [(1, 1, 1), (7, 3, 3), (20, 5, 4)])
    def test_grid_grows_with_the_artists(self, tmp_path: Path, n_artists: int, columns: int, rows: int) -> None:
        path = tmp_path / "made" / "spectrograms.png"
        draw_spectrograms(draw_excerpts(*many_artists(n_artists), FEATURES), FEATURES, 3, path)
        height, width = matplotlib.image.imread(path).shape[:2]
        assert 300 * columns < width < 300 * columns + 300
        assert 240 * rows < height < 240 * rows + 200

    def test_long_and_odd_names_are_not_cut_off(self, tmp_path: Path) -> None:
        catalog, store = make_store(
            {f"{name}/x/y": 100 for name in ("$a_{^", "Sigur Rós, Σωκράτης", "a long name" * 9)}
        )
        draw_spectrograms(draw_excerpts(catalog, store, FEATURES), FEATURES, 3, tmp_path / "s.png")
        image = matplotlib.image.imread(tmp_path / "s.png")[..., :3]
        assert image.shape[1] < 1200
        assert (image[:, :3] == 1).all()
        assert (image[:3] == 1).all()

    def test_all_panels_share_one_scale(self, tmp_path: Path) -> None:
        """A song at 0 dB throughout is light, one at -80 dB is dark: scaled alone, both would look the same."""
        catalog, store = make_store({"a/x/y": 100, "b/x/y": 100})
        with_frames(store, "a/x/y", np.zeros((100, 1)))
        with_frames(store, "b/x/y", np.full((100, 1), -80))
        draw_spectrograms(draw_excerpts(catalog, store, FEATURES), FEATURES, 3, tmp_path / "s.png")
        image = matplotlib.image.imread(tmp_path / "s.png")[..., :3]
        middle = image[image.shape[0] // 2].mean(axis=1)  # (width,)
        n_dark = (middle < 0.05).sum()
        assert 280 < n_dark < 330, "one panel, 2 inches of 150 pixels, is black"

    def test_a_short_song_leaves_its_panel_blank(self, tmp_path: Path) -> None:
        catalog, store = make_store({"a/x/y": 47})
        with_frames(store, "a/x/y", np.linspace(-80, 0, 47)[:, None])
        draw_spectrograms(draw_excerpts(catalog, store, FEATURES), FEATURES, 3, tmp_path / "s.png")
        middle = matplotlib.image.imread(tmp_path / "s.png")[150, :, :3]
        coloured = (middle != 1).any(axis=1)
        assert 145 < coloured[60:380].sum() < 165, "half of the panel"

    def test_of_a_finished_run(self, run: Path, tmp_path: Path) -> None:
        path = write_spectrograms(run, tmp_path / "spectrograms.png", seed=1)
        again = write_spectrograms(run, tmp_path / "again.png", seed=1)
        image = matplotlib.image.imread(path)
        np.testing.assert_array_equal(image, matplotlib.image.imread(again))
        assert image[..., :3].std() > 0.1
        assert (path.read_bytes()) != write_spectrograms(run, tmp_path / "other.png", seed=2).read_bytes()
