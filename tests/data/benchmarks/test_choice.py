from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from artistid.data.benchmarks import choice
from artistid.data.benchmarks.lists import require_published
from artistid.data.sources.mtg_jamendo import JamendoRow, read_table
from artistid.errors import ArtistidError
from tests.data.jamendo import SHARED_TABLE, collection, row


def numbers(rows: Iterable[JamendoRow]) -> list[int]:
    return sorted(int(entry.track_id.removeprefix("track_")) for entry in rows)


def test_a_best_of_and_a_sampler_are_compilations() -> None:
    first = [row(1, 1, 1, 100.0), row(2, 1, 1, 110.0), row(3, 1, 1, 120.0)]
    best_of = [row(4, 1, 2, 100.0), row(5, 1, 2, 110.0), row(6, 1, 2, 130.0)]
    half_new = [row(7, 1, 3, 100.0), row(8, 1, 3, 140.0)]
    sampler = [row(9, 1, 4, 150.0), row(10, 2, 4, 160.0)]
    assert numbers(choice.without_compilations([*first, *best_of, *half_new, *sampler])) == [1, 2, 3, 7, 8]


def test_of_an_artists_equal_lengths_the_first_stays() -> None:
    rows = [row(3, 1, 2, 100.0, ("genre---rock",)), row(1, 1, 1, 100.0), row(2, 1, 1, 100.1), row(4, 2, 3, 100.0)]
    assert numbers(choice.without_repeats(rows)) == [1, 2, 4]


def test_of_two_artists_with_an_album_in_common_the_first_stays() -> None:
    album = [row(number, 1, 1, 100.0 + number) for number in range(4)]
    same = [row(10 + number, 2, 2, 100.0 + number) for number in range(3)]
    more = [row(20, 2, 3, 300.0)]
    two_alike = [row(30 + number, 3, 4, 100.0 + number) for number in range(2)]
    part_of_many = [row(40 + number, 4, 5, 100.0 + number) for number in range(1, 10)]
    rows = choice.without_shared_albums([*album, *same, *more, *two_alike, *part_of_many])
    assert numbers(rows) == [0, 1, 2, 3, 30, 31, *range(41, 50)]


def test_of_two_artists_with_a_track_in_common_the_first_has_it() -> None:
    tags = ("genre---rock", "instrument---piano")
    rows = [row(2, 2, 2, 100.0, tags), row(1, 1, 1, 100.0, tags[::-1]), row(3, 3, 3, 100.0), row(4, 4, 4, 100.1, tags)]
    assert numbers(choice.without_shared_tracks(rows)) == [1, 3, 4]


def test_short_tracks_and_mixes_are_left_out() -> None:
    rows = [row(number, 1, 1, seconds) for number, seconds in enumerate((59.9, 60.0, 1200.0, 1200.1))]
    assert numbers(choice.of_usual_length(rows)) == [1, 2]


def test_albums_and_artists_need_enough() -> None:
    rows = [
        *(row(number, 1, number // 3) for number in range(18)),
        *(row(number, 2, number // 2) for number in (20, 21)),
    ]
    assert numbers(choice.on_large_albums(rows)) == list(range(18))
    assert numbers(choice.by_productive_artists(rows)) == list(range(18))
    assert choice.by_productive_artists(rows[:15]) == []


@pytest.fixture(scope="module")
def chosen() -> choice.Choice:
    return choice.choose(collection(artists=210, albums=7))


def test_the_benchmarks_have_their_shape(chosen: choice.Choice) -> None:
    small, large = chosen.benchmarks
    for benchmark, artists in ((small, 20), (large, 200)):
        albums = {(entry.artist, entry.album) for entry in benchmark.entries}
        assert len({entry.artist for entry in benchmark.entries}) == artists
        assert len(albums) == 6 * artists
        assert len(benchmark.entries) == 3 * 6 * artists
    assert set(small.entries) < set(large.entries)


def test_the_order_of_the_rows_does_not_matter(chosen: choice.Choice) -> None:
    rows = list(chosen.table)
    random.Random(0).shuffle(rows)
    assert choice.choose(rows).benchmarks == chosen.benchmarks


def test_too_small_a_table() -> None:
    with pytest.raises(ArtistidError, match="leave 199 artists of 3,582 tracks, 200 are needed"):
        choice.choose(collection(artists=199))


def test_the_statistics_count_what_is_there(chosen: choice.Choice) -> None:
    assert "| the whole table | 210 | 1470 | 4410 | " in choice.of_rules(chosen)
    assert "| by productive artists | 210 | 1470 | 4410 | " in choice.of_rules(chosen)
    assert "| jamendo20 | 20 | 120 | 360 | " in choice.of_benchmarks(chosen)
    assert " | 6 | 3, 3, 3 | 18, 18, 18 |" in choice.of_benchmarks(chosen)
    splits = choice.of_splits(chosen).splitlines()
    assert len(splits) == 2 + 2 * 3
    assert splits[2].startswith("| jamendo20 | 0 | 240 tracks, ")
    assert splits[2].count("60 tracks, ") == 2


@pytest.mark.skipif(not SHARED_TABLE.is_file(), reason="the table of MTG-Jamendo is not here")
def test_the_real_table_gives_the_shipped_lists() -> None:
    require_published(choice.choose(read_table(SHARED_TABLE)).benchmarks)
