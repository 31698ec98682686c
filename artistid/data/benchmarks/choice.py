"""How the benchmarks' tracks are chosen: from the data set's table and a seed alone, so that anyone can repeat it.

The table has lengths to a tenth of a second, and no audio. A copy is as long as its original, so equal lengths count as
copies. Within an artist they always do: of 6,917 such pairs about 1,050 are chance, the number of pairs whose lengths
are 0.3 s apart. Between artists most are chance, so the tags must be equal, too, or half an album's lengths. Copies of
another length, or with other tags under another artist's name, cannot be told from the table.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import median
from typing import TypeVar

from artistid.data.benchmarks.lists import SPLIT_SEEDS, Benchmark
from artistid.data.sources.mtg_jamendo import JamendoRow
from artistid.data.splits import SUBSETS
from artistid.errors import ArtistidError, counted

SEED = 0
SIZES = {"jamendo20": 20, "jamendo200": 200}  # artists
ALBUMS_PER_ARTIST = 6  # of each artist, as in artist20
MIN_TRACKS = 3  # of an album
MIN_SECONDS, MAX_SECONDS = 60.0, 1200.0  # of a track; longer ones are mixes and whole concerts
MIN_SHARED = 3  # lengths that two albums must have in common to count as one

JamendoRows = Sequence[JamendoRow]
K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class Choice:
    """The benchmarks, and the steps that led to them.

    Attributes:
        table: what they were chosen from, sorted by track id.
        left: what is left of it after each rule, by the rule's name.
        benchmarks: in the order of :data:`SIZES`.
    """

    table: JamendoRows
    left: dict[str, JamendoRows]
    benchmarks: tuple[Benchmark, ...]


def choose(table: Iterable[JamendoRow]) -> Choice:
    """Choose the benchmarks from a table; the order of its rows does not matter.

    Raises:
        ArtistidError: the rules leave too few artists.
    """
    rows: JamendoRows = sorted(table, key=_track)
    choice = Choice(table=rows, left={"the_whole_table": rows}, benchmarks=())
    for rule in RULES:
        rows = choice.left[rule.__name__] = rule(rows)
    artists = _drawn(map(_artist, rows))
    if len(artists) < max(SIZES.values()):
        raise ArtistidError(
            f"the rules leave {counted(len(artists), 'artist')} of {counted(len(choice.table), 'track')}, "
            f"{max(SIZES.values())} are needed: expected the whole table of MTG-Jamendo"
        )
    by_artist = _grouped(rows, _artist)
    albums = {album for tracks in by_artist.values() for album in _drawn(map(_album, tracks))[:ALBUMS_PER_ARTIST]}
    benchmarks = (
        Benchmark.draw(name, (row[:3] for artist in artists[:size] for row in by_artist[artist] if row.album in albums))
        for name, size in SIZES.items()
    )
    return replace(choice, benchmarks=tuple(benchmarks))


def without_compilations(rows: JamendoRows) -> JamendoRows:
    """No albums by several artists, and none more than half of which repeats earlier tracks of its artist."""
    repeated = _repeated(rows)

    def is_compilation(tracks: JamendoRows) -> bool:
        return len(set(map(_artist, tracks))) > 1 or 2 * sum(row.track_id in repeated for row in tracks) > len(tracks)

    return [row for tracks in _grouped(rows, _album).values() if not is_compilation(tracks) for row in tracks]


def without_shared_albums(rows: JamendoRows) -> JamendoRows:
    """Without artists who share an album with one of lower id: at least half of the longer one's lengths agree.

    They are the same musician under another name, or have another's music.
    """
    lengths = {album: {row.seconds for row in tracks} for album, tracks in _grouped(rows, _album).items()}
    artist_of = {row.album: row.artist for row in rows}
    shared = Counter(
        pair
        for tracks in _grouped(rows, _seconds).values()
        for pair in combinations(sorted(set(map(_album, tracks))), 2)
        if artist_of[pair[0]] != artist_of[pair[1]]
    )
    out = {
        max(artist_of[album] for album in pair)
        for pair, count in shared.items()
        if count >= MIN_SHARED and 2 * count >= max(len(lengths[album]) for album in pair)
    }
    return [row for row in rows if row.artist not in out]


def without_repeats(rows: JamendoRows) -> JamendoRows:
    """Only the first of an artist's tracks of one length, which removes all bit-identical copies."""
    repeated = _repeated(rows)
    return [row for row in rows if row.track_id not in repeated]


def without_shared_tracks(rows: JamendoRows) -> JamendoRows:
    """Only the first artist's of several artists' tracks of one length with the same tags."""
    groups = _grouped(sorted(rows, key=_track), lambda row: (row.seconds, frozenset(row.tags))).values()
    return [row for tracks in groups for row in tracks if row.artist == tracks[0].artist]


def of_usual_length(rows: JamendoRows) -> JamendoRows:
    """Tracks from :data:`MIN_SECONDS` to :data:`MAX_SECONDS`."""
    return [row for row in rows if MIN_SECONDS <= row.seconds <= MAX_SECONDS]


def on_large_albums(rows: JamendoRows) -> JamendoRows:
    """Albums of which :data:`MIN_TRACKS` tracks or more are left."""
    return [row for tracks in _grouped(rows, _album).values() if len(tracks) >= MIN_TRACKS for row in tracks]


def by_productive_artists(rows: JamendoRows) -> JamendoRows:
    """Artists of whom :data:`ALBUMS_PER_ARTIST` albums or more are left."""
    groups = _grouped(rows, _artist).values()
    return [row for tracks in groups if len(set(map(_album, tracks))) >= ALBUMS_PER_ARTIST for row in tracks]


RULES: tuple[Callable[[JamendoRows], JamendoRows], ...] = (
    without_compilations,
    without_shared_albums,
    without_repeats,
    without_shared_tracks,
    of_usual_length,
    on_large_albums,
    by_productive_artists,
)


def _drawn(names: Iterable[str]) -> list[str]:
    """Names in pseudo-random order, by SHA-256 of the seed and the name, which no library's version changes."""
    return sorted(set(names), key=lambda name: hashlib.sha256(f"{SEED} {name}".encode()).digest())


def _repeated(rows: JamendoRows) -> set[str]:
    """The tracks with the length of an earlier track of their artist."""
    groups = _grouped(sorted(rows, key=_track), lambda row: (row.artist, row.seconds))
    return {row.track_id for tracks in groups.values() for row in tracks[1:]}


def _grouped(rows: JamendoRows, key: Callable[[JamendoRow], K]) -> dict[K, list[JamendoRow]]:
    groups: dict[K, list[JamendoRow]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return groups


def _track(row: JamendoRow) -> str:
    return row.track_id


def _artist(row: JamendoRow) -> str:
    return row.artist


def _album(row: JamendoRow) -> str:
    return row.album


def _seconds(row: JamendoRow) -> float:
    return row.seconds


def of_rules(choice: Choice) -> str:
    """How much of the table each rule leaves."""
    rows = (
        (
            rule.replace("_", " "),
            *(len({row.artist for row in left}), len({row.album for row in left}), len(left)),
            _hours(row.seconds for row in left),
        )
        for rule, left in choice.left.items()
    )
    return _table(("rule", "artists", "albums", "tracks", "hours"), rows)


def of_benchmarks(choice: Choice) -> str:
    """The size of each benchmark; three numbers are minimum, median and maximum."""
    rows = []
    seconds = {row.track_id: row.seconds for row in choice.table}
    for benchmark in choice.benchmarks:
        entries = benchmark.entries
        albums, artists = Counter(entry.album for entry in entries), Counter(entry.artist for entry in entries)
        rows.append(
            (
                benchmark.name,
                *(len(artists), len(albums), len(entries)),
                _hours(seconds[entry.track_id] for entry in entries),
                f"{len(albums) / len(artists):g}",
                _spread(albums.values()),
                _spread(artists.values()),
            )
        )
    return _table(
        ("", "artists", "albums", "tracks", "hours", "albums per artist", "tracks per album", "tracks per artist"), rows
    )


def of_splits(choice: Choice) -> str:
    """Tracks and hours of each part of the album split."""
    rows = []
    lengths = {row.track_id: row.seconds for row in choice.table}
    for benchmark in choice.benchmarks:
        for seed in SPLIT_SEEDS:
            split = benchmark.split(seed)
            seconds = {
                part: [lengths[name] for name in split.subsets if split.subsets[name] == part] for part in SUBSETS
            }
            cells = (f"{counted(len(seconds[part]), 'track')}, {_hours(seconds[part])} h" for part in SUBSETS)
            rows.append((benchmark.name, seed, *cells))
    return _table(("", "seed", *SUBSETS), rows)


def _hours(seconds: Iterable[float]) -> str:
    return f"{sum(seconds) / 3600:.1f}"


def _spread(counts: Collection[int]) -> str:
    return f"{min(counts)}, {median(counts):g}, {max(counts)}"


def _table(columns: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    lines = (columns, ("---",) * len(columns), *rows)
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in lines)
