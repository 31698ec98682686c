"""Whitman, Flake & Lawrence, "Artist detection in music with Minnowmatch", NNSP 2001."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from artistid.data.descriptors import Descriptors
from artistid.models.scoring import StandardisedSVC


def mean_mfcc(rows: NDArray[np.floating], descriptors: Descriptors) -> NDArray[np.floating]:
    """The mean MFCC ``(1, n_mfcc)`` of a clip's rows, for clips of one second: ``clip=1s``."""
    return rows[:, descriptors.mfcc].mean(axis=0, keepdims=True)


class WhitmanSVM(StandardisedSVC):
    """One support vector machine per artist, that artist against all others, on mean MFCC of one second.

    Departures: the study trained a small network on the machines' outputs, where here the highest output wins; it does
    not clearly state kernel and cost, which are chosen by validation here.
    """

    def __init__(self, C: float = 1.0, gamma: float | str = "scale", strategy: str = "rest") -> None:
        super().__init__(C, gamma, strategy)
