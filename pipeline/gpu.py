"""GPU workers: each holds the models of a stretch, and puts what several CPU tasks send into one batch."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import ray
from ray.actor import ActorProxy
from ray.exceptions import RayError, RayTaskError

from ..operators.base import Model, loaded
from .progress import Reporter

CALLS = 64  # that may wait in a worker
PATIENCE_S = 60.0
TOGETHER = 1024  # rows of several calls that are computed at once


@dataclass(kw_only=True, eq=False)
class _Call:
    model: Model
    prepared: np.ndarray
    output: np.ndarray | None = None
    error: BaseException | None = None
    done: threading.Event = field(default_factory=threading.Event)


class GpuWorker:
    """An actor of many threads, two of which compute: while one waits for the GPU, the other joins and copies."""

    def __init__(self) -> None:
        self._waiting: list[_Call] = []
        self._lock = threading.Lock()
        self._places = threading.Semaphore(2)

    @ray.method
    def load(self, model: Model) -> None:
        """Load a model before the first batch comes."""
        loaded(model)

    @ray.method
    def run(self, model: Model, prepared: np.ndarray) -> np.ndarray:
        """What the model makes of the rows of one call."""
        mine = _Call(model=model, prepared=prepared)
        with self._lock:
            self._waiting.append(mine)
        with self._places:
            together = self._take(mine)
            if together:
                _compute(together)
        mine.done.wait()
        if mine.error is not None:
            raise mine.error
        assert mine.output is not None
        return mine.output

    def _take(self, mine: _Call) -> list[_Call]:
        """This call and those behind it that go with it; none when another thread has taken it along."""
        with self._lock:
            if mine not in self._waiting:
                return []
            taken, rows = [mine], len(mine.prepared)
            self._waiting.remove(mine)
            for call in list(self._waiting):
                alike = call.model == mine.model and call.prepared.shape[1:] == mine.prepared.shape[1:]
                if alike and rows + len(call.prepared) <= TOGETHER:
                    self._waiting.remove(call)
                    taken.append(call)
                    rows += len(call.prepared)
            return taken


Gpu = ActorProxy[GpuWorker]


def _compute(calls: list[_Call]) -> None:
    """One batch of several calls; each gets its rows, or the error."""
    try:
        output = loaded(calls[0].model)(np.concatenate([call.prepared for call in calls]))
    except BaseException as error:  # noqa: BLE001  told to every call that was part of it
        if "CUDA error" in str(error):  # the device is lost to this process; another one takes its place
            os._exit(1)
        for call in calls:
            call.error = error
    else:
        ends = np.cumsum([len(call.prepared) for call in calls])[:-1]
        for call, part in zip(calls, np.split(output, ends), strict=True):
            call.output = part
    for call in calls:
        call.done.set()


def told(answer: ray.ObjectRef[np.ndarray]) -> np.ndarray:
    """A call's result. What the model raised is raised as it would be without a GPU, so that it is pinned on a row."""
    try:
        return ray.get(answer)
    except RayTaskError as error:
        if isinstance(error.cause, Exception) and not isinstance(error.cause, RayError):
            raise error.cause from None
        raise


def start_workers(share: float, count: int, models: list[Model], progress: Reporter) -> list[Gpu]:
    """`count` workers of that share of a GPU, their models loaded."""
    worker = ray.remote(GpuWorker).options(num_gpus=share, num_cpus=0, max_restarts=-1, max_concurrency=CALLS)
    gpus = [worker.remote() for _ in range(count)]
    loads = [gpu.load.remote(model) for gpu in gpus for model in models]
    if ray.wait(loads, num_returns=len(loads), timeout=PATIENCE_S)[1]:
        progress.say(f"waiting for {count} GPU workers and their models; are the GPUs in use by others?")
    try:
        ray.get(loads)
    except RayError:
        stop_workers(gpus)
        raise
    return gpus


def stop_workers(gpus: Sequence[Gpu]) -> None:
    """Give the GPUs back at once, whoever may still hold a handle."""
    for gpu in gpus:
        ray.kill(gpu)  # type: ignore[arg-type]
