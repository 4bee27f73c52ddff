"""Decisions where not all is known: a mask of the rows that stay for certain, and one of those that may stay."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...keep import Mask


@dataclass(frozen=True, eq=False)
class Perhaps:
    """Bool masks, one value a row; `sure` is part of `possible`. The same array twice where all is known."""

    sure: Mask
    possible: Mask

    @classmethod
    def of(cls, mask: Mask, unknown: Mask | None = None) -> Perhaps:
        """A mask that says nothing of some rows."""
        return cls(mask, mask) if unknown is None else cls(mask & ~unknown, mask | unknown)

    @property
    def certain(self) -> bool:
        """Is nothing unknown?"""
        return self.sure is self.possible

    def __and__(self, other: Perhaps) -> Perhaps:
        sure = self.sure & other.sure
        return Perhaps(sure, sure if self.certain and other.certain else self.possible & other.possible)

    def __or__(self, other: Perhaps) -> Perhaps:
        sure = self.sure | other.sure
        return Perhaps(sure, sure if self.certain and other.certain else self.possible | other.possible)

    def take(self, rows: np.ndarray) -> Perhaps:
        """Of some rows, in any order."""
        sure = self.sure[rows]
        return Perhaps(sure, sure if self.certain else self.possible[rows])

    def settled(self) -> Perhaps:
        """The same, `certain` where it turns out that nothing is unknown."""
        return Perhaps(self.sure, self.sure) if self.count() == self.most() else self

    def count(self) -> int:
        """Rows for certain."""
        return int(np.count_nonzero(self.sure))

    def most(self) -> int:
        """Rows at most."""
        return int(np.count_nonzero(self.possible))
