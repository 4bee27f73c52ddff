"""dedup.semantic: what it finds at each eps on real images, how long it takes, and which pairs k-means puts apart.

    python infra/bench/semantic.py                         both
    python infra/bench/semantic.py --rows 200000           time only, at this size (vectors of 512 numbers)

Precision and recall are of labelled pairs, as in near_images.py; a pair counts as found when the cosine of its
embeddings is more than 1 - eps. The embeddings are those of cupel-tiny, which was trained on drawings and has 192
numbers: real models are larger and see more, so take the shape of the table and not its numbers.

The time is that of the operator in one process. Vectors are drawn around 2,000 centres, and a third of them lie near
another one (cosine about 0.97). Pairs missed: of all pairs within eps that brute force finds for a sample of rows,
those in different clusters.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"  # before NumPy is imported

import near_images
import numpy as np
import polars as pl
import pyarrow as pa

from cupel.operators.base import Batch
from cupel.operators.dedup.semantic import Semantic
from cupel.operators.frames import InMemory
from cupel.operators.images import ImageStore
from cupel.operators.models.clip import ImageTower

EPS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2)
WIDTH, SAMPLE = 512, 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, help="time this many vectors, and leave out the quality table")
    parser.add_argument("--eps", type=float, default=0.05)
    parser.add_argument("--part-mb", type=int, default=128, help="size of a part")
    options = parser.parse_args()
    if options.rows is None and near_images.DATA.is_dir():
        near_images.tables(embedding, lambda one, other: 1 - float(one @ other), EPS)
    speed(options.rows or 200_000, options.eps, options.part_mb << 20)


def embedding(path: Path) -> np.ndarray | None:
    """cupel-tiny's unit vector of an image; None for what cannot be read."""
    batch = Batch(pa.table({"row": [0]}), ImageStore({0: path.read_bytes()}))
    vector = batch.run(ImageTower(model="cupel-tiny"))[0]
    return None if batch.failures else vector


def drawn(rows: int) -> np.ndarray:
    """(rows, WIDTH) fp16."""
    rng = np.random.default_rng(5)
    centres = rng.normal(size=(2000, WIDTH)).astype(np.float32)
    vectors = centres[rng.integers(0, len(centres), rows)] + rng.normal(size=(rows, WIDTH)).astype(np.float32)
    copies, copied = rng.choice(rows, rows // 3, replace=False), rng.integers(0, rows, rows // 3)
    vectors[copies] = vectors[copied] + 0.35 * rng.normal(size=(len(copies), WIDTH)).astype(np.float32)
    return vectors.astype(np.float16)


def speed(rows: int, eps: float, part_bytes: int) -> None:
    vectors = drawn(rows)
    table = pl.DataFrame(
        {
            "shard": np.arange(rows, dtype=np.int32) // 10_000,
            "row": np.arange(rows, dtype=np.int32) % 10_000,
            "key": [f"{i:09}" for i in range(rows)],
            "image_embedding": pl.Series(vectors, dtype=pl.Array(pl.Float16, WIDTH)),
        }
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    began = time.perf_counter()
    found = Semantic(eps=eps)(InMemory(part_bytes).frames(table)).collect().sort("shard", "row")
    took = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\n{rows:,} x {WIDTH}, eps {eps}, {found['semantic_cluster'].n_unique():,} clusters")
    print(f"{found['semantic_of'].count():,} duplicates in {took:.1f} s; {peak:,.0f} MiB at most, {before:,.0f} before")
    unit = vectors.astype(np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    some = np.random.default_rng(1).choice(rows, min(SAMPLE, rows), replace=False)
    cluster = found["semantic_cluster"].to_numpy()
    began = time.perf_counter()
    pairs = missed = 0
    for start in range(0, len(some), 200):
        part = some[start : start + 200]
        one, other = np.nonzero(unit[part] @ unit.T > 1 - eps)
        one = part[one]
        one, other = one[one != other], other[one != other]
        pairs, missed = pairs + len(one), missed + int((cluster[one] != cluster[other]).sum())
    brute = (time.perf_counter() - began) * rows / len(some) / 2
    print(f"brute force, extrapolated: {brute:.1f} s, {brute / took:.1f} times as long")
    print(f"pairs within eps of {len(some):,} rows: {pairs:,}, of which {missed:,} in different clusters (missed)")


if __name__ == "__main__":
    main()
