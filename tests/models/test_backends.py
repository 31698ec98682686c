"""Back ends against closed forms: a model's own parameters, densities worked out at length, scikit-learn's parts."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import multivariate_normal
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.preprocessing import StandardScaler

from artistid.errors import ArtistidError
from artistid.models.backends import WCCN, AlbumPLDA, BackEnd, CosineCentroids, Sessions
from artistid.models.calibrated import CalibratedEmbedding
from artistid.models.embedding import ToBottleneck, song_means
from artistid.models.probe import Mean, Probe, Statistics
from tests.learning.test_classifier import specification

Floats = NDArray[np.float64]
ARTIST, ALBUM, REST = (np.array(each) for each in ([[4.0, 1], [1, 2]], [[1.0, 0.3], [0.3, 0.5]], [[0.3, 0], [0, 0.6]]))


def music(artists: int, albums: int, songs: int, seed: int = 0) -> tuple[Floats, NDArray, NDArray]:
    """Vectors drawn as PLDA has them, their artists and albums."""
    draw = np.random.default_rng(seed)
    of_artist = draw.multivariate_normal([1, -2], ARTIST, artists)
    of_album = draw.multivariate_normal([0, 0], ALBUM, artists * albums)
    rest = draw.multivariate_normal([0, 0], REST, artists * albums * songs)
    album = np.repeat(np.arange(artists * albums), songs)
    artist = album // albums
    return of_artist[artist] + of_album[album] + rest, artist, album


class TestPLDA:
    def test_finds_the_covariances_that_its_data_were_drawn_with(self) -> None:
        fitted = AlbumPLDA(shrinkage=0).fit(*music(800, 4, 3))
        assert fitted.rest_ == pytest.approx(REST, abs=0.04)
        assert fitted.album_ == pytest.approx(ALBUM, abs=0.1)
        assert fitted.artist_ == pytest.approx(ARTIST, abs=0.6)

    def test_unequal_albums_and_artists_count_alike(self) -> None:
        """The moments stay right on average where some albums have many songs, and some artists one album."""
        X, artist, album = music(800, 4, 6)
        draw = np.random.default_rng(1)
        kept = (draw.random(len(X)) < 0.5) & ~((artist % 3 == 0) & (album % 4 > 0))
        fitted = AlbumPLDA(shrinkage=0).fit(X[kept], artist[kept], album[kept])
        assert fitted.album_ == pytest.approx(ALBUM, abs=0.12)
        assert fitted.artist_ == pytest.approx(ARTIST, abs=0.6)

    def test_score_is_the_density_given_all_that_was_heard_of_the_artist(self) -> None:
        """Worked out at length: the joint Gaussian of an artist's vectors and a new one, conditioned on the former."""
        X, artist, album = music(6, 3, 4)
        fitted = AlbumPLDA(shrinkage=0.1).fit(X, artist, album)
        new = np.array([[0.5, 1.0], [3.0, -2.0]])
        found = fitted.decision_function(new)
        prior = Sessions.of(X, artist, album).centre.mean(axis=0)
        for each in range(6):
            heard, of = X[artist == each], album[artist == each]
            albums = np.append(of, -1)  # the new vector is of an album of its own
            shares = np.ones((len(albums),) * 2), np.equal.outer(albums, albums), np.eye(len(albums))
            parts = fitted.artist_, fitted.album_, fitted.rest_
            joint = sum(np.kron(share, part) for share, part in zip(shares, parts, strict=True))
            n = 2 * len(heard)
            gain = joint[n:, :n] @ np.linalg.inv(joint[:n, :n])
            mean = prior + gain @ (heard - prior).ravel()
            covariance = joint[n:, n:] - gain @ joint[:n, n:]
            assert found[:, each] == pytest.approx(multivariate_normal(mean, covariance).logpdf(new))

    def test_artists_of_a_kind_share_a_covariance_in_memory(self) -> None:
        """A matrix for each artist, or for each artist and vector, would not fit: of 1,000 artists, 8 GB or more."""
        n_artists, d = 300, 100
        artist, album = np.repeat(np.arange(n_artists), 4), np.repeat(np.arange(2 * n_artists), 2)
        draw = np.random.default_rng(0)
        X = draw.normal(size=(n_artists, d))[artist] + draw.normal(size=(4 * n_artists, d))
        tracemalloc.start()
        try:
            found = AlbumPLDA().fit(X, artist, album).decision_function(X)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert (found.argmax(axis=1) == artist).mean() > 0.9
        assert peak < n_artists * d * d * 8  # bytes

    def test_albums_that_nobody_has_two_of_teach_nothing(self) -> None:
        X, artist, _ = music(4, 2, 3)
        with pytest.raises(ValueError, match="two albums"):
            AlbumPLDA().fit(X, artist, artist)

    def test_an_album_of_two_artists_is_told(self) -> None:
        X, artist, album = music(4, 2, 3)
        with pytest.raises(ValueError, match="of one artist"):
            AlbumPLDA().fit(X, artist, np.zeros_like(album))


def test_wccn_makes_albums_differ_alike_in_all_directions() -> None:
    X, artist, album = music(40, 3, 4)
    whitened = WCCN(shrinkage=0).fit(X, artist, album).transform(X)
    assert Sessions.of(whitened, artist, album).covariance(0) == pytest.approx(np.eye(2))


def test_wccn_knows_albums_and_not_songs() -> None:
    """Songs that scatter about their album's mean change nothing."""
    X, artist, album = music(10, 3, 4)
    means = Sessions.of(X, artist, album).mean[album]
    assert WCCN(0).fit(X + 5 * (X - means), artist, album).projection_ == pytest.approx(
        WCCN(0).fit(X, artist, album).projection_
    )


def test_cosine_is_to_the_mean_of_an_artist() -> None:
    X = np.array([[1.0, 0], [3, 0], [0, 1], [1, 1], [-2, -2]])
    found = CosineCentroids().fit(X, [0, 0, 1, 2, 2]).decision_function([[2.0, 2], [0, -1]])
    assert found == pytest.approx(np.array([[1, 1, -np.sqrt(2)], [0, -np.sqrt(2), 1]]) / np.sqrt(2), abs=1e-9)


def test_back_end_is_scikit_learns_parts_in_their_order() -> None:
    X, y, album = _clips()
    standardised = StandardScaler().fit_transform(X)
    lda = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto").fit(standardised, y)
    vectors = lda.transform(standardised)
    fitted = BackEnd().fit(np.column_stack([X, np.full(len(X), 7.0)]), y, album)  # a constant column says nothing
    assert fitted.decision_function(np.column_stack([X, np.full(len(X), 7.0)])) == pytest.approx(
        CosineCentroids().fit(vectors, y).decision_function(vectors)
    )


def test_components_are_those_in_which_artists_differ_most() -> None:
    X, y, album = _clips()
    every, few, plenty = (BackEnd(max_components=n).fit(X, y, album).transform(X) for n in (None, 2, 9))
    assert (every.shape[1], few.shape[1], plenty.shape[1]) == (4, 2, 4)
    assert few == pytest.approx(every[:, :2])
    between = np.var([every[y == artist].mean(axis=0) for artist in range(5)], axis=0)
    assert min(between[:2]) > max(between[2:])


@pytest.mark.parametrize(
    "settings", [{}, {"pca": 4}, {"max_components": 1}, {"wccn": True}, {"lda": False, "pca": 0.9}]
)
@pytest.mark.parametrize("scorer", ["cosine", "plda", "logistic"])
@pytest.mark.parametrize("n_artists", [2, 5])
def test_probe_gives_what_its_back_end_gives(settings: dict, scorer: str, n_artists: int) -> None:
    X, y, album = _clips(n_artists)
    fitted = BackEnd(scorer=scorer, **settings).fit(X, y, album)
    probe = Probe.of(torch.nn.Identity(), fitted, temperature=0.5)
    vectors = torch.from_numpy(X).float()
    expected = fitted.decision_function(X)
    expected = np.column_stack([-expected, expected]) if n_artists == 2 else expected
    found = probe(vectors).numpy(force=True)
    # Of two artists the difference counts, since a softmax sees no more.
    centred = [each - each.mean(axis=1, keepdims=True) for each in (found, 2 * expected)]
    assert centred[0] == pytest.approx(centred[1], rel=1e-3, abs=2e-3)
    assert probe.bottleneck(vectors).numpy(force=True) == pytest.approx(fitted.transform(X), rel=1e-3, abs=1e-3)


def test_statistics_of_a_clip() -> None:
    clips = torch.tensor([[[1.0, 2, 5, 4]], [[0, 0, 0, 0]]])
    mean, deviation, change = Statistics()(clips).T
    assert mean.tolist() == [3, 0]
    assert deviation.tolist() == pytest.approx([np.std([1, 2, 5, 4]), 0])
    assert change.tolist() == pytest.approx([np.sqrt((1 + 9 + 1) / 3), 0])
    assert Statistics()(clips[:, :, :1]).tolist() == [[1, 0, 0], [0, 0, 0]], "a clip of one row does not change"


def test_mean_over_songs() -> None:
    vectors = torch.tensor([[1.0, 0], [0, 1], [3, 0], [2, 2]])
    assert song_means(vectors, np.array([0, 2, 0, 2])).tolist() == [[2, 0], [0, 0], [1, 1.5]]


def test_a_temperature_divides_logits_and_leaves_the_bottleneck() -> None:
    network = specification().build().eval()
    calibrated = CalibratedEmbedding(2, network).eval()
    calibrated.temperature.data.fill_(4)
    clips = torch.randn(3, 128, 31)
    assert torch.allclose(calibrated(clips), network(clips) / 4)
    assert torch.equal(calibrated.bottleneck(clips), ToBottleneck(network)(clips))
    assert torch.allclose(calibrated.classify(calibrated.bottleneck(clips)), calibrated(clips))


def _clips(n_artists: int = 5) -> tuple[Floats, NDArray, NDArray]:
    """Clips of 3 albums of each artist, in 8 columns of different scales."""
    draw = np.random.default_rng(0)
    album = np.repeat(np.arange(3 * n_artists), 10)
    artist = album // 3
    X = draw.normal(size=(n_artists, 8))[artist] + 0.5 * draw.normal(size=(3 * n_artists, 8))[album]
    return (X + draw.normal(size=(len(X), 8))) * np.logspace(-2, 3, 8) + np.arange(8), artist, album


def test_a_mean_keeps_the_first_columns_and_no_more_than_there_are() -> None:
    rows = torch.arange(24.0).reshape(2, 3, 4)
    assert torch.equal(Mean(2)(rows), Mean()(rows)[:, :2])
    with pytest.raises(ArtistidError, match="n_columns=4: expected at most 3"):
        Mean(4)(rows)
