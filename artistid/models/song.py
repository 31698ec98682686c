"""Networks trained at song level: a long passage, or a whole song, is divided into clips and classified as one.

A batch contains passages, and within the network passages × clips. The setting ``clip`` is the length of a passage;
with ``clip.crop=random`` each epoch draws other passages.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from artistid.errors import ArtistidError, require_choice
from artistid.models.embedding import ClipNetwork

POOLINGS = ("mean", "transformer")
MOST_LAYERS = 12


class SongNetwork(nn.Module):
    """A network of clips, whose vectors are pooled before classification.

    Constant clips, as in silence or in the padding of a short song, are ignored.

    Args:
        n_artists: number of classes.
        n_features: columns of the input, such as mel bins.
        encoder: makes the network of clips, whose classifier is used for the passage.
        clip_frames: approximate number of rows of a clip: a passage is divided into equal ones.
        pooling: ``mean`` of the clips' vectors, or ``transformer``, in which they attend to each other first, without
            positions: the artist does not depend on the clips' order.
        units: length of the encoder's vectors.
        layers, heads: of the transformer (Vaswani et al. 2017; pre-norm, as Xiong et al., ICML 2020).
        dropout: within the transformer.
    """

    def __init__(
        self,
        n_artists: int,
        encoder: Callable[..., ClipNetwork],
        n_features: int = 128,
        clip_frames: int = 94,
        pooling: str = "mean",
        units: int = 32,
        layers: int = 2,
        heads: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        require_choice("model.network.pooling", pooling, POOLINGS)
        if clip_frames < 1:
            raise ArtistidError(f"model.network.clip_frames={clip_frames}: expected 1 or more")
        self.clip_frames = clip_frames
        self.encoder: ClipNetwork = encoder(n_artists=n_artists, n_features=n_features)
        self.relate = Transformer(units, layers, heads, dropout) if pooling == "transformer" else None

    @property
    def classify(self) -> nn.Module:
        """The encoder's classifier."""
        return self.encoder.classify

    @property
    def stages(self) -> dict[str, nn.Module]:
        """The encoder's, with the transformer before the head."""
        *others, (_, head) = self.encoder.stages.items()
        return {**dict(others), **({"relate": self.relate} if self.relate else {}), "head": head}

    def bottleneck(self, features: torch.Tensor) -> torch.Tensor:
        """The vectors (batch, units) of passages ``(batch, width, time)``."""
        n_clips = max(1, round(features.shape[2] / self.clip_frames))
        frames = features.shape[2] // n_clips
        clips = features[..., : n_clips * frames].unflatten(2, (n_clips, frames)).transpose(1, 2)
        vectors = self.encoder.bottleneck(clips.flatten(0, 1)).unflatten(0, (-1, n_clips))  # (batch, clips, units)
        heard = _heard(clips)
        if self.relate is not None:
            vectors = self.relate(vectors, heard)
        weight = heard.to(vectors.dtype).unsqueeze(2)
        return (vectors * weight).sum(dim=1) / weight.sum(dim=1)

    def head(self, vectors: torch.Tensor) -> torch.Tensor:
        """Logits (batch, artists) of vectors ``(batch, units)``, with dropout in training."""
        return self.encoder.head(vectors)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Logits (batch, artists) of passages ``(batch, width, time)``."""
        return self.head(self.bottleneck(features))


def _heard(clips: torch.Tensor) -> torch.Tensor:
    """``(batch, clips)`` which of ``(batch, clips, width, time)`` are not constant; all, if every clip is constant."""
    changes = clips.amax(dim=(2, 3)) > clips.amin(dim=(2, 3))
    return changes | ~changes.any(dim=1, keepdim=True)


class Transformer(nn.Module):
    """Layers of attention between vectors; raises ArtistidError for too many layers, or heads not dividing units."""

    def __init__(self, units: int, layers: int, heads: int, dropout: float) -> None:
        super().__init__()
        if not 1 <= layers <= MOST_LAYERS:
            raise ArtistidError(f"model.network.layers={layers}: expected 1 to {MOST_LAYERS}")
        if heads < 1 or units % heads:
            raise ArtistidError(f"model.network.heads={heads}: expected a divisor of model.network.units={units}")
        self.layers = nn.ModuleList(AttentionLayer(units, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(units)

    def forward(self, vectors: torch.Tensor, heard: torch.Tensor) -> torch.Tensor:
        """``(batch, clips, units)`` to the same; only clips with ``heard`` (batch, clips) are attended to."""
        for layer in self.layers:
            vectors = layer(vectors, heard[:, None, None, :])
        normed: torch.Tensor = self.norm(vectors)
        return normed


class AttentionLayer(nn.Module):
    """A pre-norm transformer layer.

    Written out, since torch's own layer has a fast path in evaluation mode that cannot be exported to ONNX.
    """

    def __init__(self, units: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_dense = nn.LayerNorm(units), nn.LayerNorm(units)
        self.project = nn.Linear(units, 3 * units)
        self.out = nn.Linear(units, units)
        self.dense = nn.Sequential(nn.Linear(units, 4 * units), nn.GELU(), nn.Linear(4 * units, units))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """``(batch, clips, units)`` to the same; ``mask`` (batch, 1, 1, clips) is true for what is attended to."""
        projected = self.project(self.before_attention(x)).unflatten(2, (3, self.heads, -1))
        query, key, value = projected.permute(2, 0, 3, 1, 4)  # (batch, heads, clips, units / heads) each
        attended = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        x = x + self.dropout(self.out(attended.transpose(1, 2).flatten(2)))
        dense: torch.Tensor = x + self.dropout(self.dense(self.before_dense(x)))
        return dense
