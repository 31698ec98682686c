"""Fixtures for all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import artistid  # before all that it sets variables for, such as ONNX Runtime

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: the workers share the cores

from tests.corpus import make_corpus
from tests.verbs import train


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three artists with three albums of two songs of 4 s, in wav, flac, mp3 and ogg; to be left as it is."""
    return make_corpus(tmp_path_factory.mktemp("corpora") / "corpus")


@pytest.fixture(scope="session")
def trained(corpus: Path, cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a network that heard a clip or two; to be left as it is."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(corpus, folder, "split=album", "optimizer.lr=1e-3")
    return folder


@pytest.fixture(scope="session", autouse=True)
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where feature stores go by default while testing: never the user's own cache."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        # But what is compiled once on a machine is not compiled anew by every session of tests.
        outer = Path(os.environ.get("ARTISTID_CACHE") or "~/.cache/artistid").expanduser()
        patch.setenv("NUMBA_CACHE_DIR", os.environ.get("NUMBA_CACHE_DIR") or str(outer / "numba"))
        patch.setenv("ARTISTID_CACHE", str(folder))
        yield folder


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Say how a process of pytest-xdist died, which it does not: of a signal, the code is its number below 0."""
    if error:
        print(f"\n{node.gateway.id} ended with exit code {node.gateway._io.popen.wait(timeout=10)}")


def pytest_report_header() -> str:
    return f"artistid {artistid.__version__}, {artistid.__file__}"
