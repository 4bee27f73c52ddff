"""The rules of a keep, asked of one row: which hold, which do not, and of which nobody knows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from ...operators.source.base import ShardError
from ...schemas.recipe import Bound, Keep
from ..keep import decide, rules_of
from ..plan import KeepStep, MeasureStep, PlannedStep
from ..shard import ShardView, selected

_SIDES: Final = ("min", "max", "in_", "not_in", "top", "bottom", "adaptive")


@dataclass(frozen=True, kw_only=True)
class RuleStory:
    """One bound, asked of a row."""

    column: str
    rule: str
    value: object  # of an `any`: column -> value
    holds: bool | None  # None: nobody knows, because what it reads was not measured
    asked: bool  # False: the row was gone before


def rules_asked(view: ShardView, row: int, step: KeepStep, left_at: np.ndarray) -> list[RuleStory]:
    """The rules of a step; `left_at` has for each row of the view the step that it left by, or a later number."""
    return [
        RuleStory(
            column=rule.column,
            rule=rule.text,
            value=_value(view, row, step, rule.column),
            holds=_holds(view, row, step, alone, left_at),
            asked=bool(left_at[row] >= step.index),
        )
        for rule, alone in zip(rules_of(step.keep), each_alone(step.keep), strict=True)
    ]


def each_alone(keep: Keep) -> Iterator[Keep]:
    """The rules of a keep as keeps of their own, in the order in which they are blamed."""
    for column, bound in keep.bounds.items():
        if bound.null == "only":
            yield Keep(bounds={column: bound}, on=keep.on)
        for side in (side for side in _SIDES if getattr(bound, side) is not None):
            others = dict.fromkeys(name for name in _SIDES if name != side)
            yield Keep(bounds={column: bound.model_copy(update=others)}, on=keep.on)
    if keep.any:
        yield Keep(any=keep.any, on=keep.on)


def adder(view: ShardView, name: str) -> PlannedStep | None:
    """The step over these rows that adds a column; None: they begin with it."""
    return next((s for s in view.steps() if not isinstance(s, KeepStep) and name in s.names.values()), None)


def _bounds(keep: Keep) -> list[tuple[str, Bound]]:
    return [(column, bound) for option in (keep.bounds, *keep.any) for column, bound in option.items()]


def _value(view: ShardView, row: int, step: KeepStep, column: str) -> object:
    if column in step.columns:
        return _read(view, row, step.reads[column])
    return {name: _read(view, row, step.reads[name]) for option in step.keep.any for name in option}


def _read(view: ShardView, row: int, name: str) -> object:
    try:
        value = view.take(name, np.array([row]))[0].as_py()
    except (ShardError, OSError):
        return None
    return len(value) if isinstance(value, bytes) else value


def _holds(view: ShardView, row: int, step: KeepStep, alone: Keep, left_at: np.ndarray) -> bool | None:
    """Does this rule hold of the row, or, on documents, of its document?"""
    ranked = any(bound.sees_all for _, bound in _bounds(alone))
    if left_at[row] < step.index and (ranked or alone.on == "document" or not _known(view, row, step, alone)):
        return None
    places = np.array([row])
    if alone.on == "document" and view.documents is not None:
        places = np.flatnonzero(view.documents.of == view.documents.of[row])
    alive = left_at[places] >= step.index if len(places) > 1 else np.ones(1, bool)
    try:
        columns = {name: view.take(step.reads[name], places) for name, _ in _bounds(alone)}
    except (ShardError, OSError):
        return None
    ranks = {name: mask[places] for name, mask in selected(view.ranks(step)).items()} if ranked else {}
    nodes = view.nodes(step, slice(int(places[0]), int(places[-1]) + 1))  # a document's nodes stand together
    verdict = decide(alone, columns, ranks, alive, nodes)
    return bool(verdict.stays[places == row][0])


def _known(view: ShardView, row: int, step: KeepStep, alone: Keep) -> bool:
    """Has everything that the rule reads been measured of this row, in some cut?"""
    adders = [adder(view, step.reads[name]) for name, _ in _bounds(alone)]
    return all(a is None or (isinstance(a, MeasureStep) and bool(view.scores(a).known[row])) for a in adders)
