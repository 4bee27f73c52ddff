"""Rows that serve as examples: the first few of an order, which parts of the rows add up to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ...schemas.summary import Example

Pick = tuple[bool, float, int, int, int]  # not of a sampled shard, distance, a random number of the row's, shard, row


@dataclass(frozen=True, kw_only=True)
class Picks:
    """The first few of some rows: those of sampled shards before others, near before far, the rest by lot."""

    most: int
    rows: tuple[Pick, ...] = ()

    @classmethod
    def of(cls, rows: Iterable[Pick], most: int) -> Picks:
        """The first of these."""
        return cls(most=most, rows=tuple(sorted(rows)[:most]))

    def __add__(self, other: Picks) -> Picks:
        return Picks.of(self.rows + other.rows, self.most) if other.rows else self

    def shown(self, space: int) -> list[Example]:
        """Sampled shards first."""
        return [Example(space=space, shard=shard, row=row) for _, _, _, shard, row in self.rows]

    def nearest(self, space: int) -> list[Example]:
        """Near ones first, wherever they lie."""
        rows = sorted(self.rows, key=lambda pick: pick[1:])
        return [Example(space=space, shard=shard, row=row) for _, _, _, shard, row in rows]


def least(values: np.ndarray, most: int) -> np.ndarray:
    """Where the smallest so many of the values are, all those included that equal the last of them."""
    there = np.arange(len(values))
    if not 0 < most < len(values):
        return there[: len(values) * (most > 0)]
    if len(values) > 64 * most:  # the last that is wanted is no larger than the same of a part
        there = np.flatnonzero(values <= np.partition(values[::16], most - 1)[most - 1])
    some = values[there]
    return np.asarray(there[some <= np.partition(some, most - 1)[most - 1]])
