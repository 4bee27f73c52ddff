"""How the values of one column are spread over the rows in memory, counted anew for other fates without a new look.

Each row's bucket is found once (two bytes a row); then the rows of any fates are counted in milliseconds.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.types as types

from ...keep import Mask
from ..charts.buckets import FATES, HALVES, Buckets
from ..thresholds.ranking import numbers_of

FINE: Final = 300  # buckets of equal width, and as many that hold equally many rows
_LOOKED_AT: Final = 100_000  # values from which the latter are told
KEPT, DROPPED, LATER, ELSEWHERE = range(len(FATES) + 1)


class Spread:
    """The buckets of a column, and which one each row is in."""

    def __init__(self, values: pa.Array) -> None:
        numbers, valid = numbers_of(values)
        self.there: Mask = valid & np.isfinite(numbers)
        found = numbers[self.there].astype(np.float64)
        self.whole = bool(types.is_integer(values.type) and (np.abs(found) < HALVES).all())
        self.edges = _edges(found, whole=self.whole)
        self._bucket = np.zeros(len(values), np.uint16)
        if len(self.edges):
            self._bucket[self.there] = np.searchsorted(self.edges, found, side="right") - 1

    def buckets(self, fates: np.ndarray) -> Buckets | None:
        """The values of the rows by what becomes of them (uint8: KEPT, DROPPED, LATER; ELSEWHERE is not counted).

        Both ends stay where they are whatever the fates, so that charts do not jump. None where no row has a value.
        """
        count = len(self.edges) - 1
        if count < 1:
            return None
        at = self._bucket.astype(np.intp)
        at *= ELSEWHERE + 1
        at += np.where(self.there, fates, np.uint8(ELSEWHERE))
        counts = np.bincount(at, minlength=count * (ELSEWHERE + 1)).reshape(count, ELSEWHERE + 1)[:, :ELSEWHERE].T
        if not counts.any():
            return None
        return Buckets(edges=self.edges[:-1], ends=self.edges[1:], counts=counts, whole=self.whole)


def _edges(found: np.ndarray, *, whole: bool) -> np.ndarray:
    """Where buckets begin, and where the last ends; none where there are no values."""
    if not len(found):
        return np.zeros(0)
    low, high = float(found.min()), float(found.max())
    if whole and high - low < 2 * FINE:
        return np.arange(low, high + 2) - 0.5
    some = found[:: -(-len(found) // _LOOKED_AT)]
    marks = [np.linspace(low, high, FINE + 1), np.quantile(some, np.linspace(0, 1, FINE + 1)), [high]]
    edges = np.unique(np.concatenate(marks))
    if whole:
        return np.append(np.unique(np.rint(edges)) - 0.5, high + 0.5)
    return np.append(edges, np.nextafter(high, np.inf))
