"""What the benchmarks hold, as Markdown tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from statistics import median

from artistid.data.benchmarks.choice import Choice
from artistid.data.benchmarks.lists import SEEDS
from artistid.data.splits import SUBSETS


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
    """The size of each benchmark; several numbers are the least, the median and the most."""
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
        for seed in SEEDS:
            split = benchmark.split(seed)
            seconds = {
                part: [lengths[name] for name in split.subsets if split.subsets[name] == part] for part in SUBSETS
            }
            cells = (f"{len(seconds[part])} tracks, {_hours(seconds[part])} h" for part in SUBSETS)
            rows.append((benchmark.name, seed, *cells))
    return _table(("", "seed", *SUBSETS), rows)


def _hours(seconds: Iterable[float]) -> str:
    return f"{sum(seconds) / 3600:.1f}"


def _spread(counts: Collection[int]) -> str:
    return f"{min(counts)}, {median(counts):g}, {max(counts)}"


def _table(columns: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    lines = (columns, ("---",) * len(columns), *rows)
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in lines)
