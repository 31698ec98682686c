"""Embedding collections through the real command."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import artistid
from artistid.data.shards import Shard
from artistid.data.tags import read_tags
from artistid.errors import ArtistidError
from artistid.inference.collection import Collection, Origin, absolute
from artistid.inference.collection_writer import chunks_folder, drafting
from artistid.inference.sources import embed_song, track_of_tags
from tests.corpus import make_corpus, write_audio
from tests.verbs import run_verb, train


@pytest.fixture(scope="module")
def checkpoint(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained network, that computes in single precision so that all ways to its embeddings agree."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(corpus, folder, "split=album", "optimizer.lr=1e-3", "trainer.precision=32-true")
    return folder / "checkpoints" / "best.ckpt"


def embed(checkpoint: Path, out: Path, *overrides: str) -> Collection:
    options = [each for each in overrides if each.startswith("-")]  # which come first
    settings = [each for each in overrides if each not in options]
    run_verb("embed", *options, f"checkpoint={checkpoint}", f"out={out}", "workers=0", *settings)
    return Collection.read(out)


def fails(capsys: pytest.CaptureFixture[str], checkpoint: Path, out: Path, *overrides: str) -> str:
    """What is told on standard error of a command that ends with exit code 1."""
    with pytest.raises(SystemExit) as exit_:
        embed(checkpoint, out, *overrides)
    assert exit_.value.code == 1
    return capsys.readouterr().err


def test_the_data_that_it_was_trained_with(checkpoint: Path, corpus: Path, tmp_path: Path) -> None:
    collection = embed(checkpoint, tmp_path / "c.parquet")
    song = collection.songs.iloc[0]
    assert len(collection) == 18
    assert (song["track_id"], song["artist"], song["album"], song["title"]) == (
        *("artist1/album1/song1", "artist1", "album1"),
        "song1",
    )
    assert song["path"] == str(corpus / "artist1" / "album1" / "song1.wav")
    assert song["duration_s"] == pytest.approx(4, abs=0.01)
    identifier = artistid.load(checkpoint)
    assert collection.origin == Origin.of(identifier)
    assert collection.vectors[0] == pytest.approx(identifier.embed(song["path"]), abs=1e-4)
    outputs = identifier.hear(song["path"])
    clips = collection.clips_of(0)
    assert clips.vectors == pytest.approx(outputs.embedding, abs=1e-3)
    assert np.array_equal(clips.start_s, outputs.start_s)
    assert song["sha1"] == outputs.sha1


def test_files_and_sources_give_the_same(checkpoint: Path, corpus: Path, tmp_path: Path) -> None:
    of_files = embed(checkpoint, tmp_path / "files.parquet", f"audio={corpus}")
    of_source = embed(checkpoint, tmp_path / "source.parquet", "data=folder", f"data.root={corpus}")
    assert of_files.vectors == pytest.approx(of_source.vectors, abs=1e-4)
    assert list(of_files.songs["sha1"]) == list(of_source.songs["sha1"])
    assert list(of_files.songs["path"]) == list(of_source.songs["path"]) == list(of_files.songs["track_id"])


def test_tags_say_what_files_are_called(checkpoint: Path, tmp_path: Path) -> None:
    from mutagen.flac import FLAC

    music = make_corpus(tmp_path / "music", artists=1, albums=1, songs=2, endings=("flac",))
    tagged, untagged = sorted(music.rglob("*.flac"))
    tags = FLAC(tagged)
    tags.update({"artist": "Sigur Rós", "album": "()", "title": "Untitled 1"})
    tags.save()
    songs = embed(checkpoint, tmp_path / "c.parquet", f"audio={music}").songs
    assert list(songs["artist"]) == ["Sigur Rós", "artist1"]
    assert list(songs["album"]) == ["()", "album1"]
    assert list(songs["title"]) == ["Untitled 1", untagged.stem]


def test_guests_and_damaged_tags_among_good_ones(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whose songs they are is decided as data=library does; what cannot be read costs one file's tags."""
    from mutagen.apev2 import APEv2
    from mutagen.flac import FLAC

    music = make_corpus(tmp_path / "music", artists=1, albums=1, songs=5, endings=("flac",) * 4 + ("mp3",))
    *paths, damaged = sorted(music.rglob("*.*"))
    for path, artist in zip(paths, ("Alice", "Alice", "Alice & Bob", "Alice feat. Carl"), strict=True):
        file = FLAC(path)
        file.update({"artist": artist, "album": "One"})
        file.save()
    tags = APEv2()
    tags["Artist"] = "Alice"
    tags.save(damaged)
    damaged.write_bytes(damaged.read_bytes().replace(b"Artist", b"Art\xffst"))
    songs = embed(checkpoint, tmp_path / "c.parquet", f"audio={music}").songs
    assert list(songs["artist"]) == ["Alice"] * 4 + ["artist1"]
    said = " ".join(capsys.readouterr().out.split())
    assert f"the tags of 1 file cannot be read: {damaged} (" in said
    assert 'one of them with guests: 1: "Alice & Bob" → Alice' in said


def test_folders_say_what_tags_do_not(
    checkpoint: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As data=folder calls them, in a folder of every mixture; and what nobody can name is listed."""
    from mutagen.flac import FLAC

    music = make_corpus(tmp_path / "music", artists=2, albums=2, songs=1, endings=("flac",))
    artist_only, album_only, both, none = sorted(music.rglob("*.flac"))
    for path, tags in (
        (artist_only, {"artist": "Björk"}),
        (album_only, {"album": "Debut"}),
        (both, {"artist": "Someone", "albumartist": "Sigur Rós", "album": "()"}),
    ):
        file = FLAC(path)
        file.update(tags)
        file.save()
    disc = shutil.copytree(none.parent, none.parent / "disc 1") / none.name
    loose = shutil.copy(corpus / "artist1" / "album1" / "song1.wav", music / "artist2" / "loose.wav")
    stray = shutil.copy(corpus / "artist1" / "album1" / "song1.wav", music / "stray.wav")
    single = shutil.copy(corpus / "artist1" / "album1" / "song1.wav", tmp_path / "single.wav")
    songs = embed(checkpoint, tmp_path / "c.parquet", f"audio=[{music},{single}]").songs.set_index("path")
    said = " ".join(capsys.readouterr().out.split())
    assert {Path(path): (song["artist"], song["album"]) for path, song in songs.iterrows()} == {
        artist_only: ("Björk", "album1"),
        album_only: ("artist1", "Debut"),
        both: ("Sigur Rós", "()"),
        none: ("artist2", "album2"),
        disc: ("artist2", "album2"),
        Path(loose): ("artist2", ""),
        Path(stray): ("", ""),
        Path(single): ("", ""),
    }
    assert "2 files named by tags, 4 by folders" in said
    assert re.search(f"without an artist in the tags, .* below {music}: 4 files; artists: 2, artist1, artist2", said)
    assert re.search(f"without an artist, .*: 2 of 8 files: .*{stray}", said)


def test_an_untagged_folder_is_named_as_by_the_source(checkpoint: Path, corpus: Path, tmp_path: Path) -> None:
    names = ["artist", "album", "title"]
    of_files = embed(checkpoint, tmp_path / "files.parquet", f"audio={corpus}")
    of_source = embed(checkpoint, tmp_path / "source.parquet", "data=folder", f"data.root={corpus}")
    assert of_files.songs[names].equals(of_source.songs[names])
    updated = embed(checkpoint, tmp_path / "files.parquet", f"audio={corpus}", "update=true")
    assert updated.songs[names].equals(of_source.songs[names])


def test_files_and_patterns_have_no_folder_to_be_named_by(
    checkpoint: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    songs = embed(checkpoint, tmp_path / "c.parquet", f"audio={corpus}/artist1/*/*.wav").songs
    assert set(songs["artist"]) == {""}
    assert f"folder below one of audio: {len(songs)} of {len(songs)} files" in " ".join(capsys.readouterr().out.split())


def test_what_fails_is_told_and_the_rest_is_done(
    checkpoint: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    music = tmp_path / "music"
    shutil.copytree(corpus / "artist1", music)
    (music / "no music.mp3").write_text("text")
    write_audio(music / "silence.wav", np.zeros(22050, np.float32))
    write_audio(music / "short.wav", (0.1 * np.sin(np.arange(4410) / 5)).astype(np.float32))
    (music / "album1" / "song1.wav").rename(music / "album1" / os.fsdecode(b"caf\xe9.wav"))
    error = fails(capsys, checkpoint, tmp_path / "c.parquet", f"audio={music}")
    collection = Collection.read(tmp_path / "c.parquet")
    assert len(collection) == 7  # six, and the short one
    assert f"{music}/no music.mp3" in error
    assert f"{music}/silence.wav: it is silent" in error
    assert "2 of 9 songs could not be embedded" in error
    assert any(path.endswith(r"caf\xe9.wav") for path in collection.songs["path"])


def test_nothing_is_written_of_nothing(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "no music.mp3").write_text("text")
    error = fails(capsys, checkpoint, tmp_path / "c.parquet", f"audio={tmp_path}/no music.mp3")
    assert "none of 1 song could be embedded" in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["no music.mp3"]


def test_an_existing_file_is_kept(
    checkpoint: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "c.parquet"
    embed(checkpoint, out, f"audio={corpus}/artist1")
    assert "overwrite=true replaces it" in fails(capsys, checkpoint, out, f"audio={corpus}")
    assert len(Collection.read(out)) == 6
    assert len(embed(checkpoint, out, f"audio={corpus}/artist2/album1", "overwrite=true")) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["c.parquet"]


def test_update_embeds_what_is_new_or_changed(
    checkpoint: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    music, out = tmp_path / "music", tmp_path / "c.parquet"
    shutil.copytree(corpus / "artist1", music)
    before = embed(checkpoint, out, f"audio={music}")
    changed, removed, *_ = sorted(music.rglob("*.*"))
    shutil.copy(next((corpus / "artist2").rglob("*.wav")), changed)
    removed.unlink()
    shutil.copytree(corpus / "artist3", music / "new")
    capsys.readouterr()
    after = embed(checkpoint, out, f"audio={music}", "update=true")
    assert "embedded already: 4 of 11 songs" in capsys.readouterr().out
    afresh = embed(checkpoint, tmp_path / "afresh.parquet", f"audio={music}")
    assert sorted(after.songs["path"]) == sorted(afresh.songs["path"])
    rows = [afresh.songs["path"].tolist().index(path) for path in after.songs["path"]]
    assert np.array_equal(after.vectors, afresh.vectors[rows])
    assert not np.allclose(after.vectors[after.songs["path"] == str(changed)], before.vectors[0], atol=1e-3)


def test_an_interrupted_run_goes_on(
    checkpoint: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "c.parquet"
    identifier = artistid.load(checkpoint)
    paths = sorted((corpus / "artist1").rglob("*.*"))

    def interrupted() -> None:
        with drafting(out, Origin.of(identifier), paths, keep=False) as draft:
            for path in paths[:4]:
                draft.add(embed_song(identifier, path, identifier.read(path)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not out.exists()
    collection = embed(checkpoint, out, f"audio={corpus}/artist1")
    assert "embedded already: 4 of 6 songs" in capsys.readouterr().out
    assert list(collection.songs["path"]) == [str(path) for path in paths]
    assert [path.name for path in tmp_path.iterdir()] == ["c.parquet"]


def test_songs_are_kept_after_some_seconds_and_the_file_is_the_same(
    checkpoint: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = sorted((corpus / "artist1").rglob("*.*"))
    embed(checkpoint, tmp_path / "at once.parquet", f"audio=[{','.join(map(str, paths))}]")
    monkeypatch.setattr("artistid.inference.collection_writer.SECONDS_AT_ONCE", 0.0)
    out = tmp_path / "one by one.parquet"
    identifier = artistid.load(checkpoint)
    with drafting(out, Origin.of(identifier), paths, keep=False) as draft:
        for number, path in enumerate(paths, start=1):
            draft.add(embed_song(identifier, path, identifier.read(path)))
            assert len(list(chunks_folder(out).glob("*.parquet"))) == number, "each is kept"
        draft.finish({absolute(path): track_of_tags(path, read_tags(path)) for path in paths})
    assert pq.ParquetFile(out).num_row_groups == 1
    assert out.read_bytes() == (tmp_path / "at once.parquet").read_bytes()


def test_row_groups_are_as_large_however_many_parts_there_were(
    checkpoint: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("artistid.inference.collection_writer.SONGS_AT_ONCE", 4)
    for seconds in (0.0, 1000.0):
        monkeypatch.setattr("artistid.inference.collection_writer.SECONDS_AT_ONCE", seconds)
        embed(checkpoint, tmp_path / f"{seconds}.parquet", f"audio={corpus}/artist1")
    file = pq.ParquetFile(tmp_path / "0.0.parquet")
    assert [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)] == [4, 2]
    assert (tmp_path / "0.0.parquet").read_bytes() == (tmp_path / "1000.0.parquet").read_bytes()


SHARDS = ("-m", "shard=range(0,3)", "shards=3")


@pytest.mark.parametrize("source", ["audio={}", "data=folder data.root={}"])
def test_shards_are_one_run_to_the_bit(
    checkpoint: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    """Vectors, names and clips, once they are opened as one; and the same command again changes nothing."""
    monkeypatch.chdir(tmp_path)
    music = source.format(corpus).split()
    one = embed(checkpoint, tmp_path / "one.parquet", *music)
    shards = embed(checkpoint, tmp_path / "shards", *SHARDS, *music)
    files = sorted((tmp_path / "shards").iterdir())
    assert [file.name for file in files] == [f"{number}-of-3.parquet" for number in range(3)]
    assert shards.origin == one.origin
    rows = [shards.songs["path"].tolist().index(path) for path in one.songs["path"]]
    assert sorted(rows) == list(range(18))
    assert shards.songs.iloc[rows].reset_index(drop=True).equals(one.songs)
    assert np.array_equal(shards.vectors[rows], one.vectors)
    for row, other in enumerate(rows):
        assert np.array_equal(shards.clips_of(other).vectors, one.clips_of(row).vectors)
    before = [(file.read_bytes(), file.stat().st_mtime_ns) for file in files]
    embed(checkpoint, tmp_path / "shards", "shard=1", "shards=3", *music)
    for number, (file, (content, written)) in enumerate(zip(files, before, strict=True)):
        assert file.read_bytes() == content
        assert (file.stat().st_mtime_ns == written) == (number != 1), "the shard that was asked for is written anew"


def test_shards_that_do_not_belong_together(
    checkpoint: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    music, out = f"audio={corpus}", tmp_path / "shards"
    assert len(embed(checkpoint, out, music, "shard=0", "shards=2")) < 18
    assert "lacks 1 of 2 shards" in " ".join(capsys.readouterr().out.split())
    assert "shard=2: expected 0 to 1, since shards=2" in fails(capsys, checkpoint, out, music, "shard=2", "shards=2")
    assert "holds shards of 2 and of 5" in fails(capsys, checkpoint, out, music, "shard=0", "shards=5")
    assert "is a file: expected a folder" in fails(
        capsys, checkpoint, next(out.iterdir()), music, "shard=0", "shards=2"
    )
    assert [file.name for file in out.iterdir()] == ["0-of-2.parquet"]
    table = pq.read_table(out / "0-of-2.parquet")
    other = Origin(**{**vars(Origin.of_file(out / "0-of-2.parquet")), "network": "f" * 64})
    pq.write_table(table.replace_schema_metadata(other.metadata()), out / "1-of-2.parquet")
    with pytest.raises(ArtistidError, match=r"different networks, in 0-of-2\.parquet .* and 1-of-2\.parquet"):
        Collection.read(out)
    assert "made by another network" in fails(capsys, checkpoint, out, music, "shard=1", "shards=2")


def test_a_shard_without_songs(checkpoint: Path, corpus: Path, tmp_path: Path) -> None:
    song = corpus / "artist1" / "album1" / "song1.wav"
    number = next(number for number in range(9) if not Shard(number, 9).holds(str(song)))
    run_verb(
        "embed", f"checkpoint={checkpoint}", f"out={tmp_path}/shards", f"audio={song}", f"shard={number}", "shards=9"
    )
    assert not list(tmp_path.rglob("*.parquet"))


def start(cwd: Path, *overrides: str) -> subprocess.Popen[bytes]:
    """The command in a process group of its own."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    with (cwd / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "artistid.embed", *overrides],
            **{"cwd": cwd, "env": environment, "stdout": log, "stderr": log, "start_new_session": True},
        )


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="kills a process group")
def test_killed_shards_go_on(checkpoint: Path, tmp_path: Path) -> None:
    """What was written before SIGKILL is not embedded again, and the result is that of one run."""
    music = make_corpus(tmp_path / "music", artists=6, albums=4, songs=2, seconds=30, endings=("flac",))
    sweep = (*SHARDS, f"checkpoint={checkpoint}", f"out={tmp_path}/shards", f"audio={music}", "workers=0")
    process = start(tmp_path, *sweep)
    while not (whole := list(tmp_path.glob("shards/[!.]*.parquet"))) or (
        len(whole) == 1 and not list(tmp_path.glob("shards/.*.parts/*.parquet"))  # a fast machine needs no parts
    ):
        assert process.poll() is None, (tmp_path / "log").read_text()
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    parts = (tmp_path / "shards").rglob("*.parquet")  # a shard may be whole and its parts not yet gone
    kept = len({path for part in parts for path in pq.read_table(part, columns=["path"])["path"].to_pylist()})
    assert start(tmp_path, *sweep).wait() == 0, (tmp_path / "log").read_text()
    there = re.findall(r"embedded already: (\d+) of", (tmp_path / "log").read_text())
    assert sum(map(int, there)) == kept > 0
    one = embed(checkpoint, tmp_path / "one.parquet", f"audio={music}")
    shards = Collection.read(tmp_path / "shards")
    rows = [shards.songs["path"].tolist().index(path) for path in one.songs["path"]]
    assert sorted(rows) == list(range(48))
    assert np.array_equal(shards.vectors[rows], one.vectors)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("checkpoint=null",), "checkpoint=PATH is missing"),
        (("out=null",), "out=PATH is missing"),
        (("data=folder", "data.root=x", "audio=y"), "audio and data are both set"),
        (("audio=nowhere",), "audio=nowhere does not exist"),
    ],
)
def test_bad_settings(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], overrides: tuple[str, ...], message: str
) -> None:
    assert message in fails(capsys, checkpoint, tmp_path / "c.parquet", *overrides)


def test_a_folder_is_no_file_to_write(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is a folder: expected a Parquet file" in fails(capsys, checkpoint, tmp_path)
