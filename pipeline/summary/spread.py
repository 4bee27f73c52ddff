"""How numbers are spread: counted in buckets that are a fixed function of the value, so that counts of parts add up."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

FATES: Final = 3  # kept, dropped by a bound on the column itself, dropped by another rule
FINE_BITS: Final = 45  # of a float64's 64: what is left of its fraction makes 128 buckets an octave
MAX_BUCKETS: Final = 4096  # of a spread while it grows
SHOWN_BUCKETS: Final = 512
_SIZE: Final = np.int64(2**63 - 1)  # a float64 but for its sign
_ZERO: Final = (1023 - 64) << 52 >> FINE_BITS  # what is nearer to zero than 2^-64 shares its bucket
_INFINITE: Final = (0x7FF << 52 >> FINE_BITS) - _ZERO


def bucket_of(values: np.ndarray) -> np.ndarray:
    """int64: the bucket of each finite float64. Buckets ascend as the values do, and 0 begins with zero."""
    bits = values.view(np.int64)
    if bits.min(initial=0) >= 0:
        return np.asarray(np.maximum((bits >> FINE_BITS) - _ZERO, 0))
    found = np.where(bits < 0, -(bits & _SIZE), bits) >> FINE_BITS
    found[values == 0] = 0
    return np.asarray(np.where(found < 0, np.minimum(found + _ZERO, -1), np.maximum(found - _ZERO, 0)))


def begin_of(buckets: np.ndarray) -> np.ndarray:
    """float64: the least value of each bucket; what is beyond the largest number is the largest."""
    sizes = np.abs(buckets)
    sizes = np.where(sizes == 0, 0, np.minimum(sizes, _INFINITE) + _ZERO)
    numbers = np.minimum((sizes << FINE_BITS).view(np.float64), np.finfo(np.float64).max)
    return np.asarray(np.copysign(numbers, buckets))


@dataclass(frozen=True, kw_only=True, eq=False)
class Spread:
    """How many numbers fell into each bucket, by fate.

    A bucket stands for 2^coarse of `bucket_of`, those from bucket << coarse on. Where there are too many, all become
    twice as wide: no sum changes.
    """

    coarse: int = 0
    buckets: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))  # ascending
    counts: np.ndarray = field(default_factory=lambda: np.zeros((0, FATES), np.int64))
    nulls: int = 0
    infinite: int = 0
    least: float | None = None
    most: float | None = None

    @classmethod
    def of(cls, values: np.ndarray, fates: np.ndarray) -> Spread:
        """Of float64 (NaN: null) and the fate of each."""
        there, finite = values, values
        least, most = _ends(values)  # NaN and infinity show in them
        if not (np.isfinite(least) and np.isfinite(most)):
            there = values[~np.isnan(values)]
            least, most = _ends(there)
            is_finite = np.isfinite(values)
            finite, fates = values[is_finite], fates[is_finite]
        buckets, counts = _counted(bucket_of(finite), fates)
        return cls(
            buckets=buckets,
            counts=counts,
            nulls=len(values) - len(there),
            infinite=len(there) - len(finite),
            least=least if len(there) else None,
            most=most if len(there) else None,
        )._bounded()

    def __add__(self, other: Spread) -> Spread:
        coarse = max(self.coarse, other.coarse)
        one, two = self.coarsened(coarse), other.coarsened(coarse)
        buckets, place = np.unique(np.concatenate([one.buckets, two.buckets]), return_inverse=True)
        ends = [[n for n in pair if n is not None] for pair in ((self.least, other.least), (self.most, other.most))]
        return Spread(
            coarse=coarse,
            buckets=buckets,
            counts=_summed(np.concatenate([one.counts, two.counts]), place, len(buckets)),
            nulls=self.nulls + other.nulls,
            infinite=self.infinite + other.infinite,
            least=min(ends[0], default=None),
            most=max(ends[1], default=None),
        )._bounded()

    def coarsened(self, coarse: int) -> Spread:
        """The same in wider buckets."""
        if coarse == self.coarse:
            return self
        buckets, place = np.unique(self.buckets >> (coarse - self.coarse), return_inverse=True)
        return replace(self, coarse=coarse, buckets=buckets, counts=_summed(self.counts, place, len(buckets)))

    def _bounded(self) -> Spread:
        found = self
        while len(found.buckets) > MAX_BUCKETS:
            found = found.coarsened(found.coarse + 1)
        return found

    @property
    def edges(self) -> np.ndarray:
        """The least value that each bucket may hold."""
        return begin_of(self.buckets << self.coarse)

    @property
    def ends(self) -> np.ndarray:
        """Where each bucket ends: it holds values below."""
        return begin_of((self.buckets + 1) << self.coarse)

    def shown(self, most: int = SHOWN_BUCKETS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(edges, ends, counts) of at most so many buckets, neighbours put together where that hides least.

        That is where they are narrow beside the bulk of the values and hold a small share of the rows.
        """
        edges, ends, counts = self.edges, self.ends, self.counts
        total = counts.sum(axis=1)
        low, high = np.searchsorted(np.cumsum(total), np.array([0.01, 0.99]) * total.sum())
        narrow = (float(ends[high]) - float(edges[low])) / (2 * most) if len(edges) > most else 0.0
        rows, relative = int(total.sum()) // most, 1 / 64
        while len(edges) > most:
            starts = _joined(edges, ends, counts.sum(axis=1), narrow, relative, rows)
            edges, counts = edges[starts], np.add.reduceat(counts, starts)
            ends = ends[np.append(starts[1:], len(ends)) - 1]
            narrow, relative, rows = 2 * narrow, 2 * relative, 2 * rows + 1
        return edges, ends, counts


def _ends(values: np.ndarray) -> tuple[float, float]:
    """The least and the greatest; NaN where there is one."""
    return float(values.min(initial=np.inf)), float(values.max(initial=-np.inf))


def _counted(buckets: np.ndarray, fates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The buckets that there are, ascending, and their counts by fate."""
    first = int(buckets.min(initial=0))
    there = np.zeros(int(buckets.max(initial=0)) - first + 1, bool)
    there[buckets - first] = True
    used = np.flatnonzero(there)
    place = np.cumsum(there)[buckets - first] - 1
    counts = np.bincount(place * FATES + fates, minlength=len(used) * FATES)
    return used + first, counts.reshape(len(used), FATES)


def _summed(counts: np.ndarray, place: np.ndarray, length: int) -> np.ndarray:
    found = np.zeros((length, FATES), np.int64)
    np.add.at(found, place, counts)
    return found


def _joined(
    edges: np.ndarray, ends: np.ndarray, rows: np.ndarray, narrow: float, relative: float, few: int
) -> np.ndarray:
    """Where runs of buckets begin that are put together: they have few rows, and are narrow, if only for their values.

    A run that is wide for its values does not go beyond zero.
    """
    starts, begin, held = [0], float(edges[0]), 0
    for i, (edge, end, more) in enumerate(zip(edges.tolist(), ends.tolist(), rows.tolist(), strict=True)):
        width, size = end - begin, min(abs(begin), abs(end))
        fits = width <= narrow or (width <= relative * size and begin * end >= 0)
        if i and (held + more > few or not fits):
            starts.append(i)
            begin, held = edge, 0
        held += more
    return np.array(starts)
