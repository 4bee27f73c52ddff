"""Jobs side by side: equal ones are one run, and a failure says whose it was."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cupel.pipeline.progress import Silent
from cupel.pipeline.train.compare import work
from cupel.pipeline.train.compare.work import Job, Outcome, Workers
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
