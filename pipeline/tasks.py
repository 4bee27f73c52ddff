"""What runs on workers: each task is called with the plan and a few shards, commits files, and returns counts."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import ray

from ..operators.base import Budgets, Model
from ..operators.frames import Piece
from ..operators.source.base import Scan, Shard, ShardError, Source
from .call import renew
from .children import ChildView
from .exchange import hand_in, run_barrier
from .findings import Report
from .gpu import Gpu, told
from .ledger import Counts, count, write_decision
from .measure import measure
from .plan import CorpusStep, KeepStep, Plan
from .read import save_members, with_members
from .shard import Job, ShardView, walk
from .store import Written, open_store
from .summary.outline import Outline
from .summary.sketch import Sketch
from .summary.summarise import summarise
from .write import Run, kept_sizes, write_file


@dataclass(frozen=True, kw_only=True)
class Swept:
    """What a worker reports of one shard in one stretch."""

    report: Report
    handed_in: Piece | None = None
    counts: Counts | None = None
    sketch: Sketch | None = None
    files: tuple[Written, ...] = ()


@ray.remote(max_retries=2)
def scan_file(source: Source, out: str, file: str) -> Scan | str:
    """The scan of one file, or why it cannot be read."""
    try:
        return save_members(open_store(out), source.scan(file))
    except ShardError as error:
        return str(error)


@ray.remote(max_retries=0)
def advance(
    plan: Plan,
    out: str,
    source: Source,
    jobs: list[Job],
    barrier: int | None,
    gpus: Sequence[Gpu] = (),
    budgets: Budgets | None = None,
) -> tuple[list[Swept], float]:
    """Measure some shards up to a barrier and hand in, or to the end and decide; extractors on the way are run."""
    began = time.perf_counter()
    renew(plan)
    first = jobs[0].shard.id % max(1, len(gpus))  # short tasks would all begin with the same one
    turn = itertools.cycle([*gpus[first:], *gpus[:first]])

    def on_gpu(model: Model, prepared: np.ndarray) -> Callable[[], np.ndarray]:
        answer = next(turn).run.remote(model, prepared)
        return lambda: told(answer)

    store, outline = open_store(out), Outline(plan)
    swept = []
    for job in jobs:
        report = Report()
        view = ShardView(plan, store, source, replace(job, shard=with_members(store, job.shard)))
        measure(view, job.until, report, on_gpu if gpus else None, budgets)
        while job.until >= view.space.stop and view.space is not plan.spaces[-1]:
            view = ChildView(view, walk(view, job.until))
            measure(view, job.until, report, on_gpu if gpus else None, budgets)
        if barrier is None and job.until < len(plan.steps):  # what was fetched is measured in the next stretch
            swept.append(Swept(report=report))
            continue
        found = walk(view, job.until)
        if barrier is not None:
            step = plan.steps[barrier]
            assert isinstance(step, CorpusStep | KeepStep)
            swept.append(Swept(report=report, handed_in=hand_in(view, found, step)))
        else:
            sketch = summarise(outline, view, found, sampled=job.sampled)
            files = tuple(write_decision(view, found))
            swept.append(Swept(report=report, counts=count(view, found), sketch=sketch, files=files))
    return swept, time.perf_counter() - began


@ray.remote(max_retries=2)
def cross(
    plan: Plan, out: str, barrier: int, shards: Sequence[Shard], pieces: Sequence[Piece], part_bytes: int
) -> float:
    """Run a barrier over what the shards handed in; seconds taken."""
    began = time.perf_counter()
    step = plan.steps[barrier]
    assert isinstance(step, CorpusStep | KeepStep)
    run_barrier(plan, open_store(out), step, shards, pieces, part_bytes)
    return time.perf_counter() - began


@ray.remote(max_retries=0)
def weigh(plan: Plan, out: str, source: Source, jobs: list[Job]) -> tuple[list[np.ndarray], float]:
    """Bytes of each kept row, shard by shard."""
    began = time.perf_counter()
    store = open_store(out)
    return [kept_sizes(plan, store, source, job.shard) for job in jobs], time.perf_counter() - began


@ray.remote(max_retries=3, retry_exceptions=True)
def write_curated(
    plan: Plan, out: str, source: Source, shards: dict[int, Shard], runs: Sequence[Run], number: int
) -> Written:
    """Write one curated file."""
    return write_file(plan, open_store(out), source, shards, runs, number)
