"""The story that ``app`` tells: open the network, and serve its page."""

from __future__ import annotations

import importlib.util
import socket
from typing import Any

from omegaconf import DictConfig

from artistid.config import plain
from artistid.errors import ArtistidError
from artistid.trust import trusted

NEEDED = ("starlette", "uvicorn")


def serve(config: DictConfig) -> None:
    """Serve the page until it is interrupted.

    Raises:
        ArtistidError: bad settings, what the page needs is not installed, or an address that is not to be had.
    """
    settings: dict[str, Any] = plain(config)
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise ArtistidError(f"the page needs {' and '.join(missing)}: pip install 'artistid[app]'")
    _check(settings)
    trust = trusted(config)
    from artistid.data.sound import Limits
    from artistid.inference.identifier import Identifier
    from artistid.web.listening import Listener
    from artistid.web.neighbourhood import Neighbourhood
    from artistid.web.server import application, http_server

    with _listening_socket(settings["host"], settings["port"]) as listening:
        identifier = Identifier.from_checkpoint(settings["checkpoint"], settings["device"], trust)
        neighbourhood = None
        if settings["collection"]:
            neighbourhood = Neighbourhood.open(settings["collection"], identifier, settings["nearest"])
        listener = Listener(
            identifier, settings["max_minutes"], settings["top"], neighbourhood, Limits(**settings["limits"])
        )
        names = frozenset(name.lower() for name in (settings["host"], *settings["names"]))
        app = application(listener, settings["max_upload_mb"], names)
        print(f"listening at {_address(listening)} (Ctrl-C ends it)", flush=True)
        http_server(app).run([listening])


def _check(settings: dict[str, Any]) -> None:
    """Raises ArtistidError for a setting that is missing or out of its range."""
    if not settings["checkpoint"]:
        raise ArtistidError("checkpoint=PATH is missing: the best.ckpt of a run folder")
    for setting in ("max_upload_mb", "max_minutes"):
        if not isinstance(settings[setting], int | float) or not settings[setting] > 0:
            raise ArtistidError(f"{setting}={settings[setting]}: expected a number above 0")
    for setting in ("top", "nearest"):
        if not isinstance(settings[setting], int) or settings[setting] < 1:
            raise ArtistidError(f"{setting}={settings[setting]}: expected 1 or more")
    if not isinstance(settings["port"], int) or not 0 <= settings["port"] < 2**16:
        raise ArtistidError(f"port={settings['port']}: expected 0 to {2**16 - 1}")
    if not isinstance(settings["names"], list) or not all(isinstance(name, str) for name in settings["names"]):
        raise ArtistidError(f"names={settings['names']}: expected a [list] of host names")


def _listening_socket(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ArtistidError(f"host={host} port={port} is not to be had: {error.strerror or error}") from error


def _address(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
