"""Thumbnails by address. What cannot be shown is answered by a drawn note: no error that a browser writes down."""

from __future__ import annotations

from html import escape
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..pictures.thumbnails import SIDES_PX, NoPicture, Pictures
from .page import state_of, whole
from .words import short, visible

_KEEP: Final = {"Cache-Control": "private, max-age=600"}
_WORDS: Final = {  # of what decoders and readers say, in a tile's width
    "no_image": "no picture",
    "blocked": "on a blocklist: not shown",
    "not_an_image": "not a picture",
    "svg": "a vector image: not opened",
    "html": "a web page, not a picture",
    "missing_file": "its file is missing",
    "unreadable_file": "its file cannot be read",
    "outside_root": "its file lies outside the folder",
    "truncated": "cut off",
    "too_large": "too large to open",
    "unreadable_input": "its file cannot be read",
    "timed_out": "took too long",
}


def picture(request: Request) -> Response:
    """The thumbnail of a row, or a drawn note that says why there is none."""
    state, path = state_of(request), request.path_params
    cut = state.cut(path["cut"])
    space, shard, row = (whole_part(path[name]) for name in ("space", "shard", "row"))
    side = whole(request, "side", 256, most=max(SIDES_PX))
    side = next(allowed for allowed in SIDES_PX if allowed >= side)
    if space >= len(cut.plan.spaces):
        raise HTTPException(404, "There are no such rows.")
    found = state.of_cut(cut.title, "pictures", Pictures).thumbnail(space, shard, row, side)
    if isinstance(found, NoPicture) and found.kind == "no_row":
        raise HTTPException(404, "There is no such row.")
    if isinstance(found, NoPicture):
        return Response(_note(_WORDS.get(found.kind, found.kind.replace("_", " "))), media_type="image/svg+xml")
    return Response(found.data, media_type=found.media_type, headers=_KEEP)


def whole_part(text: str) -> int:
    """A number in an address. HTTPException 404 where it is none."""
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        raise HTTPException(404, "There is no such row.")
    return int(text)


def _note(words: str) -> str:
    told = escape(visible(short(words, 40)))
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 240 180" width="240" height="180">'
        '<text x="120" y="94" text-anchor="middle" font-family="sans-serif" font-size="13" fill="#8d867b">'
        f"{told}</text></svg>"
    )


routes = [Route("/cut/{cut}/picture/{space}/{shard}/{row}", picture)]
