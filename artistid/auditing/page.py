"""A page to review an audit's suspects by ear: every decision is in the table before the next is requested."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from artistid.auditing.folder import COLUMNS, YES, AuditFolder
from artistid.config import plain
from artistid.data.catalog import Catalog, clean
from artistid.data.sources.base import path_below
from artistid.data.sources.catalog_file import write_rows
from artistid.errors import ArtistidError
from artistid.packages import require_extra
from artistid.printing import printable, say

PAGE = 25  # songs sent to the browser at once
LONGEST_NAME = 500  # characters of an artist's name


class Review:
    """The table of an audit, and the decisions about its suspects.

    Args:
        folder: of a finished audit.

    Raises:
        ArtistidError: it has no finished audit.
    """

    def __init__(self, folder: AuditFolder) -> None:
        self.root = Path(folder.read_summary()["root"])
        self.table = folder.table
        self._rows = folder.read_table()
        self._suspects = [row for row in self._rows if row["suspect"] == YES]
        filed = {track.track_id: track.artist for track in Catalog.from_csv(folder.catalog)}  # before any correction
        self._filed = [filed.get(row["track_id"], row["artist"]) for row in self._suspects]
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._suspects)

    @property
    def artists(self) -> list[str]:
        """The artists that songs are filed under, sorted."""
        return sorted({row["artist"] for row in self._rows} - {""}, key=str.casefold)

    def songs(self, first: int) -> dict[str, Any]:
        """A page of the suspects, their number, and how many are decided."""
        some = range(max(0, first), min(max(0, first) + PAGE, len(self)))
        return {
            "songs": [self._plain(number) for number in some],
            "total": len(self),
            "page": PAGE,
            "decided": sum(row["checked"] == YES for row in self._suspects),
        }

    def _plain(self, number: int) -> dict[str, Any]:
        row = self._suspects[number]
        texts = {name: printable(row[name]) for name in ("artist", "album", "title", "path", "proposed")}
        numbers = {name: float(row[name]) for name in ("probability", "own_probability")}
        return {"number": number, "filed": self._filed[number], "checked": row["checked"] == YES, **texts, **numbers}

    def decide(self, number: int, artist: str | None) -> dict[str, Any]:
        """Write the artist of a song into the table.

        Args:
            number: of the suspect.
            artist: empty: the song is to be left out; None: it is undecided again, under the artist it was filed under.
        """
        with self._lock:
            row = self._suspects[number]
            before = row["artist"], row["checked"]
            row["artist"] = self._filed[number] if artist is None else clean(artist)
            row["checked"] = "" if artist is None else YES
            try:
                write_rows(self.table, COLUMNS, ({name: each[name] for name in COLUMNS} for each in self._rows))
            except OSError:
                row["artist"], row["checked"] = before
                raise
            return {"song": self._plain(number), "decided": sum(row["checked"] == YES for row in self._suspects)}

    def file(self, number: int) -> Path:
        """The audio file of a suspect, below the collection's root."""
        return path_below(self.root, self._suspects[number]["path"], self.table)


def review(config: DictConfig) -> None:
    """Serve the page until a signal ends it.

    Raises:
        ArtistidError: no finished audit is there, a package is not installed, or the address is taken.
        SystemExit: at the end, with the exit code that a shell expects after the signal.
    """
    settings: dict[str, Any] = plain(config)
    require_extra("app", "the page of an audit")
    from artistid.web.connections import Server, address_of, listening_socket

    songs = Review(AuditFolder(settings["review"]))
    if not len(songs):
        raise ArtistidError(f"review={settings['review']}: the audit has no suspects to listen to")
    names = frozenset(name.lower() for name in (settings["host"], *settings["names"]))
    with listening_socket(settings["host"], settings["port"]) as listening:
        server = Server(application(songs, names), lambda: None)
        say(f"listening at {address_of(listening)} (Ctrl-C stops it); decisions are written to {songs.table}")
        server.run([listening])
    if server.stopped_by:
        sys.exit(128 + server.stopped_by)


def application(songs: Review, names: frozenset[str]) -> Any:
    """The server: only a suspect's number, and nothing else in a request, selects a file of the collection."""
    import anyio.to_thread
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.middleware import Middleware
    from starlette.requests import Request
    from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
    from starlette.routing import Route

    from artistid.web import server

    assets = Path(__file__).parent / "assets"
    html = (
        server.environment(assets)
        .get_template("review.html.jinja")
        .render(artists=[printable(name) for name in songs.artists], table=printable(songs.table))
    )
    files = {name: (folder / name).read_bytes() for folder, name in _files(assets, server.ASSETS)}

    def number_of(request: Request) -> int:
        number: int = request.path_params["number"]
        if number >= len(songs):
            raise HTTPException(404)
        return number

    async def page(request: Request) -> Response:
        return HTMLResponse(html)

    async def asset(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in files:
            raise HTTPException(404)
        return Response(files[name], media_type=server.MEDIA_TYPES[Path(name).suffix])

    async def listed(request: Request) -> Response:
        first = request.query_params.get("first", "0")
        return JSONResponse(songs.songs(int(first) if first.isdecimal() else 0))

    async def play(request: Request) -> Response:
        path = songs.file(number_of(request))
        if not path.is_file():
            raise HTTPException(404)
        return FileResponse(path)

    async def decide(request: Request) -> Response:
        number, said = number_of(request), await _json(request)
        artist = said.get("artist") if isinstance(said, dict) and "artist" in said else 0
        if artist is not None and (not isinstance(artist, str) or len(artist) > LONGEST_NAME):
            raise HTTPException(400, 'Expected {"artist": a name, an empty text or null}')
        try:
            return JSONResponse(await anyio.to_thread.run_sync(songs.decide, number, artist))
        except OSError as error:
            raise HTTPException(500, f"The table {songs.table} cannot be written: {error.strerror}") from error

    async def refuse(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return JSONResponse({"error": f"{error.detail}."}, error.status_code)

    async def _json(request: Request) -> Any:
        try:
            return await request.json()
        except ValueError:
            return None

    return Starlette(
        routes=[
            Route("/", page),
            Route("/assets/{name}", asset),
            Route("/songs", listed),
            Route("/songs/{number:int}", decide, methods=["POST"]),
            Route("/songs/{number:int}/audio", play),
        ],
        middleware=[Middleware(server.OwnPageOnly, names=names)],
        exception_handlers={HTTPException: refuse},
    )


def _files(own: Path, shared: Path) -> Iterator[tuple[Path, str]]:
    """The files of the page: its own, and ``words.js`` of the other page."""
    yield from ((own, name) for name in ("review.js", "review.css"))
    yield shared, "words.js"
