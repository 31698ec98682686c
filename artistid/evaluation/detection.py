"""How well scores separate songs of known artists from others, with a bootstrap over artists."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from artistid.evaluation.open_set import ACCEPTED
from artistid.evaluation.scores import DRAWS, Estimate

# Shares of unknown artists' songs accepted, at which detection and identification rates are reported.
FALSE_ALARMS = (0.01, 0.05)


def detection(
    score: NDArray[np.floating],
    right: NDArray[np.bool_],
    known: NDArray[np.bool_],
    weight: NDArray[np.floating] | None = None,
) -> dict[str, float]:
    """How well a score separates songs of known artists from others, and how many are also identified correctly.

    Args:
        score: ``(songs,)``, higher for known artists.
        right: ``(songs,)`` whether the artist named is the song's.
        known: ``(songs,)`` whether the song's artist is known; there are songs of both kinds.
        weight: ``(songs,)`` of each, such as how often a draw contains it; None: 1.

    Returns:
        ``auroc``; ``fpr95``, the share of the unknown accepted where 95 % of the known are; ``dir1`` and ``dir5``, the
        share of the known that are accepted and identified correctly where at most 1 % and 5 % of the unknown are
        accepted (detection and identification rate: Phillips, Grother & Micheals 2011).
    """
    weight = np.ones(len(score)) if weight is None else weight
    scores, place = np.unique(score, return_inverse=True)
    kinds = {"known": (known, known), "right": (known & right, known), "unknown": (~known, ~known)}
    # For each score, the share of songs with a score at least as high; 0 after the last.
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
    """Measures with a bootstrap over artists, who are redrawn with replacement, as many as there are.

    An artist's songs tend to be accepted or confused together, so that many songs of few artists tell little.

    Args:
        measures: from weights ``(artists,)`` to measures by name.
        n_artists: number of artists.
        enough: whether weights leave something to measure; other draws are repeated.
        draws: number of bootstrap draws.
        seed: of the bootstrap. With the same number of artists, all draws are the same, so that differences are paired.
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
