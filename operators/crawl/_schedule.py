"""Whose turn it is: the URLs of a shard by domain, and domains within what the budgets lease."""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from yarl import URL

from ._budgets import LEASE_S, RENEW_S, Ask, Budgets, Grant, domain_of
from ._reasons import FetchError, Reason

PATIENCE: Final = 10  # failures in a row, after which a domain is left alone for the rest of the shard
HESITATE_S: Final = 1.0  # a domain's second request waits for the first, but not for longer
GATHER_S: Final = 0.005  # what happens within is asked of the limiters at once
MARGIN_S: Final = 1.0  # a lease is not used to its last second


@dataclass(slots=True, kw_only=True)
class Job:
    """A URL to be fetched, and how far it has come."""

    index: int
    url: URL
    hops: int = 0
    attempts: int = 0
    refused: FetchError | None = None  # how the last attempt ended


@dataclass(slots=True, kw_only=True, eq=False)
class Domain:
    """What is known of a registered domain while a shard is fetched."""

    name: str
    delay_s: float
    queue: deque[Job] = field(default_factory=deque)
    active: int = 0
    slots: int = 0
    expires: float = 0.0  # of the lease
    not_before: float = 0.0
    last_start: float | None = None
    back_off_s: float = 0.0  # to be told
    bad: int = 0  # failures in a row
    trusted: bool = False  # once it has answered, more than one request may be under way
    ready: bool = False  # stands in line
    leased: bool = False
    timer: bool = False


class Schedule:
    """Hands out jobs; one event loop."""

    def __init__(
        self,
        budgets: Budgets,
        per_domain: int,
        delay_s: float,
        connections: int,
        drop: Callable[[Job, FetchError], None],
    ) -> None:
        """`drop` is told of jobs that are not asked for."""
        self._budgets, self._per_domain, self._delay_s = budgets, per_domain, delay_s
        self._window, self._drop = 2 * connections, drop
        self._holder = uuid.uuid4().hex
        self._domains: dict[str, Domain] = {}
        self._leased: dict[str, Domain] = {}
        self._unleased: deque[Domain] = deque()
        self._line: deque[Domain] = deque()
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._left = 0
        self._over = False
        self._news = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def add(self, job: Job, *, again: bool = False) -> None:
        """A new job, or one that came back from a redirect or for a retry."""
        self._left += not again
        name = domain_of(job.url.raw_host or "")
        domain = self._domains.get(name) or self._domains.setdefault(name, Domain(name=name, delay_s=self._delay_s))
        if self._over or domain.bad >= PATIENCE:
            why = Reason.NOT_REACHED if self._over else Reason.HOST_DOWN
            return self._give_up(job, FetchError(why, f"{domain.name} was not asked"))
        domain.queue.append(job)
        if domain.leased:
            return self._offer(domain)
        if len(domain.queue) == 1:
            self._unleased.append(domain)
            self._news.set()
        return None

    def later(self, job: Job, delay_s: float) -> None:
        """The job again after a while."""
        self._loop.call_later(delay_s, lambda: self.add(job, again=True))

    async def take(self) -> tuple[Domain, Job] | None:
        """The next job whose domain may be asked now; None when there is none left."""
        while self._left:
            while self._line:
                domain = self._line.popleft()
                domain.ready = False
                now = self._loop.time()
                if self._may_start(domain, now):
                    job = domain.queue.popleft()
                    domain.active += 1
                    if domain.last_start is None:
                        self._loop.call_later(HESITATE_S, self._trust, domain)
                    domain.last_start = now
                    if domain.delay_s:
                        domain.not_before = now + domain.delay_s
                    self._offer(domain)
                    return domain, job
                self._offer(domain)
            waiter = self._loop.create_future()
            self._waiters.append(waiter)
            await waiter
        return None

    def release(self, domain: Domain, *, finished: bool, answered: bool | None) -> None:
        """A job's attempt is over; `answered`: whether the host did, None where that cannot be told."""
        domain.active -= 1
        if answered is not None:
            domain.bad = 0 if answered else domain.bad + 1
            domain.trusted = True
        if domain.bad >= PATIENCE:
            while domain.queue:
                self._give_up(domain.queue.popleft(), FetchError(Reason.HOST_DOWN, f"{domain.name} was not asked"))
        if finished:
            self._finish()
        if domain.queue:
            self._offer(domain)
        elif not domain.active:
            self._news.set()

    def slow_down(self, domain: Domain, seconds: float) -> None:
        """The host asked for a rest: nobody asks it before."""
        domain.not_before = max(domain.not_before, self._loop.time() + seconds)
        domain.back_off_s = max(domain.back_off_s, seconds)
        self._news.set()

    def respect_delay(self, domain: Domain, delay_s: float) -> None:
        """A longer Crawl-delay than the recipe's."""
        if delay_s > domain.delay_s:
            domain.delay_s = delay_s
            domain.not_before = self._loop.time() + delay_s

    def close(self) -> None:
        """Time is over: what was not asked for is dropped."""
        self._over = True
        for domain in self._domains.values():
            while domain.queue:
                self._give_up(domain.queue.popleft(), FetchError(Reason.NOT_REACHED, f"{domain.name}: no time left"))

    async def keep_leases(self) -> None:
        """Ask for leases, renew them and give them back, for all domains together; runs beside the workers."""
        try:
            while True:
                self._news.clear()
                await self._renew()
                try:
                    async with asyncio.timeout(RENEW_S):
                        await self._news.wait()
                        await asyncio.sleep(GATHER_S)
                except TimeoutError:
                    continue
        finally:
            back = [Ask(domain=name, want=0, cap=0, limit=self._per_domain) for name in self._leased]
            await self._budgets.lease(self._holder, back)

    async def _renew(self) -> None:
        done = [each for each in self._leased.values() if not each.queue and not each.active]
        while self._unleased and len(self._leased) - len(done) < self._window:
            domain = self._unleased.popleft()
            if domain.queue:
                domain.leased = True
                self._leased[domain.name] = domain
        now = self._loop.time()
        asks = [self._ask(domain, now) for domain in self._leased.values()]
        for domain in done:
            if not domain.queue and not domain.active:
                domain.leased, domain.slots = False, 0
                self._leased.pop(domain.name)
        if asks:
            self._apply(await self._budgets.lease(self._holder, asks), now)

    def _ask(self, domain: Domain, now: float) -> Ask:
        if domain.expires <= now:
            domain.slots = 0
        wanted = domain.active + len(domain.queue)
        back_off_s, domain.back_off_s = domain.back_off_s, 0.0
        return Ask(
            domain=domain.name,
            want=min(self._per_domain, wanted),
            cap=max(domain.active, domain.slots) if wanted else 0,
            limit=self._per_domain,
            delay_s=domain.delay_s,
            idle_s=None if domain.last_start is None else now - domain.last_start,
            back_off_s=back_off_s,
        )

    def _apply(self, grants: Mapping[str, Grant], asked_at: float) -> None:
        now = self._loop.time()
        for name, grant in grants.items():
            if (domain := self._leased.get(name)) is not None:
                domain.slots, domain.expires = grant.slots, asked_at + LEASE_S - MARGIN_S
                if grant.wait_s:
                    domain.not_before = max(domain.not_before, now + grant.wait_s)
                self._offer(domain)

    def _may_start(self, domain: Domain, now: float) -> bool:
        slots = domain.slots if domain.trusted else min(domain.slots, 1)
        return bool(domain.queue) and domain.active < slots and now >= domain.not_before and now < domain.expires

    def _offer(self, domain: Domain) -> None:
        """Stand in line, or be called again when its rest is over."""
        if domain.ready or not domain.queue:
            return
        now = self._loop.time()
        if self._may_start(domain, now):
            domain.ready = True
            self._line.append(domain)
            self._wake()
        elif domain.not_before > now and not domain.timer:
            domain.timer = True
            self._loop.call_at(domain.not_before, self._rested, domain)

    def _rested(self, domain: Domain) -> None:
        domain.timer = False
        self._offer(domain)

    def _trust(self, domain: Domain) -> None:
        domain.trusted = True
        self._offer(domain)

    def _give_up(self, job: Job, why: FetchError) -> None:
        self._drop(job, job.refused or why)
        self._finish()

    def _finish(self) -> None:
        self._left -= 1
        if not self._left:
            while self._waiters:
                self._wake()

    def _wake(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                return waiter.set_result(None)
        return None
