"""A checkpoint for ONNX Runtime: ``python -m artistid.export checkpoint=runs/…/best.ckpt out=model.onnx``."""

from __future__ import annotations

if __name__ == "__main__":
    from artistid.cli import run

    run("export")

from pathlib import Path

import torch
from omegaconf import DictConfig
from rich.filesize import decimal as size_in_words
from torch import nn

from artistid.errors import ArtistidError, counted, require_path
from artistid.inference.onnx_file import CHECKED_SECONDS, check, write
from artistid.learning.specification import Specification, load_network
from artistid.models.embedding import has_bottleneck
from artistid.packages import require_extra
from artistid.places import expanded
from artistid.terminal import Console
from artistid.trust import trusted
from artistid.writing import whole


def export(config: DictConfig) -> None:
    """Write ``config.checkpoint`` to ``config.out``, and compare the file's outputs with PyTorch's.

    Raises:
        ArtistidError: missing settings or packages; or a file that disagrees with PyTorch, which is removed.
    """
    require_path(config, "out", "the .onnx file to write")
    out = _target(config.out, config.overwrite)
    require_path(config, "checkpoint", "the best.ckpt of a run folder")
    require_extra("export", "export")
    specification, network = load_network(config.checkpoint, trusted(config))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with whole(out, "wb") as file:  # checked before it gets its final name
            write(network, specification, Path(file.name))
            difference = check(network, specification, Path(file.name))
    except OSError as error:
        raise ArtistidError(f"out={out} cannot be written: {error}") from error
    except torch.onnx.errors.OnnxExporterError as error:
        raise ArtistidError(f"{type(network).__name__} cannot be converted to ONNX: {error}") from error
    _show(network, specification, out, difference)


def _target(out: str, overwrite: bool) -> Path:
    path = expanded(out)
    if path.suffix != ".onnx":
        raise ArtistidError(f"out={out}: expected a name that ends in .onnx, found {path.suffix or 'no ending'!r}")
    if path.exists() and not (overwrite and path.is_file()):
        raise ArtistidError(f"out={out} exists already; overwrite=true replaces it")
    return path


def _show(network: nn.Module, specification: Specification, out: Path, difference: float) -> None:
    """Print what was written, and how close its outputs are to PyTorch's."""
    name, rate = type(network).__name__, specification.build_features().sample_rate
    embeds = has_bottleneck(network)
    lines = (
        f"{out}: {size_in_words(out.stat().st_size)}",
        f"input: samples at {rate} Hz",
        f"outputs: the probability of {counted(len(specification.artists), 'artist')} for the song and for each clip "
        f"of {specification.clip['name']}, "
        + ("the song's embedding" if embeds else f"no embedding, since {name} has no bottleneck"),
        f"ONNX Runtime and PyTorch differ by {difference:.1e} at most, for songs of "
        + ", ".join(f"{seconds:g} s" for seconds in CHECKED_SECONDS),
    )
    Console().print("\n".join(lines), soft_wrap=True, highlight=False)
