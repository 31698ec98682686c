"""Fitting back ends to a front's vectors of clips, choosing one by validation, and saving both as one network."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_only
from numpy.typing import NDArray
from sklearn.base import clone
from torch import nn

from artistid.config import build
from artistid.data.catalog import Catalog
from artistid.data.datamodule import ClipData, ClipDataset
from artistid.data.recordings import kept_fingerprints
from artistid.data.store import Store
from artistid.errors import ArtistidError, counted
from artistid.evaluation.predictions import Predictions
from artistid.evaluation.voting import MEAN_EMBEDDING
from artistid.learning.choosing import NOTHING, Candidate, Scores, choose_by_validation, fitting, grid_of
from artistid.learning.classifier import ArtistClassifier
from artistid.learning.resuming import save_whole
from artistid.learning.specification import CHECKPOINT_KEY, Specification
from artistid.learning.system import BEST
from artistid.models.backends import BackEnd
from artistid.models.embedding import song_means
from artistid.models.probe import Probe
from artistid.models.scoring import class_scores

log = logging.getLogger(__name__)

VALUES_AT_ONCE = 2**22  # in a front's batch
SUBSETS = ("train", "val")  # that a back end is fitted to and chosen by

# From a classifier, clips and a subset to the predictions for it.
Test = Callable[[ArtistClassifier, ClipData, str], Predictions]


class Embedded(NamedTuple):
    """A front's vectors of clips: ``X`` (clips, columns), and each clip's artist, album and song."""

    X: NDArray[np.float64]
    label: NDArray[np.int64]
    album: NDArray[np.int64]
    song: NDArray[np.int64]

    def and_also(self, other: Embedded) -> Embedded:
        """Both together; albums share their numbering, songs are distinct."""
        songs = self.song, other.song + self.song.max() + 1
        pairs = [*zip(self[:3], other[:3], strict=True), songs]
        return Embedded._make(np.concatenate(pair) for pair in pairs)


class Front(NamedTuple):
    """A front: from clips ``(batch, width, time)`` to vectors ``(batch, columns)``.

    Attributes:
        module: the front itself.
        specification: of the run, with the front as its network.
        point: its settings among which validation chooses.
    """

    module: nn.Module
    specification: Specification
    point: Mapping[str, Any] = NOTHING


class BackEndSettings(NamedTuple):
    """``backend.*``: the estimator, its grid, and whether it is finally fitted to validation as well."""

    estimator: BackEnd
    grid: list[dict[str, Any]]
    refit: bool

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> BackEndSettings:
        """Raises ArtistidError for settings with which no back end can be built."""
        estimator = build(settings["estimator"], "backend.estimator")
        if not isinstance(estimator, BackEnd):
            raise ArtistidError(f"backend.estimator is a {type(estimator).__name__}, expected a BackEnd")
        return cls(estimator, grid_of(settings["grid"], estimator, "backend.grid"), settings["refit"])


def add_back_end(
    fronts: Sequence[Front], settings: BackEndSettings, data: ClipData, folder: Path, device: torch.device, test: Test
) -> tuple[ArtistClassifier, Predictions, dict[str, Any]]:
    """Fit back ends to fronts' vectors, and store the best front and back end in the run's best checkpoint.

    Args:
        fronts: one, or several to choose from by validation, as among the points of the back end's grid.
        settings: of the back end.
        data: fitted to train, chosen by val; with ``refit`` the chosen one is then fitted to both.
        folder: of the run.
        device: for the fronts.
        test: makes the validation predictions, always with the back end fitted to train alone.

    Returns:
        The classifier, the validation predictions, and the choice for the scores file.
    """
    vote = fronts[0].specification.vote
    choice = choose_by_validation(_candidates(fronts, settings, data, device, vote), data, vote, folder)
    front, fitted = choice.fitted
    classifier = _together(front, fitted, choice.temperature)
    predicted = test(classifier, data, "val")
    if settings.refit:
        train, validation = (embed(front.module, data, subset, device) for subset in SUBSETS)
        both = train.and_also(validation)
        classifier = _together(front, fit(fitted, {}, both, data.artists), choice.temperature)
        heard = heard_of(Catalog([*data.subsets["train"], *data.subsets["val"]]), data.store)
        classifier.specification = replace(classifier.specification, **heard)
        log.info("back end: fitted again, to %s of train and validation", counted(len(both.X), "clip"))
    save_classifier(classifier, folder / BEST)
    fitted_to = list(SUBSETS if settings.refit else SUBSETS[:1])
    return classifier, predicted, {"backend": {**choice.plain(), "fitted_to": fitted_to}}


def _candidates(
    fronts: Sequence[Front], settings: BackEndSettings, data: ClipData, device: torch.device, vote: str
) -> Iterator[Candidate]:
    """Each front with each point of the back end's grid, fitted to train."""
    for front in fronts:
        train, validation = (embed(front.module, data, subset, device) for subset in SUBSETS)
        log.info("back end: fitted to %s of %s", counted(len(train.X), "clip"), counted(train.X.shape[1], "column"))
        for point in settings.grid:
            fitted = fit(settings.estimator, point, train, data.artists)
            yield Candidate({**front.point, **point}, (front, fitted), scores_of(fitted, validation, vote))


def embed(front: nn.Module, data: ClipData, subset: str, device: torch.device) -> Embedded:
    """A front's vectors of a subset's clips; in place of random crops, clips tile their songs."""
    clips = data.clips[subset]
    vectors = np.concatenate([each.double().numpy() for each in _vectors(front, data, subset, device)])
    if not np.isfinite(vectors).all():
        worst = clips.track_ids[clips.track[np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0]]]
        raise ArtistidError(f"the back end's input for {worst} is not finite (NaN or infinite)")
    return Embedded(vectors, clips.label, _albums(data)[subset][clips.track], clips.track)


def _vectors(front: nn.Module, data: ClipData, subset: str, device: torch.device) -> Iterator[torch.Tensor]:
    front, clips = front.eval().to(device), data.clips[subset]
    dataset = ClipDataset(data.store, clips, data.subsets[subset])
    at_once = max(1, VALUES_AT_ONCE // ((clips.rows or 1) * data.store.array.shape[1]))
    with torch.inference_mode():
        for first in range(0, len(clips), at_once):
            batch = dataset.__getitems__(range(first, min(first + at_once, len(clips))))
            yield front(batch["features"].to(device).float()).float().cpu()
    front.cpu()


def _albums(data: ClipData) -> dict[str, NDArray[np.int64]]:
    """For each subset, the album number of each song ``(songs,)``; a song without an album has its own."""
    numbers: dict[tuple[str, ...], int] = {}
    return {
        subset: np.array([numbers.setdefault(track.session_key, len(numbers)) for track in catalog])
        for subset, catalog in data.subsets.items()
    }


def fit(estimator: BackEnd, point: Mapping[str, Any], given: Embedded, artists: tuple[str, ...]) -> BackEnd:
    """Fit a back end with the parameters of a grid point; raises ArtistidError where it cannot be fitted."""
    if lacking := sorted({artists[label] for label in set(range(len(artists))) - set(given.label)}):
        raise ArtistidError(f"a back end needs training clips of every artist: there are none of {', '.join(lacking)}")
    with fitting("backend.*", len(given.X), len(artists), point):
        fitted: BackEnd = clone(estimator).set_params(**point).fit(given.X, given.label, given.album)
    return fitted


def scores_of(fitted: BackEnd, given: Embedded, vote: str) -> Scores:
    """Scores of clips, and of their songs where the vote uses the mean of the embeddings."""
    vectors = fitted.transform(given.X)
    of_clip = class_scores(fitted.score_vectors(vectors))
    if vote != MEAN_EMBEDDING:
        return Scores(of_clip)
    means = song_means(torch.from_numpy(vectors), given.song).numpy()
    return Scores(of_clip, class_scores(fitted.score_vectors(means))[given.song])


def _together(front: Front, fitted: BackEnd, temperature: float) -> ArtistClassifier:
    """The front and a back end as one classifier."""
    probe = Probe.of(front.module, fitted, temperature)
    n_inputs, n_units = probe.projection.shape
    network = {
        "_target_": f"{Probe.__module__}.{Probe.__qualname__}",
        "front": front.specification.network,
        "n_inputs": n_inputs,
        "n_units": n_units,
        "scorer": fitted.scorer,
    }
    return ArtistClassifier(replace(front.specification, network=network), network=probe)


def heard_of(catalog: Catalog, store: Store) -> dict[str, Any]:
    """The recordings trained on, for a specification."""
    return {
        "recordings": sorted({track.sha1 for track in catalog if track.sha1}),
        "fingerprints": kept_fingerprints(catalog, store),
    }


@rank_zero_only
def save_classifier(classifier: ArtistClassifier, path: Path) -> None:
    """Write a checkpoint of a classifier, from which training cannot resume."""
    weights = {f"network.{name}": value.cpu() for name, value in classifier.network.state_dict().items()}
    save_whole({"state_dict": weights, CHECKPOINT_KEY: classifier.specification.plain()}, path)
