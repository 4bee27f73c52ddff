"""How the values of a column are spread: the summary's fine buckets, counted again into the few bins of a chart.

A bucket that lies across two bins is split between them by width, as if its values were spread evenly; counts stay
whole, and totals stay what they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np

from ....schemas.summary import Numbers

HALVES: Final = 1e12  # below, floats tell halves apart, and nobody looks at single numbers above
_FARTHEST: Final = 1e300  # beyond, sums overflow; such values are as good as infinite
FATES: Final = ("kept", "dropped", "later")  # kept; dropped by a bound on this column; dropped by another rule


@dataclass(frozen=True, kw_only=True)
class Buckets:
    """Ranges [edge, end) that ascend and do not overlap, with counts by fate.

    A whole number stands in the middle of its unit: 5 takes up [4.5, 5.5).
    """

    edges: np.ndarray  # float64
    ends: np.ndarray  # float64
    counts: np.ndarray  # int64, fate by bucket
    whole: bool = False  # the values are whole numbers

    @classmethod
    def of(cls, numbers: Numbers) -> Self | None:
        """The buckets of a summary; None where no row has a finite value."""
        edges, ends = np.array(numbers.edges, np.float64), np.array(numbers.ends, np.float64)
        counts = np.array([numbers.kept, numbers.dropped_here, numbers.dropped], np.int64).reshape(3, len(edges))
        there = (edges >= -_FARTHEST) & (ends <= _FARTHEST) & (counts.sum(0) > 0)
        if not there.any():
            return None
        edges, ends, counts = edges[there], ends[there], counts[:, there]
        whole = numbers.whole and max(-edges[0], ends[-1]) < HALVES  # one takes up all its unit
        if whole:
            edges, ends = np.ceil(edges), np.ceil(ends)
        least = edges[0] if numbers.least is None else numbers.least
        most = ends[-1] if numbers.most is None else numbers.most + whole
        edges[0], ends[-1] = np.clip(least, edges[0], ends[0]), np.clip(most, edges[-1], ends[-1])
        half = 0.5 if whole else 0.0
        ends = np.maximum(ends, np.nextafter(edges, np.inf))
        return cls(edges=edges - half, ends=ends - half, counts=counts, whole=whole)

    @property
    def total(self) -> int:
        """Rows with a value."""
        return int(self.counts.sum())

    @property
    def low(self) -> float:
        """Where the least value begins."""
        return float(self.edges[0])

    @property
    def high(self) -> float:
        """Where the greatest value ends."""
        return float(self.ends[-1])

    def below(self, values: np.ndarray) -> np.ndarray:
        """float64, fate by value: how many rows have less than each of these."""
        at = np.searchsorted(self.edges, values, side="right") - 1  # the bucket that holds it, or ends before it
        inside = np.clip(values, self.edges[at], self.ends[at]) - self.edges[at]
        share = np.where(at >= 0, inside / (self.ends[at] - self.edges[at]), 0.0)
        before = np.hstack([np.zeros((len(FATES), 1)), np.cumsum(self.counts, axis=1)])
        return np.asarray(before[:, np.maximum(at, 0)] + self.counts[:, at] * share)

    def quantiles(self, shares: Sequence[float]) -> np.ndarray:
        """The values below which these shares of the rows lie, as well as buckets tell."""
        total = np.cumsum(self.counts.sum(0))
        known = np.column_stack([self.edges, self.ends]).ravel()
        counted = np.column_stack([total - self.counts.sum(0), total]).ravel()
        return np.asarray(np.interp(np.array(shares) * total[-1], counted, known))

    def counted(self, bins: np.ndarray) -> np.ndarray:
        """int64, fate by bin: the rows between each of these ascending values and the next; the rest at the ends."""
        inner = np.rint(self.below(bins[1:-1]))
        whole = self.counts.sum(1, keepdims=True)
        return np.diff(np.hstack([np.zeros_like(whole), inner, whole]).astype(np.int64))

    def parted(self, at: float, *, above: bool) -> Self:
        """The same with a bucket that lies across a bound cut in two there; `above` the bound rows stay, else below.

        What was kept of it stayed, what was dropped by a bound on this column did not; the others are split by width.
        """
        across = np.flatnonzero((self.edges < at) & (at < self.ends))
        if not len(across):
            return self
        i = int(across[0])
        kept, here, others = self.counts[:, i]
        low = int(np.rint(others * ((at - self.edges[i]) / (self.ends[i] - self.edges[i]))))
        parts = np.array([[0, kept], [here, 0]] if above else [[kept, 0], [0, here]])
        counts = np.hstack([self.counts[:, :i], [*parts, [low, others - low]], self.counts[:, i + 1 :]])
        edges, ends = np.insert(self.edges, i + 1, at), np.insert(self.ends, i, at)
        return replace(self, edges=edges, ends=ends, counts=counts)

    def part(self, there: np.ndarray) -> Self | None:
        """Some of the buckets; None where that is none."""
        if not there.any():
            return None
        return replace(self, edges=self.edges[there], ends=self.ends[there], counts=self.counts[:, there])
