"""The folder of an audit: finished folds, so that a killed audit can resume, and the table to correct."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from omegaconf import DictConfig, OmegaConf

from artistid.auditing.findings import Song
from artistid.config import plain
from artistid.data.catalog import Catalog, Track, read_rows
from artistid.data.sources.base import path_below
from artistid.data.sources.catalog_file import write_rows
from artistid.errors import ArtistidError
from artistid.places import expanded, require_writable
from artistid.runs.folder import changed_settings
from artistid.settings import literal
from artistid.writing import whole, write_text

log = logging.getLogger(__name__)

# The first are a catalog's, so that data=csv and data=library read the table back.
COLUMNS = (
    *("path", "artist", "album", "title", "track_id"),
    *("suspect", "proposed", "probability", "own_probability", "checked", "note"),
)
YES = "yes"


class AuditFolder:
    """An audit's files.

    Attributes:
        mark: an empty file that marks the folder as an audit's.
        config: the composed configuration, YAML.
        catalog: the songs as they were filed, with any planted errors, CSV.
        folds: folder of the songs' probabilities, Parquet, one file per finished fold.
        table: all songs, the most suspicious first, CSV: to be corrected, and read back by data.csv.
        summary: all findings, JSON; its presence marks the audit as finished.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = expanded(path)
        self.mark = self.path / ".artistid-audit"
        self.config = self.path / "config.yaml"
        self.catalog = self.path / "catalog.csv"
        self.folds = self.path / "folds"
        self.table = self.path / "songs.csv"
        self.summary = self.path / "audit.json"
        self._lock = FileLock(self.path / ".lock")

    def finished(self, config: DictConfig) -> bool:
        """Whether a finished audit with these settings is here; raises ArtistidError for one with others."""
        if not self.summary.exists():
            return False
        if changed := changed_settings(self.config, config):
            raise ArtistidError(
                f"{self.path} holds a finished audit with other settings ({'; '.join(changed)}): "
                "overwrite=true replaces it, run_dir=PATH keeps both"
            )
        return True

    def check_free(self, overwrite: bool) -> None:
        """Raises ArtistidError if the folder has a finished audit, which may have been corrected, or something else."""
        if self.summary.exists() and not overwrite:
            raise ArtistidError(
                f"{self.path} holds a finished audit: overwrite=true replaces it and its table, run_dir=PATH keeps both"
            )
        require_writable(self.path, f"run_dir={self.path}")
        if self.path.exists() and any(self.path.iterdir()) and not self.mark.exists():
            raise ArtistidError(f"run_dir={self.path} is not empty, and holds no audit; choose another")

    def begin(self, config: DictConfig, catalog: Catalog, overwrite: bool) -> None:
        """Make the folder, or resume from the folds that are in it.

        Raises:
            ArtistidError: an unfinished audit of other songs or with other settings, or another process is writing.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.mark.touch()
            self._lock.acquire(timeout=0)
            if overwrite:
                self._clear()
            if self.config.exists():
                self._check_same(config, catalog)
                return
            self.folds.mkdir(exist_ok=True)
            catalog.to_csv(self.catalog)
            with whole(self.config) as file:  # last: its presence implies the catalog's
                OmegaConf.save(OmegaConf.create(literal(plain(config))), file)
        except Timeout:
            raise ArtistidError(f"run_dir={self.path}: another process is writing an audit there") from None
        except OSError as error:
            raise ArtistidError(f"cannot write run_dir={self.path}: {error}") from error

    def _clear(self) -> None:
        for file in (self.summary, self.config, self.table, self.catalog):
            file.unlink(missing_ok=True)
        shutil.rmtree(self.folds, ignore_errors=True)  # including interrupted networks

    def _check_same(self, config: DictConfig, catalog: Catalog) -> None:
        changed = changed_settings(self.config, config)
        before = Catalog.from_csv(self.catalog)
        if changed or _filed(before) != _filed(catalog):
            what = f"settings ({'; '.join(changed)})" if changed else "songs, or of songs under other artists or albums"
            raise ArtistidError(
                f"{self.path} holds an unfinished audit of other {what}: overwrite=true replaces it, "
                "run_dir=PATH keeps both"
            )

    def close(self) -> None:
        """Let other processes write."""
        self._lock.release()

    def write_table(self, root: Path, songs: Sequence[Song], notes: Mapping[str, str], catalog: Catalog) -> None:
        """Write a row for each song: those that were audited, the most suspicious first, then the others.

        Args:
            root: that paths are relative to.
            songs: that were audited.
            notes: by track id, why others were not.
            catalog: of all.
        """
        audited = {song.track.track_id for song in songs}
        rows = [
            {
                **_row(song.track, root),
                "suspect": YES if song.suspect else "",
                "proposed": song.proposed,
                "probability": f"{song.probability:.4f}",
                "own_probability": f"{song.own_probability:.4f}",
            }
            for song in songs
        ]
        rows += [
            _row(track, root) | {"note": notes.get(track.track_id, "")}
            for track in catalog
            if track.track_id not in audited
        ]
        write_rows(self.table, COLUMNS, rows)

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write the findings; from now on the audit counts as finished."""
        write_text(self.summary, json.dumps(summary, indent=1) + "\n")

    def read_summary(self) -> dict[str, Any]:
        """The findings; raises ArtistidError if there is no finished audit."""
        if not self.summary.is_file() or not self.table.is_file():
            raise ArtistidError(
                f"review={self.path} is not the folder of a finished audit: it lacks {self.summary.name}"
            )
        summary: dict[str, Any] = json.loads(self.summary.read_text(encoding="utf-8"))
        return summary

    def read_table(self) -> list[dict[str, str]]:
        """The table's rows, as they are now; raises ArtistidError."""
        return read_rows(self.table, COLUMNS, "table of an audit")


def _row(track: Track, root: Path) -> dict[str, str]:
    facts = {name: getattr(track, name) for name in ("artist", "album", "title", "track_id")}
    return {"path": os.path.relpath(track.path, root), **facts}


def _filed(catalog: Catalog) -> list[tuple[str, str, str, str | None]]:
    """What the folds depend on, for every song."""
    return [(track.track_id, track.artist, track.album, track.sha1) for track in catalog]


def checked_before(table: Path, root: Path) -> set[Path]:
    """The files marked in an earlier audit's table as checked by ear; none for a table of another kind.

    Args:
        table: a catalog file.
        root: that its paths are relative to.
    """
    rows = read_rows(table, ("path",), "catalog")
    return {path_below(root, row["path"], table) for row in rows if row.get("checked", "").strip().lower() == YES}
