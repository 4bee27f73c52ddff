"""Texts as arrays of code points, in slices that stay in the processor's cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

CHUNK = 1 << 15  # values a slice: a dozen arrays of them fit the second-level cache


def slices(lengths: np.ndarray, limit: int = CHUNK) -> Iterator[slice]:
    """Runs of consecutive rows of together at most `limit` values; a longer row stands alone, none is split."""
    ends = np.cumsum(lengths)
    first = 0
    while first < len(lengths):
        taken = int(ends[first - 1]) if first else 0
        last = max(int(np.searchsorted(ends, taken + limit, side="right")), first + 1)
        yield slice(first, last)
        first = last


def code_points(texts: Sequence[str]) -> np.ndarray:
    """The code points of all texts, end to end: uint32."""
    return np.frombuffer("".join(texts).encode("utf-32-le"), np.uint32)


def lengths_of(texts: Sequence[str]) -> np.ndarray:
    """Code points of each text: int64."""
    return np.fromiter(map(len, texts), np.int64, count=len(texts))
