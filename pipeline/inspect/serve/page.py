"""A page is made as plain data first; a template shows it, and the same address + `.json` gives it as it is."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from .state import State
from .words import environment

JSON = ".json"


@dataclass(frozen=True, kw_only=True)
class Page:
    """What one address answers."""

    template: str
    title: str
    data: Mapping[str, Any]  # what the JSON twin gives, and the template sees under these names
    view: Mapping[str, Any] = field(default_factory=dict)  # for the template alone: markup of charts, choices of a form
    cut: str | None = None  # name of the cut's folder, where the page is about one
    tab: str = ""  # the tab of the cut that is open
    reload_s: int | None = None  # ask again after so many seconds
    status: int = 200
    bare: bool = False  # for those who were not let in: nothing of the corpus around it


Made = Page | Response
Maker = Callable[[Request], Made]


def page(path: str, make: Maker) -> list[Route]:
    """Routes of a page and of its JSON twin; `make` runs in a thread."""

    def endpoint(request: Request) -> Response:
        return answer(request, make(request))

    return [Route(path + JSON, endpoint), Route(path, endpoint)]


def post(path: str, make: Callable[[Request, bytes], Made], limit_bytes: int = 1 << 20) -> list[Route]:
    """Routes of what a form or script sends: `make` gets the body, of `limit_bytes` at most, and runs in a thread."""

    async def endpoint(request: Request) -> Response:
        body = await _body(request, limit_bytes)
        return answer(request, await run_in_threadpool(make, request, body))

    return [Route(path + JSON, endpoint, methods=["POST"]), Route(path, endpoint, methods=["POST"])]


async def _body(request: Request, limit_bytes: int) -> bytes:
    found = bytearray()
    async for chunk in request.stream():
        found += chunk
        if len(found) > limit_bytes:
            raise HTTPException(413, f"What you sent is over the limit of {limit_bytes >> 20} MiB.")
    return bytes(found)


def state_of(request: Request) -> State:
    """What the server serves."""
    state: State = request.app.state.served
    return state


def answer(request: Request, made: Made) -> Response:
    """A page as HTML, or as JSON where that was asked for."""
    if isinstance(made, Response):
        return made
    headers = {"Refresh": str(made.reload_s)} if made.reload_s else {}
    if request.url.path.endswith(JSON):
        body = json.dumps(plain(made.data), ensure_ascii=False, allow_nan=False, indent=1)
        return Response(body, made.status, headers, "application/json")
    html = environment().get_template(made.template).render({**made.data, **made.view, **_around(request, made)})
    return HTMLResponse(html, made.status, headers)


def _around(request: Request, made: Page) -> dict[str, Any]:
    """What base.html shows around a page."""
    query = f"?{request.url.query}" if request.url.query else ""
    path = request.url.path.rstrip("/") or "/"
    return {
        "title": made.title,
        "cut_name": made.cut,
        "tab": made.tab,
        "tabs": [] if made.bare or made.cut is None else _tabs(request, made.cut),
        "twin": f"{path}{JSON}{query}",
        "corpus": "" if made.bare else state_of(request).name,
        "labels_on": state_of(request).labels is not None,
    }


def _tabs(request: Request, cut: str) -> list[tuple[str, str]]:
    """The pages of a cut: that of documents where it has some."""
    has_documents = state_of(request).cut(cut).manifest.documents is not None
    return [(label, path) for label, path in request.app.state.tabs if path != "documents" or has_documents]


def plain(value: Any) -> Any:
    """Data as JSON has it: NumPy's numbers as numbers, NaN and infinities as null, other things as text."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset | np.ndarray):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    return str(value)


def whole(request: Request, name: str, default: int, *, least: int = 0, most: int) -> int:
    """A whole number of the query, held within bounds. Raises HTTPException when it is none."""
    text = request.query_params.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.lstrip("-").isdigit()) or len(text) > 18:
        raise HTTPException(400, f"{name} must be a whole number, not {text[:40]!r}.")
    return min(max(int(text), least), most)
