"""How well scores tell songs of known artists from others, and how that moves when the artists are redrawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from artistid.evaluation.open_set import ACCEPTED
from artistid.evaluation.scores import DRAWS, Estimate

# Shares of the unknown that are accepted, at which it is told how many of the known are.
FALSE_ALARMS = (0.01, 0.05)


def detection(
    score: NDArray[np.floating],
    right: NDArray[np.bool_],
    known: NDArray[np.bool_],
    weight: NDArray[np.floating] | None = None,
) -> dict[str, float]:
    """How well a score tells songs of known artists from others, and how many of them are named rightly as well.

    Args:
        score: ``(songs,)``, higher for known artists.
        right: ``(songs,)`` whether the artist who is named made the song.
        known: ``(songs,)`` whether the artist is known at all; some are, some are not.
        weight: ``(songs,)`` of each, such as how often a draw has it; None: 1.

    Returns:
        ``auroc``; ``fpr95``, the share of the unknown that are accepted where 95 % of the known are; ``dir1`` and
        ``dir5``, the share of the known that are accepted and named rightly where 1 % and 5 % of the unknown are
        accepted (detection and identification rate: Phillips, Grother & Micheals 2011).
    """
    weight = np.ones(len(score)) if weight is None else weight
    scores, place = np.unique(score, return_inverse=True)
    kinds = {"known": (known, known), "right": (known & right, known), "unknown": (~known, ~known)}
    # From each score on, what share of the songs has as high a one, or a higher; no song is above the last.
    accepted = {
        name: np.append(np.cumsum(np.bincount(place, weight * of, len(scores))[::-1])[::-1], 0) / (weight @ whose)
        for name, (of, whose) in kinds.items()
    }
    step = -np.diff(accepted["unknown"])
    strictest = int(np.flatnonzero(accepted["known"] >= ACCEPTED - 1e-12)[-1])
    loosest = {rate: int(np.argmax(accepted["unknown"] <= rate + 1e-12)) for rate in FALSE_ALARMS}
    return {
        "auroc": float(step @ (accepted["known"][1:] + accepted["known"][:-1]) / 2),
        "fpr95": float(accepted["unknown"][strictest]),
        **{f"dir{100 * rate:g}": float(accepted["right"][place]) for rate, place in loosest.items()},
    }


def redrawn(
    measures: Callable[[NDArray[np.float64]], Mapping[str, float]],
    n_artists: int,
    enough: Callable[[NDArray[np.float64]], bool],
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Measures, and how they move when the artists are redrawn, as many as there are and with replacement.

    Songs of an artist are accepted or mistaken together: of many songs of few artists little is known.

    Args:
        measures: of weights ``(artists,)``.
        n_artists: how many there are.
        enough: whether weights leave something to measure; draws that don't are made again.
        draws: of the bootstrap.
        seed: of the bootstrap. For as many artists all draws are the same, so that differences are paired.
    """
    generator = np.random.default_rng(seed)
    drawn: list[Mapping[str, float]] = []
    while len(drawn) < draws:
        weight = np.bincount(generator.integers(n_artists, size=n_artists), minlength=n_artists).astype(np.float64)
        if enough(weight):
            drawn.append(measures(weight))
    return {
        name: Estimate(value, np.array([each[name] for each in drawn]), n_artists)
        for name, value in measures(np.ones(n_artists)).items()
    }
