"""Write the curated files of a cut, on all workers: weigh the kept rows, pack them, write them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import ray

from ..operators.source.base import Shard, Source
from .crew import Crew, result_of, shard_title
from .plan import Plan
from .progress import Reporter
from .read import RunError
from .shard import Job
from .store import Store, Written
from .tasks import weigh, write_curated
from .write import pack


@dataclass(frozen=True)
class Curator:
    """Drives the tasks that write."""

    plan: Plan
    store: Store
    source: Source
    progress: Reporter
    slots: int
    deadline_s: float

    def files(self, shards: Sequence[Shard], kept: int) -> list[Written]:
        """The files that hold the kept rows, in any order; `kept` counts them, documents where rows are nodes."""
        self.progress.begin("weigh", kept)
        bounds = self.plan.recipe.write
        files = list(pack(self._weights(shards), bounds.shard_rows, bounds.shard_mb << 20))
        self.progress.begin("write", kept)
        plan_ref, source_ref = ray.put(self.plan), ray.put(self.source)
        by_id = {shard.id: shard for shard in shards}
        waiting = list(reversed(list(enumerate(files))))
        running: dict[ray.ObjectRef[Written], int] = {}
        found = []
        while waiting or running:
            while waiting and len(running) < 2 * self.slots:
                number, runs = waiting.pop()
                used = {part.shard: by_id[part.shard] for part in runs}
                running[write_curated.remote(plan_ref, self.store.uri, source_ref, used, runs, number)] = number
            (ref,), _ = ray.wait(list(running), num_returns=1)
            running.pop(ref)
            found.append(result_of(ref))
            self.progress.advance(found[-1].rows)
        return found

    def _weights(self, shards: Sequence[Shard]) -> Iterator[tuple[int, np.ndarray]]:
        """(shard, bytes of each kept row), in the order of the shards."""
        plan_ref, source_ref = ray.put(self.plan), ray.put(self.source)
        crew: Crew[np.ndarray] = Crew(
            plan=self.plan,
            store=self.store,
            submit=lambda jobs: weigh.remote(plan_ref, self.store.uri, source_ref, jobs),
            slots=self.slots,
            deadline_s=self.deadline_s,
        )
        early: dict[int, np.ndarray] = {}
        order = iter(shards)
        expected = next(order, None)
        for done in crew.sweep([Job(shard=shard, until=len(self.plan.steps)) for shard in shards]):
            if done.result is None:
                title = shard_title(done.job.shard)
                raise RunError(f"{title} could be measured but not read again: {done.unreadable}")
            early[done.job.shard.id] = done.result
            while expected is not None and expected.id in early:
                sizes = early.pop(expected.id)
                self.progress.advance(len(sizes))
                yield expected.id, sizes
                expected = next(order, None)
