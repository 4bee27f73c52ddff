"""Training runs side by side in processes of their own; a run that is finished is not run again.

Each process has a GPU, or else a thread: small networks gain nothing from a second, so two runs at a time take half as
long as one after the other. A process imports torch once, and reads the evaluation data once.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from ....schemas.train import TrainRecipe
from ...progress import Reporter
from ..errors import TrainError

if TYPE_CHECKING:
    from ..reader import Dataset
    from .judge import Judge

THREADS: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
JUDGED: Final = "judged.json"


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run to be had: what is trained, on which rows of which dataset, and whether it is judged or its model kept.

    Jobs of one folder are one run. `name` says in words whose it is.
    """

    name: str
    out: Path
    recipe: TrainRecipe
    data: str
    rows: Path  # .npy of row numbers
    evaluation: str | None  # Evaluation as JSON; None: the model itself is wanted


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a run."""

    metrics: dict[str, float]
    samples_seen: int
    epochs: float
    flops: float  # forward and backward, of the whole run
    flops_per_sample: float
    loss_last: float
    seconds: float
    model: str


class Workers:
    """A pool of processes that train."""

    def __init__(self, pool: ProcessPoolExecutor, progress: Reporter) -> None:
        self._pool, self._progress = pool, progress

    def outcomes(self, stage: str, jobs: Sequence[Job]) -> list[Outcome]:
        """All outcomes, in the jobs' order; a run that stands there twice is done once.

        Whoever is interrupted finds the finished ones the next time. A TrainError names the run that it came of.
        """
        found = []
        for result in self._done(stage, jobs, forgiving=False):
            assert isinstance(result, Outcome)
            found.append(result)
        return found

    def tried(self, stage: str, jobs: Sequence[Job]) -> list[Outcome | TrainError]:
        """The same of runs that may fail: for one whose loss was no number any more, its error."""
        return self._done(stage, jobs, forgiving=True)

    def _done(self, stage: str, jobs: Sequence[Job], *, forgiving: bool) -> list[Outcome | TrainError]:
        each = {job.out: job for job in jobs}
        self._progress.begin(stage, len(each), "runs")
        waiting = {self._pool.submit(do, job): job for job in each.values()}
        found: dict[Path, Outcome | TrainError] = {}
        try:
            for future in as_completed(waiting):
                job = waiting[future]
                try:
                    found[job.out] = future.result()
                except TrainError as error:
                    if not forgiving:
                        raise TrainError(f"{job.name}: {error}") from error
                    found[job.out] = error
                self._progress.advance(1)
        except BrokenProcessPool as error:
            raise TrainError(
                "a training process died, most likely for want of memory; fewer at a time (--workers) need less, and "
                "the same command goes on with what is done"
            ) from error
        return [found[job.out] for job in jobs]


@contextmanager
def working(workers: int, progress: Reporter) -> Iterator[Workers]:
    """Processes for the time of the block. Those that still train when it ends by an error or Ctrl-C are ended."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))  # read where torch is imported
    others = set(multiprocessing.active_children())
    context, shown = multiprocessing.get_context("spawn"), gpus()
    turns: SimpleQueue[str] = context.SimpleQueue()
    for i in range(workers):
        turns.put(shown[i % len(shown)] if shown else "")
    pool = ProcessPoolExecutor(workers, context, _ready, (turns, workers))
    try:
        yield Workers(pool, progress)
    except BaseException:
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def gpus() -> list[str]:
    """Those that this process may use, as $CUDA_VISIBLE_DEVICES calls them."""
    import torch

    count = torch.cuda.device_count()
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return named.split(",")[:count] if named else [str(i) for i in range(count)]


def _ready(turns: SimpleQueue[str], workers: int) -> None:
    """A process that takes its turn: its GPU, and its share of the machine's cores and memory."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
    os.environ["LOCAL_WORLD_SIZE"] = str(workers)
    if gpu := turns.get():
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    threading.Thread(target=_follow_parent, daemon=True).start()
    import torch

    torch.set_num_threads(1)


def _follow_parent() -> None:
    """A process whose parent was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def do(job: Job) -> Outcome:
    """Train and judge, or find that it was done."""
    told, model = job.out / JUDGED, str(job.out / "model")
    if told.is_file():
        return Outcome(**json.loads(told.read_text()) | {"model": model})  # the folder may have been moved
    import torch

    from ..loop import fit

    began = time.perf_counter()
    threads = None if torch.cuda.is_available() else 1  # beside a GPU its share of the cores is free to decode
    result = fit(job.recipe, _data(job.data).take(np.load(job.rows)), job.out, threads=threads)
    gc.collect()  # the run's weights and pixels, before others are made
    metrics = _judge(job.evaluation)(model) if job.evaluation else {}
    outcome = Outcome(
        metrics=metrics,
        samples_seen=result.samples_seen,
        epochs=result.epochs,
        flops=result.flops_per_sample * result.samples_seen,
        flops_per_sample=result.flops_per_sample,
        loss_last=result.loss_last,
        seconds=time.perf_counter() - began,
        model=model,
    )
    part = told.with_suffix(".part")
    part.write_text(json.dumps(asdict(outcome)) + "\n")
    part.replace(told)
    if job.evaluation:
        shutil.rmtree(model)  # it has served; the recipe beside it makes it again
    return outcome


@cache
def _data(place: str) -> Dataset:
    from ..reader import open_dataset

    return open_dataset(place)


@cache
def _judge(evaluation: str) -> Judge:
    from .judge import Judge
    from .recipe import Evaluation

    return Judge(Evaluation.model_validate_json(evaluation))
