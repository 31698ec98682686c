"""A trained network and all that it needs to process a song: what :func:`artistid.load` returns."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from artistid.data.clips import FRAME_MS, Clips, TrackRows, index_clips
from artistid.data.encoder import torch_device
from artistid.data.features import Features
from artistid.data.song import SongFeatures, SongReader
from artistid.errors import ArtistidError, counted
from artistid.evaluation.voting import MEAN_EMBEDDING
from artistid.inference.card import SCORES_FILE, model_card, scores_beside, write_card
from artistid.inference.hub import download, upload
from artistid.inference.identification import Identification, identify
from artistid.inference.outputs import ClipOutputs
from artistid.inference.samples import Audio, features_of_samples
from artistid.learning.acceleration import (
    autocast,
    choose_memory_format,
    choose_precision,
    prepare_network,
    set_up_process,
)
from artistid.learning.specification import Specification, load_network, save_folder
from artistid.models.embedding import has_bottleneck, require_bottleneck, song_means
from artistid.old_names import as_first_written
from artistid.places import expanded
from artistid.printing import printable
from artistid.trust import Trust, check_trust
from artistid.writing import write_text

if TYPE_CHECKING:
    from artistid.models.verification import Verifier

# Frames in a batch: 64 channels of them at 128 mel bins are 64 MiB; fewer make better use of a core's cache.
FRAMES_AT_ONCE = 2048
TOP = 5


class Identifier:
    """Names the artist of songs.

    Args:
        specification: what the network was trained for.
        network: trained.
        device: ``auto`` (a GPU where there is one), ``cpu``, ``cuda``, ….
        precision: to compute in, by Lightning's names; ``auto``: that of its training where this machine is fast in it,
            else single precision.

    Attributes:
        specification: all that a checkpoint contains beside the weights.
        device: that the network runs on.
        precision: that it computes in.
        features: its input.
    """

    def __init__(
        self, specification: Specification, network: nn.Module, device: str = "auto", precision: str = "auto"
    ) -> None:
        set_up_process()
        self.specification = specification
        self.device = torch_device(device)
        self.precision = precision
        if precision == "auto":
            fast = choose_precision("auto", self.device.type)
            self.precision = specification.precision if specification.precision == fast else "32-true"
        memory_format = choose_memory_format("auto", self.device.type)
        self._network = prepare_network(network.to(self.device).eval(), memory_format)
        self.features: Features = specification.build_features().on(str(self.device))
        self._clip_spec = specification.clip_spec()
        self._open_set = specification.open_set_threshold()
        self._trained_on = specification.trained_on()
        self._scores: dict[str, Any] | None = None  # of its run, if found beside it
        self._source: tuple[Path, Trust] | None = None

    @classmethod
    def from_checkpoint(cls, path: str | Path, device: str = "auto", trust: Trust = ()) -> Identifier:
        """Load a checkpoint, or a folder of :meth:`save_pretrained`.

        Args:
            path: of the file or folder.
            device: ``auto`` (a GPU where there is one), ``cpu``, ``cuda``, ….
            trust: packages of your own whose networks may be loaded.

        Raises:
            ArtistidError: a file that is missing, no checkpoint, not safe, or of another version; or no such device.
        """
        identifier = cls(*load_network(path, check_trust(trust)), device)
        identifier._scores = scores_beside(expanded(path))
        identifier._source = expanded(path), trust
        return identifier

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        device: str = "auto",
        trust: Trust = (),
        *,
        revision: str | None = None,
        token: str | None = None,
    ) -> Identifier:
        """Load what :meth:`save_pretrained` wrote, or what :meth:`push_to_hub` uploaded.

        Args:
            name: a folder; or, where there is none of that name, a model of the Hugging Face Hub, ``owner/model``.
            device, trust: see :meth:`from_checkpoint`.
            revision: branch, tag or commit of a model of the Hub; None: its newest.
            token: for a private model of the Hub; None: that of the account that is logged in.

        Raises:
            ArtistidError: neither a folder here nor a model of the Hub, or not one that artistid wrote.
        """
        folder = expanded(name)
        return cls.from_checkpoint(folder if folder.is_dir() else download(str(name), revision, token), device, trust)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the network for others, in the layout of the Hugging Face Hub.

        ``model.safetensors`` and ``config.json`` hold all that the checkpoint does and execute no code. ``README.md``
        is a model card, unless you have written one there. ``scores.json`` has the scores of the checkpoint's run.

        Raises:
            ArtistidError: a folder that can't be written.
        """
        folder = expanded(folder)
        save_folder(folder, self.specification, self._network)
        if self.verifier:
            from artistid.learning.kept_verifier import save_verifier

            save_verifier(folder, self.verifier)
        try:
            if self._scores:
                write_text(folder / SCORES_FILE, json.dumps(self._scores, indent=1) + "\n")
            write_card(folder, model_card(self.specification, type(self._network).__name__, self._scores))
        except OSError as error:
            raise ArtistidError(f"the model card cannot be written to {folder}: {error}") from error

    def push_to_hub(
        self, name: str, *, private: bool = True, token: str | None = None, message: str = "Upload with artistid"
    ) -> str:
        """Upload what :meth:`save_pretrained` writes to the Hugging Face Hub; needs the extra ``hub``.

        It contains the names of artists and tracks and fingerprints of the recordings: make sure that you may publish
        them.

        Args:
            name: ``owner/model``, which is created if it does not exist.
            private: whether a new model is visible to its owner only.
            token: with write access; None: that of the account that is logged in.
            message: of the commit.

        Returns:
            Its address.

        Raises:
            ArtistidError: the extra is missing, or the Hub refuses.
        """
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            return upload(Path(folder), name, private=private, token=token, message=message)

    def __repr__(self) -> str:
        network, n_artists = type(self._network).__name__, len(self.artists)
        return (
            f"<{type(self).__name__}: {network} of {counted(n_artists, 'artist')}, clips of {self.clip_seconds:.3g} s, "
            f"{self.sample_rate} Hz, {self.device}, {self.precision}>"
        )

    @property
    def artists(self) -> tuple[str, ...]:
        """The artists that it knows."""
        return tuple(self.specification.artists)

    @cached_property
    def verifier(self) -> Verifier | None:
        """Scores songs against enrolled artists; None where the checkpoint has none.

        Raises:
            ArtistidError: one that is damaged.
        """
        from artistid.learning.kept_verifier import load_verifier  # here: it takes a second, and few callers need it

        return load_verifier(*self._source) if self._source else None

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all that determines an embedding: the network, its weights, its features and its clips.

        A checkpoint and the folder that :meth:`save_pretrained` made of it have the same.
        """
        specification = self.specification
        made_of = {**as_first_written(specification.network, specification.features), "clip": specification.clip}
        digest = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode())
        for name, weights in sorted(self._network.state_dict().items()):
            digest.update(name.encode())
            digest.update(weights.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    @property
    def sample_rate(self) -> int:
        """Hz of its input; other rates are resampled."""
        return self.features.sample_rate

    @property
    def clip_seconds(self) -> float:
        """Seconds of a clip."""
        assert self._clip_spec.frames is not None, "a network is given clips of one length"
        return self._clip_spec.frames * FRAME_MS / 1000

    def predict(self, audio: Audio, rate: int | None = None, top: int = TOP) -> Identification:
        """Who made a song.

        Args:
            audio: a path, or samples ``(n,)``, ``(n, channels)`` or ``(channels, n)``, floats in [-1, 1] or integers
                of full scale.
            rate: of samples, in Hz; None for a file.
            top: how many artists to list.

        Raises:
            ArtistidError: a file that can't be decoded, or samples that are not audio.
        """
        return self.identify(self.hear(audio, rate), top)

    def embed(self, audio: Audio, rate: int | None = None) -> NDArray[np.float32]:
        """A song's vector ``(units,)`` of length 1: the network's bottleneck, averaged over the clips.

        Args:
            audio, rate: see :meth:`predict`.

        Raises:
            ArtistidError: see :meth:`predict`; or a network without a bottleneck.
        """
        self.check_embeds()
        return song_vector(self.hear(audio, rate).embedding)

    def check_embeds(self) -> None:
        """Raises ArtistidError for a network without a bottleneck."""
        require_bottleneck(self._network)

    def hear(self, audio: Audio, rate: int | None = None) -> ClipOutputs:
        """Probabilities and embeddings of every clip of a song, in one pass through the network.

        Args:
            audio, rate: see :meth:`predict`.
        """
        return self.infer(self.read(audio, rate))

    def read(self, audio: Audio, rate: int | None = None) -> SongFeatures:
        """The features of a song, without the network; safe to call in another thread.

        Files are decoded in a separate process, which is started for the first of them, within
        :class:`artistid.data.song.Limits`.
        """
        if not isinstance(audio, str | os.PathLike):
            return features_of_samples(audio, rate, self.features)
        if rate is not None:
            raise ArtistidError(f"{printable(audio)}: rate={rate} is for samples: expected none for a file")
        return self._reader.read(expanded(audio), self.features)

    @cached_property
    def _reader(self) -> SongReader:
        return SongReader()

    def infer(self, sound: SongFeatures, before_batch: Callable[[], object] | None = None) -> ClipOutputs:
        """The network's output for a song's features.

        Args:
            sound: the song.
            before_batch: called before each batch of clips; an exception from it ends the inference.
        """
        clips = self._cut(sound)
        hop_s = self.features.hop_length / self.features.sample_rate
        batches = zip(*self._batches(sound, clips, before_batch), strict=True)
        probability, embedding = (np.concatenate(parts) for parts in batches)
        if not (np.isfinite(probability).all() and np.isfinite(embedding).all()):
            raise ArtistidError("the network's output for it is not finite (NaN or infinite), so there is no answer")
        return ClipOutputs(
            name=sound.name,
            duration_s=sound.duration_s,
            start_s=clips.start.astype(np.float64) * hop_s,
            end_s=np.minimum((clips.start + clips.length) * hop_s, sound.duration_s),
            probability=probability,
            embedding=embedding,
            silent=sound.silent,
            warnings=tuple(self._warnings(sound, clips)),
            sha1=sound.sha1,
            trained_on=self._trained_on.knows(sound.sha1, sound.array),
            of_song=self._of_song(embedding),
        )

    def identify(self, outputs: ClipOutputs, top: int = TOP) -> Identification:
        """The answer, from the outputs for a song's clips."""
        outputs = replace(outputs, warnings=(*outputs.warnings, *self._doubts(outputs)))
        return identify(outputs, self.artists, self.specification.vote, self._open_set, top)

    def _cut(self, sound: SongFeatures) -> Clips:
        """The clips of a song, as in validation, and at least one."""
        zero = np.zeros(1, np.int64)
        length, duration_s = np.array([len(sound.array)]), np.array([sound.duration_s])
        pad_value = np.array([sound.pad_value], np.float32)
        song = TrackRows((sound.name,), zero, zero, length, duration_s, pad_value, self.features)
        clip_spec = self._clip_spec
        if not clip_spec.count(song.n_frames):
            clip_spec = replace(clip_spec, keep_last=True, pad_short=True)
        return index_clips(song, clip_spec)

    def _batches(
        self, sound: SongFeatures, clips: Clips, before_batch: Callable[[], object] | None
    ) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Probabilities (batch, artists) and bottlenecks (batch, units)."""
        assert clips.rows is not None
        at_once = max(1, FRAMES_AT_ONCE // clips.rows)
        for first in range(0, len(clips), at_once):
            if before_batch:
                before_batch()
            chosen = range(first, min(first + at_once, len(clips)))
            features = torch.from_numpy(clips.read(sound.array, chosen)).to(self.device).transpose(1, 2)
            with torch.inference_mode(), autocast(self.precision, self.device):
                logits, vectors = self._forward(features.float())
            yield logits.double().softmax(dim=1).float().cpu().numpy(), vectors.float().cpu().numpy()

    def _forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (batch, artists) and bottlenecks (batch, units) of clips ``(batch, width, time)``."""
        if has_bottleneck(self._network):
            vectors = self._network.bottleneck(features)
            return self._network.classify(vectors).float(), vectors
        return self._network(features).float(), features.new_empty(len(features), 0)

    def _of_song(self, embedding: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """``(artists,)`` probabilities of the mean of the clips' embeddings, where the vote is by that."""
        if self.specification.vote != MEAN_EMBEDDING:
            return None
        mean = song_means(torch.from_numpy(embedding), np.zeros(len(embedding), np.int64)).to(self.device)
        with torch.inference_mode(), autocast(self.precision, self.device):
            logits = require_bottleneck(self._network).classify(mean)[0]
        return logits.double().softmax(dim=0).float().cpu().numpy()

    def _warnings(self, sound: SongFeatures, clips: Clips) -> Iterator[str]:
        if sound.silent:
            yield "it is silent: nothing in it is loud enough to be heard"
        yield from sound.remarks
        if clips.padded:
            yield (
                f"it is only {sound.duration_s:.2g} s long: it was padded with silence to the "
                f"{self.clip_seconds:.3g} s of a clip that the network was trained on"
            )
        if not sound.silent and (remark := self.features.remark(sound.array)):
            yield remark

    def _doubts(self, outputs: ClipOutputs) -> Iterator[str]:
        if outputs.trained_on:
            yield "the network was trained on this very recording, so recognising it proves little"
        if self._open_set is None:
            yield "the checkpoint has no threshold for unknown artists, so it always names one that it knows"


def song_vector(embedding: NDArray[np.float32]) -> NDArray[np.float32]:
    """``(units,)`` of length 1: the mean of the clips' vectors ``(clips, units)``; zeros where they cancel out."""
    mean = embedding.mean(axis=0, dtype=np.float64)
    length = np.linalg.norm(mean)
    return (mean / length if length else mean).astype(np.float32)
