"""The files at the top of the repository say the same as the package, and what is published is whole."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from artistid import __version__

ROOT = Path(__file__).parents[1]


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load(text("CITATION.cff"))
    assert citation["version"] == __version__
    assert f"doi       = {{{citation['preferred-citation']['doi']}}}" in text("README.md")


@pytest.mark.skipif(
    shutil.which("cffconvert") is None, reason="cffconvert is missing; it wants a jsonschema before ours"
)
def test_the_citation_is_valid() -> None:
    subprocess.run(["cffconvert", "--validate"], cwd=ROOT, check=True)


def test_a_commit_is_checked_as_ci_checks() -> None:
    hooks = [
        hook["entry"] for repo in yaml.safe_load(text(".pre-commit-config.yaml"))["repos"] for hook in repo["hooks"]
    ]
    of_ci = re.findall(r"^step \.venv/bin/(ruff \w+(?: --check)?|codespell|mypy \w+)", text(".ci/run"), re.MULTILINE)
    assert sorted(of_ci) == sorted(hook.removesuffix(" --force-exclude") for hook in hooks)


def test_isinstance_is_never_asked_about_a_protocol() -> None:
    # From Python 3.12 on, it does not see what a module finds by __getattr__, such as its layers.
    checkable = [path for path in (ROOT / "artistid").rglob("*.py") if "runtime_checkable" in path.read_text("utf-8")]
    assert checkable == []


@pytest.mark.parametrize("path", sorted((ROOT / ".github" / "workflows").glob("*.yml")), ids=lambda path: path.stem)
def test_a_workflow_has_jobs_that_end(path: Path) -> None:
    jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
    assert all(job["timeout-minutes"] <= 90 and job["steps"] for job in jobs.values())


def test_the_image_copies_what_a_wheel_is_made_of() -> None:
    copied = set(re.findall(r"^COPY (.+) /src", text("Dockerfile"), re.MULTILINE))
    kept = {line[1:] for line in text(".dockerignore").splitlines() if line.startswith("!")}
    assert {name for names in copied for name in names.split()} == kept
    assert all((ROOT / name).exists() for name in kept)


@pytest.mark.slow
def test_a_wheel_works_elsewhere(tmp_path: Path) -> None:
    """It needs the build tool of pyproject.toml, which pip fetches."""
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, timeout=300)
    [wheel] = tmp_path.glob("artistid-*.whl")
    assert wheel.name.startswith(f"artistid-{__version__}-")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "installed")
    assert {"artistid/conf/train.yaml", "artistid/schemas/scores.schema.json", "artistid/py.typed"} <= names
    assert not [name for name in names if not name.startswith(("artistid/", "artistid-"))]
    told = subprocess.run(
        [sys.executable, "-P", "-m", "artistid", "train", "--cfg", "job"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "installed"), "PATH": "", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "split:" in told.stdout
