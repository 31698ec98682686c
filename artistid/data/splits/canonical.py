"""artist20's canonical split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from artistid.data.catalog import Catalog
from artistid.data.splits.official import by_lists
from artistid.data.splits.split import Split
from artistid.errors import ArtistidError
from artistid.places import expanded

LISTS = {"train": "a20-trn-tracks.list", "val": "a20-val-tracks.list", "test": "a20-tst-tracks.list"}


@dataclass(frozen=True, kw_only=True)
class CanonicalSplit:
    """The split that artist20 comes with: of each artist three albums train, one validates, two test (Ellis 2007).

    Attributes:
        lists: folder of ``a20-trn-tracks.list``, ``a20-val-tracks.list`` and ``a20-tst-tracks.list``.
    """

    lists: str | Path | None
    name: str = "canonical"

    def draw(self, catalog: Catalog, seed: int) -> Split:
        """Read the split, whatever the seed; raises ArtistidError, see :func:`by_lists`."""
        if self.lists is None:
            raise ArtistidError(
                f"split=canonical reads {', '.join(LISTS.values())}, and data.root has no lists/ with them: "
                "split.lists=FOLDER says where they are"
            )
        folder = expanded(self.lists)
        return Split(by_lists(catalog, {subset: folder / name for subset, name in LISTS.items()}), "canonical", None)
