"""`summary.json`: each shard is summarised by the worker that decides it; the driver adds up, and tells it.

Nothing is read but columns: those that steps have added, those that rules bound, and addresses.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Final

import numpy as np

from ...schemas.corpus import Manifest, StepTotals
from ...schemas.recipe import Ranked
from ...schemas.summary import (
    Dropped,
    Failures,
    Groups,
    Near,
    Numbers,
    Summary,
    Values,
)
from ..children import lineage
from ..plan import Plan, RowStep
from ..shard import ShardView, Walk
from ..store import Store, Written
from .decided import DROPPED_EXAMPLES, NEAR_EXAMPLES, Decided
from .frequent import Frequent
from .grouped import Grouped
from .outline import BoundAt, Column, Outline, RuleAt
from .picks import Picks
from .sketch import Beside, Drawn, Sketch
from .spread import Spread

FILE: Final = "summary.json"  # in a cut's folder
SAMPLED_SHARDS: Final = 24  # whose rows are examples before those of others
KEPT_EXAMPLES: Final = 24


def sampled_places(shards: int) -> set[int]:
    """Which of so many shards are sampled: a few, spread evenly, so that whoever shows examples opens few files."""
    return set(np.linspace(0, shards - 1, min(shards, SAMPLED_SHARDS)).round().astype(int).tolist())


def summarise(outline: Outline, view: ShardView, found: Walk, *, sampled: bool) -> Sketch:
    """The summary of one shard, by the decision on its rows."""
    line = list(enumerate(lineage(view, found)))
    for space, (rows, _) in line:
        rows.read(["key", *outline.first_columns(space)])  # the ledger reads keys: in one pass with the others
    spaces = [Decided(outline, space, *pair, sampled=sampled) for space, pair in line]
    kept = np.flatnonzero(found.alive)
    return Sketch(
        kept=Drawn(rows=len(kept), picks=spaces[-1].picks(kept, KEPT_EXAMPLES)),
        numbers=tuple(spaces[column.space].spread(column) for column in outline.numbers),
        names=tuple(spaces[column.space].names(column) for column in outline.names),
        sites=tuple(spaces[column.space].sites(column) for column in outline.sites),
        groups=tuple(spaces[column.space].groups(column) for column in outline.groups),
        dropped=tuple(spaces[rule.space].dropped(rule) for rule in outline.rules),
        near=tuple(spaces[bound.space].near(bound) for bound in outline.bounds),
        failures=tuple(spaces[space].failures(step) for space, step in outline.failing),
    )


def nothing(outline: Outline) -> Sketch:
    """The summary of no shard."""
    beside = Beside(below=Picks(most=NEAR_EXAMPLES), above=Picks(most=NEAR_EXAMPLES))
    return Sketch(
        kept=Drawn(picks=Picks(most=KEPT_EXAMPLES)),
        numbers=tuple(Spread() for _ in outline.numbers),
        names=tuple(Frequent() for _ in outline.names),
        sites=tuple(Frequent() for _ in outline.sites),
        groups=tuple(Grouped() for _ in outline.groups),
        dropped=tuple(Drawn(picks=Picks(most=DROPPED_EXAMPLES)) for _ in outline.rules),
        near=tuple(beside for _ in outline.bounds),
        failures=tuple(Frequent() for _ in outline.failing),
    )


def write_summary(store: Store, plan: Plan, sketch: Sketch | None) -> Written:
    """Publish the summary of all shards; None: there was none that could be read."""
    outline = Outline(plan)
    data = told(outline, sketch or nothing(outline)).model_dump_json().encode()
    store.write(f"{plan.cut}/{FILE}", data, replace=True)
    return Written(path=FILE, rows=0, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


# Telling


def told(outline: Outline, sketch: Sketch) -> Summary:
    """The summary of all shards, as it is written."""
    names = zip((*outline.names, *outline.sites), (*sketch.names, *sketch.sites), strict=True)
    failures = zip(outline.failing, sketch.failures, strict=True)
    return Summary(
        rows_kept=sketch.kept.rows,
        numbers=[_numbers(*pair) for pair in zip(outline.numbers, sketch.numbers, strict=True)],
        values=[_values(*pair) for pair in names],
        kept=sketch.kept.picks.shown(len(outline.plan.spaces) - 1),
        dropped=[_dropped(*pair) for pair in zip(outline.rules, sketch.dropped, strict=True)],
        near=[_near(*pair) for pair in zip(outline.bounds, sketch.near, strict=True)],
        groups=[_groups(*pair) for pair in zip(outline.groups, sketch.groups, strict=True)],
        failures=[_failures(*at, found) for at, found in failures if found.rows],
    )


def _numbers(column: Column, spread: Spread) -> Numbers:
    edges, ends, counts = spread.shown()
    kept, here, elsewhere = counts.T.tolist()
    return Numbers(
        column=column.name,
        space=column.space,
        step=column.step,
        of_documents=column.of_documents,
        whole=column.is_whole,
        edges=edges.tolist(),
        ends=ends.tolist(),
        kept=kept,
        dropped_here=here,
        dropped=elsewhere,
        nulls=spread.nulls,
        infinite=spread.infinite,
        least=spread.least,
        most=spread.most,
    )


def _values(column: Column, found: Frequent) -> Values:
    values, others, others_kept = found.shown()
    return Values(
        column=column.name,
        space=column.space,
        step=column.step,
        of_documents=column.of_documents,
        made_of=column.read if column.read != column.name else None,
        values=values,
        others=others,
        others_kept=others_kept,
        nulls=found.nulls,
    )


def _dropped(at: RuleAt, drawn: Drawn) -> Dropped:
    return Dropped(
        step=at.step.index,
        label=at.step.label,
        column=at.rule.column,
        rule=at.rule.text,
        rows=drawn.rows,
        examples=drawn.picks.shown(at.space),
    )


def _near(at: BoundAt, beside: Beside) -> Near:
    limit = float(at.limit) if isinstance(at.limit, float | int) else None
    if limit is None and beside.selected is not None and not (isinstance(at.limit, Ranked) and at.limit.by):
        limit = beside.selected[1 if at.side == "bottom" else 0]
    return Near(
        step=at.step.index,
        label=at.step.label,
        column=at.column,
        side=at.side,
        option=at.option,
        limit=limit,
        below=beside.below.nearest(at.space),
        above=beside.above.nearest(at.space),
    )


def _groups(column: Column, found: Grouped) -> Groups:
    assert column.step is not None
    return Groups(column=column.name, space=column.space, step=column.step, groups=found.shown(column.space))


def _failures(space: int, step: RowStep, found: Frequent) -> Failures:
    classes = sorted(found.values, key=lambda kind: (-found.values[kind].rows, kind))
    return Failures(
        step=step.label,
        space=space,
        errors={kind: found.values[kind].rows for kind in classes},
        examples={kind: found.picks[kind].shown(space) for kind in classes},
    )


# Checking


def disagreement(summary: Summary, manifest: Manifest) -> str:
    """What a summary counts otherwise than the manifest of its cut does; empty where they agree."""
    if summary.rows_kept != manifest.kept:
        return f"counts {summary.rows_kept} rows kept; the manifest {manifest.kept}"
    steps = {line.step: line for line in manifest.steps}
    dropped = Counter[tuple[str, str]]()
    for bound in summary.dropped:
        dropped[bound.label, f"{bound.column} {bound.rule}"] += bound.rows
    counted = Counter({(line.step, rule): rows for line in manifest.steps for rule, rows in line.rules.items()})
    if dropped != counted:
        label, rule = next(key for key in dropped | counted if dropped[key] != counted[key])
        return f"counts {dropped[label, rule]} rows dropped by {label}: {rule}; the manifest {counted[label, rule]}"
    columns: list[Numbers | Values] = [*summary.numbers, *summary.values]
    for column in columns:
        line = steps.get(column.step or "")
        if line is not None and (rows := _rows(column)) != (expected := _expected(column, line)):
            return f"counts {column.column} of {rows} rows; the manifest says that there were {expected}"
    failed = {failures.step: sum(failures.errors.values()) for failures in summary.failures}
    if failed != {line.step: line.failed for line in manifest.steps if line.failed}:
        return "counts other failures than the manifest"
    return ""


def _rows(column: Numbers | Values) -> int:
    """The rows, or documents, that a column is told of."""
    if isinstance(column, Values):
        return sum(value.rows for value in column.values) + column.others + column.nulls
    return sum(map(sum, (column.kept, column.dropped_here, column.dropped))) + column.nulls + column.infinite


def _expected(column: Numbers | Values, line: StepTotals) -> int | None:
    if line.made is not None and column.step is not None:
        return line.made
    return line.documents_in if column.of_documents else line.rows_in
