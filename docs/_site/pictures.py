"""The pictures of README and documentation, made of a real run: ``python docs/_site/pictures.py [RUN]``.

RUN is a finished run folder of the default command, ``python -m artistid.train``; without it, one is trained first. It
needs the extra ``app``, Playwright and a Chromium.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO, StringIO
from pathlib import Path

import pandas as pd
from PIL import Image
from rich.color import parse_rgb_hex
from rich.console import Console  # noqa: TID251  # it records, and prints nothing
from rich.terminal_theme import TerminalTheme
from rich.text import Text

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "docs" / "pictures"
COLUMNS = 78
MOST_BYTES = 200_000
# Of a light terminal: background, letters, and the eight colours in ANSI's order.
COLOURS = ("#282c34", "#c0392b", "#277c47", "#9e6a03", "#2457b2", "#863c98", "#0e7482", "#5a606a")
# rich's own format fetches a font; this one has the reader's.
SVG = """<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font: {char_height}px/{line_height}px ui-monospace, Menlo, "DejaVu Sans Mono", monospace; }}
.{unique_id}-title {{ font: bold 18px system-ui, sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">{matrix}</g>
</g>
</svg>
"""


def artistid(*words: str, **environment: str) -> str:
    """What a command prints on standard output."""
    done = subprocess.run(
        [sys.executable, "-m", "artistid", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


def terminal(checkpoint: Path, song: Path) -> None:
    """An answer of ``predict``."""
    told = artistid(
        "predict", f"checkpoint={checkpoint}", f"audio={song}", "top=3", COLUMNS=str(COLUMNS), FORCE_COLOR="1"
    )
    console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text("$ artistid predict checkpoint=best.ckpt audio=song.mp3 top=3", style="bold"))
    console.print()
    console.print(Text.from_ansi(told.replace(str(song), "song.mp3").rstrip()))
    console.print()  # the last line is not cut off
    theme = TerminalTheme(_rgb("#fafaf8"), _rgb("#282c34"), [*map(_rgb, COLOURS)])
    svg = console.export_svg(
        title="artistid",
        theme=theme,
        code_format=SVG,
        unique_id="answer",
    )
    (PICTURES / "terminal.svg").write_text(svg, encoding="utf-8")


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = parse_rgb_hex(colour.removeprefix("#"))
    return red, green, blue


def report(run: Path, folder: Path) -> None:
    """The report's matrix of who was taken for whom."""
    artistid("report", f"runs={run}", f"out={folder}", "maps=null")
    [figure] = folder.rglob("confusion_song-*.svg")
    (PICTURES / "confusion.svg").write_text(figure.read_text(encoding="utf-8"), encoding="utf-8")


@contextmanager
def served(*settings: str) -> Iterator[str]:
    """The address of the page, while it is served."""
    command = [sys.executable, "-m", "artistid", "app", *settings, "port=0"]
    process = subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout
    try:
        address = next(found[0] for line in process.stdout if (found := re.search(r"http://127\.0\.0\.1:\d+", line)))
        yield address
    finally:
        process.terminate()
        process.wait(30)


def page(checkpoint: Path, collection: Path, song: Path) -> None:
    """The page in a browser, with an answer."""
    sys.path.insert(0, str(ROOT))
    from tests.browser import chromium

    with served(f"checkpoint={checkpoint}", f"collection={collection}") as address, chromium("--no-sandbox") as browser:
        opened = browser.new_page(viewport={"width": 1100, "height": 1320}, device_scale_factor=1.5)
        opened.goto(address)
        opened.wait_for_selector("body[data-ready]")
        opened.set_input_files("#file", song)
        opened.wait_for_selector("#answer:not([hidden])", timeout=120_000)
        opened.wait_for_selector("#map[data-ready]", timeout=60_000)
        time.sleep(1)
        shot = opened.screenshot()  # as far as the likeliest artists
    picture = Image.open(BytesIO(shot)).convert("RGB")
    for quality in range(90, 20, -10):
        picture.save(PICTURES / "page.webp", quality=quality, method=6)
        if (PICTURES / "page.webp").stat().st_size < MOST_BYTES:
            return
    raise AssertionError("the page's picture is too large")


def main() -> None:
    """Make all of them."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        run = Path(sys.argv[1]).absolute() if sys.argv[1:] else folder / "run"
        if not run.exists():
            artistid("train", f"run_dir={run}")
        checkpoint = run / "checkpoints" / "best.ckpt"
        catalog = pd.read_csv(run / "catalog.csv").set_index("track_id")
        # A song that shows what a vote is: it was named right, and not by all of its clips.
        tested = pd.read_csv(run / "songs_test.csv").query("artist == predicted and votes < n_clips")["track_id"]
        song = folder / "song.mp3"
        song.write_bytes(Path(catalog.loc[tested.iloc[0], "path"]).read_bytes())
        terminal(checkpoint, song)
        report(run, folder / "report")
        collection = folder / "music.parquet"
        artistid("embed", f"checkpoint={checkpoint}", f"out={collection}")
        page(checkpoint, collection, song)


if __name__ == "__main__":
    main()
