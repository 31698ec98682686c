"""FMA: the Free Music Archive's tracks and their metadata (Defferrard et al. 2017)."""

from __future__ import annotations

import csv
import logging
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import pandas as pd

from artistid.data.catalog import Track, clean
from artistid.data.sources.base import DatasetCard, Source, describe
from artistid.errors import ArtistidError, abbreviate, counted, require_choice

log = logging.getLogger(__name__)

# Each contains those before it. The first three have the same clips of 30 s; full has whole tracks.
FMA_SUBSETS = ("small", "medium", "large", "full")

# The columns read from tracks.csv, by its two header rows, in the order of a FmaRow; 46 others are not read.
FMA_COLUMNS = (
    ("", ""),
    ("artist", "id"),
    ("artist", "name"),
    ("album", "id"),
    ("album", "title"),
    ("track", "title"),
    ("set", "subset"),
)
NO_ALBUM = "-1"
FMA_TRACKS = 106_574

# Silent clips, cut where the track had already ended, since its length was stated wrongly (mdeff/fma, #8).
# fmt: off
SILENT = frozenset({
    1486, 5574, 65753, 80391, 98558, 98559, 98560, 98571, 99134, 105247, 108925, 126981, 127336, 133297, 143992,
})
# Clips of 0.5 to 28 s, for the same reason.
SHORT = frozenset({98565, 98566, 98567, 98568, 98569, 108924})
# Clips with correct checksums, but reported as unreadable by some decoders (mdeff/fma, #49).
FRAGILE = frozenset({
    2624, 3284, 8669, 10116, 11583, 12838, 13529, 14116, 14180, 20814, 22554, 23429, 23430, 23431, 25173, 25174, 25175,
    25176, 25180, 29345, 29346, 29352, 29356, 33411, 33413, 33414, 33417, 33418, 33419, 33425, 35725, 39363, 41745,
    42986, 43753, 50594, 50782, 53668, 54569, 54582, 61480, 61822, 63422, 63997, 72656, 72980, 73510, 80553, 82699,
    84503, 84504, 84522, 84524, 86656, 86659, 86661, 86664, 87057, 90244, 90245, 90247, 90248, 90250, 90252, 90253,
    90442, 90445, 91206, 92479, 94052, 94234, 95253, 96203, 96207, 96210, 98105, 98562, 101265, 101272, 101275, 102241,
    102243, 102247, 102249, 102289, 106409, 106412, 106415, 106628, 108920, 109266, 110236, 115610, 117441, 127928,
    129207, 129800, 130328, 130748, 130751, 131545, 133641, 133647, 134887, *range(140449, 140473), 142614, 144518,
    144619, 145056, 146056, 147419, 147424, *range(148786, 148796), 151920, 155051,
})
# fmt: on


class FmaRow(NamedTuple):
    """A track in ``tracks.csv``, its id in six digits; ``album`` is empty if it has none."""

    track_id: str
    artist_id: str
    artist: str
    album_id: str
    album: str
    title: str
    subset: str


@dataclass(kw_only=True)
class Fma(Source):
    """FMA by its ``tracks.csv``; a track's id is that of its file, six digits, the same in every subset.

    Artists and albums are told apart by their ids: where several share a name, the id is appended. The official split
    shares no artist between its parts and is of no use here.

    Args:
        subset: small, medium, large or full; its audio is taken from a larger one if its own folder is missing.
    """

    subset: str

    card: ClassVar[DatasetCard] = DatasetCard(
        title="FMA, a dataset for music analysis",
        licence="audio: each artist's own choice, in the column track/license; metadata: CC BY 4.0",
        citation=(
            "M. Defferrard, K. Benzi, P. Vandergheynst, X. Bresson, 'FMA: A Dataset For Music Analysis', ISMIR 2017"
        ),
        how_to_get=(
            "fma_metadata.zip and one of fma_small.zip (7 GiB), fma_medium.zip (22 GiB), fma_large.zip (93 GiB), "
            "fma_full.zip (879 GiB) from https://github.com/mdeff/fma; where unzip fails, 7z does not"
        ),
        layout="ROOT/fma_metadata/tracks.csv and ROOT/fma_<subset>/<NNN>/<NNNNNN>.mp3",
    )

    def scan(self, root: Path) -> list[Track]:
        require_choice("data.subset", self.subset, FMA_SUBSETS)
        audio = self._audio_folder(root)
        rows = read_tracks(_table_path(root))
        # Over the whole table, so that an artist is called the same in every subset.
        artists = _named_apart(("", row.artist_id, row.artist) for row in rows)
        albums = _named_apart((row.artist_id, row.album_id, row.album) for row in rows)
        wanted = self._select(rows)
        on_disk = {path.stem: path for path in audio.glob("[0-9][0-9][0-9]/*.mp3")}
        _report_absent(wanted, rows, on_disk, audio)
        wanted = [row for row in wanted if row.track_id in on_disk]
        if audio.name != "fma_full":
            wanted = _without_silent(wanted)
        return [
            Track(
                track_id=row.track_id,
                artist=artists["", row.artist_id],
                album=albums[row.artist_id, row.album_id],
                title=row.title,
                path=on_disk[row.track_id],
            )
            for row in wanted
        ]

    def _audio_folder(self, root: Path) -> Path:
        folders = [root / f"fma_{subset}" for subset in FMA_SUBSETS[FMA_SUBSETS.index(self.subset) :]]
        existing = [folder for folder in folders if folder.is_dir()]
        if not existing:
            raise ArtistidError(
                f"data.root={root} holds none of {', '.join(folder.name for folder in folders)}: "
                f"found {describe(root)}\n{self.expected()}"
            )
        if existing[0] != folders[0]:
            kind = "whole tracks" if existing[0].name == "fma_full" else "the same clips"
            log.warning("data.subset=%s is read from %s, which has %s", self.subset, existing[0], kind)
        return existing[0]

    def _select(self, rows: list[FmaRow]) -> list[FmaRow]:
        """The subset's rows that have an artist; one without a subset is in the largest only."""
        subsets = FMA_SUBSETS[: FMA_SUBSETS.index(self.subset) + 1]
        wanted = [row for row in rows if row.subset in subsets or self.subset == "full"]
        if nameless := [row.track_id for row in wanted if not row.artist]:
            log.warning("left out %s without an artist: %s", counted(len(nameless), "track"), abbreviate(nameless))
        return [row for row in wanted if row.artist]


def _table_path(root: Path) -> Path:
    direct, in_folder = root / "tracks.csv", root / "fma_metadata" / "tracks.csv"
    if not direct.is_file() and not in_folder.is_file():
        raise ArtistidError(
            f"data.root={root} holds no fma_metadata/tracks.csv, which names the tracks' artists and albums; "
            f"found {describe(root)}\n{Fma.card.how_to_get}"
        )
    return in_folder if in_folder.is_file() else direct


def read_tracks(path: Path) -> list[FmaRow]:
    """The rows of ``tracks.csv``, the columns needed.

    Raises:
        ArtistidError: other header rows, a file truncated within a text, no UTF-8, or an id that is not a number.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = list(zip(next(reader, []), next(reader, []), strict=False))
        if missing := [" / ".join(names) for names in FMA_COLUMNS if names not in header]:
            raise ArtistidError(
                f"{path} is not a table of FMA's tracks: it lacks the columns {', '.join(missing)} in its two header "
                "rows"
            )
        indices = [header.index(names) for names in FMA_COLUMNS]
        # Long texts about artists and albums are nine tenths of the file: pandas skips them quickly.
        table = pd.read_csv(
            path, header=None, skiprows=2, usecols=indices, dtype=object, keep_default_na=False, encoding="utf-8-sig"
        )
    except (ValueError, csv.Error) as error:  # pandas' own errors, and those of decoding, are of the first kind
        raise ArtistidError(f"{path} is not a table of FMA's tracks: {error}") from error
    cells = zip(*(table[index] for index in indices), strict=True)
    rows = [_row(path, *texts) for texts in cells if texts[0] != "track_id"]  # a third row names the first column
    if len(rows) != FMA_TRACKS:
        log.warning("%s has %s; the published one has %s", path, counted(len(rows), "track"), f"{FMA_TRACKS:,}")
    return rows


def _row(path: Path, track_id: str, artist_id: str, artist: str, album_id: str, album: str, *others: str) -> FmaRow:
    for column, value in (("track", track_id), ("artist", artist_id), ("album", album_id)):
        if not value.removeprefix("-").isdecimal():
            raise ArtistidError(f"{path}: the {column} id {value!r} of the track {track_id!r} is not a whole number")
    if album_id == NO_ALBUM:
        album = ""
    elif not album.strip():
        album = f"album {album_id}"
    title, subset = others
    return FmaRow(track_id.zfill(6), artist_id, clean(artist), album_id, clean(album), clean(title), subset)


def _named_apart(rows: Iterable[tuple[str, str, str]]) -> dict[tuple[str, str], str]:
    """A unique name for every id of an owner: where several ids share a name, the id is appended.

    Args:
        rows: owner, id and name; repetitions are allowed.

    Returns:
        The name by owner and id.
    """
    names = {(owner, key): name for owner, key, name in rows}
    shared = Counter((owner, name) for (owner, _), name in names.items())
    return {
        (owner, key): f"{name} ({key})" if name and shared[owner, name] > 1 else name
        for (owner, key), name in names.items()
    }


def _report_absent(wanted: list[FmaRow], rows: list[FmaRow], on_disk: Collection[str], audio: Path) -> None:
    if absent := [row.track_id for row in wanted if row.track_id not in on_disk]:
        log.warning(
            "not in %s, left out: %d of %s: %s", audio, len(absent), counted(len(wanted), "track"), abbreviate(absent)
        )
    if unknown := sorted(set(on_disk) - {row.track_id for row in rows}):
        log.warning(
            "left out %s of %s that tracks.csv does not name: %s",
            *(counted(len(unknown), "file"), audio, abbreviate(unknown)),
        )


def _without_silent(clips: list[FmaRow]) -> list[FmaRow]:
    """The clips that are not silent; those known to be defective are logged."""
    silent, short, fragile = (
        [row.track_id for row in clips if int(row.track_id) in ids] for ids in (SILENT, SHORT, FRAGILE)
    )
    if silent:
        log.warning("known to be silent, left out: %s: %s", counted(len(silent), "clip"), ", ".join(silent))
    if short:
        log.warning("known to be shorter than 30 s: %s: %s", counted(len(short), "clip"), ", ".join(short))
    if fragile:
        log.info(
            "known to trouble some decoders; on_error=skip leaves out what cannot be read: %s: %s",
            *(counted(len(fragile), "clip"), abbreviate(fragile)),
        )
    return [row for row in clips if int(row.track_id) not in SILENT]
