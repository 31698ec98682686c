"""Published weights while testing: real ones where they are on this machine, else random ones of the same shapes."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file

from artistid.models.published.musicnn import Musicnn

OUTER_CACHE = Path(os.environ.get("ARTISTID_CACHE") or "~/.cache/artistid").expanduser() / "encoders"


def real(package: str) -> str:
    """A wheel, or the folder that a package is installed in; the test is skipped where it is not on this machine."""
    for wheel in OUTER_CACHE.glob("*.whl"):
        if wheel.name.lower().startswith(f"{package}-"):
            return str(wheel)
    try:
        return str(distribution(package).locate_file(""))
    except PackageNotFoundError:
        pytest.skip(f"pip download --no-deps --dest {OUTER_CACHE} {package}")


def random_musicnn(folder: Path) -> None:
    """What is kept of a conversion, of random weights, in a folder of encoders."""
    torch.manual_seed(0)
    network = Musicnn()
    for name, value in network.state_dict().items():
        if name.endswith("running_mean"):
            value.normal_(std=0.1)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(network.state_dict(), folder / "musicnn-0.1.0-MSD_musicnn.safetensors")


def random_onnx(
    path: Path, shape: tuple[int | str, ...], axes: tuple[int, ...], widths: Mapping[str, int]
) -> dict[str, npt.NDArray[np.float32]]:
    """Write a network whose outputs are projections of its input's mean over some axes; returns the matrices."""
    generator = np.random.default_rng(0)
    left = next((size for axis, size in enumerate(shape) if axis and axis not in axes), 1)
    assert isinstance(left, int)
    matrices = {name: generator.standard_normal((left, width)).astype(np.float32) for name, width in widths.items()}
    nodes = [helper.make_node("ReduceMean", ["x", "axes"], ["mean"], keepdims=int(len(axes) == len(shape) - 1))]
    nodes += [helper.make_node("MatMul", ["mean", f"{name}_matrix"], [name]) for name in widths]
    constants = [numpy_helper.from_array(np.int64(axes), "axes")]
    constants += [numpy_helper.from_array(value, f"{name}_matrix") for name, value in matrices.items()]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [shape[0], width]) for name, width in widths.items()
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))]
    graph = helper.make_graph(nodes, "random", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return matrices


def bundle(variables: Mapping[str, npt.NDArray[np.float32]]) -> tuple[bytes, bytes]:
    """A TensorFlow checkpoint of variables: its index, in blocks of three entries, and its data."""
    data, entries = b"", [(b"", b"\x08\x01")]  # the header: one shard
    for name in sorted(variables):
        value = variables[name]
        shape = b"".join(b"\x12" + _sized(b"\x08" + _varint(size)) for size in value.shape)
        entry = b"\x08\x01\x12" + _sized(shape) + b"\x20" + _varint(len(data)) + b"\x28" + _varint(value.nbytes)
        entries.append((name.encode(), entry + b"\x35" + bytes(4)))  # a checksum, which is not looked at
        data += value.tobytes()
    table, listing = b"", []
    for first in range(0, len(entries), 3):
        block = _block(entries[first : first + 3])
        listing.append((entries[min(first + 2, len(entries) - 1)][0], _varint(len(table)) + _varint(len(block))))
        table += block + bytes(5)  # not compressed, and a checksum
    place = _varint(len(table)) + _varint(len(_block(listing)))
    footer = _varint(0) + _varint(0) + place
    return table + _block(listing) + bytes(5) + footer.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57), data


def _block(entries: list[tuple[bytes, bytes]]) -> bytes:
    """Sorted entries, each key as what it has more than the one before."""
    written, before = b"", b""
    for key, value in entries:
        shared = next((n for n, (one, other) in enumerate(zip(before, key, strict=False)) if one != other), None)
        shared = min(len(before), len(key)) if shared is None else shared
        written += _varint(shared) + _varint(len(key) - shared) + _varint(len(value)) + key[shared:] + value
        before = key
    return written + struct.pack("<II", 0, 1)


def _sized(message: bytes) -> bytes:
    return _varint(len(message)) + message


def _varint(number: int) -> bytes:
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*written, number])
