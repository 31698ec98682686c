"""Scores of songs against artists that no network was trained on, enrolled by a few songs each.

The artist is the speaker of speaker verification and the album the session, as in :mod:`artistid.models.backends`,
whose parts learn here from the training artists how artists and albums differ in general. A song is one vector of
length 1. Everything is stored as plain arrays.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.base import clone
from sklearn.preprocessing import normalize

from artistid.errors import ArtistidError
from artistid.models.backends import AlbumGaussians, BackEnd, Floats, Places, Sessions, log_densities

Numbers = NDArray[np.int64]

COHORT_SONGS = 2000  # kept of the training artists, and as many of the validation artists
LEAST_SPREAD = 1e-9


class Songs(NamedTuple):
    """Songs as vectors ``(songs, units)``, with the numbers ``(songs,)`` of their artists and albums."""

    vector: NDArray[np.floating]
    artist: Numbers
    album: Numbers

    def select(self, chosen: Any) -> Songs:
        """A selection of the songs."""
        return Songs._make(column[chosen] for column in self)

    def counted(self) -> tuple[Songs, Numbers]:
        """The same songs with artists renumbered from 0, and their former numbers ``(artists,)``."""
        numbers, artist = np.unique(self.artist, return_inverse=True)
        return self._replace(artist=artist), numbers

    def some(self, most: int) -> Songs:
        """At most so many songs, evenly spaced."""
        return self.select(np.unique(np.linspace(0, len(self.vector) - 1, most).round().astype(int)))


class Enrolled(NamedTuple):
    """A scorer's model of enrolled artists.

    Attributes:
        centroid: ``(artists, d)`` mean of each one's songs, of length 1.
        places: their posteriors, for a scorer that has Gaussians.
    """

    centroid: Floats
    places: Places | None = None


@dataclass(frozen=True, eq=False)
class Scorer:
    """Scores songs against enrolled artists; :meth:`fit` fits it to the training artists alone.

    Attributes:
        centre, projection, offset: ``(units,)``, ``(units, d)``, ``(d,)``: songs are compared by their embedding
            ``(vector - centre) @ projection + offset``.
        gaussians: the score is the log-likelihood ratio of the song being the artist's, on a new album, to being an
            unknown artist's (PLDA); None: it is the cosine.
    """

    centre: Floats
    projection: Floats
    offset: Floats
    gaussians: AlbumGaussians | None = None

    @classmethod
    def fit(cls, back_end: BackEnd | None, training: Songs) -> Scorer:
        """A scorer with the back end's embedding, and its Gaussians where its scorer is ``plda``.

        Args:
            back_end: with its settings; a clone is fitted. None: raw vectors are compared.
            training: songs of the training artists.

        Raises:
            ArtistidError: it cannot be fitted to them.
        """
        if back_end is None:
            units = training.vector.shape[1]
            return cls(np.zeros(units), np.eye(units), np.zeros(units))
        if back_end.scorer not in ("cosine", "plda"):
            raise ArtistidError(
                f"verification.scorers: scorer={back_end.scorer} knows only artists it was fitted to: expected one of "
                "cosine, plda"
            )
        try:
            fitted: BackEnd = clone(back_end).fit(training.vector, training.artist, training.album)
        except (ValueError, TypeError, np.linalg.LinAlgError) as error:
            raise ArtistidError(f"verification.scorers cannot be fitted: {error}") from error
        centre, projection, offset = fitted.affine()
        return cls(centre, projection, offset, getattr(fitted.scorer_, "gaussians_", None))

    def embed(self, vector: NDArray[np.floating]) -> Floats:
        """Embeddings of songs ``(songs, d)``; of length 1 for cosines."""
        embedded: Floats = (vector - self.centre) @ self.projection + self.offset
        return embedded if self.gaussians else normalize(embedded)

    def enrol(self, songs: Songs) -> Enrolled:
        """Enrol the artists of some songs, numbered from 0."""
        sessions = Sessions.of(self.embed(songs.vector), songs.artist, songs.album)
        total = np.zeros_like(sessions.centre)
        np.add.at(total, sessions.speaker, sessions.mean * sessions.n[:, None])
        return Enrolled(normalize(total), self.gaussians.places(sessions) if self.gaussians else None)

    def score(self, enrolled: Enrolled, vector: NDArray[np.floating]) -> Floats:
        """Scores ``(songs, artists)`` of songs' vectors ``(songs, units)``."""
        embedded = self.embed(vector)
        if self.gaussians is None or enrolled.places is None:
            return embedded @ enrolled.centroid.T
        return likelihood_ratios(self.gaussians, enrolled.places, embedded)


def likelihood_ratios(gaussians: AlbumGaussians, places: Places, vectors: Floats) -> Floats:
    """``(songs, artists)`` log-likelihood ratios of a song being an artist's, on a new album, to being anyone's."""
    anyone = log_densities(vectors, gaussians.mean[None], gaussians.artist + gaussians.album + gaussians.rest)
    return gaussians.log_likelihoods(places, vectors) - anyone


@dataclass(frozen=True, eq=False)
class SNorm:
    """Adaptive symmetric score normalisation, s-norm (Matějka et al. 2017): scores relative to those of a cohort.

    It is the mean of two z-scores: relative to the artist's scores with the cohort's songs, and to the song's scores
    with the cohort's artists; of either, only the highest count, as the most similar are the hardest to distinguish.

    Attributes:
        songs: the cohort's, with artists numbered from 0.
        share: share of the scores that count as the highest.
    """

    songs: Songs
    share: float

    def __call__(self, scorer: Scorer, enrolled: Enrolled, vector: NDArray[np.floating]) -> Floats:
        """Normalised scores ``(songs, artists)``."""
        score = scorer.score(enrolled, vector)
        of_artist = self._highest(scorer.score(enrolled, self.songs.vector).T)
        of_song = self._highest(scorer.score(scorer.enrol(self.songs), vector))
        by_artist, by_song = (score - of_artist[0].T) / of_artist[1].T, (score - of_song[0]) / of_song[1]
        return (by_artist + by_song) / 2

    def _highest(self, scores: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation ``(n, 1)`` of the highest (at least two) of scores ``(n, cohort)``."""
        most = min(scores.shape[1], max(2, round(self.share * scores.shape[1])))
        highest = np.partition(scores, -most, axis=1)[:, -most:]
        return highest.mean(axis=1, keepdims=True), np.maximum(highest.std(axis=1, keepdims=True), LEAST_SPREAD)


class Calibration(NamedTuple):
    """Scores as log-likelihood ratios: ``scale * score + offset``."""

    scale: float = 1.0
    offset: float = 0.0

    @classmethod
    def fit(cls, score: Floats, true: NDArray[np.bool_], prior: float) -> Calibration:
        """Prior-weighted logistic regression (Brümmer 2010), in which all true claims together weigh ``prior``.

        Targets are smoothed as if one more claim of each kind were of the other (after Platt 1999), so that scores
        without an error do not become certain of everything. The scale is never negative.

        Args:
            score: any number of scores.
            true: for each, whether the artist made the song.
            prior: probability of a claim being true.
        """
        spread = max(float(score.std()), LEAST_SPREAD)
        values, odds = score / spread, np.log(prior / (1 - prior))
        n_true, n_false = true.sum(), (~true).sum()
        target = np.where(true, (n_true + 1) / (n_true + 2), 1 / (n_false + 2))
        weight = np.where(true, prior / n_true, (1 - prior) / n_false)

        def loss(line: Floats) -> tuple[float, Floats]:
            log_odds = line[0] * values + line[1] + odds
            excess = weight * (expit(log_odds) - target)
            return float(weight @ (np.logaddexp(0, log_odds) - target * log_odds)), np.array(
                [excess @ values, excess.sum()]
            )

        scale, offset = minimize(loss, [1.0, 0.0], jac=True, method="L-BFGS-B", bounds=[(0, None), (None, None)]).x
        return cls(float(scale / spread), float(offset))

    def __call__(self, score: Floats) -> Floats:
        return self.scale * score + self.offset


@dataclass(frozen=True, eq=False)
class Verifier:
    """Calibrated log-likelihood ratios of songs against enrolled artists, with songs to set thresholds by.

    Attributes:
        name: of the scorer, for display.
        scorer: of songs against artists.
        snorm: its score normalisation; None: none.
        calibration: from its scores to log-likelihood ratios.
        strangers: songs of artists that scorers were not fitted to, by which false alarms are counted.
        names: of the strangers' artists.
    """

    name: str
    scorer: Scorer
    snorm: SNorm | None
    calibration: Calibration
    strangers: Songs
    names: tuple[str, ...]

    def score(self, enrolled: Enrolled, vector: NDArray[np.floating]) -> Floats:
        """Scores ``(songs, artists)`` of songs' vectors ``(songs, units)``, normalised, not calibrated."""
        if self.snorm:
            return self.snorm(self.scorer, enrolled, vector)
        return self.scorer.score(enrolled, vector)

    def ratios(self, enrolled: Enrolled, vector: NDArray[np.floating]) -> Floats:
        """Natural log-likelihood ratios ``(songs, artists)`` of songs' vectors ``(songs, units)``."""
        return self.calibration(self.score(enrolled, vector))

    def strangers_besides(self, names: Collection[str]) -> Songs:
        """The strangers' songs, without those of some artists."""
        others = [number for number, name in enumerate(self.names) if name not in names]
        return self.strangers.select(np.isin(self.strangers.artist, others))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything that is not in :meth:`settings`, by name."""
        scorer = self.scorer
        parts: dict[str, Any] = {
            "scorer": {name: getattr(scorer, name) for name in ("centre", "projection", "offset")},
            "gaussians": scorer.gaussians._asdict() if scorer.gaussians else {},
            "cohort": self.snorm.songs._asdict() if self.snorm else {},
            "strangers": self.strangers._asdict(),
        }
        return {f"{part}.{name}": np.asarray(each) for part, of in parts.items() for name, each in of.items()}

    def settings(self) -> dict[str, Any]:
        """As plain types."""
        return {
            "name": self.name,
            "snorm_share": self.snorm.share if self.snorm else None,
            "calibration": list(self.calibration),
            "names": list(self.names),
        }

    @classmethod
    def of(cls, settings: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Verifier:
        """The verifier from what :meth:`settings` and :meth:`arrays` returned.

        Raises:
            ValueError, KeyError, TypeError, LinAlgError: they do not fit together.
        """
        parts: dict[str, dict[str, NDArray[Any]]] = defaultdict(dict)
        for name, each in arrays.items():
            part, _, field = name.partition(".")
            parts[part][field] = each
        gaussians = AlbumGaussians(**parts["gaussians"]) if parts["gaussians"] else None
        share, names = settings["snorm_share"], settings["names"]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in (settings["name"], *names)):
            raise TypeError("its names are not text")
        verifier = cls(
            name=settings["name"],
            scorer=Scorer(**parts["scorer"], gaussians=gaussians),
            snorm=SNorm(Songs(**parts["cohort"]), share) if share is not None else None,
            calibration=Calibration(*settings["calibration"]),
            strangers=Songs(**parts["strangers"]),
            names=tuple(names),
        )
        first = Songs(verifier.strangers.vector[:1], np.zeros(1, np.int64), np.zeros(1, np.int64))
        with np.errstate(all="ignore"):
            ratios = verifier.ratios(verifier.scorer.enrol(first), first.vector)
        if ratios.shape != (1, 1):
            raise ValueError("the shapes of its arrays do not match")
        return verifier


def threshold_of(ratios: Floats, false_alarms: float) -> float:
    """The threshold that at most a share of the strangers' ratios ``(n,)`` exceed, halfway to the lowest of these.

    With few ratios it is the highest.
    """
    allowed = int(false_alarms * len(ratios) + 1e-9)
    highest = np.sort(ratios)[::-1]
    return float((highest[allowed] + highest[max(allowed - 1, 0)]) / 2)
