"""The systems of Table III on data with a known answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from artistid.data.descriptors import N_CHROMA, Descriptors
from artistid.models.controls import ShuffledLabels, nothing
from artistid.models.ellis import ArtistGaussians, mfcc_and_chroma_moments, rotated
from artistid.models.gaussians import pack, packed_width, unpack
from artistid.models.mandel import (
    FrameMixtures,
    SongSVM,
    mfcc_mean_and_covariance,
    mfcc_moments,
    mfcc_rows,
)
from artistid.models.scoring import StandardisedSVC, as_decision, class_scores
from artistid.models.statistics import song_statistics
from artistid.models.whitman import WhitmanSVM, mean_mfcc

DESCRIPTORS = Descriptors()


# The other support vector machines are StandardisedSVC with other defaults.
@parametrize_with_checks([StandardisedSVC(), FrameMixtures(n_components=2)])
def test_scikit_learns_own_checks(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize("estimator", [ArtistGaussians(), SongSVM(), ShuffledLabels(WhitmanSVM(), 0)])
def test_estimators_of_moments_keep_scikit_learns_rules(estimator: Any) -> None:
    """Those checks of scikit-learn's that its own random columns, which are not moments, can't make."""
    random = np.random.default_rng(0)
    X, y = songs_of_moments(random, 3)
    if isinstance(estimator, SongSVM):
        X = X[:, : packed_width(20)]
    y = np.array(["c", "a", "b"])[y]
    before = estimator.get_params()
    fitted = clone(estimator).fit(X, y)
    assert fitted.classes_.tolist() == ["a", "b", "c"]
    assert {name: str(value) for name, value in fitted.get_params().items()} == {
        name: str(value) for name, value in before.items()
    }
    probability = fitted.predict_proba(X)
    assert probability.shape == (len(X), 3)
    assert probability.sum(axis=1) == pytest.approx(np.ones(len(X)))
    assert (fitted.predict(X) == fitted.classes_[probability.argmax(axis=1)]).all()
    assert np.array_equal(clone(estimator).fit(X, y).predict_proba(X), probability), "the same again"
    two = clone(estimator).fit(X[y != "b"], y[y != "b"])
    assert two.decision_function(X).shape == (len(X),)
    assert two.predict_proba(X).shape == (len(X), 2)


def test_two_classes_have_one_column() -> None:
    scores = np.array([[1.0, 4.0], [2.0, 0.0]])
    assert np.diff(class_scores(as_decision(scores))).ravel().tolist() == [3.0, -2.0]
    three = np.arange(6.0).reshape(2, 3)
    assert class_scores(as_decision(three)) is three


def songs_of_moments(random: np.random.Generator, n_artists: int, n_songs: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Packed moments of 20 MFCC and of chroma; artists differ in how loud their third coefficient varies."""
    vectors, labels = [], []
    for artist in range(n_artists):
        for _ in range(n_songs):
            mfcc = random.normal(size=(300, 20))
            mfcc[:, 2] *= 1 + artist
            vectors.append(np.concatenate([pack(mfcc), pack(random.uniform(size=(40, N_CHROMA)))]))
            labels.append(artist)
    return np.array(vectors), np.array(labels)


def as_rows(mfcc: np.ndarray, chroma: np.ndarray | None = None, beats: slice = slice(0, None, 10)) -> np.ndarray:
    """Descriptors (n, width) of what a track is made of."""
    rows = np.zeros((len(mfcc), DESCRIPTORS.width), np.float32)
    rows[:, DESCRIPTORS.mfcc] = mfcc
    rows[beats, DESCRIPTORS.beat] = 1
    if chroma is not None:
        rows[:, DESCRIPTORS.chroma] = chroma
    return rows


class TestSummaries:
    def test_mean(self) -> None:
        mfcc = np.random.default_rng(0).normal(size=(100, 20))
        assert mean_mfcc(as_rows(mfcc), DESCRIPTORS) == pytest.approx(mfcc.mean(axis=0)[None], abs=1e-5)

    def test_moments(self) -> None:
        mfcc = np.random.default_rng(0).normal(size=(100, 20))
        packed = mfcc_moments(as_rows(mfcc), DESCRIPTORS)
        assert packed.shape == (1, 231)
        assert unpack(packed).covariance[0] == pytest.approx(np.cov(mfcc, rowvar=False, ddof=0), abs=1e-5)
        assert mfcc_mean_and_covariance(as_rows(mfcc), DESCRIPTORS) == pytest.approx(packed[:, 1:])

    def test_chroma_count_once_a_beat(self) -> None:
        random = np.random.default_rng(0)
        chroma = random.uniform(size=(4, N_CHROMA)).repeat(10, axis=0)
        packed = mfcc_and_chroma_moments(as_rows(random.normal(size=(40, 20)), chroma), DESCRIPTORS)
        moments = unpack(packed[:, 231:])
        assert moments.n.tolist() == [4]
        assert moments.mean[0] == pytest.approx(chroma[::10].mean(axis=0), abs=1e-5)

    def test_a_clip_within_a_beat_has_its_chroma(self) -> None:
        chroma = np.full((5, N_CHROMA), 0.25)
        packed = mfcc_and_chroma_moments(as_rows(np.ones((5, 20)), chroma, beats=slice(0, 0)), DESCRIPTORS)
        assert unpack(packed[:, 231:]).mean[0].tolist() == [0.25] * N_CHROMA

    def test_some_rows(self) -> None:
        mfcc = np.arange(40.0).reshape(20, 2).repeat(10, axis=1)
        assert mfcc_rows(as_rows(mfcc), DESCRIPTORS, every=5)[:, 0].tolist() == [0, 10, 20, 30]

    def test_statistics(self) -> None:
        mfcc = np.zeros((200, 20))
        mfcc[:, 0] = 3 * np.arange(200)  # rises by 3 a row
        found = song_statistics(as_rows(mfcc), DESCRIPTORS)[0]
        assert found.shape == (158,)
        mean, deviation = np.split(found, 2)
        assert mean[0] == pytest.approx(298.5)
        assert mean[20] == pytest.approx(3, rel=0.05)
        assert deviation[0] == pytest.approx(mfcc[:, 0].std(), rel=1e-5)

    @pytest.mark.parametrize("n", [1, 2, 8])
    def test_statistics_of_hardly_anything(self, n: int) -> None:
        assert np.isfinite(song_statistics(as_rows(np.ones((n, 20))), DESCRIPTORS)).all()

    def test_nothing(self) -> None:
        assert nothing(as_rows(np.ones((3, 20))), DESCRIPTORS).tolist() == [[0]]


class TestArtistGaussians:
    def test_knows_artists_by_their_covariance(self) -> None:
        random = np.random.default_rng(0)
        model = ArtistGaussians(chroma_weight=0).fit(*songs_of_moments(random, 3))
        X, y = songs_of_moments(random, 3)
        assert (model.predict(X) == y).mean() > 0.95

    def test_chroma_are_aligned_in_key(self) -> None:
        """Two artists with a chord each, every song in a key of its own: only aligned do the chords tell."""
        random = np.random.default_rng(0)
        chords = np.zeros((2, N_CHROMA))
        chords[0, [0, 4, 7]] = chords[1, [0, 3, 6, 9]] = 1

        def songs(n: int) -> tuple[np.ndarray, np.ndarray]:
            y = np.arange(n) % 2
            chroma = [
                np.roll(chords[artist], random.integers(12)) + 0.1 * random.normal(size=(60, N_CHROMA)) for artist in y
            ]
            same = random.normal(size=(100, 20))
            return np.stack([np.concatenate([pack(same), pack(each)]) for each in chroma]), y

        model = ArtistGaussians(chroma_weight=1).fit(*songs(40))
        X, y = songs(40)
        assert (model.predict(X) == y).all()

    def test_rotation(self) -> None:
        chroma = np.random.default_rng(0).uniform(size=(30, N_CHROMA))
        turned = unpack(pack(np.roll(chroma, -3, axis=1))[None])
        found = rotated(unpack(pack(chroma)[None]), np.array([3]))
        assert found.mean == pytest.approx(turned.mean)
        assert found.covariance == pytest.approx(turned.covariance)

    def test_other_columns_are_refused(self) -> None:
        with pytest.raises(ValueError, match="no such number"):
            ArtistGaussians().fit(np.ones((4, 300)), [0, 0, 1, 1])


class TestFrameMixtures:
    def test_knows_what_no_single_gaussian_could(self) -> None:
        """Both artists have the same mean and covariance: one is a cross, the other its diagonals."""
        random = np.random.default_rng(0)

        def rows(n: int) -> tuple[np.ndarray, np.ndarray]:
            y = np.arange(n) % 2
            angle = np.pi / 2 * random.integers(4, size=n) + np.pi / 4 * y
            return np.column_stack([np.cos(angle), np.sin(angle)]) + 0.1 * random.normal(size=(n, 2)), y

        model = FrameMixtures(n_components=4, random_state=0).fit(*rows(2000))
        X, y = rows(2000)
        assert (model.predict(X) == y).mean() > 0.98

    def test_rows_are_bounded(self) -> None:
        random = np.random.default_rng(0)
        X, y = random.normal(size=(1000, 2)), np.arange(1000) % 2
        few = FrameMixtures(n_components=1, most_rows=10, random_state=0).fit(X, y)
        again = FrameMixtures(n_components=1, most_rows=10, random_state=0).fit(X, y)
        whole = FrameMixtures(n_components=1, random_state=0).fit(X, y)
        assert not np.allclose(few.mixtures_[0].means_, whole.mixtures_[0].means_)
        assert np.array_equal(few.mixtures_[0].means_, again.mixtures_[0].means_)

    def test_tells_of_what_did_not_converge(self, caplog: pytest.LogCaptureFixture) -> None:
        random = np.random.default_rng(0)
        FrameMixtures(n_components=8, max_iter=1, random_state=0).fit(random.normal(size=(500, 3)), np.arange(500) % 2)
        assert "not converged after max_iter=1: 2 of 2 mixtures" in caplog.text


class TestSongSVM:
    def test_knows_artists_by_their_covariance(self) -> None:
        random = np.random.default_rng(0)
        X, y = songs_of_moments(random, 3)
        model = SongSVM().fit(X[:, :231], y)
        X, y = songs_of_moments(random, 3)
        assert (model.predict(X[:, :231]) == y).mean() > 0.95

    def test_kernel_is_positive_once_clipped(self) -> None:
        random = np.random.default_rng(0)
        X, y = songs_of_moments(random, 4, 12)
        X = X[:, :231] * random.uniform(0.5, 2, size=(len(X), 231))  # far from any geometry
        d = 20
        X[:, 1 + d :] = np.array([pack(random.normal(size=(30, d)) * random.uniform(0.1, 9, d))[1 + d :] for _ in X])
        model = SongSVM(gamma=0.2).fit(X, y)
        assert model.lowest_eigenvalue_ < 0, "else this shows nothing"
        kernel = model._kernel(np.zeros((1, len(X))))  # any row
        assert (kernel @ model.projection_) @ model.projection_ == pytest.approx(kernel @ model.projection_)
        as_it_is = SongSVM(gamma=0.2, clip_spectrum=False).fit(X, y)
        assert as_it_is.projection_ == pytest.approx(np.eye(len(X)), abs=1e-9)

    def test_one_song_twice(self) -> None:
        X = np.repeat(songs_of_moments(np.random.default_rng(0), 2, 1)[0][:, :231], 2, axis=0)
        model = SongSVM().fit(X, [0, 0, 1, 1])
        assert model.predict(X).tolist() == [0, 0, 1, 1]

    def test_other_columns_are_refused(self) -> None:
        with pytest.raises(ValueError, match="230 is no such number"):
            SongSVM().fit(np.ones((4, 230)), [0, 0, 1, 1])


def test_shuffled_labels_teach_nothing() -> None:
    random = np.random.default_rng(0)
    X, y = random.normal(size=(400, 5)) + 10 * np.eye(5)[np.arange(400) % 5], np.arange(400) % 5
    assert (StandardisedSVC().fit(X, y).predict(X) == y).all()
    shuffled = ShuffledLabels(StandardisedSVC(), random_state=0).fit(X, y)
    assert (shuffled.predict(X) == y).mean() < 0.4
    other = ShuffledLabels(StandardisedSVC(), random_state=1).fit(X, y)
    assert not np.array_equal(other.predict(X), shuffled.predict(X))
