"""The fetcher: the URLs of a shard over hundreds of connections, in one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from yarl import URL

from ._addresses import check_domain, join_url, vet_url
from ._budgets import Budgets, domain_of
from ._connect import Names, Resolver, allow_many_files, open_session
from ._http import BodyRoom, Client, Limits, Response
from ._opt_out import of_headers
from ._outcome import Outcome, of_data_url, refused_outcome
from ._pauses import MAX_REST_S, pause_s, rest_s
from ._reasons import RETRIED, FetchError, Reason, http_reason
from ._robots import KnownRules, RobotsRules, Rules
from ._schedule import Domain, Job, Schedule

MAX_REDIRECTS: Final = 5
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
CHUNK_BYTES: Final = 4 << 20  # handed over at once
CHUNK_S: Final = 0.5  # or as often
CHUNKS: Final = 8  # that wait for the other thread, before fetching does
# Nobody there, or told to slow down: these count against a domain. DNS errors are the host's alone, and cheap.
_UNANSWERED: Final = frozenset({Reason.CONNECT_FAILED, Reason.CONNECT_TIMEOUT, Reason.TIMEOUT, Reason.RATE_LIMITED})
_NOT_ASKED: Final = frozenset({
    *(Reason.ROBOTS_DISALLOWED, Reason.BLOCKED_DOMAIN, Reason.BLOCKED_ADDRESS, Reason.DNS_FAILED, Reason.REFUSED_URL),
    *(Reason.INVALID_URL, Reason.ROBOTS_UNREACHABLE),
})  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class FetchSettings:
    """What the recipe says of fetching; see the operators' fields."""

    user_agent: str
    accept: str
    codings: str  # Accept-Encoding
    max_bytes: int
    timeout_s: float
    connect_timeout_s: float
    read_timeout_s: float
    shard_timeout_s: float
    retries: int
    connections: int
    per_domain: int
    delay_s: float
    robots: bool
    tdmrep: bool
    refused_directives: frozenset[str]
    blocked_domains: frozenset[str]
    allow_hosts: frozenset[str]

    @property
    def token(self) -> str:
        """The product's name, by which robots.txt calls us."""
        return re.split(r"[^A-Za-z_.-]", self.user_agent, maxsplit=1)[0].lower()


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What stays known from shard to shard in a process."""

    names: Names = field(default_factory=Names)
    rules: KnownRules = field(default_factory=KnownRules)


class Fetcher:
    """One run over the URLs of a shard."""

    def __init__(
        self,
        urls: Sequence[str],
        settings: FetchSettings,
        budgets: Budgets,
        memory: Memory,
        give: Callable[[list[Outcome]], None],
    ) -> None:
        self._urls, self._settings, self._budgets, self._memory, self._give = urls, settings, budgets, memory, give
        self._done: list[Outcome] = []
        self._done_bytes = 0
        self._given = 0  # chunks that nobody has taken yet
        self._limits = Limits(max_bytes=settings.max_bytes)
        self._stopped = False
        self._all: asyncio.Task[None] | None = None

    def taken(self) -> None:
        """The caller is done with a chunk."""
        self._given -= 1
        if self._given < CHUNKS:
            self._room.set()

    def stop(self) -> None:
        """Leave everything."""
        self._stopped = True
        if self._all is not None:
            self._all.cancel()

    async def run(self) -> None:
        """Fetch all; outcomes go to `give`."""
        if self._stopped:
            return
        self._all = asyncio.create_task(self._run())
        try:
            await self._all
        except asyncio.CancelledError:
            return

    async def _run(self) -> None:
        allow_many_files()
        settings = self._settings
        self._room = asyncio.Event()
        self._room.set()
        self._schedule = Schedule(
            self._budgets, settings.per_domain, settings.delay_s, settings.connections, self._dropped
        )
        resolver = Resolver(self._memory.names, settings.allow_hosts)
        session = open_session(self._memory.names, resolver, settings.allow_hosts, settings.user_agent, settings.accept)
        self._bodies = bodies = BodyRoom()
        async with contextlib.aclosing(resolver), session:
            self._client = Client(
                session,
                settings.connect_timeout_s,
                settings.read_timeout_s,
                settings.codings,
                checked=not settings.allow_hosts,
                room=bodies,
            )
            self._rules = RobotsRules(self._memory.rules, self._get_rules, self._heed, settings.tdmrep)
            self._begin()
            async with asyncio.TaskGroup() as beside:
                keeper = beside.create_task(self._schedule.keep_leases())
                clock = beside.create_task(self._tick())
                async with asyncio.TaskGroup() as workers:
                    for _ in range(min(settings.connections, len(self._urls))):
                        workers.create_task(self._work())
                keeper.cancel()
                clock.cancel()
        self._flush()

    def _begin(self) -> None:
        for index, text in enumerate(self._urls):
            try:
                if text[:5].lower() == "data:":
                    self._finish(of_data_url(index, text, self._settings.max_bytes))
                else:
                    self._schedule.add(Job(index=index, url=vet_url(text, self._settings.allow_hosts)))
            except FetchError as error:
                self._finish(refused_outcome(index, error))

    async def _tick(self) -> None:
        """Hand over what is there from time to time, and end in time."""
        end = time.monotonic() + self._settings.shard_timeout_s
        while time.monotonic() < end:
            await asyncio.sleep(CHUNK_S)
            self._flush()
        self._schedule.close()
        while True:
            await asyncio.sleep(CHUNK_S)
            self._flush()

    async def _work(self) -> None:
        schedule = self._schedule
        while (taken := await schedule.take()) is not None:
            domain, job = taken
            finished, answered = True, None
            try:
                outcome = await self._attempt(domain, job)
                answered = True
                if outcome is None:  # it goes on at another domain, or later
                    finished = False
                    schedule.add(job, again=True)
                else:
                    self._finish(outcome)
            except Exception as raised:  # noqa: BLE001  the border of the row
                error = (
                    raised if isinstance(raised, FetchError) else FetchError(Reason.BAD_RESPONSE, repr(raised)[:200])
                )
                answered = None if error.reason in _NOT_ASKED else error.reason not in _UNANSWERED
                if error.reason is Reason.DNS_FAILED and error.transient:
                    answered = False
                if not (error.reason is Reason.RATE_LIMITED and job.successes < domain.successes):
                    job.attempts += 1  # where others of the domain come through, its turn will come
                job.successes, job.refused, job.spent_s = domain.successes, error, 0.0
                if self._again(job, error):
                    finished = False
                    schedule.later(job, pause_s(job.attempts))
                else:
                    self._finish(refused_outcome(job.index, error, job.url, asked=True))
            finally:
                schedule.release(domain, finished=finished, answered=answered)
            if self._given >= CHUNKS:
                self._room.clear()
                await self._room.wait()
            self._bodies.leave()

    def _again(self, job: Job, error: FetchError) -> bool:
        passes = error.reason in RETRIED or (error.reason is Reason.DNS_FAILED and error.transient)
        return passes and job.attempts <= self._settings.retries

    async def _attempt(self, domain: Domain, job: Job) -> Outcome | None:
        """Follow a URL to its end, None where it is to be added again for the rest. Raises FetchError."""
        settings, turn = self._settings, True
        while True:
            turn = await self._check(job.url, domain, turn)
            if not turn and not self._schedule.may_go_on(domain):
                return None
            turn = False
            start = time.monotonic()
            response = await self._client.get(
                job.url,
                self._limits,
                settings.timeout_s - job.spent_s,
                last=not domain.queue,
                check=self._check_headers,
            )
            job.spent_s += time.monotonic() - start
            to = response.headers.get("Location") if response.status in REDIRECTS else None
            if to is None:
                return self._outcome(domain, job, response)
            job.hops += 1
            if job.hops > MAX_REDIRECTS:
                raise FetchError(Reason.TOO_MANY_REDIRECTS, f"more than {MAX_REDIRECTS}; the last to {to[:200]}")
            job.url = _redirected(job.url, to, settings.allow_hosts)
            if domain_of(job.url.raw_host or "") != domain.name:
                return None

    async def _check(self, url: URL, domain: Domain, turn: bool) -> bool:
        """Blocklist and robots.txt, at each hop. `turn`: a request may start now; given back where it still may."""
        settings = self._settings
        check_domain(url, settings.blocked_domains)
        if not settings.robots:
            return turn
        if (rules := self._rules.ready(url)) is None:
            if turn:
                self._schedule.put_back(domain)
            turn = False
            rules = await self._rules.of(url)
        self._heed(url, rules)
        rules.check(url, settings.token)
        return turn

    def _heed(self, url: URL, rules: Rules) -> None:
        """Crawl-delay."""
        if delay_s := rules.delay_s(self._settings.token):
            self._schedule.respect_delay(self._schedule.domain(url), min(delay_s, MAX_REST_S))

    def _check_headers(self, headers: Any) -> None:
        settings = self._settings
        if "X-Robots-Tag" in headers or "tdm-reservation" in headers:
            reservations = headers.getall("tdm-reservation", ()) if settings.tdmrep else ()
            found = of_headers(
                headers.getall("X-Robots-Tag", ()), reservations, settings.token, settings.refused_directives
            )
            if found:
                raise FetchError(Reason.OPTED_OUT, found)

    async def _get_rules(self, url: URL, max_bytes: int) -> Response:
        """robots.txt and the like, with redirects, within the budgets of the domains where they lead."""
        limits, settings, home = Limits(max_bytes=max_bytes, cut=True), self._settings, self._schedule.domain(url)
        end = time.monotonic() + settings.timeout_s
        moved = False
        for _ in range(MAX_REDIRECTS + 1):
            try:
                check_domain(url, settings.blocked_domains)
                async with self._slot(url, home, end) as paused_s:
                    end += paused_s
                    response = await self._client.get(url, limits, end - time.monotonic())
                to = response.headers.get("Location") if response.status in REDIRECTS else None
                if to is None:
                    return response
                moved = True
                url = _redirected(url, to, settings.allow_hosts)
            except FetchError as error:
                if not moved:
                    raise
                why = f"robots.txt: redirected: {error.reason}, {error.message}"
                raise FetchError(Reason.ROBOTS_UNREACHABLE, why) from None
        return Response(404, {}, b"", 0)  # RFC 9309 2.3.1.2: as if there were none

    @contextlib.asynccontextmanager
    async def _slot(self, url: URL, home: Domain, end: float) -> AsyncIterator[float]:
        """A slot for a request for rules: the one of the job that waits for them, or one at the domain it leads to.

        Gives the time that is not to be counted.
        """
        domain = self._schedule.domain(url)
        if domain is home:
            yield await self._schedule.pause(home)
            return
        try:
            async with asyncio.timeout(end - time.monotonic()):
                await self._schedule.turn(domain)
        except TimeoutError:
            raise FetchError(Reason.TIMEOUT, f"{domain.name} had no slot in time") from None
        try:
            yield 0.0
        finally:
            self._schedule.release(domain, finished=False, answered=None)

    def _outcome(self, domain: Domain, job: Job, response: Response) -> Outcome:
        status, rest = response.status, response.headers.get("Retry-After")
        reason = http_reason(status, rest is not None)
        if reason is Reason.RATE_LIMITED:
            self._schedule.slow_down(domain, rest_s(rest, domain.bad))
        if reason is not Reason.OK:
            raise FetchError(reason, f"status {status}", http_status=status)
        return Outcome(
            index=job.index,
            reason=reason,
            http_status=status,
            final_url=str(job.url),
            body=response.body,
            fetched_bytes=response.sent_bytes,
            content_type=response.headers.get("Content-Type", "")[:200],
            fetched_at=datetime.now(UTC),
            fetch_s=job.spent_s,
        )

    def _dropped(self, job: Job, why: FetchError) -> None:
        self._finish(refused_outcome(job.index, why, job.url))

    def _finish(self, outcome: Outcome) -> None:
        self._done.append(outcome)
        self._done_bytes += len(outcome.body)
        if self._done_bytes >= CHUNK_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._done:
            self._given += 1
            self._give(self._done)
            self._done, self._done_bytes = [], 0


def _redirected(base: URL, to: str, allow_hosts: frozenset[str]) -> URL:
    """Where a redirect leads. aiohttp gives headers as UTF-8 with surrogates for what is none."""
    try:
        return join_url(base, to.encode("utf-8", "surrogateescape").decode("utf-8", "replace"), allow_hosts)
    except FetchError as error:
        raise FetchError(error.reason, f"redirect to {to[:200]!r}: {error.message}") from None
