"""A checkpoint as one ONNX file: from a song's samples to probabilities, for programs without torch or this package."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from artistid import __version__
from artistid.data.clips import FRAME_MS
from artistid.errors import ArtistidError
from artistid.evaluation.voting import VoteCount, count_votes
from artistid.inference.graph import SongNetwork
from artistid.inference.identifier import Identifier, song_vector
from artistid.learning.specification import Specification
from artistid.models.embedding import has_bottleneck

if TYPE_CHECKING:
    from onnx_ir import Model

OPSET = 18  # known to ONNX Runtime since version 1.14
OUTPUTS = ("probability", "ranking", "clip_probability", "embedding")
TRACED_SECONDS = 10.0  # any song of several clips and blocks of frames would do
CHECKED_SECONDS = (0.2, 7.7, 61.0)
TOLERANCE = 1e-4
HISS = 1e-6  # of a full scale of 1: -120 dB, inaudible

Song = dict[str, npt.NDArray[np.generic]]


def write(network: nn.Module, specification: Specification, path: Path) -> None:
    """Write a network as ONNX, with what a caller must know in the file's ``metadata_props``.

    Args:
        network: in eval mode, from log-mel ``(batch, mel, time)`` to logits ``(batch, artists)``.
        specification: what it was trained for.
        path: of the file.
    """
    features = specification.build_features()
    song = SongNetwork(network, features, specification.clip_spec(), specification.vote).eval()
    outputs = OUTPUTS if has_bottleneck(network) else OUTPUTS[:-1]
    samples = torch.randn(round(TRACED_SECONDS * features.sample_rate), generator=torch.Generator().manual_seed(0))
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            song,
            (samples,),
            input_names=["samples"],
            output_names=list(outputs),
            dynamic_shapes={"samples": {0: torch.export.Dim.DYNAMIC}},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
        assert program
        _tidy(program.model)
        program.model.metadata_props.update(metadata(specification))
        program.save(path, external_data=False)


def _tidy(model: Model) -> None:
    """Merge what logits and bottleneck share, and remove the metadata of torch's exporter."""
    from onnx_ir import Model
    from onnx_ir.passes import Sequential, common

    equal = common.DeduplicateInitializersPass(size_limit=2**31)
    Sequential(common.LiftSubgraphInitializersToMainGraphPass(), equal)(model)
    for body in model.graph.subgraphs():
        common.CommonSubexpressionEliminationPass()(Model(body, ir_version=model.ir_version))
    Sequential(common.RemoveUnusedNodesPass(), common.ClearMetadataAndDocStringPass())(model)


def metadata(specification: Specification) -> dict[str, str]:
    """What a caller must know about an exported network.

    Keys: ``artists`` (a JSON list, in the order of the probabilities), ``sample_rate`` (Hz), ``clip_seconds`` (from the
    start of a clip to that of the next), ``vote`` (the rule of the ranking), ``threshold`` (of the
    first artist's probability, below which the song is by none of them; left out where none is known),
    ``artistid_version``.
    """
    open_set = specification.open_set_threshold()
    threshold = {} if open_set is None else {"threshold": str(open_set.threshold)}
    return {
        **threshold,
        "artists": json.dumps(specification.artists, ensure_ascii=False),
        "sample_rate": str(specification.build_features().sample_rate),
        "clip_seconds": str(specification.clip["frames"] * FRAME_MS / 1000),
        "vote": specification.vote,
        "artistid_version": __version__,
    }


def check(network: nn.Module, specification: Specification, path: Path) -> float:
    """The largest difference between the outputs of ONNX Runtime and PyTorch for some songs.

    Log-mel is rounded to float16, as in the store, where the last digit of a sum decides between two steps of 0.03 dB.
    How much that changes an output depends on the network; noise at -120 dB added to PyTorch's input shows it.

    Raises:
        ArtistidError: it is more than 1e-4, and more than what such noise changes.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    worst, allowed = 0.0, TOLERANCE
    for seconds in CHECKED_SECONDS:
        samples = _notes(seconds, specification.build_features().sample_rate)
        song = dict(zip(names, session.run(None, {"samples": samples}), strict=True))
        counted = song["clip_probability"], song["probability"]
        expected = expect(network, specification, samples, *counted)
        for name, found in song.items():
            if found.shape != expected[name].shape:
                raise ArtistidError(
                    f"{path}: {name} of {seconds} s has the shape {found.shape}, expected {expected[name].shape}"
                )
        difference = _difference(song, expected)
        if not difference <= TOLERANCE:  # NaN is not
            hiss = HISS * np.random.default_rng(0).standard_normal(samples.size, np.float32)
            allowed = max(allowed, _difference(expect(network, specification, samples + hiss, *counted), expected))
        worst = max(worst, difference)
    if not worst <= allowed:
        raise ArtistidError(f"{path}: ONNX Runtime and PyTorch differ by {worst:.1e}, more than {allowed:.0e}")
    return worst


def _difference(one: Song, other: Song) -> float:
    """The largest difference between any values of two outputs."""
    return max(float(np.abs(np.subtract(values, other[name])).max()) for name, values in one.items())


def expect(
    network: nn.Module,
    specification: Specification,
    samples: npt.NDArray[np.float32],
    clip_probability: npt.NDArray[np.float32] | None = None,
    of_song: npt.NDArray[np.float32] | None = None,
) -> Song:
    """The output expected of an exported network for a song ``(n,)``: the package's own, in single precision.

    Args:
        network: in eval mode.
        specification: what it was trained for.
        samples: of the song.
        clip_probability: ``(clips, artists)`` to rank by; None: the package's own. Artists may be as close as rounding
            errors.
        of_song: ``(artists,)`` to rank by, where the vote is by the mean of embeddings; None likewise.
    """
    identifier = Identifier(specification, network, "cpu", "32-true")
    outputs = identifier.hear(samples, identifier.sample_rate)

    def count(clips: npt.NDArray[np.float32], of_song: npt.NDArray[np.float32] | None) -> VoteCount:
        songs = None if outputs.of_song is None or of_song is None else of_song[None]
        return count_votes(clips, np.zeros(len(clips), np.int64), specification.vote, songs)

    counted = count(outputs.probability, outputs.of_song)
    ranked = count(
        outputs.probability if clip_probability is None else clip_probability,
        outputs.of_song if of_song is None else of_song,
    )
    song: Song = {
        "probability": counted.probability[0].astype(np.float32),
        "ranking": np.argsort(-ranked.ranking[0]),
        "clip_probability": outputs.probability,
    }
    if has_bottleneck(network):
        song["embedding"] = song_vector(outputs.embedding)
    return song


def _notes(seconds: float, rate: int) -> npt.NDArray[np.float32]:
    """Decaying harmonics and a little noise ``(n,)``, to compare on: loud bins and bins at the floor."""
    generator = np.random.default_rng(0)
    time = np.arange(round(seconds * rate)) / rate
    note = (2 * time).astype(int)  # (n,) two a second
    pitch = 110 * 2 ** (generator.integers(36, size=note.max(initial=0) + 1) / 12)  # (notes,) Hz
    tone = sum(np.sin(2 * np.pi * harmonic * pitch[note] * time) / harmonic for harmonic in range(1, 9))
    hiss = 10 ** generator.uniform(-5, -2, size=pitch.size)
    song = 0.2 * tone * np.exp(-4 * (time % 0.5)) + hiss[note] * generator.standard_normal(time.size)
    return song.astype(np.float32)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's log of every operation that it skips."""
    loggers = [logging.getLogger(name) for name in ("torch", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
