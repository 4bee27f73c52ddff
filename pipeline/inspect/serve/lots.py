"""Which rows are drawn to be labelled: what is judged, its two strata, and a random order in each.

The order depends on the cut and the question alone, so a second session goes on where the first stopped, and the rows
labelled so far are a sample drawn alike.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from starlette.exceptions import HTTPException

from ..labels.file import frame_name
from ..rows import CutRows

Stratum = Literal["dropped", "passed"]
Side = Literal["both", "dropped", "passed"]
STRATA: Final[tuple[Stratum, Stratum]] = ("dropped", "passed")
MOST: Final = 20_000  # rows of a stratum that are drawn; nobody labels more by hand


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What is judged: a rule on the rows that it saw, or the whole cut on the rows that it is made of."""

    rows: CutRows
    rule: int | None  # index in CutRows.rules; None: the whole cut
    space: int
    name: str  # as the file of labels has it
    words: str
    dropped: np.ndarray  # bool, one per row of the space
    passed: np.ndarray
    orders: Mapping[Side, np.ndarray]  # rows in the order drawn

    @property
    def sizes(self) -> dict[Stratum, int]:
        """How many rows each stratum has."""
        return {"dropped": int(self.dropped.sum()), "passed": int(self.passed.sum())}

    def number(self, shard: int, row: int) -> int:
        """The number of a row that may be labelled. HTTPException 400 where it may not."""
        try:
            number = self.rows.spaces[self.space].row_of(shard, row)
        except KeyError:
            raise HTTPException(400, f"There is no row {row} in shard {shard}.") from None
        if not (self.dropped[number] or self.passed[number]):
            raise HTTPException(400, f"Row {row} of shard {shard} is not among those asked about.")
        return number

    def stratum_of(self, number: int) -> Stratum:
        """Did the row go, or pass?"""
        return "dropped" if self.dropped[number] else "passed"


def frame_of(rows: CutRows, rule: int | None) -> Frame:
    """What is to be judged: one of the cut's rules, or None for the whole cut."""
    title = rows.cut.title
    if rule is None:
        space, name, words = len(rows.spaces) - 1, frame_name(title), "the whole cut"
        dropped, passed = ~rows.last.kept, rows.last.kept
    else:
        found = rows.rules[rule]
        space, words = found.space, f"{found.column} {found.text}"
        name = frame_name(title, found.step, words)
        gone_by = rows.spaces[space].gone_by
        dropped = gone_by == rule
        passed = (gone_by < 0) | (gone_by > rule)  # rules are numbered as they are blamed
    # Of the name alone, so that the order is the same in every session.
    random = np.random.default_rng(zlib.crc32(name.encode()))
    orders: dict[Side, np.ndarray] = {"dropped": _drawn(random, dropped), "passed": _drawn(random, passed)}
    orders["both"] = _in_turn(random, list(orders.values()))
    return Frame(
        rows=rows,
        rule=rule,
        space=space,
        name=name,
        words=words,
        dropped=dropped,
        passed=passed,
        orders=orders,
    )


def _drawn(random: np.random.Generator, rows: np.ndarray) -> np.ndarray:
    """Some rows at random, without replacement, MOST at most."""
    there = np.flatnonzero(rows)
    return random.permutation(there)[:MOST]


def _in_turn(random: np.random.Generator, orders: list[np.ndarray]) -> np.ndarray:
    """Orders merged by chance, each kept as it is: which one the next row is of cannot be foreseen."""
    when = [np.cumsum(random.exponential(size=len(order))) for order in orders]
    return np.concatenate(orders)[np.argsort(np.concatenate(when), kind="stable")]
