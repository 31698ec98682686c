"""Songs uploaded by a browser: written to a file that we name, or refused with a sentence."""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import AsyncIterable, Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from artistid.data.audio import DecodingError, NoAudioError, TooLongError
from artistid.errors import ArtistidError
from artistid.printing import printable
from artistid.writing import scratch_folder

LONGEST_SHOWN_NAME = 120
UNNAMED = "the song"
MEGABYTE = 10**6
PLAIN_NUMBER = re.compile(r"[0-9]{1,20}")
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
RETRY_SECONDS = 10


class RefusedError(ArtistidError):
    """A song that is not answered.

    Args:
        status: of HTTP, for the reason.
        sentence: for the sender.
        retry_seconds: after which it may be sent again, if that helps.
    """

    def __init__(self, status: int, sentence: str, retry_seconds: int | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.retry_seconds = retry_seconds


def shown_name(name: str) -> str:
    r"""A client's name for a song, made fit to show: no folders, printable text only, cut if long.

    It is for messages only; no file is ever given this name.

    Example:
        >>> shown_name("../../etc/pass\x1bwd.mp3")
        'pass\ufffdwd.mp3'
    """
    last = printable(name.strip()).replace("\\", "/").rsplit("/", 1)[-1].strip()
    return f"{last[: LONGEST_SHOWN_NAME - 1]}…" if len(last) > LONGEST_SHOWN_NAME else last or UNNAMED


async def receive(
    body: AsyncIterable[bytes],
    path: Path,
    name: str,
    max_mb: float,
    announced: str | None,
    make_room: Callable[[int], None],
) -> None:
    """Write an upload to a file as it arrives.

    Args:
        body: its pieces.
        path: to write to.
        name: of the song, for messages.
        max_mb: its largest size in megabytes; no more than that and one piece are ever read.
        announced: bytes according to its header, if any: if too large, it is not read at all.
        make_room: called with the bytes of each piece before it is written; raises RefusedError if there is no room.

    Raises:
        RefusedError: it is too large or empty, or there is no room for it.
    """
    most = int(max_mb * MEGABYTE)
    too_large = RefusedError(413, f"{name} is larger than the {max_mb:g} MB that this page accepts.")
    if announced is not None and PLAIN_NUMBER.fullmatch(announced) and int(announced) > most:
        raise too_large
    n_bytes = 0
    try:
        with path.open("wb", buffering=0) as file:  # else the last piece would fail only on close
            async for piece in body:
                n_bytes += len(piece)
                if n_bytes > most:
                    raise too_large
                make_room(len(piece))
                file.write(piece)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise RefusedError(503, f"The server has no disk space left for {name}.", RETRY_SECONDS) from error
    if n_bytes == 0:
        raise RefusedError(422, f"{name} is empty: it has no audio.")


def refusal(error: DecodingError, path: Path, name: str, max_minutes: float) -> RefusedError:
    """The refusal of a song that could not be read, with the name that its sender knows."""
    if isinstance(error, NoAudioError):
        return RefusedError(
            415,
            f"{name} is not an audio file that can be read here. Expected mp3, m4a, flac, ogg, opus, wav or aiff.",
        )
    if isinstance(error, TooLongError):
        return RefusedError(413, f"{name} is too long: this page accepts songs of up to {max_minutes:g} min.")
    message = str(error).removeprefix(f"{path}: ").replace(str(path), name)
    return RefusedError(422, f"{name}: {message}.")


PREFIX = "artistid-page-"


class Scratch:
    """A server's temporary folder; those of killed servers are removed when the next one starts."""

    def __init__(self) -> None:
        self.folder, self._lock = scratch_folder(PREFIX)
        self._numbers = count()

    @contextmanager
    def file(self) -> Iterator[Path]:
        """The path of a file to write, removed in the end; its name does not reveal the song's."""
        path = self.folder / f"song{next(self._numbers)}"
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def __enter__(self) -> Scratch:
        return self

    def __exit__(self, *error: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self._lock.release()
