"""Rows to look at beside a slider: those next to a bound, and some of those that other bounds bring in or drop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...keep import Mask
from ...mixed import mixed
from ...plan import KeepStep
from ..rows import one_a_document
from .changes import SHARE_DIGITS, Change, changed_keeps
from .ranking import numbers_of
from .whatif import Outcome, WhatIf


@dataclass(frozen=True, kw_only=True, eq=False)
class Nearest:
    """Rows of a space whose values lie next to a bound, nearest first."""

    space: int
    below: np.ndarray
    above: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Changed:
    """Some rows of a space that come in or go out for certain, and how many there are of each."""

    space: int
    come: np.ndarray
    go: np.ndarray
    coming: int
    going: int


def nearest(whatif: WhatIf, at: Change, n: int, changes: Sequence[Change] = ()) -> Nearest:
    """The rows alive where a keep stands whose values lie just below and above `at.value`.

    A row at the value itself is among those for which the bound holds. Of `top` and `bottom` the value is the share,
    and rows are near by their places in the order. For a document's column one node stands for each document. Rows of
    equal value come in an order that is drawn, always the same. Raises ValueError where a change does not fit.
    """
    if at.value is None:
        raise ValueError("rows can be near a value, and none is given")
    with whatif.lock:
        changed_keeps(whatif.plan, [at])
        alive = whatif.walk(changed_keeps(whatif.plan, changes), at.step).alive.sure
        (below, values_below), (above, values_above) = _sides(whatif, at, at.value, alive)
    return Nearest(
        space=whatif.space_of(at.step),
        below=_first(below, values_below, n, least=False),
        above=_first(above, values_above, n, least=True),
    )


def changed_rows(whatif: WhatIf, outcome: Outcome, n: int, space: int = -1) -> Changed:
    """Up to n rows of a space that come in, and n that go out, by what was decided; drawn, always the same."""
    rows = whatif.rows.spaces[space]
    alive, maybe = outcome.alive[space], outcome.maybe[space]
    come, go = np.flatnonzero(alive & ~rows.kept), np.flatnonzero(rows.kept & ~alive & ~maybe)
    some = [_first(each, np.zeros(len(each)), n, least=True) for each in (come, go)]
    return Changed(space=rows.index, come=some[0], go=some[1], coming=len(come), going=len(go))


_Valued = tuple[np.ndarray, np.ndarray]  # rows, and a value for each


def _sides(whatif: WhatIf, at: Change, value: float, alive: Mask) -> tuple[_Valued, _Valued]:
    """The rows alive that have a value, below the bound and above it."""
    index, step = whatif.space_of(at.step), whatif.plan.steps[at.step]
    assert isinstance(step, KeepStep)
    space, verdicts = whatif.rows.spaces[index], whatif.verdicts[index]
    version = step.reads[at.column]
    if space.document is not None and version not in (space.space.nodes or ()):
        alive = one_a_document(space.document, alive)
    if at.side in ("top", "bottom"):
        top = at.side == "top"
        rows, behind = verdicts.beside(step, at.column, at.option, alive, round(value, SHARE_DIGITS), top=top)
        values = -behind if top else behind
        above = behind < 0 if top else behind >= 0
        return (rows[~above], values[~above]), (rows[above], values[above])
    numbers, valid = numbers_of(space.column(version))
    there = alive & valid
    above = numbers >= value if at.side == "min" else numbers > value
    low, high = np.flatnonzero(there & ~above), np.flatnonzero(there & above)
    return (low, numbers[low]), (high, numbers[high])


def _first(rows: np.ndarray, values: np.ndarray, n: int, *, least: bool) -> np.ndarray:
    """The n rows of least value, or of most; of equal values in the order in which they are drawn."""
    if n < 1 or not len(rows):
        return rows[:0]
    if len(rows) > n:
        at = n - 1 if least else len(rows) - n
        last = np.partition(values, at)[at]
        nearer = np.flatnonzero(values < last if least else values > last)
        equal = np.flatnonzero(values == last)
        rest = n - len(nearer)
        if len(equal) > rest:
            lots = mixed(rows[equal])
            equal = equal[np.argpartition(lots, rest - 1)[:rest]]
        some = np.concatenate([nearer, equal])
        rows, values = rows[some], values[some]
    places = np.unique(values, return_inverse=True)[1]
    found: np.ndarray = rows[np.lexsort((mixed(rows), places if least else -places))]
    return found
