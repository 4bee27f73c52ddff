"""The bounds of a recipe as a page offers them to be moved: what each is called, which values a slider goes through."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, get_args

import numpy as np
import pyarrow as pa
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException

from ....schemas.fields import describe
from ....schemas.recipe import Bound, Keep
from ...plan import KeepStep, Plan
from ..charts.axis import Axis, linear_ticks
from ..thresholds.changes import Change, Side

STOPS: Final = 120  # values that a slider goes through, about
WHOLE_STOPS: Final = 1000  # of whole numbers: each of them, where there are not more
MOST_CHANGES: Final = 200


@dataclass(frozen=True, kw_only=True)
class Handle:
    """One side of a bound that can be moved; `at` has the value of the cut."""

    at: Change
    by: str | None = None  # a ranking in groups

    @property
    def id(self) -> str:
        """`3.words.min`: its name in an address and in a form."""
        return self.at.format().rpartition("=")[0]


@dataclass(frozen=True, kw_only=True)
class Held:
    """What a keep says of one column, alone or as part of an alternative."""

    step: KeepStep
    space: int
    option: int | None
    column: str
    bound: Bound
    field: pa.Field
    of_documents: bool  # a value for each document, not for each node

    @property
    def id(self) -> str:
        """`3.words`, or `3.any0.words`: a handle's without its side."""
        return self._place.format().rpartition(".")[0]

    @property
    def _place(self) -> Change:
        return Change(step=self.step.index, column=self.column, option=self.option, side="min", value=None)

    @property
    def version(self) -> str:
        """The column's version that is read."""
        return self.step.reads[self.column]

    @property
    def handles(self) -> tuple[Handle, ...]:
        """Its sides that are numbers."""
        return tuple(self._handles())

    def _handles(self) -> Iterator[Handle]:
        for side in get_args(Side):
            value = getattr(self.bound, side)
            if side in ("min", "max") and value is not None:
                yield Handle(at=replace(self._place, side=side, value=value))
            elif value is not None:
                yield Handle(at=replace(self._place, side=side, value=value.share), by=value.by)

    @property
    def fixed(self) -> tuple[str, ...]:
        """What it says besides, in words."""
        bound = self.bound
        said = [
            ("only rows without a value", bound.null == "only"),
            ("rows without a value stay", bound.null == "keep"),
        ]
        said += [("adaptive: the upper of two groups, where there are two", bound.adaptive is not None)]
        said += [(f"in {_listed(bound.in_)}", bound.in_ is not None)]
        said += [(f"not in {_listed(bound.not_in)}", bound.not_in is not None)]
        return tuple(words for words, holds in said if holds)

    @property
    def about(self) -> Mapping[str, str]:
        """unit, range and doc of the column."""
        return describe(self.field)

    def bound_in(self, keep: Keep | None) -> Bound | None:
        """What a changed keep says of it; None where it says nothing any more."""
        if keep is None:
            return None
        if self.option is None:
            return keep.bounds.get(self.column)
        return keep.any[self.option].get(self.column) if keep.any else None


def _listed(values: Sequence[object] | None, most: int = 12) -> str:
    values = values or ()
    more = f", and {len(values) - most} more" if len(values) > most else ""
    return ", ".join(map(str, values[:most])) + more


def held_by(plan: Plan) -> tuple[Held, ...]:
    """Every column that a keep bounds, in the order of the recipe; those of alternatives last in their step."""
    return tuple(held for i in range(len(plan.spaces)) for held in _in_space(plan, i))


def _in_space(plan: Plan, index: int) -> Iterator[Held]:
    space = plan.spaces[index]
    fields = {column.name: column for column in space.schema} | dict(space.fields)
    for step in plan.steps[space.start : space.stop]:
        if not isinstance(step, KeepStep):
            continue
        for i, group in enumerate((step.keep.bounds, *step.keep.any)):
            for column, bound in group.items():
                version = step.reads[column]
                yield Held(
                    step=step,
                    space=index,
                    option=i - 1 if i else None,
                    column=column,
                    bound=bound,
                    field=fields[version],
                    of_documents=space.nodes is not None and version not in space.nodes,
                )


def read_changes(params: QueryParams, helds: Sequence[Held]) -> list[Change]:
    """What an address changes: `c=3.words.min=4`, or `3.words.min=4` as a form without scripts sends it.

    What is as in the cut is no change. HTTPException 400 for what is no bound here.
    """
    handles = {handle.id: handle for held in helds for handle in held.handles}
    texts = params.getlist("c") + [f"{name}={params[name]}" for name in params if name in handles]
    if len(texts) > MOST_CHANGES:
        raise HTTPException(400, f"At most {MOST_CHANGES} changes at a time.")
    found = {}
    for text in texts:
        try:
            change = Change.parse(text)
        except ValueError as error:
            raise HTTPException(400, f"{error}.") from None
        name = change.format().rpartition("=")[0]
        if name not in handles:
            raise HTTPException(400, f"This recipe has no bound {name[:100]!r} that could be moved.")
        found[name] = change
    return [change for name, change in found.items() if change.value != handles[name].at.value]


# Stops


@dataclass(frozen=True, kw_only=True)
class Stops:
    """The values that a slider goes through, ascending, and where each stands on it, 0 to 1."""

    values: tuple[float, ...]
    places: tuple[float, ...]


def share_stops(value: float) -> Stops:
    """Of a share: every hundredth, and where it is now."""
    values = sorted({*(i / 100 for i in range(1, 101)), value})
    return Stops(values=tuple(values), places=tuple(values))


def stops_on(axis: Axis, side: Side, value: float) -> Stops:
    """Round values along an axis, and where the bound is in the cut; each stands where a chart draws it."""
    linear = axis.kind == "linear"
    found = linear_ticks(axis.low, axis.high, _most(axis), whole=axis.whole) if linear else _along(axis)
    values = np.array(sorted({*found, float(value)}))
    edges = values + (-0.5 if side == "min" else 0.5) if axis.whole else values
    there = (edges >= axis.low - 1e-12) & (edges <= axis.high + 1e-12) | (values == value)
    places = axis.at(edges[there])
    return Stops(values=tuple(values[there].tolist()), places=tuple(np.round(places, 5).tolist()))


def _most(axis: Axis) -> int:
    return WHOLE_STOPS if axis.whole else STOPS


def _along(axis: Axis) -> list[float]:
    """Values evenly spaced on an axis that is not linear, of two digits, or whole numbers."""
    spaced = axis.spaced(_most(axis))
    if not axis.whole:
        return [float(f"{at:.1e}") for at in spaced]
    return [float(f"{whole:.1e}") if whole >= 1000 else whole for whole in np.ceil(spaced).tolist()]
