"""Embeddings of a trained network's test clips and songs, their t-SNE and clustering (paper IV-C, Fig. 3)."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import lightning as L
import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from omegaconf import DictConfig, OmegaConf
from sklearn.manifold import TSNE
from sklearn.metrics import pairwise_distances_chunked, silhouette_score

from artistid.data.catalog import Catalog
from artistid.data.clips import Clips
from artistid.data.datamodule import Batch, ClipData
from artistid.data.store import Store
from artistid.errors import ArtistidError, abbreviate, counted
from artistid.learning.classifier import ArtistClassifier
from artistid.learning.networks import set_up
from artistid.learning.trainer import make_trainer
from artistid.models.embedding import EmbeddingNetwork, has_bottleneck
from artistid.places import user_cache
from artistid.prepare import find_described, make_features
from artistid.runs.folder import RunFolder
from artistid.trust import Trust
from artistid.writing import whole

NEIGHBOURS = 5
# t-SNE's usual perplexity; it uses three times as many neighbours, more than small sets have.
PERPLEXITY = 30.0
# MiB of distances at a time; all those between the 1 s clips of artist20's test songs would take 9 GB.
MEMORY = 128


@dataclass(frozen=True)
class Clustering:
    """How well points cluster by label, computed from the vectors themselves, not from the map.

    Attributes:
        n: number of points.
        silhouette: mean over the points, from -1 to 1, by Euclidean distance; the clips of a song count like any
            others, so that compact songs raise it. None where each point has its own label, or all have the same.
        purity: mean share of points with the same label among a point's ``k`` nearest neighbours. A clip's neighbours
            are clips of other songs, a song's are other songs. The points of a label with only one song count as 0;
            None where no label has two songs.
        chance: expected ``purity`` if neighbours were drawn at random.
        k: number of neighbours; all possible ones where there are fewer.
    """

    n: int
    silhouette: float | None
    purity: float | None
    chance: float | None
    k: int

    def __str__(self) -> str:
        silhouette = "undefined" if self.silhouette is None else f"{self.silhouette:.2f}"
        purity = "undefined" if self.purity is None else f"{self.purity:.2f} (chance {self.chance:.2f})"
        return f"silhouette {silhouette}, {self.k}-NN purity {purity}"


@dataclass(frozen=True, eq=False)
class Embedding:
    """A network's embeddings of clips or songs.

    Attributes:
        points: a row per clip or song: ``track_id``, ``artist``, ``title``, ``album``, ``clip`` (index within the
            track; missing for songs), ``start_s`` and ``end_s`` in the recording; once :meth:`placed`, ``x`` and ``y``.
        vectors: ``(n, d)`` float32, in the order of ``points``.
    """

    points: pd.DataFrame
    vectors: NDArray[np.float32]

    def by_song(self) -> Embedding:
        """The mean vector of each song's clips; a song lasts from its first clip's start to its last one's end."""
        song, _ = pd.factorize(self.points["track_id"])
        clips = self.points.groupby(song)
        points = clips.first().assign(
            clip=pd.array([pd.NA] * clips.ngroups, dtype="Int32"),
            start_s=clips["start_s"].min(),
            end_s=clips["end_s"].max(),
        )
        return Embedding(points, pd.DataFrame(self.vectors).groupby(song).mean().to_numpy())

    def placed(self, seed: int) -> Embedding:
        """With a place ``x``, ``y`` on a t-SNE map; the same seed gives the same map."""
        x, y = tsne(self.vectors, seed).T
        return Embedding(self.points.assign(x=x, y=y), self.vectors)

    def clustering(self, label: str = "artist", k: int = NEIGHBOURS) -> Clustering:
        """How well the points cluster by ``label``, a column of ``points``.

        Raises:
            ArtistidError: ``k`` is less than 1.
        """
        labels = self.points[label].to_numpy()
        purity, chance = knn_purity(self.vectors, labels, self.points["track_id"].to_numpy(), k)
        # Undefined where every point is a cluster, or all are one.
        clusters = 1 < len(set(labels)) < len(labels)
        silhouette = float(silhouette_score(self.vectors, labels)) if clusters else None
        return Clustering(len(labels), silhouette, purity, chance, k)

    def to_parquet(self, path: str | Path) -> None:
        """Write ``points`` and a column ``vector`` of lists."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with whole(path, "wb") as file:
            self.points.assign(vector=list(self.vectors)).to_parquet(file, index=False)


def open_run(
    run_folder: str | Path, cache_dir: str | Path | None = None, workers: int | None = None, trust: Trust = ()
) -> tuple[ArtistClassifier, Catalog, Store]:
    """A finished run's best network, its tracks, and their features, which are recomputed where missing.

    Args:
        run_folder: of ``train``.
        cache_dir: folder of the feature stores; None: the user's cache. The run's own setting is not trusted.
        workers: processes that decode missing features; None: one per core.
        trust: packages whose networks and sources the run may name.

    Raises:
        ArtistidError: not a finished run, or a collection that lacks some of the run's tracks.
    """
    run = RunFolder(run_folder)
    if not run.scores.exists():
        raise ArtistidError(f"{run.path} is not a finished run: it has no {run.scores.name} (seen from {Path.cwd()})")
    classifier = ArtistClassifier.from_checkpoint(run.checkpoints / "best.ckpt", trust)
    specification = classifier.specification
    config = DictConfig(
        {
            "cache_dir": str(cache_dir or user_cache()),
            "workers": workers,
            "on_error": OmegaConf.load(run.config).on_error,
        }
    )
    found = find_described(config, specification.data, trust)
    recorded = {track.track_id for track in Catalog.from_csv(run.catalog)}
    _require_tracks(found.catalog, recorded, f"{run.path}: data={config.data.name}")
    prepared, store, _ = make_features(config, found, specification.build_features())
    _require_tracks(prepared, recorded, f"{run.path}: data={config.data.name}")  # some may no longer be decodable
    return classifier, Catalog(track for track in prepared if track.track_id in recorded), store


def _require_tracks(catalog: Catalog, recorded: Collection[str], where: str) -> None:
    """Raises ArtistidError where a catalog lacks tracks of a run."""
    if gone := sorted(set(recorded) - {track.track_id for track in catalog}):
        raise ArtistidError(
            f"{where} no longer has {len(gone)} of the run's {counted(len(recorded), 'track')}: {abbreviate(gone, 5)}"
        )


def embed(classifier: ArtistClassifier, catalog: Catalog, store: Store) -> Embedding:
    """The bottleneck vectors of all clips of some tracks, with the clips and precision of the predictions.

    Args:
        classifier: its network is an :class:`EmbeddingNetwork`.
        catalog: tracks, all of them in the store.
        store: their features.

    Raises:
        ArtistidError: a network without a bottleneck, or vectors that are not finite.
    """
    network, specification = classifier.network, classifier.specification
    if not has_bottleneck(network):
        raise ArtistidError(
            f"{type(network).__name__} has no method bottleneck(log_mel) that returns vectors (batch, d) of clips "
            "(batch, mel, time): expected one, to map its clips"
        )
    data = ClipData(
        {"test": catalog}, store, specification.artists, specification.clip_spec(), specification.batch_size
    )
    settings = {
        "devices": 1,
        "precision": specification.precision,
        "deterministic": True,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    set_up()
    batches = make_trainer(settings, [], logger=False).predict(_Embedder(network), data.loader("test"))
    vectors = torch.cat(batches).cpu().numpy()  # type: ignore[arg-type]  # one loader: one list of tensors
    if not np.isfinite(vectors).all():
        raise ArtistidError(f"the bottleneck of {type(network).__name__} returns vectors that are not finite")
    features = specification.build_features()
    return Embedding(_points(data.clips["test"], catalog, features.hop_length / features.sample_rate), vectors)


class _Embedder(L.LightningModule):
    """Wraps a bottleneck for Lightning's Trainer, which handles device, precision and inference mode."""

    def __init__(self, network: EmbeddingNetwork) -> None:
        super().__init__()
        self.network = network

    def predict_step(self, batch: Batch, batch_index: int) -> torch.Tensor:
        return self.network.bottleneck(batch["features"].float()).float()


def _points(clips: Clips, catalog: Catalog, hop_seconds: float) -> pd.DataFrame:
    """A row per clip; its seconds exclude the padding of a short song."""
    columns = ("track_id", "artist", "title", "album", "duration_s")
    tracks = pd.DataFrame([[getattr(track, name) for name in columns] for track in catalog], columns=list(columns))
    points = tracks.iloc[clips.track].reset_index(drop=True)
    assert clips.rows is not None, "clips of a network have one length"
    start = clips.clip * clips.rows * hop_seconds
    end = np.minimum(start + clips.length * hop_seconds, points.pop("duration_s"))
    return points.assign(clip=pd.array(clips.clip, dtype="Int32"), start_s=start, end_s=end)


def tsne(vectors: NDArray[np.floating], seed: int) -> NDArray[np.float32]:
    """Places (n, 2) of vectors ``(n, d)`` by t-SNE (van der Maaten & Hinton, 2008), initialised by PCA.

    The perplexity is 30, in sets of 90 or fewer a third of the other points, but never less than 1. A single point is
    at the origin.
    """
    n = len(vectors)
    if n == 1:
        return np.zeros((1, 2), np.float32)
    perplexity = min(PERPLEXITY, max(1.0, (n - 1) / 3))
    places: NDArray[np.float32] = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(vectors)
    return places


def knn_purity(
    vectors: NDArray[np.floating], labels: ArrayLike, songs: ArrayLike, k: int = NEIGHBOURS
) -> tuple[float, float] | tuple[None, None]:
    """Mean share of the nearest neighbours that have a point's own label, and its expectation at random.

    Only points of other songs are neighbours: the clips of a song share more than their artist. For songs this leaves
    out the point itself.

    Args:
        vectors: ``(n, d)``.
        labels: ``(n,)``.
        songs: ``(n,)``, the song of each point.
        k: number of neighbours, by Euclidean distance; all possible ones where there are fewer.

    Returns:
        Purity, and the mean share of a point's label among all points of other songs; both None where no label has two
        songs.

    Raises:
        ArtistidError: ``k`` is less than 1.
    """
    if k < 1:
        raise ArtistidError(f"k={k}: expected 1 or more neighbours")
    label, _ = pd.factorize(np.asarray(labels))
    song, _ = pd.factorize(np.asarray(songs))
    if pd.Series(song).groupby(label).nunique().max() == 1:
        return None, None
    shares = np.concatenate(list(_neighbour_shares(vectors, label, song, k)), axis=1)
    purity, chance = shares.mean(axis=1)
    return float(purity), float(chance)


def _neighbour_shares(
    vectors: NDArray[np.floating], label: NDArray[np.integer], song: NDArray[np.integer], k: int
) -> Iterator[NDArray[np.floating]]:
    """Share (2, rows) of a point's label among its nearest and among all of its possible neighbours, block by block."""
    first, k = 0, min(k, len(song) - 1)
    for distance in pairwise_distances_chunked(vectors, working_memory=MEMORY):  # (rows, n)
        rows = slice(first, first := first + len(distance))
        possible = song != song[rows, None]  # (rows, n)
        same = (label == label[rows, None]) & possible
        distance[~possible] = np.inf
        nearest = np.argpartition(distance, k - 1, axis=1)[:, :k]
        n_possible = possible.sum(axis=1)
        n_same = np.take_along_axis(same, nearest, axis=1).sum(axis=1)
        yield np.stack([n_same / np.minimum(n_possible, k), same.sum(axis=1) / n_possible])
