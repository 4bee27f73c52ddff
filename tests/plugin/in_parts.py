"""Corpus operators over rows spread over parts."""

from __future__ import annotations

import itertools

import polars as pl

from cupel.operators.base import CorpusOperator
from cupel.operators.frames import PART_BYTES, Frames, InMemory


def in_parts(rows: pl.DataFrame, parts: int = 1, part_bytes: int = PART_BYTES) -> Frames:
    """The rows as a table of so many parts, its shuffles cut at `part_bytes`."""
    bounds = [i * rows.height // parts for i in range(parts + 1)]
    frames = [rows[start:stop] for start, stop in itertools.pairwise(bounds)]
    return InMemory(part_bytes=part_bytes).frames(*frames)


def found_by(
    operator: CorpusOperator, rows: pl.DataFrame, parts: int = 1, part_bytes: int = PART_BYTES
) -> pl.DataFrame:
    """What the operator finds, in the order of the rows."""
    found = operator(in_parts(rows, parts, part_bytes))
    return (found.collect() if isinstance(found, Frames) else found).sort("shard", "row")
