"""The page in a browser, from the command that serves it to the answer that is read from it."""

from __future__ import annotations

import base64
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch
from torch import nn

import artistid
from artistid.data.raw_samples import RawSamples
from artistid.inference.collection import Collection
from artistid.inference.identification import Identification
from artistid.inference.identifier import Identifier
from artistid.learning.specification import load_network
from artistid.web import guests
from artistid.web.service import SongService
from tests.browser import chromium
from tests.corpus import make_song, write_audio
from tests.inference.networks import specification_of
from tests.web.bad_files import MAX_MB, MAX_MINUTES, BadFile
from tests.web.conftest import served
from tests.web.serving import serving

pytestmark = pytest.mark.slow

PATIENCE = 180_000  # ms: a busy machine takes its time
WIDTHS = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 375, "height": 812}}
REAL_SONGS = Path(__file__).parents[2] / ".." / "shared" / "music"
MEDLEY_SECONDS = 20.2
LIMITS = (f"max_upload_mb={MAX_MB}", f"max_minutes={MAX_MINUTES}")


@pytest.fixture(scope="module")
def address(checkpoint: Path, collection: Path) -> Iterator[str]:
    with serving(checkpoint, f"collection={collection}", *LIMITS) as (address, _):
        yield address


@pytest.fixture(scope="module")
def medley(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half of it by each of two artists."""
    path = tmp_path_factory.mktemp("songs") / "medley.flac"
    write_audio(
        path,
        np.concatenate([make_song(artist, np.random.default_rng(artist), MEDLEY_SECONDS / 2) for artist in (1, 3)]),
    )
    return path


@pytest.fixture(scope="module")
def browser(medley: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """For it, nothing but this machine exists; its microphone hears the third artist, and may be used."""
    heard = tmp_path_factory.mktemp("microphone") / "song.wav"
    write_audio(heard, make_song(3, np.random.default_rng(7), 10))
    with chromium(
        "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={heard}",
    ) as browser:
        yield browser


class Opened:
    """The page in a browser, what it complained of, and what it asked for."""

    def __init__(self, browser: Any, address: str, width: str = "desktop") -> None:
        self.address = address
        self.page = browser.new_page(viewport=WIDTHS[width])
        self.page.set_default_timeout(PATIENCE)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: message.type == "error" and self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address)
        self.page.wait_for_selector("body[data-ready]")

    def choose(self, path: Path) -> None:
        self.page.set_input_files("#file", path)

    def answered(self) -> str:
        """The answer, once it is there."""
        self.page.wait_for_selector("#answer:not([hidden]), #problem:not([hidden])")
        assert self.page.is_hidden("#problem"), self.page.inner_text("#problem")
        verdict: str = self.page.inner_text("#verdict")
        return verdict

    def refused(self) -> str:
        """What is said instead of an answer."""
        self.page.wait_for_selector("#problem:not([hidden])")
        sentence: str = self.page.inner_text("#problem")
        return sentence

    def mapped(self) -> None:
        """Waits for the map."""
        self.page.wait_for_selector("#map[data-ready]")

    def until(self, expression: str) -> None:
        """Waits for a truth; Playwright's own wait evaluates text within the page, which its policy forbids."""
        end = time.monotonic() + PATIENCE / 1000
        while not self.page.evaluate(expression):
            assert time.monotonic() < end, f"waited in vain for {expression}"
            self.page.wait_for_timeout(50)

    def rows(self, table: str) -> list[list[str]]:
        found: list[list[str]] = self.page.evaluate(
            "table => [...document.querySelectorAll(`#${table} tbody tr`)].map(row => [...row.cells].map("
            "cell => cell.innerText.trim()))",
            table,
        )
        return found

    def place(self) -> float:
        """Where the song is played, in seconds."""
        seconds: float = self.page.evaluate("document.getElementById('audio').currentTime")
        return seconds


@pytest.fixture
def opened(browser: Any, address: str) -> Iterator[Opened]:
    opened = Opened(browser, address)
    yield opened
    opened.page.close()


def words(expected: Identification) -> str:
    """What the page says of an answer."""
    return f"Sounds like {expected.artist}" if expected.artist else "None of the artists this model knows"


class TestAnswer:
    def test_is_that_of_predict(self, opened: Opened, checkpoint: Path, medley: Path) -> None:
        expected = artistid.load(checkpoint, "cpu").predict(medley)
        opened.choose(medley)
        assert opened.answered() == words(expected)
        assert opened.page.inner_text("#heard") == "medley.flac, 0:20"
        assert opened.rows("candidates") == [
            [each.artist, f"{100 * each.share:.0f} %", f"{each.probability:.3f}"] for each in expected.top
        ]
        assert opened.page.locator("#candidates thead th").all_inner_texts() == [
            "Artist",
            "Share of clips",
            "Probability",
        ]
        assert opened.page.locator("#stretches span").count() == len(expected.timeline)
        assert opened.page.is_visible("#picture")
        assert opened.page.evaluate("document.getElementById('picture').naturalHeight") == 128
        assert opened.complaints == []

    def test_nearest_songs_and_the_map(
        self, opened: Opened, checkpoint: Path, collection: Path, medley: Path, corpus: Path
    ) -> None:
        songs = Collection.read(collection)
        nearest = songs.nearest_songs(artistid.load(checkpoint, "cpu").embed(medley), 10)
        opened.choose(medley)
        opened.answered()
        opened.mapped()
        found = opened.rows("nearest")
        assert [row[2] for row in found] == [f"{song.similarity:.3f}" for song in nearest]
        assert [row[0].split("\n")[0] for row in found] == [song.title or song.track_id for song in nearest]
        assert opened.page.is_hidden("#copies")
        assert opened.page.locator("#map .scatterlayer .trace").count() >= 3
        names = opened.page.locator("#map .legendtext").all_text_contents()
        assert {"this song", "nearest songs"} <= set(names)
        n_points = opened.page.locator("#map .scatterlayer .point").count()
        assert n_points == len(songs) + len(nearest) + 1
        assert opened.complaints == []

    def test_is_in_sight(self, opened: Opened, medley: Path) -> None:
        opened.choose(medley)
        opened.answered()
        opened.mapped()
        top = "document.getElementById('heard').getBoundingClientRect().top"
        opened.until(f"{top} >= 0 && {top} < 200")  # it scrolls there
        opened.page.wait_for_timeout(500)
        assert 0 <= opened.page.evaluate(top) < 200

    def test_a_song_of_the_collection_is_told(self, opened: Opened, corpus: Path) -> None:
        opened.choose(corpus / "artist1" / "album1" / "song1.wav")
        opened.answered()
        assert opened.page.inner_text("#copies").startswith("This very recording is in the collection, as ")

    def test_nothing_is_asked_of_anybody_else(self, opened: Opened, medley: Path) -> None:
        opened.choose(medley)
        opened.answered()
        opened.mapped()
        opened.page.locator("#track").click()
        opened.until("audio.currentTime > 0")
        home = urlsplit(opened.address).netloc
        asked = {urlsplit(request).netloc or urlsplit(request).scheme for request in opened.requests}
        assert asked <= {home, "data", "blob"}
        assert any(request.startswith(f"blob:{opened.address}") for request in opened.requests)
        assert opened.complaints == []

    def test_files_may_have_any_name(self, opened: Opened, medley: Path, tmp_path: Path) -> None:
        name = '<img src=x onerror="document.title=1">&amp; Sigur Rós 音.flac'
        (tmp_path / name).write_bytes(medley.read_bytes())
        opened.choose(tmp_path / name)
        opened.answered()
        assert opened.page.inner_text("#heard") == f"{name}, 0:20"
        assert opened.page.title() == "Who made this song?"

    def test_the_next_song_takes_its_place(self, opened: Opened, medley: Path, song: Path) -> None:
        opened.choose(medley)
        opened.answered()
        first = opened.page.evaluate("audio.src")
        opened.choose(song)
        opened.page.wait_for_selector("#busy[hidden]", state="attached")
        opened.until(f"heard.textContent.startsWith('{song.name}')")
        opened.answered()
        assert opened.page.evaluate("audio.src") != first
        opened.choose(song)  # the same again
        opened.page.wait_for_selector("#answer[hidden]", state="attached")
        opened.answered()

    def test_dropped(self, opened: Opened, medley: Path) -> None:
        data = opened.page.evaluate_handle(
            """base64 => {
                const bytes = Uint8Array.from(atob(base64), letter => letter.charCodeAt(0));
                const data = new DataTransfer();
                data.items.add(new File([bytes], "dropped.flac"));
                return data;
            }""",
            base64.b64encode(medley.read_bytes()).decode(),
        )
        opened.page.dispatch_event("#drop", "drop", {"dataTransfer": data})
        opened.answered()
        assert opened.page.inner_text("#heard") == "dropped.flac, 0:20"

    def test_recorded(self, opened: Opened) -> None:
        opened.page.get_by_role("button", name="Record").click()
        opened.until("document.getElementById('record-time').textContent >= '0:03'")
        assert opened.page.is_visible("#record-level")
        opened.page.get_by_role("button", name="Stop and identify").click()
        opened.answered()
        assert re.fullmatch(r"recording\.wav, 0:\d\d", opened.page.inner_text("#heard"))
        assert opened.page.get_by_role("button", name="Record").is_visible()
        assert opened.page.evaluate("audio.duration") > 2.5
        assert opened.complaints == []

    def test_what_only_the_browser_reads_is_sent_as_wav(self, opened: Opened, tmp_path: Path) -> None:
        webm = opened.page.evaluate(
            """async () => {
                const context = new AudioContext(), tone = new OscillatorNode(context);
                const to = context.createMediaStreamDestination(), recorder = new MediaRecorder(to.stream);
                tone.connect(to);
                tone.start();
                const whole = new Promise(resolve => { recorder.ondataavailable = event => resolve(event.data); });
                recorder.start();
                setTimeout(() => recorder.stop(), 2500);
                const bytes = new Uint8Array(await (await whole).arrayBuffer());
                return btoa(Array.from(bytes, byte => String.fromCharCode(byte)).join(""));
            }"""
        )
        (tmp_path / "tone.webm").write_bytes(base64.b64decode(webm))
        opened.choose(tmp_path / "tone.webm")
        opened.answered()
        assert re.fullmatch(r"tone\.webm, 0:0\d", opened.page.inner_text("#heard"))


class TestTimeline:
    @pytest.fixture
    def heard(self, opened: Opened, medley: Path) -> Opened:
        opened.choose(medley)
        opened.answered()
        opened.until("audio.readyState >= 1")
        return opened

    def test_a_click_plays_from_there(self, heard: Opened) -> None:
        track = heard.page.locator("#track")
        box = track.bounding_box()
        track.click(position={"x": 0.75 * box["width"], "y": 0.5 * box["height"]})
        heard.until("!audio.paused && audio.currentTime > 15.05")
        assert 15 <= heard.place() < 20
        heard.page.evaluate("audio.pause()")
        share = float(heard.page.evaluate("parseFloat(playhead.style.left)")) / 100
        assert share == pytest.approx(heard.place() / MEDLEY_SECONDS, abs=0.02)
        assert "0:1" in heard.page.inner_text("#here")

    def test_by_keyboard(self, heard: Opened) -> None:
        heard.page.locator("#track").focus()
        heard.page.keyboard.press("ArrowRight")
        heard.until("Math.abs(audio.currentTime - 5) < 0.01")
        for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "ArrowLeft"):  # faster than a browser seeks
            heard.page.keyboard.press(key)
        heard.until("Math.abs(audio.currentTime - 5) < 0.01 && !audio.seeking")
        track = heard.page.get_by_role("slider", name="Position in the song")
        assert track.get_attribute("aria-valuetext").startswith("0:05 of 0:20: sounds like ")
        assert float(track.get_attribute("aria-valuemax")) == pytest.approx(MEDLEY_SECONDS, abs=0.1)
        heard.page.keyboard.press("Enter")
        heard.until("!audio.paused && audio.currentTime > 5")
        heard.page.keyboard.press("Enter")
        heard.until("audio.paused")
        heard.page.keyboard.press("Home")
        heard.until("audio.currentTime === 0")

    def test_the_list_of_stretches_plays_them(self, heard: Opened) -> None:
        heard.page.locator("#all-stretches summary").click()
        last = heard.page.locator("#stretch-list button").last
        minutes, seconds = last.locator(".span").inner_text().split("–")[0].split(":")
        last.click()
        heard.until("!audio.paused")
        assert heard.place() >= 60 * int(minutes) + int(seconds)

    def test_stretches_lie_where_they_sound(self, heard: Opened, checkpoint: Path, medley: Path) -> None:
        expected = artistid.load(checkpoint, "cpu").predict(medley).timeline
        drawn = heard.page.evaluate(
            "[...stretches.children].map(({style, title}) => [parseFloat(style.left), parseFloat(style.width), title])"
        )
        for (left, width, title), stretch in zip(drawn, expected, strict=True):
            assert left == pytest.approx(100 * stretch.start_s / MEDLEY_SECONDS, abs=0.1)
            assert width == pytest.approx(100 * (stretch.end_s - stretch.start_s) / MEDLEY_SECONDS, abs=0.1)
            assert stretch.artist in title


class Loudness(nn.Module):
    """Tells artists apart by how loud they are, from samples ``(batch, samples in a row, rows)``."""

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        loudness = samples.square().mean(dim=(1, 2)).sqrt()
        return torch.stack([10 * loudness, 2 - 10 * loudness, 0 * loudness], dim=1)


class TestNetworkOfSamples:
    """A network that is given no spectrogram, and whose artists are ranked by their mean probability."""

    @pytest.fixture(scope="class")
    def heard(self, browser: Any, medley: Path) -> Iterator[Opened]:
        specification = replace(
            specification_of(frames=32),
            features=RawSamples().description(),
            network={"_target_": f"{Loudness.__module__}.{Loudness.__name__}"},
            split={"rule": "album", "seed": 0, "subsets": {}},
            vote="mean_probability",
        )
        service = SongService(Identifier(specification, Loudness(), "cpu"), MAX_MINUTES, top=3)
        with served(service) as address:
            opened = Opened(browser, address)
            opened.choose(medley)
            opened.answered()
            yield opened
            opened.page.close()

    def test_has_no_picture_and_says_so(self, heard: Opened) -> None:
        assert "spectrogram" in heard.page.inner_text("#no-picture")
        assert heard.page.is_visible("#no-picture")
        assert heard.page.is_hidden("#spectrogram")
        assert heard.page.locator("#track").bounding_box()["height"] < 50  # nothing is left of it but the stretches
        assert heard.page.locator("#stretches span").count() >= 1
        assert heard.page.locator("#axis span").count() >= 2
        assert heard.complaints == []

    def test_is_played_from_where_it_is_clicked(self, heard: Opened) -> None:
        box = heard.page.locator("#track").bounding_box()
        heard.until("audio.readyState >= 1")
        heard.page.locator("#track").click(position={"x": 0.5 * box["width"], "y": 0.5 * box["height"]})
        heard.until("!audio.paused")
        assert heard.place() >= MEDLEY_SECONDS / 2 - 0.1

    def test_lists_the_likeliest_artists_by_the_number_shown_first(self, heard: Opened) -> None:
        heads = heard.page.locator("#candidates thead th").all_inner_texts()
        assert heads == ["Artist", "Probability", "Share of clips"]
        shown = [float(row[1]) for row in heard.rows("candidates")]
        assert shown == sorted(shown, reverse=True)
        assert shown[0] > shown[2]


class TestBadFiles:
    @pytest.mark.parametrize("what", ["text", "empty", "large", "long", "not finite", "no samples", "cut short"])
    def test_get_their_sentence(self, opened: Opened, bad_files: dict[str, BadFile], what: str) -> None:
        path, _, sentence = bad_files[what]
        opened.choose(path)
        assert opened.refused() == f"{path.name}{sentence}"
        assert opened.page.is_hidden("#answer")
        assert opened.page.is_hidden("#busy")

    def test_do_not_stand_in_the_way_of_the_next(
        self, opened: Opened, bad_files: dict[str, BadFile], medley: Path
    ) -> None:
        opened.choose(bad_files["text"].path)
        opened.refused()
        opened.choose(medley)
        opened.page.wait_for_selector("#answer:not([hidden])")
        assert opened.page.is_hidden("#problem")

    def test_a_server_that_is_gone(self, browser: Any, checkpoint: Path, medley: Path) -> None:
        with serving(checkpoint) as (address, process):
            opened = Opened(browser, address)
            process.terminate()
            process.wait()
            opened.choose(medley)
            assert opened.refused() == "The server cannot be reached. Is it still running?"
            opened.page.close()


class TestRefusals:
    """Of good songs, by a server that has too much to do."""

    @pytest.mark.parametrize(
        ("limit", "value", "sentence"),
        [
            ("MOST_SECONDS", 0, "song.mp3 arrived too slowly, so the server stopped waiting for it."),
            (
                "MOST_SONGS_ON_DISK",
                0,
                "Songs from your address take up all the disk space that one address may have. Try again in a minute.",
            ),
            ("MOST_SENDING", 2, "2 songs already being sent. Try again in a minute."),
        ],
        ids=["408", "429", "503"],
    )
    def test_get_their_sentence(
        self,
        browser: Any,
        identifier: Identifier,
        song: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        limit: str,
        value: int,
        sentence: str,
    ) -> None:
        monkeypatch.setattr(guests, limit, value)
        monkeypatch.setattr(guests, "SLOW_RATE", -1)  # none makes way
        (tmp_path / "song.mp3").write_bytes(song.read_bytes())
        with served(SongService(identifier, MAX_MINUTES, top=2)) as address, ExitStack() as stack:
            for other in ("127.0.0.8", "127.0.0.9") if limit == "MOST_SENDING" else ():
                to = ("127.0.0.1", urlsplit(address).port or 80)
                connection = stack.enter_context(socket.create_connection(to, source_address=(other, 0)))
                connection.sendall(b"POST /songs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n")
            opened = Opened(browser, address)
            opened.choose(tmp_path / "song.mp3")
            assert opened.refused() == sentence
            assert opened.page.is_hidden("#busy")
            opened.page.close()

    def test_of_a_slow_line_is_told_while_it_sends(
        self, browser: Any, identifier: Identifier, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(guests, "SECONDS_TO_BEGIN", 1)
        monkeypatch.setattr(guests, "LEAST_RATE", 1e9)
        (tmp_path / "song.wav").write_bytes(bytes(900_000))
        with served(SongService(identifier, MAX_MINUTES, top=2)) as address:
            opened = Opened(browser, address)
            line = {"offline": False, "latency": 10, "downloadThroughput": -1, "uploadThroughput": 20_000}
            opened.page.context.new_cdp_session(opened.page).send("Network.emulateNetworkConditions", line)
            opened.choose(tmp_path / "song.wav")
            assert opened.refused() == "song.wav arrived too slowly, so the server stopped waiting for it."
            opened.page.close()


class TestLooks:
    @pytest.mark.parametrize("width", list(WIDTHS))
    def test_nothing_is_wider_than_the_page(
        self, browser: Any, address: str, medley: Path, bad_files: dict[str, BadFile], tmp_path: Path, width: str
    ) -> None:
        opened = Opened(browser, address, width)
        wide = "document.documentElement.scrollWidth > innerWidth"
        assert not opened.page.evaluate(wide)
        opened.choose(bad_files["text"].path)
        opened.refused()
        assert not opened.page.evaluate(wide)
        long_name = tmp_path / f"{'endless' * 30}.flac"
        long_name.write_bytes(medley.read_bytes())
        opened.choose(long_name)
        opened.page.wait_for_selector("#answer:not([hidden])")
        opened.mapped()
        opened.page.locator("#all-stretches summary").click()
        assert not opened.page.evaluate(wide)
        assert opened.page.locator("#axis span").count() >= 2
        opened.page.close()

    @pytest.mark.parametrize("width", list(WIDTHS))
    def test_names_have_room_beside_every_column(
        self, browser: Any, checkpoint: Path, medley: Path, width: str
    ) -> None:
        specification, network = load_network(checkpoint)
        specification = replace(specification, vote="mean_logprob")  # which adds the column of ranks
        with served(SongService(Identifier(specification, network, "cpu"), MAX_MINUTES, top=3)) as address:
            opened = Opened(browser, address, width)
            opened.choose(medley)
            opened.answered()
            header = opened.page.locator("#candidates thead th")
            assert header.all_inner_texts() == ["Artist", "Rank", "Share of clips", "Probability"]
            assert header.nth(0).bounding_box()["width"] >= 100
            text = "cell => { const range = document.createRange(); range.selectNodeContents(cell); return range; }"
            for column in range(4):  # no heading runs into the next
                cell = header.nth(column)
                assert cell.evaluate(f"cell => ({text})(cell).getBoundingClientRect().width <= cell.clientWidth")
            opened.page.close()

    def test_follows_the_colour_scheme_and_its_change(self, opened: Opened, medley: Path) -> None:
        opened.choose(medley)
        opened.answered()
        opened.mapped()
        for scheme in ("light", "dark"):
            opened.page.emulate_media(color_scheme=scheme)
            paper, ink = (
                sum(map(int, re.findall(r"\d+", opened.page.evaluate(f"getComputedStyle(document.body).{part}"))))
                for part in ("backgroundColor", "color")
            )
            assert (ink < paper) == (scheme == "light")
            assert abs(ink - paper) > 400  # of 765
            opened.until(
                "getComputedStyle(map.querySelector('.legendtext')).fill === getComputedStyle(document.body).color"
            )
        assert opened.complaints == []

    def test_all_can_be_reached_by_keyboard_and_has_a_name(self, opened: Opened, medley: Path) -> None:
        opened.choose(medley)
        opened.answered()
        assert opened.page.evaluate("document.activeElement.id") == "verdict"  # which is read out
        reached = set()
        for _ in range(12):
            opened.page.keyboard.press("Tab")
            reached.add(opened.page.evaluate("document.activeElement.id || document.activeElement.localName"))
        assert {"track", "audio", "summary"} <= reached
        for role, name in (
            ("button", "Record"),
            ("slider", "Position in the song"),
            ("img", "Spectrogram of the song"),
        ):
            assert opened.page.get_by_role(role, name=name, exact=True).count() == 1
        assert opened.page.get_by_label("Choose a song").count() == 1
        assert opened.page.get_by_role("status").count() == 1


@pytest.mark.skipif(not REAL_SONGS.is_dir(), reason="the shared music is not there")
def test_a_real_song(browser: Any, checkpoint: Path) -> None:
    song = min(REAL_SONGS.rglob("*.mp3"))
    expected = artistid.load(checkpoint, "cpu").predict(song)
    with serving(checkpoint) as (address, _):
        opened = Opened(browser, address)
        opened.choose(song)
        assert opened.answered() == words(expected)
        assert opened.page.locator("#neighbourhood").count() == 0
        opened.page.locator("#track").click()
        opened.until("!audio.paused && audio.currentTime > 1")
        assert opened.place() == pytest.approx(expected.duration_s / 2, rel=0.1)
        assert opened.complaints == []
        opened.page.close()
