"""Enrolled artists over HTTP: who is named, claims that are checked, and artists who are enrolled."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import mutagen
import numpy as np
import pytest

from artistid.errors import ArtistidError
from artistid.inference.collection import Collection
from artistid.inference.enrolment import artists_of
from artistid.inference.identifier import Identifier
from artistid.inference.roster import Roster
from artistid.learning.kept_verifier import keep_verifier
from artistid.web import enrolments
from artistid.web.known import KnownSettings, KnownSongs
from artistid.web.service import SongService
from tests.corpus import SAMPLE_RATE, make_corpus, make_song, write_audio
from tests.inference.networks import random_verifier, save_checkpoint
from tests.verbs import run_verb
from tests.web.conftest import enrol_two, served

ENROL = KnownSettings(n_nearest=3, false_alarms=0.1, enrol=True, min_seconds=5)
Ask = Callable[..., httpx.Response]


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("known") / "music", artists=4, albums=2, songs=2, endings=("flac",))


@pytest.fixture(scope="module")
def verifying(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a network that scores songs against artists."""
    path = save_checkpoint(tmp_path_factory.mktemp("verifying") / "best.ckpt")
    keep_verifier(path, random_verifier())
    return path


@pytest.fixture(scope="module")
def network(verifying: Path) -> Identifier:
    return Identifier.from_checkpoint(verifying, "cpu")


@pytest.fixture(scope="module")
def two_artists(verifying: Path, music: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return enrol_two(verifying, music, tmp_path_factory.mktemp("enrolled"))


@pytest.fixture
def path(two_artists: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return shutil.copy(two_artists, tmp_path / "artists.parquet")


@pytest.fixture
def client(network: Identifier, path: Path, temporary: Path) -> Iterator[httpx.Client]:
    with clients(network, path) as client:
        yield client


class clients:  # noqa: N801  # a function that is a context
    """A server of a collection, and who asks it."""

    def __init__(self, network: Identifier, path: Path, settings: KnownSettings = ENROL) -> None:
        known = KnownSongs(path, network, settings)
        self._served = served(SongService(network, 1, 2, known))

    def __enter__(self) -> httpx.Client:
        self._client = httpx.Client(base_url=self._served.__enter__(), timeout=600)
        return self._client

    def __exit__(self, *error: Any) -> None:
        self._client.close()
        self._served.__exit__(*error)


def post(client: httpx.Client, address: str, song: Path, **about: str) -> httpx.Response:
    return client.post(address, params={"name": song.name, **about}, content=song.read_bytes())


def begin(client: httpx.Client, artist: str, **about: str) -> str:
    """Where an artist's songs are sent."""
    response = client.post("/enrolments", params={"artist": artist, **about})
    assert response.status_code == 200, response.text
    return f"/enrolments/{response.json()['enrolment']}"


def refused(response: httpx.Response, status: int) -> str:
    assert response.status_code == status, response.text
    sentence: str = response.json()["error"]
    assert sentence.endswith(".")
    return sentence


class TestAnswer:
    def test_is_that_of_predict(self, client: httpx.Client, network: Identifier, path: Path, music: Path) -> None:
        song = music / "artist1" / "album2" / "song1.flac"
        roster = Roster(Collection.read(path), network, 0.1)
        expected = roster.recognise(roster.hear(network.read(song)), 2).plain()
        answer = post(client, "/songs", song).json()
        assert answer["neighbourhood"]["n_songs"] == 4
        assert answer["spectrogram"]["image"].startswith("data:image/png")
        assert answer["silent"] is False
        found = {name: answer[name] for name in expected}
        assert found == {**expected, "name": song.name} | {
            name: list(expected[name]) for name in ("top", "timeline", "left_out", "warnings")
        }

    def test_who_is_enrolled(self, client: httpx.Client) -> None:
        assert client.get("/artists").json() == {
            "artists": [{"artist": "artist1", "songs": 2}, {"artist": "artist2", "songs": 2}],
            "songs": 4,
            "false_alarms": 0.1,
            "strangers": 20,
        }

    def test_silence(self, client: httpx.Client, tmp_path: Path) -> None:
        write_audio(tmp_path / "silence.wav", np.zeros(5 * SAMPLE_RATE, np.float32))
        assert refused(post(client, "/songs", tmp_path / "silence.wav"), 422).startswith("silence.wav: it is silent")

    def test_what_is_changed_elsewhere_is_seen(
        self, client: httpx.Client, path: Path, verifying: Path, music: Path
    ) -> None:
        album = music / "artist3" / "album1"
        settings = (f"collection={path}", f"checkpoint={verifying}", "min_seconds=5")
        run_verb("enrol", f"audio={album}", "artist=Clara", *settings)
        assert [each["artist"] for each in client.get("/artists").json()["artists"]] == ["artist1", "artist2", "Clara"]
        answer = post(client, "/songs", music / "artist3" / "album2" / "song1.flac").json()
        assert answer["enrolled"] == 3
        assert len(client.get("/map").json()["songs"]["x"]) == answer["neighbourhood"]["n_songs"] == 6

    def test_what_has_become_unreadable_is_told_in_the_log(
        self, client: httpx.Client, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        path.write_bytes(b"no Parquet")
        with caplog.at_level(logging.WARNING):
            assert len(client.get("/artists").json()["artists"]) == 2
            assert len(client.get("/artists").json()["artists"]) == 2
        (told,) = [record.getMessage() for record in caplog.records if "keeps using" in record.getMessage()]
        assert "cannot be read, or is not a Parquet file" in told

    def test_a_closed_set_keeps_its_own_names(self, checkpoint: Path, collection: Path, song: Path) -> None:
        network = Identifier.from_checkpoint(checkpoint, "cpu")
        with clients(network, collection, KnownSettings()) as client:
            assert "probability" in post(client, "/songs", song).json()["top"][0]
            assert client.get("/artists").status_code == 404
            assert "Enrol an artist" not in client.get("/").text


class TestClaims:
    def test_verdict_is_that_of_verify(
        self, client: httpx.Client, network: Identifier, path: Path, music: Path
    ) -> None:
        song = music / "artist1" / "album2" / "song1.flac"
        roster = Roster(Collection.read(path), network, 0.1)
        expected = roster.verify(roster.hear(network.read(song)), "artist2")
        answer = post(client, "/claims", song, artist="artist2").json()
        assert (answer["artist"], answer["by"], answer["problem"]) == ("artist2", "list", "")
        assert answer["verdict"]["llr"] == pytest.approx(expected.llr)
        assert answer["verdict"]["threshold"] == pytest.approx(expected.threshold)
        assert answer["verdict"]["accepted"] is expected.accepted
        assert answer["sounds_like"]["enrolled"] == 2

    @pytest.mark.parametrize(
        ("tagged", "about", "by"),
        [
            ("artist2", {"artist": "artist1", "folder": "artist1"}, ("artist1", "list")),
            ("artist2", {"folder": "artist1"}, ("artist2", "tags")),
            ("Somebody & artist2", {}, ("artist2", "tags")),
            ("", {"folder": "artist1"}, ("artist1", "folder")),
            ("", {}, ("", "nothing")),
            ("Nobody", {}, ("Nobody", "tags")),
        ],
    )
    def test_who_is_claimed(
        self, client: httpx.Client, music: Path, tmp_path: Path, tagged: str, about: dict[str, str], by: tuple[str, str]
    ) -> None:
        song = shutil.copy(music / "artist1" / "album2" / "song2.flac", tmp_path / "song.flac")
        if tagged:
            tags = mutagen.File(song)
            tags["artist"] = tagged
            tags.save()
        answer = post(client, "/claims", song, **about).json()
        assert (answer["artist"], answer["by"]) == by
        problems = {"": "Neither its tags nor its folder name an artist.", "Nobody": "Nobody is not enrolled."}
        assert answer["problem"] == problems.get(by[0], "")
        assert (answer["verdict"] is None) is bool(answer["problem"])

    def test_a_list(self, client: httpx.Client, tmp_path: Path) -> None:
        table = tmp_path / "claims.csv"
        table.write_bytes("Path;Artist\r\nmusic\\a.mp3;Sigur  Rós\r\n".encode("utf-16"))
        assert post(client, "/claims/list", table).json() == [{"path": "music\\a.mp3", "artist": "Sigur Rós"}]
        table.write_text("song,who\na,b\n")
        sentence = refused(post(client, "/claims/list", table), 422)
        assert sentence.startswith("claims.csv is not a list of claims")
        assert str(tmp_path) not in sentence


class TestEnrolment:
    def test_an_album(self, client: httpx.Client, path: Path, network: Identifier, music: Path) -> None:
        own = begin(client, "  Clara   Schumann ")
        for song in sorted((music / "artist3" / "album1").iterdir()):
            told = post(client, f"{own}/songs", song, album="Lieder").json()
            assert (told["title"], told["album"]) == (song.stem, "Lieder")
            assert told["seconds"] > 3
        assert artists_of(Collection.read(path)) == {"artist1": 2, "artist2": 2}
        assert client.post(own).json() == {"artist": "Clara Schumann", "songs": 2, "artists": 3}
        collection = Collection.read(path)
        assert artists_of(collection) == {"artist1": 2, "artist2": 2, "Clara Schumann": 2}
        new = collection.songs[collection.songs["artist"] == "Clara Schumann"]
        assert list(new["album"]) == ["Lieder", "Lieder"]
        assert list(new["track_id"]) == [f"Clara Schumann/Lieder/song{number}.flac" for number in (1, 2)]
        expected = network.embed(music / "artist3" / "album1" / "song1.flac")
        assert collection.vectors[new.index[0]] == pytest.approx(expected / np.linalg.norm(expected), abs=1e-5)
        assert len(collection.clips_of(int(new.index[1]))) == len(collection.clips_of(0))
        assert set(new["sha1"]) <= set(collection.fingerprints)
        assert post(client, "/songs", music / "artist3" / "album2" / "song1.flac").json()["enrolled"] == 3
        assert refused(client.post(own), 404).startswith("This enrolment has ended")

    def test_tags_say_the_album_and_the_title(self, client: httpx.Client, music: Path, tmp_path: Path) -> None:
        song = shutil.copy(music / "artist3" / "album1" / "song1.flac", tmp_path / "1.flac")
        tags = mutagen.File(song)
        tags.update({"artist": "Another", "album": "Op. 1", "title": "Liebst du"})
        tags.save()
        told = post(client, f"{begin(client, 'Clara')}/songs", song, album="a folder").json()
        assert (told["title"], told["album"]) == ("Liebst du", "Op. 1")

    def test_the_first_one_makes_the_collection(self, network: Identifier, music: Path, tmp_path: Path) -> None:
        path, song = tmp_path / "new.parquet", music / "artist1" / "album1" / "song1.flac"
        with clients(network, path) as client:
            assert refused(post(client, "/songs", song), 409).startswith("Nobody is enrolled yet")
            assert client.get("/artists").json()["artists"] == []
            assert "Nearest songs" in client.get("/").text
            own = begin(client, "one")
            for each in sorted((music / "artist1").rglob("*.flac")):
                assert post(client, f"{own}/songs", each).status_code == 200
            assert client.post(own).json()["artists"] == 1
            assert post(client, "/songs", music / "artist2" / "album1" / "song1.flac").json()["enrolled"] == 1

    def test_an_artist_who_is_enrolled_already(self, client: httpx.Client, path: Path, music: Path) -> None:
        sentence = refused(client.post("/enrolments", params={"artist": "artist1"}), 409)
        assert sentence == "artist1 is enrolled already, by 2 songs."
        own = begin(client, "artist1", more="true")
        post(client, f"{own}/songs", music / "artist1" / "album2" / "song1.flac")
        assert client.post(own).json() == {"artist": "artist1", "songs": 1, "artists": 2}
        assert artists_of(Collection.read(path)) == {"artist1": 3, "artist2": 2}

    def test_an_artist_whom_another_enrols_meanwhile(self, client: httpx.Client, path: Path, music: Path) -> None:
        one, other = begin(client, "Clara"), begin(client, "Clara")
        for own, album in ((one, "album1"), (other, "album2")):
            for song in sorted((music / "artist3" / album).iterdir()):
                assert post(client, f"{own}/songs", song).status_code == 200
        assert client.post(one).status_code == 200
        before = path.read_bytes()
        assert refused(client.post(other), 409) == "Clara is enrolled already, by 2 songs."
        assert path.read_bytes() == before

    def test_titles_that_are_there_already(self, client: httpx.Client, path: Path, music: Path) -> None:
        own = begin(client, "Clara")
        for album in ("album1", "album2"):
            assert post(client, f"{own}/songs", music / "artist4" / album / "song1.flac").status_code == 200
        assert client.post(own).status_code == 200
        names = list(Collection.read(path).songs["track_id"])[-2:]
        assert names == ["Clara/song1.flac", "Clara/song1.flac (2)"]

    def test_bad_songs_are_refused_and_the_others_enrolled(
        self, client: httpx.Client, path: Path, music: Path, tmp_path: Path
    ) -> None:
        own, good = begin(client, "Clara"), music / "artist3" / "album1"
        write_audio(tmp_path / "silence.wav", np.zeros(5 * SAMPLE_RATE, np.float32))
        (tmp_path / "text.mp3").write_text("no song")
        assert "it is silent" in refused(post(client, f"{own}/songs", tmp_path / "silence.wav"), 422)
        assert "is not an audio file" in refused(post(client, f"{own}/songs", tmp_path / "text.mp3"), 415)
        there = refused(post(client, f"{own}/songs", music / "artist1" / "album1" / "song1.flac"), 409)
        assert there == "song1.flac: this recording is enrolled already, as song1 by artist1."
        assert post(client, f"{own}/songs", good / "song1.flac").status_code == 200
        twice = shutil.copy(good / "song1.flac", tmp_path / "again.flac")
        sentence = refused(post(client, f"{own}/songs", twice), 409)
        assert sentence == "again is the same recording as song1."
        assert post(client, f"{own}/songs", good / "song2.flac").status_code == 200
        assert client.post(own).json()["songs"] == 2
        assert artists_of(Collection.read(path))["Clara"] == 2

    def test_too_little_sound(self, client: httpx.Client, path: Path, tmp_path: Path, music: Path) -> None:
        own, before = begin(client, "Clara"), path.read_bytes()
        assert refused(client.post(own), 409).startswith("No song has been sent")
        write_audio(tmp_path / "short.wav", make_song(3, np.random.default_rng(0), 2))
        assert post(client, f"{own}/songs", tmp_path / "short.wav").status_code == 200
        sentence = refused(client.post(own), 422)
        assert sentence == "Clara has 2 s of sound, too little to enrol: expected 5 s or more."
        assert path.read_bytes() == before
        for song in sorted((music / "artist3" / "album1").iterdir()):  # more can be sent, and it is done
            assert post(client, f"{own}/songs", song).status_code == 200
        assert client.post(own).json()["songs"] == 3

    def test_what_is_given_up_is_forgotten(self, client: httpx.Client, path: Path, music: Path) -> None:
        own, before = begin(client, "Clara"), path.read_bytes()
        post(client, f"{own}/songs", music / "artist3" / "album1" / "song1.flac")
        assert client.delete(own).status_code == 200
        assert client.post(own).status_code == client.delete(own).status_code == 404
        assert path.read_bytes() == before

    def test_there_are_not_too_many(self, client: httpx.Client, monkeypatch: pytest.MonkeyPatch, music: Path) -> None:
        refused(client.post("/enrolments", params={"artist": " "}), 422)
        most = enrolments.MOST_DRAFTS // 2
        begun = [begin(client, f"artist {number}") for number in range(most)]
        response = client.post("/enrolments", params={"artist": "one more"})
        assert "Too many artists" in refused(response, 429)
        assert int(response.headers["retry-after"]) > 0
        monkeypatch.setattr(enrolments, "REST_SECONDS", 0.0)  # and those that rest are forgotten
        begin(client, "one more")
        assert client.post(begun[0]).status_code == 404
        monkeypatch.setattr(enrolments, "MOST_SONGS", 0)
        own = begin(client, "long")
        song = music / "artist3" / "album1" / "song1.flac"
        assert "at most" in refused(post(client, f"{own}/songs", song), 413)

    def test_only_where_the_owner_says_so(self, network: Identifier, path: Path) -> None:
        with clients(network, path, KnownSettings(false_alarms=0.1)) as client:
            assert client.post("/enrolments", params={"artist": "Clara"}).status_code == 404
            page = client.get("/").text
            assert "Check many songs" in page
            assert "Enrol an artist" not in page

    def test_not_by_another_page(self, client: httpx.Client) -> None:
        headers = {"origin": "http://elsewhere.example"}
        assert client.post("/enrolments", params={"artist": "Clara"}, headers=headers).status_code == 403


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (("enrol=true",), "collection=PATH is missing: with enrol=true the file of enrolled artists"),
        (
            ("enrol=true", "collection={folder}"),
            "is a folder: with enrol=true expected a file, such as artists.parquet",
        ),
        (("enrol=true", "collection={path}", "checkpoint={closed}"), "expected that of a run with split=artists"),
        (("collection={path}", "false_alarms=2"), "false_alarms=2: expected a number from 0 to 1"),
        (("collection={folder}/none.parquet",), "none.parquet does not exist"),
    ],
)
def test_settings_that_cannot_be(
    verifying: Path, path: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str], settings: Any, told: str
) -> None:
    names = {"folder": path.parent, "path": path, "closed": checkpoint}
    with pytest.raises(SystemExit) as ended:
        run_verb("app", f"checkpoint={verifying}", "port=0", *(each.format(**names) for each in settings))
    assert ended.value.code == 1
    assert told in capsys.readouterr().err


def test_a_folder_of_collections_is_read_again_too(network: Identifier, two_artists: Path, tmp_path: Path) -> None:
    shutil.copy(two_artists, tmp_path / "1.parquet")
    known = KnownSongs(tmp_path, network, KnownSettings())
    assert known.artists()["songs"] == 4
    shutil.copy(two_artists, tmp_path / "2.parquet")
    assert known.artists()["songs"] == 8
    with pytest.raises(ArtistidError, match="is a folder"):
        KnownSongs(tmp_path, network, ENROL)
