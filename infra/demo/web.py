"""A small web on loopback: one port a site, and servers that are slow, that break off and that lie.

What each path answers is an `Answer`; its `how` names the misbehaviours, all of which real servers show.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Literal, Self

HOST: Final = "127.0.0.1"
FIRST_PORT: Final = 8765
DRIP_S: Final = 0.5  # one byte each: no pause is long, and the body never ends
PORTS_TRIED: Final = 50
FLAKY_TIMES: Final = 1  # a flaky server refuses so often, then answers
REASONS: Final = {
    200: "OK", 301: "Moved Permanently", 302: "Found", 403: "Forbidden", 404: "Not Found", 410: "Gone",
    500: "Internal Server Error", 503: "Service Unavailable",
}  # fmt: skip

# How a connection may end: broken off, no request (any more), too long a one, or the web is closed.
ENDS: Final = (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError)

How = Literal["", "gzip", "flaky", "drip", "silent", "endless", "short", "cut", "reset"]


@dataclass(frozen=True)
class Answer:
    """What a server sends for a path.

    `how`: `gzip` compresses, `flaky` says 503 before the first answer, `drip` sends a byte now and then, `silent` never
    answers, `endless` never stops, `short` promises fewer bytes than it has, `cut` promises all and sends a half,
    `reset` hangs up without a word.
    """

    body: bytes = b""
    content_type: str = "text/html; charset=utf-8"
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    how: How = ""


class Web:
    """Serves `answers` (site -> path -> answer), a port a site in their order from `first_port`, while it is entered.

    `requests` counts what was asked for, by (site, path).
    """

    def __init__(self, answers: Mapping[str, Mapping[str, Answer]], first_port: int = FIRST_PORT) -> None:
        self.answers = answers
        self.ports = {site: first_port + i for i, site in enumerate(answers)}
        self.requests: Counter[tuple[str, str]] = Counter()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._servers: list[asyncio.Server] = []

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        except OSError:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> None:
        for site, port in self.ports.items():
            self._servers.append(await asyncio.start_server(self._connection(site), HOST, port, backlog=512))

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _connection(self, site: str) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(*ENDS):
                while await self._exchange(site, reader, writer):
                    pass
            writer.close()

        return serve

    async def _exchange(self, site: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; False when the connection is done with."""
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
        path = target.partition("#")[0]
        self.requests[site, path] += 1
        answer = self.answers[site].get(path, NOT_FOUND)
        if answer.how == "flaky" and self.requests[site, path] <= FLAKY_TIMES:
            answer = BUSY
        if answer.how == "silent":
            await gone(reader)
        if answer.how in ("silent", "reset"):
            writer.transport.abort()
            return False
        done = await send(answer, writer, method == "HEAD")
        if answer.how == "drip":
            await gone(reader)
        return done


async def gone(reader: asyncio.StreamReader) -> None:
    """Until the client has had enough."""
    while await reader.read(1024):
        pass


async def send(answer: Answer, writer: asyncio.StreamWriter, head_only: bool) -> bool:
    """Write the answer in its own way; False when the connection must end with it."""
    body = gzip.compress(answer.body, 6, mtime=0) if answer.how == "gzip" else answer.body
    promised = {"short": len(body) // 2, "drip": 10**6, "endless": None}.get(answer.how, len(body))
    writer.write(_head(answer, promised))
    if head_only:
        return True
    if answer.how == "drip":
        for byte in body:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(DRIP_S)
        return False
    while answer.how == "endless":
        writer.write(body or bytes(65_536))
        await writer.drain()
    writer.write(body[: len(body) // 2] if answer.how == "cut" else body)
    await writer.drain()
    return answer.how not in ("cut", "short")


def _head(answer: Answer, promised: int | None) -> bytes:
    lines = [f"HTTP/1.1 {answer.status} {REASONS[answer.status]}"]
    if answer.content_type:
        lines.append(f"Content-Type: {answer.content_type}")
    lines += [f"{name}: {value}" for name, value in answer.headers]
    lines.append("Connection: close" if promised is None else f"Content-Length: {promised}")
    if answer.how == "gzip":
        lines.append("Content-Encoding: gzip")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def free_ports(n: int, first: int = FIRST_PORT) -> int:
    """The first of `n` ports in a row on which nobody listens."""
    for start in range(first, first + PORTS_TRIED * n, n):
        if all(_is_free(port) for port in range(start, start + n)):
            return start
    raise OSError(f"no {n} free ports in a row from {first} on")


def _is_free(port: int) -> bool:
    with socket.socket() as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            door.bind((HOST, port))
        except OSError:
            return False
    return True


def moved(to: str, status: int = 301) -> Answer:
    """A redirect."""
    return Answer(status=status, headers=(("Location", to),))


NOT_FOUND: Final = Answer(b"<!DOCTYPE html><title>Not Found</title><h1>Not Found</h1>", status=404)
BUSY: Final = Answer(b"busy", "text/plain", status=503, headers=(("Retry-After", "0"),))
