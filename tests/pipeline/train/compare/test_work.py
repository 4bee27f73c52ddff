"""Jobs side by side: equal ones are one run, and a failure says whose it was."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import Manager
from pathlib import Path

import pytest

from cupel.pipeline.progress import Silent
from cupel.pipeline.train.compare import work
from cupel.pipeline.train.compare.work import Job, Outcome, Workers, gpus, working
from cupel.pipeline.train.errors import TrainError
from cupel.schemas.train import TrainRecipe

TRAIN = TrainRecipe.model_validate({"name": "t", "model": {"architecture": "cupel-tiny"}, "samples": 8, "batch": 4})


def job(folder: str, name: str = "arm raw, seed 0") -> Job:
    return Job(name=name, out=Path(folder), recipe=TRAIN, data="d", rows=Path("r.npy"), evaluation=None)


@pytest.fixture
def done(monkeypatch) -> list[Path]:
    """The folders that were trained in; those called `bad` diverge."""
    folders: list[Path] = []

    def do(job: Job) -> Outcome:
        folders.append(job.out)
        if job.out.name == "bad":
            raise TrainError("the loss is nan at step 3")
        numbers = {"epochs": 1.0, "flops": 1.0, "flops_per_sample": 1.0, "loss_last": 1.0, "seconds": 1.0}
        return Outcome(metrics={}, samples_seen=len(job.out.name), model=job.out.name, **numbers)

    monkeypatch.setattr(work, "do", do)
    return folders


@pytest.fixture
def crew():
    with ThreadPoolExecutor(2) as pool:
        yield Workers(pool, Silent())


def test_equal_jobs_are_one_run(crew, done):
    found = crew.outcomes("arms", [job("a"), job("bb"), job("a", "arm random, seed 0"), job("a")])
    assert [outcome.model for outcome in found] == ["a", "bb", "a", "a"]
    assert sorted(map(str, done)) == ["a", "bb"]


def test_a_failure_names_its_run(crew, done):
    with pytest.raises(TrainError, match="arm oracle, seed 4: the loss is nan"):
        crew.outcomes("arms", [job("a"), job("bad", "arm oracle, seed 4")])


def test_what_may_fail_gives_its_error_and_the_others_go_on(crew, done):
    good, bad, last = crew.tried("learning rates", [job("a"), job("bad"), job("c")])
    assert isinstance(bad, TrainError) and "nan" in str(bad)
    assert [good.model, last.model] == ["a", "c"]


def test_each_process_has_a_gpu_and_its_share_of_the_machine(monkeypatch):
    """Three at once (they wait for each other) on two GPUs."""
    monkeypatch.setattr(work, "gpus", lambda: ["GPU-1", "GPU-5"])
    told = "barrier.wait(), [getenv(name) for name in ('CUDA_VISIBLE_DEVICES', 'LOCAL_WORLD_SIZE', 'OMP_NUM_THREADS')]"
    with Manager() as manager, working(3, Silent()) as crew:
        names = {"barrier": manager.Barrier(3), "getenv": os.getenv}
        waiting = [crew._pool.submit(eval, told, names) for _ in range(3)]  # a function of this file is not found there
        found = sorted(future.result()[1] for future in waiting)
    assert found == [["GPU-1", "3", "1"], ["GPU-1", "3", "1"], ["GPU-5", "3", "1"]]


@pytest.mark.parametrize(
    ("named", "count", "names"), [("", 2, ["0", "1"]), ("3,GPU-ab,7", 2, ["3", "GPU-ab"]), ("", 0, []), ("1", 0, [])]
)
def test_gpus_are_named_as_the_user_names_them(monkeypatch, named, count, names):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    monkeypatch.setattr("torch.cuda.device_count", lambda: count)
    assert gpus() == names
