"""The page, its assets and its endpoints, over HTTP.

Nothing is kept except the embeddings of enrolled songs: a song is in a temporary folder while it is processed, and all
that is known about it is sent back with the answer. The page plays the browser's own copy of the file.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar
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
from artistid.data.audio import AUDIO_SUFFIXES
from artistid.data.catalog import Track, clean, read_rows
from artistid.errors import ArtistidError, counted
from artistid.evaluation.plots import ARTIST_COLOURS
from artistid.inference.collection_writer import EmbeddedSong
from artistid.inference.identification import columns
from artistid.printing import printable
from artistid.reporting.maps import CONFIG, SHAPES
from artistid.web.enrolments import Drafts
from artistid.web.guests import Guest, Guests, Turns, client_address
from artistid.web.known import KnownSongs
from artistid.web.service import SongService, StillWanted
from artistid.web.uploads import RefusedError, Scratch, receive, shown_name


def page_facts(service: SongService, max_upload_mb: float) -> dict[str, Any]:
    """What ``page.html.jinja`` shows; nothing about where the music is stored."""
    identifier, specification = service.identifier, service.identifier.specification
    open_set = specification.open_set_threshold()
    known = service.known
    neighbourhood = known.now().neighbourhood if known else None
    enrolled = known is not None and known.names_enrolled
    return {
        "counted": counted,
        "artists": sorted(map(printable, identifier.artists), key=str.casefold),
        "network": str(specification.network["_target_"]).rsplit(".", 1)[-1],
        "data": printable(specification.data.get("name", "unnamed")),
        "n_recordings": len(specification.recordings),
        "split": specification.split.get("rule", "unknown"),
        "clip_seconds": f"{identifier.clip_seconds:.3g}",
        "max_khz": f"{identifier.features.f_max / 1000:.3g}",
        "threshold": None if open_set is None else f"{open_set.threshold:.3f}",
        "max_upload_mb": f"{max_upload_mb:g}",
        "max_minutes": f"{service.max_minutes:g}",
        "endings": sorted(AUDIO_SUFFIXES),
        "compares": known is not None,
        "n_compared": 0 if neighbourhood is None else len(neighbourhood.collection),
        "enrolled": enrolled,
        "may_enrol": known is not None and known.settings.enrol,
        "min_seconds": f"{known.settings.min_seconds:g}" if known else None,
        "columns": ("llr", "songs") if enrolled else columns(specification.vote),
        "vote": specification.vote,
        "palette": ARTIST_COLOURS,
        "symbols": [symbol for _, symbol, _ in SHAPES],
        "version": __version__,
    }


ASSETS = Path(__file__).parent / "assets"
MEDIA_TYPES = {".js": "text/javascript", ".css": "text/css"}
PIECE = 2**16  # bytes
# A browser loads nothing from elsewhere for this page, whatever may have been injected into it.
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


Result = TypeVar("Result")
Work = Callable[[Path, str, StillWanted], Result]  # of a song's file and name


class UploadQueue:
    """Accepts songs, and has them processed one after the other.

    Args:
        service: answers them.
        max_upload_mb: of a song.
        scratch: where they are stored meanwhile.
    """

    def __init__(self, service: SongService, max_upload_mb: float, scratch: Scratch) -> None:
        self.service = service
        self.max_upload_mb = max_upload_mb
        self._scratch = scratch
        self._guests = Guests(max_upload_mb)
        self._turns = Turns()
        self._drafts = Drafts()

    async def identify(self, request: Request) -> Response:
        """The answer to the song that is the request's body."""
        return await self._process(request, self.service.answer, JSONResponse)

    async def check(self, request: Request) -> Response:
        """Whether the song that is the request's body is by the claimed artist."""
        artist, folder = (clean(request.query_params.get(by, "")) for by in ("artist", "folder"))
        return await self._process(request, partial(self.service.check, artist=artist, folder=folder), JSONResponse)

    async def read_claims(self, request: Request) -> Response:
        """The rows of the list of claims that is the request's body."""
        return await self._process(request, _claims, JSONResponse)

    async def begin_enrolment(self, request: Request) -> Response:
        """A token, with which to send an artist's songs."""
        artist = clean(printable(request.query_params.get("artist", "")))
        if not artist:
            raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, "The artist's name is missing: expected artist=NAME.")
        more = request.query_params.get("more") == "true"
        await anyio.to_thread.run_sync(self._known.check_new, artist, more)
        return JSONResponse({"enrolment": self._drafts.begin(_address_of(request), artist, more)})

    async def add_to_enrolment(self, request: Request) -> Response:
        """Keep the embedding of the song that is the request's body until its artist is enrolled."""
        token = request.path_params["token"]
        album = clean(printable(request.query_params.get("album", "")))

        def added(embedded: tuple[EmbeddedSong, Track, tuple[str, ...]]) -> Response:
            song, track, warnings = embedded
            self._drafts.add(token, song, track)
            told = {"title": printable(track.title), "album": printable(track.album), "seconds": song.duration_s}
            return JSONResponse({**told, "warnings": warnings})

        work = partial(self.service.embed, artist=self._drafts.get(token).artist, album=album)
        return await self._process(request, work, added)

    async def end_enrolment(self, request: Request) -> Response:
        """Enrol the artist from the songs that have been sent."""
        draft = self._drafts.get(request.path_params["token"])
        if not draft.songs:
            raise RefusedError(HTTPStatus.CONFLICT, "No song has been sent to enrol the artist from.")
        work = partial(self._known.enrol, draft.songs, draft.tracks, draft.more)
        n_artists = await anyio.to_thread.run_sync(work)
        self._drafts.end(request.path_params["token"])
        return JSONResponse({"artist": draft.artist, "songs": len(draft.songs), "artists": n_artists})

    async def forget_enrolment(self, request: Request) -> Response:
        """Cancel an enrolment."""
        self._drafts.end(request.path_params["token"])
        return JSONResponse({})

    @property
    def _known(self) -> KnownSongs:
        assert self.service.known is not None  # else this route would not exist
        return self.service.known

    async def _process(self, request: Request, work: Work[Result], answered: Callable[[Result], Response]) -> Response:
        """Process the song that is the request's body."""
        name = shown_name(request.query_params.get("name", ""))
        with self._guests.enter(_address_of(request), name) as guest, self._scratch.file() as path:
            try:
                with guest.scope:
                    return answered(await self._processed(request, guest, path, work))
            except ClientDisconnect:
                guest.reason = None
            if guest.reason is None:
                return Response(status_code=400)  # to no one
            raise guest.reason

    async def _processed(self, request: Request, guest: Guest, path: Path, work: Work[Result]) -> Result:
        make_room = partial(self._guests.make_room, guest)
        announced = request.headers.get("content-length")
        await receive(request.stream(), path, guest.name, self.max_upload_mb, announced, make_room)
        self._guests.seat(guest)
        watching = asyncio.create_task(_until_it_leaves(request, guest))
        try:
            async with self._turns.turn(guest.address):
                return await anyio.to_thread.run_sync(work, path, guest.name, anyio.from_thread.check_cancelled)
        finally:
            watching.cancel()

    def close(self) -> None:
        """Tell all who send or wait that the server is ending, and process no more."""
        self._guests.close()


def _address_of(request: Request) -> str:
    return client_address(request.client.host if request.client else None)


async def _until_it_leaves(request: Request, guest: Guest) -> None:
    """Ends the work for a guest that has disconnected."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    guest.send_away(None)


def _claims(path: Path, name: str, still_wanted: StillWanted) -> list[dict[str, str]]:
    """A list of claims, with the columns path and artist; raises RefusedError if it is not one."""
    try:
        rows = read_rows(path, ("path", "artist"), "list of claims")
    except ArtistidError as error:
        raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{str(error).replace(str(path), name)}.") from error
    return [{"path": printable(row["path"]), "artist": printable(clean(row["artist"]))} for row in rows]


class OwnPageOnly:
    """Answers only requests to the server's own names, from its own page or from no page at all.

    A page from elsewhere could let its name point here (DNS rebinding), or post to the IP address.

    Args:
        app: answers.
        names: host names, besides localhost and IP addresses, which nobody can redirect.
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
    """The parts of a URL; empty ones for what is not a URL."""
    try:
        return urlsplit(address)
    except ValueError:  # unbalanced brackets, characters that normalise to others
        return urlsplit("")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _guarded(send: Send) -> Send:
    """Adds the headers, and cuts large bodies, so that little of what a client does not read waits in memory."""

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
    """The whole server, except its connections. No path of a request becomes the path of a file.

    Args:
        queue: where songs are answered.
        names: host names that it answers to, besides localhost and IP addresses.
    """
    known = queue.service.known
    template = environment(ASSETS).get_template("page.html.jinja")
    files = {"/assets/plotly.js": Response(get_plotlyjs(), media_type="text/javascript")}
    for path in ASSETS.iterdir():
        if path.suffix in MEDIA_TYPES:
            files[f"/assets/{path.name}"] = Response(path.read_bytes(), media_type=MEDIA_TYPES[path.suffix])

    async def show_file(request: Request) -> Response:
        return files[request.scope["path"]]

    # These read the collection as it is now, in a thread that may wait for it.
    def show_page(request: Request) -> Response:
        return HTMLResponse(template.render(page_facts(queue.service, queue.max_upload_mb)))

    def show_map(request: Request) -> Response:
        neighbourhood = known and known.now().neighbourhood
        return JSONResponse({"songs": neighbourhood and neighbourhood.map(), "plotly": CONFIG})

    def show_artists(request: Request) -> Response:
        assert known is not None
        return JSONResponse(known.artists())

    routes = [Route("/", show_page), Route("/map", show_map), Route("/songs", queue.identify, methods=["POST"])]
    if known and known.names_enrolled:
        routes += [
            Route("/artists", show_artists),
            Route("/claims", queue.check, methods=["POST"]),
            Route("/claims/list", queue.read_claims, methods=["POST"]),
        ]
        if known.settings.enrol:
            routes += [
                Route("/enrolments", queue.begin_enrolment, methods=["POST"]),
                Route("/enrolments/{token}", queue.end_enrolment, methods=["POST"]),
                Route("/enrolments/{token}", queue.forget_enrolment, methods=["DELETE"]),
                Route("/enrolments/{token}/songs", queue.add_to_enrolment, methods=["POST"]),
            ]
    app = Starlette(
        routes=[*routes, *(Route(path, show_file) for path in files)],
        middleware=[Middleware(OwnPageOnly, names=names)],
        exception_handlers={RefusedError: _refuse, HTTPException: _no_such_page, Exception: _broken},
    )
    app.router.redirect_slashes = False
    return app


def environment(folder: Path) -> Environment:
    """Templates of a folder, whose values are never read as HTML."""
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
    """The answer to an error that is raised again and logged."""
    return JSONResponse({"error": "The server failed to process this song; its log says why."}, 500)
