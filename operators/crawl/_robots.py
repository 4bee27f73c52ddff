"""robots.txt (RFC 9309) and TDMRep's file, once an origin and a day.

Protego matches; fetching, statuses, sizes and caching are here. 4xx: all is allowed. 5xx, silence, a broken answer:
nothing is. 429 counts as 5xx, as Google has it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from protego import Protego
from yarl import URL

from ._http import Response
from ._reasons import FetchError, Reason

ROBOTS_BYTES: Final = 500 << 10  # RFC 9309 asks for at least so much; what follows is not read
TDMREP_BYTES: Final = 64 << 10
KEPT_S: Final = 24 * 3600.0
FAILURE_KEPT_S: Final = 300.0
MAX_ORIGINS: Final = 20_000
Get = Callable[[URL, int], Awaitable[Response]]  # follows redirects; raises FetchError
# Here the host itself cannot be had, which says more of a row than its robots.txt does.
_OWN: Final = frozenset({
    *(Reason.DNS_FAILED, Reason.CONNECT_FAILED, Reason.CONNECT_TIMEOUT, Reason.TLS_FAILED, Reason.BLOCKED_ADDRESS),
    *(Reason.BLOCKED_DOMAIN, Reason.REFUSED_URL, Reason.INVALID_URL),
})  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What an origin says: `refusal` concerns all of it."""

    robots: Protego | None = None
    reserved: tuple[tuple[str, bool], ...] = ()  # TDMRep: patterns of paths, and whether they are reserved
    refusal: FetchError | None = None

    def check(self, url: URL, token: str) -> None:
        """Raises FetchError."""
        if self.refusal is not None:
            raise self.refusal.again()
        if self.robots is not None and not self.robots.can_fetch(str(url), token):
            raise FetchError(Reason.ROBOTS_DISALLOWED, f"robots.txt disallows {url.raw_path_qs[:200]}")
        for pattern, reserved in self.reserved:
            if _matches(pattern, url.raw_path_qs):
                if reserved:
                    raise FetchError(Reason.OPTED_OUT, f"tdmrep.json: {pattern[:200]}")
                break

    def delay_s(self, token: str) -> float:
        """Crawl-delay; 0 where there is none."""
        return 0.0 if self.robots is None else self.robots.crawl_delay(token) or 0.0

    @property
    def sitemaps(self) -> tuple[str, ...]:
        """URLs of sitemaps that robots.txt names."""
        return () if self.robots is None else tuple(self.robots.sitemaps)


@dataclass(frozen=True, kw_only=True)
class KnownRules:
    """Kept over shards: origin -> (until when, rules)."""

    known: dict[str, tuple[float, Rules]] = field(default_factory=dict)


class RobotsRules:
    """The rules of origins, each fetched once, however many requests wait for it."""

    def __init__(self, kept: KnownRules, get: Get, heed: Callable[[URL, Rules], None], tdmrep: bool) -> None:
        """`heed` is told of robots.txt before anything else is asked for."""
        self._kept = kept.known
        self._get, self._heed = get, heed
        self._tdmrep = tdmrep
        self._asked: dict[str, asyncio.Future[Rules]] = {}

    def ready(self, url: URL) -> Rules | None:
        """What is known of a URL's origin."""
        until, rules = self._kept.get(f"{url.scheme}://{url.raw_authority}", (0.0, None))
        return rules if until > time.monotonic() else None

    async def of(self, url: URL) -> Rules:
        """The rules of a URL's origin."""
        if (rules := self.ready(url)) is not None:
            return rules
        origin = f"{url.scheme}://{url.raw_authority}"
        if origin not in self._asked:
            self._asked[origin] = asyncio.ensure_future(self._fetch(origin))
            self._asked[origin].add_done_callback(lambda _: self._asked.pop(origin))
        return await asyncio.shield(self._asked[origin])

    async def _fetch(self, origin: str) -> Rules:
        rules = await self._robots(URL(f"{origin}/robots.txt"))
        self._heed(URL(origin), rules)
        if self._tdmrep and rules.refusal is None:
            rules = Rules(robots=rules.robots, reserved=await self._reserved(URL(f"{origin}/.well-known/tdmrep.json")))
        if len(self._kept) >= MAX_ORIGINS:
            self._kept.pop(next(iter(self._kept)), None)
        self._kept[origin] = time.monotonic() + (FAILURE_KEPT_S if rules.refusal else KEPT_S), rules
        return rules

    async def _robots(self, url: URL) -> Rules:
        try:
            found = await self._get(url, ROBOTS_BYTES)
        except FetchError as error:
            if error.reason in _OWN or error.reason is Reason.ROBOTS_UNREACHABLE:
                return Rules(refusal=error)
            return Rules(refusal=FetchError(Reason.ROBOTS_UNREACHABLE, f"robots.txt: {error.reason}, {error.message}"))
        if found.status >= 500 or found.status == 429:
            return Rules(refusal=FetchError(Reason.ROBOTS_UNREACHABLE, f"robots.txt: status {found.status}"))
        if found.status != 200:
            return Rules()
        return Rules(robots=Protego.parse(found.body.decode("utf-8", "replace").lstrip("\ufeff").replace("\0", "")))

    async def _reserved(self, url: URL) -> tuple[tuple[str, bool], ...]:
        """TDMRep 5.1; what is no such file reserves nothing."""
        try:
            found = await self._get(url, TDMREP_BYTES)
            rules = json.loads(found.body) if found.status == 200 else []
        except (FetchError, ValueError, RecursionError):
            return ()
        return tuple(
            (str(rule.get("location", "")), rule.get("tdm-reservation") in (1, "1"))
            for rule in (rules if isinstance(rules, list) else [])
            if isinstance(rule, dict)
        )


def _matches(pattern: str, path: str) -> bool:
    """`*` stands for anything, `$` for the end, as in robots.txt; in time linear in the path."""
    end = pattern.endswith("$")
    first, *parts = pattern.removesuffix("$").split("*")
    if not path.startswith(first):
        return False
    at = len(first)
    for i, part in enumerate(parts):
        if end and i == len(parts) - 1:
            return len(path) - len(part) >= at and path.endswith(part)
        at = path.find(part, at)
        if at < 0:
            return False
        at += len(part)
    return not end or at == len(path)
