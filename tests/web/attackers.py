"""Clients that mean ill, each in its own way, for a bounded time: ``python -m tests.web.attackers PORT SECONDS SONG``.

Every attacker has an address of its own on the loopback network, unless one is given for all.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

HEAD = b"POST /songs?name=%s HTTP/1.1\r\nHost: 127.0.0.1\r\n"
SENDING = HEAD % b"a.wav" + b"Content-Length: %d\r\n\r\n"


class Attacker:
    """One address, and what it opens.

    Args:
        port: of the server, on 127.0.0.1.
        address: to come from.
        end: until when, on the monotonic clock.
        song: a file that the server will answer.
    """

    def __init__(self, port: int, address: str, end: float, song: bytes) -> None:
        self.port, self.address, self.end, self.song = port, address, end, song
        self.generator = random.Random(address)

    async def connect(self, receive_buffer: int | None = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection from this address."""
        client = socket.socket()
        client.setblocking(False)
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.bind((self.address, 0))
        await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", self.port))
        return await asyncio.open_connection(sock=client)

    async def many(self, n: int, attack: Callable[[], Awaitable[None]]) -> None:
        """An attack on so many connections at once, again and again."""

        async def again() -> None:
            while time.monotonic() < self.end:
                with suppress(OSError, asyncio.IncompleteReadError):
                    await attack()
                await asyncio.sleep(0.2)

        await asyncio.gather(*(again() for _ in range(n)))

    async def drip(self, begun: bytes, piece: bytes, seconds: float) -> None:
        """Begins, and then sends a piece now and then; ends with the connection."""
        reader, writer = await self.connect()
        try:
            writer.write(begun)
            while time.monotonic() < self.end and not reader.at_eof():
                writer.write(piece)
                await writer.drain()
                with suppress(TimeoutError):
                    await asyncio.wait_for(reader.read(10_000), seconds)
        finally:
            writer.close()

    async def idle_bodies(self) -> None:
        await self.many(100, lambda: self.drip(SENDING % 1_000_000 + b"RIFF", b"", 5))

    async def a_byte_per_second(self) -> None:
        await self.many(100, lambda: self.drip(SENDING % 1_000_000, b"R", 1))

    async def slow_heads(self) -> None:
        await self.many(150, lambda: self.drip(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ", b"x", 1))

    async def silent_connections(self) -> None:
        await self.many(400, lambda: self.drip(b"", b"", 5))

    async def connection_flood(self) -> None:
        async def open_and_close() -> None:
            _, writer = await self.connect()
            writer.close()

        await self.many(20, open_and_close)

    async def huge_bodies(self) -> None:
        async def send_for_ever() -> None:
            _, writer = await self.connect()
            try:
                writer.write(HEAD % b"huge.wav" + b"Transfer-Encoding: chunked\r\n\r\n")
                while time.monotonic() < self.end:
                    writer.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
                    await writer.drain()
                    await asyncio.sleep(0.01)
            finally:
                writer.close()

        await self.many(8, send_for_ever)

    async def disconnects(self) -> None:
        async def hang_up() -> None:
            _, writer = await self.connect()
            writer.write(SENDING % len(self.song) + self.song[: self.generator.randrange(len(self.song))])
            await writer.drain()
            writer.transport.abort()

        await self.many(10, hang_up)

    async def disconnects_while_waiting(self) -> None:
        async def hang_up() -> None:
            _, writer = await self.connect()
            writer.write(SENDING % len(self.song) + self.song)
            await writer.drain()
            await asyncio.sleep(0.1)
            writer.transport.abort()

        await self.many(10, hang_up)

    async def slow_reading(self) -> None:
        async def ask_and_not_read() -> None:
            reader, writer = await self.connect(receive_buffer=4096)
            try:
                writer.write(b"GET /assets/plotly.js HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                while time.monotonic() < self.end and await reader.read(1):
                    await asyncio.sleep(1)
            finally:
                writer.close()

        await self.many(100, ask_and_not_read)

    async def malformed_requests(self) -> None:
        async def send_nonsense() -> None:
            reader, writer = await self.connect()
            try:
                writer.write(self.generator.randbytes(self.generator.randrange(1, 200)) + b"\r\n\r\n")
                await asyncio.wait_for(reader.read(), 1)
            except TimeoutError:
                return
            finally:
                writer.close()

        await self.many(10, send_nonsense)

    async def header_floods(self) -> None:
        async def send_headers() -> None:
            reader, writer = await self.connect()
            try:
                writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: y\r\n" * 50_000)
                await writer.drain()
                await reader.read()
            finally:
                writer.close()

        await self.many(4, send_headers)

    async def many_songs(self) -> None:
        async def ask() -> None:
            reader, writer = await self.connect()
            try:
                writer.write(
                    SENDING.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") % len(self.song) + self.song
                )
                await reader.read()
            finally:
                writer.close()

        await self.many(80, ask)


KINDS: tuple[Callable[[Attacker], Awaitable[None]], ...] = (
    Attacker.idle_bodies,
    Attacker.a_byte_per_second,
    Attacker.slow_heads,
    Attacker.silent_connections,
    Attacker.connection_flood,
    Attacker.huge_bodies,
    Attacker.disconnects,
    Attacker.disconnects_while_waiting,
    Attacker.slow_reading,
    Attacker.malformed_requests,
    Attacker.header_floods,
    Attacker.many_songs,
)


async def attack(port: int, seconds: float, song: bytes, kinds: list[str], address: str | None) -> None:
    """Attackers of some kinds at once."""
    end = time.monotonic() + seconds
    chosen = [(number, kind) for number, kind in enumerate(KINDS, start=1) if kind.__name__ in kinds]
    await asyncio.gather(*(kind(Attacker(port, address or f"127.0.3.{number}", end, song)) for number, kind in chosen))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("song", type=Path)
    parser.add_argument("--kinds", nargs="+", default=[kind.__name__ for kind in KINDS])
    parser.add_argument("--address")
    arguments = parser.parse_args()
    with suppress(asyncio.CancelledError):
        asyncio.run(
            attack(arguments.port, arguments.seconds, arguments.song.read_bytes(), arguments.kinds, arguments.address)
        )
