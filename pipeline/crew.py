"""Drive tasks over shards on Ray: a bounded window, retries, deadlines, and quarantine of rows that kill their worker.

Ray schedules; what is retried, for how long and what then is decided here, because Ray would retry a task whose worker
dies without ever finding out which row did it. A shard that fails three times is run carefully: the worker notes what
it is about to try, so after a death the driver knows the row, marks it and goes on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

import ray
from ray.exceptions import (
    ActorDiedError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RayTaskError,
    TaskCancelledError,
    WorkerCrashedError,
)

from ..operators.models.weights import ModelError
from ..operators.source.base import Shard, ShardError
from .call import ContractError, SetupError
from .cluster import end_tasks
from .plan import Plan
from .read import RunError
from .shard import Careful, Job, crumb_path
from .store import DiskFullError, Store

ATTEMPTS = 3
AIM_S = 3.0  # light shards share a task until it takes about so long
MAX_TOGETHER = 64
MAX_POISON = 100  # rows of one shard that may kill a worker before the shard is given up
STALL_S = 60.0  # in careful mode, how long one row may take

DEATHS = (WorkerCrashedError, OutOfMemoryError, NodeDiedError, ObjectLostError, TaskCancelledError)

R = TypeVar("R")
T = TypeVar("T")


class WorkerDiedError(RunError):
    """A task that no row can be blamed for lost its worker each time."""


@dataclass(frozen=True, kw_only=True)
class Done(Generic[R]):
    """What came of one job: a result, or why the shard could not be read."""

    job: Job
    result: R | None = None
    unreadable: str = ""


@dataclass(kw_only=True)
class _Task:
    jobs: list[Job]
    attempts: int = 0
    not_before: float = 0.0
    submitted: float = 0.0
    timed_out: bool = False
    crumb: bytes = b""
    crumb_at: float = 0.0


@dataclass(kw_only=True)
class Crew(Generic[R]):
    """Runs `submit(jobs)`, which starts one Ray task for some jobs and gives (results per job, seconds) back."""

    plan: Plan
    store: Store
    submit: Callable[[list[Job]], ray.ObjectRef[tuple[list[R], float]]]
    slots: int
    deadline_s: float
    patience: float = 1.0  # how much longer than usual a task, or one row in careful mode, may take
    _waiting: list[_Task] = field(default_factory=list)
    _running: dict[ray.ObjectRef[tuple[list[R], float]], _Task] = field(default_factory=dict)
    _mean_s: float | None = None

    def sweep(self, jobs: Sequence[Job]) -> Iterator[Done[R]]:
        """Run all jobs; yields each as it finishes, in any order."""
        fresh = list(reversed(jobs))
        try:
            while fresh or self._waiting or self._running:
                self._fill(fresh)
                yield from self._collect()
                self._watch()
        finally:
            end_tasks(self._running)

    def _fill(self, fresh: list[Job]) -> None:
        """Keep two tasks per slot under way, retries first."""
        now = time.monotonic()
        while len(self._running) < 2 * self.slots:
            task = next((t for t in self._waiting if t.not_before <= now), None)
            if task is not None:
                self._waiting.remove(task)
            elif fresh:
                task = _Task(jobs=[fresh.pop() for _ in range(self._together(len(fresh)))])
            else:
                return
            self._start(task)

    def _together(self, left: int) -> int:
        """How many shards share the next task: light ones many, but never so many that a core idles at the end."""
        if self._mean_s is None:
            return 1
        light = int(AIM_S / max(self._mean_s, 1e-3))
        return max(1, min(light, MAX_TOGETHER, left // (2 * self.slots)))

    def _start(self, task: _Task) -> None:
        task.attempts += 1
        task.submitted = task.crumb_at = time.monotonic()
        task.timed_out, task.crumb = False, b""
        if task.jobs[0].careful:
            self.store.delete_file(crumb_path(self.plan, task.jobs[0].shard))
        self._running[self.submit(task.jobs)] = task

    def _collect(self) -> Iterator[Done[R]]:
        if not self._running:
            time.sleep(0.05)
            return
        ready, _ = ray.wait(list(self._running), num_returns=1, timeout=1.0)
        for ref in ready:
            task = self._running.pop(ref)
            try:
                results, seconds = ray.get(ref)
            except DEATHS:
                yield from self._died(task)
            except RayTaskError as error:
                yield from self._failed(task, error)
            else:
                mean = seconds / len(task.jobs)
                self._mean_s = mean if self._mean_s is None else 0.7 * self._mean_s + 0.3 * mean
                for job, result in zip(task.jobs, results, strict=True):
                    yield Done(job=job, result=result)

    def _died(self, task: _Task) -> Iterator[Done[R]]:
        """The worker is gone. Alone first, then again, then carefully."""
        if len(task.jobs) > 1:
            self._waiting += [_Task(jobs=[job], attempts=task.attempts) for job in task.jobs]
            return
        (job,) = task.jobs
        if job.careful:
            yield from self._blame(task, job, job.careful)
        elif task.timed_out or task.attempts >= ATTEMPTS:
            self._waiting.append(_Task(jobs=[replace(job, careful=Careful())]))
        else:
            task.not_before = time.monotonic() + 0.5 * task.attempts
            self._waiting.append(task)

    def _blame(self, task: _Task, job: Job, careful: Careful) -> Iterator[Done[R]]:
        """Read the crumb that the dead worker left: one row is the culprit, several become suspects."""
        crumb = self._crumb(job)
        poisoned = sum(len(rows) for rows in careful.poison.values())
        if not crumb or poisoned >= MAX_POISON:
            why = "its worker dies while reading it" if not crumb else f"more than {MAX_POISON} rows kill their worker"
            yield Done(job=job, unreadable=why)
            return
        about = json.loads(crumb)
        label, first, last = about["step"], about["first"], about["last"]
        if first < last:
            careful = replace(careful, suspects=(first, last))
        else:
            kind = "timed_out" if task.timed_out else "worker_died"
            rows = {**careful.poison.get(label, {}), first: kind}
            careful = Careful(poison={**careful.poison, label: rows})
        self._waiting.append(_Task(jobs=[replace(job, careful=careful)]))

    def _failed(self, task: _Task, error: RayTaskError) -> Iterator[Done[R]]:
        """The task raised: an unreadable shard is told, a passing fault is tried again, the rest ends the run."""
        cause = error.cause if isinstance(error.cause, BaseException) else error
        if len(task.jobs) > 1:
            self._waiting += [_Task(jobs=[job]) for job in task.jobs]
        elif isinstance(cause, ActorDiedError):  # for good: no row can be blamed
            raise RunError(f"a GPU worker cannot be started again: {str(cause).splitlines()[0]}") from None
        elif isinstance(cause, RayActorError):
            yield from self._died(task)
        elif isinstance(cause, ShardError):
            yield Done(job=task.jobs[0], unreadable=str(cause))
        elif isinstance(cause, ContractError | SetupError | ModelError):
            raise RunError(str(cause)) from None
        elif isinstance(cause, DiskFullError):
            raise cause from None
        elif isinstance(cause, OSError) and task.attempts < ATTEMPTS:
            task.not_before = time.monotonic() + 2.0**task.attempts
            self._waiting.append(task)
        else:
            shard = task.jobs[0].shard
            raise RunError(f"shard {shard.id} of {shard.file}: {type(cause).__name__}: {cause}") from error

    def _watch(self) -> None:
        """Kill what is past its deadline, or stands still in careful mode."""
        now = time.monotonic()
        for ref, task in self._running.items():
            late = now - task.submitted > self.patience * self.deadline_s * len(task.jobs)
            if task.jobs[0].careful:
                crumb = self._crumb(task.jobs[0])
                if crumb != task.crumb:
                    task.crumb, task.crumb_at = crumb, now
                late = bool(crumb) and now - task.crumb_at > self.patience * min(STALL_S, self.deadline_s)
            if late and not task.timed_out:
                task.timed_out = True
                ray.cancel(ref, force=True)

    def _crumb(self, job: Job) -> bytes:
        try:
            return self.store.read(crumb_path(self.plan, job.shard))
        except FileNotFoundError:
            return b""


def shard_title(shard: Shard) -> str:
    return f"{shard.file} (rows {shard.start} to {shard.stop})"


def result_of(ref: ray.ObjectRef[T]) -> T:
    """A task's result; what it raised, in words for the user."""
    try:
        return ray.get(ref)
    except DEATHS as error:
        raise WorkerDiedError(f"a worker died again and again: {str(error).splitlines()[0]}") from error
    except ray.exceptions.RayTaskError as error:
        cause = error.cause if isinstance(error.cause, BaseException) else error
        if isinstance(cause, DiskFullError):
            raise cause from None
        if isinstance(cause, ShardError):
            raise RunError(str(cause)) from None
        if isinstance(cause, DEATHS):
            raise WorkerDiedError(f"a worker died again and again: {str(cause).splitlines()[0]}") from error
        raise RunError(f"{type(cause).__name__}: {cause}") from error
