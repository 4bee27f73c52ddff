"""Two cuts of one corpus side by side: what each kept that the other did not, and why; how their scores are spread."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Final

from markupsafe import Markup
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from ...cuts import CutEntry
from ..charts.svg import patterns
from ..diff import Compared, CutDiff, diff_cuts
from ..lost import Gone
from ..opened import OpenedCut
from ..report.diff_page import score_view
from .browse import Shelf, ask_ahead
from .page import JSON, Page, page, state_of
from .words import segment

PATIENCE_S: Final = 0.4
SCORES: Final = 24
FEW: Final = 6  # of them that are seen at once; those with bounds come first
RECIPE_LINES: Final = 400


class Comparisons:
    """What one cut was compared with; each comparison is made once, in the background."""

    def __init__(self, cut: OpenedCut) -> None:
        self._cut = cut
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="cupel-diff")
        self._lock = threading.Lock()
        self._made: dict[str, Future[CutDiff]] = {}

    def with_cut(self, other: OpenedCut) -> CutDiff | None:
        """The comparison; None where it is still on its way. Raises CorpusError for cuts that cannot be compared."""
        with self._lock:
            if other.title not in self._made:
                self._made[other.title] = self._pool.submit(diff_cuts, self._cut, other)
            made = self._made[other.title]
        if not wait([made], PATIENCE_S).done:
            return None
        if made.exception() is not None:
            with self._lock:  # what failed may be tried again
                self._made.pop(other.title, None)
        return made.result()

    def close(self) -> None:
        """Wait for nothing."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def compare_page(request: Request) -> Page:
    """A cut and another one; without another, those there are."""
    state = state_of(request)
    a = state.cut(request.path_params["cut"])
    others = [_choice(entry) for entry in state.cuts() if entry.title != a.title]
    chosen = request.query_params.get("with")
    data: dict[str, Any] = {"a": _side(a), "b": None, "others": others, "waiting": False, "diff": None}
    if chosen:
        b = state.cut(chosen)
        data["b"] = _side(b)
        found = state.of_cut(a.title, "comparisons", Comparisons).with_cut(b)
        if found is None:
            status = 503 if request.url.path.endswith(JSON) else 202
            return _page(a, data | {"waiting": True}, {}, reload_s=1, status=status)
        data["diff"] = found.as_dict()
        if not request.url.path.endswith(JSON):
            return _page(a, data, _view(request, found))
    return _page(a, data, {})


def _page(a: OpenedCut, data: dict[str, Any], view: dict[str, Any], **more: Any) -> Page:
    return Page(template="diff.html", title="Compare", data=data, view=view, cut=a.title, tab="Compare", **more)


def _choice(entry: CutEntry) -> dict[str, Any]:
    manifest = entry.manifest
    return {
        "cut": entry.title,
        "recipe": manifest.name,
        "newest": entry.newest,
        "finished_at": manifest.finished_at,
        "kept": manifest.kept,
        "rows": [manifest.rows_in, *manifest.made.values()][-1],
    }


def _side(cut: OpenedCut) -> dict[str, Any]:
    return {"cut": cut.title, "kept": cut.manifest.kept, "documents": cut.manifest.documents}


def _view(request: Request, found: CutDiff) -> dict[str, Any]:
    """What the template shows: pictures of the rows, charts with one axis for both."""
    return {
        "losses": [
            ("A", "B", found.a.title, found.only_a, _losses(request, found.a, found.lost_by_b)),
            ("B", "A", found.b.title, found.only_b, _losses(request, found.b, found.lost_by_a)),
        ],
        "scores": [_charts(score) for score in found.scores if score.kept_a or score.kept_b][:SCORES],
        "few": FEW,
        "recipes": found.recipes[:RECIPE_LINES],
        "patterns": Markup(patterns()),  # noqa: S704 ours
    }


def _losses(request: Request, kept_by: OpenedCut, lost: Sequence[Gone]) -> list[dict[str, Any]]:
    """Each place where the other cut lost rows, with cards of some."""
    shelf: Shelf = state_of(request).once(kept_by.title, "shelf", Shelf)
    found = []
    for gone in lost:
        places = [(sample.row.space, sample.row.shard, sample.row.row) for sample in gone.samples]
        cards = shelf.cards.at(places)
        values = {place: sample.value for place, sample in zip(places, gone.samples, strict=True)}
        for card in cards:
            value = values[card["space"], card["shard"], card["row"]]
            if value is not None and gone.exit is not None:
                card["values"] = {gone.exit.column: _number(value)}
        ask_ahead(request, kept_by.title, cards)
        label = gone.exit.label if gone.exit is not None else None
        found.append({"why": gone.why, "label": label, "rows": gone.rows, "cards": cards})
    return found


def _number(text: str) -> float | str:
    """A value as the ledger has it: a number where it is one."""
    try:
        return float(text)
    except ValueError:
        return text


def _charts(score: Compared) -> dict[str, Any]:
    view = score_view(score)
    charts = [{"side": side, "rows": rows, "svg": Markup(svg)} for side, svg, rows, _ in view.charts]  # noqa: S704 ours
    return {"column": view.column, "same": view.same, "charts": charts}


def diff(request: Request) -> Response:
    """`/diff?a=…&b=…`: the same, by the names of both."""
    a, b = (request.query_params.get(name, "") for name in "ab")
    if not a or not b:
        raise HTTPException(400, "Give two cuts: /diff?a=…&b=….")
    state = state_of(request)
    titles = [state.cut(name).title for name in (a, b)]
    suffix = JSON if request.url.path.endswith(JSON) else ""
    return RedirectResponse(f"/cut/{segment(titles[0])}/compare{suffix}?with={segment(titles[1])}", 303)


routes = [*page("/cut/{cut}/compare", compare_page), Route("/diff" + JSON, diff), Route("/diff", diff)]
