"""Asking a collection what sounds like a song, through the real command."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from mutagen.flac import FLAC

import artistid
from artistid.inference.collection import Collection
from tests.corpus import SAMPLE_RATE, make_song, write_audio
from tests.verbs import run_verb, train

RUN = ("split=album", "optimizer.lr=1e-3", "trainer.precision=32-true")


@pytest.fixture(scope="module")
def checkpoint(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(corpus, folder, *RUN, "trainer.max_epochs=3")
    return folder / "checkpoints" / "best.ckpt"


@pytest.fixture(scope="module")
def collection(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The songs that the network was trained with."""
    out = tmp_path_factory.mktemp("collections") / "c.parquet"
    run_verb("embed", f"checkpoint={checkpoint}", f"out={out}", "workers=0")
    return out


@pytest.fixture
def ask(checkpoint: Path, collection: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """The answers, from JSON."""

    def ask(*overrides: str) -> list[dict[str, Any]]:
        capsys.readouterr()
        run_verb("similar", f"checkpoint={checkpoint}", f"collection={collection}", "format=json", *overrides)
        answers: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
        return answers

    return ask


def test_nearest_songs_and_artists_of_a_file(
    ask: Any, checkpoint: Path, collection: Path, tmp_path: Path, corpus: Path
) -> None:
    song = tmp_path / "neu ü.wav"
    write_audio(song, make_song(2, np.random.default_rng(99), 4))
    [answer] = ask(f"audio={song}", "top=4")
    vector = artistid.load(checkpoint).embed(song)
    opened = Collection.read(collection)
    order = np.argsort(-(opened.vectors @ vector))[:4]
    assert [each["track_id"] for each in answer["songs"]] == list(opened.songs["track_id"].iloc[order])
    assert [each["similarity"] for each in answer["songs"]] == pytest.approx((opened.vectors @ vector)[order], abs=1e-5)
    assert {each["artist"] for each in answer["artists"]} == {"artist1", "artist2", "artist3"}
    assert (answer["query"], answer["left_out"]) == (str(song), [])


def test_its_own_recording_is_left_out_and_told(
    ask: Any, corpus: Path, tmp_path: Path, checkpoint: Path, collection: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "renamed.flac"
    shutil.copy(corpus / "artist1" / "album1" / "song2.flac", copy)
    [of_copy] = ask(f"audio={copy}", "top=20", "same_album=true")
    [of_track] = ask("track=artist1/album1/song2", "top=20", "same_album=true")
    for answer in (of_copy, of_track):
        assert answer["left_out"] == ["artist1/album1/song2"]
        assert len(answer["songs"]) == 17
        assert "artist1/album1/song2" not in {each["track_id"] for each in answer["songs"]}
        assert {each["artist"]: each["songs"] for each in answer["artists"]} == {
            **{"artist1": 5, "artist2": 6, "artist3": 6}
        }
        assert "the collection has only 17 other songs: all are listed" in answer["warnings"]
    assert [each["track_id"] for each in of_copy["songs"]] == [each["track_id"] for each in of_track["songs"]]
    run_verb("similar", f"checkpoint={checkpoint}", f"collection={collection}", f"audio={copy}")
    assert "left out, as its own recording: artist1/album1/song2" in capsys.readouterr().out


def test_its_own_album_is_left_out_and_told(
    ask: Any, corpus: Path, tmp_path: Path, collection: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = tmp_path / "bonus.flac"
    write_audio(new, make_song(1, np.random.default_rng(96), 4))
    tags = FLAC(new)
    tags.update({"artist": "artist1", "album": "ALBUM1", "title": "Bonus"})
    tags.save()
    [of_file] = ask(f"audio={new}", "top=20")
    [of_track] = ask("track=artist1/album1/song2", "top=20")
    assert of_file["album_left_out"] == ["artist1/album1/song1", "artist1/album1/song2"]
    assert of_track["album_left_out"] == ["artist1/album1/song1"]
    for answer in (of_file, of_track):
        assert {(each["artist"], each["album"]) for each in answer["songs"]}.isdisjoint({("artist1", "album1")})
        assert len(answer["songs"]) == 16
        assert {each["artist"]: each["songs"] for each in answer["artists"]} == {
            **{"artist1": 4, "artist2": 6, "artist3": 6}
        }
    [kept] = ask(f"audio={new}", "top=20", "same_album=true", "min_songs=6", "artists_by=best_songs")
    assert (len(kept["songs"]), len(kept["artists"]), kept["album_left_out"]) == (18, 3, [])
    [few] = ask(f"audio={new}", "min_songs=5")
    assert {each["artist"] for each in few["artists"]} == {"artist2", "artist3"}
    unknown = tmp_path / "untagged.wav"
    write_audio(unknown, make_song(2, np.random.default_rng(98), 4))
    [answer] = ask(f"audio={unknown}", "top=3")
    assert any("songs of the same album could not be left out" in warning for warning in answer["warnings"])
    run_verb("similar", f"collection={collection}", "track=artist1/album1/song2")
    assert "left out, as its own album: 1 song; same_album=true" in capsys.readouterr().out


def test_without_the_same_artist(ask: Any, tmp_path: Path) -> None:
    [answer] = ask("track=artist2/album3/song1", "same_artist=false", "top=50")
    assert {each["artist"] for each in answer["songs"]} == {"artist1", "artist3"}
    assert [each["artist"] for each in answer["artists"]] != []
    assert "artist2" not in {each["artist"] for each in answer["artists"]}
    guest = tmp_path / "guest.flac"
    write_audio(guest, make_song(2, np.random.default_rng(97), 4))
    tags = FLAC(guest)
    tags["artist"] = "artist2 & Somebody"
    tags.save()
    [answer] = ask(f"audio={guest}", "same_artist=false", "top=50")
    assert {each["artist"] for each in answer["songs"]} == {"artist1", "artist3"}, "as of artist2, whom all know"
    unknown = tmp_path / "untagged.wav"
    write_audio(unknown, make_song(2, np.random.default_rng(98), 4))
    [answer] = ask(f"audio={unknown}", "same_artist=false", "top=3")
    assert any("artist is unknown" in warning for warning in answer["warnings"])


def test_several_tracks_as_csv_and_table(
    checkpoint: Path, collection: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tracks = "track=[artist1/album1/song1,artist3/album2/song2]"
    run_verb("similar", f"collection={collection}", tracks, "top=2", "format=csv")  # which needs no checkpoint
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["query"], row["kind"], row["rank"]) for row in rows] == [
        (query, kind, rank)
        for query in ("artist1/album1/song1", "artist3/album2/song2")
        for kind in ("song", "artist")
        for rank in ("1", "2")
    ]
    run_verb("similar", f"collection={collection}", tracks, "top=2")
    table = capsys.readouterr().out
    assert "artist3/album2/song2" in table
    assert rows[0]["title"] in table


def test_songs_that_fail_do_not_stop_the_others(
    checkpoint: Path, collection: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_audio(tmp_path / "a silence.wav", np.zeros(SAMPLE_RATE, np.float32))
    (tmp_path / "b text.mp3").write_text("text")
    shutil.copy(corpus / "artist1" / "album1" / "song1.wav", tmp_path / "c song.wav")
    with pytest.raises(SystemExit) as exit_:
        run_verb("similar", f"checkpoint={checkpoint}", f"collection={collection}", f"audio={tmp_path}", "format=jsonl")
    assert exit_.value.code == 1
    told = capsys.readouterr()
    [answer] = [json.loads(line) for line in told.out.splitlines()]
    assert answer["query"].endswith("c song.wav")
    assert "a silence.wav: it is silent" in told.err
    assert "b text.mp3" in told.err
    assert "2 songs could not be answered" in told.err


def test_another_network_is_refused(
    corpus: Path, collection: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(corpus, tmp_path / "run", *RUN, "seed=5")
    with pytest.raises(SystemExit):
        run_verb(
            *("similar", f"checkpoint={tmp_path}/run/checkpoints/best.ckpt", f"collection={collection}"),
            f"audio={corpus}/artist1",
        )
    assert "was made by another network" in capsys.readouterr().err


def test_the_same_network_in_a_folder_is_welcome(ask: Any, checkpoint: Path, corpus: Path, tmp_path: Path) -> None:
    artistid.load(checkpoint).save_pretrained(tmp_path / "saved")
    song = f"audio={corpus}/artist1/album1/song1.wav"
    assert ask(f"checkpoint={tmp_path}/saved", song, "top=3") == ask(song, "top=3")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("collection=null",), "collection=PATH is missing"),
        (("collection=none.parquet", "track=x"), "collection=none.parquet does not exist"),
        ((), "audio=PATH or track=ID as the query, found neither"),
        (("track=x", "audio=y"), "audio=PATH or track=ID as the query, found both"),
        (("audio=y", "checkpoint=null"), "checkpoint=PATH is missing"),
        (("track=nobody",), "track=nobody is not in collection="),
        (("track=song1",), "track=song1 is not in collection="),  # many end so
        (("track=x", "view=map"), "view=map: expected one of songs, matches, retrieval"),
        (("track=x", "format=xml"), "format=xml: expected one of table, json"),
        (("track=x", "min_songs=0"), "min_songs=0: expected a whole number from 1"),
        (("track=x", "search=fast"), "search=fast: expected one of auto, exact, index"),
        (("track=artist1/album1/song1", "artists_by=luck"), "artists_by=luck: expected one of centroid, best_songs"),
        (("track=x", "top=0"), "top=0: expected a whole number from 1"),
        (("view=retrieval", "track=x"), "view=retrieval takes its queries from the collection"),
    ],
)
def test_bad_settings(
    checkpoint: Path, collection: Path, capsys: pytest.CaptureFixture[str], overrides: tuple[str, ...], message: str
) -> None:
    with pytest.raises(SystemExit) as exit_:
        run_verb("similar", f"checkpoint={checkpoint}", f"collection={collection}", *overrides)
    assert exit_.value.code == 1
    assert message in capsys.readouterr().err


def test_retrieval_of_held_out_albums(ask: Any, checkpoint: Path, collection: Path) -> None:
    [found] = ask("view=retrieval")
    assert found["unknown"] is None
    assert found["test"]["n"] == 6  # an album of two songs of each of three artists
    assert found["test"]["gallery"] == 18
    # 16 songs are not of the query's album, 4 of them of its artist.
    assert found["test"]["R@1"]["chance"] == pytest.approx(4 / 16)
    assert found["test_same_album"]["n"] == 6
    assert found["test_same_album"]["R@1"]["chance"] == pytest.approx(5 / 17)
    for measure in ("R@1", "R@5", "R@10", "mAP"):
        low, high = found["test"][measure]["ci95"]
        assert 0 <= low <= found["test"][measure]["value"] <= high <= 1


def test_retrieval_needs_held_out_albums(
    checkpoint: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = tmp_path / "files.parquet"  # whose names the split does not know
    run_verb("embed", f"checkpoint={checkpoint}", f"out={files}", f"audio={corpus}")
    capsys.readouterr()
    with pytest.raises(SystemExit):
        run_verb("similar", f"checkpoint={checkpoint}", f"collection={files}", "view=retrieval")
    assert "artistid.embed" in capsys.readouterr().err


def test_a_spliced_stretch_is_found_on_both_sides(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog = tmp_path / "catalog"
    catalog.mkdir()
    songs = {
        f"artist{artist}-{song}": make_song(artist, np.random.default_rng([5, artist, song]), 40)
        for artist in (1, 2, 3)
        for song in range(3)
    }
    for name, samples in songs.items():
        write_audio(catalog / f"{name}.wav", samples)
    query = make_song(3, np.random.default_rng(55), 40)
    taken = songs["artist2-1"][round(20.7 * SAMPLE_RATE) :][: 9 * SAMPLE_RATE]
    query[round(12.3 * SAMPLE_RATE) :][: 9 * SAMPLE_RATE] = taken
    soundfile.write(tmp_path / "query.flac", query, SAMPLE_RATE)
    out = tmp_path / "c.parquet"
    run_verb("embed", f"checkpoint={checkpoint}", f"out={out}", f"audio={catalog}")
    capsys.readouterr()
    run_verb(
        *("similar", f"checkpoint={checkpoint}", f"collection={out}", f"audio={tmp_path}/query.flac"),
        *("view=matches", "top=3", "format=json"),
    )
    [answer] = json.loads(capsys.readouterr().out)
    first = answer["matches"][0]
    assert Path(first["path"]).stem == "artist2-1"
    assert first["start_s"] == pytest.approx(12.3, abs=2.1)  # two clips of 1 s, of which the first may be of both songs
    assert first["end_s"] == pytest.approx(21.3, abs=2.1)
    assert first["song_start_s"] - first["start_s"] == pytest.approx(20.7 - 12.3, abs=0.3)
    assert first["song_end_s"] - first["song_start_s"] == pytest.approx(first["end_s"] - first["start_s"], abs=0.1)
