"""SIGKILL the driver at random moments, run the same command again: bytes and counts of a run that was left alone."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import ray
from drawing import write_folder

from cupel.pipeline.verify import verify_corpus

RECIPE = """\
name: killed
steps:
  - text.length
  - keep: {words: {min: 4}}
  - image.size
  - image.quality
  - image.phash
  - dedup.near_images: {max_distance: 8, prefer: {highest: sharpness}}
  - keep: {near_image_of: null}
  - image.digest
  - keep: {sharpness: {top: 0.9}}
write: {shard_rows: 60, row_group_mb: 1}
"""


def command(folder: Path, out: str) -> list[str]:
    return [
        *(sys.executable, "-m", "cupel", "run", str(folder / "r.yaml"), str(folder / "photos")),
        "--out",
        out,
        "--json",
    ]


def finish(folder: Path, out: str, env: dict[str, str]) -> tuple[dict[str, object], float]:
    began = time.monotonic()
    done = subprocess.run(command(folder, out), capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), time.monotonic() - began


def curated(result: dict[str, object]) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(str(result["cut"]), "curated").iterdir()}


def kill_and_run_again(folder: Path, kills: int, pictures: int, env: dict[str, str]) -> None:
    (folder / "r.yaml").write_text(RECIPE)
    write_folder(folder / "photos", pictures)
    expected, seconds = finish(folder, str(folder / "reference"), env)
    seed = int(os.environ.get("CUPEL_KILL_SEED", random.randrange(10**6)))
    print(f"CUPEL_KILL_SEED={seed}")
    moments = random.Random(seed)
    out = str(folder / "killed")
    survived = 0
    for _ in range(kills):
        driver = subprocess.Popen(command(folder, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)
        try:
            driver.wait(moments.uniform(0.1 * seconds, 0.95 * seconds))
            survived += 1
        except subprocess.TimeoutExpired:
            driver.send_signal(signal.SIGKILL)
            driver.wait()
    assert survived < kills, "no run was killed: the moments came too late"
    again, _ = finish(folder, out, env)
    assert curated(again) == curated(expected)
    same = ("rows_in", "kept", "dropped", "errors")
    assert [again[key] for key in same] == [expected[key] for key in same]
    assert verify_corpus(out).faults == []


def test_three_kills_leave_no_trace(tmp_path, ray_session):
    """On a cluster that outlives its drivers."""
    env = {**os.environ, "RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    kill_and_run_again(tmp_path, 3, 700, env)


@pytest.mark.long
def test_twenty_kills_leave_no_trace(tmp_path):
    """With an embedded Ray that dies with its driver."""
    env = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    kill_and_run_again(tmp_path, 20, 3000, env)
