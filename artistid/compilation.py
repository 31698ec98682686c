"""Numba's compiled functions: made once per machine, by a single process, and read by each other from its own copy.

Numba keeps compiled functions in numbered files. Processes that compile at the same time give the same numbers to
different functions, and any process that loads such a file crashes, then and later (numba's issue 10128, librosa's
1998). So nothing is loaded from where another process may write: a finished cache is copied and never written to.
"""

from __future__ import annotations

import atexit
import hashlib
import logging
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from filelock import FileLock

from artistid.errors import ArtistidError
from artistid.places import expanded, user_cache
from artistid.processes import UNLIMITED, Worker, lock
from artistid.writing import scratch_folder

log = logging.getLogger(__name__)

# Set in the compiling process: the module that it compiles for.
COMPILING = "ARTISTID_COMPILING"

_held: list[FileLock] = []  # locks on the copies of this process, for its lifetime


@contextmanager
def numba_cache(module: str, package: str | None = None) -> Iterator[None]:
    """Functions decorated within the block load their compiled code from the cache, and add it if it is missing.

    Args:
        module, package: see :func:`compiled`.
    """
    import numba

    settings: Any = numba.config  # whose attributes are made from the environment
    before = settings.CACHE_DIR
    settings.CACHE_DIR = str(_own_copy(module, package))
    try:
        yield
    finally:
        settings.CACHE_DIR = before


def compiled(module: str, package: str | None = None) -> Path:
    """The finished cache of a module's compiled functions, built now if it is missing.

    Args:
        module: has a function ``rehearse``, which calls every compiled function with each kind of arguments.
        package: whose functions are compiled; None: the module's own.

    Raises:
        OSError: the folder cannot be written.
        artistid.processes.WorkerDiedError: the compiling process died.
    """
    root = _root()
    folder = root / f"{module}-{_key(package or module)}"
    if folder.is_dir():
        return folder
    root.mkdir(parents=True, exist_ok=True)
    with lock(root):
        if not folder.is_dir():
            log.info("compiling %s, once on this machine: takes half a minute", package or module)
            draft = folder.with_name(f".{folder.name}.part")
            shutil.rmtree(draft, ignore_errors=True)  # of a process that was killed
            draft.mkdir()
            environment = {"NUMBA_CACHE_DIR": str(draft), COMPILING: module}
            with closing(Worker(environment)) as worker:
                worker.call(UNLIMITED, _rehearse, module)
            draft.rename(folder)
    return folder


def _rehearse(module: str) -> None:
    import_module(module).rehearse()


@cache
def _own_copy(module: str, package: str | None) -> Path:
    """A copy of the finished cache that no other process reads or writes, deleted when this one ends."""
    if os.environ.get(COMPILING) == module:
        return Path(os.environ["NUMBA_CACHE_DIR"])
    folder, held = scratch_folder("artistid-numba-")
    _held.append(held)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        shutil.copytree(compiled(module, package), folder, dirs_exist_ok=True)
    except (OSError, ArtistidError) as error:
        log.warning("compiled functions cannot be cached (%s): every process compiles its own", error)
    return folder


def _root() -> Path:
    """Where numba's own settings put its caches; otherwise next to the features."""
    return expanded(os.environ.get("NUMBA_CACHE_DIR") or user_cache() / "numba") / "artistid"


def _key(source: str) -> str:
    """A key that changes whenever numba would find a cache stale: other code, another path or another processor."""
    from llvmlite.binding import get_host_cpu_name

    spec = find_spec(source)
    assert spec is not None
    assert spec.origin is not None
    versions = [version(name) for name in ("numba", "llvmlite", "numpy")]
    changed = Path(spec.origin).stat().st_mtime_ns
    of = [spec.origin, changed, *versions, platform.python_version(), platform.platform(), get_host_cpu_name()]
    return hashlib.sha1(repr(of).encode()).hexdigest()[:12]
