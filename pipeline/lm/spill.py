"""Tables on disk in buckets: one Parquet file a task, one row group a bucket, so that a bucket is read from all files.

Rows are put into buckets by a hash of word ids that is the same on every machine, so that what belongs together meets.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, cast

import numpy as np
import polars as pl
import pyarrow.parquet as pq

HOLD_ROWS: Final = 4_000_000  # rows of a bucket gathered before they are merged


def bucket_of(ids: Sequence[np.ndarray], buckets: int) -> np.ndarray:
    """The bucket of each row, from its columns of word ids (uint32); [rows] int64."""
    mixed = np.full(len(ids[0]) if ids else 0, 0x9E3779B97F4A7C15, np.uint64)
    for column in ids:
        mixed = (mixed ^ column.astype(np.uint64)) * np.uint64(0xBF58476D1CE4E5B9)
        mixed ^= mixed >> np.uint64(31)
    return (mixed % np.uint64(buckets)).astype(np.int64)


def spill(path: Path, frame: pl.DataFrame, bucket: np.ndarray, buckets: int) -> pl.DataFrame:
    """Write rows, a row group a bucket (empty ones too); the rows in the order written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ordered = frame[np.argsort(bucket, kind="stable")]
    table = ordered.to_arrow()
    bounds = np.cumsum(np.bincount(bucket, minlength=buckets))
    temporary = path.with_suffix(f".{os.getpid()}")  # a task that runs twice leaves one whole file
    with pq.ParquetWriter(temporary, table.schema, compression="zstd", compression_level=1) as writer:
        for start, stop in zip([0, *bounds[:-1]], bounds, strict=True):
            writer.write_table(table.slice(start, stop - start), row_group_size=max(1, stop - start))
    temporary.replace(path)
    return ordered


def read_bucket(path: Path, bucket: int) -> pl.DataFrame:
    """One bucket of one file."""
    with pq.ParquetFile(path) as file:
        return cast(pl.DataFrame, pl.from_arrow(file.read_row_group(bucket)))


def merge(
    paths: Iterable[Path], bucket: int, reduce: Callable[[pl.DataFrame], pl.DataFrame], hold: int = HOLD_ROWS
) -> pl.DataFrame:
    """One bucket of all files, reduced as it is gathered: never more than `hold` rows beyond what is distinct."""
    gathered: list[pl.DataFrame] = []
    rows = 0
    limit = hold
    for path in paths:
        gathered.append(read_bucket(path, bucket))
        rows += gathered[-1].height
        if rows > limit:
            gathered = [reduce(pl.concat(gathered))]
            rows = gathered[0].height
            limit = rows + hold
    return reduce(pl.concat(gathered))
