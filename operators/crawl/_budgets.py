"""How hard a domain may be asked by all tasks together: slots and delays, leased by a limiter, given back or expired.

A task never starts a request on a domain beyond the slots it was granted, and tells with each renewal its `cap`: the
number it will not exceed until the next answer. The limiter counts caps, so the sum over all tasks stays within the
limit at every moment, whatever is on the way between them. A task that dies renews nothing: its slots expire.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList

LEASE_S: Final = 10.0
RENEW_S: Final = 2.0  # a task renews its leases this often
TURN_S: Final = 10.0  # after which a domain too narrow for all goes to the next task


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What a task asks of a domain. Nothing wanted and a cap of 0 gives it back."""

    domain: str
    want: int  # slots it has use for
    cap: int  # slots it will not exceed until it is answered
    limit: int  # slots of the domain, for all tasks together
    delay_s: float = 0.0  # from the start of one request to the start of the next; then one task at a time has it
    idle_s: float | None = None  # since its own last start
    back_off_s: float = 0.0  # the domain asked for so long a rest


@dataclass(frozen=True, kw_only=True)
class Grant:
    """Slots for LEASE_S from when they were asked for. `wait_s`: no request to start before."""

    slots: int
    wait_s: float = 0.0


class Budgets(Protocol):
    """What the fetcher knows of the limiters."""

    async def lease(self, holder: str, asks: list[Ask]) -> Mapping[str, Grant]:
        """An answer for each domain asked for, in one go."""


@dataclass(kw_only=True)
class _Holder:
    cap: int
    want: int
    expires: float
    since: float  # when its turn began, or its waiting


@dataclass(kw_only=True)
class _Domain:
    holders: dict[str, _Holder] = field(default_factory=dict)
    not_before: float = 0.0


class Limiter:
    """The books of some domains. No I/O and no clock of its own; one thread at a time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, quiet_s: float = 0.0) -> None:
        """`quiet_s`: grant nothing new for so long, because leases of a limiter before this one may still be used."""
        self._clock = clock
        self._quiet_until = clock() + quiet_s
        self._domains: dict[str, _Domain] = {}
        self._swept = clock()

    def lease(self, holder: str, asks: Iterable[Ask]) -> dict[str, Grant]:
        """Answer a task's asks and note what it holds now."""
        now = self._clock()
        if now > self._swept + LEASE_S:
            self._sweep(now)
        return {ask.domain: self._answer(now, holder, ask) for ask in asks}

    def held(self, domain: str) -> int:
        """Slots that are out at this moment."""
        known = self._domains.get(domain, _Domain()).holders.values()
        return sum(each.cap for each in known if each.expires > self._clock())

    def _answer(self, now: float, holder: str, ask: Ask) -> Grant:
        domain = self._domains.setdefault(ask.domain, _Domain())
        if ask.back_off_s:
            domain.not_before = max(domain.not_before, now + ask.back_off_s)
        if ask.delay_s and ask.idle_s is not None:
            domain.not_before = max(domain.not_before, now - ask.idle_s + ask.delay_s)
        for name in [name for name, each in domain.holders.items() if each.expires <= now]:
            if domain.holders.pop(name).cap and ask.delay_s:
                domain.not_before = max(domain.not_before, now + ask.delay_s)
        if not ask.want and not ask.cap:
            domain.holders.pop(holder, None)
            return Grant(slots=0)
        mine = domain.holders.setdefault(holder, _Holder(cap=ask.cap, want=ask.want, expires=0, since=now))
        if mine.cap and not ask.cap:
            mine.since = now  # its turn is over: to the end of the line
        slots = self._slots(now, domain, mine, ask)
        if slots and not ask.cap:
            mine.since = now  # its turn begins
        mine.cap, mine.want, mine.expires = max(ask.cap, slots), ask.want, now + LEASE_S
        return Grant(slots=slots, wait_s=max(0.0, domain.not_before - now))

    def _slots(self, now: float, domain: _Domain, mine: _Holder, ask: Ask) -> int:
        others = [each for each in domain.holders.values() if each is not mine]
        waiting = [each for each in others if each.want and not each.cap]
        out = sum(each.cap for each in others)
        free = ask.limit - out if not ask.delay_s else ask.limit * (not out)
        if now < self._quiet_until:
            free = min(free, ask.cap)
        if not ask.cap:  # who has waited longer comes first
            before = sum(each.since < mine.since for each in waiting)
            free = free - before if not ask.delay_s else free * (not before)
        elif waiting and now >= mine.since + TURN_S and (ask.delay_s or len(others) >= ask.limit):
            return 0  # more tasks than slots: they take turns
        if not ask.delay_s and any(each.want > each.cap for each in others):
            free = min(free, max(1, ask.limit // (1 + len(others))))
        return max(0, min(ask.want, free))

    def _sweep(self, now: float) -> None:
        """Forget domains that nobody holds and that need no rest."""
        self._swept = now
        for name, domain in list(self._domains.items()):
            if domain.not_before <= now and all(each.expires <= now for each in domain.holders.values()):
                del self._domains[name]


class LocalBudgets:
    """The budgets of one process, where there is no cluster to share with."""

    def __init__(self) -> None:
        self._limiter = Limiter()
        self._lock = threading.Lock()  # several fetchers, each with a loop in a thread of its own

    async def lease(self, holder: str, asks: list[Ask]) -> Mapping[str, Grant]:
        """Answered at once."""
        with self._lock:
            return self._limiter.lease(holder, asks)


@functools.cache
def local_budgets() -> LocalBudgets:
    """One for all fetchers of the process."""
    return LocalBudgets()


@functools.cache
def _suffixes() -> PublicSuffixList:
    from publicsuffixlist import PublicSuffixList

    return PublicSuffixList()


@functools.lru_cache(maxsize=65_536)
def domain_of(host: str) -> str:
    """The registered domain of a host name (by the public suffix list, private ones too); an address is its own."""
    if ":" in host or host.rpartition(".")[2].isdigit():
        return host
    return _suffixes().privatesuffix(host) or host
