"""Artist verification with a network, for artists it was not trained on: fit scorers, choose one, evaluate all.

The training artists' songs, including those of their validation albums, fit the scorers and are the cohort: how much an
artist's albums differ shows best on albums that the network was not trained on. The validation artists calibrate the
scorers, choose one, and are the strangers by whom false alarms are counted; the test artists are enrolled by an album
each and tested on songs of their other albums.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from artistid.data.catalog import Catalog
from artistid.data.splits import UNSEEN_SUBSETS, Split
from artistid.data.store import Store
from artistid.errors import ArtistidError, counted
from artistid.evaluation.detection import FALSE_ALARMS
from artistid.evaluation.scores import DRAWS, Estimate
from artistid.evaluation.verification import DetectionCost, Measures, Trials, interval, measure
from artistid.hints import Count, Share
from artistid.inference.identifier import Identifier, song_vector
from artistid.models.backends import BackEnd
from artistid.models.verification import (
    COHORT_SONGS,
    Calibration,
    Scorer,
    SNorm,
    Songs,
    Verifier,
    threshold_of,
)

log = logging.getLogger(__name__)

CHOSEN_BY = "min_cllr"  # in validation: it judges the ranking of all claims, whatever their calibration
SONGS_ENROLLED = (1, 3, 10)  # and a whole album
ARTISTS_ENROLLED = (20, 200, 2000)  # and all
CURVE_POINTS = 200
COSINE = "cosine"
ALL_HEARD = ("train", "val", *UNSEEN_SUBSETS)


@dataclass(frozen=True, kw_only=True)
class Verification:
    """``verification.*``: how songs are scored against artists.

    Attributes:
        scorers: by name, the back end whose embedding and Gaussians score; None: the cosine of raw vectors.
        snorm: share of the cohort for adaptive s-norm, with which each scorer is evaluated as well; None: without it.
        cost: of errors.
        draws: maximum number of bootstrap draws over artists.
    """

    scorers: Mapping[str, BackEnd | None]
    snorm: Share | None = 0.2
    cost: DetectionCost = field(default_factory=DetectionCost)
    draws: Count = DRAWS

    def __post_init__(self) -> None:
        if not self.scorers:
            raise ArtistidError("verification.scorers is empty: expected one or more")
        for name, back_end in self.scorers.items():
            if not isinstance(back_end, BackEnd | None):
                raise ArtistidError(f"verification.scorers.{name} is a {type(back_end).__name__}, expected a BackEnd")
        if self.snorm is not None and not 0 < self.snorm <= 1:
            raise ArtistidError(f"verification.snorm={self.snorm}: expected a share above 0, up to 1, or null")


class Unseen(NamedTuple):
    """The songs of all subsets as vectors, with artists and albums numbered the same in all.

    Attributes:
        songs: by subset.
        artists: names, by number.
    """

    songs: Mapping[str, Songs]
    artists: tuple[str, ...]

    @classmethod
    def of(
        cls,
        identifier: Identifier,
        split: Split,
        catalog: Catalog,
        store: Store,
        subsets: Sequence[str] = ALL_HEARD,
    ) -> Unseen:
        """The network's vectors of the songs of a split."""
        artist_of = {name: number for number, name in enumerate(catalog.artists)}
        album_of: dict[tuple[str, ...], int] = {}
        songs = {}
        for subset in subsets:
            tracks = split.select(catalog, subset)
            songs[subset] = Songs(
                np.stack([song_vector(identifier.infer(store.song(track)).embedding) for track in tracks]),
                np.array([artist_of[track.artist] for track in tracks]),
                np.array([album_of.setdefault(track.session_key, len(album_of)) for track in tracks]),
            )
        return cls(songs, catalog.artists)

    def trials(self, verifier: Verifier, enrol: str, claims: str) -> Trials:
        """The likelihood ratios of the songs of one subset against the artists of another."""
        return tried(verifier, self.songs[enrol], self.songs[claims])


def tried(verifier: Verifier, enrol: Songs, claims: Songs) -> Trials:
    """The likelihood ratios of the songs ``claims`` against the artists of ``enrol``."""
    counted, enrolled = enrol.counted()
    ratios = verifier.ratios(verifier.scorer.enrol(counted), claims.vector)
    return Trials(ratios, claims.artist, enrolled)


def verifiers(settings: Verification, unseen: Unseen) -> Iterator[Verifier]:
    """Each scorer, without and with s-norm, calibrated on the validation artists."""
    training = _both(unseen.songs["train"], unseen.songs["val"])
    strangers, numbers = _both(unseen.songs["val_enrol"], unseen.songs["val_claims"]).some(COHORT_SONGS).counted()
    names = tuple(unseen.artists[number] for number in numbers)
    cohort, _ = training.some(COHORT_SONGS).counted()
    snorms = [None, SNorm(cohort, settings.snorm)] if settings.snorm else [None]
    fitted = {name: Scorer.fit(back_end, training) for name, back_end in settings.scorers.items()}
    for (name, scorer), snorm in product(fitted.items(), snorms):
        name = f"{name}+snorm" if snorm else name
        raw = Verifier(name, scorer, snorm, Calibration(), strangers, names)
        trials = unseen.trials(raw, "val_enrol", "val_claims")
        calibration = Calibration.fit(trials.score.ravel(), trials.true.ravel(), settings.cost.prior)
        yield Verifier(name, scorer, snorm, calibration, strangers, names)


def verify_unseen(
    identifier: Identifier, split: Split, catalog: Catalog, store: Store, settings: Verification
) -> tuple[Verifier, dict[str, Any]]:
    """Fit the scorers, choose one by validation, and evaluate all on artists that nothing was fitted to.

    Args:
        identifier: of the trained network.
        split: with artists that are not trained on.
        catalog, store: of its tracks.
        settings: of the run.

    Returns:
        The chosen verifier, and the entry for the scores file.
    """
    unseen = Unseen.of(identifier, split, catalog, store)
    found = list(verifiers(settings, unseen))
    validated = [Measures(unseen.trials(each, "val_enrol", "val_claims"), settings.cost)() for each in found]
    best = int(np.argmin([round(each[CHOSEN_BY], 6) for each in validated]))
    chosen = found[best]
    told = _measured(found, chosen, unseen, settings)
    told["artists"] = {
        "trained": len(np.unique(unseen.songs["train"].artist)),
        "validation": len(chosen.names),
        **told["artists"],
    }
    for each, of_validation in zip(found, validated, strict=True):
        told["systems"][each.name]["val"] = of_validation
    _log(told, f"{chosen.name} of {counted(len(found), 'scorer')}, chosen by validation")
    return chosen, told


def verify_elsewhere(
    identifier: Identifier, split: Split, catalog: Catalog, store: Store, settings: Verification
) -> dict[str, Any]:
    """Evaluate the verifier of a trained network, and the plain cosine, on newly enrolled artists.

    Args:
        identifier: of the network, which has a verifier.
        split: with the subsets ``enrol`` and ``claims``.
        catalog, store: of its tracks.
        settings: cost and bootstrap; nothing is fitted.

    Returns:
        As :func:`verify_unseen`, without training and validation.
    """
    verifier = identifier.verifier
    assert verifier, "the caller has checked this"
    unseen = Unseen.of(identifier, split, catalog, store, ("enrol", "claims"))
    found = [verifier] if verifier.name == COSINE else [verifier, _cosine_beside(verifier, settings.cost)]
    told = _measured(found, verifier, unseen, settings)
    _log(told, verifier.name)
    return told


def _cosine_beside(verifier: Verifier, cost: DetectionCost) -> Verifier:
    """The cosine of raw vectors, calibrated on the same strangers: one album of each against the others."""
    strangers = verifier.strangers
    raw = Verifier(COSINE, Scorer.fit(None, strangers), None, Calibration(), strangers, verifier.names)
    first = strangers.album == pd.Series(strangers.album).groupby(strangers.artist).transform("min").to_numpy()
    trials = tried(raw, strangers.select(first), strangers.select(~first))
    return replace(raw, calibration=Calibration.fit(trials.score.ravel(), trials.true.ravel(), cost.prior))


def _measured(found: Sequence[Verifier], chosen: Verifier, unseen: Unseen, settings: Verification) -> dict[str, Any]:
    """The measures of all verifiers on the test artists, and of the chosen one by number of songs and artists."""
    tested = {each.name: unseen.trials(each, "enrol", "claims") for each in found}
    measured = {name: measure(trials, settings.cost, settings.draws) for name, trials in tested.items()}
    return {
        "chosen": chosen.name,
        "artists": {
            "enrolled": len(np.unique(unseen.songs["enrol"].artist)),
            "impostors": len(np.setdiff1d(unseen.songs["claims"].artist, unseen.songs["enrol"].artist)),
        },
        "songs": {subset: len(songs.vector) for subset, songs in unseen.songs.items()},
        "cost": {name: getattr(settings.cost, name) for name in ("prior", "miss", "false_alarm")},
        "systems": {name: {"test": plain_measures(measures)} for name, measures in measured.items()},
        "over_cosine": _differences(measured[chosen.name], measured.get(COSINE)),
        "stated": [stated(chosen, unseen, tested[chosen.name], rate) for rate in FALSE_ALARMS],
        "by_songs": list(_by_songs(chosen, unseen, settings)),
        "by_artists": list(_by_artists(tested[chosen.name], settings)),
        "curves": {name: _curve(trials) for name, trials in tested.items()},
    }


def plain_measures(measures: Mapping[str, Estimate]) -> dict[str, dict[str, Any]]:
    """Value and 95 % interval of each, ready for JSON."""
    return {name: {"value": each.value, "ci95": interval(name, each)} for name, each in measures.items()}


def stated(verifier: Verifier, unseen: Unseen, trials: Trials, rate: float) -> dict[str, float]:
    """Error rates on the test artists at thresholds set for a false-alarm rate on the strangers.

    Returns:
        ``false_alarms`` as stated; for identification the shares of songs ``unknown_accepted`` and ``known_named``; for
        claims ``false_accepted`` and ``true_accepted``.
    """
    enrolled, _ = unseen.songs["enrol"].counted()
    strangers = verifier.ratios(verifier.scorer.enrol(enrolled), verifier.strangers.vector)
    top, named = trials.score.max(axis=1), trials.true[np.arange(len(trials.score)), trials.score.argmax(axis=1)]
    accepted = top > threshold_of(strangers.max(axis=1), rate)
    believed = trials.score > [threshold_of(each, rate) for each in strangers.T]
    return {
        "false_alarms": rate,
        "unknown_accepted": float(accepted[~trials.known].mean()),
        "known_named": float((accepted & named)[trials.known].mean()),
        "false_accepted": float(believed[~trials.true].mean()),
        "true_accepted": float(believed[trials.true].mean()),
    }


def _by_songs(verifier: Verifier, unseen: Unseen, settings: Verification) -> Iterator[dict[str, Any]]:
    """The measures by the number of songs enrolled of each artist's album, up to all of them."""
    enrol = unseen.songs["enrol"]
    place = _place_within(enrol.artist)
    for songs in (*SONGS_ENROLLED, None):
        if songs is not None and songs > place.max():  # the whole album
            continue
        some = enrol if songs is None else enrol.select(place < songs)
        trials = tried(verifier, some, unseen.songs["claims"])
        yield {"songs": songs, **plain_measures(measure(trials, settings.cost, settings.draws))}


def _by_artists(trials: Trials, settings: Verification) -> Iterator[dict[str, Any]]:
    """The measures by the number of enrolled artists, spaced evenly; all others are then unknown artists."""
    n = len(trials.enrolled)
    for artists in (*(some for some in ARTISTS_ENROLLED if some < n), n):
        chosen = np.linspace(0, n - 1, artists).round().astype(int)
        found = measure(trials.select(enrolled=chosen), settings.cost, settings.draws)
        yield {"artists": artists, **plain_measures(found)}


def _curve(trials: Trials) -> dict[str, list[float]]:
    """Points of a DET curve, thinned out for drawing."""
    rates = Measures(trials).rates
    chosen = np.unique(np.searchsorted(rates.miss, np.linspace(0, 1, CURVE_POINTS)).clip(max=len(rates.miss) - 1))
    return {name: getattr(rates, name)[chosen].round(6).tolist() for name in rates._fields}


def _differences(one: Mapping[str, Estimate], another: Mapping[str, Estimate] | None) -> dict[str, Any]:
    """One scorer's measures, except the unbounded Cllr, minus another's, with paired 95 % intervals over artists."""
    if another is None:
        return {}
    shares = [name for name in one if name != "cllr"]
    return {
        name: {"value": one[name].value - another[name].value, "ci95": list(one[name].minus(another[name]))}
        for name in shares
    }


def _both(one: Songs, other: Songs) -> Songs:
    return Songs._make(np.concatenate(pair) for pair in zip(one, other, strict=True))


def _place_within(group: NDArray[np.int64]) -> NDArray[np.int64]:
    """``(n,)`` the position of each element within its group."""
    return np.array(pd.Series(group).groupby(group).cumcount(), dtype=np.int64)


def _log(told: Mapping[str, Any], scorer: str) -> None:
    test = told["systems"][told["chosen"]]["test"]
    log.info(
        "artists never trained on: %s: EER %.1f %%, AUROC %.3f; at 5 %% false alarms, %.1f %% of the songs of %s are "
        "identified correctly",
        *(scorer, 100 * test["eer"]["value"], test["auroc"]["value"], 100 * test["dir5"]["value"]),
        counted(told["artists"]["enrolled"], "enrolled artist"),
    )
