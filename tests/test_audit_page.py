"""The page of an audit: over HTTP, and in a browser at both widths."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("cleanlab", reason="cleanlab, which audits need, is not installed")
pytest.importorskip("httpx", reason="httpx, which asks the server, is not installed")

from starlette.testclient import TestClient

from artistid.auditing.folder import AuditFolder
from artistid.auditing.page import Review, application
from tests.browser import CUT_OFF, chromium
from tests.corpus import make_corpus
from tests.verbs import run_verb


@pytest.fixture
def audited(tmp_path: Path) -> Path:
    """The folder of an audit of three artists, in which a song of artist1 lies with artist2."""
    root = make_corpus(tmp_path / "music", albums=2, songs=3, endings=("wav",))
    (root / "artist1" / "album2" / "song1.wav").rename(root / "artist2" / "album1" / "<b>stray & ü.wav")
    folder = tmp_path / "audit"
    quick = ("model=probe", "clip=1s", "workers=0", "split.n_folds=2", "duplicates=false")
    run_verb("audit", "data=folder", f"data.root={root}", f"run_dir={folder}", *quick)
    return folder


# The page's own policy forbids what wait_for_function does.
PLAYED = """async audio => {
    const heard = new Promise(played => { audio.ontimeupdate = () => { if (audio.currentTime > 0.2) played(); }; });
    await audio.play();
    await heard;
}"""


def row_of(folder: Path) -> dict[str, str]:
    """The first row of the table."""
    with (folder / "songs.csv").open(encoding="utf-8-sig", newline="") as file:
        return next(csv.DictReader(file))


def test_decisions_are_in_the_table_at_once(audited: Path) -> None:
    review = Review(AuditFolder(audited))
    client = TestClient(application(review, frozenset()), base_url="http://localhost")
    listed = client.get("/songs").json()
    assert (listed["total"], listed["decided"]) == (1, 0)
    [song] = listed["songs"]
    assert (song["filed"], song["proposed"], song["checked"]) == ("artist2", "artist1", False)
    whole = client.get("/songs/0/audio")
    part = client.get("/songs/0/audio", headers={"Range": "bytes=0-3"})
    assert (part.status_code, part.content) == (206, b"RIFF")
    assert whole.content == (audited.parent / "music" / song["path"]).read_bytes()
    for said, written in (("artist1", ("artist1", "yes")), ("", ("", "yes")), (None, ("artist2", ""))):
        answer = client.post("/songs/0", json={"artist": said}).json()
        row = row_of(audited)
        assert (row["artist"], row["checked"]) == written
        assert answer["decided"] == (said is not None)
    client.post("/songs/0", json={"artist": ' Sigur  Rós, "311" '})
    assert row_of(audited)["artist"] == 'Sigur Rós, "311"'
    again = Review(AuditFolder(audited)).songs(0)["songs"][0]
    assert again["checked"]
    assert (again["filed"], again["artist"]) == ("artist2", 'Sigur Rós, "311"')


def test_strangers_and_bad_requests_change_nothing(audited: Path) -> None:
    client = TestClient(application(Review(AuditFolder(audited)), frozenset()), base_url="http://localhost")
    before = row_of(audited)
    elsewhere = {"Origin": "http://evil.example"}
    assert client.post("/songs/0", json={"artist": "x"}, headers=elsewhere).status_code == 403
    assert client.get("/songs", headers={"Host": "evil.example"}).status_code == 421
    for body in ("", "[]", "{}", '{"artist": 3}', '{"artist": "' + 600 * "x" + '"}'):
        assert client.post("/songs/0", content=body).status_code == 400
    for path in ("/songs/7", "/songs/7/audio", "/assets/page.py", "/songs/../songs.csv"):
        assert client.get(path).status_code in (404, 405)
    assert client.post("/songs/7", json={"artist": "x"}).status_code == 404
    assert row_of(audited) == before


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_in_a_browser(audited: Path, width: int) -> None:
    command = [sys.executable, "-m", "artistid.audit", f"review={audited}", "port=0"]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process,
        chromium("--autoplay-policy=no-user-gesture-required") as browser,
    ):
        try:
            assert process.stdout is not None
            found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
            assert found is not None
            page = browser.new_page(viewport={"width": width, "height": 900})
            errors: list[str] = []
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.goto(found[0])
            page.get_by_role("heading", name="<b>stray & ü").wait_for()
            assert page.evaluate(CUT_OFF, False) == []
            page.locator("audio").evaluate(PLAYED)
            page.get_by_role("button", name="It is by artist1").press("Enter")
            page.get_by_text("Decided: it is by artist1").wait_for()
            assert row_of(audited)["artist"] == "artist1"
            page.get_by_label("It is by someone else").fill("Someone")
            page.get_by_role("button", name="Save").click()
            page.get_by_text("Decided: it is by Someone").wait_for()
            assert page.evaluate(CUT_OFF, False) == []
            assert page.evaluate("document.activeElement.tagName") == "H2"
            assert (row_of(audited)["artist"], errors) == ("Someone", [])
        finally:
            process.terminate()
