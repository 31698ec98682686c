"""Checkpoint files of ``torch.save``, checked before anything in them is loaded.

A checkpoint is a zip archive of a pickle and of the tensors' bytes. Neither is trusted: the archive must hold its
entries uncompressed, since some kilobytes can expand to gigabytes, and the pickle may name nothing but what rebuilds
plain tensors. The bytes are memory-mapped, so that unused ones, such as an optimizer's state, are not read.
"""

from __future__ import annotations

import pickletools
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch
from hydra.utils import get_object

from artistid.errors import ArtistidError, counted
from artistid.trust import Trust, is_within, shown, way_to_trust

# All names that a pickle of weights and plain values contains, as pickle protocol 2 writes them.
DTYPES = r"float(16|32|64)|bfloat16|u?int(8|16|32|64)|bool"
NAMED = re.compile(
    r"collections (OrderedDict|Counter)|_codecs encode|__builtin__ (set|complex)|torch (Size|device)"
    r"|torch\._utils _rebuild_(tensor_v2|parameter)|torch (Float|Half|BFloat16|Double|Int|Long|Short|Char|Byte|Bool)"
    rf"Storage|torch ({DTYPES})"
)
# Other opcodes for names and objects, not used by torch.save.
NAMING = frozenset({"STACK_GLOBAL", "INST", "OBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "PERSID"})
MOST_OPERATIONS = 40_000_000  # of a pickle: a few for each value
END = b"PK\x05\x06"  # start of the last 22 bytes of a zip archive without a comment


def load_archive(path: Path, where: str, trust: Trust = ()) -> Any:
    """The content of a file, with its tensors memory-mapped on the CPU.

    Args:
        path: of the file.
        where: its name, for errors.
        trust: packages whose classes may be in it, such as those of an optimizer's state.

    Raises:
        ArtistidError: a file that cannot be read, or holds more than weights and plain values.
    """
    with readable(path, where, trust):
        try:
            with path.open("rb") as file:
                return torch.load(_mappable(path, file), map_location="cpu", weights_only=True, mmap=True)
        except Exception as error:  # torch raises exceptions of many kinds
            raise ArtistidError(f"{where} cannot be read: {shown(str(error).partition(chr(10))[0])}") from error


@contextmanager
def readable(path: Path, where: str, trust: Trust = ()) -> Iterator[None]:
    """A context in which ``torch.load(…, weights_only=True)`` is safe for a file, and accepts trusted classes.

    Raises:
        ArtistidError: a file that cannot be read, or holds more than weights and plain values.
    """
    try:
        with path.open("rb") as file:
            names = set(_names(_pickle(file)))
    except OSError as error:
        raise ArtistidError(f"{where} cannot be read: {error.strerror or error}") from error
    except (zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError) as error:
        raise ArtistidError(f"{where} cannot be read: it is not a checkpoint, and nothing was run: {error}") from error
    others = sorted(name for name in names if not NAMED.fullmatch(name))
    foreign = [name for name in others if not is_within(name.replace(" ", "."), trust)]
    if foreign:
        raise ArtistidError(
            f"{where} cannot be read: it is not a checkpoint, or holds more than weights and plain values, of which "
            f"nothing was run: {shown(foreign[0].replace(' ', '.'))}{way_to_trust(foreign[0].replace(' ', '.'))}"
        )
    with torch.serialization.safe_globals([_found(name, where) for name in others]):
        yield


def _found(name: str, where: str) -> Any:
    try:
        return get_object(name.replace(" ", "."))
    except Exception as error:  # importing a trusted package can raise anything
        raise ArtistidError(f"{where} cannot be read: {name.replace(' ', '.')} cannot be found") from error


def _pickle(file: BinaryIO) -> bytes:
    """The pickle of an archive whose entries are all uncompressed and within the file.

    Raises:
        ValueError, zipfile.BadZipFile: any other file.
    """
    size = file.seek(0, 2)
    file.seek(max(size - 22, 0))
    if not file.read().startswith(END) or size < 22:  # anything behind it might be read as another archive
        raise ValueError("it is not a zip archive as written by torch.save since version 1.6")
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        for entry in entries:
            if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
                raise ValueError("it is compressed, which torch.save does not do")
        if (claimed := sum(entry.file_size for entry in entries)) > size:
            raise ValueError(f"it claims {counted(claimed, 'byte')}, but has {size:,}")
        roots = {entry.filename.partition("/")[0] for entry in entries}
        if len(roots) != 1 or len({entry.filename for entry in entries}) != len(entries):
            raise ValueError("its entries are in several folders, or appear twice")
        name = f"{roots.pop()}/data.pkl"
        if name not in archive.namelist():
            raise ValueError("it has no pickle (data.pkl)")
        return archive.read(name)


def _mappable(path: Path, file: BinaryIO) -> str:
    """A path of an open file that torch can map, which it cannot by paths that are not valid text."""
    try:
        str(path).encode()
    except UnicodeError:
        return f"/dev/fd/{file.fileno()}"
    return str(path)


def _names(pickle: bytes) -> Iterator[str]:
    """The names in a pickle, as ``module name``; nothing is built.

    Raises:
        ValueError: not a complete pickle, or one with opcodes or a length that torch.save does not write.
    """
    for number, (operation, argument, _) in enumerate(pickletools.genops(pickle)):
        if operation.name == "GLOBAL":
            yield str(argument)
        elif operation.name in NAMING or number > MOST_OPERATIONS:
            raise ValueError(f"its pickle was not written by torch.save: {operation.name} as operation {number}")
