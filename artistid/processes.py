"""Several processes at work: pools of them, and one at a time where all need what one has to make."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

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


def start_workers(
    workers: int, initializer: Callable[..., None] | None = None, arguments: tuple[Any, ...] = ()
) -> ProcessPoolExecutor:
    """Fresh processes rather than forked ones, which would inherit locks of threads that they don't have."""
    if multiprocessing.get_start_method(allow_none=True) == "loky":
        # In a job of joblib's, whose way of starting processes is the default there, and unknown to those it starts.
        multiprocessing.set_start_method("spawn", force=True)
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer, arguments)
