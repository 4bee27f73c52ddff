"""A web server on loopback that does to a crawler what servers do: one path for each misbehaviour.

`HostileWeb` serves by the functions in `PATHS`: each gets the writer and the request, and may do as it likes.
"""

from __future__ import annotations

import asyncio
import gzip
import ssl
import threading
import time
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from drawing import encoded, picture

JPEG = encoded(picture(1))
HTML = b"<!DOCTYPE html><html><title>Not found</title><p>There is no such picture.</p></html>"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'


@dataclass
class Request:
    path: str
    headers: dict[str, str]
    web: HostileWeb

    @property
    def count(self) -> int:
        """How often this path was asked for, this time included."""
        return self.web.requests[self.path]


Answer = Callable[[asyncio.StreamWriter, Request], Awaitable[None]]


def head(status: int = 200, *headers: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status} Word", *headers, "", ""]).encode("latin-1")


def body(data: bytes, *headers: str, status: int = 200) -> Answer:
    """A whole, honest answer."""

    async def answer(writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(head(status, f"Content-Length: {len(data)}", *headers) + data)

    return answer


def raw(data: bytes) -> Answer:
    """These bytes, then the connection is closed."""

    async def answer(writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(data)
        await writer.drain()
        writer.close()

    return answer


def redirect(to: str, status: int = 302) -> Answer:
    return body(b"", f"Location: {to}", status=status)


async def drip(writer: asyncio.StreamWriter, request: Request) -> None:
    """One byte now and then, without an end."""
    writer.write(head(200, "Content-Length: 1000000"))
    while True:
        writer.write(b"\xff")
        await writer.drain()
        await asyncio.sleep(0.05)


async def silent(writer: asyncio.StreamWriter, request: Request) -> None:
    await asyncio.sleep(3600)


async def half_a_head(writer: asyncio.StreamWriter, request: Request) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: ima")
    await asyncio.sleep(3600)


async def stops(writer: asyncio.StreamWriter, request: Request) -> None:
    writer.write(head(200, "Content-Length: 100000") + JPEG[:500])
    await asyncio.sleep(3600)


async def reset(writer: asyncio.StreamWriter, request: Request) -> None:
    writer.write(head(200, f"Content-Length: {len(JPEG)}") + JPEG[:500])
    await writer.drain()
    await asyncio.sleep(0.05)
    writer.transport.abort()


async def endless_chunks(writer: asyncio.StreamWriter, request: Request) -> None:
    writer.write(head(200, "Transfer-Encoding: chunked") + b"5\r\nabcde\r\n")
    await asyncio.sleep(3600)


async def endless(writer: asyncio.StreamWriter, request: Request) -> None:
    """10 GB without a length."""
    writer.write(head(200, "Content-Type: image/jpeg"))
    for _ in range(10_000):
        writer.write(b"\xff" * 1_000_000)
        await writer.drain()


async def further(writer: asyncio.StreamWriter, request: Request) -> None:
    """A redirect to itself with another query, for ever."""
    await redirect(f"/further?{request.count}")(writer, request)


async def flaky(writer: asyncio.StreamWriter, request: Request) -> None:
    answer = body(JPEG) if request.count > 1 else body(b"", status=500)
    await answer(writer, request)


async def busy(writer: asyncio.StreamWriter, request: Request) -> None:
    answer = body(JPEG) if request.count > 1 else body(b"", "Retry-After: 1", status=429)
    await answer(writer, request)


def gzip_bomb(size: int = 200_000_000) -> bytes:
    pack = zlib.compressobj(9, wbits=31)
    return b"".join([*(pack.compress(bytes(1_000_000)) for _ in range(size // 1_000_000)), pack.flush()])


def brotli_bomb() -> bytes:
    import brotli

    return brotli.compress(bytes(50_000_000), quality=4)


def zstd_bomb() -> bytes:
    from backports import zstd

    return zstd.compress(bytes(50_000_000))


def paths() -> dict[str, Answer]:
    past = format_datetime(datetime.now(UTC) - timedelta(days=1), usegmt=True)
    packed = gzip.compress(JPEG)
    return {
        "/good.jpg": body(JPEG, "Content-Type: image/jpeg"),
        "/page.html": body(HTML, "Content-Type: text/html"),
        # H1, H2: slow
        "/drip": drip,
        "/silent": silent,
        "/half_a_head": half_a_head,
        "/stops": stops,
        # H3: cut off
        "/reset": reset,
        "/too_short": raw(head(200, "Content-Length: 100000") + JPEG),
        "/endless_chunks": endless_chunks,
        "/cut_chunks": raw(head(200, "Transfer-Encoding: chunked") + b"5\r\nabc"),
        "/no_answer": raw(b""),
        "/until_closed": raw(head(200, "Connection: close") + JPEG),
        # H4, H5: redirects
        "/further": further,
        "/loop": redirect("/loop"),
        "/to_good": redirect("/good.jpg"),
        "/five": redirect("/four"),
        "/four": redirect("/three"),
        "/three": redirect("/two"),
        "/two": redirect("/to_good"),
        "/six": redirect("/five"),
        "/to_file": redirect("file:///etc/passwd"),
        "/to_ftp": redirect("ftp://example.org/a.jpg"),
        "/to_gopher": redirect("gopher://example.org/"),
        "/to_metadata": redirect("http://169.254.169.254/latest/meta-data/"),
        "/to_private": redirect("http://10.0.0.1/a.jpg"),
        "/to_v6": redirect("http://[::1]/a.jpg"),
        "/to_mapped": redirect("http://[::ffff:127.0.0.1]/a.jpg"),
        "/to_nat64": redirect("http://[64:ff9b::7f00:1]/a.jpg"),
        "/to_user": redirect("http://user:pass@example.org/"),
        "/to_nonsense": redirect("http://[::bad/"),
        "/to_nothing": body(b"", status=302),
        # H6: codings
        "/gzip": body(packed, "Content-Encoding: gzip"),
        "/members": body(gzip.compress(JPEG[:99]) + gzip.compress(JPEG[99:]), "Content-Encoding: gzip"),
        "/gzip_cut": body(packed[:-200], "Content-Encoding: gzip"),
        "/gzip_bomb": body(gzip_bomb(), "Content-Encoding: gzip"),
        "/br_bomb": body(brotli_bomb(), "Content-Encoding: br"),
        "/zstd_bomb": body(zstd_bomb(), "Content-Encoding: zstd"),
        "/deflate_bomb": body(zlib.compress(bytes(50_000_000), 9), "Content-Encoding: deflate"),
        "/nested": body(gzip.compress(packed), "Content-Encoding: gzip, gzip"),
        "/nested_bombs": body(gzip.compress(gzip_bomb()), "Content-Encoding: gzip, gzip"),
        "/three_codings": body(packed, "Content-Encoding: gzip, gzip, gzip"),
        "/unknown_coding": body(JPEG, "Content-Encoding: rot13"),
        "/false_coding": body(JPEG, "Content-Encoding: gzip"),
        # H7: large
        "/endless": endless,
        "/announced": raw(head(200, "Content-Length: 10000000000") + JPEG),
        # H8: something else
        "/html_as_jpeg": body(HTML, "Content-Type: image/jpeg"),
        "/svg_as_png": body(SVG, "Content-Type: image/png"),
        "/jpeg_as_html": body(JPEG, "Content-Type: text/html"),
        "/noise": body(bytes(range(1, 200)), "Content-Type: image/jpeg"),
        "/tiff": body(b"II*\0" + bytes(99), "Content-Type: image/jpeg"),
        "/nothing": body(b"", "Content-Type: image/jpeg"),
        "/no_content": raw(head(204)),
        # H9: too many requests
        "/busy": busy,
        "/always_busy": body(b"", "Retry-After: 0", status=429),
        "/rest_in_past": body(b"", f"Retry-After: {past}", status=503),
        "/rest_negative": body(b"", "Retry-After: -5", status=503),
        # H10: headers
        "/cookies": body(JPEG, *(f"Set-Cookie: a{i}=b; Path=/" for i in range(100))),
        "/many_headers": body(JPEG, *(f"X-{i}: y" for i in range(10_000))),
        "/long_header": body(JPEG, "X-Long: " + "y" * 1_000_000),
        "/bad_header": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nbad header\x00: \xff\r\n\r\nx"),
        "/two_lengths": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"),
        "/no_http": raw(b"SSH-2.0-OpenSSH_9.6\r\n"),
        # others
        "/missing": body(HTML, "Content-Type: text/html", status=404),
        "/broken": body(HTML, "Content-Type: text/html", status=500),
        "/flaky": flaky,
    }


@dataclass
class HostileWeb:
    """Serves in a thread of its own while it is entered; `requests` counts what was asked for."""

    answers: dict[str, Answer] = field(default_factory=paths)
    tls: ssl.SSLContext | None = None
    host: str = "127.0.0.1"
    requests: Counter[str] = field(default_factory=Counter)
    seen: list[Request] = field(default_factory=list)
    most_at_once: int = 0
    starts: list[float] = field(default_factory=list)
    port: int = 0

    def __enter__(self) -> HostileWeb:
        self._at_once = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def url(self, path: str) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}{path}"

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._open: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._connected, self.host, self.port, ssl=self.tls, backlog=1000)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            while not writer.is_closing():
                await self._answer(await reader.readuntil(b"\r\n\r\n"), writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError, asyncio.LimitOverrunError):
            pass  # how a connection ends
        finally:
            self._open.discard(task)
            writer.close()

    async def _answer(self, text: bytes, writer: asyncio.StreamWriter) -> None:
        line, *lines = text.decode("latin-1").split("\r\n")
        target = line.split(" ")[1]
        headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in lines if each)}
        path = target.partition("?")[0]
        self.requests[path] += 1
        self.starts.append(time.monotonic())
        request = Request(path, headers, self)
        self.seen.append(request)
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            await self.answers.get(path, body(b"", status=404))(writer, request)
            if not writer.is_closing():
                await writer.drain()
        finally:
            self._at_once -= 1
