"""SIGKILL the driver after a random share of its files, run again: bytes and counts of a run left alone."""

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
  - pair.augment: {copies: 1}
  - image.digest
  - keep: {sharpness: {top: 0.9}}
write: {shard_rows: 60, row_group_mb: 1}
"""


def command(folder: Path, out: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "cupel", "run", str(folder / "r.yaml"), str(folder / "photos")),
        "--out",
        str(out),
        "--json",
    ]


def files(corpus: Path) -> int:
    return sum(len(names) for _, _, names in os.walk(corpus))


def finish(folder: Path, out: Path, env: dict[str, str]) -> dict[str, object]:
    done = subprocess.run(command(folder, out), capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def curated(result: dict[str, object]) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(str(result["cut"]), "curated").iterdir()}


def summary(result: dict[str, object]) -> bytes:
    return Path(str(result["cut"]), "summary.json").read_bytes()


def kill_and_run_again(folder: Path, kills: int, pictures: int, env: dict[str, str]) -> None:
    (folder / "r.yaml").write_text(RECIPE)
    write_folder(folder / "photos", pictures)
    expected = finish(folder, folder / "reference", env)
    whole = files(folder / "reference")
    seed = int(os.environ.get("CUPEL_KILL_SEED", random.randrange(10**6)))
    print(f"CUPEL_KILL_SEED={seed}")
    moments = random.Random(seed)
    out = folder / "killed"
    killed = 0
    for _ in range(kills):
        done = files(out)
        moment = done + moments.uniform(0, 0.9) * (whole - done)
        driver = subprocess.Popen(command(folder, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)
        while driver.poll() is None and files(out) <= moment:
            time.sleep(0.01)
        driver.kill()
        killed += driver.wait() == -signal.SIGKILL
    assert killed, "every run ended before its moment"
    again = finish(folder, out, env)
    assert curated(again) == curated(expected)
    assert summary(again) == summary(expected)
    same = ("rows_in", "kept", "dropped", "errors")
    assert [again[key] for key in same] == [expected[key] for key in same]
    assert verify_corpus(str(out)).faults == []


def test_three_kills_leave_no_trace(tmp_path, ray_session):
    """On a cluster that outlives its drivers."""
    env = {**os.environ, "RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    kill_and_run_again(tmp_path, 3, 700, env)


@pytest.mark.long
def test_twenty_kills_leave_no_trace(tmp_path):
    """With an embedded Ray that dies with its driver."""
    env = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    kill_and_run_again(tmp_path, 20, 3000, env)
