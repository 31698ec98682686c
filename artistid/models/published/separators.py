"""Separators, which extract the vocals from music, by packages that need not be installed."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

import torch

from artistid.errors import ArtistidError, require_choice
from artistid.models.published.base import Published
from artistid.settings import first_line

PIECE = 30 * 44_100  # samples per call of a recurrent separator
DEMUCS = ("htdemucs", "htdemucs_ft", "hdemucs_mmi", "mdx_extra")
# Open-Unmix's models, and the licences of their weights.
OPENUNMIX = {"umxhq": "MIT", "umxse": "MIT", "umxl": "CC BY-NC-SA 4.0"}


class Separator(Published):
    """From music ``(1, 1, time)`` at 44.1 kHz to its vocals, of the same shape."""


class Demucs(Separator):
    """Demucs (Défossez, "Hybrid spectrogram and waveform source separation", 2021); ``pip install demucs``.

    The package downloads its weights on first use, and caches them.

    Args:
        model: one of the package's.
    """

    licence = "MIT"
    network: Any  # of the package, once it is loaded

    def __init__(self, model: Literal["htdemucs", "htdemucs_ft", "hdemucs_mmi", "mdx_extra"] = "htdemucs") -> None:
        super().__init__()
        require_choice("features.separator.model", model, DEMUCS)
        self.model = model

    def read_weights(self) -> None:
        self.network = _load("demucs", "demucs.pretrained", "get_model", self.model)

    def forward(self, music: torch.Tensor) -> torch.Tensor:
        apply_model = import_module("demucs.apply").apply_model
        stereo = music.expand(-1, 2, -1)
        scale = music.std().clamp_min(1e-8)  # as the package's own program normalises
        found = apply_model(self.network, (stereo - music.mean()) / scale, shifts=0)  # (1, sources, 2, time)
        singing: torch.Tensor = found[:, list(self.network.sources).index("vocals")] * scale
        return singing.mean(dim=1, keepdim=True)


class OpenUnmix(Separator):
    """Open-Unmix (Stöter et al., JOSS 2019), 30 s at a time; ``pip install openunmix``.

    Args:
        model: one of the package's, which downloads its weights on first use.
        path: of a folder with ``separator.json``, ``vocals.json`` and ``vocals.pth``, used instead of the model.
    """

    network: Any  # of the package, once it is loaded

    def __init__(self, model: Literal["umxhq", "umxse", "umxl"] = "umxhq", path: str | None = None) -> None:
        super().__init__()
        require_choice("features.separator.model", model, tuple(OPENUNMIX))
        self.model, self.path = model, path
        self.licence = OPENUNMIX[model] if path is None else None

    def read_weights(self) -> None:
        # The Wiener filter needs the residual as a second target.
        settings = {"model_str_or_path": self.path or self.model, "targets": ["vocals"], "residual": True}
        self.network = _load("openunmix", "openunmix.utils", "load_separator", **settings)
        self.network.freeze()

    def forward(self, music: torch.Tensor) -> torch.Tensor:
        pieces = music.split(PIECE, dim=2)
        return torch.cat([self.network(piece.expand(-1, 2, -1))[:, 0] for piece in pieces], dim=2).mean(1, True)


def _load(package: str, module: str, function: str, *arguments: Any, **settings: Any) -> Any:
    """Call a function of a package that may not be installed; raises ArtistidError."""
    if find_spec(package) is None:
        raise ArtistidError(f"features.separator={package} is not installed: pip install {package}")
    try:
        return getattr(import_module(module), function)(*arguments, **settings)
    except Exception as error:  # of any kind: it reads and downloads files
        raise ArtistidError(f"features.separator={package} cannot be loaded: {first_line(error)}") from error


SEPARATORS = {"demucs": Demucs, "openunmix": OpenUnmix}
