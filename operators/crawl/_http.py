"""One GET: time limits, byte caps, and whatever a server or a library may come up with sorted into a reason."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
from yarl import URL

from ._addresses import is_public
from ._encodings import decode_body
from ._reasons import FetchError, Reason

IN_FLIGHT_BYTES: Final = 256 << 20  # of bodies that a fetcher reads or has not handed over, however many connections
UNKNOWN_BYTES: Final = 1 << 20  # is reserved for a body that comes without its length
LONG_AT_ONCE: Final = 16  # of these that turn out to be longer
LOOP_BYTES: Final = 1 << 16  # what is packed in more is decoded in a thread, and holds nobody up
NO_BODY: Final = frozenset({301, 302, 303, 307, 308, *range(400, 600)})  # these bodies are not read
CLOSE: Final = {"Connection": "close"}


@dataclass(frozen=True, slots=True)
class Response:
    """A status, headers, and the body with its content coding undone."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    sent_bytes: int  # before the coding was undone


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Of one request. `cut`: hand over the first `max_bytes` instead of refusing a longer body."""

    max_bytes: int
    cut: bool = False


class BodyRoom:
    """How many bytes of bodies may be held at once. A task reserves before it reads, and leaves when it is done."""

    def __init__(self, room_bytes: int = IN_FLIGHT_BYTES) -> None:
        self._all = self._free = room_bytes
        self._held: dict[object, int] = {}
        self._waiters: deque[tuple[int, asyncio.Future[None]]] = deque()
        self.long = asyncio.Semaphore(LONG_AT_ONCE)  # to be held for a body that is longer than its room

    async def enter(self, size: int) -> None:
        """Wait for room, first come, first served."""
        size = min(size, self._all)
        if self._waiters or size > self._free:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append((size, waiter))
            try:
                await waiter
            except asyncio.CancelledError:
                if not waiter.cancelled():
                    self._free += size
                self._admit()
                raise
        else:
            self._free -= size
        task = asyncio.current_task()
        self._held[task] = self._held.get(task, 0) + size

    def leave(self) -> None:
        """The task holds no body any more."""
        self._free += self._held.pop(asyncio.current_task(), 0)
        self._admit()

    def _admit(self) -> None:
        while self._waiters:
            size, waiter = self._waiters[0]
            if not waiter.done():
                if size > self._free:
                    return
                self._free -= size
                waiter.set_result(None)
            self._waiters.popleft()


class Client:
    """GETs over a session; raises FetchError for whatever is no response."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        connect_timeout_s: float,
        read_timeout_s: float,
        codings: str,
        checked: bool,
        room: BodyRoom,
    ) -> None:
        """`codings`: Accept-Encoding. `checked`: the peer's address must be global (nothing is in `allow_hosts`)."""
        self._room = room
        self._session = session
        self._timeouts = aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout_s, sock_read=read_timeout_s)
        self._headers = {"Accept-Encoding": codings}
        self._checked = checked

    async def get(
        self,
        url: URL,
        limits: Limits,
        timeout_s: float,
        *,
        last: bool = False,
        check: Callable[[Any], None] | None = None,
    ) -> Response:
        """`last`: no other request to this host follows. `check` sees the headers and may raise FetchError."""
        headers = {**self._headers, **CLOSE} if last else self._headers
        status: int | None = None
        try:
            async with (
                asyncio.timeout(timeout_s) as clock,
                self._session.get(url, allow_redirects=False, timeout=self._timeouts, headers=headers) as response,
            ):
                status = response.status
                if self._checked:
                    _check_peer(response)
                if status in NO_BODY:
                    response.close()
                    return Response(status, response.headers, b"", 0)
                if check is not None:
                    check(response.headers)
                body = await _read(response, limits, self._room, clock)
                sent, coding = len(body), response.headers.get("Content-Encoding")
                if coding:
                    body = await _decoded(body, coding, limits)
                return Response(status, response.headers, body, sent)
        except Exception as error:  # noqa: BLE001  sorted, and nothing is lost: the message stays with the row
            told = _sorted(error)
            told.http_status = status
            raise told from None


def _check_peer(response: aiohttp.ClientResponse) -> None:
    """Belt and braces: the address at the other end is the one that was vetted."""
    connection = response.connection
    if connection is None or connection.transport is None:  # a short body is here already, and its connection is free
        return
    peer = connection.transport.get_extra_info("peername")
    if peer is not None and not is_public(peer[0]):
        response.close()
        raise FetchError(Reason.BLOCKED_ADDRESS, f"connected to {peer[0]}")


async def _decoded(body: bytes, coding: str, limits: Limits) -> bytes:
    decode = functools.partial(decode_body, body, coding, limits.max_bytes, cut=limits.cut)
    return decode() if len(body) < LOOP_BYTES else await asyncio.to_thread(decode)


async def _read(response: aiohttp.ClientResponse, limits: Limits, room: BodyRoom, clock: asyncio.Timeout) -> bytes:
    length = response.content_length
    if length is not None and length > limits.max_bytes and not limits.cut:
        response.close()
        raise FetchError(Reason.TOO_LARGE, f"{length:,} bytes announced; at most {limits.max_bytes:,}")
    with _stopped(clock):  # that others hold so much is not this host's fault
        await room.enter(min(UNKNOWN_BYTES if length is None else length, limits.max_bytes))
    if length is not None and length <= limits.max_bytes:
        return await response.content.read()
    async with contextlib.AsyncExitStack() as held:
        return await _read_on(response, limits, room, clock, held)


@contextlib.contextmanager
def _stopped(clock: asyncio.Timeout) -> Iterator[None]:
    """A time limit that does not run on meanwhile."""
    loop, end = asyncio.get_running_loop(), clock.when()
    begin = loop.time()
    clock.reschedule(None)
    yield
    if end is not None:
        clock.reschedule(end + loop.time() - begin)


async def _read_on(
    response: aiohttp.ClientResponse,
    limits: Limits,
    room: BodyRoom,
    clock: asyncio.Timeout,
    held: contextlib.AsyncExitStack,
) -> bytes:
    """A body of unknown length, up to the cap."""
    parts, size = list[bytes](), 0
    while part := await response.content.readany():
        parts.append(part)
        if size <= UNKNOWN_BYTES < size + len(part):
            with _stopped(clock):
                await held.enter_async_context(room.long)
        size += len(part)
        if size > limits.max_bytes:
            response.close()
            if limits.cut:
                return b"".join(parts)[: limits.max_bytes]
            raise FetchError(Reason.TOO_LARGE, f"more than {limits.max_bytes:,} bytes")
    return b"".join(parts)


def _sorted(error: Exception) -> FetchError:
    """The reason for what aiohttp raised."""
    message = f"{type(error).__name__}: {error}"[:200]
    cause: BaseException | None = error
    while cause is not None:  # a refusal of the resolver or the socket, wrapped
        if isinstance(cause, FetchError):
            return cause
        cause = cause.__cause__
    for kind, reason in _SORTED:
        if isinstance(error, kind):
            return FetchError(reason, message)
    return FetchError(Reason.BAD_RESPONSE, message)


_SORTED: Final[tuple[tuple[type[BaseException], Reason], ...]] = (  # the special before the general
    (aiohttp.ConnectionTimeoutError, Reason.CONNECT_TIMEOUT),
    (TimeoutError, Reason.TIMEOUT),
    (aiohttp.ClientSSLError, Reason.TLS_FAILED),
    (aiohttp.ClientConnectorCertificateError, Reason.TLS_FAILED),
    (aiohttp.ClientConnectorDNSError, Reason.DNS_FAILED),
    (aiohttp.ClientConnectorError, Reason.CONNECT_FAILED),
    (aiohttp.ClientPayloadError, Reason.TRUNCATED),
    (aiohttp.ServerDisconnectedError, Reason.TRUNCATED),
    (ConnectionError, Reason.TRUNCATED),
    (aiohttp.ClientOSError, Reason.TRUNCATED),
    (aiohttp.InvalidURL, Reason.INVALID_URL),
    (UnicodeError, Reason.INVALID_URL),
)
