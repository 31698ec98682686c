"""The paper's network: a convolutional recurrent neural network (Nasrullah & Zhao 2019, III-D and Fig. 2).

An adaptation to artists of Choi et al., "Convolutional recurrent neural networks for music classification", ICASSP
2017.
"""

from __future__ import annotations

import torch
from torch import nn

from artistid.errors import ArtistidError

# The paper's network was made with Keras, and its defaults are part of it.
BATCH_NORM_EPS = 1e-3
BATCH_NORM_MOMENTUM = 0.01  # Keras counts it from the other end: 0.99

FILTERS = (64, 128, 128, 128)
POOLS = ((2, 2), (4, 2), (4, 2), (4, 2))  # mel x time: 128 mel bins become 1, time is divided by 16
SHORTEST = 16  # frames


class CRNN(nn.Module):
    """Four convolutional blocks over mel and time, two GRUs over time, and a linear layer to the artists.

    393,364 trainable parameters for 20 artists.

    Args:
        n_artists: number of classes.
        n_features: columns of the input, mel bins; the pools want 128.
        recurrent_units: units of each GRU, the size of the bottleneck.
        conv_dropout, dropout: share of values dropped after each block, and before the linear layer; single values,
            not channels.
    """

    def __init__(
        self,
        n_artists: int,
        n_features: int = 128,
        recurrent_units: int = 32,
        conv_dropout: float = 0.1,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        pooled = 1
        for pool, _ in POOLS:
            pooled *= pool
        if n_features != pooled:
            raise ArtistidError(f"the CRNN pools {pooled} mel bins into one: the features have {n_features} columns")
        self.normalise = nn.BatchNorm1d(n_features, eps=BATCH_NORM_EPS, momentum=BATCH_NORM_MOMENTUM)
        self.convolutions = nn.Sequential(
            *(
                _block(n_in, n_out, pool, conv_dropout)
                for n_in, n_out, pool in zip((1, *FILTERS), FILTERS, POOLS, strict=False)
            )
        )
        self.recurrence = nn.GRU(FILTERS[-1], recurrent_units, num_layers=2, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(recurrent_units, n_artists)
        self.apply(_initialise_like_keras)

    @property
    def stages(self) -> dict[str, nn.Module]:
        """What thaws together in fine-tuning, from the input to the head; normalising is part of the first stage."""
        first, *others = self.convolutions
        blocks = (nn.ModuleList([self.normalise, first]), *others)
        convolutions = {f"convolution{number}": block for number, block in enumerate(blocks, start=1)}
        return {**convolutions, "recurrence": self.recurrence, "head": self.classify}

    def bottleneck(self, log_mel: torch.Tensor) -> torch.Tensor:
        """The vector (batch, recurrent_units) that summarises a clip: the last state of the second GRU (paper, Fig. 3).

        Args:
            log_mel: ``(batch, mel, time)`` dB, at least 16 frames.
        """
        if log_mel.shape[-1] < SHORTEST:
            raise ArtistidError(f"the CRNN pools time by {SHORTEST}; a clip of {log_mel.shape[-1]} frames is too short")
        x = self.normalise(log_mel)  # (batch, mel, time)
        x = self.convolutions(x.unsqueeze(1))  # (batch, channel, 1, time / 16)
        x = x.squeeze(2).transpose(1, 2)  # (batch, time / 16, channel)
        states, _ = self.recurrence(x)  # (batch, time / 16, recurrent_units)
        return states[:, -1]

    def forward(self, log_mel: torch.Tensor) -> torch.Tensor:
        """Logits (batch, artists) of clips ``(batch, mel, time)`` in dB."""
        return self.classify(self.dropout(self.bottleneck(log_mel)))


def _block(n_in: int, n_out: int, pool: tuple[int, int], dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, kernel_size=3, padding="same"),
        nn.ELU(inplace=True),  # its gradient needs the result only
        nn.BatchNorm2d(n_out, eps=BATCH_NORM_EPS, momentum=BATCH_NORM_MOMENTUM),
        nn.MaxPool2d(pool),
        nn.Dropout(dropout),
    )


def _initialise_like_keras(module: nn.Module) -> None:
    """Glorot-uniform weights, orthogonal recurrent weights, zero biases."""
    if isinstance(module, nn.Conv2d | nn.Linear | nn.GRU):
        for name, parameter in module.named_parameters():
            if parameter.is_meta:  # of a network that has shapes only: torch takes two seconds to draw nothing
                continue
            if "bias" in name:
                nn.init.zeros_(parameter)
            elif "weight_hh" in name:
                nn.init.orthogonal_(parameter)
            else:
                # The gates of a GRU share one matrix, in Keras as here, and it is drawn as one.
                nn.init.xavier_uniform_(parameter)
