"""Documents: a list of them, and each rendered in reading order with what was dropped of it, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import pyarrow.compute as pc
from starlette.exceptions import HTTPException
from starlette.requests import Request

from ...keep import Mask
from ..rows import CutRows, SpaceRows
from .browse import Shelf, ask_ahead, shelf
from .cards import Cards
from .page import Page, page, state_of, whole
from .pictured import whole_part
from .words import short

Fate = Literal["all", "kept", "dropped"]
PAGE_DOCUMENTS = 24
PAGE_NODES = 400
NODE_CHARACTERS = 8000
TITLE = "page_title"


class Index:
    """Where each document's nodes begin, and what stayed of it. Documents are numbered over all shards."""

    def __init__(self, rows: CutRows) -> None:
        self.space = next((i for i, space in enumerate(rows.spaces) if space.document is not None), -1)
        if self.space < 0:
            raise HTTPException(404, "The rows of this cut are no documents.")
        self.nodes: SpaceRows = rows.spaces[self.space]
        assert self.nodes.document is not None
        self.of: np.ndarray = self.nodes.document
        self.count = self.nodes.documents
        self.starts = np.searchsorted(self.of, np.arange(self.count + 1))
        images = np.asarray(pc.equal(self.nodes.column("kind"), "image").fill_null(False))
        self.sizes = np.diff(self.starts)
        self.kept = self._counted(self.nodes.kept)
        self.images = self._counted(images)
        self.kept_images = self._counted(images & self.nodes.kept)
        self.first_text = self._first(~images)
        self.first_image = self._first(images)

    def _counted(self, nodes: Mask) -> np.ndarray:
        return np.bincount(self.of[nodes], minlength=self.count)

    def _first(self, nodes: Mask) -> np.ndarray:
        """The first of these nodes in each document, one that is kept where there is one; -1 for none."""
        found = np.full(self.count, -1, np.int64)
        for those in (nodes, nodes & self.nodes.kept):
            at = np.flatnonzero(those)
            documents, first = np.unique(self.of[at], return_index=True)
            found[documents] = at[first]
        return found

    def chosen(self, fate: Fate) -> np.ndarray:
        """Documents of which something stayed, or nothing, or all."""
        return np.flatnonzero({"all": self.sizes > 0, "kept": self.kept > 0, "dropped": self.kept == 0}[fate])


def documents_page(request: Request) -> Page:
    """A page of documents."""
    found, index = shelf(request), index_of(request)
    fate = request.query_params.get("fate") or "all"
    if fate not in get_args(Fate):
        raise HTTPException(400, f"fate must be one of {', '.join(get_args(Fate))}, not {fate[:40]!r}.")
    chosen = index.chosen(fate)  # type: ignore[arg-type]
    pages = max(1, -(-len(chosen) // PAGE_DOCUMENTS))
    at = whole(request, "page", 1, least=1, most=pages)
    places = chosen[(at - 1) * PAGE_DOCUMENTS : at * PAGE_DOCUMENTS]
    shown = listed(found, index, places)
    data = {
        "fate": fate,
        "documents": len(chosen),
        "of": index.count,
        "page": at,
        "pages": pages,
        "loaded_share": found.rows.share,
        "shown": shown,
    }
    ask_ahead(request, found.rows.cut.title, [each["picture"] for each in shown if each["picture"]])
    view = {"fates": get_args(Fate)}
    return Page(
        template="documents.html", title="Documents", data=data, view=view, cut=found.rows.cut.title, tab="Documents"
    )


def index_of(request: Request) -> Index:
    """The documents of the cut that an address names. HTTPException 404 where its rows are none."""
    return state_of(request).once(request.path_params["cut"], "documents", Index)


def listed(found: Shelf, index: Index, documents: np.ndarray) -> list[dict[str, Any]]:
    """What a list says of each document: where it is from, how it begins, a picture, and what stayed of it."""
    assert index.nodes.parents is not None
    parents = index.nodes.parents[index.starts[documents]].tolist()
    sources = found.cards.of(index.space - 1, parents)
    texts = _cards_of(found.cards, index, index.first_text[documents])
    pictures = _cards_of(found.cards, index, index.first_image[documents])
    titles = _titles(found.cards, index.space, index.starts[documents].tolist())
    return [
        {
            "source": source,
            "title": titles[i],
            "text": texts.get(int(index.first_text[document])),
            "picture": pictures.get(int(index.first_image[document])),
            "nodes": int(index.sizes[document]),
            "kept": int(index.kept[document]),
            "images": int(index.images[document]),
            "kept_images": int(index.kept_images[document]),
        }
        for i, (document, source) in enumerate(zip(documents.tolist(), sources, strict=True))
    ]


def _cards_of(cards: Cards, index: Index, nodes: np.ndarray) -> dict[int, dict[str, Any]]:
    there = [node for node in nodes.tolist() if node >= 0]
    return dict(zip(there, cards.of(index.space, there), strict=True))


def _titles(cards: Cards, space: int, nodes: Sequence[int]) -> list[str | None]:
    """What the pages call themselves, by a node of each."""
    if TITLE not in cards.rows.spaces[space].columns.names:
        return [None] * len(nodes)
    return [short(title, 300) if title else None for title in cards.cells.take(space, nodes, [TITLE])[TITLE]]


def document_page(request: Request) -> Page:
    """One document, by the row that it was made of."""
    found, index = shelf(request), index_of(request)
    space, shard, row = (whole_part(request.path_params[name]) for name in ("space", "shard", "row"))
    nodes = _nodes_of(index, found.rows, space, shard, row)
    pages = max(1, -(-len(nodes) // PAGE_NODES))
    at = whole(request, "page", 1, least=1, most=pages)
    shown = nodes[(at - 1) * PAGE_NODES : at * PAGE_NODES]
    cards = _with_tags(found.cards, index.space, shown)
    source = found.cards.at([(space, shard, row)])[0]
    data = {
        "source": source,
        "page_title": _titles(found.cards, index.space, shown[:1])[0],
        "page_url": source["page_url"],
        "nodes": len(nodes),
        "kept": int(index.nodes.kept[nodes].sum()),
        "reasons": _reasons(found.rows, index.nodes, nodes),
        "page": at,
        "pages": pages,
        "shown": cards,
    }
    ask_ahead(request, found.rows.cut.title, cards, 512)
    return Page(
        template="document.html",
        title=f"Document {source['name']}",
        data=data,
        cut=found.rows.cut.title,
        tab="Documents",
    )


def _nodes_of(index: Index, rows: CutRows, space: int, shard: int, row: int) -> list[int]:
    """The nodes that were made of a row. HTTPException 404 where there are none."""
    assert index.nodes.parents is not None
    try:
        parent = rows.spaces[space].row_of(shard, row) if space == index.space - 1 else -1
    except KeyError:
        parent = -1
    first, last = np.searchsorted(index.nodes.parents, [parent, parent + 1])
    if parent < 0 or first == last:
        raise HTTPException(404, "There is no such document.")
    return list(range(int(first), int(last)))


def _with_tags(cards: Cards, space: int, nodes: Sequence[int]) -> list[dict[str, Any]]:
    """Cards with what each node was on the page."""
    found = cards.of(space, nodes, characters=NODE_CHARACTERS)
    more = [
        name for name in ("tag", "caption", "alt_text", "image_url") if name in cards.rows.spaces[space].columns.names
    ]
    values = cards.cells.take(space, nodes, more)
    return [card | {name: values[name][i] for name in more} for i, card in enumerate(found)]


def _reasons(rows: CutRows, space: SpaceRows, nodes: Sequence[int]) -> list[dict[str, Any]]:
    """How many nodes each rule dropped, in the recipe's order."""
    counted = Counter(space.gone_by[nodes].tolist())
    return [
        {
            "rule": i,
            "label": rows.rules[i].label,
            "column": rows.rules[i].column,
            "text": rows.rules[i].text,
            "nodes": n,
        }
        for i, n in sorted(counted.items())
        if i >= 0
    ]


routes = [
    *page("/cut/{cut}/documents", documents_page),
    *page("/cut/{cut}/document/{space}/{shard}/{row}", document_page),
]
