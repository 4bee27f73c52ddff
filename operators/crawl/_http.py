"""One GET: time limits, byte caps, and whatever a server or a library may come up with sorted into a reason."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
from yarl import URL

from ._addresses import is_public
from ._encodings import decode_body
from ._reasons import FetchError, Reason

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


class Client:
    """GETs over a session; raises FetchError for whatever is no response."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        connect_timeout_s: float,
        read_timeout_s: float,
        codings: str,
        checked: bool,
    ) -> None:
        """`codings`: Accept-Encoding. `checked`: the peer's address must be global (nothing is in `allow_hosts`)."""
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
                asyncio.timeout(timeout_s),
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
                body = await _read(response, limits)
                sent, coding = len(body), response.headers.get("Content-Encoding")
                if coding:
                    body = decode_body(body, coding, limits.max_bytes)
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


async def _read(response: aiohttp.ClientResponse, limits: Limits) -> bytes:
    length = response.content_length
    if length is not None and length <= limits.max_bytes:
        return await response.content.read()
    if length is not None and not limits.cut:
        response.close()
        raise FetchError(Reason.TOO_LARGE, f"{length:,} bytes announced; at most {limits.max_bytes:,}")
    parts, size = [], 0
    while part := await response.content.readany():
        parts.append(part)
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
