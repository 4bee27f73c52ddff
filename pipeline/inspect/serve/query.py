"""Which rows a page shows, as its address says it: `?fate=dropped&column=words&op=max&value=3&sort=-sharpness`.

Several conditions are several `column`, `op`, `value` in that order, as a form without scripts sends them. Whatever an
address holds is either understood or refused in words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeVar, get_args
from urllib.parse import urlencode

import pyarrow as pa
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException

from ..rows import CutRows

Fate = Literal["all", "kept", "dropped"]
View = Literal["grid", "table"]
T = TypeVar("T", bound=str)
PAGE_ROWS = 48
MOST_PAGE_ROWS = 200
MOST_CONDITIONS = 20
SHUFFLED = "shuffled"
OPS: Final = {  # as the form words them
    "min": "at least",
    "max": "at most",
    "is": "is",
    "not": "is not",
    "contains": "contains",
    "group": "in the group of",
    "there": "is there",
    "null": "is missing",
}
WITHOUT_VALUE = ("there", "null")


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A bound on a column that somebody asks for."""

    column: str
    op: str
    value: str = ""


@dataclass(frozen=True, kw_only=True)
class Query:
    """What an address asks for; a default stands in no address."""

    space: int
    fate: Fate = "all"
    rule: int | None = None  # index in CutRows.rules: rows that it dropped
    dropped_at: int | None = None  # index of a step: rows that one of its rules dropped
    alive_at: int | None = None  # rows that were alive when this step came
    failed: int | None = None  # rows on which this step failed
    error: str | None = None  # and the class of the error
    conditions: tuple[Condition, ...] = ()
    sort: str = ""  # a column, `-` before it for the highest first; or `shuffled`
    view: View = "grid"
    show: tuple[str, ...] = ()  # columns to show; none: those that rules read
    page: int = 1
    size: int = PAGE_ROWS

    def address(self, **changes: object) -> str:
        """The query part of an address that asks for this, with some things changed (and from the first page)."""
        changed = replace(self, **{"page": 1, **changes})  # type: ignore[arg-type]
        return "?" + urlencode(list(changed._pairs()))

    def _pairs(self) -> Iterator[tuple[str, str]]:
        plain = Query(space=self.space)
        yield "space", str(self.space)
        for name in ("fate", "rule", "dropped_at", "alive_at", "failed", "error", "sort", "view", "page", "size"):
            if getattr(self, name) != getattr(plain, name):
                yield name, str(getattr(self, name))
        for condition in self.conditions:
            yield from (("column", condition.column), ("op", condition.op), ("value", condition.value))
        for name in self.show:
            yield "show", name

    @property
    def selection(self) -> Query:
        """The same rows in the same order, wherever the page stands and whatever it shows of them."""
        return replace(self, page=1, size=PAGE_ROWS, show=(), view="grid")


def read_query(params: QueryParams, rows: CutRows) -> Query:
    """An address's query, checked against the cut. Raises HTTPException 400, saying what is wrong."""
    space = _index(params, "space", len(rows.spaces))
    space = len(rows.spaces) - 1 if space is None else space
    steps = len(rows.cut.plan.steps)
    columns = rows.spaces[space].columns
    query = Query(
        space=space,
        fate=_one_of(params, "fate", get_args(Fate), "all"),
        rule=_index(params, "rule", len(rows.rules)),
        dropped_at=_index(params, "dropped_at", steps),
        alive_at=_index(params, "alive_at", steps),
        failed=_index(params, "failed", steps),
        error=params.get("error", "")[:200] or None,
        conditions=tuple(_conditions(params, columns)),
        sort=params.get("sort", ""),
        view=_one_of(params, "view", get_args(View), "grid"),
        show=tuple(dict.fromkeys(name for name in params.getlist("show") if name)),
        page=max(1, _number(params, "page", 1)),
        size=min(max(1, _number(params, "size", PAGE_ROWS)), MOST_PAGE_ROWS),
    )
    for name in (*query.show, *([query.sort.removeprefix("-")] if query.sort not in ("", SHUFFLED) else [])):
        _known(name, columns)
    return query


def _conditions(params: QueryParams, columns: pa.Schema) -> Iterator[Condition]:
    names, ops, values = (params.getlist(name) for name in ("column", "op", "value"))
    if not len(names) == len(ops) == len(values):
        raise HTTPException(400, "Each condition needs a column, an op and a value, in this order.")
    if len(names) > MOST_CONDITIONS:
        raise HTTPException(400, f"At most {MOST_CONDITIONS} conditions at a time.")
    for name, op, value in zip(names, ops, values, strict=True):
        if not name or (not value and op not in WITHOUT_VALUE):
            continue  # an empty line of the form
        _known(name, columns)
        if op not in OPS:
            raise HTTPException(400, f"There is no op {op[:40]!r}; there are {', '.join(OPS)}.")
        yield Condition(column=name, op=op, value=value)


def _known(name: str, columns: pa.Schema) -> None:
    if name not in columns.names:
        raise HTTPException(400, f"These rows have no column {name[:80]!r}.")


def _number(params: QueryParams, name: str, default: int) -> int:
    text = params.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise HTTPException(400, f"{name} must be a whole number, not {text[:40]!r}.")
    return int(text)


def _index(params: QueryParams, name: str, count: int) -> int | None:
    if not params.get(name):
        return None
    found = _number(params, name, 0)
    if found >= count:
        raise HTTPException(400, f"{name} must be below {count}, not {found}.")
    return found


def _one_of(params: QueryParams, name: str, allowed: Sequence[T], default: T) -> T:
    text = params.get(name) or default
    found = next((value for value in allowed if value == text), None)
    if found is None:
        raise HTTPException(400, f"{name} must be one of {', '.join(allowed)}, not {text[:40]!r}.")
    return found
