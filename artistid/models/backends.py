"""Back ends: from embeddings of clips, from any source, to artists, without training a network.

These are the methods of speaker verification (Dehak et al. 2011, "Front-end factor analysis for speaker verification"),
with the artist as the speaker and the album as the session: an artist sounds different on each album, as a speaker
does on each telephone, and a song from an unseen album is like a call from a new one.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.covariance import ledoit_wolf_shrinkage, shrunk_covariance
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.feature_selection import VarianceThreshold
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler, normalize
from sklearn.utils.validation import check_is_fitted, validate_data

from artistid.errors import require_choice
from artistid.hints import Count, Range, Share
from artistid.models.scoring import ScoringClassifier, as_decision

Floats = NDArray[np.float64]
Shrinkage = Share | Literal["auto"] | None
Session = NDArray[np.integer] | None  # the number of each vector's session; None: each vector is its own

SCORERS = ("cosine", "plda", "logistic")
MOST_ITERATIONS = 1000  # of logistic regression


class Sessions(NamedTuple):
    """Statistics of sessions, such as an artist's albums.

    Attributes:
        mean: ``(sessions, d)`` of each session's vectors.
        n: ``(sessions,)`` number of vectors of each.
        speaker: ``(sessions,)`` index of each one's speaker.
        centre: ``(speakers, d)`` mean of each speaker's session means, equally weighted.
        within: ``(d, d)`` covariance of vectors around their session's mean, unbiased.
    """

    mean: Floats
    n: NDArray[np.int64]
    speaker: NDArray[np.int64]
    centre: Floats
    within: Floats

    @classmethod
    def of(cls, X: Floats, speaker: NDArray[np.integer], session: Session) -> Sessions:
        """The statistics of vectors ``(n, d)`` whose speakers are numbered from 0.

        Raises:
            ValueError: a session has two speakers.
        """
        session = np.arange(len(X)) if session is None else session
        pairs, row = np.unique(np.column_stack([session, speaker]), axis=0, return_inverse=True)
        of = pairs[:, 1]
        if len(np.unique(session)) < len(pairs):
            raise ValueError("expected albums of one artist each, found one of several")
        mean, n = _means(X, row, len(pairs))
        centre, _ = _means(mean, of, speaker.max() + 1)
        aside = X - mean[row]
        return cls(mean, n, of, centre, aside.T @ aside / max(1, len(X) - len(pairs)))

    @property
    def sessions_of(self) -> NDArray[np.int64]:
        """``(speakers,)`` number of sessions of each."""
        return np.bincount(self.speaker)

    @property
    def freedom(self) -> int:
        """Degrees of freedom of the covariance of sessions."""
        return len(self.mean) - len(self.centre)

    def covariance(self, shrinkage: Shrinkage) -> Floats:
        """``(d, d)`` covariance of sessions around their speakers' centres, unbiased, and shrunk, as sessions are few.

        Raises:
            ValueError: no speaker has two sessions.
        """
        if not self.freedom:
            raise ValueError(
                "how albums differ is learned from artists with two albums or more to train on: found none"
            )
        aside = self.mean - self.centre[self.speaker]
        covariance = aside.T @ aside / self.freedom
        share = ledoit_wolf_shrinkage(aside, assume_centered=True) if shrinkage == "auto" else shrinkage
        return shrunk_covariance(covariance, share or 0.0)


def _means(X: Floats, group: NDArray[np.integer], n_groups: int) -> tuple[Floats, NDArray[np.int64]]:
    """``(groups, d)`` means of the rows of each group, and their numbers."""
    n = np.bincount(group, minlength=n_groups)
    total = np.zeros((n_groups, X.shape[1]))
    np.add.at(total, group, X)
    return total / np.maximum(n, 1)[:, None], n


class WCCN(TransformerMixin, BaseEstimator):
    """Within-class covariance normalisation (Hatch, Kajarekar & Stolcke 2006), with artists as classes of albums.

    Directions in which an artist's albums differ are scaled down: afterwards the shrunk covariance of album means
    around their artist's centre is the identity.

    Args:
        shrinkage: of that covariance, from 0 to 1; ``auto``: Ledoit & Wolf's.
    """

    def __init__(self, shrinkage: Shrinkage = "auto") -> None:
        self.shrinkage = shrinkage

    def fit(self, X: Any, y: Any, session: Session = None) -> Self:
        """Fit to vectors (n, d), their artists (n,) and albums (n,); None: each vector is its own."""
        X = validate_data(self, X, dtype=np.float64)
        _, speaker = np.unique(y, return_inverse=True)
        factor = cholesky(Sessions.of(X, speaker, session).covariance(self.shrinkage), lower=True)
        self.projection_ = solve_triangular(factor, np.eye(len(factor)), lower=True).T
        return self

    def transform(self, X: Any) -> Floats:
        """Vectors (n, d), normalised."""
        check_is_fitted(self)
        projected: Floats = validate_data(self, X, reset=False, dtype=np.float64) @ self.projection_
        return projected


class CosineCentroids(ScoringClassifier):
    """The cosine of a vector and the mean of each artist's vectors."""

    def fit(self, X: Any, y: Any) -> Self:
        """Fit to vectors (n, d) and their artists (n,)."""
        X, y = validate_data(self, X, y, dtype=np.float64)
        self.classes_, artist = np.unique(y, return_inverse=True)
        self.centroids_ = normalize(_means(X, artist, len(self.classes_))[0])
        return self

    def decision_function(self, X: Any) -> Floats:
        """Cosines (n, artists); for two artists (n,), half of the second's minus the first's."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        return as_decision(normalize(X) @ self.centroids_.T)


class Places(NamedTuple):
    """Posteriors of the artists' locations, given their albums.

    Attributes:
        mean: ``(artists, d)`` posterior means.
        covariance: ``(kinds, d, d)`` posterior covariances: artists with the same numbers of vectors on their albums
            are of one kind, and share one.
        kind: ``(artists,)`` index of each one's kind.
    """

    mean: Floats
    covariance: Floats
    kind: NDArray[np.int64]


class AlbumGaussians(NamedTuple):
    """A vector as the sum of three Gaussians: the artist's location, the album's deviation from it, and the rest.

    Attributes:
        mean: ``(d,)`` of all artists.
        artist, album, rest: ``(d, d)`` covariances.
    """

    mean: Floats
    artist: Floats
    album: Floats
    rest: Floats

    def places(self, sessions: Sessions) -> Places:
        """The posterior of each artist's location, given its albums."""
        one = np.eye(len(self.mean))
        # Of an album's mean around its artist's location, by its number of vectors.
        precision = {n: np.linalg.inv(self.album + self.rest / n) for n in np.unique(sessions.n)}
        kinds: dict[tuple[int, ...], int] = {}
        means: list[Floats] = []
        covariances: list[Floats] = []
        kind: list[int] = []
        for speaker in range(len(sessions.centre)):
            own = np.flatnonzero(sessions.speaker == speaker)
            of_own = [precision[n] for n in sessions.n[own]]
            aside = sessions.mean[own] - self.mean
            evidence = sum(each @ vector for each, vector in zip(of_own, aside, strict=True))
            kind.append(kinds.setdefault(tuple(sorted(sessions.n[own])), len(kinds)))
            if kind[-1] == len(covariances):
                # (B⁻¹ + P)⁻¹ = B (1 + P B)⁻¹, without the inverse of B, which may not have full rank.
                covariances.append(self.artist @ np.linalg.inv(one + sum(of_own) @ self.artist))
            means.append(self.mean + covariances[kind[-1]] @ evidence)
        return Places(np.stack(means), np.stack(covariances), np.array(kind))

    def log_likelihoods(self, places: Places, vectors: Floats) -> Floats:
        """``(n, artists)`` of vectors ``(n, d)`` as each artist's, on a new album."""
        likelihoods = np.empty((len(vectors), len(places.mean)))
        for kind, place in enumerate(places.covariance):  # one at a time, since there may be many
            own = np.flatnonzero(places.kind == kind)
            likelihoods[:, own] = log_densities(vectors, places.mean[own], self.on_new_album(place))
        return likelihoods

    def on_new_album(self, place: Floats) -> Floats:
        """Covariance ``(…, d, d)`` of an artist's vector on a new album, given the location's posterior covariance."""
        return place + self.album + self.rest


def log_densities(vectors: Floats, means: Floats, covariance: Floats) -> Floats:
    """``(n, means)`` log-densities of vectors ``(n, d)`` under Gaussians with one covariance ``(d, d)``."""
    factor = np.linalg.cholesky(covariance)
    whitened, middles = (solve_triangular(factor, (each - means[0]).T, lower=True) for each in (vectors, means))
    squares = np.square(whitened).sum(axis=0)[:, None] + np.square(middles).sum(axis=0) - 2 * whitened.T @ middles
    log_determinant = 2 * np.log(np.diag(factor)).sum()
    density: Floats = -0.5 * (squares + log_determinant + len(factor) * np.log(2 * np.pi))
    return density


class AlbumPLDA(ScoringClassifier):
    """Probabilistic linear discriminant analysis with the album as the session.

    A vector is the sum of three Gaussians: the artist's location, the album's deviation from it, and the rest (Prince &
    Elder 2007 have two; Brümmer & de Villiers 2010 call those the two-covariance model). An artist is represented by
    the posterior of its location given its albums, each with the precision due to its number of vectors. A vector's
    score is its log-likelihood as that artist's, on a new album.

    The three covariances are estimated by the method of moments (Henderson 1953, method 1, with every album and every
    artist weighted equally): unbiased, and without iterations. Negative eigenvalues are then set to 0.

    Args:
        shrinkage: of the covariance of albums, from 0 to 1; ``auto``: Ledoit & Wolf's.
    """

    def __init__(self, shrinkage: Shrinkage = "auto") -> None:
        self.shrinkage = shrinkage

    def fit(self, X: Any, y: Any, session: Session = None) -> Self:
        """Fit to vectors (n, d), their artists (n,) and albums (n,); None: each is one by itself."""
        X, y = validate_data(self, X, y, dtype=np.float64)
        self.classes_, speaker = np.unique(y, return_inverse=True)
        sessions = Sessions.of(X, speaker, session)
        self.rest_ = sessions.within
        self.album_, self.artist_ = self._components(sessions)
        self.gaussians_ = AlbumGaussians(sessions.centre.mean(axis=0), self.artist_, self.album_, self.rest_)
        self.places_ = self.gaussians_.places(sessions)
        return self

    def _components(self, sessions: Sessions) -> tuple[Floats, Floats]:
        """The covariances ``(d, d)`` of albums and of artists."""
        departing = sessions.covariance(self.shrinkage)
        several = sessions.sessions_of  # albums of each artist
        # An album's mean contains the rest divided by its number of vectors; the centre of several albums, less.
        noise = np.bincount(sessions.speaker, weights=1 / sessions.n)  # (artists,)
        share = ((1 - 1 / several) * noise).sum() / sessions.freedom
        album = _positive(departing - share * self.rest_)
        of_centre = np.mean(1 / several) * album + np.mean(noise / several**2) * self.rest_
        return album, _positive(np.cov(sessions.centre, rowvar=False).reshape(album.shape) - of_centre)

    def decision_function(self, X: Any) -> Floats:
        """Log-likelihoods (n, artists); for two artists (n,), half of the second's minus the first's."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        return as_decision(self.gaussians_.log_likelihoods(self.places_, X))

    @property
    def mean_(self) -> Floats:
        """``(artists, d)`` posterior means of the artists' locations."""
        return self.places_.mean

    @property
    def whitening_(self) -> Floats:
        """``(artists, d, d)``: a vector less the artist's mean, times this, has the identity for its covariance."""
        factor = np.linalg.cholesky(self.gaussians_.on_new_album(self.places_.covariance))
        return np.linalg.inv(factor).transpose(0, 2, 1)[self.places_.kind]

    @property
    def log_density_(self) -> Floats:
        """``(artists,)`` log-likelihood of the artist's mean."""
        covariance = self.gaussians_.on_new_album(self.places_.covariance)
        constant = covariance.shape[1] * np.log(2 * np.pi)
        return -0.5 * (constant + np.linalg.slogdet(covariance).logabsdet)[self.places_.kind]


def _first_columns(X: Floats, n: int | None) -> Floats:
    """The first n columns, or all where there are fewer or n is None."""
    return X[:, :n]


def _positive(covariance: Floats) -> Floats:
    """A covariance with negative eigenvalues set to 0."""
    value, vector = np.linalg.eigh(covariance)
    return (vector * np.maximum(value, 0)) @ vector.T


class BackEnd(TransformerMixin, ScoringClassifier):
    """Standardise → (PCA) → (shrunk LDA) → (WCCN) → score, for clips' embeddings and for a song's mean embedding.

    Everything before the score is an affine map, so that the mean of a song's embeddings is the embedding of the mean.
    Constant columns are left out.

    Args:
        pca: number of components to keep, a whole number, or share of the variance, below 1; None: no PCA.
        lda: whether to project to LDA's directions.
        max_components: most of these to keep, those in which artists differ most; None: all, one fewer than there are
            artists, of which the last are noise where artists are many.
        shrinkage: of LDA's covariance within artists, from 0 to 1; ``auto``: Ledoit & Wolf's.
        wccn: whether to normalise by the covariance of an artist's albums, see :class:`WCCN`.
        album_shrinkage: of the covariance of albums in WCCN and PLDA.
        scorer: ``cosine`` to the artists' centroids, ``plda``, see :class:`AlbumPLDA`, or ``logistic`` regression.
        C: inverse regularisation strength of logistic regression.
    """

    def __init__(
        self,
        pca: Count | Share | None = None,
        lda: bool = True,
        max_components: Count | None = 200,
        shrinkage: Shrinkage = "auto",
        wccn: bool = False,
        album_shrinkage: Shrinkage = "auto",
        scorer: Literal["cosine", "plda", "logistic"] = "cosine",
        C: Annotated[float, Range(0)] = 1.0,
    ) -> None:
        self.pca = pca
        self.lda = lda
        self.max_components = max_components
        self.shrinkage = shrinkage
        self.wccn = wccn
        self.album_shrinkage = album_shrinkage
        self.scorer = scorer
        self.C = C

    def fit(self, X: Any, y: Any, session: Session = None) -> Self:
        """Fit to embeddings (n, columns), their artists (n,) and albums (n,); None: each vector is its own."""
        require_choice("scorer", self.scorer, SCORERS)
        X, y = validate_data(self, X, y, dtype=np.float64)
        self.centre_ = X.mean(axis=0)
        self.embedding_ = self._steps()
        needed = {"wccn__session": session} if self.wccn else {}
        vectors = self.embedding_.fit_transform(X, y, **needed)
        if self.scorer == "plda":
            self.scorer_: ClassifierMixin = AlbumPLDA(self.album_shrinkage).fit(vectors, y, session)
        elif self.scorer == "logistic":
            self.scorer_ = LogisticRegression(C=self.C, max_iter=MOST_ITERATIONS).fit(vectors, y)
        else:
            self.scorer_ = CosineCentroids().fit(vectors, y)
        self.classes_ = self.scorer_.classes_
        return self

    def _steps(self) -> Pipeline:
        steps: list[Any] = [VarianceThreshold(), StandardScaler()]
        if self.pca is not None:
            steps.append(PCA(self.pca, svd_solver="full"))
        if self.lda:
            steps.append(LinearDiscriminantAnalysis(solver="eigen", shrinkage=self.shrinkage))
            # Its directions are sorted by how much artists differ in them.
            steps.append(FunctionTransformer(_first_columns, kw_args={"n": self.max_components}))
        if self.wccn:
            steps.append(WCCN(self.album_shrinkage))
        return make_pipeline(*steps)

    def transform(self, X: Any) -> Floats:
        """The embeddings (n, d) that are scored."""
        check_is_fitted(self)
        vectors: Floats = self.embedding_.transform(validate_data(self, X, reset=False, dtype=np.float64))
        return vectors

    def affine(self) -> tuple[Floats, Floats, Floats]:
        """:meth:`transform` as an affine map ``(X - centre) @ projection + offset``.

        The centre ``(columns,)`` is the training data's; the projection is ``(columns, d)``, the offset ``(d,)``.
        """
        check_is_fitted(self)
        offset = self.transform(self.centre_[None])
        projection = self.transform(self.centre_ + np.eye(len(self.centre_))) - offset
        return self.centre_, projection, offset[0]

    def decision_function(self, X: Any) -> Floats:
        """Scores (n, artists), or (n,) for two."""
        return self.score_vectors(self.transform(X))

    def score_vectors(self, vectors: Floats) -> Floats:
        """Scores (n, artists), or (n,) for two, of vectors from :meth:`transform`, or of their means."""
        scores: Floats = self.scorer_.decision_function(vectors)
        return scores
