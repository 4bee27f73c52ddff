"""Unit vectors within an angle, in blocks: no matrix is larger than BLOCK x BLOCK, however many rows there are.

A product of matrices in fp32 depends in its last bits on the rows beside a row, so a pair near the limit is computed
once more by itself: the decision is the same wherever its rows stand.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

BLOCK: Final = 2048
UNSURE: Final = 1e-4  # of a cosine by matrix product in fp32, generously
PAIRS: Final = 1 << 14  # computed once more at a time

Vectors = NDArray[np.float32]  # (rows, width)
Found = tuple[NDArray[np.int64], NDArray[np.float32]]  # index of the keeper or -1, cosine


def unit_vectors(column: pl.Series, name: str) -> tuple[NDArray[np.bool_], Vectors]:
    """Which rows have a usable vector, and those scaled to length 1. Raises ValueError where there are no vectors."""
    kind = column.dtype
    if not isinstance(kind, pl.List | pl.Array) or not kind.inner.is_float():
        raise ValueError(f"column {name!r} holds {kind}, not embeddings; pair.clip_similarity adds some")
    present = column.is_not_null().to_numpy()
    values = column.drop_nulls()
    if not len(values):
        return present, np.zeros((0, getattr(kind, "size", 0)), np.float32)
    lengths = values.list.len() if isinstance(kind, pl.List) else pl.Series([kind.size])
    if lengths.n_unique() > 1:
        raise ValueError(
            f"column {name!r} holds lists of {lengths.min()!r} to {lengths.max()!r} numbers, not embeddings"
        )
    rows = values.explode().to_numpy().astype(np.float32).reshape(len(values), -1)
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    good = np.isfinite(norms) & (norms > 0)
    present[present] = good
    return present, (rows[good] / norms[good, None]).astype(np.float32)


def within(rows: Vectors, others: Vectors, limit: float) -> Found:
    """For each row the first of the others whose cosine is more than the limit."""
    first = np.full(len(rows), -1, np.int64)
    for start in range(0, len(others), BLOCK):
        open_rows = np.flatnonzero(first < 0)
        for begin in range(0, len(open_rows), BLOCK):
            some = open_rows[begin : begin + BLOCK]
            near = _near(rows[some], others[start : start + BLOCK], limit)
            hit = near.any(axis=1)
            first[some[hit]] = start + near[hit].argmax(axis=1)
    return first, _cosines(rows, others, first)


def settle(rows: Vectors, limit: float, chains: bool) -> Found:
    """Rows in order: the first earlier keeper (with `chains` the first earlier row) within the limit, else -1."""
    keeper = np.full(len(rows), -1, np.int64)
    kept = np.zeros(0, np.int64)
    for start in range(0, len(rows), BLOCK):
        block = np.arange(start, min(start + BLOCK, len(rows)))
        found, _ = within(rows[block], rows[kept], limit)
        keeper[block[found >= 0]] = kept[found[found >= 0]]
        rest = block if chains else block[found < 0]
        near = np.tril(_near(rows[rest], rows[rest], limit), -1)
        for i in np.flatnonzero(near.any(axis=1) & (keeper[rest] < 0)).tolist():
            earlier = np.flatnonzero(near[i])
            best = earlier if chains else earlier[keeper[rest[earlier]] < 0]
            if len(best):
                keeper[rest[i]] = rest[best[0]]
        kept = np.concatenate([kept, rest if chains else rest[keeper[rest] < 0]])
    return keeper, _cosines(rows, rows, keeper)


def _near(rows: Vectors, others: Vectors, limit: float) -> NDArray[np.bool_]:
    """Which pairs are within the limit."""
    cosine = rows @ others.T
    near = cosine > limit
    left, right = np.nonzero(np.abs(cosine - limit) < UNSURE)
    for start in range(0, len(left), PAIRS):
        one, other = left[start : start + PAIRS], right[start : start + PAIRS]
        near[one, other] = np.einsum("ij,ij->i", rows[one], others[other], dtype=np.float64) > limit
    return near


def _cosines(rows: Vectors, others: Vectors, index: NDArray[np.int64]) -> NDArray[np.float32]:
    """The cosine of each row with its keeper; NaN where it has none."""
    found = np.full(len(rows), np.nan, np.float32)
    hits = np.flatnonzero(index >= 0)
    for start in range(0, len(hits), PAIRS):
        some = hits[start : start + PAIRS]
        found[some] = np.einsum("ij,ij->i", rows[some], others[index[some]], dtype=np.float64)
    return found
