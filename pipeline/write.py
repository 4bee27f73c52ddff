"""Write the curated shards: consecutive kept rows, images and scores, in deterministic order and bytes.

Row groups are bounded in bytes, so that a trainer can read them one by one; the image column is stored as it is (JPEG
does not compress) and without statistics; every page carries a checksum.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..operators.decode import RowError
from ..operators.image.size import Size
from ..operators.source.base import Piece, Rows, Shard, ShardError, Source
from ..operators.source.images import PieceImages
from ..schemas.corpus import shard_name
from .measure import Rereadable
from .plan import Plan
from .read import with_members
from .shard import Job, ShardView
from .store import Store, Written, sha256

LOAD_ROWS = 64  # images fetched at a time
ROW_BYTES = 64  # what a row takes besides its image and texts
_BYTES = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)


@dataclass(frozen=True, kw_only=True)
class Run:
    """Kept rows [start, stop) of one shard, counted among its kept rows."""

    shard: int
    start: int
    stop: int


def curated_schema(plan: Plan) -> pa.Schema:
    """The source's columns, then everything that the steps added, explained in the fields' metadata."""
    replaced = {name for old, name in plan.view.items() if old != name}
    return pa.schema([*plan.schema, *(added for name, added in plan.fields.items() if name not in replaced)])


def kept_sizes(plan: Plan, store: Store, source: Source, shard: Shard) -> np.ndarray:
    """Bytes (int64) of each kept row of a shard, image and text. Images are read only where nobody knows the size."""
    wanted = [name for name in ("text",) if plan.view.get(name) in plan.schema.names]
    parts = [_weights(*batch) for batch in _kept_batches(plan, store, source, shard, wanted)]
    return np.concatenate([np.zeros(0, np.int64), *parts])


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
    wanted = [name for name in plan.schema.names if name != "image"]
    with store.writing(f"{plan.cut}/{path}", replace=True) as file:
        batches = (b for run in runs for b in _kept_batches(plan, store, source, shards[run.shard], wanted, run))
        tables = (table for batch in batches for table in _whole_rows(*batch))
        rows = _write_row_groups(file, curated_schema(plan), tables, plan.recipe.write.row_group_mb << 20)
        return Written(path=path, rows=rows, bytes=file.stat().st_size, sha256=sha256(file))


# Reading the kept rows


def _kept_batches(
    plan: Plan, store: Store, source: Source, shard: Shard, columns: Sequence[str], run: Run | None = None
) -> Iterator[tuple[ShardView, Rows, np.ndarray]]:
    """(shard, batch of the source, kept rows in it) of a shard or of a run of its kept rows."""
    kept = store.table(f"{plan.cut}/kept/{shard_name(shard.id)}.parquet", ["row"]).column("row").to_numpy()
    if run is not None:
        kept = kept[run.start : run.stop]
    if not len(kept):
        return
    shard = with_members(store, shard)
    view = ShardView(plan, store, source, Job(shard=shard, until=len(plan.steps)))
    for rows in source.rows(shard, plan.schema, columns):
        begin, end = np.searchsorted(kept, [rows.first, rows.first + len(rows.slots)])
        if begin < end:
            yield view, rows, kept[begin:end] - rows.first
        if end == len(kept):
            return


def _whole_rows(view: ShardView, rows: Rows, chosen: np.ndarray) -> Iterator[pa.Table]:
    """Chosen rows of a batch as tables of the curated schema, images fetched some at a time."""
    rows = replace(rows, images=Rereadable(rows.images))
    versions = {column: view.plan.view.get(column.name, column.name) for column in curated_schema(view.plan)}
    fetched = [column for column, name in versions.items() if name == "image" and name in view.plan.schema.names]
    known = {c.name: _column(view, rows, chosen, name) for c, name in versions.items() if c not in fetched}
    for start in range(0, len(chosen), LOAD_ROWS):
        columns = {name: column.slice(start, LOAD_ROWS) for name, column in known.items()}
        for column in fetched:
            images = _images(view, rows, chosen[start : start + LOAD_ROWS])
            columns[column.name] = pa.array(images, column.type)
        yield pa.table([columns[column.name] for column in versions], names=[column.name for column in versions])


def _column(view: ShardView, rows: Rows, chosen: np.ndarray, name: str) -> pa.Array:
    if name in rows.table.column_names:
        return rows.table.column(name).combine_chunks().take(pa.array(chosen))
    return view.column(name).take(pa.array(chosen + rows.first))


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
    for step in view.plan.measures:
        if step.reads_image and view.scores(step).known[row] and not view.scores(step).failed[row]:
            raise ShardError(f"{error.message}: it was there when {step.label} measured it")


# Weighing


def _weights(view: ShardView, rows: Rows, chosen: np.ndarray) -> np.ndarray:
    """Bytes of each chosen row of a batch."""
    total = np.full(len(chosen), ROW_BYTES, np.int64)
    if "text" in view.plan.view:
        total += _lengths(_column(view, rows, chosen, view.plan.view["text"]))
    image = view.plan.view.get("image")
    if image == "image" and image in view.plan.schema.names:
        total += _image_bytes(view, rows, chosen)
    elif image is not None:
        total += _lengths(_column(view, rows, chosen, image))
    return total


def _image_bytes(view: ShardView, rows: Rows, chosen: np.ndarray) -> np.ndarray:
    """Lengths of the chosen rows' images: as the source knows them, as image.size measured them, or else by reading."""
    slots = rows.slots[chosen]
    sizes = np.where(slots < 0, 0, -1)
    if isinstance(rows.images, PieceImages):
        pieces = (rows.images.pieces[slot] if slot >= 0 else None for slot in slots.tolist())
        known = [piece.size if isinstance(piece, Piece) else 0 for piece in pieces]
        sizes = np.array([-1 if size is None else size for size in known], np.int64)
    for step in view.plan.measures:
        if isinstance(step.operator, Size) and step.reads_image:
            measured = _column(view, rows, chosen, step.names["image_bytes"]).fill_null(-1).to_numpy()
            sizes = np.where(sizes < 0, measured, sizes)
    unknown = np.flatnonzero(sizes < 0)
    rows = replace(rows, images=Rereadable(rows.images))
    for start in range(0, len(unknown), LOAD_ROWS):
        some = unknown[start : start + LOAD_ROWS]
        sizes[some] = [len(image or b"") for image in _images(view, rows, chosen[some])]
    return sizes


def _lengths(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    return np.asarray(pc.binary_length(column).fill_null(0)).astype(np.int64)


# Row groups


def _write_row_groups(file: Path, schema: pa.Schema, tables: Iterator[pa.Table], limit: int) -> int:
    rows = 0
    with _writer(file, schema) as writer:
        for group in _groups(tables, limit):
            writer.write_table(group.cast(schema), row_group_size=group.num_rows)
            rows += group.num_rows
    return rows


def _writer(file: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Columns of bytes (images) are stored as they are; the others compressed, with dictionaries and statistics."""
    sink = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), sink)
    leaves = pq.read_metadata(pa.BufferReader(sink.getvalue())).schema
    columns = [leaves.column(i) for i in range(len(leaves))]
    plain = [c.path for c in columns if c.physical_type != "BYTE_ARRAY" or c.logical_type.type != "NONE"]
    return pq.ParquetWriter(
        file,
        schema,
        compression={c.path: "zstd" if c.path in plain else "none" for c in columns},
        use_dictionary=plain,
        write_statistics=plain,
        write_page_checksum=True,
    )


def _groups(tables: Iterator[pa.Table], limit: int) -> Iterator[pa.Table]:
    """Rows regrouped into tables of up to `limit` bytes, at least one row."""
    waiting: list[pa.Table] = []
    held = 0
    for table in tables:
        start = 0
        for i, size in enumerate(_row_bytes(table).tolist()):
            if held and held + size > limit:
                waiting.append(table.slice(start, i - start))
                yield pa.concat_tables(waiting)
                waiting, held, start = [], 0, i
            held += size
        waiting.append(table.slice(start))
    if sum(table.num_rows for table in waiting):
        yield pa.concat_tables(waiting)


def _row_bytes(table: pa.Table) -> np.ndarray:
    """Bytes of each row: its texts and images, an equal part of what is nested, and a few for the rest."""
    total = np.full(table.num_rows, ROW_BYTES, np.int64)
    for column in table.columns:
        if any(test(column.type) for test in _BYTES):
            total += _lengths(column)
        elif pa.types.is_nested(column.type):
            total += column.nbytes // max(table.num_rows, 1)
    return total
