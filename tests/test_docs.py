"""README and documentation: commands run, links lead somewhere, and the site builds without a warning.

A block of a shell or of Python is run as it stands, by :mod:`tests.documented` at a small size, unless a comment before
it says which test runs it (``<!-- run by tests/… -->``) or why none does (``<!-- not run: … -->``).
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import mutagen
import numpy as np
import pytest
import soundfile
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from artistid import __version__
from artistid.cli import VERBS
from tests.corpus import make_corpus
from tests.verbs import run_verb, train

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
BLOCK = re.compile(r"(?:<!-- (?P<mark>[^\n]*) -->\n\n)?```(?P<language>\w+)[^\n]*\n(?P<code>.*?)```", re.DOTALL)
MARK = re.compile(r"not run: .+|run by (tests/[\w/]+\.py)")
RUNS = "runs/trained"  # what stands for the folders that a reader has
# Pages whose blocks are made when the site is built.
GENERATED = re.compile(r"(reference/(verbs|settings)/\w+|project/(changelog|contributing|security))\.md")
LINK = re.compile(r"(?<!`)\[[^\]]*\]\(([^)\s]+)\)")


class Block(NamedTuple):
    """A block of code of a page."""

    page: str
    mark: str
    language: str
    code: str


def blocks() -> Iterator[Block]:
    for page in PAGES:
        for found in BLOCK.finditer(page.read_text(encoding="utf-8")):
            yield Block(str(page.relative_to(ROOT)), found["mark"] or "", found["language"], found["code"])


SHELL = [block for block in blocks() if block.language in ("sh", "bash")]
PYTHON = [block for block in blocks() if block.language == "python"]


def commands(block: Block) -> Iterator[tuple[str, list[str]]]:
    """The verbs of a block's lines, and their settings."""
    for line in block.code.replace("\\\n", " ").splitlines():
        for part in line.split(" && "):
            words = shlex.split(part, comments=True)
            words = words[: words.index(">")] if ">" in words else words
            if words[:2] == ["python", "-m"] or words[:1] == [".venv/bin/python"]:
                words = words[words.index("-m") + 1 :]
                words = [words[0].removeprefix("artistid."), *words[1:]] if words[0].startswith("artistid.") else []
            elif words[:1] == ["artistid"]:
                words = words[1:]
            else:
                words = []
            if words and words[0] in VERBS:
                yield words[0], words[1:]


COMMANDS = [(block.page, verb, tuple(settings)) for block in SHELL for verb, settings in commands(block)]


@pytest.mark.parametrize("block", [*SHELL, *PYTHON], ids=lambda block: block.page)
def test_a_mark_names_a_test_or_a_reason(block: Block) -> None:
    """Any other comment before a block would have it run, which its author may not have meant."""
    if block.mark.startswith(("run", "not")):
        found = MARK.fullmatch(block.mark)
        assert found, block.mark
        assert found[1] is None or (ROOT / found[1]).is_file(), block.mark


def first_of(setting: str) -> str:
    """A setting of a sweep as that of its first run."""
    try:
        override: Override = OverridesParser.create().parse_override(setting)
        if override.is_sweep_override():
            choice = next(iter(override.sweep_string_iterator()))
            return f"{override.input_line.partition('=')[0]}={choice}"
    except Exception:  # names that Hydra's grammar does not take, which artistid quotes
        pass
    return setting


@pytest.mark.parametrize(("page", "verb", "settings"), sorted(set(COMMANDS)))
def test_a_command_composes(page: str, verb: str, settings: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it is run or not: its settings are there and of their types."""
    monkeypatch.chdir(ROOT)
    if "--help" in settings or "--cfg" in settings:
        return
    given = [setting for setting in settings if "…" not in setting.replace("runs/…/", "")]
    own = any(setting.startswith("--config-dir") for setting in given) or "experiment=search" in given
    if own:  # files of the reader's, and a sweeper's settings, are for the test that runs it
        return
    if "-m" in given:
        given = [first_of(setting) for setting in given if setting != "-m" and not setting.startswith("model=glob")]
        if any(setting.startswith("experiment=") for setting in given):
            given += ["hydra.sweeper.params=null"]
    run_verb(verb, *given, module="tests.untold")


# -- run ---------------------------------------------------------------------------------------------------------------


def tools(folder: Path) -> Path:
    """A folder of programs: ``python`` and ``artistid`` that run the commands of this checkout quickly."""
    folder.mkdir()
    python = (
        f'case "$1 $2" in "-m artistid."*) verb=${{2#artistid.}}; shift 2; '
        f'exec {sys.executable} -m tests.documented "$verb" "$@";; esac\nexec {sys.executable} "$@"\n'
    )
    artistid = (
        f'case "$1" in ""|-*) exec {sys.executable} -m artistid "$@";; esac\n'
        f'exec {sys.executable} -m tests.documented "$@"\n'
    )
    for name, script in (("python", python), ("artistid", artistid)):
        (folder / name).write_text(f"#!/bin/sh\n{script}")
        (folder / name).chmod(0o755)
    return folder


class Place(NamedTuple):
    """Where a reader is: a folder with a song and runs, and a home with music."""

    folder: Path
    environment: dict[str, str]

    def run(self, *command: str) -> None:
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False, timeout=900
        )
        assert done.returncode == 0, f"{command[-1]}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"


@pytest.fixture(scope="session")
def reader(cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    root = tmp_path_factory.mktemp("reader")
    folder, home = root / "here", root / "home"
    music = make_corpus(home / "Music", artists=3, albums=4, songs=2, seconds=4.0)
    for old, new in (("artist1", "Sigur Rós"), ("artist2", "311"), ("artist3", "Some Artist")):
        (music / old).rename(music / new)
    (music / "Some Artist" / "album1").rename(music / "Some Artist" / "Some Album")
    (music / "Some Artist" / "album4").rename(music / "Some Artist" / "Bootlegs")
    for path in music.rglob("*.*"):
        if (tagged := mutagen.File(path, easy=True)) is not None and path.suffix != ".wav":
            tagged.update({"artist": path.parts[-3], "album": path.parts[-2], "title": path.stem})
            tagged.save()
    song = min((music / "Some Artist" / "Some Album").iterdir())
    song.rename(song.with_stem("01 Song"))
    shutil.copytree(music, home / "Podcasts")
    shutil.copytree(music, home / "Elsewhere")
    train(music, folder / RUNS, "split=album")
    checkpoint = folder / RUNS / "checkpoints" / "best.ckpt"
    run_verb("embed", f"checkpoint={checkpoint}", f"audio={music}", f"out={folder / 'collection'}", "workers=0")
    shutil.copy(checkpoint, folder)
    shutil.copytree(folder / RUNS / "predictions", folder / "predictions")
    shutil.copytree(ROOT / "conf", folder / "conf")
    (folder / "more").mkdir()
    for name in ("song.mp3", "more/another.flac"):
        soundfile.write(folder / name, np.sin(np.arange(5 * 22050) ** 1.1 / 20).astype(np.float32) / 2, 22050)
    (folder / "party.m3u8").write_text("song.mp3\n", encoding="utf-8")
    environment = {
        **os.environ,
        "HOME": str(home),
        "PATH": f"{tools(root / 'bin')}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "ARTISTID_CACHE": str(cache_dir),
        "WANDB_MODE": "offline",
        "HYDRA_FULL_ERROR": "1",
    }
    return Place(folder, environment)


def as_typed(code: str) -> str:
    """A block with a reader's own folders in place of the dots that stand for them."""
    return code.replace("runs/…/", f"{RUNS}/").replace("checkpoint=…", f"checkpoint={RUNS}/checkpoints/best.ckpt")


TO_RUN = [block for block in SHELL if not block.mark.startswith(("run", "not"))]
# In CI it is the same lines that are run first, in a virtual environment of their own.
OF_CI = re.compile(r"^python3 -m venv \.venv && ", re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("block", TO_RUN, ids=lambda block: f"{block.page}: {block.code.splitlines()[0][:60]}")
def test_a_block_of_commands_runs(block: Block, reader: Place, tmp_path: Path) -> None:
    if OF_CI.search(block.code) and block.page == "README.md":
        pytest.skip(".ci/run runs it in a fresh virtual environment")
    for run in reader.folder.glob("runs/*"):  # a run is not written over, and each block begins without others'
        if run.name != "trained":
            shutil.rmtree(run)
    collection = reader.folder / "music.parquet"
    collection.unlink(missing_ok=True)
    if "artistid.embed" not in block.code:
        shutil.copy(reader.folder / "collection", collection)
    if "experiment=search" in block.code:
        pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="the extra optuna is not installed")
    if "ffmpeg" in block.code and shutil.which("ffmpeg") is None:
        pytest.skip("no ffmpeg")
    script = "\n".join(line for line in as_typed(block.code).splitlines() if line != ". .venv/bin/activate")
    reader.run("bash", "-euo", "pipefail", "-c", script)


@pytest.mark.slow
@pytest.mark.parametrize(
    "block", [block for block in PYTHON if not block.mark.startswith(("run", "not"))], ids=lambda block: block.page
)
def test_a_block_of_python_runs(block: Block, reader: Place) -> None:
    reader.run(sys.executable, "-c", block.code)


def snippet(page: str, language: str) -> str:
    [found] = [block for block in blocks() if block.page == page and block.language == language]
    return found.code


@pytest.fixture(scope="session")
def exported(reader: Place) -> Place:
    """The reader's folder, with ``model.onnx`` and ``song.f32``."""
    reader.run("artistid", "export", "checkpoint=best.ckpt", "out=model.onnx", "overwrite=true")
    samples = np.sin(np.arange(5 * 16000) ** 1.1 / 20).astype(np.float32) / 2
    samples.tofile(reader.folder / "song.f32")
    return reader


@pytest.mark.slow
@pytest.mark.skipif("ONNXRUNTIME" not in os.environ, reason="ONNXRUNTIME names no release of ONNX Runtime")
def test_the_cpp_program(exported: Place) -> None:
    (exported.folder / "who.cpp").write_text(snippet("docs/tutorials/onnx.md", "cpp"), encoding="utf-8")
    [block] = [block for block in SHELL if "g++" in block.code]
    exported.run("bash", "-euo", "pipefail", "-c", block.code)


@pytest.mark.slow
@pytest.mark.skipif("ONNXRUNTIME_NODE" not in os.environ, reason="ONNXRUNTIME_NODE names no folder")
def test_the_javascript_program(exported: Place) -> None:
    link = exported.folder / "node_modules"
    if not link.exists():
        link.symlink_to(Path(os.environ["ONNXRUNTIME_NODE"]) / "node_modules")
    [about] = [block for block in SHELL if "custom_metadata_map" in block.code]
    exported.run("bash", "-euo", "pipefail", "-c", about.code)
    (exported.folder / "who.mjs").write_text(snippet("docs/tutorials/onnx.md", "js"), encoding="utf-8")
    exported.run("node", "who.mjs")


# -- links and the site ------------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """What headings can be linked to by, as the site and code hosts name them."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = (re.sub(r"[`*]|\]\([^)]*\)|\[", "", heading) for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE))
    return {re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", heading.strip().lower())) for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_files(page: Path) -> None:
    """As a reader of the repository follows them; pages that are made for the site are there in the site alone."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in LINK.findall(text):
        target, _, anchor = link.partition("#")
        if urlsplit(link).scheme:
            continue
        path = (page.parent / unquote(target)).resolve() if target else page
        if DOCS in path.parents and (
            GENERATED.fullmatch(str(path.relative_to(DOCS))) or path.parent == DOCS / "reference" / "schemas"
        ):
            continue
        assert path.exists(), link
        assert not anchor or path.suffix != ".md" or anchor in anchors(path) or anchor.startswith("artistid."), link


def test_readme_is_a_page() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(readme) <= 150
    assert sum(line.startswith("python3 -m venv .venv && ") for line in readme) == 2


def test_pictures_are_small() -> None:
    pictures = [path for path in (DOCS / "pictures").iterdir() if path.suffix in (".svg", ".webp")]
    assert pictures
    for path in pictures:
        assert 0 < path.stat().st_size < 200_000, path


def test_the_changelog_has_this_version() -> None:
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


class Wanted(HTMLParser):
    """What a page fetches when it is opened, what it links to, and what can be linked to in it."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.linked: list[str] = []
        self.ids: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a":
            self.linked += [given["href"]] if "href" in given else []
        elif tag == "link" and given.get("rel") in ("canonical", "next", "prev"):
            pass
        else:
            self.fetched += [given[name] for name in ("src", "href", "data", "poster", "srcset") if name in given]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("material", reason="the extra docs is not installed")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stderr
    return folder


def test_the_site_has_each_verb(site: Path) -> None:
    for verb in VERBS:
        assert (site / "reference" / "verbs" / f"{verb}.html").is_file()


def test_the_site_fetches_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        for url in Wanted(page).fetched:
            assert not urlsplit(url).netloc, f"{page.name} fetches {url}"
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", sheet.read_text(encoding="utf-8")), sheet


def test_links_of_the_site(site: Path) -> None:
    pages = {page: Wanted(page) for page in site.rglob("*.html")}
    for page, wanted in pages.items():
        for link in [*wanted.linked, *wanted.fetched]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or page.name == "404.html":
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            target = target / "index.html" if target.is_dir() else target
            assert target.is_file(), f"{page.relative_to(site)}: {link}"
            if parts.fragment and target in pages:
                assert unquote(parts.fragment) in pages[target].ids, f"{page.relative_to(site)}: {link}"


@pytest.mark.slow
def test_the_site_asks_nobody_in_a_browser(site: Path) -> None:
    from tests.browser import chromium

    asked: list[str] = []
    with chromium() as browser:
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        for name in ("index.html", "reference/python.html", "tutorials/first-run.html"):
            page.goto((site / name).as_uri())
            page.wait_for_timeout(500)
    assert asked
    assert not [url for url in asked if not url.startswith(("file:", "data:"))]
