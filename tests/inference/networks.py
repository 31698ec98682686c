"""Networks that have learned nothing, but tell songs apart as trained ones do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from artistid.data.clips import ClipSpec
from artistid.data.features import LogMel
from artistid.learning.acceleration import prepare_network
from artistid.learning.specification import CHECKPOINT_KEY, Specification
from artistid.models.crnn import CRNN
from artistid.models.verification import Calibration, Scorer, Songs, Verifier

ARTISTS = ["AC/DC", "Björk", "Sigur Rós"]


def random_network(seed: int) -> nn.Module:
    """The paper's network for three artists, in eval mode; its statistics are random as well."""
    torch.manual_seed(seed)
    network = CRNN(len(ARTISTS))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    assert network.normalise.running_mean is not None
    assert network.normalise.running_var is not None
    network.normalise.running_mean.fill_(-40)
    network.normalise.running_var.fill_(300)
    with torch.no_grad():
        network.classify.weight.mul_(3)  # sure of itself
    return prepare_network(network).eval()


def specification_of(frames: int, **features: Any) -> Specification:
    """For clips of ``frames``; ``features`` are settings of LogMel."""
    return Specification(
        artists=ARTISTS,
        features=LogMel(**features).description(),
        clip=ClipSpec(name=f"{frames} frames", seconds=frames * 0.032, frames=frames).plain(),
        network={"_target_": "artistid.models.crnn.CRNN"},
        vote="majority",
        batch_size=16,
        precision="32-true",
        data={},
        split={},
        recordings=[],
    )


def save_checkpoint(path: Path, seed: int = 0, frames: int = 32) -> Path:
    """A checkpoint of such a network, as ``train`` writes them; returns ``path``."""
    weights = {f"network.{name}": value for name, value in random_network(seed).state_dict().items()}
    torch.save({"state_dict": weights, CHECKPOINT_KEY: specification_of(frames).plain()}, path)
    return path


def random_verifier(units: int = 32, strangers: int = 20) -> Verifier:
    """Compares songs by their cosine, and has as many strangers, of two artists, as vectors at random."""
    vectors = np.random.default_rng(0).standard_normal((strangers, units))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    numbers = np.arange(strangers) % 2
    songs = Songs(vectors, numbers, numbers)
    return Verifier("cosine", Scorer.fit(None, songs), None, Calibration(), songs, ("one stranger", "another"))
