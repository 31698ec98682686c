"""Reads the variables of a TensorFlow checkpoint without TensorFlow.

A checkpoint is a "tensor bundle": ``.data-00000-of-00001`` holds the variables' bytes one after the other, and
``.index`` says where each lies. The index is a table in LevelDB's format, sorted keys in blocks, each key written as
what it has more than the one before; its values are protocol buffers (``BundleEntryProto`` in TensorFlow's
``tensor_bundle.proto``).
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
# Of a field in a protocol buffer: how its value is written.
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def read_variables(index: bytes, data: bytes) -> dict[str, npt.NDArray[Any]]:
    """The variables of a checkpoint in one shard, by name; those of types that no weights have are left out.

    Args:
        index: of the file ``.index``.
        data: of the file ``.data-00000-of-00001``.

    Raises:
        ArtistidError: what is no such checkpoint.
    """
    try:
        entries = ((key.decode(), dict(_fields(value))) for key, value in _entries(index) if key)
        return {name: _variable(entry, data) for name, entry in entries if entry.get(1) in DTYPES}
    except (IndexError, ValueError, KeyError, TypeError) as error:
        raise ArtistidError(f"this is not a checkpoint of TensorFlow's: {error}") from error


def _variable(entry: dict[int, int | bytes], data: bytes) -> npt.NDArray[Any]:
    """One variable; of the fields, 1 is the type, 2 the shape, 4 where it begins (0 is not written), 5 its bytes."""
    dtype = DTYPES[int(entry[1])]
    offset = int(entry.get(4, 0))
    dimensions = (dict(_fields(bytes(value))) for number, value in _fields(bytes(entry.get(2, b""))) if number == 2)
    shape = tuple(int(dimension.get(1, 0)) for dimension in dimensions)
    return np.frombuffer(data, dtype, math.prod(shape), offset).reshape(shape)


def _entries(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a table, in its order: its last bytes lead to a block that lists the blocks of entries."""
    footer = table[-FOOTER_BYTES:]
    if int.from_bytes(footer[-8:], "little") != MAGIC:
        raise ValueError("its index is not a LevelDB table")
    _, position = _handle(footer, 0)  # of a block that tells of filters
    listing, _ = _handle(footer, position)
    for _, value in _block(table, *listing):
        place, _ = _handle(value, 0)
        yield from _block(table, *place)


def _handle(buffer: bytes, position: int) -> tuple[tuple[int, int], int]:
    """Where a block lies, as its first byte and its length, and what follows in the buffer."""
    offset, position = _varint(buffer, position)
    size, position = _varint(buffer, position)
    return (offset, size), position


def _block(table: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """The entries of a block, which ends with the places at which keys are whole, and how many these are."""
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
            raise ValueError(f"its index has a field of the kind {kind}")
        yield number, message[position : position + length]
        position += length


def _varint(buffer: bytes, position: int) -> tuple[int, int]:
    """A whole number in bytes of 7 bits, the lowest first, and what follows."""
    number = shift = 0
    while True:
        byte = buffer[position]
        number |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return number, position
        shift += 7
