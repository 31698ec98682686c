"""Where songs lie while they are heard: one temporary folder per server, which is gone with it however it ends."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from artistid.scratch import scratch_folder

PREFIX = "artistid-page-"


class Scratch:
    """A folder of a server; those of servers that were killed are removed when the next one starts."""

    def __init__(self) -> None:
        self.folder, self._lock = scratch_folder(PREFIX)
        self._numbers = count()

    @contextmanager
    def file(self) -> Iterator[Path]:
        """The path of a file to be, removed in the end; its name tells nothing of the song."""
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
