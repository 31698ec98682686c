"""A web page that names the artist of a song: ``python -m artistid.app checkpoint=PATH``."""

from __future__ import annotations

if __name__ == "__main__":
    from artistid.cli import run

    run("app")

import ipaddress
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from artistid.config import plain
from artistid.errors import ArtistidError, require_path
from artistid.packages import require_extra
from artistid.printing import say
from artistid.trust import trusted

if TYPE_CHECKING:
    from artistid.web.server import UploadQueue


def app(config: DictConfig) -> None:
    """Serve the page until a signal ends it.

    Raises:
        ArtistidError: bad settings, a package that is not installed, or an address that is not available.
        SystemExit: at the end, with the exit code that a shell expects after the signal.
    """
    settings: dict[str, Any] = plain(config)
    require_extra("app", "the page")
    _check(settings)
    trust = trusted(config)
    from artistid.inference.identifier import Identifier
    from artistid.prepare import limits_of
    from artistid.web.connections import Server, address_of, listening_socket
    from artistid.web.known import KnownSettings, KnownSongs
    from artistid.web.server import UploadQueue, application
    from artistid.web.service import SongService
    from artistid.web.uploads import Scratch

    with listening_socket(settings["host"], settings["port"]) as listening:
        identifier = Identifier.from_checkpoint(settings["checkpoint"], settings["device"], trust)
        known = None
        if settings["collection"]:
            use = ("false_alarms", "enrol", "min_seconds")
            how = KnownSettings(settings["nearest"], **{name: settings[name] for name in use})
            known = KnownSongs(settings["collection"], identifier, how)
        service = SongService(identifier, settings["max_minutes"], settings["top"], known, limits_of(config))
        names = frozenset(name.lower() for name in (settings["host"], *settings["names"]))
        with Scratch() as scratch:
            queue = UploadQueue(service, settings["max_upload_mb"], scratch)
            server = Server(application(queue, names), partial(_stop, queue), settings["proxies"])
            say(f"listening at {address_of(listening)} (Ctrl-C stops it)")
            server.run([listening])
    if server.stopped_by:
        sys.exit(128 + server.stopped_by)


def _stop(queue: UploadQueue) -> None:
    say("stopped: no song is kept; the same command serves the page again", to=sys.stderr)
    queue.close()


def _check(settings: dict[str, Any]) -> None:
    """Raises ArtistidError for a missing setting, or for a bad value that its type allows."""
    require_path(settings, "checkpoint", "the best.ckpt of a run folder")
    for setting in ("max_upload_mb", "max_minutes"):
        if not settings[setting] > 0:
            raise ArtistidError(f"{setting}={settings[setting]}: expected a number above 0")
    if settings["enrol"]:
        require_path(settings, "collection", "with enrol=true the file of enrolled artists, created with the first")
    for proxy in settings["proxies"]:
        try:
            ipaddress.ip_address(proxy)
        except ValueError:
            raise ArtistidError(f"proxies={settings['proxies']}: {proxy!r} is not an IP address") from None
