"""A new batch against an existing corpus: seconds with `against`, and for grouping both together anew.

    python infra/bench/incremental.py                          1,000,000 existing rows, 50,000 new ones
    python infra/bench/incremental.py --old 10000000 --new 100000

Hashes, band digests (14 a text) and embeddings (64 numbers) are drawn; a third of the new rows are near old ones. Both
ways start from measured columns and run in one process, so the ratio is that of the grouping alone; besides, nothing of
the existing corpus is opened or measured again.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"  # before NumPy is imported

import numpy as np
import polars as pl

from cupel.operators.base import CorpusOperator, Frames
from cupel.operators.dedup.near_images import NearImages
from cupel.operators.dedup.near_text import NearText
from cupel.operators.dedup.semantic import Semantic
from cupel.operators.frames import InMemory

FILE_ROWS = 100_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--old", type=int, default=1_000_000)
    parser.add_argument("--new", type=int, default=50_000)
    options = parser.parse_args()
    print(f"{options.old:,} existing rows, {options.new:,} new ones\n")
    print(f"{'operator':20}{'against, s':>12}{'anew, s':>10}{'ratio':>8}{'duplicates':>12}{'of old ones':>13}")
    for operator in (NearImages, NearText, Semantic):
        tell(operator, options.old, options.new)


def tell(operator: type[CorpusOperator], old: int, new: int) -> None:
    """One line."""
    column = operator().reads[0]  # type: ignore[call-arg]
    kept, added = drawn(column, old, new)
    with tempfile.TemporaryDirectory(prefix="cupel-bench-") as folder:
        for start in range(0, old, FILE_ROWS):
            kept[start : start + FILE_ROWS].select("key", column).write_parquet(Path(folder, f"{start:09}.parquet"))
        more = {"clusters": 500} if operator is Semantic else {}
        began = time.perf_counter()
        found = operator(against=folder, **more)(in_parts(added)).collect()  # type: ignore[operator, call-arg, union-attr]
        against = time.perf_counter() - began
    began = time.perf_counter()
    operator(**more)(in_parts(pl.concat([kept, added])))  # type: ignore[operator]
    anew = time.perf_counter() - began
    of = found[next(name for name in found.columns if name.endswith("_of"))]
    name = f"{operator.__module__.split('.')[-2]}.{operator.__module__.split('.')[-1]}"
    numbers = f"{of.count():12,}{of.str.starts_with('old').sum():13,}"
    print(f"{name:20}{against:12.1f}{anew:10.1f}{anew / against:8.1f}{numbers}", flush=True)


def in_parts(rows: pl.DataFrame) -> Frames:
    return InMemory().frames(*(rows[start : start + 1_000_000] for start in range(0, rows.height, 1_000_000)))


def drawn(column: str, old: int, new: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The existing rows and the new ones."""
    rng = np.random.default_rng(3)
    copies, copied = rng.choice(new, new // 3, replace=False) + old, rng.integers(0, old, new // 3)
    if column == "phash":
        values = rng.integers(0, 2**64, old + new, np.uint64)
        values[copies] = values[copied] ^ np.uint64(1) << rng.integers(0, 64, len(copies), np.uint64)
        series = pl.Series(values)
    elif column == "minhash":
        bands = rng.integers(0, 2**64, (old + new, 14), np.uint64)
        bands[copies, copies % 14] = bands[copied, copies % 14]
        series = pl.Series(bands, dtype=pl.Array(pl.UInt64, 14))
    else:
        vectors = rng.normal(size=(old + new, 64)).astype(np.float32)
        vectors[copies] = vectors[copied] + 0.1 * rng.normal(size=(len(copies), 64)).astype(np.float32)
        series = pl.Series(vectors.astype(np.float16), dtype=pl.Array(pl.Float16, 64))
    rows = np.arange(old + new)
    table = pl.DataFrame({"shard": rows // 10_000, "row": rows % 10_000, column: series}).with_columns(
        pl.col("shard", "row").cast(pl.Int32), key=pl.format("old{}", "shard") + pl.format("-{}", "row")
    )
    return table[:old], table[old:].with_columns(key=pl.format("new{}", "row"))


if __name__ == "__main__":
    main()
