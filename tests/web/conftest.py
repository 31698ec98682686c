"""A trained network, a server that asks it, and what to ask it of."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import httpx
import pytest
from starlette.applications import Starlette

from artistid.inference.identifier import Identifier
from artistid.web.listening import Listener
from artistid.web.server import application, http_server
from tests.verbs import run_verb, train
from tests.web.bad_files import MAX_MB, MAX_MINUTES, BadFile, make_bad_files


@pytest.fixture(scope="session")
def checkpoint(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a network that heard albums 1 and 2 of three artists, in clips of 1 s, and knows when it is none of them."""
    folder = tmp_path_factory.mktemp("runs") / "web"
    train(corpus, folder, "split=album", "optimizer.lr=1e-3", "trainer.max_epochs=3", "trainer.precision=32-true")
    return folder / "checkpoints" / "best.ckpt"


@pytest.fixture(scope="session")
def identifier(checkpoint: Path) -> Identifier:
    return Identifier.from_checkpoint(checkpoint, "cpu")


@pytest.fixture(scope="session")
def collection(checkpoint: Path, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole corpus, embedded."""
    out = tmp_path_factory.mktemp("collection") / "corpus.parquet"
    run_verb("embed", f"checkpoint={checkpoint}", f"audio={corpus}", f"out={out}", "device=cpu")
    return out


@pytest.fixture(scope="session")
def song(corpus: Path) -> Path:
    """4 s in mp3."""
    return min(corpus.rglob("*.mp3"))


@pytest.fixture(scope="session")
def bad_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, BadFile]:
    return make_bad_files(tmp_path_factory.mktemp("bad"))


@pytest.fixture(scope="session")
def app(identifier: Identifier) -> Starlette:
    """Knows itself as ``studio.example``, too."""
    return application(Listener(identifier, MAX_MINUTES, top=2), MAX_MB, frozenset({"studio.example"}))


@pytest.fixture(scope="session")
def client(app: Starlette) -> Iterator[httpx.Client]:
    with served(app) as address, httpx.Client(base_url=address, timeout=600) as client:
        yield client


@contextmanager
def served(app: Starlette) -> Iterator[str]:
    """Where it answers, over HTTP."""
    server = http_server(app)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
