"""A trained network, a server that asks it, and what to ask it of."""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import httpx
import pytest

from artistid.inference.identifier import Identifier
from artistid.web.connections import Server
from artistid.web.server import UploadQueue, application
from artistid.web.service import SongService
from artistid.web.uploads import Scratch
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
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where temporary files go."""
    folder = tmp_path_factory.mktemp("temporary")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(folder))
        yield folder


@pytest.fixture(scope="session")
def client(identifier: Identifier, temporary: Path) -> Iterator[httpx.Client]:
    """Of a server that knows itself as ``studio.example``, too."""
    service = SongService(identifier, MAX_MINUTES, top=2)
    with served(service, "studio.example") as address, httpx.Client(base_url=address, timeout=600) as client:
        yield client


def enrol_two(checkpoint: Path, music: Path, folder: Path) -> Path:
    """A collection with the first albums of two artists, ``artist1`` and ``artist2``, in a folder."""
    for artist in ("artist1", "artist2"):
        shutil.copytree(music / artist / "album1", folder / "albums" / artist / "album1")
    path = folder / "artists.parquet"
    run_verb("enrol", f"checkpoint={checkpoint}", f"collection={path}", f"audio={folder / 'albums'}", "min_seconds=5")
    return path


@contextmanager
def served(service: SongService, *names: str, proxies: Sequence[str] = ()) -> Iterator[str]:
    """Where it answers, over HTTP."""
    with Scratch() as scratch, socket.create_server(("127.0.0.1", 0)) as listening:
        queue = UploadQueue(service, MAX_MB, scratch)
        server = Server(application(queue, frozenset(names)), queue.close, proxies)
        thread = Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
