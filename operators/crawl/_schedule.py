"""Whose turn it is: the URLs of a shard by domain, and domains within what the budgets lease."""

from __future__ import annotations

import asyncio
import math
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
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
    spent_s: float = 0.0  # on requests of this attempt
    successes: int = 0  # of its domain, when it was told to slow down the last time
    refused: FetchError | None = None  # how the last attempt ended


@dataclass(slots=True, kw_only=True, eq=False)
class Domain:
    """What is known of a registered domain while a shard is fetched."""

    name: str
    delay_s: float
    queue: deque[Job] = field(default_factory=deque)
    turns: deque[asyncio.Future[None]] = field(default_factory=deque)  # of requests that no job is for
    active: int = 0
    slots: int = 0
    expires: float = 0.0  # of the lease
    not_before: float = 0.0
    last_start: float | None = None
    back_off_s: float = 0.0  # to be told
    most: float = math.inf  # slots that are used: fewer once it says that it is asked too often
    bad: int = 0  # failures in a row
    successes: int = 0
    trusted: bool = False  # once it has answered, more than one request may be under way
    ready: bool = False  # stands in line
    leased: bool = False
    timer: bool = False

    @property
    def wanted(self) -> int:
        """Slots that there is use for."""
        return self.active + len(self.queue) + len(self.turns)


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
        domain = self.domain(job.url)
        if self._over or domain.bad >= PATIENCE:
            why = Reason.NOT_REACHED if self._over else Reason.HOST_DOWN
            return self._give_up(job, FetchError(why, f"{domain.name} was not asked"))
        domain.queue.append(job)
        return self._enlist(domain)

    def domain(self, url: URL) -> Domain:
        """The registered domain that a URL belongs to."""
        name = domain_of(url.raw_host or "")
        return self._domains.get(name) or self._domains.setdefault(name, Domain(name=name, delay_s=self._delay_s))

    def _enlist(self, domain: Domain) -> None:
        """See that a domain's jobs and turns get slots."""
        if domain.leased:
            return self._offer(domain)
        if len(domain.queue) + len(domain.turns) == 1:
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
                if domain.queue and self._may_start(domain, now):
                    job = domain.queue.popleft()
                    domain.active += 1
                    self._starts(domain, now)
                    self._offer(domain)
                    return domain, job
                self._offer(domain)
            waiter = self._loop.create_future()
            self._waiters.append(waiter)
            await waiter
        return None

    def put_back(self, domain: Domain) -> None:
        """The job that was taken just now asks for something else first: its turn is the next request's."""
        domain.not_before = min(domain.not_before, self._loop.time())

    def may_go_on(self, domain: Domain) -> bool:
        """Another request of a job that has a slot: may it start now?"""
        now = self._loop.time()
        if now < domain.not_before:
            return False
        self._starts(domain, now)
        return True

    async def pause(self, domain: Domain) -> float:
        """Wait until a request may start that shares the slot of one that waits for it; how long it took."""
        begin = self._loop.time()
        while not self.may_go_on(domain):
            await asyncio.sleep(domain.not_before - self._loop.time())
        return self._loop.time() - begin

    async def turn(self, domain: Domain) -> None:
        """Wait for a slot for a request that no job is for; it is to be released. Raises FetchError."""
        if self._over or domain.bad >= PATIENCE:
            raise FetchError(Reason.NOT_REACHED if self._over else Reason.HOST_DOWN, f"{domain.name} was not asked")
        waiter = self._loop.create_future()
        domain.turns.append(waiter)
        self._enlist(domain)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                domain.turns = deque(each for each in domain.turns if each is not waiter)
            else:
                self.release(domain, finished=False, answered=None)
            raise

    def _starts(self, domain: Domain, now: float) -> None:
        if domain.last_start is None:
            self._loop.call_later(HESITATE_S, self._trust, domain)
        domain.last_start = now
        if domain.delay_s:
            domain.not_before = now + domain.delay_s

    def release(self, domain: Domain, *, finished: bool, answered: bool | None) -> None:
        """A job's attempt is over; `answered`: whether the host did, None where that cannot be told."""
        domain.active -= 1
        if answered is not None:
            domain.bad = 0 if answered else domain.bad + 1
            domain.trusted = True
            domain.successes += answered
            domain.most += answered / domain.most  # one more for each round of successes
        if domain.bad >= PATIENCE:
            while domain.queue:
                self._give_up(domain.queue.popleft(), FetchError(Reason.HOST_DOWN, f"{domain.name} was not asked"))
        if finished:
            self._finish()
        if domain.queue or domain.turns:
            self._offer(domain)
        elif not domain.active:
            self._news.set()

    def slow_down(self, domain: Domain, seconds: float) -> None:
        """The host asked for a rest: nobody asks it before, and then half as many at once."""
        if self._loop.time() >= domain.not_before or domain.most is math.inf:
            domain.most = max(1.0, min(domain.most, domain.active) / 2)
        domain.not_before = max(domain.not_before, self._loop.time() + seconds)
        domain.back_off_s = max(domain.back_off_s, seconds)
        self._news.set()

    def respect_delay(self, domain: Domain, delay_s: float) -> None:
        """A longer Crawl-delay than the recipe's."""
        if delay_s > domain.delay_s:
            domain.delay_s = delay_s
            if domain.last_start is not None:
                domain.not_before = max(domain.not_before, domain.last_start + delay_s)

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
            now = self._loop.time()  # with when they were asked last, and for how long they want to be left alone
            back = [replace(self._ask(domain, now), want=0, cap=0) for domain in self._leased.values()]
            await self._budgets.lease(self._holder, back)

    async def _renew(self) -> None:
        done = [each for each in self._leased.values() if not each.wanted]
        while self._unleased and len(self._leased) - len(done) < self._window:
            domain = self._unleased.popleft()
            if domain.wanted:
                domain.leased = True
                self._leased[domain.name] = domain
        now = self._loop.time()
        asks = [self._ask(domain, now) for domain in self._leased.values()]
        for domain in done:
            if not domain.wanted:
                domain.leased, domain.slots = False, 0
                self._leased.pop(domain.name)
        if asks:
            self._apply(await self._budgets.lease(self._holder, asks), now)

    def _ask(self, domain: Domain, now: float) -> Ask:
        if domain.expires <= now:
            domain.slots = 0
        back_off_s, domain.back_off_s = domain.back_off_s, 0.0
        return Ask(
            domain=domain.name,
            want=min(self._per_domain, domain.wanted),
            cap=max(domain.active, domain.slots) if domain.wanted else 0,
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
        slots = int(min(domain.most, domain.slots)) if domain.trusted else min(domain.slots, 1)
        return domain.active < slots and domain.not_before <= now < domain.expires

    def _offer(self, domain: Domain) -> None:
        """Stand in line, or be called again when its rest is over."""
        now = self._loop.time()
        while domain.turns and self._may_start(domain, now):
            if not (waiter := domain.turns.popleft()).done():
                domain.active += 1
                self._starts(domain, now)
                waiter.set_result(None)
        if domain.ready or not (domain.queue or domain.turns):
            return
        if domain.queue and self._may_start(domain, now):
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
