"""The base of all sources: a name, how to obtain the data, and a catalog of its tracks.

A checkpoint describes the source that it was trained on, and someone else may open it. Such a description is not
trusted: its class is one of a list, its settings have the types that the class declares, and everything is written
below the user's own cache, and nothing that the user did not ask for.
"""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path, PureWindowsPath
from types import NoneType, UnionType
from typing import Any, ClassVar, Union, get_args, get_origin, get_type_hints

from hydra.utils import get_object

from artistid.data.catalog import Catalog, Track, nfc, require_list, spellings
from artistid.errors import ArtistidError, abbreviate, counted
from artistid.places import below, expanded
from artistid.trust import BOUNDS, Trust, check_bound, check_plain, find_class, shown

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DatasetCard:
    """What a user must know about a data set: shown when its files are not where they were expected.

    Attributes:
        title: the data set's name.
        licence: its terms of use.
        citation: for publications that use it.
        how_to_get: where the audio comes from, in a sentence or two.
        layout: the tree that is expected below ``data.root``.
    """

    title: str
    licence: str
    citation: str
    how_to_get: str
    layout: str


@dataclass(kw_only=True)
class Source(ABC):
    """Base class of the sources; one file per data set.

    Args:
        name: names the store's and the runs' folders.
        root: the folder that holds the collection.
        artists: which to use; for this and the following see :meth:`artistid.data.catalog.Catalog.select`.
        min_albums: of an artist.
        min_songs: of an artist.
        exclude: track ids, files by their path below ``root``, and folders, with a trailing slash.
        prefer: file endings, the best first: which to take of files that differ only in their ending.
        albums_only: leave out tracks without an album, which an album split cannot place.

    Attributes:
        read_only: write nothing outside a cache, since the settings come from a file, not from the user.
    """

    name: str
    root: str | Path | None
    artists: Sequence[str] | None = None
    min_albums: int = 0
    min_songs: int = 0
    exclude: Sequence[str] = ()
    prefer: Sequence[str] = ()
    albums_only: bool = False
    read_only: bool = field(init=False, default=False)

    card: ClassVar[DatasetCard]

    @abstractmethod
    def scan(self, root: Path) -> list[Track]:
        """All tracks below an existing ``root``, in any order."""

    def catalog(self) -> Catalog:
        """The selected tracks.

        Raises:
            ArtistidError: no root, nothing in it, a folder that can't be read, or a selection that leaves nothing; the
                message says what tree was expected and what was found.
        """
        root = self.root_folder()
        try:
            tracks = self.scan(root)
        except OSError as error:
            raise ArtistidError(f"data.root={root} cannot be read: {error}") from error
        if not tracks:
            raise ArtistidError(f"data.root={root} holds no tracks: found {describe(root)}\n{self.expected()}")
        tracks, exclude = self._without_excluded(tracks, root)
        catalog = Catalog(self._one_of_each(tracks))
        selected = catalog.select(self.artists, self.min_albums, self.min_songs, exclude, self.albums_only)
        _warn_of_spellings(catalog, selected)
        return selected

    def root_folder(self) -> Path:
        """The folder that holds the collection; raises ArtistidError where there is none."""
        if self.root is None:
            raise ArtistidError(f"data.root is not set: say where {self.card.title} is\n{self.expected()}")
        root = expanded(self.root)
        if not root.is_dir():
            found = "is a file" if root.exists() else f"does not exist (seen from {Path.cwd()})"
            raise ArtistidError(f"data.root={root} {found}\n{self.expected()}")
        return root

    def _without_excluded(self, tracks: Iterable[Track], root: Path) -> tuple[list[Track], list[str]]:
        """The tracks without excluded files and folders, and the other names in ``exclude``."""
        require_list(self.exclude, "data.exclude")
        names = {nfc(name) for name in self.exclude}
        placed = [(nfc(os.path.relpath(track.path, root)), track) for track in tracks]
        files = names & {path for path, _ in placed}
        folders = {name for name in names if name.endswith("/") and any(path.startswith(name) for path, _ in placed)}
        below = tuple(folders)
        left = [track for path, track in placed if path not in files and not path.startswith(below)]
        return left, sorted(names - files - folders)

    def _one_of_each(self, tracks: Iterable[Track]) -> list[Track]:
        """The tracks, with only the preferred one of those that share an id, being one song in several formats."""
        require_list(self.prefer, "data.prefer")
        endings = [f".{ending.lower().removeprefix('.')}" for ending in self.prefer]
        of_each: dict[str, list[Track]] = defaultdict(list)
        for track in tracks:
            of_each[track.track_id].append(track)
        chosen, others = [], []
        for track_id, same in of_each.items():
            ranked = ([track for track in same if track.path.suffix.lower() == ending] for ending in endings)
            best = next(filter(None, ranked), same)
            if len(best) > 1:
                raise ArtistidError(
                    f"the track {track_id!r} appears twice: {best[0].path} and {best[1].path}; data.prefer=[flac,mp3] "
                    "says which ending to take, the best first, and data.exclude=[…] leaves out files, by their paths "
                    "below data.root with their endings"
                )
            chosen += best
            others += [str(track.path) for track in same if track is not best[0]]
        if others:
            log.info(
                "left out %s, each also there in a preferred format (data.prefer): %s",
                *(counted(len(others), "file"), abbreviate(others)),
            )
        return chosen

    def expected(self) -> str:
        """The card as a paragraph for an error message."""
        card = self.card
        return (
            f"  {card.title}\n  expected tree: {card.layout}\n  how to get it: {card.how_to_get}\n"
            f"  licence: {card.licence}\n  citation: {card.citation}"
        )


def provide(source: Any) -> None:
    """Make sure that a source's files exist: a source that makes its files has a method for it.

    Raises:
        ArtistidError: they cannot be made.
    """
    if make := getattr(source, "provide", None):
        make()


def _warn_of_spellings(catalog: Catalog, used: Catalog) -> None:
    """Warn of different spellings that may be of one artist or one album.

    Each spelling of an artist is a class of its own; those of an album are one album, see :attr:`Track.album_key`.
    """
    artists = [" = ".join(group) for group in spellings(catalog.artists) if not set(used.artists).isdisjoint(group)]
    albums = [
        f"{artist}: {' = '.join(group)}"
        for artist, tracks in used.by_artist().items()
        for group in spellings(track.album for track in tracks if track.album)
    ]
    for alike, what, taken in (
        (artists, "artist", "different artists"),
        (albums, "album", "one album, which no split takes apart"),
    ):
        if alike:
            log.warning(
                "%s in spellings that differ only in case, accents or blanks, taken for %s: %s",
                *(counted(len(alike), f"{what}'s name", f"{what}s' names"), taken, abbreviate(alike)),
            )


def absolute(path: Path) -> Path:
    """From the file system's root and without ``..``; links stay as they are."""
    return Path(os.path.normpath(path.absolute()))


def path_below(root: Path, text: str, where: object) -> Path:
    """The path of a file listed in a table, which must lie below a folder.

    Args:
        root: the folder, absolute.
        text: relative to ``root``, or an absolute path below it; backslashes separate folders if no such file exists.
        where: the table, for the errors.

    Raises:
        ArtistidError: a path that leads out of ``root``, or one of another machine's drives.
    """
    if "\0" in text:
        raise ArtistidError(f"{where}: {text!r} is not a path: it contains a NUL character")
    path = absolute(root / text)
    if "\\" in text and not path.exists():
        path = absolute(root / text.replace("\\", "/"))
    if PureWindowsPath(text).drive and os.name != "nt" and not path.exists():
        raise ArtistidError(
            f"{where}: {text!r} is a path on a Windows drive; expected one relative to data.root={root}"
        )
    if root not in path.parents:
        raise ArtistidError(f"{where}: {text!r} is not a file below data.root={root}, to which paths are relative")
    return path


def describe(root: Path) -> str:
    """The content of a folder, in a few words."""
    names = sorted(path.name + ("/" if path.is_dir() else "") for path in root.iterdir())
    if not names:
        return "an empty folder"
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def track_from_path(path: Path, root: Path) -> Track:
    """The track at ``root``/artist/album/…/title.ending; ``album`` is empty for artist/title.ending.

    Folders below the album (discs) belong to the album.

    Raises:
        ArtistidError: a file directly in ``root``: it has no artist.
    """
    parts = [nfc(part) for part in path.relative_to(root).with_suffix("").parts]
    if len(parts) == 1:
        raise ArtistidError(
            f"{path} lies directly in data.root={root}, so its artist is unknown; expected artist/album/track"
        )
    return Track(
        track_id="/".join(parts),
        artist=parts[0],
        album=parts[1] if len(parts) > 2 else "",
        title=parts[-1],
        path=path,
    )


HOME = "artistid.data.sources"
OURS = frozenset(
    f"{HOME}.{name}"
    for name in (
        *("artist20.Artist20", "catalog_file.CatalogFile", "fma.Fma", "folder.Folder", "library.Library"),
        *("mtg_jamendo.MtgJamendo", "synthetic.Synthetic"),
    )
)
# Always those of the command that runs now, not of the one that wrote the description.
OWN_SETTINGS = ("cache_dir", "workers")


def check_description(description: Any, trust: Trust = ()) -> None:
    """Raises ArtistidError for a description that is not a source's; an empty one, of no data, is allowed."""
    if not isinstance(description, Mapping):
        raise ArtistidError(f"data is {shown(description)}: expected the settings of a source")
    check_plain(description, "data")
    if not description:
        return
    kind = _kind(description.get("_target_"), trust)
    settings = {name: value for name, value in description.items() if name != "_target_"}
    if kind.__module__.startswith(f"{HOME}."):  # other sources check their own
        _check_fields(kind, settings)
        below(Path(), settings["name"], "data.name")


def redirected(description: Mapping[str, Any], cache_dir: str, workers: int | None) -> dict[str, Any]:
    """The same description with this user's cache and number of processes."""
    own = dict(zip(OWN_SETTINGS, (cache_dir, workers), strict=True))
    return {name: own.get(name, value) for name, value in description.items()}


def opened(description: Mapping[str, Any], trust: Trust = ()) -> Any:
    """The source, which writes only below its ``cache_dir``.

    Args:
        description: see :func:`redirected`.
        trust: packages whose sources may be opened too.

    Raises:
        ArtistidError: a description of no source, or of no data.
    """
    check_description(description, trust)
    if not description:
        raise ArtistidError("the checkpoint does not say what data it was trained on: say which with data=…")
    settings = {name: value for name, value in description.items() if name != "_target_"}
    source = _kind(description["_target_"], trust)(**settings)
    if isinstance(source, Source):
        source.read_only = True
    return source


def _kind(target: Any, trust: Trust) -> type:
    if isinstance(target, str) and target in OURS:
        kind: type = get_object(target)
        return kind
    kind = find_class(target, (), trust, "source")
    if not callable(getattr(kind, "catalog", None)):
        raise ArtistidError(f"data._target_={target} is not a source: it has no method catalog")
    return kind


def _check_fields(kind: type, settings: Mapping[str, Any]) -> None:
    """Raises ArtistidError for settings that a source does not have, or of other types than it declares."""
    known: dict[str, Field[Any]] = {setting.name: setting for setting in fields(kind) if setting.init}
    if unknown := sorted(settings.keys() - known.keys()):
        raise ArtistidError(f"data has a setting that {kind.__name__} does not have: {shown(unknown[0])}")
    needed = {"name"} | {
        name for name, setting in known.items() if setting.default is setting.default_factory is MISSING
    }
    if missing := sorted(needed - settings.keys()):
        raise ArtistidError(f"data lacks {', '.join(missing)} of {kind.__name__}")
    hints = get_type_hints(kind)
    for name, value in settings.items():
        if not _is_of(value, hints[name]):
            raise ArtistidError(
                f"data.{name}={shown(value)} is not a setting of {kind.__name__}, which takes another type"
            )
        if f"data.{name}" in BOUNDS:
            check_bound(f"data.{name}", value)


def _is_of(value: Any, hint: Any) -> bool:
    """Whether a plain value is of a type that a source declares."""
    if get_origin(hint) in (Union, UnionType):
        return any(_is_of(value, member) for member in get_args(hint))
    if hint is NoneType:
        return value is None
    if hint is float:
        return type(value) in (int, float)
    if hint in (bool, int):
        return type(value) is hint
    if get_origin(hint) is not None:  # all lists in a source's settings are of text
        return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
    return isinstance(value, str) and not any(ord(letter) < 32 for letter in value)  # text, or a path
