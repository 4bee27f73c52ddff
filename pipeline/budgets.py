"""Politeness for the whole cluster: a few actors keep the books of how hard each domain may be asked."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import ray
from ray.actor import ActorProxy

from ..operators.crawl._budgets import LEASE_S, Ask, Grant, Limiter

CPUS_OF_LIMITER = 64  # of the cluster for each limiter, which answers tens of thousands of asks a second


class LimiterActor:
    """A limiter in a process of its own."""

    def __init__(self) -> None:
        # After a restart the leases that the one before gave are still in use.
        again = ray.get_runtime_context().was_current_actor_reconstructed
        self._limiter = Limiter(quiet_s=LEASE_S if again else 0.0)

    @ray.method
    def lease(self, holder: str, asks: list[Ask]) -> dict[str, Grant]:
        """See `Limiter.lease`."""
        return self._limiter.lease(holder, asks)


@dataclass(frozen=True)
class ClusterBudgets:
    """The client: goes to workers with a task, and is awaited in the fetcher's event loop."""

    limiters: tuple[ActorProxy[LimiterActor], ...]

    async def lease(self, holder: str, asks: list[Ask]) -> Mapping[str, Grant]:
        """One call to each limiter that knows one of the domains."""
        parts: dict[int, list[Ask]] = {}
        for ask in asks:
            parts.setdefault(zlib.crc32(ask.domain.encode()) % len(self.limiters), []).append(ask)
        answers = [self.limiters[place].lease.remote(holder, part) for place, part in parts.items()]
        return {domain: grant for answer in await asyncio.gather(*answers) for domain, grant in answer.items()}

    def stop(self) -> None:
        """End the limiters."""
        for limiter in self.limiters:
            ray.kill(limiter)  # type: ignore[arg-type]


def connect(limiters: int | None = None) -> ClusterBudgets:
    """Start the limiters, one for every 64 CPUs unless told; they live until `stop`, or as long as the driver."""
    if limiters is None:
        limiters = 1 + int(ray.cluster_resources().get("CPU", 1)) // CPUS_OF_LIMITER  # type: ignore[no-untyped-call]
    actor = ray.remote(LimiterActor).options(num_cpus=0, max_restarts=-1, max_task_retries=-1, max_concurrency=1)
    return ClusterBudgets(tuple(actor.remote() for _ in range(limiters)))
