"""The clients being served, and what each takes of the scarce resources: upload slots, disk space, processing time.

Browsers are anonymous, so clients are told apart by their addresses. None gets more than half of anything, so that an
attack from one address leaves the other half. Many clients may share one address, behind a router or an undeclared
proxy; they are helped by the rule that no slot is held idle: a slow upload is evicted as soon as slots are short, and
times out in any case.
"""

from __future__ import annotations

import ipaddress
import math
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import anyio

from artistid.errors import counted
from artistid.web.uploads import MEGABYTE, RETRY_SECONDS, RefusedError

MOST_SENDING = 128
MOST_WAITING = 128  # complete songs, which are processed one after the other
MOST_SONGS_ON_DISK = 8  # of maximal size; there may be more of smaller ones
SHARE = 2  # an address may have this fraction (1/SHARE) of everything

# The pace of an upload. A song of 200 MB takes half an hour at 0.9 Mbit/s.
SECONDS_TO_BEGIN = 10.0
LEAST_RATE = 10_000.0  # bytes per second, after that
MOST_SECONDS = 1800.0
# Only uploads that are slower than this are evicted for others.
SLOW_RATE = 100_000.0  # bytes per second
SHORTEST_SECONDS = 0.001

AGAIN = "Try again in a minute."
SENDING, WAITING = "being sent", "waiting to be processed"


@dataclass(eq=False)
class Guest:
    """One song and its sender, from the first byte to the answer.

    Attributes:
        address: whose limits it counts against.
        name: of the song, for messages.
        begun: when, on the event loop's clock.
        n_bytes: received so far.
        waiting: whether the upload is complete.
        scope: ends, when it is cancelled, whatever is being done for it.
        reason: why it was sent away; None if it left.
    """

    address: str
    name: str
    begun: float = field(default_factory=anyio.current_time)
    n_bytes: int = 0
    waiting: bool = False
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    reason: RefusedError | None = None

    def __post_init__(self) -> None:
        self.reason = RefusedError(408, f"{self.name} arrived too slowly, so the server stopped waiting for it.")
        self._set_deadline()

    @property
    def rate(self) -> float:
        """Bytes per second since it began."""
        return self.n_bytes / max(anyio.current_time() - self.begun, SHORTEST_SECONDS)

    def took(self, n_bytes: int) -> None:
        """Count more of the upload."""
        self.n_bytes += n_bytes
        self._set_deadline()

    def send_away(self, reason: RefusedError | None) -> None:
        """End all work for it."""
        self.reason = reason
        self.scope.cancel()

    def _set_deadline(self) -> None:
        self.scope.deadline = self.begun + min(SECONDS_TO_BEGIN + self.n_bytes / LEAST_RATE, MOST_SECONDS)


class Guests:
    """All clients being served.

    Args:
        max_upload_mb: of a song.
    """

    def __init__(self, max_upload_mb: float) -> None:
        self._most_bytes = int(MOST_SONGS_ON_DISK * max_upload_mb * MEGABYTE)
        self._guests: dict[Guest, None] = {}  # in order of arrival
        self._closed = False

    @contextmanager
    def enter(self, address: str, name: str) -> Iterator[Guest]:
        """A slot to upload a song.

        Raises:
            RefusedError: there is none.
        """
        if self._closed:
            raise stopping()
        sending = [guest for guest in self._guests if not guest.waiting]
        own = [guest for guest in sending if guest.address == address]
        if len(own) >= MOST_SENDING // SHARE:
            self._have_slowest_leave(own, RefusedError(429, _too_many(len(own), SENDING, own=True), RETRY_SECONDS))
        elif len(sending) >= MOST_SENDING:
            self._have_slowest_leave(sending, RefusedError(503, _too_many(len(sending), SENDING), RETRY_SECONDS))
        guest = Guest(address, name)
        self._guests[guest] = None
        try:
            yield guest
        finally:
            self._guests.pop(guest, None)

    def make_room(self, guest: Guest, n_bytes: int) -> None:
        """Reserve disk space for more of a song.

        Raises:
            RefusedError: there is none.
        """
        used = Counter[str]()
        for other in self._guests:
            used[other.address] += other.n_bytes
        if used[guest.address] + n_bytes > self._most_bytes / SHARE:
            raise RefusedError(
                429,
                f"Songs from your address take up all the disk space that one address may have. {AGAIN}",
                RETRY_SECONDS,
            )
        if used.total() + n_bytes > self._most_bytes:
            self._have_last_of_most_leave(used, list(self._guests), guest, f"The disk space for songs is full. {AGAIN}")
        guest.took(n_bytes)

    def seat(self, guest: Guest) -> None:
        """A slot to wait in, for a complete upload.

        Raises:
            RefusedError: there is none.
        """
        seated = [other for other in self._guests if other.waiting]
        waiting = Counter(other.address for other in seated)
        if (own := waiting[guest.address]) >= MOST_WAITING // SHARE:
            raise RefusedError(429, _too_many(own, WAITING, own=True), RETRY_SECONDS)
        if len(seated) >= MOST_WAITING:
            self._have_last_of_most_leave(waiting, seated, guest, _too_many(len(seated), WAITING))
        guest.waiting = True
        guest.scope.deadline = math.inf

    def close(self) -> None:
        """Send all away, newcomers included."""
        self._closed = True
        for guest in list(self._guests):
            guest.send_away(stopping())

    def _have_last_of_most_leave(self, taken: Counter[str], guests: list[Guest], guest: Guest, sentence: str) -> None:
        """Evict the latest guest of the address that has taken most, or refuse this one if it is of that address."""
        reason = RefusedError(503, sentence, RETRY_SECONDS)
        (greediest, most), *_ = taken.most_common(1)
        if most <= taken[guest.address]:
            raise reason
        self._have_leave([other for other in guests if other.address == greediest and other.n_bytes][-1], reason)

    def _have_slowest_leave(self, sending: list[Guest], refusal: RefusedError) -> None:
        """The slowest upload is evicted, if it is slow; else the newcomer is refused."""
        slowest = min(sending, key=lambda guest: guest.rate)
        if slowest.rate > SLOW_RATE:
            raise refusal
        self._have_leave(
            slowest,
            RefusedError(408, f"{slowest.name} arrived slowly, and others needed its place. {AGAIN}", RETRY_SECONDS),
        )

    def _have_leave(self, guest: Guest, reason: RefusedError) -> None:
        del self._guests[guest]  # at once: its slot is another's now
        guest.send_away(reason)


class Turns:
    """One song is processed at a time: two would only share the processor.

    Of those who wait, the one whose address has had the least processing time goes first, so that nobody waits for the
    many or long songs of another; when nobody waits, these times are reset.
    """

    def __init__(self) -> None:
        self._busy = False
        self._waiting: list[tuple[str, anyio.Event]] = []
        self._seconds: defaultdict[str, float] = defaultdict(float)

    @asynccontextmanager
    async def turn(self, address: str) -> AsyncIterator[None]:
        """Waits until it is this address's turn, which lasts as long as the context."""
        if self._busy:
            await self._wait(address)
        self._busy = True
        begun = anyio.current_time()
        try:
            yield
        finally:
            self._seconds[address] += anyio.current_time() - begun
            self._pass_on()

    async def _wait(self, address: str) -> None:
        ticket = address, anyio.Event()
        self._waiting.append(ticket)
        try:
            await ticket[1].wait()
        except BaseException:  # cancelled: whoever waited has left
            if ticket in self._waiting:
                self._waiting.remove(ticket)
            else:
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        if not self._waiting:
            self._busy = False
            self._seconds.clear()
            return
        following = min(self._waiting, key=lambda ticket: self._seconds[ticket[0]])  # of equals, the first to come
        self._waiting.remove(following)
        following[1].set()


def stopping() -> RefusedError:
    """What those still connected get when the server ends."""
    return RefusedError(503, "The server is shutting down.", RETRY_SECONDS)


def client_address(host: str | None) -> str:
    """The address that a client counts as: its own, or for IPv6 the /64 network that one customer is given.

    Example:
        >>> client_address("::ffff:192.168.1.7"), client_address("2001:db8:1:2:3:4:5:6")
        ('192.168.1.7', '2001:db8:1:2::/64')
    """
    try:
        address = ipaddress.ip_address((host or "").partition("%")[0])
    except ValueError:  # a proxy may send anything
        return host or ""
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))


def _too_many(n_songs: int, doing: str, own: bool = False) -> str:
    return f"{counted(n_songs, 'song')}{' from your address' if own else ''} already {doing}. {AGAIN}"
