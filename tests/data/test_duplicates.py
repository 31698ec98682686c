"""What is done about recordings in two subsets of a split, and how surely they are found."""

from __future__ import annotations

import csv
import logging
import time
import tracemalloc
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from artistid.data import duplicates
from artistid.data.audio import decode
from artistid.data.catalog import Catalog, Track
from artistid.data.descriptors import Descriptors
from artistid.data.duplicates import THRESHOLD, Fingerprints, find_duplicates, find_leakage
from artistid.data.features import LogMel
from artistid.data.sources.folder import Folder
from artistid.data.splits import Split
from artistid.data.store import Entry, Store, fill_store
from artistid.errors import ArtistidError
from artistid.synthesis.discography import Discography, record, recordings
from tests.corpus import write_audio
from tests.data.versions import RATE, VERSIONS, Samples
from tests.verbs import train

LogMelArray = npt.NDArray[np.float16]

MUSIC = Path(__file__).parents[2] / ".." / "shared" / "music"
REMASTER = VERSIONS["remastered"][0]
SONGS = Discography(n_artists=2, n_albums=3, n_songs=1, seconds=10.0)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two artists with three albums of one song, and a fourth with remasters of the second and third."""
    root = tmp_path_factory.mktemp("library")
    for number in (0, 1):
        for album in (0, 1, 2):
            samples = record(SONGS, number, album, 0)
            write(root / f"artist{number}" / f"album{album}" / "song.wav", samples)
            if album:
                write(root / f"artist{number}" / "best of" / f"song{album}.wav", REMASTER(samples))
    return root


# Of the best-of, one song trains and one validates.
SUBSETS = {
    f"artist{number}/{place}": subset
    for number in (0, 1)
    for place, subset in (
        ("album0/song", "train"),
        ("album1/song", "test"),
        ("album2/song", "val"),
        ("best of/song1", "val"),
        ("best of/song2", "train"),
    )
}


def write(path: Path, samples: Samples) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_audio(path, samples, RATE)


def write_split(path: Path, subsets: dict[str, str]) -> Path:
    path.write_text(
        "track_id,subset\n" + "".join(f"{name},{subset}\n" for name, subset in subsets.items()), encoding="utf-8"
    )
    return path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def opened(library: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Catalog, Store]:
    catalog = Folder(name="library", root=library).catalog()
    return fill_store(catalog, LogMel(), tmp_path_factory.mktemp("cache"), workers=0)


LEAKS = {
    (f"artist{number}/album{song}/song", f"artist{number}/best of/song{song}") for number in (0, 1) for song in (1, 2)
}


def test_warning_lists_the_pairs_and_changes_nothing(
    opened: tuple[Catalog, Store], caplog: pytest.LogCaptureFixture
) -> None:
    split = Split(SUBSETS, "file", None)
    with caplog.at_level(logging.WARNING):
        kept, leakage = find_leakage(split, *opened, "warn")
    assert kept == split
    assert {(pair.first, pair.second) for pair in leakage.pairs} == LEAKS
    assert all(0.7 < pair.score < 1 and -1.5 < pair.shift_s < -1.1 for pair in leakage.pairs)
    assert "4 pairs of near-identical recordings" in caplog.text
    for first, second in LEAKS:
        assert f"{first} ({SUBSETS[first]}) and {second} ({SUBSETS[second]})" in caplog.text


def test_dropping_keeps_the_test_part_whole(opened: tuple[Catalog, Store], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        kept, leakage = find_leakage(Split(SUBSETS, "file", None), *opened, "drop")
    dropped = ["artist0/best of/song1", "artist0/best of/song2", "artist1/best of/song1", "artist1/best of/song2"]
    assert list(leakage.dropped) == dropped
    assert kept.subsets == {name: subset for name, subset in SUBSETS.items() if name not in dropped}
    assert find_leakage(kept, *opened, "error")[1].pairs == ()
    assert "left out of training or validation, 4 tracks: artist0/best of/song1, " in caplog.text


def test_dropping_satisfies_the_check_for_equal_samples(opened: tuple[Catalog, Store]) -> None:
    catalog, store = opened
    copies = ("artist0/album1/song", "artist0/best of/song1")
    equal = Catalog(replace(track, sha1="equal") if track.track_id in copies else track for track in catalog)
    split = Split(SUBSETS, "file", None)
    with pytest.raises(ArtistidError, match="1 recording is in more than one subset"):
        split.check(equal)
    kept, leakage = find_leakage(split, equal, store, "drop")
    kept.check(equal)
    assert (leakage.pairs[0].first, leakage.pairs[0].second, leakage.pairs[0].score) == (*copies, 1.0)


def test_what_is_dropped_from_validation_drops_nothing_from_training(opened: tuple[Catalog, Store]) -> None:
    catalog, store = opened
    subsets = {
        "artist0/album0/song": "train",
        "artist0/album1/song": "test",
        "artist0/best of/song1": "val",
        "artist0/album2/song": "val",
    }
    # As if the validation's copy were there a third time, in training, under another song's name.
    third = "artist0/best of/song2"
    entries = store.entries | {third: store.entries["artist0/best of/song1"]}
    doubled = Store(store.folder, store.array, entries, store.features)
    _, leakage = find_leakage(Split(subsets | {third: "train"}, "file", None), catalog, doubled, "drop")
    assert len(leakage.pairs) == 3
    assert leakage.dropped == ("artist0/best of/song1", third)  # the third is the test's copy too
    # Where the test has another song, the validation's copy stays and the training's goes.
    subsets["artist0/album1/song"] = "train"
    subsets["artist0/album2/song"] = "test"
    _, leakage = find_leakage(Split(subsets | {third: "train"}, "file", None), catalog, doubled, "drop")
    assert leakage.dropped == ("artist0/album1/song", third)


def test_error_names_the_pairs_and_the_remedy(opened: tuple[Catalog, Store]) -> None:
    with pytest.raises(ArtistidError, match=r"4 pairs of .*split\.duplicates=drop.*best of/song1 \(val\)"):
        find_leakage(Split(SUBSETS, "file", None), *opened, "error")


def test_unknown_policy(opened: tuple[Catalog, Store]) -> None:
    with pytest.raises(ArtistidError, match=r"split\.duplicates=ask: expected one of warn, drop, error"):
        find_leakage(Split(SUBSETS, "file", None), *opened, "ask")


def test_unknown_policy_is_refused_before_the_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train(tmp_path / "nowhere", tmp_path / "run", "split.duplicates=ask")
    assert "split.duplicates=ask: expected" in capsys.readouterr().err


def test_one_part_may_have_copies(opened: tuple[Catalog, Store]) -> None:
    catalog, store = opened
    assert find_duplicates(catalog, store, dict.fromkeys(SUBSETS, "train")) == []


def test_the_order_of_the_store_does_not_matter(library: Path, opened: tuple[Catalog, Store], tmp_path: Path) -> None:
    catalog, store = opened
    backwards, other = list(reversed(catalog.tracks)), tmp_path / "cache"
    for number in range(1, len(backwards) + 1):  # a store that has grown from the last track on
        _, grown = fill_store(Catalog(backwards[:number]), LogMel(), other, workers=0)
    assert grown.entries != store.entries
    assert find_duplicates(catalog, grown, SUBSETS) == find_duplicates(catalog, store, SUBSETS)


def test_equal_samples_are_found_without_a_log_mel_and_however_short(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, round(0.6 * RATE)).astype(np.float32)
    for name in ("a/x/one", "a/y/two"):
        write(tmp_path / "music" / f"{name}.wav", noise)
    found = Folder(name="music", root=tmp_path / "music").catalog()
    split = Split({"a/x/one": "train", "a/y/two": "test"}, "file", None)
    catalog, log_mels = fill_store(found, LogMel(), tmp_path / "cache", workers=0)
    descriptors = replace(log_mels, features=Descriptors())
    for store in (log_mels, descriptors):
        with caplog.at_level(logging.WARNING):
            _, leakage = find_leakage(split, catalog, store, "warn")
        (pair,) = leakage.pairs
        assert (pair.first, pair.second, pair.score) == ("a/x/one", "a/y/two", 1.0)
        assert pair.overlap_s == pytest.approx(0.6)
        assert leakage.searched == (store is log_mels)
    assert "features=descriptors: near-identical recordings are not looked for" in caplog.text
    with pytest.raises(ArtistidError, match=r"split\.duplicates=drop needs features=logmel"):
        find_leakage(split, catalog, descriptors, "drop")


def test_a_run_tells_what_it_found(library: Path, tmp_path: Path) -> None:
    split = f"split.path={write_split(tmp_path / 'split.csv', SUBSETS)}"
    scores = train(library, tmp_path / "warned", "split=file", split)
    assert scores["duplicates"] == {"pairs": 4, "dropped": [], "searched": True}
    found = rows(tmp_path / "warned" / "duplicates.csv")
    assert {(row["first"], row["second"]) for row in found} == LEAKS
    assert [row["score"] for row in found] == sorted((row["score"] for row in found), reverse=True)
    assert {row["dropped"] for row in found} == {""}

    scores = train(library, tmp_path / "dropped", "split=file", split, "split.duplicates=drop")
    assert len(scores["duplicates"]["dropped"]) == 4
    assert scores["counts"]["test"]["songs"] == 2
    assert {row["dropped"] for row in rows(tmp_path / "dropped" / "duplicates.csv")} == {"train", "val"}
    assert {row["track_id"] for row in rows(tmp_path / "dropped" / "split.csv")}.isdisjoint(
        scores["duplicates"]["dropped"]
    )


@pytest.mark.parametrize("rule", ["album", "song"])
def test_every_rule_can_refuse(rule: str, library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train(library, tmp_path / "run", f"split={rule}", "split.duplicates=error")
    assert "near-identical recordings in two subsets" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def store_of(log_mels: dict[str, LogMelArray]) -> tuple[Catalog, Store]:
    """A catalog and a store of tracks that have a log-mel ``(frames, mel)`` and nothing else."""
    stops = np.cumsum([len(log_mel) for log_mel in log_mels.values()])
    entries = {
        name: Entry(path=name, start=stop - len(log_mel), frames=len(log_mel))
        for (name, log_mel), stop in zip(log_mels.items(), stops.tolist(), strict=True)
    }
    catalog = Catalog(Track(name, "", "", "", Path(name)) for name in log_mels)
    return catalog, Store(Path("store"), np.concatenate(list(log_mels.values())), entries, LogMel())


def made_songs() -> Iterator[tuple[str, Samples]]:
    """Half of the default discography: 96 songs of 20 s."""
    discography = Discography(n_albums=3)
    for song in recordings(discography):
        yield str(song.path), record(discography, song.artist, song.album, song.song)


def real_songs() -> Iterator[tuple[str, Samples]]:
    """The first minutes of real songs."""
    for path in sorted(MUSIC.rglob("*.mp3")):
        yield str(path.relative_to(MUSIC)), decode(path, RATE)


@pytest.mark.slow
@pytest.mark.parametrize(("music", "every"), [(made_songs, 3), (real_songs, 6)])
def test_precision_and_recall(
    music: Callable[[], Iterator[tuple[str, Samples]]],
    every: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All versions of every third or sixth song against all songs: what the threshold was chosen by, printed."""
    if music is real_songs and not MUSIC.is_dir():
        pytest.skip(f"no real music in {MUSIC}")
    log_mels: dict[str, LogMelArray] = {}
    for number, (name, samples) in enumerate(music()):
        log_mels[f"original/{name}"] = LogMel()(samples).astype(np.float16)
        if number % every == 0:
            for version, (make, _) in VERSIONS.items():
                log_mels[f"{version}/{name}"] = LogMel()(make(samples)).astype(np.float16)
    catalog, store = store_of(log_mels)
    subsets = {name: "train" if name.startswith("original/") else "test" for name in log_mels}
    monkeypatch.setattr(duplicates, "THRESHOLD", 0.0)
    scores: dict[str, list[float]] = defaultdict(list)
    for pair in find_duplicates(catalog, store, subsets):
        names = sorted((pair.first, pair.second), key=subsets.__getitem__)  # of the version, then of the original
        (version, song), (_, other) = (name.split("/", 1) for name in names)
        scores[version if song == other else "another song"].append(pair.score)

    n_versions = sum(subset == "test" for subset in subsets.values()) // len(VERSIONS)
    wrong = scores.pop("another song", [])
    with capsys.disabled():
        print(f"\n{n_versions} of {len(log_mels) - n_versions * len(VERSIONS)} songs in {len(VERSIONS)} versions each")
        for version in VERSIONS:
            found = scores[version]
            recall = sum(score >= THRESHOLD for score in found) / n_versions
            print(f"{version:32} recall {recall:.3f}, lowest score of {len(found)}: {min(found, default=0.0):.3f}")
        true = [score for found in scores.values() for score in found if score >= THRESHOLD]
        false = [score for score in wrong if score >= THRESHOLD]
        print(f"precision {len(true) / len(true + false):.4f}, recall {len(true) / n_versions / len(VERSIONS):.4f}")
        print(f"elected pairs of different songs: {len(wrong)}, score {max(wrong, default=0.0):.3f} at most")
    assert len(true) / len(true + false) > 0.99
    assert len(true) / n_versions / len(VERSIONS) > 0.97


@pytest.mark.slow
def test_artist20s_size_takes_little_memory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    n_tracks, n_frames, n_mels = 1413, 7501, 128
    path, generator = tmp_path / "features", np.random.default_rng(0)
    try:
        with path.open("wb") as file:
            for _ in range(n_tracks):
                generator.uniform(-80, 0, (n_frames, n_mels)).astype(np.float16).tofile(file)
        array = np.memmap(path, np.float16, "r", shape=(n_tracks, n_frames, n_mels))
        tracemalloc.start()
        start = time.process_time()
        found = list(Fingerprints(array, LogMel()).matches(np.arange(n_tracks) % 10))
        seconds, megabytes = time.process_time() - start, tracemalloc.get_traced_memory()[1] / 1e6
        with capsys.disabled():
            print(f"\n{n_tracks} songs of 240 s: {seconds:.1f} s of one core, {megabytes:.0f} MB at most")
        assert megabytes < 1000
        assert all(match.score < THRESHOLD for match in found)
    finally:
        tracemalloc.stop()
        path.unlink()  # 2.7 GB
