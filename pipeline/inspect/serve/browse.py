"""Pages of rows: kept, dropped or all, filtered and sorted by any column."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.types as types
from starlette.requests import Request

from ....schemas.fields import describe, is_number
from ..pictures.thumbnails import Pictures
from ..rows import CutRows
from .cards import SHOWN_VALUES, Cards, bounded_columns
from .page import JSON, Page, page, state_of
from .query import OPS, SHUFFLED, Query, read_query
from .selection import select

SELECTIONS = 6  # that stay in memory: 8 bytes a row each


class Shelf:
    """A cut's rows, ready to be paged through."""

    def __init__(self, rows: CutRows) -> None:
        self.rows, self.cards = rows, Cards(rows)
        self._select = lru_cache(SELECTIONS)(self._selected)

    def select(self, query: Query) -> np.ndarray:
        """The rows that a query asks for, in its order."""
        return self._select(query.selection)

    def _selected(self, query: Query) -> np.ndarray:
        return select(query, self.rows, self.cards.cells.errors)


def shelf(request: Request) -> Shelf:
    """The rows of the cut that an address names. Raises LoadingError where they are not there yet."""
    found: Shelf = state_of(request).once(request.path_params["cut"], "shelf", Shelf)
    return found


def rows_page(request: Request) -> Page:
    """One page of rows."""
    found = shelf(request)
    rows, query = found.rows, read_query(request.query_params, found.rows)
    chosen = found.select(query)
    pages = max(1, -(-len(chosen) // query.size))
    at = min(query.page, pages)
    shown = chosen[(at - 1) * query.size : at * query.size].tolist()
    show = query.show or tuple(bounded_columns(rows, query.space)[:SHOWN_VALUES])
    cards = found.cards.of(query.space, shown, show)
    ask_ahead(request, rows.cut.title, cards)
    data = {
        "query": _asked(query, rows),
        "rows": len(chosen),
        "of": len(rows.spaces[query.space]),
        "loaded_share": rows.share,
        "agrees": rows.agrees,
        "unreadable": found.cards.cells.unreadable(query.space),
        "page": at,
        "pages": pages,
        "cards": cards,
    }
    view = {"q": query, "choices": _choices(rows, query), "links": _links(query, at, pages), "show": show}
    return Page(template="rows.html", title="Rows", data=data, view=view, cut=rows.cut.title, tab="Rows")


def ask_ahead(request: Request, cut: str, cards: Sequence[dict[str, Any]], side_px: int = 256) -> None:
    """Begin to read the pictures of a page before the browser asks for them, one by one: each shard is read once."""
    if not request.url.path.endswith(JSON):
        places = [
            (card["space"], card["shard"], card["row"]) for card in cards if card["picture"] not in (None, "hide")
        ]
        state_of(request).of_cut(cut, "pictures", Pictures).prepare(places, side_px)


def _asked(query: Query, rows: CutRows) -> dict[str, Any]:
    """The query in words, for the page's heading and for the JSON twin."""
    steps = rows.cut.plan.steps
    rule = rows.rules[query.rule] if query.rule is not None else None
    return {
        "space": query.space,
        "fate": query.fate,
        "rule": {"label": rule.label, "column": rule.column, "text": rule.text} if rule is not None else None,
        "dropped_at": steps[query.dropped_at].label if query.dropped_at is not None else None,
        "alive_at": steps[query.alive_at].label if query.alive_at is not None else None,
        "failed": steps[query.failed].label if query.failed is not None else None,
        "error": query.error,
        "conditions": [{"column": c.column, "op": c.op, "value": c.value} for c in query.conditions],
        "sort": query.sort or None,
    }


def _choices(rows: CutRows, query: Query) -> dict[str, Any]:
    """What the form offers."""
    columns = [{**describe(column), "kind": _kind(column.type)} for column in rows.spaces[query.space].columns]
    rules = [
        {"index": i, "label": rule.label, "column": rule.column, "text": rule.text}
        for i, rule in enumerate(rows.rules)
        if rule.space == query.space
    ]
    return {"columns": columns, "rules": rules, "ops": OPS, "spaces": space_names(rows), "shuffled": SHUFFLED}


def _kind(kind: pa.DataType) -> str:
    if types.is_boolean(kind):
        return "yes or no"
    return "number" if is_number(kind) else "text"


def space_names(rows: CutRows) -> list[str]:
    """What the rows of each space are: the source's, or what made them."""
    plan = rows.cut.plan
    return ["source", *(plan.steps[space.start - 1].label for space in plan.spaces[1:])]


def _links(query: Query, at: int, pages: int) -> dict[str, Any]:
    """Addresses of other pages and of other views of the same rows."""
    near = sorted({1, pages, *range(max(1, at - 2), min(pages, at + 2) + 1)})
    return {
        "pages": [(number, query.address(page=number)) for number in near],
        "before": query.address(page=at - 1) if at > 1 else None,
        "after": query.address(page=at + 1) if at < pages else None,
        "fates": [(fate, query.address(fate=fate, rule=None, dropped_at=None)) for fate in ("all", "kept", "dropped")],
        "views": [(view, query.address(view=view, page=at)) for view in ("grid", "table")],
        "without": [
            query.address(conditions=tuple(c for c in query.conditions if c is not condition))
            for condition in query.conditions
        ],
    }


routes = page("/cut/{cut}/rows", rows_page)
