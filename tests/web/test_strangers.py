"""Clients that keep a server waiting, hang up, or talk nonsense, and servers that end."""

from __future__ import annotations

import os
import random
import re
import select
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import anyio
import httpx
import numpy as np
import pytest
from filelock import FileLock
from plotly.offline import get_plotlyjs
from starlette.requests import ClientDisconnect

from artistid.inference.identifier import Identifier
from artistid.web import connections, guests
from artistid.web.guests import Guests, Turns, client_address
from artistid.web.service import SongService
from artistid.web.uploads import PREFIX, RefusedError, Scratch
from tests.corpus import make_song, write_audio
from tests.web.bad_files import MAX_MINUTES
from tests.web.conftest import served
from tests.web.serving import serving

HEAD = b"POST /songs?name=a.wav HTTP/1.1\r\nHost: 127.0.0.1\r\n"
IDLE = HEAD + b"Content-Length: 1000\r\n\r\nRIFF"


def connect(client: httpx.Client, sent: bytes, address: str = "127.0.0.1") -> socket.socket:
    """A connection from an address, and what is sent over it at once."""
    to = (client.base_url.host, client.base_url.port or 80)
    connection = socket.create_connection(to, timeout=60, source_address=(address, 0))
    connection.sendall(sent)
    return connection


def read_all(connection: socket.socket) -> bytes:
    """All that is answered until the server closes."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


def read_answer(connection: socket.socket) -> bytes:
    """One answer, whole."""
    with connection.makefile("rb") as file:
        head = b"".join(iter(file.readline, b"\r\n"))
        (length,) = re.findall(rb"content-length: (\d+)", head)
        return head + b"\r\n" + file.read(int(length))


def ask(client: httpx.Client, song: Path) -> httpx.Response:
    return client.post("/songs", params={"name": song.name}, content=song.read_bytes())


def wait_until(true: Callable[[], bool]) -> None:
    for _ in range(600):
        if true():
            return
        time.sleep(0.05)
    raise AssertionError("waited in vain")


@pytest.fixture
def songs_kept(temporary: Path) -> Callable[[], int]:
    """How many songs lie on the disk now."""
    return lambda: len(list(temporary.glob(f"{PREFIX}*/song*")))


class TestPlaces:
    @pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.9"])
    def test_idle_uploads_lock_nobody_out(self, client: httpx.Client, song: Path, address: str) -> None:
        with ExitStack() as stack:
            for _ in range(guests.MOST_SENDING + 10):
                stack.enter_context(connect(client, IDLE, address))
            assert ask(client, song).status_code == 200

    def test_whoever_had_to_make_way_is_told(self, client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(guests, "MOST_SENDING", 2)
        with connect(client, IDLE) as first, connect(client, IDLE):
            answer = read_answer(first)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"\r\nretry-after: 10\r\n" in answer
        assert answer.endswith(b'{"error":"a.wav arrived slowly, and others needed its place. Try again in a minute."}')

    @pytest.mark.parametrize("piece", [b"", b"R"])
    def test_slow_uploads_are_sent_away(
        self, client: httpx.Client, songs_kept: Callable[[], int], monkeypatch: pytest.MonkeyPatch, piece: bytes
    ) -> None:
        monkeypatch.setattr(guests, "SECONDS_TO_BEGIN", 0.5)
        with connect(client, IDLE) as connection:
            while not select.select([connection], [], [], 0.1)[0]:
                connection.sendall(piece)
            answer = read_answer(connection)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert answer.endswith(b'{"error":"a.wav arrived too slowly, so the server stopped waiting for it."}')
        wait_until(lambda: songs_kept() == 0)

    def test_there_is_a_time_limit_for_those_who_keep_the_pace(
        self, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(guests, "MOST_SECONDS", 0.5)
        with connect(client, HEAD + b"Content-Length: 900000\r\n\r\n" + bytes(500_000)) as connection:
            assert connection.recv(65536).startswith(b"HTTP/1.1 408 ")

    def test_fast_uploads_make_no_way(self) -> None:
        async def enter() -> None:
            present = Guests(1)
            with ExitStack() as stack:
                for number in range(guests.MOST_SENDING):
                    guest = stack.enter_context(present.enter(f"10.0.0.{number % 2}", "a"))
                    guest.n_bytes = 10**9
                for address, status in (("10.0.0.1", 429), ("10.0.0.2", 503)):
                    with pytest.raises(RefusedError, match=r"\d+ songs.* already being sent") as refused:
                        stack.enter_context(present.enter(address, "a"))
                    assert (refused.value.status, refused.value.retry_seconds) == (status, 10)

        anyio.run(enter)

    def test_of_the_disk_an_address_has_half_and_who_has_most_makes_way(self) -> None:
        async def fill() -> None:
            present = Guests(1)  # so 8 MB in all
            with ExitStack() as stack:
                for address, n_bytes in (("10.0.0.1", 1_000_000), ("10.0.0.1", 2_500_000), ("10.0.0.2", 4_000_000)):
                    guest = stack.enter_context(present.enter(address, "a"))
                    present.make_room(guest, n_bytes)
                with pytest.raises(RefusedError, match="from your address take up") as refused:
                    present.make_room(guest, 1)
                assert refused.value.status == 429
                newcomer = stack.enter_context(present.enter("10.0.0.3", "a"))
                present.make_room(newcomer, 600_000)
                assert guest.scope.cancel_called
                assert guest.reason is not None
                assert guest.reason.status == 503
                assert not newcomer.scope.cancel_called

        anyio.run(fill)

    def test_seats_are_shared(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(guests, "MOST_WAITING", 4)

        async def sit_down() -> None:
            present = Guests(1)
            with ExitStack() as stack:

                def seat(address: str) -> guests.Guest:
                    guest = stack.enter_context(present.enter(address, "a"))
                    present.make_room(guest, 1)
                    present.seat(guest)
                    return guest

                first, last = seat("10.0.0.1"), seat("10.0.0.1")
                with pytest.raises(RefusedError, match="2 songs from your address already waiting") as refused:
                    seat("10.0.0.1")
                assert refused.value.status == 429
                seat("10.0.0.2")
                seat("10.0.0.3")
                seat("10.0.0.4")
                assert last.scope.cancel_called
                assert not first.scope.cancel_called
                with pytest.raises(RefusedError, match="4 songs already waiting") as full:
                    seat("10.0.0.2")
                assert full.value.status == 503

        anyio.run(sit_down)


def test_whose_address_was_heard_least_is_heard_first() -> None:
    async def wait() -> list[str]:
        turns, order = Turns(), []

        async def be_heard(name: str, seconds: float) -> None:
            async with turns.turn(name[0]):
                order.append(name)
                await anyio.sleep(seconds)

        async with anyio.create_task_group() as group:
            for name, seconds in (("a1", 0.1), ("a2", 0.02), ("a3", 0.02), ("b1", 0.02), ("c1", 0.02), ("b2", 0.02)):
                group.start_soon(be_heard, name, seconds)
                await anyio.sleep(0)
        return order

    assert anyio.run(wait) == ["a1", "b1", "c1", "b2", "a2", "a3"]


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("192.168.1.7", "192.168.1.7"),
        ("::ffff:192.168.1.7", "192.168.1.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unix:", "unix:"),
        (None, ""),
    ],
)
def test_whom_a_client_counts_for(host: str | None, address: str) -> None:
    assert client_address(host) == address


@pytest.mark.parametrize(("proxies", "status"), [(("127.0.0.1",), 200), (("10.0.0.2",), 429), ((), 429)])
def test_only_a_proxy_that_is_named_is_believed_who_asks(
    identifier: Identifier, song: Path, monkeypatch: pytest.MonkeyPatch, proxies: tuple[str, ...], status: int
) -> None:
    monkeypatch.setattr(guests, "MOST_SENDING", 2)
    monkeypatch.setattr(guests, "SLOW_RATE", -1)  # none makes way
    service = SongService(identifier, MAX_MINUTES, top=2)
    with served(service, proxies=proxies) as address, httpx.Client(base_url=address, timeout=600) as client:
        first = HEAD + b"X-Forwarded-For: 203.0.113.1\r\nContent-Length: 9\r\n\r\n"
        with connect(client, first):
            time.sleep(0.5)
            client.headers["X-Forwarded-For"] = "203.0.113.2"
            assert ask(client, song).status_code == status


class TestConnections:
    def test_a_slow_head_is_answered_and_closed(self, client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connections, "PATIENCE_SECONDS", 0.2)
        with connect(client, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ") as slow, connect(client, b"") as silent:
            assert read_all(slow).endswith(b'{"error": "The request arrived too slowly."}')
            assert read_all(silent) == b""

    def test_an_answer_that_is_not_taken_is_dropped(
        self, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connections, "PATIENCE_SECONDS", 0.5)
        with socket.socket() as unread:
            unread.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            unread.connect((client.base_url.host, client.base_url.port))
            unread.sendall(b"GET /assets/plotly.js HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 20)
            time.sleep(3)
            n_bytes = 0
            with suppress(ConnectionError):
                while piece := unread.recv(65536):
                    n_bytes += len(piece)
        assert n_bytes < len(get_plotlyjs())

    def test_a_refused_body_is_not_taken_for_ever(self, client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connections, "PATIENCE_SECONDS", 0.5)
        with connect(client, HEAD + b"Content-Length: 9999999999\r\n\r\n") as connection:
            assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")

            def closed() -> bool:
                try:
                    connection.sendall(b"x" * 1000)
                except ConnectionError:
                    return True
                return False

            wait_until(closed)

    def test_the_one_at_rest_for_longest_makes_way(self, client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connections, "MOST_CONNECTIONS", 20)
        with ExitStack() as stack:
            silent = [stack.enter_context(connect(client, b"", "127.0.0.7")) for _ in range(15)]
            assert client.get("/").status_code == 200
            assert silent[0].recv(1) == b""
            silent[-1].sendall(b"GET /nothing HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            assert read_all(silent[-1]).startswith(b"HTTP/1.1 404 ")

    def test_a_flood_from_elsewhere_leaves_who_has_one(
        self, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connections, "MOST_CONNECTIONS", 12)
        with ExitStack() as stack:
            mine = stack.enter_context(connect(client, b"", "127.0.0.8"))
            for number in range(60):
                stack.enter_context(connect(client, b"", f"127.0.1.{number % 3}"))
            mine.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            assert read_all(mine).startswith(b"HTTP/1.1 200 ")

    def test_there_are_never_more_than_are_allowed(
        self, client: httpx.Client, monkeypatch: pytest.MonkeyPatch, temporary: Path
    ) -> None:
        monkeypatch.setattr(connections, "MOST_CONNECTIONS", 20)
        descriptors = Path("/proc/self/fd")
        if not descriptors.is_dir():
            pytest.skip("no /proc tells here how many connections are open")
        with ExitStack() as stack:
            before = len(list(descriptors.iterdir()))
            for _ in range(200):
                stack.enter_context(connect(client, b"", "127.0.0.7"))
            assert client.get("/").status_code == 200
            # The clients' own ends are in this process, too.
            wait_until(lambda: len(list(descriptors.iterdir())) - before - 200 <= 20)


class TestLeaving:
    @pytest.fixture
    def long_song(self, tmp_path: Path) -> Path:
        write_audio(tmp_path / "long.ogg", make_song(1, np.random.default_rng(0), 29))
        return tmp_path / "long.ogg"

    def test_frees_a_place_in_the_queue_at_once(
        self, client: httpx.Client, long_song: Path, song: Path, songs_kept: Callable[[], int]
    ) -> None:
        whole = HEAD + b"Content-Length: %d\r\n\r\n" % song.stat().st_size + song.read_bytes()
        with ThreadPoolExecutor(1) as pool:
            heard = pool.submit(ask, client, long_song)
            wait_until(lambda: songs_kept() == 1)
            with connect(client, whole), connect(client, whole):
                wait_until(lambda: songs_kept() == 3 or heard.done())
            wait_until(lambda: songs_kept() <= 1)
            assert heard.result().status_code == 200


def test_a_hearing_ends_where_it_is_not_wanted(identifier: Identifier, song: Path) -> None:
    def leave() -> None:
        raise ClientDisconnect

    with pytest.raises(ClientDisconnect):
        SongService(identifier, MAX_MINUTES, top=2).answer(song, song.name, leave)


STRANGE = [
    ("GET", "/", "Host: 127.0.0.1\r\nOrigin: http://[::1"),
    ("POST", "/songs", "Host: 127.0.0.1\r\nOrigin: http://[::1"),
    ("POST", "/songs", "Host: 127.0.0.1\r\nOrigin: http://\u2100"),
    ("GET", "/", "Host: [::1"),
    ("GET", "/", "Host: ]["),
    ("GET", "/", "Host: 127.0.0.1:99999999"),
    ("GET", "/", "Host: 127.0.0.1:port"),
    ("GET", "/", "Host: a\r\nHost: b"),
    ("POST", "/songs", "Host: 127.0.0.1\r\nContent-Length: " + "9" * 5000),
    ("POST", "/songs", "Host: 127.0.0.1\r\nContent-Length: -1"),
    ("POST", "/songs", "Host: 127.0.0.1\r\nContent-Length: 0"),
    ("POST", "/songs", "Host: 127.0.0.1\r\nContent-Length: 1\r\nContent-Length: 2"),
    ("POST", "/songs", "Host: 127.0.0.1\r\nTransfer-Encoding: gzip"),
    ("POST", "/songs", "Host: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nzz"),
    ("POST", "/songs?name=%", "Host: 127.0.0.1\r\nContent-Length: 0"),
    ("POST", "/songs?name=%ff%00%zz&name=&&&=;", "Host: 127.0.0.1\r\nContent-Length: 0"),
    ("POST", "/songs?" + "&" * 10_000, "Host: 127.0.0.1\r\nContent-Length: 0"),
    ("POST", "/songs?name=" + "%F0%9F%98%80" * 1000, "Host: 127.0.0.1\r\nContent-Length: 0"),
    ("GET", "/assets/%00", "Host: 127.0.0.1"),
    ("GET", "/assets/%ff%fe", "Host: 127.0.0.1"),
    ("GET", "/assets/" + "a" * 10_000, "Host: 127.0.0.1"),
    ("GET", "/assets/" + "../" * 1000 + "etc/passwd", "Host: 127.0.0.1"),
    ("GET", "//evil.example/%2e%2e", "Host: 127.0.0.1"),
    ("GET", "http://evil.example/", "Host: 127.0.0.1"),
    ("GET", "/map/", "Host: 127.0.0.1"),
    ("OPTIONS", "*", "Host: 127.0.0.1"),
    ("CONNECT", "evil.example:443", "Host: 127.0.0.1"),
    ("TRACE", "/", "Host: 127.0.0.1"),
    ("BREW", "/", "Host: 127.0.0.1"),
    ("get", "/", "Host: 127.0.0.1"),
    ("A" * 10_000, "/", "Host: 127.0.0.1"),
    ("GET", "/", "Host: 127.0.0.1\r\n" + "X: y\r\n" * 20_000),
    ("GET", "/", "Host: 127.0.0.1\r\nX: " + "y" * 100_000),
    ("GET", "/", "Host: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: upgrade"),
    ("GET", "/", "Host: 127.0.0.1\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings"),
    ("POST", "/songs", "Host: 127.0.0.1\r\nExpect: 100-continue\r\nContent-Length: 0"),
    ("GET", "/", "Host: 127.0.0.1\r\nX-Forwarded-For: \xff, ::1%, [\r\nX-Forwarded-Proto: \x00"),
    ("GET", "/", "Host: 127.0.0.1\r\nRange: bytes=9-1, x\r\nIf-Modified-Since: never\r\nCookie: ;;="),
]


def as_sent(method: str, target: str, headers: str) -> bytes:
    """A request, with nothing in it put right."""
    return f"{method} {target} HTTP/1.1\r\n{headers}\r\nConnection: close\r\n\r\n".encode("latin-1", "replace")


def statuses(client: httpx.Client, request: bytes) -> list[int]:
    """Of all that is answered."""
    with connect(client, b"") as connection:
        try:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            answer = read_all(connection)
        except OSError:  # it had heard enough
            return []
    return [int(line[9:12]) for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]


class TestNonsense:
    @pytest.mark.parametrize("number", range(len(STRANGE)))
    def test_is_no_failure_of_the_server(self, client: httpx.Client, number: int) -> None:
        answered = statuses(client, as_sent(*STRANGE[number]))
        assert all(status < 500 for status in answered)
        assert client.get("/").status_code == 200

    def test_an_origin_that_is_none_is_not_this_servers(self, client: httpx.Client) -> None:
        for origin in ("http://[::1", "http://127.0.0.1]", "\x7f", "http://[::1]:x"):
            response = client.get("/", headers={"origin": origin})
            assert response.status_code == 403
            assert response.json() == {"error": "Only this server's own page may send it requests."}

    def test_no_mutant_of_a_request_is_a_failure_of_the_server(self, client: httpx.Client) -> None:
        generator = random.Random(0)
        seeds = [
            f"{m} {t} HTTP/1.1\r\n{h}\r\nConnection: close\r\n\r\n".encode("latin-1", "replace") for m, t, h in STRANGE
        ]
        answered = 0
        for _ in range(500):
            request = bytearray(generator.choice(seeds)[:2000])
            for _ in range(generator.randrange(1, 8)):
                place = generator.randrange(len(request))
                request[place : place + generator.randrange(3)] = generator.randbytes(generator.randrange(3))
            found = statuses(client, bytes(request))
            answered += bool(found)
            assert all(status < 500 for status in found), bytes(request)
        assert answered > 100
        assert client.get("/").status_code == 200


class TestScratch:
    def test_folders_of_the_dead_are_swept_and_no_others(self, temporary: Path) -> None:
        dead = Path(tempfile.mkdtemp(prefix=PREFIX))
        (dead / ".lock").touch()
        (dead / "song0").write_text("somebody's")
        alive, foreign = Path(tempfile.mkdtemp(prefix=PREFIX)), Path(tempfile.mkdtemp(prefix="artistid-other-"))
        file, open_to_all = temporary / f"{PREFIX}file", temporary / f"{PREFIX}open"
        file.touch()
        open_to_all.mkdir()
        open_to_all.chmod(0o777)
        (temporary / f"{PREFIX}link").symlink_to(foreign)
        with FileLock(alive / ".lock"), Scratch() as own:
            assert not dead.exists()
            assert alive.is_dir()
            assert foreign.is_dir()
            assert file.is_file()
            assert open_to_all.is_dir()
            assert own.folder.stat().st_mode & 0o777 == 0o700
        assert not own.folder.exists()
        with Scratch():
            assert not alive.exists()  # its owner is dead by now
        for path in (file, temporary / f"{PREFIX}link"):
            path.unlink()
        for path in (foreign, open_to_all):
            path.rmdir()

    def test_another_users_folder_is_left(self, temporary: Path) -> None:
        if os.geteuid() != 0:
            pytest.skip("only root can make a folder of another user's")
        theirs = Path(tempfile.mkdtemp(prefix=PREFIX))
        os.chown(theirs, 12345, 12345)
        with Scratch():
            assert theirs.is_dir()
        theirs.rmdir()

    def test_many_that_start_at_once_keep_their_folders(self, temporary: Path) -> None:
        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(lambda _: Scratch(), range(40)))
        assert all(each.folder.is_dir() for each in made)
        for each in made:
            each.__exit__()
        assert not any(each.folder.exists() for each in made)


@contextmanager
def busy_server(checkpoint: Path, folder: Path, busy: str) -> Iterator[subprocess.Popen[str]]:
    """A server that has something to do yet: uploads that idle or trickle, or a song of half an hour to be heard."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(folder))
        with serving(checkpoint) as (address, process), ExitStack() as stack:
            client = stack.enter_context(httpx.Client(base_url=address))
            if busy == "idle uploads":
                for _ in range(9):
                    stack.enter_context(connect(client, IDLE))
                stack.enter_context(connect(client, b"GET / HT"))
                stack.enter_context(connect(client, b"GET /assets/plotly.js HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 50))
            else:
                write_audio(folder / "long.flac", np.tile(make_song(1, np.random.default_rng(0), 60), 30))
                whole = (folder / "long.flac").read_bytes()
                stack.enter_context(connect(client, HEAD + b"Content-Length: %d\r\n\r\n" % len(whole) + whole))
            wait_until(lambda: any(folder.glob(f"{PREFIX}*/song*")))
            time.sleep(1)
            yield process


@pytest.mark.slow
class TestEnding:
    @pytest.mark.parametrize(
        ("busy", "by", "code"),
        [("idle uploads", signal.SIGTERM, 143), ("a song that is heard", signal.SIGINT, 130)],
    )
    def test_a_signal_ends_it_in_one_line(
        self, checkpoint: Path, tmp_path: Path, busy: str, by: signal.Signals, code: int
    ) -> None:
        with busy_server(checkpoint, tmp_path, busy) as process:
            begun = time.monotonic()
            process.send_signal(by)
            out, err = process.communicate(timeout=connections.GIVE_UP_SECONDS + 20)
            print(f"\nwith {busy} ended {time.monotonic() - begun:.1f} s after {by.name}")
        assert process.returncode == code
        assert out == ""
        assert err == "stopped: no song is kept; the same command serves the page again\n"

    def test_what_a_killed_one_leaves_is_swept_by_the_next(self, checkpoint: Path, tmp_path: Path) -> None:
        with busy_server(checkpoint, tmp_path, "idle uploads") as process:
            process.kill()
            process.wait()
        (left,) = tmp_path.glob(f"{PREFIX}*")
        assert list(left.glob("song*"))
        with busy_server(checkpoint, tmp_path, "idle uploads"):
            assert not left.exists()
            assert len(list(tmp_path.glob(f"{PREFIX}*"))) == 1
