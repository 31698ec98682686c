"""Files written completely or not at all, and temporary folders that are cleaned up even if the process is killed.

All files of this package are written through :func:`whole`, except those meant to be read while unfinished: logs, the
journal of the feature store, and the records that other packages' loggers keep.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from filelock import FileLock, Timeout

if TYPE_CHECKING:  # not imported: it is slow, and rarely needed to write files
    import pandas as pd

# A draft's name: hidden, not taken for an audio file, unique to this process; cut, as names may have maximal length.
DRAFT = re.compile(r"\.(?P<name>.+)\.(?P<host>[^/]+)-(?P<process>\d+)-\d+\.part", re.DOTALL)
NAME_LENGTH = 40

_numbers = count()


@contextmanager
def whole(path: str | Path, mode: str = "w", **options: Any) -> Iterator[IO[Any]]:
    """Open a file for writing that appears under its name only when the block has succeeded and the data is on disk.

    Until then, whatever ends the block or the process, an earlier file stays. What is not a regular file, such as a
    pipe, is written directly.

    Args:
        path: of the file; its folder must exist.
        mode: ``w`` or ``wb``.
        options: of :func:`open`; text is UTF-8 by default.

    Raises:
        OSError: it cannot be written.
    """
    if "b" not in mode:
        options = {"encoding": "utf-8", **options}
    target = Path(os.path.realpath(path))  # a link stays one
    if target.exists() and not target.is_file():
        with target.open(mode, **options) as file:
            yield file
        return
    sweep(target.parent, target.name)
    draft = target.with_name(f".{target.name[:NAME_LENGTH]}.{platform.node()}-{os.getpid()}-{next(_numbers)}.part")
    try:
        with draft.open(mode, **options) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
    except BaseException as error:
        draft.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename and Path(error.filename) == draft:
            error.filename, error.filename2 = str(path), None  # the name that the caller gave
        raise


def write_text(path: str | Path, text: str) -> None:
    """Write a text file, in UTF-8 with line feeds, completely or not at all."""
    with whole(path, newline="\n") as file:
        file.write(text)


def write_csv(path: str | Path, frame: pd.DataFrame) -> None:
    """Write a table without its index, as CSV, completely or not at all."""
    with whole(path, newline="") as file:
        frame.to_csv(file, index=False)


def sweep(folder: Path, name: str | None = None) -> None:
    """Remove the drafts left by killed processes of this machine.

    Args:
        folder: that contains them.
        name: of the file that they are drafts of; None: of any.
    """
    with suppress(OSError):  # a folder that can't be read fails when it is written to
        for path in folder.iterdir():
            draft = DRAFT.fullmatch(path.name)
            if not draft or draft["host"] != platform.node() or (name and draft["name"] != name[:NAME_LENGTH]):
                continue
            if not _alive(int(draft["process"])):
                path.unlink(missing_ok=True)


def _alive(process: int) -> bool:
    if os.name == "nt":  # where os.kill would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


LOCK = ".lock"


def scratch_folder(prefix: str) -> tuple[Path, FileLock]:
    """A new private folder among the system's temporary ones, and its lock.

    The lock is held until it is released or the process ends. So the folders of killed processes can be told from those
    in use, and are removed when the next one is made.

    Args:
        prefix: of its name, and of those that are removed.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    begun = folder / f"{LOCK}.begun"
    lock = FileLock(begun, thread_local=False)
    lock.acquire(timeout=0)
    begun.rename(folder / LOCK)  # locked before others can see it: the lock is on the file, whatever its name
    _sweep(prefix, folder)
    return folder, lock


def _sweep(prefix: str, own: Path) -> None:
    """Remove the folders of dead processes of the same user."""
    user = own.lstat().st_uid
    for folder in own.parent.glob(f"{prefix}*"):
        try:
            found = folder.lstat()
            # Nobody else can have put anything, such as a link, into a folder of this user that no other may write to.
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != user or found.st_mode & 0o022 or folder == own:
                continue
            if not (folder / LOCK).is_file():  # of a process that is just starting
                continue
            with FileLock(folder / LOCK).acquire(timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
        except (Timeout, OSError):  # in use, or being swept by another
            continue
