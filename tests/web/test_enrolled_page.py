"""The page of enrolled artists in a browser: a song is named or not, many are checked, an artist is enrolled."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from artistid.inference.collection import Collection
from artistid.inference.enrolment import artists_of
from artistid.learning.kept_verifier import keep_verifier
from tests.browser import CUT_OFF, chromium
from tests.corpus import SAMPLE_RATE, make_corpus, write_audio
from tests.inference.networks import random_verifier
from tests.verbs import train
from tests.web.conftest import enrol_two
from tests.web.serving import serving
from tests.web.test_page import Opened

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("known") / "music", artists=4, albums=2, songs=2, endings=("flac",))


@pytest.fixture(scope="module")
def verifying(music: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that has heard all of them, and scores songs against artists."""
    folder = tmp_path_factory.mktemp("runs") / "web"
    settings = ("optimizer.lr=1e-3", "trainer.max_epochs=3", "trainer.precision=32-true", "split.validation=song")
    train(music, folder, "split=album", *settings)
    path = folder / "checkpoints" / "best.ckpt"
    keep_verifier(path, random_verifier())
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium("--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1") as browser:
        yield browser


@pytest.fixture(scope="module")
def two_artists(verifying: Path, music: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return enrol_two(verifying, music, tmp_path_factory.mktemp("enrolled"))


@pytest.fixture(params=["desktop", "phone"])
def opened(
    request: pytest.FixtureRequest, browser: Any, verifying: Path, two_artists: Path, tmp_path: Path
) -> Iterator[Opened]:
    path = shutil.copy(two_artists, tmp_path / "artists.parquet")
    settings = (f"collection={path}", "enrol=true", "min_seconds=5", "false_alarms=0.1")
    with serving(verifying, *settings) as (address, _):
        opened = Opened(browser, address, request.param)
        yield opened
        # Of each song that is refused, which the page tells, Chromium complains as well.
        assert [each for each in opened.complaints if "responded with a status of 4" not in each] == []
        assert opened.page.evaluate(CUT_OFF, False) == []
        opened.page.close()


def finished(opened: Opened) -> None:
    """Waits until the work that was begun has ended."""
    opened.page.wait_for_selector("#busy[hidden]", state="attached")


class TestAnswer:
    def test_says_how_often_it_is_wrong(self, opened: Opened, music: Path) -> None:
        assert opened.page.inner_text("#n-enrolled") == "2 enrolled artists"
        opened.choose(music / "artist1" / "album2" / "song1.flac")
        verdict = opened.answered()
        assert verdict == "Nobody I know" or verdict.startswith("Sounds like artist")
        assert "about 10 of 100 songs by artists who are not enrolled" in opened.page.inner_text("#reason")
        assert "about 10 of 100 songs by artists who are not enrolled" in opened.page.inner_text("#alarms")
        assert {row[0] for row in opened.rows("candidates")} == {"artist1", "artist2"}
        assert [row[2] for row in opened.rows("candidates")] == ["2 songs", "2 songs"]
        assert opened.page.inner_text("#here").rpartition(" ")[2][0] in "+−"
        opened.mapped()

    def test_silence_is_refused(self, opened: Opened, tmp_path: Path) -> None:
        write_audio(tmp_path / "silence.wav", np.zeros(5 * SAMPLE_RATE, np.float32))
        opened.choose(tmp_path / "silence.wav")
        assert opened.refused().startswith("silence.wav: it is silent")


class TestTabs:
    def test_by_keyboard(self, opened: Opened) -> None:
        def shown() -> list[str]:
            panels = opened.page.get_by_role("tabpanel").all()
            return [panel.get_attribute("id") for panel in panels if panel.is_visible()]

        opened.page.get_by_role("tab", name="Name a song").focus()
        for key, panel in (("ArrowRight", "claims"), ("End", "enrolment"), ("ArrowRight", "song")):
            opened.page.keyboard.press(key)
            assert shown() == [panel]
        opened.page.keyboard.press("ArrowLeft")
        assert shown() == ["enrolment"]
        opened.page.keyboard.press("Home")
        assert opened.page.get_by_role("tab", selected=True).inner_text() == "Name a song"


class TestEnrolment:
    def test_a_chosen_folder(self, opened: Opened, music: Path, tmp_path: Path) -> None:
        folder = tmp_path / "Clara Schumann"
        shutil.copytree(music / "artist3", folder)
        (folder / "cover.jpg").write_bytes(b"a picture")
        (folder / "album1" / "broken.mp3").write_bytes(b"no song")
        opened.page.get_by_role("tab", name="Enrol an artist").click()
        assert opened.page.get_by_role("button", name="Enrol", exact=True).is_disabled()
        opened.page.set_input_files("#enrolment-folder", folder)
        opened.until("document.getElementById('enrolment-chosen').textContent === '5 songs chosen'")
        assert opened.page.get_by_label("Artist", exact=True).input_value() == "Clara Schumann"
        opened.page.get_by_role("button", name="Enrol", exact=True).click()
        opened.until("document.getElementById('enrolment-verdict').textContent.includes('is enrolled')")
        verdict = "Clara Schumann is enrolled, by 4 songs; 3 artists in all"
        assert opened.page.inner_text("#enrolment-verdict") == verdict
        assert [row[1] for row in opened.rows("enrolled-songs")] == ["album1", "album1", "album2", "album2"]
        assert opened.page.locator("#enrolment-left-out li").all_inner_texts() == [
            "1 file left out, not audio: Clara Schumann/cover.jpg.",
            "broken.mp3 is not an audio file that can be read here. Expected mp3, m4a, flac, ogg, opus, wav or aiff.",
        ]
        assert opened.page.locator("#enrolled-names li").all_inner_texts() == ["artist1", "artist2", "Clara Schumann"]
        assert artists_of(Collection.read(tmp_path / "artists.parquet"))["Clara Schumann"] == 4

    def test_a_dropped_folder(self, opened: Opened, music: Path, tmp_path: Path) -> None:
        opened.page.get_by_role("tab", name="Enrol an artist").click()
        opened.page.wait_for_selector("#enrolment:not([hidden])")
        drop(opened, "#enrolment .drop", music / "artist4")
        opened.until("document.getElementById('enrolment-chosen').textContent === '4 songs chosen'")
        opened.page.get_by_label("Artist", exact=True).fill("Robert")
        opened.page.get_by_role("button", name="Enrol", exact=True).click()
        opened.until("document.getElementById('enrolment-verdict').textContent.includes('is enrolled')")
        assert artists_of(Collection.read(tmp_path / "artists.parquet"))["Robert"] == 4

    def test_who_is_there_already(self, opened: Opened, music: Path) -> None:
        opened.page.get_by_role("tab", name="Enrol an artist").click()
        opened.page.set_input_files("#enrolment-folder", music / "artist1")
        opened.page.get_by_role("button", name="Enrol", exact=True).click()
        assert opened.refused() == "artist1 is enrolled already, by 2 songs."

    def test_cancelled(self, opened: Opened, music: Path, tmp_path: Path) -> None:
        opened.page.get_by_role("tab", name="Enrol an artist").click()
        opened.page.set_input_files("#enrolment-folder", music / "artist3")
        opened.page.get_by_role("button", name="Enrol", exact=True).click()
        opened.page.get_by_role("button", name="Cancel").click()
        finished(opened)
        opened.page.wait_for_timeout(500)
        assert opened.page.is_hidden("#problem")
        assert artists_of(Collection.read(tmp_path / "artists.parquet")) == {"artist1": 2, "artist2": 2}


class TestClaims:
    def check(self, opened: Opened, folder: Path, table: Path | None = None) -> list[list[str]]:
        opened.page.get_by_role("tab", name="Check many songs").click()
        opened.page.set_input_files("#claims-folder", folder)
        if table:
            opened.page.set_input_files("#claims-list", table)
        opened.page.get_by_role("button", name="Check", exact=True).click()
        opened.until("document.activeElement.id === 'claims-verdict'")
        return opened.rows("checked")

    def test_by_folders(self, opened: Opened, music: Path, tmp_path: Path) -> None:
        rows = self.check(opened, music)
        assert len(rows) == 16
        filed = {(row[0].split("\n")[-1].split("/")[1], row[1]) for row in rows}
        assert filed == {(f"artist{number}", f"artist{number}, from its folder") for number in range(1, 5)}
        kinds = [row[2].split("\n")[0] for row in rows]
        assert kinds == sorted(kinds, key=["rejected", "no verdict", "accepted"].index)
        assert kinds.count("no verdict") == 8  # of the two who are not enrolled
        assert opened.page.inner_text("#claims-verdict").startswith("16 songs: ")
        assert "About 10 of 100 songs by somebody else would be accepted" in opened.page.inner_text("#claims-alarms")
        opened.page.locator("#checked .play").first.click()
        opened.until("document.getElementById('claims-audio').currentTime > 0")
        with opened.page.expect_download() as waiting:
            opened.page.get_by_role("button", name="Save as CSV").click()
        waiting.value.save_as(tmp_path / "checked.csv")
        saved = list(csv.DictReader((tmp_path / "checked.csv").open(newline="")))
        assert len(saved) == 16
        assert [row["accepted"] for row in saved] == [
            {"rejected": "false", "accepted": "true"}.get(kind, "") for kind in kinds
        ]

    def test_by_a_list(self, opened: Opened, music: Path, tmp_path: Path) -> None:
        rows = [
            ("music/artist1/album2/song1.flac", "artist2"),  # as others see the same folder
            (r"X:\library\music\artist2\album2\song2.flac", "artist2"),
            ("music/artist1/album2/none.flac", "artist1"),
            ("song1.flac", "artist1"),
        ]
        with (tmp_path / "claims.csv").open("w", newline="") as file:
            csv.writer(file, delimiter=";").writerows([("path", "artist"), *rows])
        found = self.check(opened, music, tmp_path / "claims.csv")
        assert sorted(row[1] for row in found) == ["artist2, from the list", "artist2, from the list"]
        left_out = opened.page.locator("#claims-left-out li").all_inner_texts()
        assert left_out[0] == (
            "2 files in the list, but not among those chosen: "
            "music/artist1/album2/none.flac, song1.flac (8 of this name)."
        )
        assert left_out[1].startswith("14 files left out, since the list does not have them: ")

    def test_a_list_that_is_none(self, opened: Opened, music: Path, tmp_path: Path) -> None:
        (tmp_path / "claims.csv").write_text("song,who\na,b\n")
        opened.page.get_by_role("tab", name="Check many songs").click()
        opened.page.set_input_files("#claims-folder", music / "artist1")
        opened.page.set_input_files("#claims-list", tmp_path / "claims.csv")
        opened.page.get_by_role("button", name="Check", exact=True).click()
        assert opened.refused().startswith("claims.csv is not a list of claims")


def drop(opened: Opened, selector: str, path: Path) -> None:
    """A file or folder that is dropped as from a file manager."""
    box = opened.page.locator(selector).bounding_box()
    at = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    devtools = opened.page.context.new_cdp_session(opened.page)
    for kind in ("dragEnter", "dragOver", "drop"):
        data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
        devtools.send("Input.dispatchDragEvent", {"type": kind, **at, "data": data})
