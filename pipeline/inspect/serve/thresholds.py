"""Move the bounds of a cut: what would be kept, which rows come in and go out, and the recipe to take away.

The address says what was moved (`?c=3.words.min=4`), so it can be shared; without scripts the form sends the same.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow.types as types
from markupsafe import Markup
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..charts.svg import patterns
from ..pictures.thumbnails import Pictures
from ..thresholds.changes import (
    Change,
    changed_keeps,
    changed_recipe,
    edited_name,
)
from ..thresholds.whatif import Outcome
from .board import Board
from .browse import shelf
from .handles import Handle, Held, read_changes
from .page import JSON, Page, page, state_of
from .shown import shown

NEAR = 4  # rows next to a bound, to each side
CHANGED = 8  # rows that come in, and that go out
PICTURE_PX = 256
MOST_CHARTS = 12  # in one answer to a script
AT_ONCE = 3  # bounds with their charts in the page; scripts ask for the others as they come in sight


def thresholds_page(request: Request) -> Page:
    """Every bound of the recipe, as it is and as it is moved; `of=3.words` gives that bound's chart to scripts, too."""
    board, changes = _asked(request)
    asked = request.query_params.getlist("of")[:MOST_CHARTS]
    outcome, before = board.outcome(changes), board.outcome(())
    bounds = [_bound(held, changes, outcome, before) for held in board.helds]
    data = {
        "kept": _kept(board, outcome, before),
        "exact": outcome.exact,
        "why": outcome.why,
        "moved": [_moved(board, change) for change in changes],
        "bounds": bounds,
        "charts": {id: board.chart(_held(board, id), changes) for id in asked},
        "tallies": {id: vars(board.tally(_held(board, id), changes)) for id in asked},
        "loaded_share": board.rows.share,
    }
    cut = board.rows.cut
    return Page(
        template="thresholds.html",
        title="Thresholds",
        data=data,
        view={} if request.url.path.endswith(JSON) else _view(request, board, changes),
        cut=cut.title,
        tab="Thresholds",
    )


def _view(request: Request, board: Board, changes: Sequence[Change]) -> dict[str, Any]:
    """What the template needs besides: charts, and what sliders go through."""
    cut = board.rows.cut
    moved = {(change.step, change.column) for change in changes}
    every = bool(request.query_params.get("every"))
    drawn = [h for i, h in enumerate(board.helds) if every or i < AT_ONCE or (h.step.index, h.column) in moved]
    charts = {held.id: board.chart(held, changes) for held in drawn}
    return {
        "drawn": {id: Markup(chart) for id, chart in charts.items() if chart is not None},  # noqa: S704 chart.py escapes
        "patterns": Markup(patterns()),  # noqa: S704 ours
        "told": {held.id: vars(board.tally(held, changes)) for held in board.helds},
        "stops": {handle.id: _stops(board, handle) for held in board.helds for handle in held.handles},
        "name": edited_name(cut),
        "corpus_uri": shlex.quote(state_of(request).store.uri),
        "query": [change.format() for change in changes],
        "every": every,
    }


def beside(request: Request) -> Page:
    """The rows next to one side of a bound."""
    (board, changes), cards = _asked(request), shelf(request).cards
    held, handle = _handle(board, request.query_params.get("of", ""))
    found = board.near(handle, changes, NEAR)
    rows = {"below": found.below.tolist(), "above": found.above.tolist()} if found is not None else {}
    near = {name: cards.of(held.space, numbers, [held.version]) for name, numbers in rows.items()}
    _ask_ahead(request, board, [card for some in near.values() for card in some])
    told = {name: [shown(card) for card in some] for name, some in near.items()}
    return Page(template="", title="", data={"id": handle.id, **told})


def curve(request: Request) -> Page:
    """What is kept as one side of a bound moves."""
    board, changes = _asked(request)
    _, handle = _handle(board, request.query_params.get("of", ""))
    return Page(template="", title="", data={"id": handle.id, "curve": board.curve(handle, changes)})


def changed(request: Request) -> Page:
    """Some of the rows that come in, and of those that go out."""
    (board, changes), cards = _asked(request), shelf(request).cards
    data: dict[str, Any] = {}
    found = board.changed(changes, CHANGED)
    for name, numbers, count in (("come", found.come, found.coming), ("go", found.go, found.going)):
        some = cards.of(found.space, numbers.tolist(), _moved_columns(board, found.space, changes))
        _ask_ahead(request, board, some)
        data[name] = {"rows": board.whatif.scaled(count), "some": [shown(card) for card in some]}
    return Page(template="", title="", data=data)


def recipe(request: Request) -> Response:
    """The recipe with the moved bounds, as a file to be saved."""
    board, changes = _asked(request)
    try:
        text = changed_recipe(board.rows.cut, changes, request.query_params.get("name") or None)
    except ValueError as error:
        raise HTTPException(400, f"{error}") from None
    name = request.query_params.get("name") or edited_name(board.rows.cut)  # a recipe's name is one of a file as well
    headers = {"Content-Disposition": f'attachment; filename="{name}.yaml"'}
    return Response(text, media_type="text/yaml; charset=utf-8", headers=headers)


def _ask_ahead(request: Request, board: Board, cards: Sequence[Mapping[str, Any]]) -> None:
    """Begin to read the pictures that the script will ask for."""
    places = [(c["space"], c["shard"], c["row"]) for c in cards if c["picture"] not in (None, "hide")]
    state_of(request).of_cut(board.rows.cut.title, "pictures", Pictures).prepare(places, PICTURE_PX)


def _board(request: Request) -> Board:
    found: Board = state_of(request).once(request.path_params["cut"], "board", Board)
    return found


def _asked(request: Request) -> tuple[Board, list[Change]]:
    """The board, and what the address changes. HTTPException 400 where a change does not fit the recipe."""
    board = _board(request)
    changes = read_changes(request.query_params, board.helds)
    try:
        changed_keeps(board.rows.cut.plan, changes)
    except ValueError as error:
        raise HTTPException(400, f"{error}.") from None
    return board, changes


def _held(board: Board, id: str) -> Held:
    try:
        return board.held(id)
    except KeyError:
        raise HTTPException(400, f"This recipe has no bound {id[:100]!r}.") from None


def _handle(board: Board, id: str) -> tuple[Held, Handle]:
    try:
        return board.handle(id)
    except KeyError:
        raise HTTPException(400, f"This recipe has no bound {id[:100]!r} that could be moved.") from None


def _kept(board: Board, outcome: Outcome, before: Outcome) -> dict[str, Any]:
    """Rows, and where they are nodes documents."""
    return {
        "at_least": outcome.kept_at_least,
        "at_most": outcome.kept_at_most,
        "in_cut": before.kept_at_least,
        "of": board.whatif.scaled(len(board.rows.last)),
        "documents_at_least": outcome.documents_at_least,
        "documents_at_most": outcome.documents_at_most,
        "documents_in_cut": before.documents_at_least,
    }


def _bound(held: Held, changes: Sequence[Change], outcome: Outcome, before: Outcome) -> dict[str, Any]:
    step, was = outcome.steps[held.step.index], before.steps[held.step.index]
    return {
        "id": held.id,
        "step": held.step.index,
        "label": held.step.label,
        "column": held.column,
        "option": held.option,
        "space": held.space,
        "of_documents": held.of_documents,
        "unit": held.about["unit"],
        "doc": held.about["doc"],
        "rows_in": {"in_cut": was.least, "at_least": step.least, "at_most": step.most},
        "dropped": {"in_cut": was.dropped, "now": step.dropped},
        "sides": [_side(handle, changes) for handle in held.handles],
        "whole": bool(types.is_integer(held.field.type)),
        "fixed": list(held.fixed),
    }


def _side(handle: Handle, changes: Sequence[Change]) -> dict[str, Any]:
    moved = {change.format().rpartition("=")[0]: change.value for change in changes}
    now = moved.get(handle.id, handle.at.value)
    return {"id": handle.id, "side": handle.at.side, "by": handle.by, "in_cut": handle.at.value, "now": now}


def _moved(board: Board, change: Change) -> dict[str, Any]:
    id = change.format().rpartition("=")[0]
    _, handle = board.handle(id)
    where = f"{change.column} {change.side}"
    return {"id": id, "bound": where, "from": handle.at.value, "to": change.value}


def _moved_columns(board: Board, space: int, changes: Sequence[Change]) -> list[str]:
    """The columns, as these rows have them, whose bounds are moved."""
    ids = {change.format().rpartition("=")[0] for change in changes}
    helds = [held for held in board.helds if held.space == space and any(h.id in ids for h in held.handles)]
    there = board.rows.spaces[space].columns.names
    return [name for name in dict.fromkeys(held.version for held in helds) if name in there]


def _stops(board: Board, handle: Handle) -> str:
    """`0.1:5 0.2:6`: places on the slider and their values."""
    found = board.stops(handle)
    return " ".join(f"{place:g}:{value:.12g}" for place, value in zip(found.places, found.values, strict=True))


_AT = "/cut/{cut}/thresholds"
routes = [
    *page(_AT, thresholds_page),
    *page(f"{_AT}/beside", beside)[:1],  # for scripts alone
    *page(f"{_AT}/curve", curve)[:1],
    *page(f"{_AT}/changed", changed)[:1],
    Route("/cut/{cut}/recipe.yaml", recipe),
]
