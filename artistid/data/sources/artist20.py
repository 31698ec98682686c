"""artist20: six albums by each of twenty artists, 1,413 tracks (Ellis 2007), the data of the paper."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from artistid.data.catalog import Catalog, Track, nfc
from artistid.data.sources.base import DatasetCard, Source, describe, track_from_path
from artistid.data.sources.folder import audio_files
from artistid.errors import ArtistidError, abbreviate, counted

log = logging.getLogger(__name__)

ARTIST20_FOLDERS = ("artists", "mp3s-32k")
N_ARTISTS, N_ALBUMS, N_TRACKS = 20, 120, 1413


@dataclass(kw_only=True)
class Artist20(Source):
    """artist20 in either of its two layouts; the official track lists, where present, determine the catalog.

    A listed track that is not on disk is an error; a track on disk that is not listed is left out and reported.
    """

    card: ClassVar[DatasetCard] = DatasetCard(
        title="artist20 (LabROSA, Columbia University)",
        licence="the recordings are under copyright: research copies only, not for redistribution",
        citation=(
            "D. P. W. Ellis, 'Classifying music audio with timbral and chroma features', ISMIR 2007, pp. 339-340"
        ),
        how_to_get="on request from LabROSA: https://labrosa.ee.columbia.edu/projects/artistid/",
        layout=(
            "ROOT/artists/<artist>/<album>/<NN-Title>.mp3 or ROOT/mp3s-32k/<artist>/<album>/<NN-Title>.mp3, "
            "and ROOT/lists/*.list if you have them"
        ),
    )

    def scan(self, root: Path) -> list[Track]:
        folders = [root / name for name in ARTIST20_FOLDERS if (root / name).is_dir()]
        if not folders:
            raise ArtistidError(
                f"data.root={root} holds neither {ARTIST20_FOLDERS[0]}/ nor {ARTIST20_FOLDERS[1]}/: "
                f"found {describe(root)}\n" + self.expected()
            )
        if len(folders) > 1:
            raise ArtistidError(
                f"data.root={root} holds both {ARTIST20_FOLDERS[0]}/ and {ARTIST20_FOLDERS[1]}/, which are the same "
                "tracks in two layouts; move one of them away"
            )
        tracks = [track_from_path(path, folders[0]) for path in audio_files(folders[0])]
        lists = root / "lists"
        if listed := listed_tracks(lists):
            tracks = _as_listed(tracks, listed, lists)
        elif lists.is_dir():
            log.warning("no *.list file in %s names a track as artist/album/title: all tracks on disk are used", lists)
        _compare_with_published(tracks)
        return tracks


def listed_tracks(folder: Path) -> set[str]:
    """The track ids in all ``*.list`` files of a folder."""
    return {track_id for path in sorted(folder.glob("*.list")) if path.is_file() for track_id in read_track_list(path)}


def read_track_list(path: Path) -> set[str]:
    """The track ids ``artist/album/NN-Title`` in a list; lines of another form (albums, artists) are skipped."""
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    lines = (line.strip().removesuffix(".mp3") for line in text.splitlines())
    return {nfc(line) for line in lines if line.count("/") == 2 and not line.startswith("#")}


def _as_listed(tracks: list[Track], listed: set[str], folder: Path) -> list[Track]:
    on_disk = {track.track_id for track in tracks}
    if absent := sorted(listed - on_disk):
        raise ArtistidError(
            f"{folder}/*.list names {counted(len(listed), 'track')}, of which {len(absent)} cannot be found on disk: "
            f"{abbreviate(absent, 5)}"
        )
    if extra := sorted(on_disk - listed):
        log.warning("left out %s that no file in %s names: %s", counted(len(extra), "track"), folder, ", ".join(extra))
    return [track for track in tracks if track.track_id in listed]


def _compare_with_published(tracks: list[Track]) -> None:
    catalog = Catalog(tracks)
    counts = (len(catalog.artists), sum(map(len, catalog.albums.values())), len(catalog))
    if tracks and counts != (N_ARTISTS, N_ALBUMS, N_TRACKS):
        log.warning(
            "artist20 has %s, %s and %s; this copy has %d, %d and %d",
            *(counted(N_ARTISTS, "artist"), counted(N_ALBUMS, "album"), counted(N_TRACKS, "track")),
            *counts,
        )
