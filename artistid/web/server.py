"""The page, its parts and its one question, over HTTP.

Nothing is kept: a song lies in a temporary folder while it is heard, and all that is known of it goes back with the
answer. The page plays the file that the browser still has.
"""

from __future__ import annotations

import ipaddress
import mimetypes
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import uvicorn
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from plotly.offline import get_plotlyjs
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from artistid.reporting.maps import CONFIG
from artistid.web.facts import page_facts
from artistid.web.listening import Listener
from artistid.web.uploads import RefusedError, receive, shown_name

ASSETS = Path(__file__).parent / "assets"
# Uploads that are being received, waiting or heard; each may take as much of the disk as an upload may.
MOST_AT_ONCE = 8
# A browser fetches nothing from elsewhere for this page, whatever may have got into it.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "media-src blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Permissions-Policy": "microphone=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


@dataclass
class Desk:
    """Takes songs, and has them heard one after the other: two at once would only share the processor.

    Attributes:
        listener: hears them.
        max_upload_mb: of a song.
    """

    listener: Listener
    max_upload_mb: float
    _n_present: int = field(default=0, init=False)
    _turn: anyio.Lock = field(default_factory=anyio.Lock, init=False)

    async def identify(self, request: Request) -> Response:
        """The answer to the song that is the request's body."""
        name = shown_name(request.query_params.get("name", ""))
        with self._seat(), tempfile.TemporaryDirectory(prefix="artistid-") as folder:
            path = Path(folder, "song")
            try:
                announced = request.headers.get("content-length")
                await receive(request.stream(), path, name, self.max_upload_mb, announced)
            except ClientDisconnect:
                return Response(status_code=400)  # to nobody
            async with self._turn:
                if await request.is_disconnected():
                    return Response(status_code=400)
                answer = await anyio.to_thread.run_sync(self.listener.answer, path, name)
        return JSONResponse(answer)

    @contextmanager
    def _seat(self) -> Iterator[None]:
        if self._n_present == MOST_AT_ONCE:
            raise RefusedError(503, f"{MOST_AT_ONCE} songs are waiting to be heard already. Try again in a minute.")
        self._n_present += 1
        try:
            yield
        finally:
            self._n_present -= 1


class OwnPageOnly:
    """Answers what is asked of this server under its own names, by its own page or by no page at all.

    A page from elsewhere could have its name point here (DNS rebinding), or post to here by plain address.

    Args:
        app: answers.
        names: host names, beside localhost and plain addresses, which nobody can point elsewhere.
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
        if not self._is_own(host):
            response = JSONResponse({"error": "This server has no such name; names=[…] may add it."}, 421)
            await response(scope, receive, send)
        elif origin is not None and urlsplit(origin).netloc != host:
            await JSONResponse({"error": "Only this server's own page may ask it."}, 403)(scope, receive, send)
        else:
            await self._app(scope, receive, _with_headers(send))

    def _is_own(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:  # a bracket too many
            return False
        return name in self._names or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(HEADERS)
        await send(message)

    return send_with_headers


def application(listener: Listener, max_upload_mb: float, names: frozenset[str]) -> Starlette:
    """The whole server.

    Args:
        listener: hears songs.
        max_upload_mb: of a song.
        names: host names that it may be asked for by, beside localhost and plain addresses.
    """
    mimetypes.add_type("text/javascript", ".js")  # some systems say otherwise, and browsers then refuse it
    html = _environment().get_template("page.html.jinja").render(page_facts(listener, max_upload_mb))
    song_map = listener.neighbourhood and listener.neighbourhood.map()

    async def show_page(request: Request) -> Response:
        return HTMLResponse(html)

    async def show_map(request: Request) -> Response:
        return JSONResponse({"songs": song_map, "plotly": CONFIG})

    async def show_plotly(request: Request) -> Response:
        return Response(get_plotlyjs(), media_type="text/javascript")

    return Starlette(
        routes=[
            Route("/", show_page),
            Route("/songs", Desk(listener, max_upload_mb).identify, methods=["POST"]),
            Route("/map", show_map),
            Route("/assets/plotly.js", show_plotly),
            Mount("/assets", StaticFiles(directory=ASSETS)),
        ],
        middleware=[Middleware(OwnPageOnly, names=names)],
        exception_handlers={RefusedError: _refuse, HTTPException: _no_such_page, Exception: _broken},
    )


def http_server(app: Starlette) -> uvicorn.Server:
    """Serves it; logs what fails, and not who asks what."""
    return uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, ws="none", lifespan="off"))


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    return JSONResponse({"error": str(error)}, error.status)


async def _no_such_page(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": f"{error.detail}."}, error.status_code, error.headers)


async def _broken(request: Request, error: Exception) -> Response:
    """What is raised further after this, and logged."""
    return JSONResponse({"error": "The server failed at this song; what went wrong stands in its log."}, 500)
