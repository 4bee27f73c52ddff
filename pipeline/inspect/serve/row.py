"""One row: its picture, its words, what each step made of it, and the rows that it has to do with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request

from ..embeddings import embedded_columns
from ..story import Story, tell
from .browse import ask_ahead, shelf
from .cards import Cards
from .page import Page, page
from .pictured import whole_part

LINKS = ("image_url", "page_url")


def row_page(request: Request) -> Page:
    """The whole story of a row."""
    space, shard, row = (whole_part(request.path_params[name]) for name in ("space", "shard", "row"))
    found = shelf(request)
    try:
        story = tell(found.rows.cut, space, shard, row)
    except KeyError:
        raise HTTPException(404, "There is no such row.") from None
    told = story.as_dict()
    near = _near(found.cards, story)
    own = found.cards.at([(space, shard, row)])
    data = {**told, "card": own[0] if own else None, "near": near}
    ask_ahead(request, found.rows.cut.title, own, 1024)
    ask_ahead(request, found.rows.cut.title, [card for cards in near.values() for card in cards])
    alike = any(column.space == space for column in embedded_columns(found.rows.cut))
    view = {"neighbours": list(_neighbours(found.cards, space, shard, row)), "link_columns": LINKS, "alike": alike}
    return Page(template="row.html", title=story.name, data=data, view=view, cut=found.rows.cut.title, tab="Rows")


def _near(cards: Cards, story: Story) -> Mapping[str, list[dict[str, Any]]]:
    """Cards of the rows that this one has to do with: its duplicates by column, what it was made of, what was made."""
    near = {
        duplicates.column: _unique([*filter(None, [duplicates.keeper]), *duplicates.members])
        for duplicates in story.duplicates
    }
    near["parent"] = _unique([story.parent] if story.parent is not None else [])
    near["children"] = _unique([child.row for child in story.children])
    return {name: cards.at(places) for name, places in near.items()}


def _unique(rows: list[Any]) -> list[tuple[int, int, int]]:
    return list(dict.fromkeys((row.space, row.shard, row.row) for row in rows))


def _neighbours(cards: Cards, space: int, shard: int, row: int) -> Iterator[tuple[str, str]]:
    """The rows before and after it in its shard."""
    for word, near in (("prev", row - 1), ("next", row + 1)):
        if near >= 0 and cards.at([(space, shard, near)]):
            yield word, f"{space}/{shard}/{near}"


routes = page("/cut/{cut}/row/{space}/{shard}/{row}", row_page)
