"""Track lists that say who belongs where: those that come with artist20, or lists of that form."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from artistid.data.catalog import Catalog
from artistid.data.sources.artist20 import read_track_list
from artistid.errors import ArtistidError, abbreviate

log = logging.getLogger(__name__)

T = TypeVar("T")


def by_lists(catalog: Catalog, lists: Mapping[T, Path]) -> dict[str, T]:
    """Which list names each track.

    Tracks that no list names are left out and listed in the log. Lists may name tracks that the catalog does not have,
    since a selection of artists has left them out; how many is logged.

    Args:
        catalog: the tracks.
        lists: what a list stands for, to the file; one ``artist/album/NN-Title`` per line.

    Returns:
        Track id to what its list stands for.

    Raises:
        ArtistidError: a list that is missing or names no track, a track in two lists, or no track of the catalog in
            any.
    """
    folder = next(iter(lists.values())).parent
    if missing := [path.name for path in lists.values() if not path.is_file()]:
        found = sorted(path.name for path in folder.glob("*.list"))
        raise ArtistidError(
            f"split.lists={folder} lacks {', '.join(missing)}; found {abbreviate(found, 5) or 'no *.list'}"
        )
    named: dict[str, T] = {}
    twice: set[str] = set()
    for key, path in lists.items():
        tracks = read_track_list(path)
        if not tracks:
            raise ArtistidError(f"{path} names no track: expected lines artist/album/NN-Title")
        twice |= tracks & named.keys()
        named |= dict.fromkeys(tracks, key)
    if twice:
        names = ", ".join(path.name for path in lists.values())
        raise ArtistidError(
            f"{folder}: {len(twice)} tracks are in more than one of {names}: {abbreviate(sorted(twice), 5)}"
        )
    known = {track.track_id for track in catalog}
    if not known & named.keys():
        raise ArtistidError(
            f"the lists in split.lists={folder} name none of the collection's {len(known)} tracks: they have "
            f"{abbreviate(sorted(named), 2)}, it has {abbreviate(sorted(known), 2)}"
        )
    if unnamed := sorted(known - named.keys()):
        log.warning("left out %d tracks that no list in %s names: %s", len(unnamed), folder, ", ".join(unnamed))
    if absent := sorted(named.keys() - known):
        log.info("%d tracks of the lists in %s are not used: %s", len(absent), folder, abbreviate(absent, 5))
    return {name: key for name, key in named.items() if name in known}
