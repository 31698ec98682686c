"""Finds the audio files given by name, folder, pattern or playlist."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import unquote

from artistid.data.catalog import nfc
from artistid.data.sources.folder import AudioSearch
from artistid.errors import ArtistidError, require_path
from artistid.places import expanded, no_file

PLAYLISTS = frozenset({".m3u", ".m3u8", ".pls"})


def find_audio(wanted: str | Sequence[str], setting: str = "audio") -> list[Path]:
    """The files that a setting names, each once: in the given order, those of a folder or pattern sorted by path.

    Args:
        wanted: files, folders (searched recursively), patterns, and playlists; one or several.
        setting: its name, for the errors.

    Raises:
        ArtistidError: nothing wanted, no such file or folder, a folder or pattern without audio, or a playlist that
            lists nothing. A file that a playlist lists need not exist: its error is raised when it is read.
    """
    require_path({setting: wanted}, setting, "a file, folder, pattern or playlist, or a [list] of them")
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    try:
        paths = [path for name in names for path in _named(str(name), setting)]
    except OSError as error:
        raise ArtistidError(f"{setting} cannot be read: {error}") from error
    return list(dict.fromkeys(paths))


def _named(name: str, setting: str) -> list[Path]:
    path, where = expanded(name), f"{setting}={nfc(name)}"
    if path.is_dir():
        return _search([path], where, "is a folder without audio files")
    if what := no_file(path):
        raise ArtistidError(f"{where} is {what}: expected a file; save it to one first")
    if path.exists():
        path = _known_to_all(path)
        return read_playlist(path) if path.suffix.lower() in PLAYLISTS else [path]
    if glob.has_magic(name):
        found = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207  # pathlib takes no absolute pattern
        return _search(map(Path, found), where, "matches no audio file")
    raise ArtistidError(f"{where} does not exist (seen from {Path.cwd()})")


def _search(paths: Iterable[Path], where: str, nothing: str) -> list[Path]:
    """The audio files among some paths, and below those that are folders.

    Raises:
        ArtistidError: there is none, which ``nothing`` says.
    """
    search, files = AudioSearch(), []
    for path in paths:
        files += search.below(path) if path.is_dir() else [path] if search.takes(path) else []
    search.report(where)
    if not files:
        passed = search.passed()
        raise ArtistidError(f"{where} {nothing}" + (f"; found files of these endings: {passed}" if passed else ""))
    return files


def _known_to_all(path: Path) -> Path:
    """The same file by a name valid in all processes, which that of a descriptor (/dev/stdin) is not."""
    return path.resolve() if path.absolute().parts[1:2] in (("dev",), ("proc",)) else path


def read_playlist(path: Path) -> list[Path]:
    """The files that a playlist lists, in its order; relative ones lie below its folder.

    Args:
        path: M3U, as written by nearly all players, or PLS.

    Raises:
        ArtistidError: it lists nothing.
    """
    lines = os.fsdecode(path.read_bytes().removeprefix(b"\xef\xbb\xbf")).splitlines()
    if path.suffix.lower() == ".pls":
        numbered = (re.fullmatch(r"\s*File(\d+)\s*=\s*(.+?)\s*", line, re.IGNORECASE) for line in lines)
        listed = [match[2] for match in sorted(filter(None, numbered), key=lambda match: int(match[1]))]
    else:
        listed = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not listed:
        raise ArtistidError(f"the playlist {nfc(str(path))} lists no files")
    return [_listed_file(path.parent, entry) for entry in listed]


def _listed_file(folder: Path, entry: str) -> Path:
    """The file listed in a line; a malformed line gives a path that does not exist, reported when it is read."""
    if entry.lower().startswith("file:"):
        return _file_of_uri(entry) or folder / entry.replace("\0", "\ufffd")
    path = _in(folder, entry)
    if not _exists(path) and "\\" in entry:  # written on Windows
        return _in(folder, entry.replace("\\", "/"))
    if not _exists(path) and not entry.isascii():  # old players wrote Latin-1, not the file system's encoding
        named = _in(folder, os.fsencode(entry).decode("latin-1"))
        return named if _exists(named) else path
    return path


def _in(folder: Path, entry: str) -> Path:
    path = folder / entry.replace("\0", "\ufffd")  # NUL ends a name for the system
    return path.absolute() if str(path).startswith("~") else path  # a home folder that does not exist


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long, for instance
        return False


def _file_of_uri(uri: str) -> Path | None:
    """The file on this machine that a ``file:`` URI names; None where it names none.

    Such a URI has a host, which must be this one, and a path, in which ``?`` and ``#`` are ordinary (RFC 8089).
    """
    rest = uri.partition(":")[2]
    host, _, path = rest[2:].partition("/") if rest.startswith("//") else ("", "", rest.removeprefix("/"))
    if host.lower() not in ("", "localhost") or not rest.startswith("/"):
        return None
    path = os.fsdecode(os.fsencode(unquote(f"/{path}", errors="surrogateescape")))
    return None if "\0" in path else Path(path)
