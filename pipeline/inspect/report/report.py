"""report.html: one file that shows a cut, opens offline and prints; no script, nothing from elsewhere.

It is made of the cut's manifest and summary, and of the few rows that the summary names; the same cut gives the same
bytes. What it holds is bounded, so it stays below 5 MB whatever the corpus: pictures have a budget (gallery.py), and
there are at most so many bounds, examples, values and letters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from itertools import accumulate, zip_longest
from typing import Final

from jinja2 import Template
from markupsafe import Markup, escape

from ....schemas.summary import Example, Summary
from .. import serve
from ..charts.svg import patterns
from ..opened import OpenedCut, open_cut
from ..pictures.gallery import Gallery, named
from ..serve.words import environment, visible
from .bounds import BoundView, bounds_of
from .parts import (
    failures_of,
    funnel_of,
    headline,
    other_numbers,
    values_of,
)

NAME: Final = "report.html"
LIMIT_BYTES: Final = 4_800_000
BYTES_A_LETTER: Final = 3  # in UTF-8 and escaped: more than any script takes up
BOUNDS: Final = 60  # that are shown with charts and rows
EXAMPLES: Final = 500  # rows beside bounds, all in all
MOST_EXAMPLES: Final = 8  # of each kind
KEPT, DOCUMENTS, GROUPS, COPIES = 24, 6, 12, 5
RECIPE_LETTERS: Final = 60_000
STYLES: Final = ("cupel.css", "chart.css", "report.css")


def write_report(place: str, cut: str | None = None) -> str:
    """Write report.html into a cut's folder, in place of an older one; its address.

    `place` and `cut` are as open_cut has them. Raises CorpusError where there is no such cut.
    """
    opened = open_cut(place, cut)
    path = f"{opened.folder}/{NAME}"
    opened.store.write(path, render_report(opened).encode(), replace=True)
    return f"{opened.store.uri}/{path}"


@dataclass(frozen=True, kw_only=True)
class GroupView:
    """Duplicates: the one that stayed, and some of the others."""

    column: str
    keeper: str
    rows: int
    members: Sequence[Example]  # the keeper first, where it is a row of this corpus
    has_keeper: bool


def render_report(opened: OpenedCut) -> str:
    """The report as HTML."""
    summary = opened.summary or Summary(numbers=[], values=[], kept=[], dropped=[], near=[], groups=[], failures=[])
    bounds = bounds_of(opened, summary)
    shown = _with_fewer_examples(bounds[:BOUNDS])
    groups = list(_groups(summary))
    failures = failures_of(summary)
    in_documents = opened.plan.spaces[-1].nodes is not None
    documents = summary.kept[: 4 * DOCUMENTS] if in_documents else []
    kept = summary.kept[:KEPT]
    wanted: list[Sequence[Example]] = [list(_in_turns([strip.examples for strip in bound.strips])) for bound in shown]
    wanted += [kept, *(group.members for group in groups), *(failure.examples for failure in failures)]
    failing = [(example, failure.step) for failure in failures for example in failure.examples]
    gallery = Gallery(opened, list(_in_turns(wanted)), documents, failing)
    recipe = opened.store.read(f"{opened.folder}/recipe.yaml").decode("utf-8", "replace")
    page = partial(
        _template().render,
        cut=opened,
        manifest=opened.manifest,
        headline=headline(opened),
        whole=[opened.manifest.rows_in, *opened.manifest.made.values()][-1],
        failed=sum(line.failed for line in opened.manifest.steps),
        seconds=sum(line.seconds for line in opened.manifest.steps),
        has_summary=opened.summary is not None,
        gallery=gallery,
        funnel=funnel_of(opened, bounds),
        bounds=[bound for bound in shown if bound.dropped],
        idle=[bound for bound in shown if not bound.dropped],
        bounds_left_out=len(bounds) - len(shown),
        numbers=other_numbers(opened, summary, bounds),
        values=values_of(opened, summary),
        kept=kept,
        in_documents=in_documents,
        documents=_documents(gallery, documents),
        groups=groups,
        failures=failures,
        recipe=recipe,
        recipe_letters=RECIPE_LETTERS,
        style=_style(),
        patterns=Markup(patterns()),  # noqa: S704 ours, without a word from outside
    )
    gallery.hang(LIMIT_BYTES - len(page().encode()))
    return page().lstrip()


def _template() -> Template:
    """With a filter that bounds what a text takes up, whatever it is made of."""
    ours = environment().overlay()
    ours.filters = {**ours.filters, "brief": brief}
    return ours.get_template(NAME)


def brief(text: str, letters: int) -> str:
    """A text's beginning, hidden characters made visible: at most so many letters, and bytes in proportion."""
    found = visible(text[: letters + 1])
    fits = letters if len(text) > letters else len(found)
    if len(escape(found[:fits]).encode()) > letters * BYTES_A_LETTER:
        sizes = accumulate(len(escape(letter).encode()) for letter in found)
        fits = min(fits, sum(1 for size in sizes if size <= letters * BYTES_A_LETTER))
    return found if fits >= len(found) else f"{found[:fits]}…"


def _style() -> Markup:
    folder = files(serve) / "static"
    return Markup("\n".join((folder / name).read_text("utf-8") for name in STYLES))  # noqa: S704 our own files


def _with_fewer_examples(bounds: Sequence[BoundView]) -> list[BoundView]:
    """The same with so many rows beside each bound that they are not too many in all."""
    strips = sum(len(bound.strips) for bound in bounds)
    return [bound.with_examples(max(2, min(MOST_EXAMPLES, EXAMPLES // max(strips, 1)))) for bound in bounds]


def _in_turns(strips: Sequence[Sequence[Example]]) -> Iterator[Example]:
    """The first of each, then the second of each, and so on: so none is without a picture before all have some."""
    return (example for turn in zip_longest(*strips) for example in turn if example is not None)


def _groups(summary: Summary) -> Iterator[GroupView]:
    """The largest groups of all verdict columns."""
    found = [(groups, group) for groups in summary.groups for group in groups.groups]
    found.sort(key=lambda each: -each[1].rows)
    for groups, group in found[:GROUPS]:
        keeper = named(group.keeper, groups.space)
        members = [*([keeper] if keeper else []), *group.examples[:COPIES]]
        yield GroupView(
            column=groups.column, keeper=group.keeper, rows=group.rows, members=members, has_keeper=keeper is not None
        )


def _documents(gallery: Gallery, nodes: Sequence[Example]) -> list[list[Example]]:
    """Excerpts of different documents."""
    found = {(e[0].shard, e[0].row): e for node in nodes if (e := gallery.excerpt(node))}
    return list(found.values())[:DOCUMENTS]
