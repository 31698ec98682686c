"""Scores for detecting songs of unknown artists: the network's own confidence, and alternatives.

All are computed from the clips that the network hears, averaged over a song; the artist named is the vote's in any
case. They are built from parts of SciPy and scikit-learn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logsumexp
from sklearn.covariance import LedoitWolf
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize
from torch import nn

from artistid.data.catalog import Catalog
from artistid.data.datamodule import ClipData
from artistid.data.encoder import torch_device
from artistid.errors import ArtistidError
from artistid.evaluation.detection import detection, redrawn
from artistid.evaluation.verification import interval
from artistid.evaluation.voting import SongVotes
from artistid.learning.backends import Embedded, embed
from artistid.learning.specification import load_network
from artistid.models.backends import BackEnd
from artistid.models.embedding import EmbeddingNetwork, ToBottleneck, has_bottleneck, song_means
from artistid.models.verification import Scorer, Songs
from artistid.trust import Trust

Floats = NDArray[np.floating]

NEIGHBOUR = 50  # Sun et al.'s k for CIFAR-10
BACK_ENDS: Mapping[str, BackEnd | None] = {
    "cosine": None,
    "wccn": BackEnd(lda=False, wccn=True),
    "plda": BackEnd(lda=False, scorer="plda"),
}


def compare_scores(
    checkpoint: Path, known: SongVotes, unknown_confidence: Floats, unknown: Catalog, data: ClipData, trust: Trust
) -> dict[str, Any]:
    """How well each score separates songs of unknown artists from test songs; all but the first need a bottleneck.

    ``msp`` is the probability of the artist that the vote names (Hendrycks & Gimpel 2017); ``energy`` the logsumexp of
    the logits (Liu et al. 2020); ``mahalanobis`` the distance to the nearest artist's mean under the pooled covariance
    (Lee et al. 2018); ``nearest`` the distance to the 50th nearest training clip, of vectors of length 1 (Sun et al.
    2022). ``cosine``, ``wccn`` and ``plda`` score the song against the artists, enrolled by all their training songs,
    as in :mod:`artistid.models.verification`; they are fitted to training and validation songs, if some artist has two
    albums among these.

    Args:
        checkpoint: of the run.
        known: votes on the test songs.
        unknown_confidence: ``(songs,)`` the same confidence for the songs of unknown artists.
        unknown: these songs.
        data: the clips trained on and tested.
        trust: packages whose networks may be called.

    Returns:
        The measures of each score: ``value``, ``ci95`` over artists, and ``over_msp_ci95``, the interval of the
        difference to ``msp``.
    """
    scores = {"msp": (known.confidence, unknown_confidence)}
    _, network = load_network(checkpoint, trust)
    if has_bottleneck(network):
        clip_spec = replace(data.clip_spec.tiling, keep_last=True, pad_short=True)  # so that every song has a clip
        others = ClipData({"unknown": unknown}, data.store, unknown.artists, clip_spec, data.batch_size)
        scores |= _of_vectors(network, data, others)
    names = [*known.artist, *(track.artist for track in unknown)]  # of all songs, the known first
    artist = np.unique(names, return_inverse=True)[1]
    is_known = np.arange(len(artist)) < len(known)
    right = np.append(known.label == known.predicted, np.zeros(len(unknown), bool))

    def estimates(score: Floats) -> dict[str, Any]:
        return redrawn(
            lambda weight: detection(score, right, is_known, weight[artist]),
            int(artist.max()) + 1,
            lambda weight: bool(weight[artist[is_known]].any() and weight[artist[~is_known]].any()),
        )

    measured = {name: estimates(np.concatenate(both)) for name, both in scores.items()}
    return {
        name: {
            each: {
                "value": found.value,
                "ci95": interval(each, found),
                "over_msp_ci95": list(found.minus(measured["msp"][each])),
            }
            for each, found in measures.items()
        }
        for name, measures in measured.items()
    }


def _of_vectors(network: EmbeddingNetwork, data: ClipData, others: ClipData) -> dict[str, tuple[Floats, Floats]]:
    """By name, the scores of the test songs and of the unknown artists' songs."""
    assert isinstance(network, nn.Module)
    front, device = ToBottleneck(network), torch_device("auto")
    training, tested, unknown = (
        embed(front, each, subset, device) for each, subset in ((data, "train"), (data, "test"), (others, "unknown"))
    )
    scorers: dict[str, Callable[[Embedded], Floats]] = {
        "energy": lambda given: energy(network, given.X),
        "mahalanobis": Mahalanobis(training),
        "nearest": Nearest(training),
    }
    found = {
        name: (_song_means(score(tested), tested), _song_means(score(unknown), unknown))
        for name, score in scorers.items()
    }
    songs, validated = [_songs(each) for each in (training, tested, unknown)], embed(front, data, "val", device)
    for name, back_end in BACK_ENDS.items():
        try:
            scorer = Scorer.fit(back_end, _songs(training.and_also(validated)))
        except ArtistidError:  # no artist has two albums to learn from
            continue
        enrolled = scorer.enrol(songs[0])
        of_tested, of_unknown = (scorer.score(enrolled, each.vector).max(axis=1) for each in songs[1:])
        found[name] = (of_tested, of_unknown)
    return found


def energy(network: EmbeddingNetwork, vectors: Floats) -> Floats:
    """``(clips,)`` negative free energy of vectors ``(clips, units)``."""
    with torch.inference_mode():
        logits = network.classify(torch.from_numpy(vectors).float())
    found: Floats = logsumexp(logits.double().numpy(), axis=1)
    return found


class Mahalanobis:
    """Negative half of the squared Mahalanobis distance to the nearest artist's mean."""

    def __init__(self, training: Embedded) -> None:
        self.means = np.stack([training.X[training.label == each].mean(axis=0) for each in np.unique(training.label)])
        place = np.searchsorted(np.unique(training.label), training.label)
        self.precision = LedoitWolf(assume_centered=True).fit(training.X - self.means[place]).precision_

    def __call__(self, given: Embedded) -> Floats:
        aside = given.X[:, None] - self.means  # (clips, artists, units)
        return -0.5 * np.einsum("nad,de,nae->na", aside, self.precision, aside, optimize=True).min(axis=1)


class Nearest:
    """Negative distance to the :data:`NEIGHBOUR`-th nearest training clip, of vectors of length 1."""

    def __init__(self, training: Embedded) -> None:
        self.neighbours = NearestNeighbors(n_neighbors=min(NEIGHBOUR, len(training.X))).fit(normalize(training.X))

    def __call__(self, given: Embedded) -> Floats:
        distance, _ = self.neighbours.kneighbors(normalize(given.X))
        farthest: Floats = -distance[:, -1]
        return farthest


def _song_means(values: Floats, given: Embedded) -> Floats:
    """Means ``(songs, …)`` of values ``(clips, …)``."""
    _, place = np.unique(given.song, return_inverse=True)
    means: Floats = song_means(torch.from_numpy(values.reshape(len(values), -1)), place).numpy()
    return means.reshape(-1, *values.shape[1:])


def _songs(given: Embedded) -> Songs:
    """Songs by their mean vectors, of length 1."""
    _, first = np.unique(given.song, return_index=True)
    return Songs(normalize(_song_means(given.X, given)), given.label[first], given.album[first])
