"""MTG-Jamendo: 55,000 tracks under Creative Commons licences (Bogdanov et al. 2019), and the open benchmarks on it.

Its official splits are made for tagging: no artist is in two of their parts, so a network would be tested on artists
that it was not trained on. Draw ``split=album`` instead, or use one of the benchmarks.
"""

from __future__ import annotations

import gzip
import logging
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

from artistid.data.benchmarks.lists import Benchmark
from artistid.data.catalog import Track
from artistid.data.sources.base import DatasetCard, Source, describe
from artistid.errors import ArtistidError, counted, require_choice
from artistid.places import expanded

log = logging.getLogger(__name__)

TABLE_COLUMNS = (
    "TRACK_ID",
    "ARTIST_ID",
    "ALBUM_ID",
    "PATH",
    "DURATION",
)  # and TAGS, one per cell, as many as there are
COLUMN_PATTERNS = (r"(track_\d+)", r"(artist_\d+)", r"(album_\d+)", r"(\d\d/\d+\.mp3)", r"(\d+(?:\.\d+)?)")
LINE = re.compile(r"\t".join(COLUMN_PATTERNS) + r"(?:\t(.*))?")
NAMES_FILE, NAMES_CELLS = "raw.meta.tsv", 8
JAMENDO_FOLDERS = ("", "audio", "audio-low")  # below data.root
ENDINGS = {"audio": ".mp3", "audio-low": ".low.mp3"}
MENTIONED = 20  # track ids in a warning; hydra.verbose=artistid shows all


class JamendoRow(NamedTuple):
    """A track in the official table.

    Attributes:
        track_id, artist, album: the data set's identifiers, such as ``track_0000214``.
        seconds: its length, to a tenth.
        tags: such as ``genre---punkrock``.
    """

    track_id: str
    artist: str
    album: str
    seconds: float
    tags: tuple[str, ...] = ()


@dataclass(kw_only=True)
class MtgJamendo(Source):
    """The tracks of the official table, or of a benchmark, that are on disk; missing ones are reported.

    Artists and albums go by the data set's identifiers, which are unique; names on Jamendo are not. Where
    ``raw.meta.tsv`` lies beside the table, a track's title contains artist, album and title.

    Args:
        table: the official list of tracks; a relative path is below ``root``. A benchmark needs none.
        benchmark: its name, see :mod:`artistid.data.benchmarks`; None takes every track of the table.
        audio: ``audio`` (stereo, 320 kbit/s) or ``audio-low`` (mono); None takes the one that is there.
    """

    table: str | Path = "autotagging.tsv"
    benchmark: str | None = None
    audio: str | None = None

    card: ClassVar[DatasetCard] = DatasetCard(
        title="MTG-Jamendo",
        licence=(
            "each recording under a Creative Commons licence of its own (audio_licenses.txt), the table under "
            "CC BY-NC-SA 4.0; the official splits share no artist and can't be used to name artists"
        ),
        citation=(
            "D. Bogdanov, M. Won, P. Tovstogan, A. Porter and X. Serra, 'The MTG-Jamendo Dataset for Automatic Music "
            "Tagging', Machine Learning for Music Discovery Workshop, ICML 2019"
        ),
        how_to_get=(
            "https://github.com/MTG/mtg-jamendo-dataset: scripts/download/download.py --dataset raw_30s "
            "--type audio-low ROOT --unpack --remove (156 GB; --type audio: 508 GB), and data/autotagging.tsv"
        ),
        layout=(
            "ROOT/[audio/]NN/<track>.mp3 or ROOT/[audio-low/]NN/<track>.low.mp3, NN from 00 to 99, and "
            "ROOT/autotagging.tsv or data.table=PATH"
        ),
    )

    def scan(self, root: Path) -> list[Track]:
        table = root / expanded(self.table)
        listed = Benchmark.load(self.benchmark).entries if self.benchmark else read_table(table)
        wanted = {place_of(entry.track_id): entry for entry in listed}
        files = self._files(root)
        self._report({location: entry.track_id for location, entry in wanted.items()}, files)
        titles = read_titles(table.with_name(NAMES_FILE))
        return [
            Track(
                entry.track_id, entry.artist, entry.album, titles.get(entry.track_id, entry.track_id), files[location]
            )
            for location, entry in wanted.items()
            if location in files
        ]

    def _files(self, root: Path) -> dict[str, Path]:
        """The audio files below ``root`` by place, see :func:`place_of`."""
        require_choice("data.audio", self.audio, (None, *ENDINGS))
        kinds = {kind: files for kind, files in audio_files(root).items() if files and self.audio in (None, kind)}
        if not kinds:
            what = " or ".join(f"NN/<track>{ENDINGS[kind]}" for kind in ENDINGS if self.audio in (None, kind))
            raise ArtistidError(f"data.root={root} holds no {what}: found {describe(root)}\n{self.expected()}")
        if len(kinds) > 1:
            sizes = " and ".join(f"{counted(len(files), 'file')} of {kind}" for kind, files in kinds.items())
            raise ArtistidError(f"data.root={root} holds {sizes}: choose with data.audio={' or '.join(kinds)}")
        return next(iter(kinds.values()))

    def _report(self, wanted: Mapping[str, str], files: Collection[str]) -> None:
        """Log which of the tracks (id by place) have no file, and how many files are not listed."""
        what = self.benchmark or self.table
        if absent := sorted(track_id for location, track_id in wanted.items() if location not in files):
            folders = sorted({location[:2] for location in wanted} - {location[:2] for location in files})
            log.warning(
                "not on disk: %d of %s of %s%s: %s%s%s",
                *(len(absent), counted(len(wanted), "track"), what),
                f" (nothing in the folders {', '.join(folders)})" if folders else "",
                ", ".join(absent[:MENTIONED]),
                ", … (hydra.verbose=artistid lists all)" if len(absent) > MENTIONED else "",
                "; scores on a part of a benchmark can't be compared with others" if self.benchmark else "",
            )
            log.debug("not on disk: %s", ", ".join(absent))
        if unlisted := sorted(location for location in files if location not in wanted):
            n_files = counted(len(unlisted), "file")
            log.info("left out %s that %s does not name (hydra.verbose=artistid lists them)", n_files, what)
            log.debug("not named: %s", ", ".join(unlisted))


def audio_files(root: Path) -> dict[str, dict[str, Path]]:
    """Every file ``NN/<track>.mp3`` and ``NN/<track>.low.mp3`` by kind (``audio``, ``audio-low``) and place.

    Listing a hundred folders is faster than checking 55,000 files one by one.

    Raises:
        ArtistidError: a track that appears twice in one kind.
    """
    kinds: dict[str, dict[str, Path]] = {kind: {} for kind in ENDINGS}
    kind_of = {ending: kind for kind, ending in ENDINGS.items()}
    for folder in (root / name / f"{number:02}" for name in JAMENDO_FOLDERS for number in range(100)):
        for path in folder.iterdir() if folder.is_dir() else ():
            track, dot, ending = path.name.partition(".")
            files = kinds.get(kind_of.get(dot + ending, ""))
            if files is None or not track.isdecimal():
                continue
            location = f"{folder.name}/{track}"
            if location in files:
                raise ArtistidError(f"the track {location} appears twice: {files[location]} and {path}; move one away")
            files[location] = path
    return kinds


def place_of(track_id: str) -> str:
    """Place of a track in the data set: its number, in the folder of the number's last two digits.

    Example:
        >>> place_of("track_0000214")
        '14/214'
    """
    number = int(track_id.removeprefix("track_"))
    return f"{number % 100:02}/{number}"


def read_table(path: Path) -> list[JamendoRow]:
    """The tracks of an official table: tab-separated, each tag in a cell of its own, plain or gzipped.

    Raises:
        ArtistidError: no such file, columns missing, a cell of another form, a path that is not the track's (one that
            leaves the root, for instance), or a track that appears twice.
    """
    lines = _lines(path, "a table such as autotagging.tsv")
    columns = next(lines, "").split("\t")
    if tuple(columns[: len(TABLE_COLUMNS)]) != TABLE_COLUMNS:
        raise ArtistidError(
            f"{path} is not a table of MTG-Jamendo: expected the columns {', '.join(TABLE_COLUMNS)}, TAGS; "
            f"found {columns[:8]}"
        )
    rows: dict[str, JamendoRow] = {}
    for number, line in enumerate(lines, start=2):
        if not (match := LINE.fullmatch(line)):
            raise ArtistidError(f"{path}, line {number}: {_first_fault(line)}")
        track_id, artist, album, file, seconds, tags = match.groups("")
        if file != f"{place_of(track_id)}.mp3":
            raise ArtistidError(f"{path}, line {number}: PATH is {file}, expected {place_of(track_id)}.mp3")
        if track_id in rows:
            raise ArtistidError(f"{path}, line {number}: the track {track_id} appears twice")
        rows[track_id] = JamendoRow(track_id, artist, album, float(seconds), tuple(filter(None, tags.split("\t"))))
    return list(rows.values())


def _first_fault(line: str) -> str:
    """What is wrong with a line of the table."""
    cells = line.split("\t")
    if len(cells) < len(TABLE_COLUMNS):
        return f"expected {len(TABLE_COLUMNS)} cells or more, found {len(cells)}"
    return next(
        f"{name} is {cell!r}, expected the form {shape}"
        for name, cell, shape in zip(TABLE_COLUMNS, cells, COLUMN_PATTERNS, strict=False)
        if not re.fullmatch(shape, cell)
    )


def read_titles(path: Path) -> dict[str, str]:
    """Titles ``artist – album – track`` by track id, from ``raw.meta.tsv``; empty without that file.

    The file has no quoting; where a line has extra cells, the track's name contains tabs.

    Raises:
        ArtistidError: a line with too few cells.
    """
    titles: dict[str, str] = {}
    if not path.is_file():
        return titles
    for number, line in enumerate(_lines(path, NAMES_FILE), start=1):
        cells = line.split("\t")
        if len(cells) < NAMES_CELLS:
            raise ArtistidError(f"{path}, line {number}: expected {NAMES_CELLS} cells, found {len(cells)}")
        track_id, _artist_id, _album_id, *name, artist, album, _date, _url = cells
        titles[track_id] = " – ".join((artist, album, " ".join(filter(None, name))))
    return titles


def _lines(path: Path, what: str) -> Iterator[str]:
    """The non-empty lines of a text file, without line ends; UTF-8 with or without a BOM, also gzipped."""
    if not path.is_file():
        raise ArtistidError(f"{path} is not a file; expected {what} there")
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        text = file.read().decode("utf-8-sig", "replace")
    return filter(None, (line.rstrip("\r") for line in text.split("\n")))
