"""The ledger: for every row whether it stayed, and if not, which rule of which step it failed, on what value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..schemas.corpus import DROPPED, KEPT, PARENTS, Fitted, StepTotals, shard_name
from .children import ChildView, lineage
from .keep import Rule
from .plan import ExtractStep, KeepStep, Plan, RowStep
from .shard import ShardView, Walk
from .store import Written


@dataclass(kw_only=True)
class Counts:
    """What the funnel needs of one shard."""

    rows: int = 0
    kept: int = 0
    documents: int = 0  # of the kept rows, where they are nodes
    rows_in: Counter[str] = field(default_factory=Counter)
    documents_in: Counter[str] = field(default_factory=Counter)
    rules: dict[str, Counter[str]] = field(default_factory=dict)  # step's label -> "column rule" -> rows dropped
    made: Counter[str] = field(default_factory=Counter)  # extractor's label -> children
    childless: Counter[str] = field(default_factory=Counter)  # extractor's label -> rows without any
    failed: Counter[str] = field(default_factory=Counter)  # step's label -> rows
    errors: Counter[str] = field(default_factory=Counter)  # class -> rows

    def __iadd__(self, other: Counts) -> Counts:
        self.rows, self.kept = self.rows + other.rows, self.kept + other.kept
        self.documents += other.documents
        _add(self.rows_in, other.rows_in)
        _add(self.documents_in, other.documents_in)
        self.made += other.made
        self.childless += other.childless
        self.failed += other.failed
        self.errors += other.errors
        for step, rules in other.rules.items():
            self.rules[step] = self.rules.get(step, Counter()) + rules
        return self


def _add(counts: Counter[str], more: Counter[str]) -> None:
    """Zeros stay, as `+=` would not have them."""
    for name, number in more.items():
        counts[name] += number


def count(view: ShardView, found: Walk) -> Counts:
    """The shard's share of the funnel; every row is kept, used up by an extractor or dropped by exactly one rule."""
    line = lineage(view, found)
    counts = Counts(rows=line[0][0].shard.rows, kept=int(found.alive.sum()))
    if view.documents is not None:
        counts.documents = int(view.documents.alive(found.alive).sum())
    for rows, decision in line:
        _count_space(counts, rows, decision)
        if isinstance(rows, ChildView):
            label = rows.step.label
            counts.made[label] = rows.shard.rows
            counts.childless[label] = int((_children(rows)[rows.found.alive] == 0).sum())
    return counts


def _count_space(counts: Counts, view: ShardView, found: Walk) -> None:
    """Add what came of the rows between two extractors."""
    counts.rows_in.update(found.rows_in)
    counts.documents_in.update(found.documents_in)
    dropped = 0
    for index, (blame, rules) in found.blames.items():
        hits = np.bincount(blame[blame >= 0], minlength=len(rules))
        named = {f"{rule.column} {rule.text}": int(hit) for rule, hit in zip(rules, hits, strict=True) if hit}
        counts.rules[view.plan.steps[index].label] = Counter(named)
        dropped += int(hits.sum())
    assert view.shard.rows == int(found.alive.sum()) + dropped, "a row is neither alive nor dropped"
    failed_rows: dict[int, str] = {}
    for step in view.steps():
        failed = found.failures.get(step.label)
        if isinstance(step, RowStep) and failed is not None and failed.any():
            counts.failed[step.label] = int(failed.sum())
            errors = view.scores(step).errors
            failed_rows |= {row: errors.get(row, "unknown") for row in np.flatnonzero(failed).tolist()}
    counts.errors.update(failed_rows.values())


def _children(view: ChildView) -> np.ndarray:
    """How many children each of the parents has."""
    return np.bincount(view.owners, minlength=view.parents.shard.rows)


def write_decision(view: ShardView, found: Walk) -> list[Written]:
    """Publish the shard's kept/, dropped/ and, after extractors, parents/; paths are relative to the cut."""
    line = lineage(view, found)
    tables = {
        "kept": pa.table(_identity(view, np.flatnonzero(found.alive)), schema=KEPT),
        "dropped": pa.concat_tables([_dropped(rows, decision) for rows, decision in line]),
    }
    if len(line) > 1:
        tables["parents"] = pa.concat_tables([_used_up(rows) for rows, _ in line if isinstance(rows, ChildView)])
    written = []
    for folder, table in tables.items():
        path = f"{folder}/{shard_name(view.shard.id)}.parquet"
        written.append(replace(view.store.write_table(f"{view.plan.cut}/{path}", table, replace=True), path=path))
    return written


def _identity(view: ShardView, rows: np.ndarray) -> dict[str, pa.Array]:
    """row, key and parent of some rows."""
    take = pa.array(rows)
    columns = {
        "row": pa.array(rows, pa.int32()),
        "key": view.column("key").take(take),
        "parent": view.origin.take(take),
    }
    return {name: columns[name] for name in KEPT.names}


def _dropped(view: ShardView, found: Walk) -> pa.Table:
    """Rows that rules dropped, sorted."""
    parts = [DROPPED.empty_table()]
    for step in view.steps():
        if not isinstance(step, KeepStep):
            continue
        blame, rules = found.blames[step.index]
        for i, rule in enumerate(rules):
            hit = np.flatnonzero(blame == i)
            if len(hit):
                why = zip(("dropped_by", "column", "rule"), (step.label, rule.column, rule.text), strict=True)
                columns = {
                    **_identity(view, hit),
                    "node": _nodes(view, step, rule, hit),
                    **{name: _same(text, len(hit)) for name, text in why},
                    "value": _values(view, step, rule.column, pa.array(hit)),
                }
                parts.append(pa.table(columns, schema=DROPPED))
    return pa.concat_tables(parts).sort_by("row")


def _nodes(view: ShardView, step: KeepStep, rule: Rule, hit: np.ndarray) -> pa.Array:
    """Which nodes of their documents they are; null where a rule drops whole documents, and for rows that are none."""
    if view.documents is None or view.space.nodes is None:
        return pa.nulls(len(hit), pa.int32())
    named = [rule.column] if rule.column in step.reads else step.columns  # the alternatives of `any` are one rule
    if step.keep.on == "document" or not any(step.reads[column] in view.space.nodes for column in named):
        return pa.nulls(len(hit), pa.int32())
    return pa.array(hit - view.documents.starts[view.documents.of[hit]], pa.int32())


def _used_up(view: ChildView) -> pa.Table:
    """The parents of these rows and those that were as much alive, but have no child."""
    rows = np.flatnonzero(view.found.alive)
    columns = {
        **_identity(view.parents, rows),
        "extracted_by": _same(view.step.label, len(rows)),
        "state": view.parents.scores(view.step).states.take(pa.array(rows)),
        "children": pa.array(_children(view)[rows], pa.int32()),
    }
    return pa.table(columns, schema=PARENTS)


def _same(text: str, length: int) -> pa.Array:
    return pa.repeat(pa.scalar(text, pa.string()), length)


def _values(view: ShardView, step: KeepStep, column: str, hit: pa.Array) -> pa.Array:
    """The values that failed, as text; null for the alternatives of `any`, which read several columns."""
    if column not in step.columns:
        return pa.nulls(len(hit), pa.string())
    values = view.column(step.reads[column]).take(hit)
    if pa.types.is_nested(values.type) or pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type):
        return pa.array([None if value is None else repr(value) for value in values.to_pylist()], pa.string())
    return pc.cast(values, pa.string())


def totals(
    plan: Plan,
    counts: Counts,
    measured: Counter[str],
    seconds: Mapping[str, float],
    fitted: Mapping[str, dict[str, Fitted]],
) -> list[StepTotals]:
    """The funnel's lines, in the order of the recipe."""
    lines = []
    for step in plan.steps:
        rules = counts.rules.get(step.label, Counter())
        line = StepTotals(
            step=step.label,
            fingerprint=None if isinstance(step, KeepStep) else step.fingerprint,
            rows_in=counts.rows_in[step.label],
            documents_in=counts.documents_in.get(step.label),
            dropped=sum(rules.values()),
            made=counts.made[step.label] if isinstance(step, ExtractStep) else None,
            childless=counts.childless[step.label],
            measured=measured[step.label] if isinstance(step, RowStep) else 0,
            failed=counts.failed[step.label],
            seconds=round(seconds.get(step.label, 0.0), 3),
            rules=dict(sorted(rules.items())),
            fitted=fitted.get(step.label, {}),
        )
        lines.append(line)
    return lines
