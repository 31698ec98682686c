"""How surely recordings that a network was trained on are known again, and by whom."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import artistid
from artistid.data.audio import decode
from artistid.data.catalog import Catalog, Track
from artistid.data.features import LogMel
from artistid.data.recordings import KEPT_EVERY, Recordings, kept_fingerprints
from artistid.data.store import Entry, Store
from artistid.errors import ArtistidError
from artistid.learning.specification import load_checkpoint
from artistid.synthesis.discography import Discography, record, recordings
from tests.corpus import make_corpus
from tests.data.test_duplicates import write
from tests.data.versions import RATE, VERSIONS, Samples, encoded, trimmed
from tests.verbs import read_scores, run_verb, train

SHARED = Path(__file__).parents[2] / ".." / "shared"
LOG_MEL = LogMel()
SONGS = Discography(n_artists=2, n_albums=2, n_songs=2, seconds=15.0)


def heard(samples: Samples) -> np.ndarray:
    return LOG_MEL(samples).astype(np.float16)


def recordings_of(songs: dict[str, Samples]) -> tuple[Recordings, dict[str, str]]:
    """Songs as a checkpoint keeps them, and what it keeps."""
    log_mels = [heard(samples) for samples in songs.values()]
    starts = np.cumsum([0, *map(len, log_mels)]).tolist()
    entries = {
        name: Entry(path=name, start=start, frames=len(each))
        for name, start, each in zip(songs, starts, log_mels, strict=False)
    }
    catalog = Catalog(Track(name, "", "", "", Path(name), 1.0, f"sha1 of {name}") for name in songs)
    kept = kept_fingerprints(catalog, Store(Path(), np.concatenate(log_mels), entries, LOG_MEL))
    return Recordings(list(kept), kept, LOG_MEL), kept


@pytest.fixture(scope="module")
def songs() -> list[Samples]:
    return [record(SONGS, song.artist, song.album, song.song) for song in recordings(SONGS)]


@pytest.fixture(scope="module")
def half(songs: list[Samples]) -> Recordings:
    """The first four of eight songs."""
    return recordings_of({str(number): samples for number, samples in enumerate(songs[:4])})[0]


@pytest.mark.parametrize("name", [name for name in VERSIONS if name != "MP3 at 8 kbps"])  # which takes longer songs
def test_a_version_is_known_again_and_no_other_song(name: str, songs: list[Samples], half: Recordings) -> None:
    make, _ = VERSIONS[name]
    assert [half.knows(None, heard(make(samples))) for samples in songs] == 4 * [True] + 4 * [False]


def test_a_part_of_a_recording_is_known_again(songs: list[Samples], half: Recordings) -> None:
    assert half.knows(None, heard(trimmed(songs[2], 4.0, 4.0)))
    assert half.knows(None, heard(np.concatenate([np.zeros(3 * RATE, np.float32), songs[2]])))
    assert not half.knows(None, heard(trimmed(songs[2], 0, len(songs[2]) / RATE - 3))), "three seconds tell nothing"


def test_equal_samples_are_known_again_however_short(half: Recordings) -> None:
    nothing = np.full((3, 128), -80, np.float16)
    assert half.knows("sha1 of 2", nothing)
    assert not half.knows("sha1 of 5", nothing)
    assert not half.knows(None, np.full((1000, 128), -80, np.float16)), "silence"


def test_what_is_kept_is_small_and_plain(songs: list[Samples]) -> None:
    _, kept = recordings_of({"song": songs[0]})
    assert list(kept) == ["sha1 of song"]
    frames = len(heard(songs[0]))
    assert len(kept["sha1 of song"]) == pytest.approx(16 / 3 * frames / KEPT_EVERY, rel=0.08)  # base64 of 4 bytes each


def test_without_fingerprints_only_equal_samples_are_known(
    songs: list[Samples], caplog: pytest.LogCaptureFixture
) -> None:
    old = Recordings(["one"], None, LOG_MEL)
    assert old.knows("one", heard(songs[0]))
    assert not old.knows("two", heard(songs[0]))
    old.warn_if_deaf("the checkpoint")
    assert "the checkpoint keeps no fingerprints of 1 of the 1 recording that it was trained on" in caplog.text
    Recordings([], None, LOG_MEL).warn_if_deaf("nothing")
    assert "nothing" not in caplog.text


@pytest.mark.parametrize("text", ["AAA", "AAAA", "no base64!", "ÄAAA", 7, None, ["AAAAAA=="]])
def test_what_is_no_fingerprint_is_refused(text: Any) -> None:
    with pytest.raises(ArtistidError, match=r"^fingerprints: "):
        Recordings(["one"], {"one": text}, LOG_MEL)


def test_a_list_is_no_map_of_fingerprints() -> None:
    with pytest.raises(ArtistidError, match="fingerprints: expected texts by SHA-1, found list"):
        Recordings(["one"], ["AAAAAA=="], LOG_MEL)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two artists with three albums of two songs of 9 s."""
    return make_corpus(tmp_path_factory.mktemp("music") / "music", artists=2, seconds=9.0, endings=("wav",))


@pytest.fixture(scope="module")
def trained(music: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a network: of each artist two songs train."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(music, folder, "split=album")
    return folder


@pytest.fixture(scope="module")
def encoded_again(music: Path, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """All songs as MP3 of another bit rate, without their first half second; and the names of those trained on."""
    root = tmp_path_factory.mktemp("again")
    for path in sorted(music.rglob("*.wav")):
        write(root / path.relative_to(music), encoded(trimmed(decode(path, RATE), 0.5), 32))
    specification, _ = load_checkpoint(trained / "checkpoints" / "best.ckpt")
    return root, sorted(name for name, subset in specification.split["subsets"].items() if subset == "train")


def test_evaluate_names_training_songs_that_were_encoded_again(
    trained: Path, encoded_again: tuple[Path, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, names = encoded_again
    quiet = ("trainer.enable_progress_bar=false", "workers=0")
    run_verb(
        *("evaluate", f"checkpoint={trained / 'checkpoints' / 'best.ckpt'}", "data=folder", f"data.root={root}"),
        *(f"run_dir={tmp_path / 'run'}", *quiet),
    )
    assert read_scores(tmp_path / "run")["seen_in_training"] == names
    assert len(names) == 4
    said = " ".join(capsys.readouterr().out.split())
    assert f"the network was trained on 4 of 12 recordings tested: {', '.join(names)}" in said


def test_predict_says_so_of_a_copy_and_of_a_saved_network(
    trained: Path, encoded_again: tuple[Path, list[str]], tmp_path: Path
) -> None:
    root, names = encoded_again
    identifier = artistid.load(trained / "checkpoints" / "best.ckpt")
    identifier.save_pretrained(tmp_path / "saved")
    for each in (identifier, artistid.load(tmp_path / "saved")):
        found = {
            path.relative_to(root).with_suffix("").as_posix(): any("very recording" in text for text in said.warnings)
            for path in sorted(root.rglob("*.wav"))
            for said in [each.predict(path)]
        }
        assert sorted(name for name, known in found.items() if known) == names


def test_what_it_grew_from_is_remembered_by_its_sound(
    trained: Path, encoded_again: tuple[Path, list[str]], tmp_path: Path
) -> None:
    root, names = encoded_again
    origin = trained / "checkpoints" / "best.ckpt"
    scores = train(root, tmp_path / "grown", "split=album", "seed=3", f"init_from={origin}")
    split = load_checkpoint(tmp_path / "grown" / "checkpoints" / "best.ckpt")[0].split["subsets"]
    seen = scores["training"]["init_from"]["seen_in_pretraining"]
    assert seen == {subset: [name for name in names if split[name] == subset] for subset in ("val", "test")}
    assert sum(map(len, seen.values())) > 0, "else this shows nothing"
    assert "fingerprints" not in scores["training"]["init_from"]


def test_a_checkpoint_of_before_opens_and_says_what_it_cannot_tell(
    trained: Path, encoded_again: tuple[Path, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, _ = encoded_again
    checkpoint = torch.load(trained / "checkpoints" / "best.ckpt", weights_only=True)
    del checkpoint["artistid"]["fingerprints"]
    torch.save(checkpoint, tmp_path / "old.ckpt")
    run_verb(
        *("evaluate", f"checkpoint={tmp_path / 'old.ckpt'}", "data=folder", f"data.root={root}"),
        *(f"run_dir={tmp_path / 'run'}", "trainer.enable_progress_bar=false", "workers=0"),
    )
    assert "the checkpoint keeps no fingerprints of 4 of the 4 recordings" in capsys.readouterr().out
    assert read_scores(tmp_path / "run")["seen_in_training"] == []


def made_songs() -> Iterator[Samples]:
    """32 songs of 20 s."""
    discography = Discography(n_albums=2, n_songs=2)
    for song in recordings(discography):
        yield record(discography, song.artist, song.album, song.song)


def shared_songs(folder: str, every: int) -> Iterator[Samples]:
    """The first minute of real songs, or of a synthesiser's."""
    paths = sorted(path for path in (SHARED / folder).rglob("*") if path.suffix in (".mp3", ".ogg", ".flac", ".opus"))
    for path in paths[::every]:
        yield decode(path, RATE)[: 60 * RATE]


@pytest.mark.slow
@pytest.mark.parametrize("source", ["made", "music", "lieder"])
def test_recall_and_false_alarms(source: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every other song is kept, and some of both halves come in versions; what the numbers are, printed."""
    if source != "made" and not (SHARED / source).is_dir():
        pytest.skip(f"no music in {SHARED / source}")
    songs = list(made_songs() if source == "made" else shared_songs(source, every=6))
    known, kept = recordings_of({str(number): samples for number, samples in enumerate(songs) if number % 2})
    asked = range(len(songs))[:: max(1, len(songs) // 8) | 1]
    found = {
        version: [known.knows(None, heard(make(songs[number]))) for number in asked]
        for version, (make, _) in VERSIONS.items()
    }
    true = [answer for answers in found.values() for answer, n in zip(answers, asked, strict=True) if n % 2]
    false = [answer for answers in found.values() for answer, n in zip(answers, asked, strict=True) if not n % 2]
    text, seconds = sum(map(len, kept.values())), sum(len(songs[int(n.split()[-1])]) for n in kept) / RATE
    with capsys.disabled():
        print(f"\n{source}: {len(kept)} songs kept, {text / len(kept):.0f} bytes each, {text / seconds:.1f} a second")
        print(f"known again: {sum(true)} of {len(true)} versions; false alarms: {sum(false)} of {len(false)}")
        for version, answers in found.items():
            missed = sum(not answer for answer, n in zip(answers, asked, strict=True) if n % 2)
            if missed:
                print(f"  {version}: {missed} missed")
    assert np.mean(true) > 0.9, "short songs at 8 kbit/s have few equal frames"
    assert np.mean(false) < 0.01
