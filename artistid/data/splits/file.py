"""A split that somebody brings."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from artistid.data.catalog import Catalog
from artistid.data.splits.split import Split
from artistid.errors import ArtistidError, abbreviate
from artistid.places import expanded

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class FileSplit:
    """A split read from a CSV file, such as the ``split.csv`` of a run folder."""

    path: str | Path | None
    name: str = "file"

    def draw(self, catalog: Catalog, seed: int) -> Split:
        """Read the split, whatever the seed; tracks that it does not name are left out and listed in the log.

        Raises:
            ArtistidError: see :meth:`Split.from_csv`; also if the file names tracks that the catalog does not have.
        """
        if self.path is None:
            raise ArtistidError("split.path is not set: say which CSV file holds the split")
        path = expanded(self.path)
        if not path.is_file():
            raise ArtistidError(f"split.path={path} does not exist (seen from {Path.cwd()})")
        split = Split.from_csv(path)
        known = {track.track_id for track in catalog}
        if absent := sorted(set(split.subsets) - known):
            raise ArtistidError(
                f"{path} names {len(absent)} tracks that the collection does not have: {abbreviate(absent, 5)}"
            )
        if unnamed := sorted(known - set(split.subsets)):
            log.warning("left out %d tracks that %s does not name: %s", len(unnamed), path, ", ".join(unnamed))
        return split
