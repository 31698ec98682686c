"""Paths on disk: names from any source as parts of paths, and paths that are not readable files."""

from __future__ import annotations

import getpass
import os
import stat
from pathlib import Path, PureWindowsPath

from artistid.errors import ArtistidError

LONGEST_FILE_NAME = 255  # bytes of a name in common file systems


def below(folder: Path, name: object, setting: str) -> Path:
    """The path of a name directly in a folder: for names from settings, which may come from a file.

    Args:
        folder: that contains the path.
        name: one component of a path.
        setting: that has the name, for the error.

    Raises:
        ArtistidError: a name that would lead elsewhere, or that file systems do not allow.

    Example:
        >>> below(Path("cache"), "my music", "data.name").as_posix()
        'cache/my music'
    """
    if fault := _fault(name):
        shown = name[:LONGEST_FILE_NAME] if isinstance(name, str) else name
        raise ArtistidError(f"{setting}={shown!r} names a folder: expected one component of a path, found {fault}")
    return folder / str(name)


def require_writable(path: Path, what: str) -> None:
    """Raises ArtistidError unless a path is a writable folder, or can become one; ``what`` names it for the error."""
    existing = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise ArtistidError(f"cannot write {what}: {existing} is not a writable folder")


def expanded(path: str | os.PathLike[str]) -> Path:
    """A path with its leading ``~`` expanded.

    Raises:
        ArtistidError: the home is unknown.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ArtistidError(
            f"{str(path)[:LONGEST_FILE_NAME]!r} starts at the home of a user who has none here: set HOME, or use "
            "another path (for the cache, cache_dir=PATH or the environment variable ARTISTID_CACHE)"
        ) from error


def nearby(path: Path) -> Path:
    """The same path as one would type it: relative if it is below the current folder."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def name_user() -> None:
    """Name a user who has no name, as in a container: libraries ask for it, and torch fails without one."""
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["USER"] = f"user{os.getuid()}"


def _fault(name: object) -> str:
    """What is wrong with a name; empty for a good one."""
    if not isinstance(name, str):
        return f"{type(name).__name__}, not text"
    if not name or name in (".", ".."):
        return "an empty name, or another folder"
    if "/" in name or "\\" in name:
        return "several"
    if PureWindowsPath(name).drive:
        return "a drive"
    if any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in name):
        return "control characters"
    if len(name.encode("utf-8", "surrogatepass")) > LONGEST_FILE_NAME:
        return f"more than {LONGEST_FILE_NAME} bytes"
    try:
        os.fsencode(name)
    except UnicodeError:
        return "characters that cannot be encoded"
    return ""


def no_file(path: Path) -> str:
    """What a path is, if neither a file nor a folder; empty for these, and if it cannot be accessed.

    Reading a pipe or a device may block forever, and neither can be read twice.
    """
    try:
        mode = path.stat().st_mode
    except OSError:
        return ""
    kinds = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
    return kinds.get(stat.S_IFMT(mode), "")


def user_cache() -> Path:
    """Where features are kept unless ``cache_dir`` is set, as in conf/base.yaml."""
    return expanded(os.environ.get("ARTISTID_CACHE") or "~/.cache/artistid")
