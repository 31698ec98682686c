"""What a checkpoint must carry so that it can be used without the run that made it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from torch import nn

from artistid.data.clips import Clipping
from artistid.data.features import LogMel
from artistid.errors import ArtistidError

CHECKPOINT_KEY = "artistid"


@dataclass(frozen=True)
class Specification:
    """All that data, network and vote must agree on; plain types only, so that it is safe to load.

    Attributes:
        artists: names of the labels, in their order.
        features: settings of :class:`artistid.data.features.LogMel`.
        clip: settings of :class:`artistid.data.clips.Clipping`.
        network: Hydra configuration of the network.
        vote: method of the song level.
        batch_size: clips.
        precision: that it was trained in, in Lightning's words.
        data: Hydra configuration of the source trained on.
        split: track id to part, and the rule and seed that drew it.
        recordings: SHA-1 of the decoded samples of the tracks trained on.
        grew_from: of a fine-tuned network, the checkpoint that it began with: its path, ``sha256``, data, artists, and
            the recordings that it and what it grew from itself were trained on.
    """

    artists: list[str]
    features: dict[str, Any]
    clip: dict[str, Any]
    network: dict[str, Any]
    vote: str
    batch_size: int
    precision: str
    data: dict[str, Any]
    split: dict[str, Any]
    recordings: list[str]
    grew_from: dict[str, Any] | None = None

    @property
    def heard_before(self) -> list[str]:
        """Recordings trained on before fine-tuning, under whatever labels."""
        return list(self.grew_from["recordings"]) if self.grew_from else []

    def plain(self) -> dict[str, Any]:
        """As plain types."""
        return asdict(self)

    def log_mel(self) -> LogMel:
        return LogMel(**self.features)

    def clipping(self) -> Clipping:
        return Clipping(**self.clip)

    def build(self) -> nn.Module:
        """The network, with fresh weights."""
        network: nn.Module = instantiate(self.network, n_artists=len(self.artists))
        return network

    def check_targets(self) -> None:
        """Raises ArtistidError where the network's or the source's configuration would call something foreign."""
        for target in (*_targets(self.network), *_targets(self.data)):
            if not target.startswith("artistid."):
                raise ArtistidError(f"it would call {target!r}, which is no part of artistid")


def _targets(config: Any) -> Iterator[str]:
    """What a Hydra configuration would call, nested parts included."""
    if isinstance(config, Mapping):
        if "_target_" in config:
            yield str(config["_target_"])
        for value in config.values():
            yield from _targets(value)
    elif isinstance(config, list | tuple):
        for value in config:
            yield from _targets(value)


def load_checkpoint(path: str | Path) -> tuple[Specification, dict[str, torch.Tensor]]:
    """Read a checkpoint that ``train`` wrote.

    Returns:
        specification: what it was trained for.
        weights: of the network, by parameter name.

    Raises:
        ArtistidError: no such file, or a file that is no checkpoint of this package.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise ArtistidError(f"checkpoint={path} does not exist (seen from {Path.cwd()})")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ArtistidError(f"checkpoint={path} cannot be read: {error}") from error
    if not isinstance(checkpoint, Mapping) or CHECKPOINT_KEY not in checkpoint or "state_dict" not in checkpoint:
        raise ArtistidError(f"checkpoint={path} was not written by artistid: it has no entry {CHECKPOINT_KEY!r}")
    try:
        specification = Specification(**checkpoint[CHECKPOINT_KEY])
        specification.check_targets()
    except TypeError as error:
        raise ArtistidError(f"checkpoint={path} was written by another version of artistid: {error}") from error
    except ArtistidError as error:
        raise ArtistidError(f"checkpoint={path} is not safe to use: {error}") from error
    prefix = "network."
    weights = {
        name.removeprefix(prefix): value for name, value in checkpoint["state_dict"].items() if name.startswith(prefix)
    }
    return specification, weights
