"""Rows to look at: some that stayed, some that each rule dropped, and those next to each bound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request

from ....schemas.summary import Dropped, Example, Groups, Near, Summary
from ...plan import KeepStep
from .browse import Shelf, ask_ahead, shelf
from .cards import SHOWN_VALUES, bounded_columns
from .document import Fate, index_of, listed
from .page import Page, page
from .query import SHUFFLED, Query
from .selection import in_random_order, is_of_documents, place_named

GLANCE = 6  # of those that stayed, and of those that went, on the overview
MOST = 12  # of what stayed
GROUPS = 4  # of a column


def samples_page(request: Request) -> Page:
    """What the summary drew; of a cut without one, rows by chance."""
    found = shelf(request)
    summary = found.rows.cut.summary
    kept, dropped = _glance(found, summary)
    data: dict[str, Any] = {
        "kept": kept,
        "dropped": dropped,
        "rules": [_of_rule(found, i, each) for i, each in enumerate(summary.dropped) if each.rows] if summary else [],
        "near": [_of_bound(found, near) for near in summary.near if near.below or near.above] if summary else [],
    }
    data["documents"] = _documents(request, found) if found.rows.last.document is not None else None
    groups = [_of_groups(found, each) for each in summary.groups if each.groups] if summary else []
    data["groups"] = groups
    cut = found.rows.cut.title
    ask_ahead(request, cut, kept + dropped)
    return Page(template="samples.html", title="Samples", data=data, view={"most": GLANCE}, cut=cut, tab="Samples")


def _glance(found: Shelf, summary: Summary | None) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Cards of rows that stayed and of rows that went, with values of columns that rules read."""
    last = len(found.rows.spaces) - 1
    show = bounded_columns(found.rows, last)[:SHOWN_VALUES]
    if summary is None:
        chosen = {fate: found.select(Query(space=last, fate=fate, sort=SHUFFLED)) for fate in ("kept", "dropped")}
        kept, dropped = (found.cards.of(last, rows[:MOST].tolist(), show) for rows in chosen.values())
        return kept, dropped
    kept_first = found.cards.at(_places(summary.kept[:MOST]), show)
    rules = sorted((each for each in summary.dropped if each.examples), key=lambda each: -each.rows)
    return kept_first, found.cards.at(_in_turn([each.examples for each in rules], MOST))


def _documents(request: Request, found: Shelf) -> dict[str, list[dict[str, Any]]]:
    """Documents of which something stayed, and such as went whole, by chance."""
    index = index_of(request)
    fates: tuple[Fate, ...] = ("kept", "dropped")
    chosen = {fate: in_random_order(index.chosen(fate))[:GLANCE] for fate in fates}
    return {fate: listed(found, index, documents) for fate, documents in chosen.items()}


def _in_turn(lists: Sequence[Sequence[Example]], most: int) -> list[tuple[int, int, int]]:
    """The first of each, the second of each, and so on."""
    longest = max(map(len, lists), default=0)
    found = [examples[i] for i in range(longest) for examples in lists if i < len(examples)]
    return _places(found[:most])


def _places(examples: Sequence[Example]) -> list[tuple[int, int, int]]:
    return [(example.space, example.shard, example.row) for example in examples]


def _of_rule(found: Shelf, index: int, each: Dropped) -> dict[str, Any]:
    about = {"rule": index, "label": each.label, "column": each.column, "text": each.rule, "rows": each.rows}
    return {**about, "space": found.rows.rules[index].space, "cards": found.cards.at(_places(each.examples))}


def _of_bound(found: Shelf, near: Near) -> dict[str, Any]:
    """The rows next to a bound, with the value that it asks for."""
    step = found.rows.cut.plan.steps[near.step]
    assert isinstance(step, KeepStep)
    show = [step.reads[near.column]]
    below, above = (found.cards.at(_places(examples), show) for examples in (near.below, near.above))
    inside, outside = (above, below) if near.side in ("min", "top", "adaptive") else (below, above)
    about = {"step": near.step, "label": near.label, "column": near.column, "side": near.side, "limit": near.limit}
    return {**about, "option": near.option, "inside": inside, "outside": outside}


def _of_groups(found: Shelf, groups: Groups) -> dict[str, Any]:
    """The largest groups of duplicates: who stays for the others, and some of those."""
    space = found.rows.spaces[groups.space]
    above = is_of_documents(space, groups.column)
    about = {"column": groups.column, "space": groups.space, "step": groups.step}
    shown = []
    for group in groups.groups[:GROUPS]:
        place = place_named(group.keeper)
        keeper = [(groups.space - above, *place)] if place is not None else []
        cards = found.cards.at([*keeper, *_places(group.examples[:GLANCE])])
        shown.append({"keeper": group.keeper, "rows": group.rows, "cards": cards})
    return {**about, "groups": shown}


routes = page("/cut/{cut}/samples", samples_page)
