"""The rows that a query asks for, of those in memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as types
from starlette.exceptions import HTTPException

from ....schemas.fields import is_number
from ...keep import Mask
from ...mixed import mixed
from ..rows import CutRows, SpaceRows
from ..thresholds.changes import number_in
from .query import OPS, SHUFFLED, WITHOUT_VALUE, Condition, Query


def select(query: Query, rows: CutRows, errors: Callable[[int, int], Mapping[int, str]]) -> np.ndarray:
    """int64: the rows that a query asks for, in its order.

    `errors` gives for a space and a step the class of each failed row's error. Raises HTTPException 400 where a value
    does not fit its column.
    """
    space = rows.spaces[query.space]
    mask = _by_fate(query, rows, space)
    if query.failed is not None:
        mask &= _failed(query, space, errors)
    for condition in query.conditions:
        mask &= _holds(condition, rows, space)
    return _sorted(query, space, np.flatnonzero(mask))


def _by_fate(query: Query, rows: CutRows, space: SpaceRows) -> Mask:
    mask: Mask = np.ones(len(space), bool) if query.fate == "all" else space.kept ^ (query.fate == "dropped")
    if query.rule is not None:
        mask &= space.gone_by == query.rule
    if query.dropped_at is not None:
        mask &= np.isin(space.gone_by, [i for i, rule in enumerate(rows.rules) if rule.step == query.dropped_at])
    if query.alive_at is not None:
        mask &= space.alive_at(query.alive_at)
    return mask


def _failed(query: Query, space: SpaceRows, errors: Callable[[int, int], Mapping[int, str]]) -> Mask:
    assert query.failed is not None
    try:
        mask = space.failed(query.failed)
    except KeyError:
        return np.zeros(len(space), bool)
    if query.error is None:
        return mask
    of_class = [row for row, kind in errors(query.space, query.failed).items() if kind == query.error]
    found = np.zeros(len(space), bool)
    found[of_class] = True
    return mask & found


def _holds(condition: Condition, rows: CutRows, space: SpaceRows) -> Mask:
    values = _values(space, condition.column)
    there = np.asarray(values.is_valid())
    if condition.op in WITHOUT_VALUE:
        return np.asarray(there == (condition.op == "there"))
    if condition.op == "contains":
        return _true(pc.match_substring(_as_text(condition.column, values), condition.value, ignore_case=True))
    if condition.op == "group":
        return _group(condition, rows, space)
    return np.asarray(_compared(condition, values) & there)


def _values(space: SpaceRows, column: str) -> pa.Array:
    """A column as it is compared: NaN is as missing as null."""
    values = space.column(column)
    if not types.is_floating(values.type):
        return values
    odd = pc.is_nan(values)
    return pc.if_else(odd, None, values) if pc.any(odd).as_py() else values


def _widened(values: pa.Array | pa.Scalar) -> pa.Array | pa.Scalar:
    """Arrow neither compares nor sorts float16."""
    return values.cast(pa.float32()) if types.is_float16(values.type) else values


def _as_text(column: str, values: pa.Array) -> pa.Array:
    try:
        return values.cast(pa.large_string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise HTTPException(400, f"{column} holds {values.type}, which is no text.") from None


def _compared(condition: Condition, values: pa.Array) -> Mask:
    """As `keep` compares: numbers in the column's own precision, whole ones exactly."""
    if condition.op in ("is", "not"):
        same = _true(pc.equal(_widened(values), _widened(_scalar(condition, values.type))))
        return same if condition.op == "is" else ~same
    compare = pc.greater_equal if condition.op == "min" else pc.less_equal
    if types.is_temporal(values.type):
        return _true(compare(values, _scalar(condition, values.type)))
    limit = _limit(condition, values.type)
    numbers = values.cast(pa.float64()) if types.is_decimal(values.type) else values
    found = np.asarray(numbers.fill_null(0))
    with np.errstate(over="ignore"):  # beyond the column's own precision a bound is infinite
        return np.asarray(found >= limit if condition.op == "min" else found <= limit)


def _limit(condition: Condition, kind: pa.DataType) -> float | int:
    """A bound on numbers; for whole numbers the next whole number inside it, as floats tell great ones not apart."""
    if not is_number(kind):
        raise HTTPException(400, f"{condition.column} holds {kind}: `{OPS[condition.op]}` is for numbers and dates.")
    try:
        limit = number_in(condition.value.strip())
    except ValueError:
        raise _misfit(condition, kind) from None
    if math.isnan(limit):
        raise _misfit(condition, kind)
    if types.is_integer(kind):
        whole = math.ceil if condition.op == "min" else math.floor
        return limit if math.isinf(limit) else whole(limit)
    return float(limit)


def _scalar(condition: Condition, kind: pa.DataType) -> pa.Scalar:
    text = condition.value.strip().lower() if types.is_boolean(kind) else condition.value
    text = {"yes": "true", "no": "false"}.get(text, text) if types.is_boolean(kind) else text
    try:
        return pa.scalar(text).cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise _misfit(condition, kind) from None


def _misfit(condition: Condition, kind: pa.DataType) -> HTTPException:
    return HTTPException(400, f"{condition.column} holds {kind}, and {condition.value[:80]!r} is none.")


def _true(mask: pa.Array) -> Mask:
    """Nulls are false."""
    return np.array(mask.fill_null(False))


def place_named(name: str) -> tuple[int, int] | None:
    """(shard, row in the shard) of a name such as 00000003:17; None of another text."""
    shard, _, row = name.partition(":")
    if not all(part.isascii() and part.isdigit() and len(part) <= 12 for part in (shard, row)):
        return None
    return int(shard), int(row)


def is_of_documents(space: SpaceRows, column: str) -> bool:
    """Has a column a value for each document, where the rows are nodes? Then it names rows that these are made of."""
    return space.space.nodes is not None and column not in space.space.nodes


def _group(condition: Condition, rows: CutRows, space: SpaceRows) -> Mask:
    """The rows that name a row, and this one; of a column of documents, their nodes."""
    mask = _true(pc.equal(_as_text(condition.column, space.column(condition.column)), condition.value))
    above = is_of_documents(space, condition.column)
    place = place_named(condition.value)
    try:
        keeper = rows.spaces[space.index - above].row_of(*place) if place is not None else None
    except KeyError:
        keeper = None
    if keeper is not None and above:
        assert space.parents is not None
        return np.asarray(mask | (space.parents == keeper))
    if keeper is not None:
        mask[keeper] = True
    return mask


def _sorted(query: Query, space: SpaceRows, found: np.ndarray) -> np.ndarray:
    """Rows in the order asked for; rows with equal values, and all others, in the corpus's. Nulls and NaN come last."""
    if query.sort == SHUFFLED:
        return in_random_order(found)
    if not query.sort:
        return found
    column = query.sort.removeprefix("-")
    values = _widened(_values(space, column)).take(pa.array(found))
    order = "descending" if query.sort.startswith("-") else "ascending"
    try:
        places = pc.array_sort_indices(values, order=order, null_placement="at_end")
    except pa.ArrowNotImplementedError:
        raise HTTPException(400, f"{column} holds {values.type}, which has no order.") from None
    return np.asarray(found[np.asarray(places)])


def in_random_order(found: np.ndarray) -> np.ndarray:
    """Rows by chance, in the same order every time."""
    return np.asarray(found[np.argsort(mixed(found), kind="stable")])
