"""How many rows are kept as one bound moves and all others stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from ...keep import Mask
from ...plan import CorpusStep, DocumentStep, KeepStep
from .changes import SHARE_DIGITS, Change, changed_keeps
from .ranking import numbers_of
from .whatif import Walked, WhatIf

DECIDED: Final = 12  # points at most where each must be decided by itself


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Rows kept at some values of a bound (shares, of a ranking), which ascend."""

    values: tuple[float, ...]
    at_least: tuple[int, ...]
    at_most: tuple[int | None, ...]  # None: nobody knows


def yield_curve(whatif: WhatIf, at: Change, changes: Sequence[Change] = (), points: int = 40) -> Curve:
    """What is kept with one bound at some values of the rows that come to it, at `at.value`, and at both ends.

    The other changes stand. As long as every later rule is about rows by themselves each row's fate is looked at once.
    Where one ranks, sees documents as a whole or reads what was found among all rows, each point is decided by itself,
    and there are at most `DECIDED`. Raises ValueError where a change does not fit.
    """
    with whatif.lock:
        changed_keeps(whatif.plan, [at])
        others = [change for change in changes if _place(change) != _place(at)]
        without = changed_keeps(whatif.plan, [*others, replace(at, value=None)])
        one_pass = _by_rows(whatif, at)
        values = _values(whatif, at, others, points if one_pass else min(points, DECIDED))
        if one_pass:
            return _in_one_pass(whatif, at, whatif.walk(without), values)
        outcomes = [whatif.decide([*others, replace(at, value=value)]) for value in values]
        return Curve(
            values=tuple(values),
            at_least=tuple(outcome.kept_at_least for outcome in outcomes),
            at_most=tuple(outcome.kept_at_most for outcome in outcomes),
        )


def _place(change: Change) -> tuple[int, str, str, int | None]:
    return change.step, change.column, change.side, change.option


def _by_rows(whatif: WhatIf, at: Change) -> bool:
    """Does a row that passes this bound stay or go whatever becomes of the others?"""
    step = whatif.plan.steps[at.step]
    assert isinstance(step, KeepStep)
    later = whatif.plan.steps[at.step + 1 :]
    keeps = [other for other in later if isinstance(other, KeepStep)]
    return (
        at.side in ("min", "max")
        and at.option is None
        and not any(isinstance(other, CorpusStep | DocumentStep) for other in later)
        and not any(other.ranked for other in keeps)
        and not any(other.keep.on == "document" for other in (step, *keeps))
    )


def _values(whatif: WhatIf, at: Change, others: Sequence[Change], points: int) -> list[float]:
    """Where to look: evenly many rows lie between two values."""
    given = [] if at.value is None else [at.value]
    if at.side in ("top", "bottom"):
        shares = np.linspace(0, 1, points - len(given) + 1)[1:].round(SHARE_DIGITS).tolist()
        return sorted({*shares, *(round(share, SHARE_DIGITS) for share in given)})
    step, index = whatif.plan.steps[at.step], whatif.space_of(at.step)
    assert isinstance(step, KeepStep)
    walked = whatif.walk(changed_keeps(whatif.plan, others), at.step)
    version = step.reads[at.column]
    numbers, valid = numbers_of(whatif.rows.spaces[index].column(version))
    unknown = walked.unknown(index, version)
    valid = valid & walked.alive.possible
    found = np.sort(numbers[valid if unknown is None else valid & ~unknown])
    some = found[np.linspace(0, len(found) - 1, points - len(given)).astype(int)].tolist() if len(found) else []
    return sorted({*some, *given})


def _in_one_pass(whatif: WhatIf, at: Change, walked: Walked, values: Sequence[float]) -> Curve:
    """`walked` is what becomes of all rows with the bound taken away."""
    passing = _Passing(whatif, at, walked)
    index, last = passing.index, len(walked.ends) - 1
    least = passing.counts(last, walked.ends[-1].sure, values, perhaps=False)
    most = passing.counts(last, walked.ends[-1].possible, values, perhaps=True)
    unmade = np.zeros(len(values), bool)
    for space in range(last):
        new = walked.ends[space].possible & ~whatif.rows.spaces[space].kept
        unmade |= new.any() if space < index else passing.counts(space, new, values, perhaps=True) > 0
    return Curve(
        values=tuple(values),
        at_least=tuple(whatif.scaled(count) for count in least.tolist()),
        at_most=tuple(
            None if new else whatif.scaled(count) for count, new in zip(most.tolist(), unmade.tolist(), strict=True)
        ),
    )


class _Passing:
    """Which rows pass a bound at which value."""

    def __init__(self, whatif: WhatIf, at: Change, walked: Walked) -> None:
        step = whatif.plan.steps[at.step]
        assert isinstance(step, KeepStep)
        self.whatif, self.index, self.side = whatif, whatif.space_of(at.step), at.side
        version = step.reads[at.column]
        values = whatif.rows.spaces[self.index].column(version)
        self.numbers, valid = numbers_of(values)
        unknown = walked.unknown(self.index, version)
        exempt = whatif.verdicts[self.index].exempt(step, at.column)
        nothing = np.zeros(len(values), bool)
        self.always = nothing if exempt is None else exempt  # whatever the bound is
        self.unknown = nothing if unknown is None else unknown & ~self.always
        if step.keep.bounds[at.column].null == "keep":
            self.always = self.always | (np.asarray(values.is_null()) & ~self.unknown)
        self.valued = valid & ~self.unknown & ~self.always

    def counts(self, space: int, rows: Mask, values: Sequence[float], *, perhaps: bool) -> np.ndarray:
        """How many of some rows, made of those that the bound is about, pass it at each value."""
        chosen = np.flatnonzero(rows)
        for between in range(space, self.index, -1):
            parents = self.whatif.rows.spaces[between].parents
            assert parents is not None
            chosen = parents[chosen]
        whatever = int(np.count_nonzero(self.always[chosen]))
        whatever += int(np.count_nonzero(self.unknown[chosen])) if perhaps else 0
        numbers = np.sort(self.numbers[chosen[self.valued[chosen]]])
        if self.side == "min":
            return whatever + len(numbers) - np.searchsorted(numbers, values, side="left")
        return whatever + np.searchsorted(numbers, values, side="right")
