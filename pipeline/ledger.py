"""The ledger: for every row whether it stayed, and if not, which rule of which step it failed, on what value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..schemas.corpus import DROPPED, KEPT, StepTotals, shard_name
from .plan import KeepStep, MeasureStep, Plan
from .shard import ShardView, Walk
from .store import Written


@dataclass(kw_only=True)
class Counts:
    """What the funnel needs of one shard."""

    rows: int = 0
    kept: int = 0
    rows_in: Counter[str] = field(default_factory=Counter)
    rules: dict[str, Counter[str]] = field(default_factory=dict)  # step's label -> "column rule" -> rows dropped
    failed: Counter[str] = field(default_factory=Counter)  # step's label -> rows
    errors: Counter[str] = field(default_factory=Counter)  # class -> rows

    def __iadd__(self, other: Counts) -> Counts:
        self.rows, self.kept = self.rows + other.rows, self.kept + other.kept
        self.rows_in += other.rows_in
        self.failed += other.failed
        self.errors += other.errors
        for step, rules in other.rules.items():
            self.rules[step] = self.rules.get(step, Counter()) + rules
        return self


def count(view: ShardView, found: Walk) -> Counts:
    """The shard's share of the funnel; every row is counted as kept or dropped by exactly one rule."""
    counts = Counts(rows=view.shard.rows, kept=int(found.alive.sum()), rows_in=Counter(found.rows_in))
    steps = {step.index: step for step in view.plan.steps}
    for index, (blame, rules) in found.blames.items():
        hits = np.bincount(blame[blame >= 0], minlength=len(rules))
        named = {f"{rule.column} {rule.text}": int(hit) for rule, hit in zip(rules, hits, strict=True) if hit}
        counts.rules[steps[index].label] = Counter(named)
    failed_rows: dict[int, str] = {}
    for step in view.plan.measures:
        failed = found.failures.get(step.label)
        if failed is not None and failed.any():
            counts.failed[step.label] = int(failed.sum())
            errors = view.scores(step).errors
            failed_rows |= {row: errors.get(row, "unknown") for row in np.flatnonzero(failed).tolist()}
    counts.errors = Counter(failed_rows.values())
    dropped = sum(sum(rules.values()) for rules in counts.rules.values())
    assert counts.rows == counts.kept + dropped, "a row is neither kept nor dropped"
    return counts


def write_decision(view: ShardView, found: Walk) -> list[Written]:
    """Publish the shard's kept/ and dropped/ files; their paths are relative to the cut."""
    keys = view.column("key")
    rows = pa.array(np.arange(view.shard.rows), pa.int32())
    stays = pa.array(found.alive)
    kept = pa.table([rows.filter(stays), keys.filter(stays)], schema=KEPT)
    dropped = _dropped(view, found, rows, keys)
    written = []
    for folder, table in (("kept", kept), ("dropped", dropped)):
        path = f"{folder}/{shard_name(view.shard.id)}.parquet"
        written.append(replace(view.store.write_table(f"{view.plan.cut}/{path}", table, replace=True), path=path))
    return written


def _dropped(view: ShardView, found: Walk, rows: pa.Array, keys: pa.Array) -> pa.Table:
    parts = [DROPPED.empty_table()]
    for step in view.plan.steps:
        if not isinstance(step, KeepStep):
            continue
        blame, rules = found.blames[step.index]
        for i, rule in enumerate(rules):
            hit = pa.array(np.flatnonzero(blame == i))
            if len(hit):
                columns = [
                    *(rows.take(hit), pa.nulls(len(hit), pa.int32()), keys.take(hit)),
                    *(_same(text, len(hit)) for text in (step.label, rule.column, rule.text)),
                    _values(view, step, rule.column, hit),
                ]
                parts.append(pa.table(columns, schema=DROPPED))
    return pa.concat_tables(parts).sort_by("row")


def _same(text: str, length: int) -> pa.Array:
    return pa.repeat(pa.scalar(text, pa.string()), length)


def _values(view: ShardView, step: KeepStep, column: str, hit: pa.Array) -> pa.Array:
    """The values that failed, as text; null for the alternatives of `any`, which read several columns."""
    if column not in step.columns:
        return pa.nulls(len(hit), pa.string())
    values = view.column(view.plan.view.get(column, column)).take(hit)
    if pa.types.is_nested(values.type) or pa.types.is_binary(values.type):
        return pa.array([None if value is None else repr(value) for value in values.to_pylist()], pa.string())
    return pc.cast(values, pa.string())


def totals(plan: Plan, counts: Counts, measured: Counter[str], seconds: Mapping[str, float]) -> list[StepTotals]:
    """The funnel's lines, in the order of the recipe."""
    lines = []
    for step in plan.steps:
        rules = counts.rules.get(step.label, Counter())
        line = StepTotals(
            step=step.label,
            rows_in=counts.rows_in[step.label],
            dropped=sum(rules.values()),
            measured=measured[step.label] if isinstance(step, MeasureStep) else 0,
            failed=counts.failed[step.label],
            seconds=round(seconds.get(step.label, 0.0), 3),
            rules=dict(sorted(rules.items())),
        )
        lines.append(line)
    return lines
