from __future__ import annotations

import hashlib
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from artistid.data.catalog import Catalog, Track, folded
from artistid.data.splits import AlbumSplit, FileSplit, JackknifeSplit, SongSplit, Split
from artistid.errors import ArtistidError

PAPER_SEEDS = (0, 21, 42)


def discography(songs: dict[str, list[int]]) -> Catalog:
    """A catalog with so many songs on each album of each artist; every recording another one."""
    names = (
        (artist, f"album {album}", f"song {song}")
        for artist, albums in songs.items()
        for album, count in enumerate(albums)
        for song in range(count)
    )
    return Catalog(Track("/".join(name), *name, Path("/".join(name)), 1.0, "-".join(name)) for name in names)


SMALL = discography({"a": [3, 2, 4], "b": [1, 1, 1, 1], "c": [2, 2, 2]})


def artist20_sized() -> Catalog:
    """1,413 tracks on six albums by each of twenty artists, unevenly."""
    counts = [62 + 9 * (number % 3) for number in range(20)]
    counts[-1] += 1413 - sum(counts)
    return discography(
        {
            f"artist {number}": [count // 6 + (album < count % 6) for album in range(6)]
            for number, count in enumerate(counts)
        }
    )


def songs_of(split: Split, catalog: Catalog, subset: str) -> Counter[str]:
    return Counter(track.artist for track in split.select(catalog, subset))


@pytest.mark.parametrize("seed", PAPER_SEEDS)
def test_song_split_has_the_papers_sizes(seed: int) -> None:
    catalog = artist20_sized()
    split = SongSplit().draw(catalog, seed)
    split.check(catalog)
    assert Counter(split.subsets.values()) == {"train": 1143, "val": 128, "test": 142}
    total = Counter(track.artist for track in catalog)
    test, val = songs_of(split, catalog, "test"), songs_of(split, catalog, "val")
    for artist, count in total.items():
        assert abs(test[artist] - 0.1 * count) < 1, artist
        assert abs(val[artist] - 0.1 * (count - test[artist])) < 1, artist


def test_song_split_gives_every_artist_every_part() -> None:
    catalog = discography({f"artist {count}": [count] for count in (3, 4, 5, 9, 10, 11, 19, 100)})
    split = SongSplit().draw(catalog, 0)
    for subset in ("train", "val", "test"):
        assert min(songs_of(split, catalog, subset)[artist] for artist in catalog.artists) >= 1
    assert songs_of(split, catalog, "test")["artist 100"] == 10


@pytest.mark.parametrize(("share", "songs", "n_test"), [(0.1, 15, 3), (0.1, 16, 4), (0.4, 15, 12), (0.07, 50, 7)])
def test_song_split_rounds_the_whole_up(share: float, songs: int, n_test: int) -> None:
    split = SongSplit(share=share).draw(discography({"a": [songs], "b": [songs]}), 0)
    assert Counter(split.subsets.values())["test"] == n_test


@pytest.mark.parametrize("share", [0, 0.5, -1, 10])
def test_song_split_refuses_a_share_that_is_none(share: float) -> None:
    with pytest.raises(ArtistidError, match=r"split\.share="):
        SongSplit(share=share).draw(SMALL, 0)


@pytest.mark.parametrize("seed", PAPER_SEEDS)
def test_album_split_takes_one_album_each(seed: int) -> None:
    catalog = artist20_sized()
    split = AlbumSplit().draw(catalog, seed)
    split.check(catalog)
    subsets = {subset: split.select(catalog, subset).albums for subset in ("train", "val", "test")}
    for artist, albums in catalog.albums.items():
        assert [len(subsets[subset][artist]) for subset in ("train", "val", "test")] == [4, 1, 1]
        assert sorted(sum((subsets[subset][artist] for subset in subsets), ())) == list(albums)


def test_album_split_keeps_to_the_artist() -> None:
    catalog = artist20_sized()
    split = AlbumSplit().draw(catalog, 0)
    few = catalog.select(artists=["artist 3", "artist 17"])
    assert AlbumSplit().draw(few, 0).subsets == {track.track_id: split.subsets[track.track_id] for track in few}


@pytest.mark.parametrize("rule", [AlbumSplit(), SongSplit()])
def test_the_seed_draws(rule: AlbumSplit | SongSplit) -> None:
    catalog = artist20_sized()
    drawn = [rule.draw(catalog, seed) for seed in (*PAPER_SEEDS, 0)]
    assert drawn[0] == drawn[3]
    assert drawn[0].subsets != drawn[1].subsets != drawn[2].subsets
    assert [split.seed for split in drawn] == [0, 21, 42, 0]


@pytest.mark.parametrize("rule", [AlbumSplit(), SongSplit()])
def test_the_order_of_the_tracks_does_not_matter(rule: AlbumSplit | SongSplit) -> None:
    catalog = artist20_sized()
    assert rule.draw(Catalog(reversed(catalog.tracks)), 7).subsets == rule.draw(catalog, 7).subsets


def test_pythons_hash_seed_does_not_matter() -> None:
    program = (
        "from artistid.data.splits import AlbumSplit, JackknifeSplit, SongSplit\n"
        "from tests.data.splits.test_split import SMALL\n"
        "for rule in AlbumSplit(), SongSplit(), JackknifeSplit(n_folds=3):\n"
        "    print(sorted(rule.draw(SMALL, 0).subsets.items()))\n"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[3],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    rules = (AlbumSplit(), SongSplit(), JackknifeSplit(n_folds=3))
    here = [sorted(rule.draw(SMALL, 0).subsets.items()) for rule in rules]
    assert printed == {"".join(f"{subsets}\n" for subsets in here)}


@pytest.mark.parametrize("rule", [AlbumSplit(), SongSplit()])
def test_a_seed_below_zero(rule: AlbumSplit | SongSplit) -> None:
    with pytest.raises(ArtistidError, match="seed=-1: expected"):
        rule.draw(SMALL, -1)


def test_artists_with_too_few_albums_are_named() -> None:
    catalog = discography({"a": [1, 1, 1], "b": [9, 9], "c": [9]})
    with pytest.raises(ArtistidError, match=r"needs 3 albums.* 2 of 3 .*: b \(2\), c \(1\)\ndata\.min_albums=3"):
        AlbumSplit().draw(catalog, 0)
    AlbumSplit().draw(catalog.select(min_albums=3), 0)


def test_artists_with_too_few_songs_are_named() -> None:
    catalog = discography({"a": [3], "b": [1, 1], "c": [1]})
    with pytest.raises(ArtistidError, match=r"needs 3 songs.* 2 of 3 .*: b \(2\), c \(1\)\ndata\.min_songs=3"):
        SongSplit().draw(catalog, 0)
    SongSplit().draw(catalog.select(min_songs=3), 0)


def test_loose_tracks_are_for_the_song_split() -> None:
    loose = Catalog([*SMALL, Track("a/stray", "a", "", "stray", Path("a/stray"))])
    with pytest.raises(ArtistidError, match=r"split=album.*1 track lies .*: a/stray; split=song takes them"):
        AlbumSplit().draw(loose, 0)
    assert "a/stray" in SongSplit().draw(loose, 0).subsets


def moved(split: Split, track_id: str, subset: str) -> Split:
    return replace(split, subsets={**split.subsets, track_id: subset})


def first(split: Split, subset: str) -> str:
    return min(track_id for track_id, its_part in split.subsets.items() if its_part == subset)


def test_check_finds_an_album_in_two_parts() -> None:
    split = AlbumSplit().draw(SMALL, 0)
    leaking = moved(split, next(t for t in sorted(split.subsets) if t[0] == "a" and split.subsets[t] == "val"), "test")
    with pytest.raises(
        ArtistidError, match=r"1 album is in more than one subset of the split: a/album .*\(test\).*\(val\)"
    ):
        leaking.check(SMALL)
    replace(leaking, rule="song").check(SMALL)


def test_equal_album_titles_of_two_artists_are_two_albums() -> None:
    split = AlbumSplit().draw(SMALL, 0)
    assert {track.album for track in SMALL if track.artist == "a"} & {t.album for t in SMALL if t.artist == "b"}
    split.check(SMALL)


def test_check_finds_one_recording_under_two_names() -> None:
    split = SongSplit().draw(SMALL, 0)
    one, other = first(split, "train"), first(split, "test")
    twins = Catalog(replace(t, sha1="same") if t.track_id in (one, other) else t for t in SMALL)
    with pytest.raises(ArtistidError, match="1 recording is in more than one subset") as error:
        split.check(twins)
    assert f"{one} (train)" in str(error.value)
    assert f"{other} (test)" in str(error.value)
    assert "data.exclude" in str(error.value)
    moved(split, other, "train").check(twins)


def test_tracks_without_a_digest_are_not_one_recording() -> None:
    SongSplit().draw(SMALL, 0).check(Catalog(replace(track, sha1=None) for track in SMALL))


def test_check_finds_an_empty_part() -> None:
    split = SongSplit().draw(SMALL, 0)
    without = replace(
        split, subsets={name: "train" if subset == "val" else subset for name, subset in split.subsets.items()}
    )
    with pytest.raises(ArtistidError, match="no tracks for val"):
        without.check(SMALL)
    with pytest.raises(ArtistidError, match="no tracks for train and val and test"):
        Split({}, "file", None).check(SMALL)


def test_check_finds_an_artist_who_is_not_trained() -> None:
    split = SongSplit().draw(SMALL, 0)
    subsets = {name: "test" if name.startswith("b/") else subset for name, subset in split.subsets.items()}
    with pytest.raises(ArtistidError, match=r"no training tracks of b$"):
        replace(split, subsets=subsets).check(SMALL)


@pytest.mark.parametrize("rule", [AlbumSplit(), SongSplit()])
def test_file_round_trip(rule: AlbumSplit | SongSplit, tmp_path: Path) -> None:
    split = rule.draw(SMALL, 21)
    split.to_csv(tmp_path / "split.csv")
    assert Split.from_csv(tmp_path / "split.csv") == split
    assert FileSplit(path=str(tmp_path / "split.csv")).draw(SMALL, seed=5) == split


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("\ufeffpart,track_id,note\ntrain,Bjo\u0308rk/1/x,hello\ntest,a/1/x,\n", encoding="utf-8")
    assert Split.from_csv(path) == Split({"Bj\u00f6rk/1/x": "train", "a/1/x": "test"}, "file", None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "split.path=.* does not exist"),
        ("track,subset\na,train\n", "lacks the columns track_id; found"),
        ("track_id,subset\na,train\nb,dev\n", "the track 'b'=dev: expected one of train, val, test"),
        ("track_id,subset\na,train\na,test\n", "'a' appears twice"),
        ("track_id,subset\na\n", "line 2: expected 2 cells"),
        ("track_id,subset,rule,seed\na,train,song,x\n", "seed 'x' is not a whole number"),
    ],
)
def test_a_file_that_is_no_split(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "split.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ArtistidError, match=message) as error:
        FileSplit(path=path).draw(SMALL, 0)
    assert str(path) in str(error.value)


def test_a_file_names_tracks_that_are_not_there(tmp_path: Path) -> None:
    SongSplit().draw(SMALL, 0).to_csv(tmp_path / "split.csv")
    fewer = SMALL.select(exclude=["a/album 0/song 0"])
    with pytest.raises(ArtistidError, match=r"names 1 track that the collection does not have: a/album 0/song 0$"):
        FileSplit(path=tmp_path / "split.csv").draw(fewer, 0)


def test_tracks_that_a_file_does_not_name_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fewer = SMALL.select(exclude=["a/album 0/song 0"])
    SongSplit().draw(fewer, 0).to_csv(tmp_path / "split.csv")
    split = FileSplit(path=tmp_path / "split.csv").draw(SMALL, 0)
    assert sum(len(split.select(SMALL, subset)) for subset in ("train", "val", "test")) == len(fewer)
    assert "left out 1 track " in caplog.text
    assert "a/album 0/song 0" in caplog.text


# Of each album two songs are under another spelling; of the last artist's no album is spelled twice.
SPELLINGS = {"First": "FIRST", "Días": "Dias", "The  Third": "the third", "IV": "Iv"}
SPELLED = Catalog(
    Track(f"{artist}/{album}/{song}", artist, album, f"{song}", Path(f"{artist}/{album}/{song}"), 1.0)
    for artist in ("a", "b", "c")
    for name, other in SPELLINGS.items()
    for song, album in enumerate((name, name, *([other, other] if artist != "c" else [])))
)


def spellings_apart(split: Split, subsets: tuple[str, ...]) -> list[tuple[str, str]]:
    """Albums that are in several subsets, one of them among ``subsets``."""
    found: dict[tuple[str, str], set[str]] = {}
    for track in SPELLED:
        found.setdefault(track.album_key, set()).add(split.subsets[track.track_id])
    return [album for album, of_album in found.items() if len(of_album) > 1 and of_album & set(subsets)]


@pytest.mark.parametrize(
    ("rule", "apart"),
    [
        (AlbumSplit(), ("val", "test")),
        (AlbumSplit(validation="song"), ("test",)),
        *((JackknifeSplit(n_folds=4, fold=fold), ("test",)) for fold in range(4)),
    ],
)
def test_no_seed_takes_the_spellings_of_an_album_apart(
    rule: AlbumSplit | JackknifeSplit, apart: tuple[str, ...]
) -> None:
    drawn = [rule.draw(SPELLED, seed) for seed in range(50)]
    assert [spellings_apart(split, apart) for split in drawn] == 50 * [[]]
    assert len({tuple(sorted(split.subsets.items())) for split in drawn}) > 25, "else the seed draws nothing"


@pytest.mark.parametrize(
    ("rule", "digest"),
    [
        (AlbumSplit(), "b4358ef21549d1d0"),
        (AlbumSplit(validation="song"), "9a2cfeb8dc3f4ead"),
        (JackknifeSplit(n_folds=6, fold=2), "64adbc0a8a180f0d"),
    ],
)
def test_where_albums_are_spelled_once_splits_are_what_they_were(
    rule: AlbumSplit | JackknifeSplit, digest: str
) -> None:
    """The digests are of the splits drawn when every spelling was an album of its own."""
    drawn = [sorted(rule.draw(artist20_sized(), seed).subsets.items()) for seed in PAPER_SEEDS]
    assert hashlib.sha256(repr(drawn).encode()).hexdigest()[:16] == digest


def test_spellings_count_once_as_albums() -> None:
    assert SPELLED.albums["a"] == SPELLED.albums["b"] == ("Dias", "FIRST", "IV", "The  Third")
    assert SPELLED.albums["c"] == ("Días", "First", "IV", "The  Third")
    assert SPELLED.select(min_albums=4).artists == ("a", "b", "c")
    with pytest.raises(ArtistidError, match="the most that one of them has: 4 albums"):
        SPELLED.select(min_albums=5)
    two = SPELLED.select(exclude=[name.track_id for name in SPELLED if folded(name.album) in ("first", "dias")])
    with pytest.raises(ArtistidError, match=r"needs 3 albums of every artist.*a \(2\), b \(2\), c \(2\)"):
        AlbumSplit().draw(two, 0)


@pytest.mark.parametrize("rule", ["file", "album", "canonical", "jackknife"])
def test_a_split_from_elsewhere_that_takes_spellings_apart_is_warned_of(
    rule: str, caplog: pytest.LogCaptureFixture
) -> None:
    part_of = {"FIRST": "test", "IV": "val", "Iv": "val"}
    subsets = {track.track_id: part_of.get(track.album, "train") for track in SPELLED}
    Split(subsets, rule, None).warn_of_spellings(SPELLED)
    assert "differ in case, accents or blanks: 2 albums" in caplog.text
    assert "a: FIRST (test) = First (train), b: FIRST (test) = First (train)" in caplog.text


def test_a_song_split_shares_albums_on_purpose(caplog: pytest.LogCaptureFixture) -> None:
    for seed in range(20):
        split = SongSplit().draw(SPELLED, seed)
        split.check(SPELLED)
        split.warn_of_spellings(SPELLED)
    assert not caplog.records


def test_slashes_in_names_make_no_album_another_ones() -> None:
    """AC with an album DC/x, and AC/DC with an album x, are two albums."""
    albums = {"AC": ("DC/x", "y", "z"), "AC/DC": ("x", "y", "z")}
    catalog = Catalog(
        Track(f"{number}-{place}", artist, album, "", Path(f"{number}-{place}"))
        for number, (artist, names) in enumerate(albums.items())
        for place, album in enumerate(names)
    )
    subsets = {"0-0": "test", "0-1": "val", "0-2": "train", "1-0": "train", "1-1": "test", "1-2": "val"}
    Split(subsets, "album", 0).check(catalog)
    for seed in range(10):
        AlbumSplit().draw(catalog, seed).check(catalog)
    same = Catalog(replace(track, album="y") if track.track_id == "0-0" else track for track in catalog)
    with pytest.raises(ArtistidError, match=r"1 album is in more than one subset.*: 0-0 \(test\), 0-1 \(val\)$"):
        Split(subsets, "album", 0).check(same)
