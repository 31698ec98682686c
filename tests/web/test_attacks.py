"""The page under attack: a server in a process of its own, people who use it, and attackers of every kind at once."""

from __future__ import annotations

import math
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.web.attackers import KINDS
from tests.web.serving import serving

pytestmark = pytest.mark.slow

N_USERS = 20
PATIENCE = 600  # seconds: a busy machine takes its time; the attack ends when all people were answered
BEFORE = 3  # seconds of it until the people come
# What keeps a place and does nothing with it must not hurt even those who share the attackers' address.
IDLERS = (
    *("idle_bodies", "a_byte_per_second", "slow_heads", "silent_connections", "slow_reading"),
    *("disconnects", "malformed_requests", "header_floods"),
)


@dataclass(frozen=True)
class User:
    """Somebody who opens the page and has a song heard.

    Attributes:
        address: to come from.
        song: to be heard.
    """

    address: str
    song: Path

    def visit(self, server: str) -> Answer:
        """Opens the page and asks about the song."""
        begun = time.perf_counter()
        transport = httpx.HTTPTransport(local_address=self.address)
        try:
            with httpx.Client(base_url=server, transport=transport, timeout=PATIENCE) as client:
                for path in ("/", "/assets/page.js", "/assets/page.css"):
                    client.get(path).raise_for_status()
                response = client.post("/songs", params={"name": self.song.name}, content=self.song.read_bytes())
        except httpx.HTTPError as error:
            return Answer(time.perf_counter() - begun, repr(error))
        said = response.json() if response.status_code == 200 else response.text
        return Answer(time.perf_counter() - begun, said)


@dataclass(frozen=True)
class Answer:
    """Seconds from the page to what was said of the song: an answer, or as a text why there is none."""

    seconds: float
    said: dict[str, Any] | str


@pytest.mark.parametrize(
    ("kinds", "shared"),
    [([kind.__name__ for kind in KINDS], False), (list(IDLERS), True)],
    ids=["own addresses", "one address for all"],
)
def test_everyone_is_answered(
    checkpoint: Path, corpus: Path, song: Path, monkeypatch: pytest.MonkeyPatch, kinds: list[str], shared: bool
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # the attackers are at work on this machine, too
    songs = sorted(path for path in corpus.rglob("*") if path.is_file())[:4]  # one of each format
    users = [
        User("127.0.0.1" if shared else f"127.0.2.{number + 1}", songs[number % len(songs)])
        for number in range(N_USERS)
    ]
    with serving(checkpoint, "max_upload_mb=20") as (server, process):
        in_peace = visit_at_once(users, server)
        command = [sys.executable, "-m", "tests.web.attackers", server.rsplit(":", 1)[1], str(PATIENCE), str(song)]
        command += ["--kinds", *kinds, *(["--address", "127.0.0.1"] if shared else [])]
        with subprocess.Popen(command) as attackers:
            time.sleep(BEFORE)
            under_attack = visit_at_once(users, server)
            assert attackers.poll() is None, "the attack ended before the people were done"
            attackers.terminate()
        assert process.poll() is None
    served = [answer for answer in under_attack if not isinstance(answer.said, str)]
    where = "of the attackers' address" if shared else "of other addresses"
    for answer in under_attack:
        if isinstance(answer.said, str):
            print(answer.said)
    print(
        f"\npage users served under attack: {len(served)} of {N_USERS}, {where} (kinds of attack: {len(kinds)}); "
        f"{spread(served)}; in peace {spread(in_peace)}"
    )
    assert [answer.said for answer in under_attack] == [answer.said for answer in in_peace]


def visit_at_once(users: list[User], server: str) -> list[Answer]:
    """What each is answered, all at the same time."""
    with ThreadPoolExecutor(len(users)) as pool:
        return list(pool.map(lambda user: user.visit(server), users))


def spread(answers: list[Answer]) -> str:
    seconds = [answer.seconds for answer in answers] or [math.nan]
    return f"median {statistics.median(seconds):.1f} s, worst {max(seconds):.1f} s"
