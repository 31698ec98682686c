"""Where songs lie while they are heard: one temporary folder per server, which is gone with it however it ends."""

from __future__ import annotations

import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from filelock import FileLock, Timeout

PREFIX = "artistid-page-"
LOCK = ".lock"


class Scratch:
    """A folder that nobody else may look into, among the system's temporary ones.

    Its lock is held for as long as the server lives, and by no dead one: by that the folders of servers that were
    killed are told from those in use, and are swept when the next one starts.
    """

    def __init__(self) -> None:
        self.folder, self._lock = _locked_folder()
        self._numbers = count()
        _sweep(self.folder)

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


def _locked_folder() -> tuple[Path, FileLock]:
    """A new folder of mode 0700, and its lock, which is held before others that sweep can see it."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    begun = folder / f"{LOCK}.begun"
    lock = FileLock(begun, thread_local=False)
    lock.acquire(timeout=0)
    begun.rename(folder / LOCK)  # the lock is the file's, whatever it is called
    return folder, lock


def _sweep(own: Path) -> None:
    """Remove the folders of servers of the same user that have died."""
    user = own.lstat().st_uid
    for folder in own.parent.glob(f"{PREFIX}*"):
        try:
            found = folder.lstat()
            # In a folder of this user that no other may write to, nobody else has put anything, a link least of all.
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != user or found.st_mode & 0o022 or folder == own:
                continue
            if not (folder / LOCK).is_file():  # of a server that starts just now
                continue
            with FileLock(folder / LOCK).acquire(timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
        except (Timeout, OSError):  # in use, or being swept by another
            continue
