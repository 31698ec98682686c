"""What every data set's source has: a name, where it may be got from, and a catalog of its tracks."""

from __future__ import annotations

import logging
import os
import unicodedata
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from artistid.data.audio import AUDIO_SUFFIXES
from artistid.data.catalog import Catalog, Track
from artistid.errors import ArtistidError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Card:
    """What a person must know of a data set: shown when its files are not where they were expected.

    Attributes
    ----------
    title, licence, citation
        For people who publish on it.
    how_to_get
        Where the audio comes from, in a sentence or two.
    layout
        The tree that is expected below ``data.root``.
    """

    title: str
    licence: str
    citation: str
    how_to_get: str
    layout: str


@dataclass(kw_only=True)
class Source(ABC):
    """Base class of the sources; one file per data set.

    Parameters
    ----------
    name
        Names the store's and the runs' folders.
    root
        The folder that holds the collection.
    artists, min_albums, min_songs, exclude
        Which part of the catalog to use, see :meth:`artistid.data.catalog.Catalog.select`.
    """

    name: str
    root: str | Path | None
    artists: Sequence[str] | None = None
    min_albums: int = 0
    min_songs: int = 0
    exclude: Sequence[str] = ()

    card: ClassVar[Card]

    @abstractmethod
    def scan(self, root: Path) -> list[Track]:
        """All tracks below an existing ``root``, in any order."""

    def catalog(self) -> Catalog:
        """The tracks to work on.

        Raises
        ------
        ArtistidError
            No root, nothing in it, or a selection that leaves nothing; the message says what tree was expected.
        """
        if self.root is None:
            raise ArtistidError(f"data.root is not set: say where {self.card.title} is\n{self.expected()}")
        root = Path(self.root).expanduser()
        if not root.is_dir():
            found = "is a file" if root.exists() else f"does not exist (seen from {Path.cwd()})"
            raise ArtistidError(f"data.root={root} {found}\n{self.expected()}")
        tracks = self.scan(root)
        if not tracks:
            raise ArtistidError(f"data.root={root} holds no tracks: found {describe(root)}\n{self.expected()}")
        return Catalog(tracks).select(self.artists, self.min_albums, self.min_songs, self.exclude)

    def expected(self) -> str:
        """The card as a paragraph for an error message."""
        card = self.card
        return (
            f"  {card.title}\n  expected tree: {card.layout}\n  how to get it: {card.how_to_get}\n"
            f"  licence: {card.licence}\n  citation: {card.citation}"
        )


def describe(root: Path) -> str:
    """What lies directly in a folder, in a few words."""
    names = sorted(path.name + ("/" if path.is_dir() else "") for path in root.iterdir())
    if not names:
        return "an empty folder"
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def nfc(text: str) -> str:
    """Unicode NFC: some file systems hand out decomposed names, and a track id must not depend on that."""
    return unicodedata.normalize("NFC", text)


def audio_files(root: Path) -> list[Path]:
    """Every audio file below ``root``, sorted; links are followed, hidden files and folders are ignored.

    What is left out because its ending is no audio format's is counted in the log.
    """
    found: list[Path] = []
    other: Counter[str] = Counter()
    for path in _files(root):
        if path.suffix.lower() in AUDIO_SUFFIXES:
            found.append(path)
        else:
            other[path.suffix.lower() or "no ending"] += 1
    if other:
        listing = ", ".join(f"{suffix} {count}" for suffix, count in sorted(other.items()))
        log.info("left out %d files of %s that are not audio: %s", other.total(), root, listing)
    return sorted(found)


def _files(root: Path) -> Iterator[Path]:
    seen: set[str] = set()
    for folder, subfolders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link that leads back up
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        yield from (Path(folder, name) for name in sorted(names) if not name.startswith("."))


def track_from_path(path: Path, root: Path) -> Track:
    """The track at ``root``/artist/album/…/title.ending; ``album`` is empty for artist/title.ending.

    Folders below the album (discs) belong to the album.

    Raises
    ------
    ArtistidError
        A file directly in ``root``: it has no artist.
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
