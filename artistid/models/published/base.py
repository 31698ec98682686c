"""Base classes of published networks and encoders."""

from __future__ import annotations

import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import nn

from artistid.errors import ArtistidError, require_choice

log = logging.getLogger(__name__)

NON_COMMERCIAL = re.compile(r"\bNC\b|non-?commercial", re.IGNORECASE)  # in the name of a licence


class Published(nn.Module, ABC):
    """A network with published weights.

    A checkpoint may name it, so its constructor reads no file and takes no more memory than the published network;
    :meth:`load` reads the weights.

    Attributes:
        licence: of its weights.
        title: its name in messages; None: that of its class.
    """

    licence: str | None = None
    title: str | None = None

    def load(self) -> None:
        """Log the licence of the published weights, and read them.

        Raises:
            ArtistidError: they are not on this machine, or belong to another network.
        """
        whose = self.title or type(self).__name__
        if self.licence and NON_COMMERCIAL.search(self.licence):
            log.warning("warning: the weights of %s are for non-commercial use only: %s", whose, self.licence)
        elif self.licence:
            log.info("the weights of %s: licence %s", whose, self.licence)
        self.read_weights()

    @abstractmethod
    def read_weights(self) -> None:
        """Read the published weights; see :meth:`load`."""


class PublishedEncoder(Published):
    """From windows of samples ``(batch, 1, time)`` at the encoder's own rate to vectors."""


class BlockEncoder(PublishedEncoder):
    """An encoder whose inner layers are available as well, and whose last blocks can be fine-tuned.

    Args:
        front: from windows ``(batch, 1, time)`` to the first block's input.
        blocks: by name, from the input to the output; each takes the output of the one before, and returns vectors
            ``(batch, d)`` or sequences of them ``(batch, vectors, d)``, which are averaged.
        widths: of each block's vectors, in order.
        layers: the names of the blocks whose vectors are used.
        layer_weights: weights of these layers, all of one width, in a weighted mean; None: they are concatenated.
    """

    def __init__(
        self,
        front: nn.Module,
        blocks: Mapping[str, nn.Module],
        widths: Sequence[int],
        layers: Sequence[str],
        layer_weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if not layers:
            raise ArtistidError(f"features.encoder.layers is empty: expected some of {', '.join(blocks)}")
        for layer in layers:
            require_choice("features.encoder.layers", layer, list(blocks))
        if layer_weights is not None and (len(layer_weights) != len(layers) or not sum(layer_weights) > 0):
            raise ArtistidError(
                f"features.encoder.layer_weights={list(layer_weights)}: expected one for each of "
                f"features.encoder.layers={list(layers)}, with a sum above 0"
            )
        width_of = dict(zip(blocks, widths, strict=True))
        wanted = [width_of[layer] for layer in layers]
        if layer_weights is not None and len(set(wanted)) > 1:
            raise ArtistidError(
                "features.encoder.layer_weights: expected layers of one width, or null; found layers of the widths "
                f"{', '.join(map(str, wanted))}"
            )
        self.width = wanted[0] if layer_weights is not None else sum(wanted)
        self.front = front
        self.blocks = nn.ModuleDict(blocks)
        self.layers = list(layers)
        self.layer_weights = layer_weights

    @property
    def used_blocks(self) -> list[nn.Module]:
        """The blocks that the wanted layers need, from the input."""
        names = list(self.blocks)
        return list(self.blocks.values())[: 1 + max(names.index(layer) for layer in self.layers)]

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Vectors ``(batch, d)`` of windows ``(batch, 1, time)``."""
        found, vectors = self.front(windows), {}
        for name, block in zip(self.blocks, self.used_blocks, strict=False):
            found = block(found)
            if name in self.layers:
                vectors[name] = found if found.ndim == 2 else found.mean(dim=1)
        wanted = [vectors[name] for name in self.layers]
        if self.layer_weights is None:
            return torch.cat(wanted, dim=1)
        shares = torch.tensor(self.layer_weights, device=windows.device) / sum(self.layer_weights)
        return torch.einsum("lbd,l->bd", torch.stack(wanted), shares)

    def load_weights(self, weights: Mapping[str, torch.Tensor], where: str) -> None:
        """Load weights by name; raises ArtistidError if they belong to another network."""
        try:
            self.load_state_dict(weights)
        except RuntimeError as error:
            first = str(error).partition("\n\t")[2].partition("\n")[0]
            raise ArtistidError(f"{where}: its weights are not those of {type(self).__name__}: {first}") from error
