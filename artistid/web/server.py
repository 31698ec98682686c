"""The page, its assets and its one endpoint, over HTTP.

Nothing is kept: a song lies in a temporary folder while it is processed, and all that is known of it goes back with the
answer. The page plays the file that the browser still has.
"""

from __future__ import annotations

import asyncio
import ipaddress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

import anyio
import anyio.from_thread
import anyio.to_thread
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from plotly.offline import get_plotlyjs
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from artistid import __version__
from artistid.errors import counted
from artistid.evaluation.plots import ARTIST_COLOURS
from artistid.inference.identification import columns
from artistid.printing import printable
from artistid.reporting.maps import CONFIG, SHAPES
from artistid.web.guests import Guest, Guests, Turns, client_address
from artistid.web.service import SongService
from artistid.web.uploads import RefusedError, Scratch, receive, shown_name


def page_facts(service: SongService, max_upload_mb: float) -> dict[str, Any]:
    """What ``page.html.jinja`` shows; of where the music lies, nothing."""
    identifier, specification = service.identifier, service.identifier.specification
    open_set = specification.open_set_threshold()
    return {
        "counted": counted,
        "artists": sorted(map(printable, identifier.artists), key=str.casefold),
        "network": str(specification.network["_target_"]).rsplit(".", 1)[-1],
        "data": printable(specification.data.get("name", "unnamed")),
        "n_recordings": len(specification.recordings),
        "split": specification.split["rule"],
        "clip_seconds": f"{identifier.clip_seconds:.3g}",
        "max_khz": f"{identifier.features.f_max / 1000:.3g}",
        "threshold": None if open_set is None else f"{open_set.threshold:.3f}",
        "max_upload_mb": f"{max_upload_mb:g}",
        "max_minutes": f"{service.max_minutes:g}",
        "n_compared": None if service.neighbourhood is None else len(service.neighbourhood.collection),
        "columns": columns(specification.vote),
        "vote": specification.vote,
        "palette": ARTIST_COLOURS,
        "symbols": [symbol for _, symbol, _ in SHAPES],
        "version": __version__,
    }


ASSETS = Path(__file__).parent / "assets"
MEDIA_TYPES = {".js": "text/javascript", ".css": "text/css"}
PIECE = 2**16  # bytes
# A browser fetches nothing from elsewhere for this page, whatever may have got into it.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Permissions-Policy": "microphone=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class UploadQueue:
    """Takes songs, and has them processed one after the other.

    Args:
        service: answers them.
        max_upload_mb: of a song.
        scratch: where they lie meanwhile.
    """

    def __init__(self, service: SongService, max_upload_mb: float, scratch: Scratch) -> None:
        self.service = service
        self.max_upload_mb = max_upload_mb
        self._scratch = scratch
        self._guests = Guests(max_upload_mb)
        self._turns = Turns()

    async def identify(self, request: Request) -> Response:
        """The answer to the song that is the request's body."""
        name = shown_name(request.query_params.get("name", ""))
        address = client_address(request.client.host if request.client else None)
        with self._guests.enter(address, name) as guest, self._scratch.file() as path:
            with guest.scope:
                return await self._answer(request, guest, path)
            if guest.reason is None:
                return Response(status_code=400)  # to no one
            raise guest.reason

    async def _answer(self, request: Request, guest: Guest, path: Path) -> Response:
        make_room = partial(self._guests.make_room, guest)
        announced = request.headers.get("content-length")
        try:
            await receive(request.stream(), path, guest.name, self.max_upload_mb, announced, make_room)
        except ClientDisconnect:
            return Response(status_code=400)
        self._guests.seat(guest)
        watching = asyncio.create_task(_until_it_leaves(request, guest))
        try:
            async with self._turns.turn(guest.address):
                answer = await anyio.to_thread.run_sync(
                    self.service.answer, path, guest.name, anyio.from_thread.check_cancelled
                )
        finally:
            watching.cancel()
        return JSONResponse(answer)

    def close(self) -> None:
        """Tell all who send or wait that the server ends, and process no more."""
        self._guests.close()


async def _until_it_leaves(request: Request, guest: Guest) -> None:
    """Ends the work for a guest that has disconnected."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    guest.send_away(None)


class OwnPageOnly:
    """Answers what is asked of this server under its own names, by its own page or by no page at all.

    A page from elsewhere could have its name point here (DNS rebinding), or post to here by plain address.

    Args:
        app: answers.
        names: host names, beside localhost and plain addresses, which no one can point elsewhere.
    """

    def __init__(self, app: ASGIApp, names: frozenset[str]) -> None:
        self._app = app
        self._names = names | {"localhost"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        answer = self._app
        if not self._is_own(host):
            answer = JSONResponse({"error": "This server does not answer to that name; names=[…] adds one."}, 421)
        elif origin is not None and _split(origin).netloc != host:
            answer = JSONResponse({"error": "Only this server's own page may send it requests."}, 403)
        await answer(scope, receive, _guarded(send))

    def _is_own(self, host: str) -> bool:
        name = _split(f"//{host}").hostname or ""
        return name in self._names or _is_address(name)


def _split(address: str) -> SplitResult:
    """The parts of an address; none of what is not an address."""
    try:
        return urlsplit(address)
    except ValueError:  # a bracket too many, letters that read as others
        return urlsplit("")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _guarded(send: Send) -> Send:
    """Adds the headers, and cuts what is large, so that of what a client does not take little waits in memory."""

    async def send_guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(HEADERS)
        elif message["type"] == "http.response.body":
            body = memoryview(message.get("body", b""))
            while len(body) > PIECE:
                await send({**message, "body": bytes(body[:PIECE]), "more_body": True})
                body = body[PIECE:]
            message = {**message, "body": bytes(body)}
        await send(message)

    return send_guarded


def application(queue: UploadQueue, names: frozenset[str]) -> Starlette:
    """The whole server, but for its connections. All that it shows is in memory: no path of a request becomes a file's.

    Args:
        queue: where songs are answered.
        names: host names that it may be asked for by, beside localhost and plain addresses.
    """
    neighbourhood = queue.service.neighbourhood
    html = environment(ASSETS).get_template("page.html.jinja").render(page_facts(queue.service, queue.max_upload_mb))
    pages = {
        "/": HTMLResponse(html),
        "/map": JSONResponse({"songs": neighbourhood and neighbourhood.map(), "plotly": CONFIG}),
        "/assets/plotly.js": Response(get_plotlyjs(), media_type="text/javascript"),
    }
    for path in ASSETS.iterdir():
        if path.suffix in MEDIA_TYPES:
            pages[f"/assets/{path.name}"] = Response(path.read_bytes(), media_type=MEDIA_TYPES[path.suffix])

    async def show(request: Request) -> Response:
        return pages[request.scope["path"]]

    app = Starlette(
        routes=[Route("/songs", queue.identify, methods=["POST"]), *(Route(path, show) for path in pages)],
        middleware=[Middleware(OwnPageOnly, names=names)],
        exception_handlers={RefusedError: _refuse, HTTPException: _no_such_page, Exception: _broken},
    )
    app.router.redirect_slashes = False
    return app


def environment(folder: Path) -> Environment:
    """Templates of a folder, in which what is filled in is never read as HTML."""
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    headers = {"Retry-After": str(error.retry_seconds)} if error.retry_seconds else None
    return JSONResponse({"error": str(error)}, error.status, headers)


async def _no_such_page(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": f"{error.detail}."}, error.status_code, error.headers)


async def _broken(request: Request, error: Exception) -> Response:
    """What is raised further after this, and logged."""
    return JSONResponse({"error": "The server failed to process this song; its log says why."}, 500)
