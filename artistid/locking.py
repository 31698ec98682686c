"""One process at a time: for what several jobs of a sweep need, and one of them has to make."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from pathlib import Path

from filelock import FileLock, Timeout

log = logging.getLogger(__name__)


def lock(folder: Path) -> AbstractContextManager[object]:
    """Keeps other processes from writing to a folder; waits for one that does, and says so.

    Args:
        folder: holds the lock file, ``.lock``.
    """
    file = FileLock(folder / ".lock")
    try:
        return file.acquire(timeout=0)
    except Timeout:
        log.info("waiting for another process that is writing to %s", folder)
        return file.acquire()
