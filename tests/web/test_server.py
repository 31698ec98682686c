from __future__ import annotations

import base64
import json
import re
import shutil
import socket
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import numpy as np
import pytest

import artistid
from artistid.inference.identifier import Identifier
from artistid.web.service import SongService
from artistid.web.uploads import PREFIX
from tests.corpus import SAMPLE_RATE, make_song, write_audio
from tests.web.bad_files import BadFile
from tests.web.conftest import served

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "http.md"


def songs_kept() -> list[Path]:
    """The files of songs that lie on the disk; there is one server here."""
    (folder,) = Path(tempfile.gettempdir()).glob(f"{PREFIX}*")
    return list(folder.glob("song*"))


def ask(client: httpx.Client, path: Path, name: str | None = None) -> httpx.Response:
    return client.post("/songs", params={"name": path.name if name is None else name}, content=path.read_bytes())


class TestAnswer:
    def test_is_that_of_predict(self, client: httpx.Client, checkpoint: Path, song: Path) -> None:
        expected = artistid.load(checkpoint, "cpu").predict(song, top=2).plain()
        response = ask(client, song)
        assert response.status_code == 200
        answer = response.json()
        assert answer["name"] == song.name
        assert answer["artist"] == expected["artist"]
        assert [each["artist"] for each in answer["top"]] == [each["artist"] for each in expected["top"]]
        assert len(answer["top"]) == 2
        assert answer["timeline"] == list(expected["timeline"])
        assert answer["warnings"] == list(expected["warnings"])
        assert answer["silent"] is False
        assert base64.b64decode(answer["spectrogram"]["image"].partition(",")[2]).startswith(b"\x89PNG")

    def test_silence(self, client: httpx.Client, tmp_path: Path) -> None:
        write_audio(tmp_path / "silence.wav", np.zeros(2 * SAMPLE_RATE, np.float32))
        answer = ask(client, tmp_path / "silence.wav").json()
        assert answer["silent"] is True
        assert answer["artist"] is None
        assert any("silent" in warning for warning in answer["warnings"])

    def test_a_fifth_of_a_second(self, client: httpx.Client, tmp_path: Path) -> None:
        noise = np.random.default_rng(0).uniform(-0.5, 0.5, SAMPLE_RATE // 5).astype(np.float32)
        write_audio(tmp_path / "short.wav", noise)
        answer = ask(client, tmp_path / "short.wav").json()
        assert len(answer["timeline"]) == 1
        assert answer["duration_s"] == pytest.approx(0.2, abs=0.001)
        assert any("0.2 s long" in warning for warning in answer["warnings"])

    def test_the_files_name_is_only_a_name(self, client: httpx.Client, song: Path) -> None:
        names = ("../../../tmp/owned.mp3", "/etc/passwd", "a" * 5000, "caf\udce9\x00.mp3", "<img src=x>.mp3", "")
        for name in names:
            response = client.post(
                "/songs", params={"name": name.encode(errors="surrogateescape")}, content=song.read_bytes()
            )
            assert response.status_code == 200
            assert "/" not in response.json()["name"]
            assert len(response.json()["name"]) <= 120
            assert not list(Path(tempfile.gettempdir()).rglob("owned*"))

    def test_nothing_of_a_song_is_kept(self, client: httpx.Client, song: Path, bad_files: dict[str, BadFile]) -> None:
        assert ask(client, song).status_code == 200
        for bad in bad_files.values():
            assert ask(client, bad.path).status_code != 200
        assert songs_kept() == []


@pytest.mark.parametrize("what", ["text", "empty", "large", "long", "not finite", "no samples", "cut short"])
def test_bad_files_are_refused_in_a_sentence(client: httpx.Client, bad_files: dict[str, BadFile], what: str) -> None:
    path, status, sentence = bad_files[what]
    response = ask(client, path)
    assert response.status_code == status
    assert response.json() == {"error": f"{path.name}{sentence}"}


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is missing")
def test_the_command_of_the_readme_gets_an_answer(
    client: httpx.Client, checkpoint: Path, song: Path, tmp_path: Path
) -> None:
    [command] = re.findall(r"^curl .+$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    shutil.copy(song, tmp_path / "song.mp3")
    own = command.replace("http://127.0.0.1:7860", str(client.base_url).rstrip("/"))
    assert own != command
    done = subprocess.run(["bash", "-c", own], cwd=tmp_path, capture_output=True, check=True)
    answer = json.loads(done.stdout)
    schema = json.loads(files("artistid.inference").joinpath("identification.schema.json").read_text("utf-8"))
    jsonschema.validate({name: answer.pop(name) for name in schema["required"]}, schema)
    assert answer.keys() == {"silent", "neighbourhood", "spectrogram"}


def test_what_does_not_say_how_large_it_is_is_refused_once_it_is_too_large(client: httpx.Client) -> None:
    pieces = (b"x" * 100_000 for _ in range(30))  # which httpx sends without their sum
    response = client.post("/songs", params={"name": "endless.wav"}, content=pieces)
    assert response.status_code == 413
    assert response.json() == {"error": "endless.wav is larger than the 1 MB that this page accepts."}
    assert songs_kept() == []


def test_whoever_hangs_up_is_not_waited_for(client: httpx.Client, song: Path) -> None:
    with socket.create_connection((client.base_url.host, client.base_url.port)) as connection:
        connection.sendall(b"POST /songs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\nRIFF")
    assert ask(client, song).status_code == 200
    assert songs_kept() == []


class TestManyAtOnce:
    @staticmethod
    def ask_at_once(client: httpx.Client, song: Path, n: int) -> list[httpx.Response]:
        """The answers to ``n`` songs, in the order of asking."""
        with ThreadPoolExecutor(n) as pool:
            return list(pool.map(lambda number: ask(client, song, f"{number}.mp3"), range(n)))

    def test_each_gets_its_own_answer(self, client: httpx.Client, song: Path) -> None:
        answers = self.ask_at_once(client, song, 3)
        assert [answer.status_code for answer in answers] == [200, 200, 200]
        assert [answer.json()["name"] for answer in answers] == ["0.mp3", "1.mp3", "2.mp3"]
        assert answers[0].json() | {"name": ""} == answers[2].json() | {"name": ""}

    def test_the_page_does_not_wait_for_a_song(self, client: httpx.Client, tmp_path: Path) -> None:
        write_audio(tmp_path / "long.ogg", make_song(1, np.random.default_rng(0), 29))
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(ask, client, tmp_path / "long.ogg")
            assert client.get("/").status_code == 200
            assert not answer.done()
            assert answer.result().status_code == 200


class TestWhoMayAsk:
    @pytest.mark.parametrize(
        "host", ["127.0.0.1:7860", "localhost:7860", "LOCALHOST", "[::1]:7860", "192.168.1.7", "studio.example"]
    )
    def test_its_own_names(self, client: httpx.Client, host: str) -> None:
        assert client.get("/", headers={"host": host}).status_code == 200

    @pytest.mark.parametrize(
        "host", ["evil.example", "localhost.evil.example:7860", "", "[::1", "127.0.0.1.evil.example"]
    )
    def test_no_others(self, client: httpx.Client, host: str) -> None:
        assert client.get("/", headers={"host": host}).status_code == 421

    def test_its_own_page(self, client: httpx.Client, song: Path) -> None:
        response = client.post(
            "/songs", content=song.read_bytes(), headers={"origin": str(client.base_url).rstrip("/")}
        )
        assert response.status_code == 200

    @pytest.mark.parametrize(
        "origin", ["http://evil.example", "null", "http://127.0.0.1:8000", "http://localhost:7860"]
    )
    def test_no_other_page(self, client: httpx.Client, song: Path, origin: str) -> None:
        response = client.post("/songs", content=song.read_bytes(), headers={"origin": origin})
        assert response.status_code == 403
        assert response.json() == {"error": "Only this server's own page may send it requests."}

    @pytest.mark.parametrize(
        "path", ["/assets/../server.py", "/assets/%2e%2e/server.py", "/assets/", "/nothing", "/songs"]
    )
    def test_nothing_else_is_shown(self, client: httpx.Client, path: str) -> None:
        response = client.get(path)
        assert response.status_code in (404, 405)
        assert set(response.json()) == {"error"}


class TestPage:
    def test_says_what_the_model_knows(self, client: httpx.Client, identifier: Identifier, corpus: Path) -> None:
        page = client.get("/").text
        for artist in identifier.artists:
            assert f"<li>{artist}</li>" in page
        assert f"{len(identifier.specification.recordings)} recordings of “{corpus.name}”, album split" in page
        assert "up to 0.5 min, 1 MB" in page
        assert str(corpus) not in page

    def test_names_are_text(self, identifier: Identifier) -> None:
        artists = ["<script>alert(1)</script>", 'a" b=c', "Sigur Rós"]
        named = replace(identifier.specification, artists=artists)
        with served(SongService(Identifier(named, named.build(), "cpu"), 1, 2)) as address:
            page = httpx.get(address).text
        assert "<script>alert" not in page
        assert "<li>&lt;script&gt;alert(1)&lt;/script&gt;</li>" in page

    def test_all_that_it_names_is_there_and_its_own(self, client: httpx.Client) -> None:
        page = client.get("/").text
        addresses = re.findall(r'(?:src|href)="([^"#][^"]*)"', page)
        assert addresses[0] == "data:,"
        for address in addresses[1:]:
            assert client.get(f"/{address}").status_code == 200
        for script in (
            "page.js",
            "answer.js",
            "timeline.js",
            "sending.js",
            "recording.js",
            "wav.js",
            "words.js",
            "tap.js",
        ):
            response = client.get(f"/assets/{script}")
            assert response.status_code == 200
            assert response.headers["content-type"].startswith("text/javascript")
            assert "://" not in response.text
        assert "url(" not in client.get("/assets/page.css").text

    def test_browsers_may_fetch_nothing_from_elsewhere(self, client: httpx.Client) -> None:
        for path in ("/", "/assets/page.js", "/nothing"):
            headers = client.get(path).headers
            rules: dict[str, Any] = dict(rule.split(" ", 1) for rule in headers["content-security-policy"].split("; "))
            assert rules["default-src"] == "'none'"
            assert not any("http" in sources or "*" in sources for sources in rules.values())
            assert rules["frame-ancestors"] == "'none'"
            assert headers["x-content-type-options"] == "nosniff"
