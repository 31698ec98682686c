from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf
from scipy.spatial.distance import cdist
from sklearn.metrics import silhouette_score
from torch import nn

from artistid.data.catalog import Catalog
from artistid.data.clips import ClipSpec
from artistid.data.features import LogMel
from artistid.data.splits import Split
from artistid.errors import ArtistidError
from artistid.evaluation.predictions import Predictions
from artistid.learning.classifier import ArtistClassifier
from artistid.learning.specification import Specification
from artistid.reporting import projection
from artistid.reporting.projection import Embedding, embed, knn_purity, open_run, tsne
from tests.data.stores import make_store

SECOND = 32 * 512 / 16000  # what clip=1s lasts


def clusters(n_songs: int = 4, n_clips: int = 3, spread: float = 1.0, seed: int = 0) -> Embedding:
    """Clips of songs by two artists, each around a centre of its own."""
    generator = np.random.default_rng(seed)
    rows = [
        {"track_id": f"{artist}/{song}", "artist": artist, "title": str(song), "album": "", "clip": clip}
        for artist in "ab"
        for song in range(n_songs)
        for clip in range(n_clips)
    ]
    points = pd.DataFrame(rows).assign(start_s=lambda p: 1.0 * p["clip"], end_s=lambda p: p["clip"] + 1.0)
    centres = np.where(points["artist"] == "a", -5, 5)[:, None]
    return Embedding(points, (centres + generator.normal(0, spread, (len(points), 8))).astype(np.float32))


def untrained(clip_spec: ClipSpec) -> ArtistClassifier:
    """A network for the artists a and b, with random weights."""
    specification = Specification(
        artists=["a", "b"],
        features=LogMel().description(),
        clip=clip_spec.plain(),
        network={"_target_": "artistid.models.crnn.CRNN"},
        vote="majority",
        batch_size=4,
        precision="32-true",
        data={},
        split={},
        recordings=[],
    )
    return ArtistClassifier(specification).eval()


@pytest.fixture(scope="module")
def mapped(run: Path) -> Embedding:
    classifier, catalog, store = open_run(run)
    return embed(classifier, Split(**classifier.specification.split).select(catalog, "test"), store)


class TestEmbedding:
    def test_vectors_are_what_the_last_layer_is_given(self, run: Path, mapped: Embedding) -> None:
        predictions = Predictions.from_parquet(run / "predictions" / "test.parquet")
        assert mapped.points["track_id"].tolist() == predictions.track_id.tolist()
        assert mapped.points["clip"].tolist() == predictions.clip.tolist()
        assert mapped.points["artist"].tolist() == predictions.artist.tolist()
        classifier, _, _ = open_run(run)
        with torch.inference_mode():
            probability = classifier.network.classify(torch.from_numpy(mapped.vectors)).softmax(dim=1).numpy()
        np.testing.assert_allclose(probability, predictions.probability, rtol=1e-4)
        assert mapped.vectors.shape == (18, 32)
        assert mapped.vectors.dtype == np.float32

    def test_rows_say_what_they_are(self, run: Path, mapped: Embedding) -> None:
        tracks = {track.track_id: track for track in Catalog.from_csv(run / "catalog.csv")}
        for row in mapped.points.itertuples():
            track = tracks[row.track_id]
            assert (row.artist, row.title, row.album) == (track.artist, track.title, track.album)
            assert row.start_s == pytest.approx(row.clip * SECOND)
            assert row.end_s == pytest.approx((row.clip + 1) * SECOND)
            assert row.end_s <= track.duration_s

    def test_what_fills_up_a_short_song_has_no_seconds(self) -> None:
        catalog, store = make_store({"a/x/short": 40, "b/x/long": 150})
        catalog = catalog.with_facts({"a/x/short": (39.5 * 512 / 16000, "1"), "b/x/long": (149.5 * 512 / 16000, "2")})
        points = embed(untrained(ClipSpec(name="x", seconds=2, frames=64)), catalog, store).points
        assert points["clip"].tolist() == [0, 0, 1]
        assert points["start_s"].tolist() == pytest.approx([0, 0, 2.048])
        assert points["end_s"].tolist() == pytest.approx([1.264, 2.048, 4.096])

    def test_missing_features_are_made_again(self, run: Path, mapped: Embedding, tmp_path: Path) -> None:
        classifier, catalog, store = open_run(run, cache_dir=tmp_path)
        assert store.folder.is_relative_to(tmp_path)
        again = embed(classifier, Split(**classifier.specification.split).select(catalog, "test"), store)
        np.testing.assert_array_equal(again.vectors, mapped.vectors)

    def test_a_network_without_a_bottleneck(self) -> None:
        catalog, store = make_store({"a/x/y": 40})
        classifier = untrained(ClipSpec(name="x", seconds=1, frames=32))
        classifier.network = nn.Flatten()
        with pytest.raises(ArtistidError, match=r"Flatten has no method bottleneck\(log_mel\)"):
            embed(classifier, catalog, store)

    def test_a_network_that_diverged(self) -> None:
        catalog, store = make_store({"a/x/y": 40})
        classifier = untrained(ClipSpec(name="x", seconds=1, frames=32))
        nn.init.constant_(classifier.network.recurrence.bias_ih_l1, torch.nan)
        with pytest.raises(ArtistidError, match="not finite"):
            embed(classifier, catalog.with_facts({"a/x/y": (1.3, "1")}), store)

    def test_parquet_holds_places_and_vectors(self, mapped: Embedding, tmp_path: Path) -> None:
        mapped.placed(seed=0).to_parquet(tmp_path / "made" / "clips.parquet")
        mapped.by_song().placed(seed=0).to_parquet(tmp_path / "songs.parquet")
        clips, songs = (pd.read_parquet(tmp_path / name) for name in ("made/clips.parquet", "songs.parquet"))
        columns = ["track_id", "artist", "title", "album", "clip", "start_s", "end_s", "x", "y", "vector"]
        assert clips.columns.tolist() == songs.columns.tolist() == columns
        np.testing.assert_array_equal(np.stack(clips["vector"]), mapped.vectors)
        assert songs["clip"].isna().all()


class TestOpenRun:
    def test_what_the_run_says_of_its_cache_is_not_followed(
        self, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shutil.copytree(run, tmp_path / "run")
        config = tmp_path / "run" / "config.yaml"
        settings = OmegaConf.load(config)
        settings.cache_dir = str(tmp_path / "theirs")
        OmegaConf.save(settings, config)
        monkeypatch.setenv("ARTISTID_CACHE", str(tmp_path / "mine"))
        _, _, store = open_run(tmp_path / "run", workers=0)
        assert store.folder.is_relative_to(tmp_path / "mine")
        assert not (tmp_path / "theirs").exists()

    def test_no_finished_run(self, tmp_path: Path) -> None:
        with pytest.raises(ArtistidError, match=r"nowhere is not a finished run: it has no scores\.json"):
            open_run(tmp_path / "nowhere")

    def test_a_collection_that_lost_a_track(self, run: Path, tmp_path: Path) -> None:
        shutil.copytree(run, tmp_path / "run")
        with (tmp_path / "run" / "catalog.csv").open("a", encoding="utf-8") as file:
            file.write("artist1/lost/song,artist1,lost,song,/lost/song.mp3,4.0,0,\n")
        with pytest.raises(ArtistidError, match=r"no longer has 1 of the run's 19 tracks: artist1/lost/song$"):
            open_run(tmp_path / "run")


class TestSongs:
    def test_mean_of_each_songs_clips_in_whatever_order(self) -> None:
        clips = clusters()
        shuffled = np.random.default_rng(1).permutation(len(clips.points))
        songs = Embedding(clips.points.iloc[shuffled].reset_index(drop=True), clips.vectors[shuffled]).by_song()
        assert sorted(songs.points["track_id"]) == sorted(clips.points["track_id"].unique())
        for row, vector in zip(songs.points.itertuples(), songs.vectors, strict=True):
            own = (clips.points["track_id"] == row.track_id).to_numpy()
            np.testing.assert_allclose(vector, clips.vectors[own].mean(axis=0), rtol=1e-5)
            assert (row.artist, row.start_s, row.end_s) == (row.track_id[0], 0, 3)
        assert songs.points["clip"].isna().all()


class TestPurity:
    def test_by_hand(self) -> None:
        """On a line: a at 0, 1, 3 and b at 4, 9; the two nearest of each are 1 3, 0 3, 4 1, 3 1, 4 3."""
        vectors = np.array([0.0, 1, 3, 4, 9])[:, None]
        purity, chance = knn_purity(vectors, list("aaabb"), range(5), k=2)
        assert purity == pytest.approx(np.mean([2, 2, 1, 0, 1]) / 2)
        assert chance == pytest.approx((3 * 2 / 4 + 2 * 1 / 4) / 5)

    def test_clips_of_the_same_song_are_no_neighbours(self) -> None:
        """Each clip's twin is of its own song; the next nearest is of the other artist."""
        vectors = np.array([0, 0.1, 1, 1.1, 5, 6])[:, None]
        purity, chance = knn_purity(vectors, list("aabbab"), [0, 0, 1, 1, 2, 3], k=1)
        assert purity == 0
        assert chance == pytest.approx(np.mean([1 / 4, 1 / 4, 1 / 4, 1 / 4, 2 / 5, 2 / 5]))

    def test_fewer_possible_neighbours_than_asked_for(self) -> None:
        purity, chance = knn_purity(np.array([[0.0], [1], [2]]), list("aab"), range(3), k=50)
        assert purity == chance == pytest.approx((1 / 2 + 1 / 2 + 0) / 3)

    def test_all_distances_sorted_give_the_same(self, monkeypatch: pytest.MonkeyPatch) -> None:
        generator = np.random.default_rng(0)
        vectors = generator.normal(size=(150, 4))
        label, song = generator.integers(3, size=150), np.arange(150) // 5
        distance = cdist(vectors, vectors)
        distance[song[:, None] == song] = np.inf
        expected = np.mean(label[distance.argsort(axis=1)[:, :7]] == label[:, None])
        monkeypatch.setattr(projection, "MEMORY", 0.01)  # MiB: some rows at a time
        purity, _ = knn_purity(vectors, label, song, k=7)
        assert purity == pytest.approx(expected)

    def test_chance_is_the_purity_of_noise(self) -> None:
        generator = np.random.default_rng(0)
        label = np.repeat([0, 1, 1, 2], 500)
        purity, chance = knn_purity(generator.normal(size=(2000, 8)), label, range(2000))
        assert chance == pytest.approx((0.25**2 + 0.5**2 + 0.25**2), abs=1e-3)
        assert purity == pytest.approx(chance, abs=0.02)

    def test_no_label_with_two_songs(self) -> None:
        assert knn_purity(np.eye(4), list("aabb"), list("xxyy")) == (None, None)
        assert knn_purity(np.eye(2), list("aa"), list("xx")) == (None, None)

    def test_no_neighbours_asked_for(self) -> None:
        with pytest.raises(ArtistidError, match="k=0: expected 1 or more"):
            knn_purity(np.eye(3), list("aab"), range(3), k=0)


class TestClustering:
    def test_far_apart(self) -> None:
        clips = clusters()
        clustering = clips.clustering()
        assert clustering.silhouette == pytest.approx(silhouette_score(clips.vectors, clips.points["artist"]))
        assert clustering.silhouette > 0.6
        assert clustering.purity == 1
        assert clustering.n == 24
        assert str(clustering) == f"silhouette {clustering.silhouette:.2f}, 5-NN purity 1.00 (chance 0.43)"

    def test_all_mixed(self) -> None:
        clustering = clusters(n_songs=20, spread=200).by_song().clustering()
        assert -1 <= clustering.silhouette < 0.1
        assert clustering.purity == pytest.approx(clustering.chance, abs=0.25)

    def test_undefined_is_said(self) -> None:
        clustering = clusters(n_songs=1).by_song().clustering()
        assert (clustering.silhouette, clustering.purity, clustering.chance) == (None, None, None)
        assert str(clustering) == "silhouette undefined, 5-NN purity undefined"

    def test_of_a_run(self, mapped: Embedding) -> None:
        for level in (mapped, mapped.by_song()):
            clustering = level.clustering()
            assert -1 <= clustering.silhouette <= 1
            assert 0 <= clustering.purity <= 1
        assert mapped.by_song().clustering().chance == pytest.approx(1 / 5)


class TestMap:
    def test_same_seed_same_map(self) -> None:
        clips = clusters()
        first, again = clips.placed(seed=3), clips.placed(seed=3)
        pd.testing.assert_frame_equal(first.points, again.points)

    def test_neighbours_stay_neighbours(self) -> None:
        clips = clusters(n_songs=8)
        places = tsne(clips.vectors, seed=0)
        assert knn_purity(places, clips.points["artist"], clips.points["track_id"])[0] == 1

    @pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 30])
    def test_any_number_of_points(self, n: int) -> None:
        places = tsne(np.random.default_rng(0).normal(size=(n, 5)).astype(np.float32), seed=0)
        assert places.shape == (n, 2)
        assert np.isfinite(places).all()
        assert len(np.unique(places, axis=0)) == n
