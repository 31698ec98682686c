"""MERT: a transformer pretrained on music by masked prediction (Li et al., ICLR 2024).

Its architecture is HuBERT's, for which torchaudio has the modules; its weights are named as in Hugging Face's library.
"""

from __future__ import annotations

import re

import torch
from torch import nn

from artistid.models.published.base import BlockEncoder
from artistid.models.published.weights import on_disk, read_tensors

N_LAYERS, WIDTH = 12, 768
LAYERS = tuple(f"layer{number}" for number in range(N_LAYERS + 1))
HUB = "m-a-p/MERT-v1-95M"


class Mert(BlockEncoder):
    """MERT-v1-95M, from samples at 24 kHz.

    Args:
        layers: ``layer0``, the transformer's input, to ``layer12``, its output: 768 values each, the mean over time.
        layer_weights: see :class:`artistid.models.published.base.BlockEncoder`.
        path: of ``model.safetensors`` or ``pytorch_model.bin``, or of their folder; None: where they are found.
    """

    licence = "CC BY-NC 4.0"

    def __init__(
        self,
        layers: list[str] | tuple[str, ...] = LAYERS,
        layer_weights: list[float] | None = None,
        path: str | None = None,
    ) -> None:
        from torchaudio.models import hubert_base

        network = hubert_base()
        transformer = network.encoder.transformer
        rest = nn.ModuleList(transformer.layers)
        transformer.layers = nn.ModuleList()
        blocks: dict[str, nn.Module] = {name: Layer(module) for name, module in zip(LAYERS[1:], rest, strict=True)}
        first = Embedded(network.encoder.feature_projection, transformer)
        front, blocks = Convolutions(network.feature_extractor), {LAYERS[0]: first, **blocks}
        super().__init__(front, blocks, [WIDTH] * len(blocks), layers, layer_weights)
        self.path = path

    def read_weights(self) -> None:
        path = on_disk(("model.safetensors", "pytorch_model.bin"), self.path, f"https://huggingface.co/{HUB}", HUB)
        found = {_name(key): value for key, value in read_tensors(path).items() if not OF_TRAINING.match(key)}
        self.load_weights(found, str(path))


# Needed in pretraining only: the mask embedding, and the prediction heads.
OF_TRAINING = re.compile(r"(hubert\.)?masked_spec_embed|.*(final_proj|label_embs|encoder_mask)")
RENAMED = (
    (r"^hubert\.", ""),
    (r"^feature_extractor\.", "front.extract."),
    (r"^feature_projection\.", "blocks.layer0.project."),
    (r"^encoder\.layers\.(\d+)\.", lambda found: f"blocks.layer{int(found[1]) + 1}.layer."),
    (r"^encoder\.", "blocks.layer0.transformer."),
    (r"\.weight_g$", ".parametrizations.weight.original0"),  # of weight norm, before torch had parametrizations
    (r"\.weight_v$", ".parametrizations.weight.original1"),
)


def _name(theirs: str) -> str:
    """This module's name of a weight of Hugging Face's ``HubertModel``."""
    for pattern, replacement in RENAMED:
        theirs = re.sub(pattern, replacement, theirs)
    return theirs


class Convolutions(nn.Module):
    """Samples normalised to mean 0 and variance 1, and 75 vectors per second of them: ``(batch, time, 512)``."""

    def __init__(self, extract: nn.Module) -> None:
        super().__init__()
        self.extract = extract

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        samples = windows[:, 0]
        samples = samples - samples.mean(dim=1, keepdim=True)
        scale = torch.sqrt(samples.square().mean(dim=1, keepdim=True) + 1e-7)
        vectors: torch.Tensor = self.extract(samples / scale, None)[0]
        return vectors


class Embedded(nn.Module):
    """The vectors projected to the transformer's width, with positions encoded: ``(batch, time, 768)``.

    Args:
        project: to that width.
        transformer: torchaudio's, without its layers: everything before them.
    """

    def __init__(self, project: nn.Module, transformer: nn.Module) -> None:
        super().__init__()
        self.project, self.transformer = project, transformer

    def forward(self, found: torch.Tensor) -> torch.Tensor:
        vectors: torch.Tensor = self.transformer(self.project(found))
        return vectors


class Layer(nn.Module):
    """A transformer layer, from ``(batch, time, 768)`` to the same shape."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, found: torch.Tensor) -> torch.Tensor:
        vectors: torch.Tensor = self.layer(found)[0]
        return vectors
