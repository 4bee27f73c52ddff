"""What a report says besides the bounds: the headline, the funnel, values, errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from ....schemas.fields import describe
from ....schemas.summary import (
    Example,
    Failures,
    Summary,
    Values,
)
from ..charts.buckets import Buckets
from ..charts.chart import (
    Bar,
    bars,
    histogram,
    strip,
)
from ..opened import OpenedCut
from ..serve.funnelled import funnel_lines
from ..serve.words import share
from .bounds import BoundView

NUMBERS: Final = 40  # columns
VALUES: Final = 24  # columns,
VALUES_SHOWN: Final = 12  # and of each its most frequent
ERRORS: Final = 30  # classes,
EXAMPLES: Final = 6  # and rows of each
REASONS: Final = 3  # in the headline


def headline(cut: OpenedCut) -> str:
    """What came of it, in a sentence or two."""
    manifest = cut.manifest
    made = "".join(f", {rows:,} made of them by {step}" for step, rows in manifest.made.items())
    whole = [manifest.rows_in, *manifest.made.values()][-1]
    part = f" ({share(manifest.kept, whole)})" if whole else ""
    documents = f" in {manifest.documents:,} documents" if manifest.documents is not None else ""
    first = f"{manifest.rows_in:,} rows in{made}: {manifest.kept:,} kept{part}{documents}."
    rules = [(rows, rule) for line in manifest.steps for rule, rows in line.rules.items() if rows]
    if not rules:
        return f"{first} No rule dropped any."
    rules.sort(key=lambda each: -each[0])
    told = ", ".join(f"{rule[:100]} ({rows:,})" for rows, rule in rules[:REASONS])
    return f"{first} What dropped most: {told}."


def funnel_of(cut: OpenedCut, bounds: Sequence[BoundView]) -> list[tuple[dict[str, Any], str]]:
    """A line for each step, and its bar; of each rule where it is shown (`anchor`)."""
    anchors = {(bound.step, column): bound.anchor for bound in bounds for column in bound.names}
    found = []
    for line in funnel_lines(cut):
        words = f"{line['step']}: {line['rows_in']:,} in, {line['dropped']:,} dropped"
        bar = strip(line["rows_in"] - line["dropped"], line["dropped"], line["of"], title=words)
        rules = [{**rule, "anchor": anchors.get((line["index"], rule["column"]))} for rule in line["rules"]]
        found.append(({**line, "rules": rules}, bar))
    return found


@dataclass(frozen=True, kw_only=True)
class ColumnView:
    """A column with its chart."""

    name: str
    doc: str
    chart: str  # SVG
    note: str


def other_numbers(cut: OpenedCut, summary: Summary, bounds: Sequence[BoundView]) -> list[ColumnView]:
    """Numeric columns that no bound is on."""
    bound = {(b.space, name) for b in bounds for name in b.columns}
    found = []
    for numbers in summary.numbers:
        buckets = Buckets.of(numbers) if (numbers.space, numbers.column) not in bound else None
        if buckets is None:
            continue
        about = _about(cut, numbers.space, numbers.column)
        chart = histogram(buckets, title=f"How {numbers.column} is spread", unit=about["unit"])
        note = f"{numbers.nulls:,} without a value" if numbers.nulls else ""
        found.append(ColumnView(name=numbers.column, doc=about["doc"], chart=chart, note=note))
    return found[:NUMBERS]


def values_of(cut: OpenedCut, summary: Summary) -> list[ColumnView]:
    """Columns of names: languages, sites, formats and the like."""
    return [_of_values(cut, values) for values in summary.values if values.values][:VALUES]


def _of_values(cut: OpenedCut, values: Values) -> ColumnView:
    name = f"site of {values.made_of}" if values.made_of else values.column
    items = [Bar(label=v.value, kept=v.kept, dropped=v.rows - v.kept) for v in values.values[:VALUES_SHOWN]]
    rest = values.values[VALUES_SHOWN:]
    others, kept = values.others + sum(v.rows for v in rest), values.others_kept + sum(v.kept for v in rest)
    items += [Bar(label="others", kept=kept, dropped=others - kept)] if others else []
    note = f"{values.nulls:,} without a value" if values.nulls else ""
    doc = "registered domain" if values.made_of else _about(cut, values.space, values.column)["doc"]
    return ColumnView(name=name, doc=doc, chart=bars(items, title=f"The most frequent values of {name}"), note=note)


def _about(cut: OpenedCut, space: int, column: str) -> dict[str, str]:
    found = cut.plan.spaces[space]
    known = found.fields.get(column) or (found.schema.field(column) if column in found.schema.names else None)
    return describe(known) if known is not None else {"doc": "", "unit": ""}


@dataclass(frozen=True, kw_only=True)
class FailureView:
    """Rows on which a step failed with one class of error."""

    step: str
    error: str
    rows: int
    examples: Sequence[Example]


def failures_of(summary: Summary) -> list[FailureView]:
    """Classes of errors by step, the most frequent first."""
    found = [_failure(each, error, rows) for each in summary.failures for error, rows in each.errors.items()]
    return sorted(found, key=lambda view: (-view.rows, view.step, view.error))[:ERRORS]


def _failure(each: Failures, error: str, rows: int) -> FailureView:
    return FailureView(step=each.step, error=error, rows=rows, examples=each.examples.get(error, [])[:EXAMPLES])
