"""In which order rows are seen: a pure function of the seed, the epoch and the dataset's digest.

A shuffle by windows: the row groups of an epoch are permuted, consecutive ones form windows of up to so many rows, and
the rows of a window are permuted. So a reader needs one window at a time, and whoever knows a position of the endless
stream finds its row by arithmetic. The random bits are Philox's own, keyed by a hash: unlike NumPy's shuffles they are
the same in every version.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np


@dataclass(frozen=True, kw_only=True, eq=False)
class Window:
    """Consecutive positions of the stream, all of one epoch: those from `start` on have these rows."""

    epoch: int
    start: int
    rows: np.ndarray  # int64: a number among the rows of the order, 0 <= number < sum(counts)

    @property
    def stop(self) -> int:
        """Position after the last."""
        return self.start + len(self.rows)


class Order:
    """The endless stream over row groups that have `counts` rows each. Position p is in epoch p // rows."""

    def __init__(self, counts: np.ndarray, *, seed: int, digest: str, window_rows: int) -> None:
        self.counts = np.asarray(counts, np.int64)
        self.first = np.concatenate([np.zeros(1, np.int64), np.cumsum(self.counts)])
        self.rows = int(self.first[-1])
        self._seed, self._digest, self._window_rows = seed, digest, window_rows
        self._epoch = lru_cache(maxsize=2)(self._plan)
        self._window = lru_cache(maxsize=4)(self._make)

    def window_at(self, position: int) -> Window:
        """The window that a position lies in."""
        epoch, inside = divmod(position, self.rows)
        starts = self._epoch(epoch)[1]
        return self._window(epoch, int(np.searchsorted(starts, inside, side="right")) - 1)

    def row_at(self, position: int) -> int:
        """The row at a position."""
        window = self.window_at(position)
        return int(window.rows[position - window.start])

    def _plan(self, epoch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The row groups of an epoch in their order; the windows' first rows, and their first row groups."""
        groups = self._permutation(len(self.counts), f"{epoch}")
        ends = np.cumsum(self.counts[groups])
        begins, firsts, at = [], [], 0
        while at < len(groups):
            begin = int(ends[at] - self.counts[groups[at]])
            begins.append(begin)
            firsts.append(at)
            at = max(at + 1, int(np.searchsorted(ends, begin + self._window_rows, side="right")))
        return groups, np.array(begins, np.int64), np.array([*firsts, len(groups)], np.int64)

    def _make(self, epoch: int, number: int) -> Window:
        groups, begins, firsts = self._epoch(epoch)
        inside = groups[firsts[number] : firsts[number + 1]]
        rows = np.concatenate([np.arange(self.first[group], self.first[group + 1]) for group in inside])
        mixed = rows[self._permutation(len(rows), f"{epoch}/{number}")]
        return Window(epoch=epoch, start=epoch * self.rows + int(begins[number]), rows=mixed)

    def _permutation(self, count: int, what: str) -> np.ndarray:
        key = hashlib.blake2b(f"{self._digest}/{self._seed}/{what}".encode(), digest_size=16).digest()
        bits = np.random.Philox(key=int.from_bytes(key, "little")).random_raw(count)
        return np.argsort(bits, kind="stable")
