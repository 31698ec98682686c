"""Learned features: the bottleneck vectors of a trained network."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from torch import nn

from artistid.data.clips import FRAME_MS
from artistid.data.encoder import LOADED, Encoded, Frozen, check_seconds, freeze, unencoded
from artistid.data.features import Features
from artistid.errors import ArtistidError
from artistid.learning.specification import Specification, load_network
from artistid.models.embedding import ToBottleneck, require_bottleneck
from artistid.places import expanded


@dataclass(frozen=True, kw_only=True)
class Bottleneck(Encoded):
    """The bottleneck vectors of a trained network of this package.

    Args:
        checkpoint: of the network; also needed to open any network trained on these features.
        hop: seconds from vector to vector; None: the length of the network's clips, without overlap.
        device: to run it on: ``auto`` (a GPU where there is one), ``cpu``, ``cuda``, ….
        sha256: expected hash of its weights; others are refused; None: any.

    Raises:
        ArtistidError: a setting out of range.
    """

    checkpoint: str = ""
    hop: float | None = None
    device: str = "auto"
    sha256: str | None = None

    def __post_init__(self) -> None:
        if not self.checkpoint or not isinstance(self.checkpoint, str):
            raise ArtistidError("features.checkpoint=PATH is missing: expected the best.ckpt of a run folder")
        object.__setattr__(self, "checkpoint", str(expanded(self.checkpoint).absolute()))
        if self.hop is not None:
            check_seconds("hop", self.hop)

    @property
    def name(self) -> str:
        return "bottleneck"

    @cached_property
    def base(self) -> Features:
        return unencoded(self._loaded[0].build_features(), self.name)

    @property
    def window_s(self) -> float:
        frames = self._loaded[0].clip_spec().frames
        assert frames is not None, "a network is given clips of one length"
        return frames * FRAME_MS / 1000

    def plain(self) -> dict[str, Any]:
        return {"checkpoint": self.checkpoint, "hop": self.hop, "sha256": self.sha256 or self.frozen.sha256}

    @property
    def _loaded(self) -> tuple[Specification, nn.Module]:
        path = expanded(self.checkpoint)
        return _load(self.checkpoint, path.stat().st_mtime_ns if path.exists() else 0)

    def load(self) -> Frozen:
        network = self._loaded[1]
        require_bottleneck(network, f"features.checkpoint={self.checkpoint}")
        return freeze(ToBottleneck(network), (self.base.width, self.window_rows), self.device, self.name)


_opening: ContextVar[frozenset[str]] = ContextVar("_opening", default=frozenset())


@lru_cache(maxsize=LOADED)
def _load(path: str, mtime_ns: int) -> tuple[Specification, nn.Module]:
    """Load a network; raises ArtistidError for one whose features need itself."""
    if path in (opening := _opening.get()):
        raise ArtistidError(f"features.checkpoint={path}: its network takes features=bottleneck from itself")
    token = _opening.set(opening | {path})
    try:
        return load_network(path)
    finally:
        _opening.reset(token)
