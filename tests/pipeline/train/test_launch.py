"""The same run in two processes, started by Ray Train and by torchrun."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from training import pairs, recipe

from cupel.pipeline.progress import Silent
from cupel.pipeline.train.errors import Stopped, TrainError
from cupel.pipeline.train.launch import fit_on_ray
from cupel.pipeline.train.loop import fit


def losses(folder) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Where the pairs lie, and the losses of a run in one process."""
    folder = tmp_path_factory.mktemp("alone")
    fit(recipe(samples=32), str(pairs(folder / "in")), folder / "run")
    return folder / "in", losses(folder / "run")


@pytest.mark.usefixtures("ray_session")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")
def test_ray_train_starts_the_same_loop(alone, tmp_path, monkeypatch, capsys):
    data, wanted = alone
    monkeypatch.chdir(data.parent)  # Ray Train's processes work elsewhere
    result = fit_on_ray(recipe(samples=32), data.name, Path("ray"), workers=2)
    assert losses(data.parent / "ray") == pytest.approx(wanted, rel=1e-4)
    assert result.samples_seen == 32 and result.model == str(data.parent / "ray" / "model")
    assert "1 GPUs for 2 workers: training on CPUs" in capsys.readouterr().err


class Heard(Silent):
    """Stages and what was advanced in each."""

    def __init__(self) -> None:
        self.stages: dict[str, int] = {}

    def begin(self, stage: str, count: int, unit: str = "rows") -> None:
        self.stages[stage] = 0

    def advance(self, count: int) -> None:
        self.stages[list(self.stages)[-1]] += count


@pytest.mark.usefixtures("ray_session")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")
def test_it_tells_how_far_it_is_and_stops_where_it_is_asked(alone, tmp_path):
    """And goes on from there, in one process."""
    data, heard = str(alone[0]), Heard()
    long = recipe(samples=80_000, checkpoint_steps=100_000)
    with pytest.raises(Stopped, match=r"stopped at step \d+0 of 10000"):
        fit_on_ray(
            long, data, tmp_path / "run", workers=2, progress=heard, stop=lambda: heard.stages.get("train", 0) > 0
        )
    assert list(heard.stages) == ["start Ray Train", "train"] and heard.stages["train"] > 0
    (saved,) = (tmp_path / "run" / "checkpoints").iterdir()
    assert not (tmp_path / "run" / ".stop").exists()
    with pytest.raises(Stopped, match=f"stopped at step {int(saved.name) + 1} of 10000"):
        fit(long, data, tmp_path / "run", stop=lambda: True)


@pytest.mark.usefixtures("ray_session")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")
def test_an_error_in_a_process_is_told_as_it_is(alone, tmp_path):
    with pytest.raises(TrainError, match="a batch of 9 cannot be shared by 2 ranks"):
        fit_on_ray(recipe(batch=9), str(alone[0]), tmp_path / "run", workers=2)


def test_torchrun_starts_the_command(alone, tmp_path):
    data, wanted = alone
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(recipe(samples=32).model_dump(mode="json", exclude_none=True)))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "cupel"]
    command += ["train", str(tmp_path / "tiny.yaml"), "--data", str(data), "--out", str(tmp_path / "run"), "--json"]
    found = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout.splitlines()[-1])["samples_seen"] == 32, "one rank tells"
    assert losses(tmp_path / "run") == pytest.approx(wanted, rel=1e-4)
