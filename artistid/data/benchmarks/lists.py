"""The shipped lists of the benchmarks: which tracks, and in which part of the album split."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from artistid.data.catalog import Catalog, Track
from artistid.data.splits import AlbumSplit, Split
from artistid.errors import ArtistidError, require_choice
from artistid.writing import write_text

BENCHMARKS = ("jamendo20", "jamendo200")
SPLIT_SEEDS = (0, 21, 42)  # of the paper's three trials
LIST_COLUMNS = ("track_id", "artist", "album", *(f"seed_{seed}" for seed in SPLIT_SEEDS))
FOLDER = Path(__file__).parent
CHECKSUMS = "SHA256SUMS"


class BenchmarkTrack(NamedTuple):
    """A track of a benchmark.

    Attributes:
        track_id, artist, album: the data set's identifiers.
        subsets: train, val or test, for each of :data:`SPLIT_SEEDS`.
    """

    track_id: str
    artist: str
    album: str
    subsets: tuple[str, ...]


@dataclass(frozen=True)
class Benchmark:
    """A list of tracks with their album splits.

    Attributes:
        name: one of :data:`BENCHMARKS`.
        entries: sorted by track id.
    """

    name: str
    entries: tuple[BenchmarkTrack, ...]

    @classmethod
    def draw(cls, name: str, tracks: Iterable[tuple[str, str, str]]) -> Benchmark:
        """The benchmark of the tracks (track id, artist, album), split by the package's own rule."""
        catalog = Catalog(Track(*identifiers, title="", path=Path()) for identifiers in tracks)
        subsets = [AlbumSplit().draw(catalog, seed).subsets for seed in SPLIT_SEEDS]
        return cls(
            name,
            tuple(
                BenchmarkTrack(
                    track.track_id, track.artist, track.album, tuple(drawn[track.track_id] for drawn in subsets)
                )
                for track in catalog
            ),
        )

    @classmethod
    def load(cls, name: str) -> Benchmark:
        """A benchmark that is shipped with the package.

        Raises:
            ArtistidError: an unknown name, or a list that differs from the published one.
        """
        require_choice("data.benchmark", name, BENCHMARKS)
        text = (FOLDER / f"{name}.csv").read_text(encoding="utf-8")
        expected, found = published_checksum(name), checksum(text)
        if found != expected:
            raise ArtistidError(
                f"{FOLDER / name}.csv has been changed: its SHA-256 is {found}, that of the published list {expected}; "
                "install the package again"
            )
        _, *rows = csv.reader(io.StringIO(text))
        return cls(
            name,
            tuple(
                BenchmarkTrack(track_id, artist, album, tuple(subsets)) for track_id, artist, album, *subsets in rows
            ),
        )

    def split(self, seed: int) -> Split:
        """The published album split of a seed, one of :data:`SPLIT_SEEDS`."""
        index = SPLIT_SEEDS.index(seed)
        return Split({entry.track_id: entry.subsets[index] for entry in self.entries}, "album", seed)

    def to_csv(self) -> str:
        """The list as shipped, with a line per track."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(LIST_COLUMNS)
        writer.writerows((entry.track_id, entry.artist, entry.album, *entry.subsets) for entry in self.entries)
        return file.getvalue()


def checksum(text: str) -> str:
    """SHA-256 of a list's text in UTF-8 with line feeds, whatever line ends the file has."""
    return hashlib.sha256(text.encode()).hexdigest()


def published_checksum(name: str) -> str:
    """The SHA-256 that the shipped list of a benchmark must have."""
    lines = (FOLDER / CHECKSUMS).read_text(encoding="utf-8").splitlines()
    return {file: digest for digest, file in map(str.split, lines)}[f"{name}.csv"]


def require_published(benchmarks: Iterable[Benchmark]) -> None:
    """Raises ArtistidError if benchmarks differ from those of the package."""
    changed = [item.name for item in benchmarks if checksum(item.to_csv()) != published_checksum(item.name)]
    if changed:
        raise ArtistidError(
            f"{' and '.join(changed)} differ from the published lists, which were chosen from the 55,525 tracks of the "
            "three official files splits/split-0/autotagging-{train,validation,test}.tsv"
        )


def write(benchmarks: Iterable[Benchmark], folder: Path) -> None:
    """Write the lists and their checksums, in the form that ``sha256sum --check`` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    sums = []
    for benchmark in benchmarks:
        text = benchmark.to_csv()
        write_text(folder / f"{benchmark.name}.csv", text)
        sums.append(f"{checksum(text)}  {benchmark.name}.csv\n")
    write_text(folder / CHECKSUMS, "".join(sums))
