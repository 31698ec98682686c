"""Features of a stem of the music, such as its vocals, which a source separator extracts first."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from artistid.data.audio import resample_blocks
from artistid.data.encoder import LOADED, build_network, digest_of, torch_device
from artistid.data.features import Features, build_features
from artistid.data.raw_samples import RawSamples
from artistid.errors import ArtistidError, counted, require_choice
from artistid.models.published.separators import SEPARATORS
from artistid.settings import first_line

STEMS = ("vocals", "accompaniment", "mix_and_vocals")
RATE = 44_100  # Hz, of separators


def of_stem(features: Features, stem: str, separator: Any) -> Stem:
    """The same features of a stem instead of the whole music, from the user's settings."""
    return Stem(of=features.description(), stem=stem, separator=described(separator))


def described(separator: Any) -> Mapping[str, Any]:
    """A separator's ``_target_`` and arguments; those of this package go by name."""
    if isinstance(separator, Mapping):
        return separator
    require_choice("features.separator", separator, tuple(SEPARATORS))
    kind = SEPARATORS[separator]
    return {"_target_": f"{kind.__module__}.{kind.__qualname__}"}


@dataclass(frozen=True, kw_only=True)
class Stem(Features):
    """Other features, of a stem of each track.

    Decoder processes make samples, and this process separates them on its device. Recordings are decoded to one
    channel, so the separator gets the middle of the stereo image.

    Args:
        of: description of the features, see :func:`artistid.data.features.build_features`.
        stem: ``vocals``; ``accompaniment``, the rest; or ``mix_and_vocals``: the features of the music and of its
            vocals side by side.
        separator: its ``_target_`` and arguments: one of :mod:`artistid.models.published.separators`, or any torch
            module that takes music ``(1, 1, time)`` at 44.1 kHz to its vocals.
        device: that it runs on, see :func:`artistid.data.encoder.torch_device`.
        sha256: of its weights, where they are known; others are refused.

    Raises:
        ArtistidError: a setting out of its range.
    """

    of: Mapping[str, Any] = field(default_factory=lambda: {"_target_": "artistid.data.features.LogMel"})
    stem: str = "vocals"
    separator: Mapping[str, Any] = field(default_factory=lambda: described("demucs"))
    device: str = "auto"
    sha256: str | None = None

    def __post_init__(self) -> None:
        require_choice("features.stem", self.stem, STEMS)
        if not isinstance(self.separator, Mapping) or not self.separator.get("_target_"):
            raise ArtistidError("features.separator: expected demucs, openunmix, or {_target_: mymodule.Separator}")

    @cached_property
    def features(self) -> Features:
        """Those computed from the stem; raises ArtistidError if they are of a stem themselves."""
        found = build_features(self.of).on(self.device)
        if isinstance(found, Stem):
            raise ArtistidError("features.of: expected features of the whole music, found those of a stem")
        return found

    @property
    def name(self) -> str:
        return f"{self.features.name}-{self.stem}"

    @property
    def sample_rate(self) -> int:
        return self.features.sample_rate

    @property
    def hop_length(self) -> float:
        return self.features.hop_length

    @property
    def width(self) -> int:
        _ = self.network  # report a missing separator before the music is looked for
        return self.features.width * (2 if self.stem == "mix_and_vocals" else 1)

    @property
    def f_max(self) -> float:
        return self.features.f_max

    @property
    def frequencies(self) -> npt.NDArray[np.float64] | None:
        return None if self.stem == "mix_and_vocals" else self.features.frequencies

    @cached_property
    def base(self) -> Features:
        return RawSamples(sample_rate=RATE, hop_length=1)

    def on(self, device: str) -> Self:
        return replace(self, device=device)

    def plain(self) -> dict[str, Any]:
        return {
            "of": self.features.description(),
            "stem": self.stem,
            "separator": dict(self.separator),
            "sha256": self.sha256 or self.network[1],
        }

    @cached_property
    def network(self) -> tuple[nn.Module, str]:
        """The separator and the SHA-256 of its weights; raises ArtistidError where they are not those expected."""
        network, sha256 = _separator(json.dumps(dict(self.separator)), self.device)
        if self.sha256 not in (None, sha256):
            raise ArtistidError(
                f"features.separator: expected the weights that were trained with (SHA-256 "
                f"{str(self.sha256)[:12]}…), found others ({sha256[:12]}…)"
            )
        return network, sha256

    def get_ready(self) -> None:
        """Load the networks, before any song is decoded for them."""
        _ = self.network
        self.features.get_ready()

    def stored(self, blocks: Iterable[npt.NDArray[np.float32]]) -> tuple[npt.NDArray[np.float16], float]:
        return self.encode(*self.base.stored(blocks))

    def encode(self, rows: npt.NDArray[np.float16], pad_value: float) -> tuple[npt.NDArray[np.float16], float]:
        """See :meth:`artistid.data.features.Features.encode`; raises ArtistidError for a separator that fails."""
        music = rows[:, 0].astype(np.float32)
        vocals = self._vocals(music)
        if self.stem == "mix_and_vocals":
            (of_music, pad), (of_vocals, _) = self._described(music), self._described(vocals)
            return np.hstack([of_music, of_vocals]), pad
        return self._described(vocals if self.stem == "vocals" else music - vocals)

    def _vocals(self, music: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The vocals ``(n,)`` of samples ``(n,)``."""
        given = torch.from_numpy(music)[None, None].to(torch_device(self.device))
        try:
            with torch.inference_mode():
                found: torch.Tensor = self.network[0](given)
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            raise ArtistidError(
                f"features.separator: it cannot separate {counted(len(music), 'sample')}: {first_line(error)}"
            ) from error
        if not isinstance(found, torch.Tensor) or found.shape != given.shape:
            shape = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
            raise ArtistidError(f"features.separator gives {shape}: expected its input's shape, {tuple(given.shape)}")
        return found[0, 0].float().cpu().numpy()

    def _described(self, samples: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float16], float]:
        return self.features.stored(resample_blocks([samples], RATE, self.features.base.sample_rate))


@lru_cache(maxsize=LOADED)
def _separator(settings: str, device: str) -> tuple[nn.Module, str]:
    """The separator by its settings as JSON, and the SHA-256 of its weights."""
    network = build_network(json.loads(settings), "features.separator")
    network = network.eval().requires_grad_(False).to(torch_device(device))
    return network, digest_of(network)
