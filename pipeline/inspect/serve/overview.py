"""The cuts of a corpus, and a cut at a glance. Made of manifest and summary alone: no row is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup
from starlette.requests import Request

from ....schemas.summary import Groups, Numbers, Summary, Values
from ...cuts import CutEntry
from ..charts.buckets import Buckets
from ..charts.chart import Limit, histogram, strip
from ..charts.svg import patterns
from ..opened import OpenedCut
from .funnelled import Held, bounds_of, funnel_lines
from .page import Page, page, state_of

VALUES = 10  # of a column of names, most frequent first
GROUPS = 12
TELLING = 0.1  # of the rows have one of the most frequent values, or the column says little


def cuts_page(request: Request) -> Page:
    """Every finished cut, the newest first."""
    state = state_of(request)
    cuts = [_line(entry) for entry in state.cuts()]
    return Page(template="cuts.html", title="Cuts", data={"place": state.store.uri, "cuts": cuts})


def _line(entry: CutEntry) -> dict[str, Any]:
    manifest = entry.manifest
    return {
        "cut": entry.title,
        "recipe": manifest.name,
        "newest": entry.newest,
        "finished_at": manifest.finished_at,
        "rows_in": manifest.rows_in,
        "rows": [manifest.rows_in, *manifest.made.values()][-1],
        "kept": manifest.kept,
        "documents": manifest.documents,
        "complete": manifest.complete,
        "errors": sum(manifest.errors.values()),
        "steps": len(manifest.steps),
    }


def overview(request: Request) -> Page:
    """One cut: what went in, what each step dropped, what stayed, and how values are spread."""
    cut = state_of(request).cut(request.path_params["cut"])
    summary, lines = cut.summary, funnel_lines(cut)
    entry = next(entry for entry in state_of(request).cuts() if entry.title == cut.title)
    data = {
        **_line(entry),
        "made": cut.manifest.made,
        "seconds": sum(line["seconds"] for line in lines),
        "funnel": lines,
        "error_classes": cut.manifest.errors,
        "unreadable": cut.manifest.unreadable,
        "versions": cut.manifest.versions,
        "recipe_yaml": cut.store.read(f"{cut.folder}/recipe.yaml").decode(),
        "summary": summary.model_dump() if summary is not None else None,
    }
    view = {"strips": [_strip(line) for line in lines], "patterns": Markup(patterns())}  # noqa: S704 ours
    view |= _spread(cut, summary) if summary is not None else {"charts": [], "names": [], "groups": [], "failures": []}
    return Page(template="overview.html", title="Overview", data=data, view=view, cut=cut.title, tab="Overview")


def _strip(line: dict[str, Any]) -> Markup:
    """A step's bar: of all rows that came in at the top of its space, those that went on, and those that it dropped."""
    words = f"{line['step']}: {line['rows_in'] - line['dropped']:,} went on, {line['dropped']:,} dropped"
    return Markup(strip(line["rows_in"] - line["dropped"], line["dropped"], line["of"], title=words))  # noqa: S704 chart.py escapes


def _spread(cut: OpenedCut, summary: Summary) -> dict[str, Any]:
    """Charts of numbers, tables of names, groups and failures."""
    steps = {line.step: i for i, line in enumerate(cut.manifest.steps)}
    charts = [chart for numbers in summary.numbers if (chart := _chart(cut, summary, numbers)) is not None]
    return {
        "charts": sorted(charts, key=lambda chart: not chart["bounded"]),
        "names": sorted((_names(values) for values in summary.values if values.values), key=_says_little),
        "groups": [_groups(groups) for groups in summary.groups if groups.groups],
        "failures": [{**failures.model_dump(), "index": steps.get(failures.step)} for failures in summary.failures],
    }


def _chart(cut: OpenedCut, summary: Summary, numbers: Numbers) -> dict[str, Any] | None:
    """A histogram with its bounds; None where no row has a value."""
    buckets = Buckets.of(numbers)
    if buckets is None:
        return None
    held = [each for each in bounds_of(cut) if (each.space, each.column) == (numbers.space, numbers.column)]
    limits = _limits(summary, numbers, held)
    drawn = histogram(buckets, title=f"{numbers.column}: how many rows have which value", limits=limits)
    return {
        "column": numbers.column,
        "space": numbers.space,
        "step": numbers.step,
        "of_documents": numbers.of_documents,
        "nulls": numbers.nulls,
        "total": buckets.total,
        "bounded": bool(limits),
        "move": held[0].place if held else None,
        "dropped_here": sum(numbers.dropped_here),
        "svg": Markup(drawn),  # noqa: S704 chart.py escapes
    }


def _limits(summary: Summary, numbers: Numbers, held: Sequence[Held]) -> list[Limit]:
    """The bounds on a column: those that the recipe gives, and where its rankings cut."""
    cuts = {near.side: near.limit for near in summary.near if near.column == numbers.column}
    values = [(each, cuts.get(each.side) if each.side in ("top", "bottom") else each.value) for each in held]
    return [
        Limit(value=value, side=each.side, text=f"{each.side} {each.value:g}")
        for each, value in values
        if value is not None
    ]


def _names(values: Values) -> dict[str, Any]:
    """A column of names: its most frequent values, and how many rows have others."""
    shown, more = values.values[:VALUES], values.values[VALUES:]
    others = values.others + sum(value.rows for value in more)
    named = sum(value.rows for value in shown)
    return {
        "column": values.column,
        "space": values.space,
        "linked": values.made_of is None,
        "of_documents": values.of_documents,
        "values": [value.model_dump() for value in shown],
        "most": max(value.rows for value in shown),
        "others": others,
        "others_kept": values.others_kept + sum(value.kept for value in more),
        "nulls": values.nulls,
        "telling": named >= TELLING * (named + others) and shown[0].rows > 2 and len(values.values) > 1,
    }


def _says_little(names: dict[str, Any]) -> bool:
    return not names["telling"]


def _groups(groups: Groups) -> dict[str, Any]:
    return {**groups.model_dump(exclude={"groups"}), "groups": [g.model_dump() for g in groups.groups[:GROUPS]]}


routes = [*page("/", cuts_page), *page("/cut/{cut}", overview)]
