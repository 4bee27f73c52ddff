"""`cupel train` as it is typed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from training import pairs, recipe
from typer.testing import CliRunner

from cupel.pipeline.cli import app


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    return str(pairs(tmp_path_factory.mktemp("pairs") / "in"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> str:
    """A recipe's file."""
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(yaml.safe_dump(recipe().model_dump(mode="json", exclude_none=True)))
    return str(path)


def cupel(*words: str | Path):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_json_tells_what_the_run_came_to(tiny, data, tmp_path):
    found = cupel("train", tiny, "--data", data, "--out", tmp_path / "run", "--samples", 40, "--seed", 5, "--json")
    assert found.exit_code == 0, found.output
    told = json.loads(found.stdout)
    assert {"loss_first", "loss_last", "samples_seen", "samples_per_s", "data_wait_share"} <= told.keys()
    assert (told["samples_seen"], told["seed"]) == (40, 5)
    again = cupel("train", tiny, "--data", data, "--out", tmp_path / "run", "--samples", 40, "--seed", 5)
    assert again.exit_code == 0 and "tiny: 40 pairs of 48 rows (0.83 epochs)" in again.stdout
    assert f"model: {tmp_path}/run/model" in again.stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["train", "smoek", "--data", "{data}"], "no recipe 'smoek'"),
        (["train", "{tiny}", "--data", "{folder}/none"], "/none"),
        (["train", "{tiny}", "--data", "{data}", "--out", "s3://bucket/run"], "is no local folder"),
        (["train", "{tiny}", "--data", "{data}", "--cut", "mine"], "is no corpus, so it has no cut 'mine'"),
        (["train", "{tiny}", "--data", "{data}", "--ray-address", "auto"], "--ray-address goes with --workers"),
        (
            ["train", "{folder}/typo.yaml", "--data", "{data}"],
            "typo.yaml:2: unknown key 'bacth'; did you mean 'batch'?",
        ),
    ],
)
def test_a_mistake_is_told_in_a_line(tiny, data, tmp_path, words, told):
    (tmp_path / "typo.yaml").write_text("model: {architecture: cupel-tiny}\nbacth: 3\nsamples: 3\n")
    words = [word.format(tiny=tiny, data=data, folder=tmp_path) for word in words]
    found = cupel(*words, *([] if "--out" in words else ["--out", tmp_path / "run"]))
    assert found.exit_code == 2 and told in found.stderr and "Traceback" not in found.stderr


def test_ctrl_c_keeps_what_was_learned(data, tmp_path):
    settings = recipe(samples=400_000, checkpoint_steps=100_000)
    (tmp_path / "long.yaml").write_text(yaml.safe_dump(settings.model_dump(mode="json", exclude_none=True)))
    command = [
        sys.executable,
        "-m",
        "cupel",
        "train",
        tmp_path / "long.yaml",
        "--data",
        data,
        "--out",
        tmp_path / "run",
    ]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, start_new_session=True
    )
    while not (tmp_path / "run" / "log.jsonl").is_file() and process.poll() is None:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    told = process.communicate()[1]
    assert process.returncode == 130, told
    assert "the same command goes on from there" in told and "Traceback" not in told
    (saved,) = (tmp_path / "run" / "checkpoints").iterdir()
    assert f"stopped at step {int(saved.name)} of 50000" in told
