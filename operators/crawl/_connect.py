"""Connections: names resolved once and vetted, sockets to vetted addresses only, one TLS context a process."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import resource
import socket
import ssl
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from ._addresses import is_public
from ._reasons import FetchError, Reason

DNS_TIMEOUT_S: Final = 10.0
DNS_THREADS: Final = 64  # getaddrinfo holds one for as long as the name server takes
DNS_KEPT_S: Final = 300.0
MAX_NAMES: Final = 100_000
FILES: Final = 65_536  # open files that are asked for; many systems start with 1,024


@functools.cache
def tls_context(ca_file: str, ca_folder: str) -> ssl.SSLContext:
    """The system's authorities, or those that OpenSSL's variables name (which are the arguments, as keys).

    Loading them takes 10 to 30 ms: once a process, not once a request.
    """
    context = ssl.create_default_context()
    if not (ca_file or ca_folder or context.cert_store_stats()["x509_ca"]):
        import certifi  # the system has no bundle

        context.load_verify_locations(certifi.where())
    return context


def allow_many_files() -> None:
    """A connection is a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@dataclass(frozen=True, kw_only=True)
class Names:
    """What names were resolved to, kept over shards: host -> (until when, addresses or why there are none)."""

    known: dict[str, tuple[float, tuple[str, ...] | FetchError]] = field(default_factory=dict)
    allowed: set[str] = field(default_factory=set)  # addresses of hosts that the recipe allows

    def note(self, host: str, found: tuple[str, ...] | FetchError) -> None:
        """Failures are asked again sooner."""
        if len(self.known) >= MAX_NAMES:
            self.known.pop(next(iter(self.known)), None)
        self.known[host] = time.monotonic() + (DNS_KEPT_S / (5 if isinstance(found, FetchError) else 1)), found


class Resolver(AbstractResolver):
    """getaddrinfo in threads, each name once, however many requests wait for it."""

    def __init__(self, names: Names, allow_hosts: frozenset[str]) -> None:
        self._names = names
        self._allow_hosts = allow_hosts
        self._asked: dict[str, asyncio.Future[tuple[str, ...]]] = {}
        self._pool = ThreadPoolExecutor(DNS_THREADS, thread_name_prefix="resolve")
        self._threads = asyncio.Semaphore(DNS_THREADS)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """All addresses of a name. Raises FetchError when there is none, or one of them is not global."""
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in await self._vetted(host, port)
        ]

    async def _vetted(self, host: str, port: int) -> tuple[str, ...]:
        allowed = bool(self._allow_hosts) and not self._allow_hosts.isdisjoint((host, f"{host}:{port}"))
        found = await self._addresses(host, allowed)
        if allowed:
            self._names.allowed.update(found)
        elif private := [each for each in found if not is_public(each)]:
            raise FetchError(Reason.BLOCKED_ADDRESS, f"{host} has the address {private[0]}, which is not global")
        return found

    async def _addresses(self, host: str, allowed: bool) -> tuple[str, ...]:
        until, known = self._names.known.get(host, (0.0, ()))
        if until < time.monotonic():
            if host not in self._asked:
                self._asked[host] = asyncio.ensure_future(self._look_up(host, allowed))
                self._asked[host].add_done_callback(lambda _: self._asked.pop(host))
            return await asyncio.shield(self._asked[host])
        if isinstance(known, FetchError):
            raise known.again()
        return known

    async def _look_up(self, host: str, allowed: bool) -> tuple[str, ...]:
        try:
            found = await self._ask(host, allowed)
        except FetchError as error:
            if not error.transient:  # the next one asks again; a domain that stays silent is left alone
                self._names.note(host, error.again())
            raise
        self._names.note(host, found)
        return found

    async def _ask(self, host: str, allowed: bool) -> tuple[str, ...]:
        # The dot at the end keeps a cluster's search domains out of it: `web` must not become `web.svc.cluster.local`.
        name = host if allowed else f"{host}."
        await self._threads.acquire()  # the clock runs once a thread does
        asked = self._pool.submit(_getaddrinfo, name)
        asked.add_done_callback(functools.partial(self._free, asyncio.get_running_loop()))
        try:
            found = await asyncio.wait_for(asyncio.wrap_future(asked), DNS_TIMEOUT_S)
        except TimeoutError:
            raise FetchError(Reason.DNS_FAILED, f"no answer within {DNS_TIMEOUT_S:.0f} s", transient=True) from None
        except OSError as error:
            again = error.errno == socket.EAI_AGAIN
            raise FetchError(Reason.DNS_FAILED, str(error.strerror), transient=again) from None
        except UnicodeError as error:
            raise FetchError(Reason.INVALID_URL, str(error)) from None
        if not found:
            raise FetchError(Reason.DNS_FAILED, "no address")
        return found

    def _free(self, loop: asyncio.AbstractEventLoop, _: Future[tuple[str, ...]]) -> None:
        """A thread has its answer, which may be long after anybody waited for it."""
        if not loop.is_closed():
            with contextlib.suppress(RuntimeError):  # closed in between
                loop.call_soon_threadsafe(self._threads.release)

    async def aclose(self) -> None:
        """The same, for `aclosing`."""
        await self.close()

    async def close(self) -> None:
        """Threads that still wait for a name server end by themselves."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _getaddrinfo(host: str) -> tuple[str, ...]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(answer[4][0]) for answer in found))


class Sockets:
    """Makes the sockets: the last place before a connection, which every address comes through."""

    def __init__(self, names: Names, allow_hosts: frozenset[str]) -> None:
        self._allowed = names.allowed
        self._allowed.update(host if _is_bare(host) else host.rpartition(":")[0] for host in allow_hosts)

    def __call__(self, info: tuple[int, int, int, str, tuple[object, ...]]) -> socket.socket:
        family, kind, proto, _, address = info
        if not is_public(str(address[0])) and address[0] not in self._allowed:
            raise FetchError(Reason.BLOCKED_ADDRESS, f"{address[0]} is no global address")
        made = socket.socket(family, kind, proto)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made


def _is_bare(entry: str) -> bool:
    """`localhost` and `::1` have no port, `localhost:8000` has one."""
    return entry.count(":") != 1


def open_session(
    names: Names, resolver: Resolver, allow_hosts: frozenset[str], user_agent: str, accept: str
) -> aiohttp.ClientSession:
    """A session without cookies, proxies, redirects of its own, decoding, or limits that the scheduler sets anyway."""
    connector = aiohttp.TCPConnector(
        limit=0,
        ssl=tls_context(os.environ.get("SSL_CERT_FILE", ""), os.environ.get("SSL_CERT_DIR", "")),
        resolver=resolver,
        use_dns_cache=False,  # Resolver has one, which knows failures, too
        socket_factory=Sockets(names, allow_hosts),
        keepalive_timeout=5,
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": user_agent, "Accept": accept},
        auto_decompress=False,
        trust_env=False,
        read_bufsize=1 << 18,
        max_line_size=16_384,
        max_field_size=16_384,
        max_headers=256,
        requote_redirect_url=False,
    )
