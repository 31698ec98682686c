"""Names used in files of earlier versions, which can still be read.

Only files that this package writes and reads itself are covered: checkpoints, stores, splits and run folders.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

CHECKPOINT = {"rejection": "open_set", "grew_from": "pretrained_from"}
FEATURES = {"_target_": "artistid.data.features.LogMel"}  # of checkpoints that do not name their features' class
NETWORKS = {"artistid.models.crnn.CRNN": {"n_mels": "n_features"}}
SPLIT = {"part": "subset", "parts": "subsets"}
STORE_ENTRY = {"floor": "pad_value"}
SETTINGS = {"clips_on": "data_device", "part": "subset"}

# What held before these settings existed.
ADDED_SETTINGS: Mapping[str, Any] = {
    "loss._target_": "torch.nn.CrossEntropyLoss",
    "loss.label_smoothing": 0.0,
    "monitor": "val/loss",
    "metrics": [],
    "temperature": None,
}
NETWORK_SYSTEM = "artistid.learning.networks.NetworkSystem"
BASELINE_SYSTEM = "artistid.learning.baselines.Baseline"
FUSION_SYSTEM = "artistid.fuse"


def one_is_singular(device: str) -> str:
    """A device as today's runs name it: earlier ones wrote "1 threads"."""
    return re.sub(r"\b1 threads$", "1 thread", device)


def completed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A run's settings by dotted name, under today's names, with those that have been added since."""
    system = BASELINE_SYSTEM if "model.estimator._target_" in settings else NETWORK_SYSTEM
    return {**ADDED_SETTINGS, "model.system": system, **renamed(settings, SETTINGS)}


def renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Values under today's names.

    Args:
        values: by name, of any version.
        names: today's, by the earlier ones.
    """
    return {names.get(name, name): value for name, value in values.items()}


def as_first_written(network: Mapping[str, Any], features: Mapping[str, Any]) -> dict[str, Any]:
    """A network and its features under the earliest names, from which fingerprints in collections are computed."""
    earlier = {now: then for then, now in NETWORKS.get(str(network.get("_target_")), {}).items()}
    unsaid = FEATURES.items() <= features.items()
    return {
        "network": renamed(network, earlier),
        "features": {name: value for name, value in features.items() if not (unsaid and name in FEATURES)},
    }
