"""Write the curated shards: consecutive kept rows, images and scores, in deterministic order and bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from ..operators.decode import RowError
from ..operators.image.size import Size
from ..operators.source.base import Piece, Rows, Shard, ShardError, Source
from ..operators.source.images import PieceImages
from ..schemas.corpus import shard_name
from .children import ChildView
from .lines import LineImages
from .measure import Rereadable
from .plan import MeasureStep, Plan, RowStep, Space
from .read import with_members
from .row_groups import ROW_BYTES, RowGroups, lengths
from .shard import Job, ShardView, walk
from .store import Store, Written, sha256

LOAD_ROWS = 64  # images fetched at a time


@dataclass(frozen=True, kw_only=True)
class Run:
    """Kept rows [start, stop) of one shard, counted among its kept rows; documents, where the rows are their nodes."""

    shard: int
    start: int
    stop: int


def kept_sizes(plan: Plan, store: Store, source: Source, shard: Shard) -> np.ndarray:
    """Bytes (int64) of each kept row of a shard, image and text; of each document, where the rows are their nodes.

    Images are read only where nobody knows the size.
    """
    space = plan.spaces[-1]
    wanted = [name for name in ("text",) if space.view.get(name) in space.schema.names]
    sizes, documents = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for view, rows, chosen in _kept_batches(plan, store, source, shard, wanted):
        sizes.append(_weights(view, rows, chosen))
        if view.documents is not None:
            documents.append(view.documents.of[rows.first + chosen])
    if space.nodes is None:
        return np.concatenate(sizes)
    _, of = np.unique(np.concatenate(documents), return_inverse=True)
    return np.bincount(of, np.concatenate(sizes)).astype(np.int64)


def pack(sizes: Iterator[tuple[int, np.ndarray]], shard_rows: int, shard_bytes: int) -> Iterator[list[Run]]:
    """Files as runs of kept rows: each up to `shard_rows` rows or `shard_bytes` bytes, at least one row."""
    runs: list[Run] = []
    rows = held = 0
    for shard, row_bytes in sizes:
        start = 0
        for i, size in enumerate(row_bytes.tolist()):
            if rows and (rows == shard_rows or held + size > shard_bytes):
                if i > start:
                    runs.append(Run(shard=shard, start=start, stop=i))
                yield runs
                runs, rows, held, start = [], 0, 0, i
            rows, held = rows + 1, held + size
        if len(row_bytes) > start:
            runs.append(Run(shard=shard, start=start, stop=len(row_bytes)))
    if runs:
        yield runs


def write_file(
    plan: Plan, store: Store, source: Source, shards: dict[int, Shard], runs: Sequence[Run], number: int
) -> Written:
    """Write curated/NUMBER.parquet with the kept rows of these runs."""
    path = f"curated/{shard_name(number)}.parquet"
    space = plan.spaces[-1]
    with store.writing(f"{plan.cut}/{path}", replace=True) as file:
        with RowGroups(file, space.written, plan.recipe.write.row_group_mb << 20) as groups:
            for run in runs:
                for table in _rows(plan, store, source, shards[run.shard], run):
                    groups.add(table)
        return Written(path=path, rows=groups.rows, bytes=file.stat().st_size, sha256=sha256(file))


def _rows(plan: Plan, store: Store, source: Source, shard: Shard, run: Run) -> Iterator[pa.Table]:
    """A run of kept rows as they are written, some at a time."""
    space = plan.spaces[-1]
    wanted = [name for name in space.schema.names if name != "image"]
    nested = Nested(space)
    for view, rows, chosen in _kept_batches(plan, store, source, shard, wanted, run):
        for some, table in _whole_rows(view, rows, chosen):
            if view.documents is None:
                yield table
            else:
                yield from nested.add(view.documents.of[rows.first + some], table)
    yield from nested.rest()


class Nested:
    """Puts nodes that come in order back under their documents."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self._documents = np.zeros(0, np.int64)
        self._tables: list[pa.Table] = []

    def add(self, documents: np.ndarray, nodes: pa.Table) -> Iterator[pa.Table]:
        """More nodes, and whose they are; gives the documents that are whole by now."""
        self._documents = np.concatenate([self._documents, documents])
        self._tables.append(nodes)
        whole = int(np.searchsorted(self._documents, self._documents[-1]))
        if whole:
            yield from self._nested(whole)

    def rest(self) -> Iterator[pa.Table]:
        """The last document."""
        yield from self._nested(len(self._documents)) if self._tables else ()

    def _nested(self, count: int) -> Iterator[pa.Table]:
        """The documents of the first `count` nodes."""
        table = pa.concat_tables(self._tables)
        flat = table.slice(0, count).combine_chunks()
        _, starts = np.unique(self._documents[:count], return_index=True)
        self._tables, self._documents = [table.slice(count)], self._documents[count:]
        of_node = self.space.written.field("nodes").type.value_type
        nodes = pa.StructArray.from_arrays([_whole(flat.column(f.name)) for f in of_node], fields=list(of_node))
        lists = pa.ListArray.from_arrays(pa.array(np.append(starts, count), pa.int32()), nodes)
        columns = [c.name for c in self.space.written if c.name != "nodes"]
        first = flat.select(columns).take(pa.array(starts))
        yield pa.table([*first.columns, lists], schema=self.space.written)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


# Reading the kept rows


def _kept_batches(
    plan: Plan, store: Store, source: Source, shard: Shard, columns: Sequence[str], run: Run | None = None
) -> Iterator[tuple[ShardView, Rows, np.ndarray]]:
    """(shard, batch of its rows, kept rows in it) of a shard or of a run of its kept rows."""
    kept = store.table(f"{plan.cut}/kept/{shard_name(shard.id)}.parquet", ["row"]).column("row").to_numpy()
    if not len(kept):
        return
    view = ShardView(plan, store, source, Job(shard=with_members(store, shard), until=len(plan.steps)))
    while view.space is not plan.spaces[-1]:
        view = ChildView(view, walk(view, len(plan.steps)))
    if run is not None and view.documents is not None:
        _, nth = np.unique(view.documents.of[kept], return_inverse=True)
        kept = kept[(nth >= run.start) & (nth < run.stop)]
    elif run is not None:
        kept = kept[run.start : run.stop]
    for rows in view.rows(columns):
        begin, end = np.searchsorted(kept, [rows.first, rows.first + len(rows.slots)])
        if begin < end:
            yield view, rows, kept[begin:end] - rows.first
        if end == len(kept):
            return


def _whole_rows(view: ShardView, rows: Rows, chosen: np.ndarray) -> Iterator[tuple[np.ndarray, pa.Table]]:
    """Chosen rows of a batch with all their columns, images fetched some at a time."""
    rows = replace(rows, images=Rereadable(rows.images))
    versions = {column: view.space.view.get(column.name, column.name) for column in view.space.columns}
    fetched = [column for column, name in versions.items() if name == "image" and view.space.has_images]
    brought = {
        column.name: name for column, name in versions.items() if column not in fetched and _is_brought(view, name)
    }
    apart = {column.name for column in fetched} | set(brought)
    known = {c.name: _column(view, rows, chosen, name) for c, name in versions.items() if c.name not in apart}
    for start in range(0, len(chosen), LOAD_ROWS):
        columns = {name: column.slice(start, LOAD_ROWS) for name, column in known.items()}
        some = chosen[start : start + LOAD_ROWS]
        for column in fetched:
            columns[column.name] = pa.array(_images(view, rows, some), column.type)
        columns |= {name: view.take(version, some + rows.first) for name, version in brought.items()}
        yield some, pa.table([columns[column.name] for column in versions], names=[column.name for column in versions])


def _is_brought(view: ShardView, name: str) -> bool:
    """Is it bytes that a step has brought, to be read some at a time?"""
    return name not in view.space.schema.names and view.sizes(name) is not None


def _column(view: ShardView, rows: Rows, chosen: np.ndarray, name: str) -> pa.Array:
    if name in rows.table.column_names:
        return rows.table.column(name).combine_chunks().take(pa.array(chosen))
    return view.take(name, chosen + rows.first)


def _images(view: ShardView, rows: Rows, some: np.ndarray) -> list[bytes | None]:
    """The images of these rows; one that could never be read is null (the ledger has its error where it was measured).

    OSError for a fault that may pass, ShardError where a step could read it: a shard that is tried again, or a run that
    stops, is better than an image that is missing without a word.
    """
    slots = rows.slots[some]
    distinct = np.unique(slots[slots >= 0]).tolist()
    images = dict(zip(distinct, rows.images.load(distinct), strict=True))
    found: list[bytes | None] = []
    for row, slot in zip(some.tolist(), slots.tolist(), strict=True):
        image = images.get(slot)
        if isinstance(image, RowError):
            _refuse_loss(view, row + rows.first, image)
            image = None
        found.append(image)
    return found


def _refuse_loss(view: ShardView, row: int, error: RowError) -> None:
    if error.transient:
        raise OSError(error.message)
    for step in view.steps():
        if isinstance(step, RowStep) and step.reads_image:
            scores = view.scores(step)
            if scores.known[row] and not scores.failed[row]:
                raise ShardError(f"{error.message}: it was there when {step.label} measured it")
    if isinstance(view, ChildView) and view.inherits_image:
        _refuse_loss(view.parents, int(view.owners[row]), error)


# Weighing


def _weights(view: ShardView, rows: Rows, chosen: np.ndarray) -> np.ndarray:
    """Bytes of each chosen row of a batch."""
    total = np.full(len(chosen), ROW_BYTES, np.int64)
    if "text" in view.space.view:
        total += lengths(_column(view, rows, chosen, view.space.view["text"]))
    for name in view.space.fields:
        sizes = view.sizes(name) if name != "image" else None
        total += 0 if sizes is None else np.maximum(sizes[rows.first + chosen], 0)
    image = view.space.view.get("image")
    if image == "image" and view.space.has_images:
        total += _image_bytes(view, rows, chosen)
    elif image is not None:
        total += lengths(_column(view, rows, chosen, image))
    return total


def _image_bytes(view: ShardView, rows: Rows, chosen: np.ndarray) -> np.ndarray:
    """Lengths of the chosen rows' images: as it is known where they lie, as image.size measured, or else by reading."""
    slots = rows.slots[chosen]
    sizes = np.where(slots < 0, 0, -1)
    if isinstance(rows.images, PieceImages):
        pieces = (rows.images.pieces[slot] if slot >= 0 else None for slot in slots.tolist())
        known = [piece.size if isinstance(piece, Piece) else 0 for piece in pieces]
        sizes = np.array([-1 if size is None else size for size in known], np.int64)
    if isinstance(rows.images, LineImages):
        sizes = rows.images.sizes(slots)
    for column in _measured_sizes(view):
        sizes = np.where(sizes < 0, column[chosen + rows.first], sizes)
    unknown = np.flatnonzero(sizes < 0)
    rows = replace(rows, images=Rereadable(rows.images))
    for start in range(0, len(unknown), LOAD_ROWS):
        some = unknown[start : start + LOAD_ROWS]
        sizes[some] = [len(image or b"") for image in _images(view, rows, chosen[some])]
    return sizes


def _measured_sizes(view: ShardView) -> Iterator[np.ndarray]:
    """Lengths of all the shard's images as a step measured them, those that a parent's steps measured too; or -1."""
    for step in view.steps():
        if isinstance(step, MeasureStep) and isinstance(step.operator, Size) and step.reads_image:
            yield view.column(step.names["image_bytes"]).fill_null(-1).to_numpy()
    if isinstance(view, ChildView) and view.inherits_image:
        yield from (sizes[view.owners] for sizes in _measured_sizes(view.parents))
