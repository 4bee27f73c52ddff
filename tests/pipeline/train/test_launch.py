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

from cupel.pipeline.train.errors import TrainError
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
