"""Barriers: hand columns of all the rows alive to a corpus operator or a ranking, and its findings back to the shards.

Each shard hands in a small file of the rows alive and the columns that the barrier reads. Few rows are dealt with in
one task; many stay in files below the cut's `work/`, and the operator's functions run on them as tasks, part by part
(`OnWorkers`), so that no process, the driver least of all, holds more than a few parts. Findings come out as one file
per shard below `ranks/`. All of it can be made again: a killed run repeats the barrier from what was handed in.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import ray
from pydantic import TypeAdapter

from ..operators.frames import (
    PART_BYTES,
    Bag,
    ByRange,
    Exchange,
    Frames,
    Function,
    InMemory,
    Order,
    Piece,
    Split,
    bagged,
    perform,
)
from ..operators.source.base import Shard
from ..schemas.corpus import ROW, Fitted, shard_name
from .cluster import end_tasks
from .keep import adaptive_columns, columns_at_barrier, fit, rank
from .plan import CorpusStep, KeepStep, Plan
from .shard import ShardView, Walk, rank_folder
from .store import Store, open_store

BY_SHARD = Order(columns=("shard", "row"), descending=(False, False))
_FITTED = TypeAdapter(dict[str, Fitted])
_FITTED_KEY = b"fitted"  # in the metadata of a keep's findings


@dataclass(frozen=True, kw_only=True)
class FilePiece:
    """One row group of a file in the corpus folder."""

    uri: str
    path: str
    group: int
    alone: bool  # the file holds nothing else
    rows: int
    bytes: int

    def read(self) -> pl.DataFrame:
        with (
            open_store(self.uri).open(self.path) as file,
            pq.ParquetFile(file, page_checksum_verification=True) as parquet,
        ):
            frame = pl.from_arrow(parquet.read_row_group(self.group, use_threads=False))
        assert isinstance(frame, pl.DataFrame)
        return frame


class OnWorkers(Exchange):
    """Calls run as Ray tasks; what they give lies in files, a row group for each part it is split into."""

    def __init__(self, uri: str, folder: str, part_bytes: int = PART_BYTES) -> None:
        self.uri, self.folder, self.part_bytes = uri, folder, part_bytes
        self._files = itertools.count()

    def frames(self, *frames: pl.DataFrame) -> Frames:
        """Larger ones go to a file: they may be sent to many calls."""
        if sum(frame.estimated_size() for frame in frames) < 1 << 20:
            return super().frames(*frames)
        return Frames(self, [[piece] for piece in write_pieces(open_store(self.uri), self._path(), frames)])

    def discard(self, bags: Iterable[Bag]) -> None:
        """Remove files that hold nothing but these parts."""
        store = open_store(self.uri)
        for piece in (piece for bag in bags for piece in bag):
            if isinstance(piece, FilePiece) and piece.alone and piece.path.startswith(f"{self.folder}/"):
                store.delete_file(piece.path)

    def _path(self) -> str:
        return f"{self.folder}/{next(self._files):08d}.parquet"

    def run(self, function: Function, calls: Sequence[Sequence[Bag]], split: Split | None = None) -> list[list[Piece]]:
        """Raises what a call raises."""
        if not calls:
            return []
        shared = ray.put((function, split))
        limit = 2 * int(ray.cluster_resources().get("CPU", 1))  # type: ignore[no-untyped-call]
        found: dict[int, list[Piece]] = {}
        running: dict[ray.ObjectRef[list[Piece]], int] = {}
        waiting = list(reversed(list(enumerate(calls))))
        while waiting or running:
            while waiting and len(running) < limit:
                number, call = waiting.pop()
                running[_call.remote(self.uri, self._path(), shared, call)] = number
            (ref,), _ = ray.wait(list(running), num_returns=1)
            try:
                found[running.pop(ref)] = ray.get(ref)
            except ray.exceptions.RayTaskError as error:
                end_tasks(running)
                raise error.cause if isinstance(error.cause, Exception) else error from None
        return [found[number] for number in range(len(calls))]


@ray.remote(max_retries=3)
def _call(uri: str, path: str, shared: tuple[Function, Split | None], bags: Sequence[Bag]) -> list[Piece]:
    """One call of a function: the pieces of what it gives."""
    return write_pieces(open_store(uri), path, perform(shared[0], bags, shared[1]))


def write_pieces(store: Store, path: str, frames: Sequence[pl.DataFrame]) -> list[Piece]:
    """A file with a row group for each frame."""
    tables = [frame.to_arrow() for frame in frames]
    with store.writing(path, replace=True, durable=False) as file:
        options = {"compression": "lz4", "use_dictionary": False, "write_statistics": False}
        with pq.ParquetWriter(file, tables[0].schema, write_page_checksum=True, **options) as writer:
            for table in tables:
                writer.write_table(table, row_group_size=max(1, table.num_rows))
    sizes = [(table.num_rows, table.nbytes) for table in tables]
    alone = len(tables) == 1
    return [
        FilePiece(uri=store.uri, path=path, group=i, alone=alone, rows=n, bytes=b) for i, (n, b) in enumerate(sizes)
    ]


def hand_in(view: ShardView, found: Walk, step: CorpusStep | KeepStep) -> Piece:
    """Publish what the barrier needs of this shard: shard, row, key and its columns, rows alive only.

    Of documents: those with a node alive, under the row that each was made of.
    """
    if step.on_documents:
        assert view.documents is not None
        there = np.flatnonzero(view.documents.alive(found.alive))
        rows = view.documents.parents[there]
        columns = _of_documents(view, found, step, there)
    else:
        rows = np.flatnonzero(found.alive)
        columns = {asked: view.take(name, rows) for asked, name in {"key": "key", **step.reads}.items()}
    where = {"shard": pa.array([view.shard.id] * len(rows), pa.int32()), "row": pa.array(rows, pa.int32())}
    columns = where | columns
    frame = pl.from_arrow(pa.table(columns))
    assert isinstance(frame, pl.DataFrame)
    path = f"{_work(view.plan, step)}/{shard_name(view.shard.id)}.parquet"
    return write_pieces(view.store, path, [frame])[0]


def _of_documents(view: ShardView, found: Walk, step: CorpusStep | KeepStep, there: np.ndarray) -> dict[str, pa.Array]:
    """The columns that a barrier reads of some documents; `text` is that of the nodes alive."""
    assert view.documents is not None
    reads = {"key": "key", **step.reads}
    if isinstance(step, KeepStep):  # its other bounds may be about nodes
        ranked = ("key", *columns_at_barrier(step.keep))
        reads = {asked: name for asked, name in reads.items() if asked in ranked}
    columns = {}
    for asked, name in reads.items():
        if asked == "text" and isinstance(step, CorpusStep) and name in (view.space.nodes or ()):
            columns[asked] = view.documents.texts(view.column(name), found.alive).take(pa.array(there))
        else:
            columns[asked] = view.take(name, view.documents.starts[there])
    return columns


def run_barrier(
    plan: Plan,
    store: Store,
    step: CorpusStep | KeepStep,
    shards: Sequence[Shard],
    pieces: Sequence[Piece],
    part_bytes: int,
) -> None:
    """Run the barrier over what the shards handed in."""
    if not pieces:
        return
    more = step.operator.more_bytes if isinstance(step, CorpusStep) else 0
    few = more + sum(piece.bytes for piece in pieces) <= part_bytes
    folder = f"{_work(plan, step)}/exchange"
    exchange = InMemory(part_bytes) if few else OnWorkers(store.uri, folder, part_bytes)
    rows = Frames(exchange, bagged(pieces, part_bytes))
    try:
        fitted: dict[str, Fitted] = {}
        if isinstance(step, CorpusStep):
            found = step.operator(rows)
        else:
            frame = rows.collect()
            fitted = fit(frame, step.keep)
            found = rank(frame.lazy(), step.keep, fitted)
        if isinstance(found, pl.DataFrame):
            found = InMemory().frames(found)
        _publish(plan, store, step, shards, found, fitted)
    finally:
        store.delete(folder)


def fitted_in(plan: Plan, store: Store, shards: Sequence[Shard]) -> dict[str, dict[str, Fitted]]:
    """Label of a keep -> column -> what its `adaptive` has found; every shard's file says it."""
    found = {}
    for step in plan.steps:
        if isinstance(step, KeepStep) and adaptive_columns(step.keep) and shards:
            metadata = store.table(_findings(plan, step, shards[0].id), columns=[]).schema.metadata
            found[step.label] = _FITTED.validate_json(metadata[_FITTED_KEY])
    return found


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


def _work(plan: Plan, step: CorpusStep | KeepStep) -> str:
    return f"{plan.cut}/work/{rank_folder(step)}"


def _findings(plan: Plan, step: CorpusStep | KeepStep, shard: int) -> str:
    return f"{plan.cut}/ranks/{rank_folder(step)}/{shard_name(shard)}.parquet"


def _publish(
    plan: Plan,
    store: Store,
    step: CorpusStep | KeepStep,
    shards: Sequence[Shard],
    found: Frames,
    fitted: Mapping[str, Fitted],
) -> None:
    """One file of findings per shard, an empty one where there are none, columns under the recipe's names."""
    ids = [shard.id for shard in shards]
    groups = np.array_split(np.array(ids), min(len(ids), max(1, found.bytes // found.exchange.part_bytes)))
    if len(groups) == 1:
        found = Frames(found.exchange, [[piece for bag in found.bags for piece in bag]])
    else:
        bounds = pl.DataFrame({"shard": [group[0] for group in groups[1:]]}, schema={"shard": pl.Int32})
        bounds = bounds.with_columns(row=pl.lit(0, pl.Int32))
        found = found.cut(ByRange(order=BY_SHARD, bounds=bounds))
    listed = found.exchange.frames(*(pl.DataFrame({"shard": group}, schema={"shard": pl.Int32}) for group in groups))
    about = {_FITTED_KEY: _FITTED.dump_json(dict(fitted))} if fitted else None
    found.map(functools.partial(_write_findings, plan, store.uri, step, about), listed)


def _write_findings(
    plan: Plan,
    uri: str,
    step: CorpusStep | KeepStep,
    about: Mapping[bytes, bytes] | None,
    found: pl.DataFrame,
    shards: pl.DataFrame,
) -> pl.DataFrame:
    """The files of some shards, whose findings these are; gives nothing."""
    if isinstance(step, CorpusStep):
        fields = [added.with_name(step.names[added.name]) for added in step.operator.adds]
        found = found.rename({old: new for old, new in step.names.items() if old != new})
    else:
        fields = [pa.field(name, pa.bool_()) for name in found.columns if name not in ("shard", "row")]
    schema = pa.schema([ROW, *fields], metadata=about)
    found = BY_SHARD.sort(found).select("shard", *schema.names)
    ids = shards["shard"].to_list()
    bounds = found["shard"].search_sorted(pl.Series([*ids, 2**31 - 1], dtype=pl.Int32)).to_list()
    table, store = found.drop("shard").to_arrow().cast(schema), open_store(uri)
    for shard, start, stop in zip(ids, bounds, bounds[1:], strict=False):
        path = _findings(plan, step, shard)
        store.write_table(path, table.slice(start, stop - start), replace=True, durable=False)
    return pl.DataFrame()
