"""Places on disk: names that become parts of paths, wherever they come from, and what is not a readable file."""

from __future__ import annotations

import getpass
import os
import stat
from pathlib import Path, PureWindowsPath

from artistid.errors import ArtistidError

LONGEST_FILE_NAME = 255  # bytes of a name in common file systems


def below(folder: Path, name: object, setting: str) -> Path:
    """The path of a name in a folder, and in no other: for names that come from settings, which a file may hold.

    Args:
        folder: that the path lies in.
        name: one component of a path.
        setting: what gave the name, for the error.

    Raises:
        ArtistidError: a name that would lead elsewhere, or that no file system takes.

    Example:
        >>> below(Path("cache"), "my music", "data.name").as_posix()
        'cache/my music'
    """
    if fault := _fault(name):
        shown = name[:LONGEST_FILE_NAME] if isinstance(name, str) else name
        raise ArtistidError(f"{setting}={shown!r} names a folder: expected one part of a path, found {fault}")
    return folder / str(name)


def require_writable(path: Path, what: str) -> None:
    """Raises ArtistidError unless a folder is, or can be made, at a path; ``what`` names it for the error."""
    existing = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise ArtistidError(f"cannot write {what}: {existing} is not a folder to write to")


def expanded(path: str | os.PathLike[str]) -> Path:
    """A path whose leading ``~`` stands for a home.

    Raises:
        ArtistidError: a home that does not exist.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ArtistidError(
            f"{str(path)[:LONGEST_FILE_NAME]!r} starts at the home of a user who has none here: set HOME, or "
            "name another place (for what is kept between commands, cache_dir=PATH or the environment variable "
            "ARTISTID_CACHE)"
        ) from error


def nearby(path: Path) -> Path:
    """The same path, from the current folder where it lies below that, as one would type it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def name_user() -> None:
    """Give a user without a name, as in a container, one: libraries ask for it, torch in vain and fatally."""
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["USER"] = f"user{os.getuid()}"


def _fault(name: object) -> str:
    """What is wrong with a name; empty for a good one."""
    if not isinstance(name, str):
        return f"no text but {type(name).__name__}"
    if not name or name in (".", ".."):
        return "nothing, or a way to another folder"
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
        return "what is not text"
    return ""


def no_file(path: Path) -> str:
    """What a path leads to that is neither a file nor a folder; empty for these, and for what cannot be looked at.

    To read a pipe may take for ever, as may a device, and neither can be read again.
    """
    try:
        mode = path.stat().st_mode
    except OSError:
        return ""
    kinds = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
    return kinds.get(stat.S_IFMT(mode), "")


def user_cache() -> Path:
    """Where features are kept unless ``cache_dir`` says otherwise, as conf/base.yaml has it."""
    return expanded(os.environ.get("ARTISTID_CACHE") or "~/.cache/artistid")
