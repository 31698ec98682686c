"""Temporary folders that are gone with their process, however it ends."""

from __future__ import annotations

import shutil
import stat
import tempfile
from pathlib import Path

from filelock import FileLock, Timeout

LOCK = ".lock"


def scratch_folder(prefix: str) -> tuple[Path, FileLock]:
    """A new folder among the system's temporary ones that nobody else may look into, and its lock.

    The lock is held until it is released or the process ends, and by no dead one: by that the folders of processes that
    were killed are told from those in use, and are removed when the next is made.

    Args:
        prefix: of its name, and of those that are removed.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    begun = folder / f"{LOCK}.begun"
    lock = FileLock(begun, thread_local=False)
    lock.acquire(timeout=0)
    begun.rename(folder / LOCK)  # held before others can see it: the lock is the file's, whatever it is called
    _sweep(prefix, folder)
    return folder, lock


def _sweep(prefix: str, own: Path) -> None:
    """Remove the folders of processes of the same user that have died."""
    user = own.lstat().st_uid
    for folder in own.parent.glob(f"{prefix}*"):
        try:
            found = folder.lstat()
            # In a folder of this user that no other may write to, nobody else has put anything, a link least of all.
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != user or found.st_mode & 0o022 or folder == own:
                continue
            if not (folder / LOCK).is_file():  # of a process that starts just now
                continue
            with FileLock(folder / LOCK).acquire(timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
        except (Timeout, OSError):  # in use, or being swept by another
            continue
