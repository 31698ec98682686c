"""The report as it is looked at: on screens wide and narrow, light and dark, and printed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser import CUT_OFF, chromium
from tests.reporting.made_runs import make_run
from tests.verbs import run_verb

pytestmark = pytest.mark.slow

A4 = 718  # px: what a printer's margins leave of its width


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a data set with a long name, several systems and trials, and a run that failed with a long message."""
    root = tmp_path_factory.mktemp("runs")
    data = "synthetic-8x6x4x20s-style1-producer2-seed0"
    for seed in (0, 21):
        make_run(root / f"{data}/song-3s-crnn/{seed}", "song", "3s", seed, data=data)
        make_run(root / f"{data}/album-3s-crnn/{seed}", "album", "3s", seed, data=data)
    make_run(
        root / f"{data}/album-song-mandel_svm_mahalanobis/0", clip="song", model="mandel_svm_mahalanobis", data=data
    )
    failed = make_run(root / f"{data}/album-30s-crnn/0", clip="30s", finished=False)
    (failed / "run.log").write_text(f"ERROR failed: {'a/very/long/path/without/blanks' * 8}\n")
    run_verb("report", f"runs={root}", f"out={root / 'report'}")
    return root / "report" / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_cut_off(browser: Any, report: Path, width: int, scheme: str) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.goto(report.as_uri())
    assert page.evaluate(CUT_OFF, False) == []
    assert page.evaluate("document.documentElement.scrollWidth") == width - page.evaluate(
        "innerWidth - document.documentElement.clientWidth"
    )
    tables = page.evaluate(
        "[...document.querySelectorAll('.wide')].map(each => "
        "[each.getAttribute('aria-label'), each.scrollWidth - each.clientWidth, each.offsetHeight - each.clientHeight])"
    )
    if width == 1280:
        assert [name for name, beyond, _ in tables if beyond > 0 and name.startswith("Table ")] == []
    else:
        assert any(beyond > 0 for _, beyond, _ in tables)
    assert all(bar >= 5 for _, beyond, bar in tables if beyond > 0), "a table that scrolls has a bar that says so"
    background, ink = page.evaluate(
        "(({backgroundColor, color}) => [backgroundColor, color])(getComputedStyle(document.body))"
    )
    brightness = [
        sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(","))) for colour in (background, ink)
    ]
    assert (brightness[0] > brightness[1]) == (scheme == "light")
    page.close()


def test_print(browser: Any, report: Path, tmp_path: Path) -> None:
    page = browser.new_page(viewport={"width": A4, "height": 1000}, color_scheme="dark")
    page.goto(report.as_uri())
    page.emulate_media(media="print")
    assert page.evaluate(CUT_OFF, True) == []
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    ends = (
        "[...document.querySelectorAll('figcaption:not(:first-child)')].map(each => getComputedStyle(each).breakAfter)"
    )
    assert set(page.evaluate(ends)) == {"auto"}, "what follows a picture may begin a page, heading first"
    page.pdf(path=tmp_path / "report.pdf", format="A4")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    page.close()
