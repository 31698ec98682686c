"""Limits on connections, below HTTP: how many there may be, and how long one may keep the server waiting.

uvicorn itself limits how long a connection may rest between two requests, but not one that never completes its first
request or never reads its answer.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from http import HTTPStatus
from types import FrameType

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from artistid.errors import ArtistidError
from artistid.web.guests import SHARE, client_address
from artistid.web.uploads import RETRY_SECONDS

MOST_CONNECTIONS = 512
# Connections accepted at once, and those waiting to be accepted: the event loop takes three rounds until it reads from
# them, and until then too many would block each other.
TAKEN_IN_AT_ONCE, WAITING_OUTSIDE = 16, 1024
# For the whole head of a request since the connection was made or the last answer was given; for reading each 48 kB of
# an answer; and, after an answer, for the rest of a request that was refused before it was complete.
PATIENCE_SECONDS = 15.0
CHECK_SECONDS = 1
STOP_SECONDS = 3.0  # for all clients to read their last answers
GIVE_UP_SECONDS = 10.0


class Connection(H11Protocol):
    """One connection of a client.

    If there are too many, one is closed for the newest: of the address that has most, so that a flood from elsewhere
    does not close those of a client with one or two; and of these, the one that has kept the server waiting longest. A
    declared proxy, which serves many clients, may have all of them.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        host = self.client[0] if self.client else None
        self.address = client_address(host)
        self._since = self.loop.time()
        if len(self.connections) <= MOST_CONNECTIONS // SHARE:
            return  # whoever they belong to
        others = [other for other in self.connections if isinstance(other, Connection) and other is not self]
        own = [
            other for other in others if other.address == self.address and host not in self.config.forwarded_allow_ips
        ]
        if len(own) >= MOST_CONNECTIONS // SHARE:
            self._replace_one(own, HTTPStatus.TOO_MANY_REQUESTS)
        elif len(others) >= MOST_CONNECTIONS:
            ((most, _),) = Counter(other.address for other in others).most_common(1)
            of_most = [other for other in others if other.address == most]
            self._replace_one(of_most, HTTPStatus.SERVICE_UNAVAILABLE)

    def _replace_one(self, connections: list[Connection], status: HTTPStatus) -> None:
        longest = max(connections, key=Connection.waited)
        if longest.waited():
            longest.drop()
        else:
            self._refuse(status, "Too many connections are open. Try again in a minute.")

    def waited(self) -> float:
        """Seconds for which the client has kept the server waiting; 0 while it is the server's turn."""
        at_rest = self.cycle is None or self.cycle.response_complete
        waiting = at_rest or self.flow.write_paused or self.transport.is_closing()
        return self.loop.time() - self._since if waiting else 0.0

    def end_if_overdue(self) -> None:
        """Closes the connection of a client that has kept the server waiting for too long."""
        if self.waited() <= PATIENCE_SECONDS:
            return
        if self.cycle is None and not self.transport.is_closing() and self.conn.trailing_data[0]:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, "The request arrived too slowly.")
            self._since = self.loop.time()
        else:
            self.drop()

    def drop(self) -> None:
        """Ends it at once; its place is free even before the event loop reports that it is closed."""
        self.connections.discard(self)
        self.transport.abort()

    def on_response_complete(self) -> None:
        self._since = self.loop.time()
        super().on_response_complete()

    def pause_writing(self) -> None:
        self._since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._since = self.loop.time()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Uvicorn's answer to what is not HTTP, in this server's format."""
        self._refuse(HTTPStatus.BAD_REQUEST, msg)

    def _refuse(self, status: HTTPStatus, sentence: str) -> None:
        """Answers before there is a request that could be handed on, or in place of one, and closes."""
        body = json.dumps({"error": sentence}).encode()
        headers = [("content-type", "application/json"), ("content-length", str(len(body))), ("connection", "close")]
        if status != HTTPStatus.BAD_REQUEST:
            headers.append(("retry-after", str(RETRY_SECONDS)))
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):  # else an answer is under way
            for event in (
                h11.Response(status_code=status, headers=headers, reason=status.phrase.encode()),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


class Server(uvicorn.Server):
    """Serves an application until a signal comes, and then ends in bounded time, whatever clients do.

    Args:
        app: to be served; requests are not logged.
        on_stop: called when the server is to end; it must answer all requests it has begun.
        proxies: addresses of reverse proxies, whose word on the client's address is trusted.

    Attributes:
        stopped_by: the signal.
    """

    def __init__(self, app: ASGIApp, on_stop: Callable[[], None], proxies: Sequence[str] = ()) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=Connection,
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="error",  # malformed requests are not worth a log line
                access_log=False,
                proxy_headers=bool(proxies),
                forwarded_allow_ips=list(proxies),
                callback_notify=self._close_overdue,
                timeout_notify=CHECK_SECONDS,
                backlog=TAKEN_IN_AT_ONCE,
            )
        )
        self.stopped_by: signal.Signals | None = None
        self._on_stop = on_stop

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Ends the server; unlike uvicorn's, it does not raise the signal again, since the caller asks for it."""
        self.force_exit = self.should_exit
        self.should_exit = True
        self.stopped_by = signal.Signals(sig)
        last_resort = threading.Timer(GIVE_UP_SECONDS, os._exit, [128 + sig])  # if a thread does not return
        last_resort.daemon = True
        last_resort.start()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listening in sockets or ():
            listening.listen(WAITING_OUTSIDE)  # asyncio has one number for both

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._on_stop()
        asyncio.get_running_loop().call_later(STOP_SECONDS, self._hang_up)
        await super().shutdown(sockets)

    def _hang_up(self) -> None:
        for connection in list(self.server_state.connections):
            if isinstance(connection, Connection):
                connection.drop()

    async def _close_overdue(self) -> None:
        for connection in list(self.server_state.connections):
            if isinstance(connection, Connection):
                connection.end_if_overdue()


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket that listens; raises ArtistidError for an address that is not available."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ArtistidError(f"host={host} port={port} is not available: {error.strerror or error}") from error


def address_of(listening: socket.socket) -> str:
    """The URL of a listening socket."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
