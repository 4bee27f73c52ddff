"""The summary of some shards, and how the summaries of all of them become one.

Every piece has a size that does not grow with the rows, and the pieces of two sets of rows add up to that of both.
Spreads and picks of any parts are in sum just what they would be of all rows at once, and so are counts of values as
long as there are not too many different ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from .frequent import Frequent
from .grouped import Grouped
from .picks import Picks
from .spread import Spread

P = TypeVar("P", Spread, Frequent, Grouped, "Drawn", "Beside")


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """How many rows there are of a kind, and some of them."""

    rows: int = 0
    picks: Picks

    def __add__(self, other: Drawn) -> Drawn:
        return Drawn(rows=self.rows + other.rows, picks=self.picks + other.picks)


@dataclass(frozen=True, kw_only=True)
class Beside:
    """Rows on both sides of a bound, and for a ranking the least and the greatest value that it selects."""

    below: Picks
    above: Picks
    selected: tuple[float, float] | None = None

    def __add__(self, other: Beside) -> Beside:
        ends = [pair for pair in (self.selected, other.selected) if pair is not None]
        selected = (min(low for low, _ in ends), max(high for _, high in ends)) if ends else None
        return Beside(below=self.below + other.below, above=self.above + other.above, selected=selected)


@dataclass(frozen=True, kw_only=True)
class Sketch:
    """The summary of some shards, in the order of the outline: column by column, rule by rule, step by step."""

    kept: Drawn
    numbers: tuple[Spread, ...]
    names: tuple[Frequent, ...]
    sites: tuple[Frequent, ...]
    groups: tuple[Grouped, ...]
    dropped: tuple[Drawn, ...]
    near: tuple[Beside, ...]
    failures: tuple[Frequent, ...]

    def __add__(self, other: Sketch) -> Sketch:
        return Sketch(
            kept=self.kept + other.kept,
            numbers=_sums(self.numbers, other.numbers),
            names=_sums(self.names, other.names),
            sites=_sums(self.sites, other.sites),
            groups=_sums(self.groups, other.groups),
            dropped=_sums(self.dropped, other.dropped),
            near=_sums(self.near, other.near),
            failures=_sums(self.failures, other.failures),
        )


def _sums(one: tuple[P, ...], two: tuple[P, ...]) -> tuple[P, ...]:
    return tuple(a + b for a, b in zip(one, two, strict=True))


class Merger:
    """Adds up the sketches of shards as they come, in an order that does not depend on when they come.

    Shards are the leaves of a binary tree: so no more sketches wait than levels times the shards under way.
    """

    def __init__(self, shards: Sequence[int]) -> None:
        self._places = {shard: place for place, shard in enumerate(shards)}
        self._waiting: dict[tuple[int, int], Sketch | None] = {}  # (level, place) -> all that is below
        self.total: Sketch | None = None

    def add(self, shard: int, sketch: Sketch | None) -> None:
        """The sketch of a shard; None of one that could not be read."""
        level, place = 0, self._places[shard]
        while 1 << level < len(self._places):
            beside = place ^ 1
            if beside << level < len(self._places):
                if (level, beside) not in self._waiting:
                    self._waiting[level, place] = sketch
                    return
                other = self._waiting.pop((level, beside))
                sketch = _sum(sketch, other) if place < beside else _sum(other, sketch)
            level, place = level + 1, place >> 1
        self.total = sketch


def _sum(one: Sketch | None, two: Sketch | None) -> Sketch | None:
    return one if two is None else two if one is None else one + two
