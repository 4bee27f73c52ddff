"""Search a cut: words in captions, and where vectors were kept, by meaning: a text, a picture, a row like this one.

What was sent as a picture is looked for once; what was found lies in memory under a name that the address then holds,
so that its pages can be turned. The picture itself is not kept.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal, get_args
from urllib.parse import urlencode

import numpy as np
from starlette.exceptions import HTTPException
from starlette.requests import Request

from ...keep import Mask
from ..embeddings import Allowed, Embedded, EmbeddingSearch, Near
from ..rows import CutRows, SpaceRows
from ..search import SearchError, search_texts
from .browse import ask_ahead, shelf, space_names
from .page import Page, page, post, state_of, whole

How = Literal["words", "meaning"]
Fate = Literal["all", "kept", "dropped"]
PAGE_ROWS: Final = 48
NEAREST: Final = 480  # rows that a search by meaning finds
PICTURE_BYTES: Final = 10 << 20
REMEMBERED: Final = 8  # searches in memory
HEADER: Final = "x-cupel"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What an address asks for."""

    how: How
    q: str
    fate: Fate
    space: int
    like: tuple[int, int, int] | None = None  # space, shard, row
    picture: str | None = None  # the name of what a picture found

    @property
    def address(self) -> str:
        """Its query, without a page."""
        like = "/".join(map(str, self.like)) if self.like else ""
        given = {"how": self.how, "q": self.q, "fate": self.fate, "space": self.space}
        given |= {"like": like, "picture": self.picture or ""}
        plain = {"how": "words", "fate": "all"}
        return "?" + urlencode({name: value for name, value in given.items() if value not in ("", plain.get(name))})


@dataclass(frozen=True, kw_only=True)
class Found:
    """Rows, the best first: numbers in their space, and where they are found by meaning their similarity."""

    space: int
    rows: np.ndarray
    cosines: np.ndarray | None = None


class Finder:
    """Searches the rows of one cut. Its methods may be called from any thread."""

    def __init__(self, rows: CutRows, vectors: EmbeddingSearch) -> None:
        self.rows, self.vectors = rows, vectors
        self._words = lru_cache(REMEMBERED)(self._in_texts)
        self._meaning = lru_cache(REMEMBERED)(self._by_meaning)
        self._lock = threading.Lock()
        self._pictures: OrderedDict[str, Found] = OrderedDict()

    def find(self, asked: Asked) -> Found:
        """What an address asks for. Raises SearchError, in words for the user."""
        if asked.picture is not None:
            with self._lock:
                if asked.picture not in self._pictures:
                    raise SearchError("what that picture found is not remembered any more; choose it again")
                return self._pictures[asked.picture]
        if asked.like is not None or asked.how == "meaning":
            return self._meaning(asked)
        found = self._words(asked.space, asked.q)
        return Found(space=asked.space, rows=found[_of_fate(self.rows.spaces[asked.space], asked.fate)[found]])

    def by_picture(self, data: bytes, fate: Fate) -> str:
        """The name under which the rows lie that are most like a picture. Raises SearchError."""
        column = self._column()
        near = self.vectors.by_picture(data, column=column, top=NEAREST, allowed=self._allowed(column, fate))
        name = secrets.token_urlsafe(9)
        with self._lock:
            self._pictures[name] = self._numbered(near, column.space)
            while len(self._pictures) > REMEMBERED:
                self._pictures.popitem(last=False)
        return name

    def _in_texts(self, space: int, query: str) -> np.ndarray:
        return search_texts(self.rows.spaces[space], query).rows

    def _by_meaning(self, asked: Asked) -> Found:
        if asked.like is not None:
            space, shard, row = asked.like
            column = self._column(space)
            allowed = self._allowed(column, asked.fate)
            near = self.vectors.like(space, shard, row, column=column, top=NEAREST, allowed=allowed)
        else:
            column = self._column()
            allowed = self._allowed(column, asked.fate)
            near = self.vectors.by_text(asked.q, column=column, top=NEAREST, allowed=allowed)
        return self._numbered(near, column.space)

    def _column(self, space: int | None = None) -> Embedded:
        columns = [column for column in self.vectors.columns if space is None or column.space == space]
        if not columns:
            raise SearchError(
                "no step of this cut kept vectors of these rows, so nothing can be found by its meaning; "
                "`pair.clip_similarity: {embeddings: true}` keeps them"
            )
        return columns[0]

    def _allowed(self, column: Embedded, fate: Fate) -> Allowed:
        """Of each shard's rows those that are in memory, and of this fate."""
        rows = self.rows.spaces[column.space]
        there = _of_fate(rows, fate)

        def allowed(shard: int) -> Mask:
            try:
                return there[rows.row_of(shard, 0) :]
            except KeyError:
                return np.broadcast_to(np.False_, (1 << 31,))  # takes no memory

        return allowed

    def _numbered(self, near: Sequence[Near], space: int) -> Found:
        numbers = [self.rows.spaces[space].row_of(row.shard, row.row) for row in near]
        cosines = np.array([row.cosine for row in near])
        return Found(space=space, rows=np.array(numbers, np.int64), cosines=cosines)


def _of_fate(rows: SpaceRows, fate: Fate) -> Mask:
    if fate == "all":
        return np.ones(len(rows), bool)
    return rows.kept if fate == "kept" else ~rows.kept


def search_page(request: Request) -> Page:
    """What was asked for, a page of what was found, and the form."""
    cards, finder = shelf(request).cards, _finder(request)
    rows = cards.rows
    asked = _asked(request, rows)
    found, error = _found(finder, asked)
    pages = max(1, -(-len(found.rows) // PAGE_ROWS))
    at = whole(request, "page", 1, least=1, most=pages)
    shown = slice((at - 1) * PAGE_ROWS, at * PAGE_ROWS)
    some = cards.of(found.space, found.rows[shown].tolist())
    if found.cosines is not None:
        for card, cosine in zip(some, found.cosines[shown].tolist(), strict=True):
            card["values"] = {"similarity": cosine, **card["values"]}
    ask_ahead(request, rows.cut.title, some)
    data = {
        "q": asked.q,
        "how": asked.how,
        "fate": asked.fate,
        "space": found.space,
        "like": asked.like,
        "by_picture": asked.picture is not None,
        "rows": len(found.rows) if error is None and _asks(asked) else None,
        "error": error,
        "by_meaning": [{"column": column.name, "model": column.model} for column in finder.vectors.columns],
        "page": at,
        "pages": pages,
        "cards": some,
        "loaded_share": rows.share,
    }
    view = {"asked": asked, "spaces": space_names(rows), "own": cards.at([asked.like]) if asked.like else []}
    view["turn"] = {name: f"{asked.address}&page={at + step}" for name, step in (("before", -1), ("after", 1))}
    status = 200 if error is None else 400
    cut = rows.cut.title
    return Page(template="search.html", title="Search", data=data, view=view, cut=cut, tab="Search", status=status)


def picture_sent(request: Request, body: bytes) -> Page:
    """Look for the rows that are most like a picture, whose bytes are the body; answers with the page's address."""
    if request.headers.get(HEADER) != "search":
        raise HTTPException(403, "Pictures come from the page's own script.")
    rows = shelf(request).rows
    fate = _one_of(request, "fate", get_args(Fate), "all")
    try:
        name = _finder(request).by_picture(body, fate)
    except SearchError as error:
        raise HTTPException(400, _sentence(error)) from None
    asked = Asked(how="meaning", q="", fate=fate, space=len(rows.spaces) - 1, picture=name)
    return Page(template="", title="", data={"query": asked.address})


def _finder(request: Request) -> Finder:
    cut = request.path_params["cut"]
    vectors = state_of(request).of_cut(cut, "vectors", EmbeddingSearch)
    found: Finder = state_of(request).once(cut, "finder", lambda rows: Finder(rows, vectors))
    return found


def _found(finder: Finder, asked: Asked) -> tuple[Found, str | None]:
    """What was found; or nothing, and why."""
    nothing = Found(space=asked.space, rows=np.zeros(0, np.int64))
    if not _asks(asked):
        return nothing, None
    try:
        return finder.find(asked), None
    except SearchError as error:
        return nothing, _sentence(error)


def _asks(asked: Asked) -> bool:
    return bool(asked.q.strip() or asked.like or asked.picture)


def _sentence(error: SearchError) -> str:
    words = str(error)
    return f"{words[:1].upper()}{words[1:]}."


def _asked(request: Request, rows: CutRows) -> Asked:
    space = whole(request, "space", len(rows.spaces) - 1, most=len(rows.spaces) - 1)
    like = request.query_params.get("like") or None
    return Asked(
        how=_one_of(request, "how", get_args(How), "words"),
        q=request.query_params.get("q", ""),
        fate=_one_of(request, "fate", get_args(Fate), "all"),
        space=space,
        like=_place(like, rows) if like is not None else None,
        picture=request.query_params.get("picture") or None,
    )


def _place(text: str, rows: CutRows) -> tuple[int, int, int]:
    """`0/3/17`: space, shard, row."""
    parts = text.split("/")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) <= 12 for part in parts):
        raise HTTPException(400, f"like must be space/shard/row, not {text[:40]!r}.")
    space, shard, row = map(int, parts)
    try:
        rows.spaces[space].row_of(shard, row)
    except (KeyError, IndexError):
        raise HTTPException(404, "There is no such row.") from None
    return space, shard, row


def _one_of(request: Request, name: str, allowed: Sequence[str], default: str) -> Any:
    text = request.query_params.get(name) or default
    if text not in allowed:
        raise HTTPException(400, f"{name} must be one of {', '.join(allowed)}, not {text[:40]!r}.")
    return text


_AT = "/cut/{cut}/search"
routes = [*page(_AT, search_page), *post(_AT, picture_sent, PICTURE_BYTES)[:1]]  # what is sent answers as JSON alone
