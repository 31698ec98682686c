"""The temperature of a trained network's softmax, by validation (Guo et al., ICML 2017)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from artistid.evaluation.predictions import Predictions
from artistid.learning.choosing import Scores, temperature_of
from artistid.learning.specification import Specification
from artistid.models.calibrated import Calibrated, CalibratedEmbedding
from artistid.models.embedding import has_bottleneck


def calibrated(
    network: nn.Module, specification: Specification, validation: Predictions
) -> tuple[Calibrated, Specification]:
    """A network with the maximum-likelihood temperature on its validation predictions, and its specification."""
    of_song = None if validation.of_song is None else _logits(validation.of_song)
    logits = Scores(_logits(validation.probability), of_song)
    kind = CalibratedEmbedding if has_bottleneck(network) else Calibrated
    with_temperature = kind(len(specification.artists), network)
    with torch.no_grad():
        with_temperature.temperature.fill_(temperature_of(logits, validation.label, validation.track_index))
    return with_temperature.eval(), replace(specification, network=around(kind, specification))


def _logits(probability: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits, up to a constant per row, to which a softmax is invariant."""
    return np.log(np.maximum(probability, np.finfo(np.float32).tiny))


def around(kind: type[nn.Module], specification: Specification) -> dict[str, Any]:
    """The configuration of a module that wraps a specification's network."""
    within = {**specification.network, "n_artists": len(specification.artists)}
    return {"_target_": f"{kind.__module__}.{kind.__qualname__}", "network": within}
