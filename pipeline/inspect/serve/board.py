"""A cut's bounds as they are moved: what each drops and keeps now, as numbers, as charts, and as rows to look at.

Nothing here is about HTTP. One board is made for a cut's rows; what does not change with a bound is made once.
"""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar, cast

import numpy as np

from ....schemas.fields import is_number
from ....schemas.recipe import Bound
from ...keep import Mask
from ..charts.axis import Axis, axis_for
from ..charts.buckets import Buckets
from ..charts.chart import Limit, histogram
from ..rows import CutRows, one_a_document
from ..thresholds.beside import (
    Changed,
    Nearest,
    changed_rows,
    nearest,
)
from ..thresholds.changes import Change, changed_keeps
from ..thresholds.perhaps import Perhaps
from ..thresholds.ranking import numbers_of
from ..thresholds.verdicts import At
from ..thresholds.whatif import Outcome, Walked, WhatIf
from ..thresholds.yields import yield_curve
from .handles import Handle, Held, Stops, held_by, share_stops, stops_on
from .spread import DROPPED, ELSEWHERE, KEPT, LATER, Spread
from .yield_chart import yield_chart

REMEMBERED: Final = 8  # decisions, and walks up to a step: some bytes a row each
SPREADS: Final = 32  # three bytes a row each
CURVES: Final = 64
AXES: Final = 512
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What one bound does to the rows that come to its step, nodes or documents: at least and at most so many."""

    here: tuple[int, int]
    fails: dict[str, tuple[int, int]]  # handle's id -> rows for which this side alone does not hold


class Board:
    """The bounds of a cut. Its methods may be called from any thread."""

    def __init__(self, rows: CutRows) -> None:
        self.rows, self.whatif = rows, WhatIf(rows)
        self.helds = held_by(rows.cut.plan)
        self._by_id = {held.id: held for held in self.helds}
        self._handles = {handle.id: (held, handle) for held in self.helds for handle in held.handles}
        self._remembered, self._spreads = _Lately(REMEMBERED), _Lately(SPREADS)
        self._curves, self._axes = _Lately(CURVES), _Lately(AXES)

    def held(self, id: str) -> Held:
        """A bound by its name. KeyError where there is none."""
        return self._by_id[id]

    def handle(self, id: str) -> tuple[Held, Handle]:
        """A side of a bound by its name. KeyError where there is none."""
        return self._handles[id]

    def outcome(self, changes: Sequence[Change]) -> Outcome:
        """What is kept with these changes."""
        return self._remembered(("outcome", *_names(changes)), lambda: self.whatif.decide(changes))

    def tally(self, held: Held, changes: Sequence[Change]) -> Tally:
        """The rows that come to a bound, and those that it fails."""
        with self.whatif.lock:
            at = self._at(held, changes)
            here = self._counted(held, at.alive)
            bound = self._bound(held, changes)
            holds = {handle.id: self._side(held, handle, bound, at) for handle in held.handles}
        fails = {id: (here.sure & ~side.possible, here.possible & ~side.sure) for id, side in holds.items()}
        return Tally(
            here=self._span(here.sure, here.possible), fails={id: self._span(*masks) for id, masks in fails.items()}
        )

    def _span(self, least: Mask, most: Mask) -> tuple[int, int]:
        return self.whatif.scaled(int(np.count_nonzero(least))), self.whatif.scaled(int(np.count_nonzero(most)))

    def chart(self, held: Held, changes: Sequence[Change]) -> str | None:
        """The histogram of the rows that come to a bound, as SVG; None where none has a value, or it is no number.

        Rows that may be kept are drawn as kept.
        """
        if not is_number(held.field.type):
            return None
        with self.whatif.lock:
            buckets = self._buckets(held, changes)
            limits = self._limits(held, changes)
        if buckets is None:
            return None
        title = f"{held.column}: rows that come to {held.step.label}"
        return histogram(buckets, title=title, limits=limits, unit=held.about["unit"])

    def curve(self, handle: Handle, changes: Sequence[Change]) -> str:
        """What is kept as one side of a bound moves and all others stand, as SVG."""
        held, _ = self.handle(handle.id)
        return self._curves((handle.id, *_names(changes)), lambda: self._curve(held, handle, changes))

    def _curve(self, held: Held, handle: Handle, changes: Sequence[Change]) -> str:
        at = replace(handle.at, value=_value(handle, changes))
        found = yield_curve(self.whatif, at, changes)
        ranked = handle.at.side in ("top", "bottom")
        axis = Axis(low=0.0, high=1.0) if ranked else self.axis(held)
        shift = 0.0 if ranked or axis is None or not axis.whole else {"min": -0.5}.get(handle.at.side, 0.5)
        title = f"Rows kept, by {handle.at.side} of {held.column}"
        return yield_chart(found, axis, at.value, shift=shift, title=title)

    def near(self, handle: Handle, changes: Sequence[Change], n: int) -> Nearest | None:
        """Rows next to where a side of a bound stands; None where it is taken away."""
        value = _value(handle, changes)
        if value is None:
            return None
        return nearest(self.whatif, replace(handle.at, value=value), n, changes)

    def changed(self, changes: Sequence[Change], n: int, space: int = -1) -> Changed:
        """Rows that come in and go out."""
        return changed_rows(self.whatif, self.outcome(changes), n, space)

    def stops(self, handle: Handle) -> Stops:
        """The values that a slider goes through."""
        held, _ = self.handle(handle.id)
        assert handle.at.value is not None
        if handle.at.side in ("top", "bottom"):
            return share_stops(handle.at.value)
        axis = self.axis(held)
        if axis is None:
            return Stops(values=(handle.at.value,), places=(0.5,))
        return stops_on(axis, handle.at.side, handle.at.value)

    def axis(self, held: Held) -> Axis | None:
        """The axis of a bound's chart, as in the cut; None where no row has a value."""
        with self.whatif.lock:
            return self._axes(held.id, lambda: self._axis(held))

    def _axis(self, held: Held) -> Axis | None:
        buckets, limits = self._buckets(held, ()), self._limits(held, ())
        return axis_for(buckets, [limit.edge(buckets) for limit in limits]) if buckets is not None else None

    # What these are made of

    def _spread(self, held: Held) -> Spread:
        column = self.rows.spaces[held.space].column
        return self._spreads((held.space, held.version), lambda: Spread(column(held.version)))

    def _walked(self, step: int, changes: Sequence[Change]) -> Walked:
        """The decision up to a step; no later change says a word in that."""
        earlier = [change for change in changes if change.step < step]
        keeps = changed_keeps(self.rows.cut.plan, earlier)
        return self._remembered(("walked", step, *_names(earlier)), lambda: self.whatif.walk(keeps, step))

    def _at(self, held: Held, changes: Sequence[Change]) -> At:
        walked = self._walked(held.step.index, changes)
        unknown = functools.partial(walked.unknown, held.space)
        return At(alive=walked.alive, unknown=unknown, unmade=bool(walked.unmade))

    def _bound(self, held: Held, changes: Sequence[Change]) -> Bound | None:
        keeps = changed_keeps(self.rows.cut.plan, changes)
        return held.bound_in(keeps.get(held.step.index, held.step.keep))

    def _side(self, held: Held, handle: Handle, bound: Bound | None, at: At) -> Perhaps:
        """The rows for which one side of a bound holds."""
        side = handle.at.side
        if bound is None or getattr(bound, side) is None:
            return Perhaps.of(np.ones(len(self.rows.spaces[held.space]), bool))
        return self._holds(held, _alone(bound, side), at)

    def _holds(self, held: Held, bound: Bound, at: At) -> Perhaps:
        return self.whatif.verdicts[held.space].alone(held.step, held.column, bound, at)

    def _counted(self, held: Held, alive: Perhaps) -> Perhaps:
        """What stands for the rows that are counted: of a document's column one node a document."""
        document = self.rows.spaces[held.space].document
        if not held.of_documents or document is None:
            return alive
        sure = one_a_document(document, alive.sure)
        if alive.certain:
            return Perhaps.of(sure)
        others = ~np.isin(document, document[sure])
        return Perhaps(sure, sure | one_a_document(document, alive.possible & others))

    def _buckets(self, held: Held, changes: Sequence[Change]) -> Buckets | None:
        at, bound = self._at(held, changes), self._bound(held, changes)
        here = self._counted(held, at.alive).possible
        fates = np.full(len(here), ELSEWHERE, np.uint8)
        fates[here] = LATER
        if bound is not None:
            fates[here & ~self._holds(held, bound, at).possible] = DROPPED
        outcome = self.outcome(changes)
        fates[here & (outcome.alive[held.space] | outcome.maybe[held.space])] = KEPT
        return self._spread(held).buckets(fates)

    def _limits(self, held: Held, changes: Sequence[Change]) -> list[Limit]:
        """The bounds to be drawn; a ranking in groups has no one value at which it cuts."""
        found = []
        for handle in held.handles:
            side, value = handle.at.side, _value(handle, changes)
            drawn = value if side in ("min", "max") or value is None else self._cut_at(held, handle, changes)
            if value is not None and drawn is not None:
                found.append(Limit(value=drawn, side=side, text=f"{side} {value:g}"))
        bound = self._bound(held, changes)
        if bound is not None and bound.adaptive:
            chosen = self._chosen(held, _alone(bound, "adaptive"), self._at(held, changes))
            found += [Limit(value=float(chosen.min()), side="adaptive", text="adaptive")] if len(chosen) else []
        return found

    def _cut_at(self, held: Held, handle: Handle, changes: Sequence[Change]) -> float | None:
        """The value at which a ranking ends."""
        at, bound = self._at(held, changes), self._bound(held, changes)
        if handle.by is not None or bound is None:
            return None
        side = handle.at.side
        chosen = self._chosen(held, _alone(bound, side), at) if getattr(bound, side) is not None else ()
        if not len(chosen):
            return None
        return float(min(chosen) if side == "top" else max(chosen))

    def _chosen(self, held: Held, bound: Bound, at: At) -> np.ndarray:
        """The values of the rows alive for which a bound may hold."""
        numbers, valid = numbers_of(self.rows.spaces[held.space].column(held.version))
        return np.asarray(numbers[at.alive.possible & valid & self._holds(held, bound, at).possible])


class _Lately:
    """What was made of late, by its key; what was asked for least lately gives way. For any thread."""

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, threading.Lock()
        self._found: OrderedDict[Hashable, Any] = OrderedDict()

    def __call__(self, key: Hashable, make: Callable[[], T]) -> T:
        """What was made, or is made now: without the lock, so that two threads may both make it."""
        with self._lock:
            if key in self._found:
                self._found.move_to_end(key)
                return cast(T, self._found[key])
        found = make()
        with self._lock:
            self._found[key] = found
            while len(self._found) > self._most:
                self._found.popitem(last=False)
        return found


def _alone(bound: Bound, side: str) -> Bound:
    """One side of a bound, and what it says of nulls."""
    sides = ("min", "max", "in_", "not_in", "top", "bottom", "adaptive")
    return bound.model_copy(update=dict.fromkeys(name for name in sides if name != side))


def _value(handle: Handle, changes: Sequence[Change]) -> float | None:
    """Where a side of a bound stands now; None where it is taken away."""
    name = handle.id
    return next((c.value for c in changes if c.format().rpartition("=")[0] == name), handle.at.value)


def _names(changes: Sequence[Change]) -> tuple[str, ...]:
    return tuple(sorted(change.format() for change in changes))
