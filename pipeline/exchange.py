"""Barriers: hand columns of all the rows alive to a corpus operator or a ranking, and its findings back to the shards.

Each shard hands in a small file of the rows alive and the columns that the barrier reads; the barrier scans those files
in a task of its own (never on the driver) and writes one file of findings per shard below the cut's `ranks/`. Both are
written once: a killed run finds what was done.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa

from ..operators.source.base import Shard
from ..schemas.corpus import ROW, shard_name
from .keep import rank
from .plan import CorpusStep, KeepStep, Plan
from .shard import ShardView, Walk, rank_folder
from .store import Store


@dataclass(frozen=True, kw_only=True)
class Lent:
    """What a corpus operator is lent: a local folder of its own."""

    scratch: Path


def hand_in(view: ShardView, found: Walk, step: CorpusStep | KeepStep) -> None:
    """Publish what the barrier needs of this shard: shard, row, key and its columns, rows alive only."""
    alive = pa.array(found.alive)
    rows = pa.array(range(view.shard.rows), pa.int32()).filter(alive)
    columns = {"shard": pa.array([view.shard.id] * len(rows), pa.int32()), "row": rows}
    for asked, name in {"key": "key", **_reads(view.plan, step)}.items():
        columns[asked] = view.column(name).filter(alive)
    path = _handed_in(view.plan, step, view.shard.id)
    view.store.write_table(path, pa.table(columns), replace=True, durable=False)


def run_barrier(plan: Plan, store: Store, step: CorpusStep | KeepStep, shards: Sequence[Shard]) -> int:
    """Run the barrier over what the shards handed in; returns the rows it saw."""
    tables = [store.table(_handed_in(plan, step, shard.id)) for shard in shards]
    rows = pl.from_arrow(pa.concat_tables(tables)) if tables else pl.DataFrame()
    assert isinstance(rows, pl.DataFrame)
    del tables
    with tempfile.TemporaryDirectory(prefix="cupel-") as scratch:
        if isinstance(step, CorpusStep):
            found = step.operator(rows.lazy(), Lent(scratch=Path(scratch)))
        else:
            found = rank(rows.lazy(), step.keep)
    _publish(plan, store, step, shards, found)
    return rows.height


def barrier_done(plan: Plan, store: Store, step: CorpusStep | KeepStep, shards: Sequence[Shard]) -> bool:
    """Are the findings of every shard there, and whole? They are not synced: a machine that died may have cut them."""
    wanted = {_findings(plan, step, shard.id) for shard in shards}
    if not wanted <= set(store.files(f"{plan.cut}/ranks/{rank_folder(step)}")):
        return False
    try:
        for path in wanted:
            store.table(path)
    except (pa.ArrowInvalid, OSError):
        return False
    return True


def _reads(plan: Plan, step: CorpusStep | KeepStep) -> dict[str, str]:
    if isinstance(step, CorpusStep):
        return dict(step.reads)
    by = (ranked.by for _, bound in step.bounds() for ranked in (bound.top, bound.bottom) if ranked and ranked.by)
    return {name: plan.view[name] for name in (*step.columns, *by)}


def _handed_in(plan: Plan, step: CorpusStep | KeepStep, shard: int) -> str:
    return f"{plan.cut}/work/{rank_folder(step)}/{shard_name(shard)}.parquet"


def _findings(plan: Plan, step: CorpusStep | KeepStep, shard: int) -> str:
    return f"{plan.cut}/ranks/{rank_folder(step)}/{shard_name(shard)}.parquet"


def _publish(
    plan: Plan, store: Store, step: CorpusStep | KeepStep, shards: Sequence[Shard], found: pl.DataFrame
) -> None:
    """One file of findings per shard, an empty one where there are none, columns under the recipe's names."""
    if isinstance(step, CorpusStep):
        fields = [added.with_name(step.names[added.name]) for added in step.operator.adds]
        found = found.rename({old: new for old, new in step.names.items() if old != new})
    else:
        fields = [pa.field(name, pa.bool_()) for name in found.columns if name not in ("shard", "row")]
    schema = pa.schema([ROW, *fields])
    found = found.select("shard", *schema.names).sort("shard", "row")
    bounds = found.get_column("shard").search_sorted(pl.Series([*(shard.id for shard in shards), 2**31 - 1])).to_list()
    table = found.drop("shard").to_arrow().cast(schema)
    for i, shard in enumerate(shards):
        part = table.slice(bounds[i], bounds[i + 1] - bounds[i])
        store.write_table(_findings(plan, step, shard.id), part, replace=True, durable=False)
