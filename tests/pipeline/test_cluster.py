"""Lose a node of a Ray cluster in the middle of a run: the others finish it, with the same bytes."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys

import pytest
from drawing import write_folder

from cupel.pipeline.verify import verify_corpus

SCRIPT = """
import sys, threading, time
import ray
from pathlib import Path
from ray.cluster_utils import Cluster
from cupel import Recipe, run

folder = Path(sys.argv[1])
recipe = Recipe(name="r", steps=["image.size", "image.quality", "image.phash",
    {"dedup.near_images": {"max_distance": 8}}, {"keep": {"near_image_of": None}}], write={"shard_rows": 500})
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
ray.init(address=cluster.address, log_to_driver=False)

def lose_one():
    scores = folder / "lossy" / "scores"
    while not scores.exists() or len(list(scores.rglob("*.parquet"))) < 6:
        time.sleep(0.05)
    cluster.remove_node(nodes[0], allow_graceful=False)

whole = run(recipe, folder / "photos", out=folder / "whole")
threading.Thread(target=lose_one, daemon=True).start()
lossy = run(recipe, folder / "photos", out=folder / "lossy")
files = [{p.name: p.read_bytes() for p in Path(f.cut, "curated").iterdir()} for f in (whole, lossy)]
assert files[0] == files[1], "other bytes"
assert len(ray.nodes()) == 3 and sum(node["Alive"] for node in ray.nodes()) == 2, "no node was lost"
print("same", lossy.kept)
"""


@pytest.mark.long
def test_a_lost_node_costs_nothing_but_time(tmp_path):
    write_folder(tmp_path / "photos", 3000)
    env = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    env |= {"RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_health_check_period_ms": "500"}
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False, timeout=300)
    assert "same" in done.stdout, done.stderr[-3000:]
    assert verify_corpus(str(tmp_path / "lossy")).faults == []
