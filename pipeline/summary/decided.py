"""What became of the rows of one shard, counted column by column and rule by rule."""

from __future__ import annotations

from functools import cached_property
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as types

from ...schemas.recipe import Ranked
from ..children import ChildView
from ..keep import Mask, adaptive_name, rank_name
from ..mixed import mixed
from ..plan import RowStep
from ..shard import ShardView, Walk, selected
from .frequent import Coded, Counted, Frequent
from .grouped import Grouped
from .outline import BoundAt, Column, Outline, RuleAt
from .picks import Pick, Picks, least
from .sketch import Beside, Drawn
from .spread import Spread

DROPPED_EXAMPLES: Final = 8  # of each rule
NEAR_EXAMPLES: Final = 6  # on each side of a bound
FAILURE_EXAMPLES: Final = 6  # of each class


class Decided:
    """The rows of one space of a shard. Examples are drawn by lot; `sampled` marks shards whose rows come first."""

    def __init__(self, outline: Outline, space: int, view: ShardView, found: Walk, *, sampled: bool) -> None:
        self.view, self.found, self.sampled = view, found, sampled
        self.rules = [rule for rule in outline.rules if rule.space == space]
        self.gone_by = np.full(view.shard.rows, len(self.rules))  # index in `rules`; the last: no rule did it
        first = {rule.step.index: rule.place for rule in reversed(self.rules)}
        for step, (blame, _) in found.blames.items():
            hit = blame >= 0
            self.gone_by[hit] = first[step] + blame[hit]
        self.gone_at = np.array([*(rule.step.index for rule in self.rules), len(outline.plan.steps)])[self.gone_by]
        self._alive: dict[tuple[int, bool], np.ndarray] = {}
        self._numbers: dict[str, np.ndarray] = {}

    @cached_property
    def one_each(self) -> np.ndarray:
        """A node of each document, of those that were alive longest: its fate is the document's."""
        assert self.view.documents is not None
        of = self.view.documents.of
        last = np.zeros(len(self.view.documents), np.int64)
        np.maximum.at(last, of, self.gone_by)
        nodes = np.flatnonzero(self.gone_by == last[of])
        return nodes[np.unique(of[nodes], return_index=True)[1]]

    @cached_property
    def draws(self) -> np.ndarray:
        """uint64: a number of each row, the same in every cut."""
        return draws_of(self.view)

    def alive(self, step: int, *, of_documents: bool) -> np.ndarray:
        """The rows alive where a step comes, or one of each document alive."""
        if (step, of_documents) not in self._alive:
            there = self.gone_at >= step
            rows = self.one_each[there[self.one_each]] if of_documents else np.flatnonzero(there)
            self._alive[step, of_documents] = rows
        return self._alive[step, of_documents]

    def picks(self, rows: np.ndarray, most: int, distance: np.ndarray | None = None) -> Picks:
        """The first of these rows: the nearest, else by lot."""
        if distance is None:
            chosen = least(self.draws[rows], most)
            return Picks.of(self._as_picks(rows[chosen], np.zeros(len(chosen))), most)
        near = least(distance, most)
        rows, distance = rows[near], distance[near]
        as_near = np.flatnonzero(distance == distance.max(initial=0))
        room = max(0, most - (len(rows) - len(as_near)))
        chosen = np.append(
            np.flatnonzero(distance < distance.max(initial=0)), as_near[least(self.draws[rows[as_near]], room)]
        )
        return Picks.of(self._as_picks(rows[chosen], distance[chosen]), most)

    def _as_picks(self, rows: np.ndarray, distance: np.ndarray) -> list[Pick]:
        shard, other = self.view.shard.id, not self.sampled
        lots = zip(distance.tolist(), self.draws[rows].tolist(), rows.tolist(), strict=True)
        return [(other, far, draw, shard, row) for far, draw, row in lots]

    # Columns

    def numbers(self, column: str) -> np.ndarray:
        """float64: the values of a column, nulls as NaN."""
        if column not in self._numbers:
            values = self.view.column(column)
            values = pc.cast(values, pa.float64()) if types.is_decimal(values.type) else values
            self._numbers[column] = np.asarray(values.to_numpy(zero_copy_only=False), np.float64)
        return self._numbers[column]

    def spread(self, column: Column) -> Spread:
        """A column of numbers."""
        rows, values, gone_by = self._alive_at(column), self.numbers(column.read), self.gone_by
        of_rule = np.array([*(1 if rule.column == column.read else 2 for rule in self.rules), 0])
        if len(rows) < len(values):
            values, gone_by = values[rows], gone_by[rows]
        return Spread.of(values, of_rule[gone_by])

    def _alive_at(self, column: Column) -> np.ndarray:
        return self.alive(column.since, of_documents=column.of_documents)

    def _kept(self, rows: np.ndarray) -> Mask:
        return np.asarray(self.gone_by[rows] == len(self.rules))

    def names(self, column: Column) -> Frequent:
        """A column of strings or booleans."""
        rows = self._alive_at(column)
        return Coded.of(self.view.column(column.read)).frequent(rows, self._kept(rows))

    def sites(self, column: Column) -> Frequent:
        """The registered domains of a column of addresses; what has no host counts as null."""
        rows = self._alive_at(column)
        return Coded.of(self.view.column(column.read)).sites.frequent(rows, self._kept(rows))

    def groups(self, column: Column) -> Grouped:
        """A column that names the rows kept in other rows' stead."""
        coded, rows = Coded.of(self.view.column(column.read)), self._alive_at(column)
        return Grouped.of(coded, rows, self.draws, self.view.shard.id, sampled=self.sampled)

    # Rules and steps

    def dropped(self, rule: RuleAt) -> Drawn:
        """The rows that a rule dropped. Of a rule that drops documents, one of each may be an example."""
        gone = self.gone_by == rule.place
        shown = self.one_each[gone[self.one_each]] if rule.of_documents else np.flatnonzero(gone)
        return Drawn(rows=int(gone.sum()), picks=self.picks(shown, DROPPED_EXAMPLES))

    def near(self, bound: BoundAt) -> Beside:
        """The rows next to a bound, among those alive where its rule comes."""
        rows = self.alive(bound.step.index, of_documents=bound.of_documents)
        values = self.numbers(bound.read)[rows]
        there = np.isfinite(values)
        if not there.all():
            rows, values = rows[there], values[there]
        if bound.limit is None or isinstance(bound.limit, Ranked):
            ranked = bound.limit
            name = rank_name(bound.column, bound.side, ranked) if ranked else adaptive_name(bound.column)
            return self._beside_rank(bound, rows, values, selected(self.view.ranks(bound.step))[name][rows])
        limit = _as_compared(bound.limit, self.view.column(bound.read).type)
        above = values >= limit if bound.side == "min" else values > limit
        with np.errstate(over="ignore"):
            distance = np.abs(values - limit)
        below, over = (self.picks(rows[side], NEAR_EXAMPLES, distance[side]) for side in (~above, above))
        return Beside(below=below, above=over)

    def _beside_rank(self, bound: BoundAt, rows: np.ndarray, values: np.ndarray, chosen: Mask) -> Beside:
        """The lowest of those above and the highest of those below, wherever the ranking cuts."""
        ends = values[chosen]
        above = ~chosen if bound.side == "bottom" else chosen
        return Beside(
            below=self.picks(rows[~above], NEAR_EXAMPLES, -values[~above]),
            above=self.picks(rows[above], NEAR_EXAMPLES, values[above]),
            selected=(float(ends.min()), float(ends.max())) if len(ends) else None,
        )

    def failures(self, step: RowStep) -> Frequent:
        """The rows that a step failed on, by class."""
        failed = np.flatnonzero(self.found.failures[step.label])
        if not len(failed):
            return Frequent()
        errors = self.view.scores(step).errors
        by_class: dict[str, list[int]] = {}
        for row in failed.tolist():
            by_class.setdefault(errors.get(row, "unknown"), []).append(row)
        return Frequent(
            rows=len(failed),
            values={kind: Counted(len(rows)) for kind, rows in by_class.items()},
            picks={kind: self.picks(np.array(rows), FAILURE_EXAMPLES) for kind, rows in by_class.items()},
        )


def draws_of(view: ShardView) -> np.ndarray:
    """uint64: a number of each row by its place in the source, and of children by their places among their parent's."""
    if not isinstance(view, ChildView):
        return mixed(np.arange(view.shard.rows, dtype=np.uint64) + np.uint64(view.shard.id << 32))
    nth = np.arange(len(view.owners)) - np.searchsorted(view.owners, view.owners)
    return mixed(draws_of(view.parents)[view.owners] + nth.astype(np.uint64))


def _as_compared(limit: float, kind: pa.DataType) -> float:
    """A limit in the column's own precision, in which it is compared."""
    with np.errstate(over="ignore"):
        return float(kind.to_pandas_dtype()(limit)) if types.is_floating(kind) else float(limit)
