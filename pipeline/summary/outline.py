"""What of a plan is summarised: the columns that are counted, the rules, their bounds, the steps that may fail.

Counted are the columns that steps and extractors add, and those that a rule bounds. Left out are embeddings, bytes and
other nested columns, digests and hashes, addresses (but for the site they lead to) and an extractor's text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

import pyarrow as pa
import pyarrow.types as types

from ...schemas.fields import describe, is_number
from ...schemas.recipe import Bound, Ranked
from ..keep import Rule, rules_of
from ..plan import (
    CorpusStep,
    ExtractStep,
    KeepStep,
    Plan,
    RowStep,
    Space,
)

URLS: Final = ("image_url", "page_url")  # whose sites are counted
SITE: Final = "site"
_UNCOUNTED: Final = ("URL", "hex", "64 bits", "Unicode")  # units
Side = Literal["min", "max", "top", "bottom", "adaptive"]


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column that is counted, over the rows alive where step `since` comes."""

    name: str
    read: str  # the column that it is read from: a `site` has another name
    kind: pa.DataType
    space: int
    step: str | None  # label of the step that adds it; None: the rows begin with it
    since: int
    of_documents: bool

    @property
    def is_whole(self) -> bool:
        """Are its values whole numbers?"""
        return bool(types.is_integer(self.kind))


@dataclass(frozen=True, kw_only=True)
class RuleAt:
    """One bound of a keep, as the ledger names it."""

    step: KeepStep
    space: int
    place: int  # among the rules of the space
    rule: Rule
    of_documents: bool  # it drops whole documents

    @property
    def column(self) -> str | None:
        """The column that it bounds, in the version that the step reads; None: several, alternatives of `any`."""
        return self.step.reads.get(self.rule.column)


@dataclass(frozen=True, kw_only=True)
class BoundAt:
    """One side of a bound that has rows next to it."""

    step: KeepStep
    space: int
    column: str
    option: int | None  # which alternative of `any` it stands in
    side: Side
    limit: float | Ranked | None  # None: `adaptive`, which finds its own
    of_documents: bool

    @property
    def read(self) -> str:
        """The version of the column that the step reads."""
        return self.step.reads[self.column]


class Outline:
    """Everything in the order of the recipe."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    @cached_property
    def rules(self) -> tuple[RuleAt, ...]:
        """Every rule."""
        found: list[RuleAt] = []
        for i, space, step in self._keeps:
            for rule in rules_of(step.keep):
                place = sum(before.space == i for before in found)
                whole = _drops_documents(space, step, rule)
                found.append(RuleAt(step=step, space=i, place=place, rule=rule, of_documents=whole))
        return tuple(found)

    @cached_property
    def bounds(self) -> tuple[BoundAt, ...]:
        """Every side of every bound."""
        return tuple(bound for i, space, step in self._keeps for bound in _bounds(i, space, step))

    @cached_property
    def numbers(self) -> tuple[Column, ...]:
        """Columns of numbers."""
        return tuple(c for c in self._columns if is_number(c.kind))

    @cached_property
    def names(self) -> tuple[Column, ...]:
        """Columns of strings and booleans."""
        return tuple(c for c in self._columns if _is_name(c.kind) and c not in self.groups)

    @cached_property
    def groups(self) -> tuple[Column, ...]:
        """Columns that name the row kept in a row's stead."""
        verdicts = {
            name
            for step in self.plan.steps
            if isinstance(step, CorpusStep)
            for name in step.names.values()
            if name.endswith("_of")
        }
        return tuple(c for c in self._columns if c.name in verdicts and c.step is not None and _is_string(c.kind))

    @cached_property
    def sites(self) -> tuple[Column, ...]:
        """Columns of addresses, where they begin and where they are last there."""
        last = len(self.plan.spaces) - 1
        found = []
        for i, space in enumerate(self.plan.spaces):
            own = _own(self.plan, i)
            there = [c for c in space.schema if c.name in URLS and _is_string(c.type)]
            there = [c for c in there if c.name in own or i in (0, last)]
            found += [_column(i, space, c, own.get(c.name), space.start, SITE) for c in there]
        return tuple(found)

    def first_columns(self, space: int) -> list[str]:
        """Those that are counted of what the rows begin with."""
        there = self.plan.spaces[space].schema.names
        columns = (*self.numbers, *self.names, *self.sites)
        return sorted({column.read for column in columns if column.space == space and column.read in there})

    @cached_property
    def failing(self) -> tuple[tuple[int, RowStep], ...]:
        """(space, step) of what may fail on rows."""
        spaces = enumerate(self.plan.spaces)
        steps = ((i, step) for i, space in spaces for step in self.plan.steps[space.start : space.stop])
        return tuple((i, step) for i, step in steps if isinstance(step, RowStep))

    @cached_property
    def _keeps(self) -> tuple[tuple[int, Space, KeepStep], ...]:
        spaces = enumerate(self.plan.spaces)
        steps = ((i, space, step) for i, space in spaces for step in self.plan.steps[space.start : space.stop])
        return tuple((i, space, step) for i, space, step in steps if isinstance(step, KeepStep))

    @cached_property
    def _columns(self) -> tuple[Column, ...]:
        found: list[Column] = []
        for i, space in enumerate(self.plan.spaces):
            own = _own(self.plan, i)
            bounded = {step.reads[name] for at, _, step in self._keeps if at == i for name in step.columns}
            for column in space.schema:
                if column.name in bounded or (column.name in own and _is_worth_it(column)):
                    found.append(_column(i, space, column, own.get(column.name), space.start))
            for step in self.plan.steps[space.start : space.stop]:
                if isinstance(step, KeepStep | ExtractStep):
                    continue
                added = [space.fields[name] for name in step.names.values()]
                added = [column for column in added if column.name in bounded or _is_worth_it(column)]
                found += [_column(i, space, column, step.label, step.index) for column in added]
        return tuple(found)


def _own(plan: Plan, space: int) -> dict[str, str]:
    """Columns that the rows of a space begin with and their parents did not have -> the extractor that adds them."""
    if space == 0:
        return {}
    step = plan.steps[plan.spaces[space].start - 1]
    assert isinstance(step, ExtractStep)
    return dict.fromkeys(step.names.values(), step.label)


def _column(index: int, space: Space, of: pa.Field, step: str | None, since: int, name: str = "") -> Column:
    return Column(
        name=name or of.name,
        read=of.name,
        kind=of.type,
        space=index,
        step=step,
        since=since,
        of_documents=_is_of_documents(space, of.name),
    )


def _is_of_documents(space: Space, column: str) -> bool:
    """Do the nodes of a document share its value?"""
    return space.nodes is not None and column not in space.nodes


def _drops_documents(space: Space, step: KeepStep, rule: Rule) -> bool:
    """Does a rule drop no node without its document?"""
    if space.nodes is None:
        return False
    named = [rule.column] if rule.column in step.reads else step.columns  # the alternatives of `any` are one rule
    return step.keep.on == "document" or not any(step.reads[column] in space.nodes for column in named)


def _bounds(index: int, space: Space, step: KeepStep) -> Iterator[BoundAt]:
    options: list[tuple[int | None, dict[str, Bound]]] = [(None, step.keep.bounds), *enumerate(step.keep.any)]
    for option, column, bound in ((option, *item) for option, bounds in options for item in bounds.items()):
        limits: dict[Side, float | Ranked | None] = {"min": bound.min, "max": bound.max}
        limits |= {"top": bound.top, "bottom": bound.bottom}
        limits |= {"adaptive": None}
        for side, limit in limits.items():
            if limit is not None or (side == "adaptive" and bound.adaptive):
                yield BoundAt(
                    step=step,
                    space=index,
                    column=column,
                    option=option,
                    side=side,
                    limit=limit,
                    of_documents=_is_of_documents(space, step.reads[column]),
                )


def _is_worth_it(column: pa.Field) -> bool:
    """Is it a quantity or a name, whatever the rules say of it?"""
    return describe(column)["unit"] not in _UNCOUNTED


def _is_name(kind: pa.DataType) -> bool:
    return types.is_boolean(kind) or _is_string(kind)


def _is_string(kind: pa.DataType) -> bool:
    return bool(types.is_string(kind) or types.is_large_string(kind))
