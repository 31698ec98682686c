"""Reads the variables of a TensorFlow checkpoint without TensorFlow.

A checkpoint is a "tensor bundle": ``.data-00000-of-00001`` holds the variables' bytes one after the other, and
``.index`` their offsets. The index is a table in LevelDB's format: blocks of sorted keys, each stored as its suffix
after the prefix that it shares with the key before; its values are protocol buffers (``BundleEntryProto`` in
TensorFlow's ``tensor_bundle.proto``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from artistid.errors import ArtistidError

MAGIC = 0xDB4775248B80FB57  # at the end of a LevelDB table
FOOTER_BYTES = 48
DTYPES: Mapping[int, np.dtype[Any]] = {
    1: np.dtype("<f4"),
    3: np.dtype("<i4"),
    9: np.dtype("<i8"),
}  # by TensorFlow's numbers
# Wire types of protocol buffer fields.
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def read_variables(index: bytes, data: bytes) -> dict[str, npt.NDArray[Any]]:
    """The variables of a single-shard checkpoint, by name; types other than :data:`DTYPES` are left out.

    Args:
        index: content of the file ``.index``.
        data: content of the file ``.data-00000-of-00001``.

    Raises:
        ArtistidError: not such a checkpoint.
    """
    try:
        entries = ((key.decode(), dict(_fields(value))) for key, value in _entries(index) if key)
        return {name: _variable(entry, data) for name, entry in entries if entry.get(1) in DTYPES}
    except (IndexError, ValueError, KeyError, TypeError) as error:
        raise ArtistidError(f"this is not a TensorFlow checkpoint: {error}") from error


def _variable(entry: dict[int, int | bytes], data: bytes) -> npt.NDArray[Any]:
    """One variable; field 1 is the type, 2 the shape, 4 the offset (0 is not written), 5 the size in bytes."""
    dtype = DTYPES[int(entry[1])]
    offset = int(entry.get(4, 0))
    dimensions = (dict(_fields(bytes(value))) for number, value in _fields(bytes(entry.get(2, b""))) if number == 2)
    shape = tuple(int(dimension.get(1, 0)) for dimension in dimensions)
    return np.frombuffer(data, dtype, math.prod(shape), offset).reshape(shape)


def _entries(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a table, in order: its footer points to a block that lists the blocks of entries."""
    footer = table[-FOOTER_BYTES:]
    if int.from_bytes(footer[-8:], "little") != MAGIC:
        raise ValueError("its index is not a LevelDB table")
    _, position = _handle(footer, 0)  # of the metaindex block
    listing, _ = _handle(footer, position)
    for _, value in _block(table, *listing):
        place, _ = _handle(value, 0)
        yield from _block(table, *place)


def _handle(buffer: bytes, position: int) -> tuple[tuple[int, int], int]:
    """A block's offset and size, and the position after them in the buffer."""
    offset, position = _varint(buffer, position)
    size, position = _varint(buffer, position)
    return (offset, size), position


def _block(table: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """The entries of a block, which ends with restart points, where keys are stored in full, and their number."""
    if table[offset + size]:
        raise ValueError("its index is compressed")
    block = table[offset : offset + size]
    end = len(block) - 4 - 4 * int.from_bytes(block[-4:], "little")
    key, position = b"", 0
    while position < end:
        shared, position = _varint(block, position)
        more, position = _varint(block, position)
        length, position = _varint(block, position)
        key = key[:shared] + block[position : position + more]
        position += more + length
        yield key, block[position - length : position]


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The numbers and values of the fields of a protocol buffer."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        number, kind = tag >> 3, tag & 7
        if kind == VARINT:
            value, position = _varint(message, position)
            yield number, value
            continue
        length = {FIXED64: 8, FIXED32: 4}.get(kind, 0)
        if kind == BYTES:
            length, position = _varint(message, position)
        elif not length:
            raise ValueError(f"its index has a field of wire type {kind}")
        yield number, message[position : position + length]
        position += length


def _varint(buffer: bytes, position: int) -> tuple[int, int]:
    """A varint, in groups of 7 bits, lowest first, and the position after it."""
    number = shift = 0
    while True:
        byte = buffer[position]
        number |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return number, position
        shift += 7
