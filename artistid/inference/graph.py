"""From a song's samples to the network's output, in operations that ONNX has.

The computation is defined elsewhere: :class:`artistid.data.features.LogSpectrogram`,
:func:`artistid.data.clips.index_clips`, and the store's rounding to float16. This module repeats it in torch, without
branches that depend on the song, so that it can be traced for songs of any length. Blocks of frames, and then clips,
are processed in sequence (ONNX's ``Scan``): the memory is that of one block and one clip, however long the song is.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn
from torch._higher_order_ops import scan
from torch.nn import functional

from artistid.data.clips import FRAME_MS, ClipSpec
from artistid.data.features import FRAMES_PER_BLOCK, Features, LogSpectrogram
from artistid.errors import ArtistidError
from artistid.evaluation.voting import CONFIDENT_ABOVE, MEAN_EMBEDDING, VOTES
from artistid.models.embedding import has_bottleneck, require_bottleneck

Vectors = tuple[torch.Tensor, ...]


class SongNetwork(nn.Module):
    """A network for clips, wrapped to take whole songs.

    Args:
        network: from log-mel ``(batch, mel, time)`` to logits ``(batch, artists)``.
        features: that it was trained with.
        clip_spec: how songs are cut for it.
        vote: one of :data:`artistid.evaluation.voting.VOTES`, or ``mean_embedding``.

    Raises:
        ArtistidError: another vote, or features that are not a spectrogram in dB: only those are implemented here.
    """

    def __init__(self, network: nn.Module, features: Features, clip_spec: ClipSpec, vote: str) -> None:
        super().__init__()
        if not isinstance(features, LogSpectrogram):
            raise ArtistidError(
                f"only networks with features=logmel or logpitch can be exported: this one has features={features.name}"
            )
        self.network = network
        self.count = None if vote == MEAN_EMBEDDING else Count(vote)
        if self.count is None:
            require_bottleneck(network)
        self.spectrogram = SongSpectrogram(features)
        self.cut = Cut(features, clip_spec)

    def forward(self, samples: torch.Tensor) -> Vectors:
        """The network's output for a song ``(n,)``.

        Returns:
            probability: ``(artists,)``, mean over the clips that voted, or that of the mean of their embeddings.
            ranking: ``(artists,)``, the artists' indices, the first by the vote first.
            clip_probability: ``(clips, artists)``.
            embedding: ``(units,)``, mean over the clips of the network's bottleneck, of length 1; where it has one.
        """
        clips = self.cut(self.spectrogram(samples), samples.shape[0])  # (clips, time, bins)
        nothing = tuple(torch.zeros_like(values) for values in self._hear(clips[0]))
        totals, clip_probability = scan(self._add, nothing, clips)
        # The mean of vectors has the direction of their sum.
        embedding = (functional.normalize(total, dim=0) for total in totals[1:])
        said = self.count(clip_probability) if self.count else self._of_song(totals[1] / clips.shape[0])
        return *said, clip_probability, *embedding

    def _of_song(self, vector: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The probability ``(artists,)`` of a song, and the ranking, by the mean ``(units,)`` of its embeddings."""
        probability = require_bottleneck(self.network).classify(vector[None])[0].softmax(dim=0)
        return probability, _best_first(probability)

    def _add(self, totals: Vectors, clip: torch.Tensor) -> tuple[Vectors, torch.Tensor]:
        """The sums over the clips, this one included, and its own probabilities."""
        said = self._hear(clip)
        return tuple(total + values for total, values in zip(totals, said, strict=True)), said[0].clone()

    def _hear(self, clip: torch.Tensor) -> Vectors:
        """The probability of each artist ``(artists,)`` and the bottleneck ``(units,)`` of a clip ``(time, bins)``."""
        batch = clip.T[None]
        probability = self.network(batch)[0].softmax(dim=0)
        if has_bottleneck(self.network):
            return probability, self.network.bottleneck(batch)[0]
        return (probability,)


class Count(nn.Module):
    """The votes of a song's clips, by a rule of :mod:`artistid.evaluation.voting`.

    Raises:
        ArtistidError: an unknown rule.
    """

    def __init__(self, vote: str) -> None:
        super().__init__()
        if vote not in VOTES:
            choices = ", ".join((*VOTES, MEAN_EMBEDDING))
            raise ArtistidError(f"vote={vote} cannot be exported to ONNX: expected one of {choices}")
        self.vote = vote

    def forward(self, probability: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The mean probability ``(artists,)`` over the clips that vote, of ``(clips, artists)``, and the ranking."""
        counted = torch.ones_like(probability[:, :1])  # (clips, 1)
        if self.vote == "confident":
            confident = (probability.amax(dim=1, keepdim=True) > CONFIDENT_ABOVE).to(probability.dtype)
            counted = torch.maximum(confident, 1 - confident.amax(dim=0, keepdim=True))
        mean = (probability * counted).sum(dim=0) / counted.sum()
        if self.vote == "mean_probability":
            return mean, _best_first(mean)
        tiny = torch.finfo(torch.float32).tiny
        evidence = (probability.clamp(min=tiny).log() * counted).sum(dim=0)
        by_evidence = _best_first(evidence)
        if self.vote == "mean_logprob":
            return mean, by_evidence
        named = probability.argmax(dim=1, keepdim=True) == torch.arange(probability.shape[1])
        votes = (named * counted).sum(dim=0)
        return mean, by_evidence.index_select(0, _best_first(votes.index_select(0, by_evidence)))


def _best_first(key: torch.Tensor) -> torch.Tensor:
    """Indices by a key ``(n,)``, the largest first; ONNX's TopK keeps equal ones in order."""
    return key.topk(key.shape[0]).indices


class SongSpectrogram(nn.Module):
    """The spectrogram of a song as the store keeps it, see :class:`artistid.data.features.LogSpectrogram`."""

    window: torch.Tensor
    filters: torch.Tensor
    rows: torch.Tensor

    def __init__(self, features: LogSpectrogram) -> None:
        super().__init__()
        self.features = features
        self.power = PowerSpectrum(features.n_fft)
        self.register_buffer("window", _constant(features.window()))
        self.register_buffer("filters", _constant(features.filters()))
        # A block is cut into rows of samples, whose length divides hop and window: a frame is some of these rows.
        self.row = math.gcd(features.n_fft, features.hop_length)
        first = torch.arange(FRAMES_PER_BLOCK) * (features.hop_length // self.row)
        self.register_buffer("rows", (first[:, None] + torch.arange(features.n_fft // self.row)).flatten())

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        """``(frames, bins)`` dB of ``(n,)`` samples; there are ``1 + n // hop_length`` frames."""
        features = self.features
        padded = self._padded(samples)
        n_frames = 1 + (padded.shape[0] - features.n_fft) // features.hop_length
        n_blocks = (n_frames + FRAMES_PER_BLOCK - 1) // FRAMES_PER_BLOCK
        overlap = max(features.n_fft - features.hop_length, 0)  # samples that a block shares with the one before
        step = FRAMES_PER_BLOCK * features.hop_length
        padded = functional.pad(padded, (0, overlap + n_blocks * step - padded.shape[0]))
        blocks = padded[overlap:].reshape(n_blocks, step)
        _, power = scan(self._bin_power, padded[:overlap].clone(), blocks)
        power = power.reshape(-1, features.width)[:n_frames]
        decibels = 10 * power.clamp(min=features.amin).log10()
        if features.top_db is not None:
            decibels = torch.maximum(decibels, decibels.max() - features.top_db)
        return decibels

    def _padded(self, samples: torch.Tensor) -> torch.Tensor:
        half, n = self.features.n_fft // 2, samples.shape[0]
        padded = functional.pad(samples, (half, half))
        if self.features.pad_mode == "constant":
            return padded
        before, after = padded[half + 1 : 2 * half + 1], padded[n - 1 : n - 1 + half]
        enough = torch.scalar_tensor(n) > half  # a tensor, so that it is not fixed in tracing
        return torch.cat([before.flip(0) * enough, samples, after.flip(0) * enough])

    def _bin_power(self, before: torch.Tensor, block: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The power ``(frames, bins)`` of a block of samples, and the samples that the next one begins with."""
        joined = torch.cat([before, block])
        frames = joined.reshape(-1, self.row).index_select(0, self.rows).reshape(FRAMES_PER_BLOCK, -1)
        return joined[block.shape[0] :].clone(), self.power(frames * self.window) @ self.filters


class PowerSpectrum(nn.Module):
    """Squared magnitudes of a real Fourier transform, by two small matrix products (Cooley & Tukey, 1965).

    ONNX Runtime's own transforms are slow on a processor; one product with all sines and cosines takes ten times as
    many operations, and more space in the file than most networks. Here a frame is a matrix of ``rows * columns``
    samples: its columns are transformed, the phases rotated, and then the rows transformed.
    """

    of_columns: torch.Tensor  # (2, rows, rows), real and imaginary
    phase: torch.Tensor  # (2, rows, columns)
    of_rows: torch.Tensor  # (2, columns, 1 + columns // 2): half the spectrum of real samples suffices

    def __init__(self, n_fft: int) -> None:
        super().__init__()
        self.kept = 1 + n_fft // 2
        self.rows = max(rows for rows in range(1, math.isqrt(n_fft) + 1) if n_fft % rows == 0)
        self.columns = n_fft // self.rows
        row, column = np.arange(self.rows), np.arange(self.columns)
        self.register_buffer("of_columns", _turned(np.outer(row, row) / self.rows))
        self.register_buffer("phase", _turned(np.outer(row, column) / n_fft))
        self.register_buffer("of_rows", _turned(np.outer(column, column[: 1 + self.columns // 2]) / self.columns))

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """``(frames, 1 + n_fft // 2)`` of ``(frames, n_fft)``."""
        frames = frames.reshape(-1, self.rows, self.columns)
        real, imaginary = self.of_columns[0] @ frames, self.of_columns[1] @ frames
        cos, sin = self.phase[0], self.phase[1]
        real, imaginary = real * cos - imaginary * sin, real * sin + imaginary * cos
        cos, sin = self.of_rows[0], self.of_rows[1]
        real, imaginary = real @ cos - imaginary @ sin, real @ sin + imaginary @ cos
        power = (real.square() + imaginary.square()).transpose(1, 2)  # of frequency row + rows * column
        return power.flatten(1)[:, : self.kept]


class Cut(nn.Module):
    """Cuts a song as :func:`artistid.data.clips.index_clips` does; a song without a clip there gives its first one.

    Raises:
        ArtistidError: clips that are whole songs.
    """

    def __init__(self, features: LogSpectrogram, clip_spec: ClipSpec) -> None:
        super().__init__()
        if clip_spec.frames is None:
            raise ArtistidError(f"clip={clip_spec.name} cannot be exported: expected clips of a fixed length")
        self.sample_rate = features.sample_rate
        self.frames = clip_spec.frames
        self.left_out = 0 if clip_spec.keep_last else 1
        self.time = (
            clip_spec.frames * features.sample_rate * FRAME_MS / (1000 * features.hop_length)
        )  # frames of log-mel

    def forward(self, spectrogram: torch.Tensor, n_samples: int) -> torch.Tensor:
        """The clips ``(clips, time, bins)`` of a song ``(frames, bins)``; a short one is padded with its floor."""
        n_frames = 1 + n_samples * 1000 // (FRAME_MS * self.sample_rate)
        n_clips = torch.sym_max(n_frames // self.frames - self.left_out, 1)
        time = round(self.time)
        first = (torch.arange(n_clips, dtype=torch.float64) * self.time).round().long()
        chosen = first[:, None] + torch.arange(time)  # (clips, time)
        lengthened = functional.pad(spectrogram, (0, 0, 0, time), value=-math.inf)
        song = torch.maximum(lengthened, spectrogram.min()).half().float()  # as the store has it
        return song.index_select(0, chosen.flatten()).unflatten(0, chosen.shape)


def _turned(turns: np.ndarray) -> torch.Tensor:
    """Real and imaginary parts (2, …) of 1 after so many turns clockwise."""
    return _constant(np.stack([np.cos(2 * np.pi * turns), -np.sin(2 * np.pi * turns)]))


def _constant(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))
