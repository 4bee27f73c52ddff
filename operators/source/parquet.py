"""Parquet: footers say how many rows there are; texts and images are streamed by separate cursors.

Images may be a column of bytes, struct<bytes, path> as Hugging Face writes it, or paths. Page checksums are verified
where the file has them. What is read at a time is bounded in bytes, as far as the file's pages allow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as types

from ...schemas.pair import PAIR
from ...schemas.recipe import Read
from ..decode import RowError
from .base import BATCH_BYTES, BATCH_ROWS, MARK_ROWS, Images, Mark, Scan, Shard, SourceError
from .files import MAX_IMAGE_BYTES, check_unchanged, digest, is_remote, open_file, reading
from .images import NoImages, PathImages, PieceImages, Root
from .names import extras, find_names, is_bytes_and_path, is_list_of_strings, is_string, needed, refuse_nothing
from .shape import Run, count_captions

IMAGE_BATCH_BYTES: Final = 8 << 20
# To begin in the middle of a row group, all its pages before must be read: groups with images are cut into few parts.
PARTS_OF_IMAGE_GROUP: Final = 8


def scan_parquet(file: str, read: Read) -> Scan:
    """The footer, and the column of captions where it holds lists."""
    with reading(file), _open(file) as parquet:
        size, found = digest(file)
        columns = _plain_schema(parquet.schema_arrow, file, read)
        names = find_names(read, columns, file)
        refuse_nothing(names, columns, file)
        image = columns.field(names["image"]).type if "image" in names else pa.null()
        rows = list(_marked_rows(parquet.metadata, heavy=not is_string(image)))
        at = np.array(rows)
        if "text" in names and is_list_of_strings(columns.field(names["text"]).type):
            at = _first_rows(parquet, names["text"])[at]
    fields = [PAIR.field(name) for name in PAIR.names if name in names or name == "key"]
    fields += [columns.field(name) for name in extras(names, columns, read.drop)]
    marks = [Mark(source_row=source, row=row, offset=0) for source, row in zip(rows, at.tolist(), strict=True)]
    return Scan(file=file, bytes=size, digest=found, schema=pa.schema(fields), marks=marks, names=names)


def parquet_runs(shard: Shard, columns: Sequence[str], root: Root) -> Iterator[Run]:
    """The shard's source rows with these columns (Cupel's names)."""
    check_unchanged(shard.file, shard.digest)
    with reading(shard.file), _open(shard.file) as parquet:
        schema = parquet.schema_arrow
        wanted = needed(shard.names, columns, schema.names)
        if "text" in shard.names and is_list_of_strings(schema.field(shard.names["text"]).type):
            wanted["text"] = shard.names["text"]
        column = shard.names.get("image")
        kind = schema.field(column).type if column else pa.null()
        path = _path_leaf(column, kind)
        leaves = list(dict.fromkeys([*wanted.values(), *path]))
        images: Images = NoImages() if column is None else ColumnImages(shard, column, root)
        for first, count, batch in _batches(parquet, leaves, shard.start, shard.stop, BATCH_BYTES):
            paths = _paths(batch[column], kind) if path and column else None
            slots = np.arange(first, first + count) - shard.start if column else np.full(count, -1)
            if paths is not None and is_string(kind):
                images, slots = PathImages(paths, root), np.where(_is_empty(paths), -1, np.arange(count))
            found = {name: _plain(batch[own]) for name, own in wanted.items()}
            yield Run(first=first, columns=found, images=images, slots=slots, paths=paths)


class ColumnImages:
    """The images of a shard in a column of bytes: a cursor of its own, which moves only when an image is asked for."""

    def __init__(self, shard: Shard, column: str, root: Root) -> None:
        self._shard, self._column, self._root = shard, column, root
        self._first = self._end = 0  # rows of the file that `_held` holds
        self._held = pa.array([])
        self._parquet: pq.ParquetFile | None = None
        self._ends = np.zeros(0, np.int64)  # rows at which row groups end
        self._batches: Iterator[tuple[int, int, dict[str, pa.Array]]] = iter(())

    def load(self, slots: Sequence[int]) -> list[bytes | RowError | None]:
        with reading(self._shard.file):
            return [self._image(self._shard.start + slot) for slot in slots]

    def _image(self, row: int) -> bytes | RowError | None:
        if not self._first <= row < self._end:
            self._go_to(row)
        value = self._held[row - self._first].as_py()
        if isinstance(value, dict):
            if value["bytes"] is None:
                return PieceImages([self._root.piece(value["path"])]).load([0])[0]
            value = value["bytes"]
        if value is not None and len(value) > MAX_IMAGE_BYTES:
            return RowError("too_large", f"{len(value):,} bytes; at most {MAX_IMAGE_BYTES:,} are read")
        return None if value is None else bytes(value)

    def _go_to(self, row: int) -> None:
        if self._parquet is None:
            self._parquet = _opened(open_file(self._shard.file), self._shard.file)
            self._ends = _group_ends(self._parquet.metadata)
        group = int(np.searchsorted(self._ends, row, side="right"))
        begins = int(self._ends[group - 1]) if group else 0
        if row < self._end or begins > self._end or not self._end:  # backwards, or row groups that can be left out
            begin = max(begins, self._shard.start)
            stop = self._shard.stop
            self._batches = _batches(self._parquet, [self._column], begin, stop, IMAGE_BATCH_BYTES)
            self._first = self._end = begin
        while row >= self._end:
            self._first, count, columns = next(self._batches)
            self._held, self._end = columns[self._column], self._first + count


@contextmanager
def _open(file: str) -> Iterator[pq.ParquetFile]:
    with open_file(file) as handle:
        yield _opened(handle, file)


def _opened(handle: pa.NativeFile, file: str) -> pq.ParquetFile:
    # Without a buffer Arrow reads a whole column chunk at once, all the images of a row group.
    buffer = (8 << 20) if is_remote(file) else (1 << 20)
    return pq.ParquetFile(handle, buffer_size=buffer, pre_buffer=False, page_checksum_verification=True)


def _plain_schema(schema: pa.Schema, file: str, read: Read) -> pa.Schema:
    """Without metadata, dictionaries and views. Extension types are refused: their meaning is code of someone's."""
    for column in schema:
        if column.name not in read.drop and _has_extension(column.type):
            raise SourceError(
                f"{file}: column {column.name!r} has the extension type {column.type}; only plain types are read: "
                f"leave it out with `drop: [{column.name}]`"
            )
    return pa.schema([pa.field(column.name, _plain_type(column.type)) for column in schema])


def _has_extension(type: pa.DataType) -> bool:
    if isinstance(type, pa.BaseExtensionType):
        return True
    if types.is_dictionary(type):
        return _has_extension(type.value_type)
    return any(_has_extension(type.field(i).type) for i in range(type.num_fields))


def _plain_type(type: pa.DataType) -> pa.DataType:
    if types.is_dictionary(type):
        return _plain_type(type.value_type)
    if types.is_string_view(type):
        return pa.string()
    if types.is_binary_view(type):
        return pa.binary()
    if types.is_list(type) or types.is_large_list(type):
        return pa.list_(_plain_type(type.value_type)) if is_list_of_strings(type) else type
    return type


def _plain(array: pa.Array) -> pa.Array:
    plain = _plain_type(array.type)
    return array if array.type == plain else array.cast(plain)


def _path_leaf(column: str | None, kind: pa.DataType) -> list[str]:
    """The Parquet leaf that holds the images' paths."""
    if column is None:
        return []
    if is_bytes_and_path(kind):
        return [f"{column}.path"]
    return [column] if is_string(kind) else []


def _paths(array: pa.Array, kind: pa.DataType) -> pa.Array:
    return _plain(array.field("path") if is_bytes_and_path(kind) else array).cast(pa.string())


def _is_empty(paths: pa.Array) -> np.ndarray:
    return np.array([not path for path in paths.to_pylist()], bool)


def _group_ends(metadata: pq.FileMetaData) -> np.ndarray:
    """Row at which each row group ends."""
    return np.cumsum([metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)], dtype=np.int64)


def _marked_rows(metadata: pq.FileMetaData, *, heavy: bool) -> Iterator[int]:
    """Rows where a shard may begin: row groups, and places within them; the file's end comes last."""
    start = 0
    for end in _group_ends(metadata).tolist():
        step = max(MARK_ROWS, -(-(end - start) // PARTS_OF_IMAGE_GROUP)) if heavy else MARK_ROWS
        yield from range(start, end, step)
        start = end
    yield start


def _first_rows(parquet: pq.ParquetFile, column: str) -> np.ndarray:
    """For each source row (and the end) how many rows come before it, when each caption in the lists is a row."""
    batches = parquet.iter_batches(BATCH_ROWS, columns=[column], use_threads=False)
    counts = [count_captions(_plain(batch.column(0))) for batch in batches]
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(counts or [np.zeros(0, np.int64)]))])


def _batches(
    parquet: pq.ParquetFile, leaves: Sequence[str], start: int, stop: int, limit: int
) -> Iterator[tuple[int, int, dict[str, pa.Array]]]:
    """(first row, rows, columns) of the rows [start, stop), about `limit` bytes at a time."""
    if not leaves:
        yield from ((at, min(BATCH_ROWS, stop - at), {}) for at in range(start, stop, BATCH_ROWS))
        return
    ends = _group_ends(parquet.metadata)
    groups = range(int(np.searchsorted(ends, start, side="right")), int(np.searchsorted(ends, stop)) + 1)
    at = int(ends[groups[0] - 1]) if groups[0] else 0
    rows = min(_fitting_rows(parquet.metadata.row_group(group), leaves, limit) for group in groups)
    for batch in parquet.iter_batches(rows, row_groups=list(groups), columns=list(leaves), use_threads=False):
        low, high = max(start - at, 0), min(stop - at, batch.num_rows)
        if low < high:
            part = batch.slice(low, high - low)
            yield at + low, high - low, dict(zip(part.schema.names, part.columns, strict=True))
        at += batch.num_rows


def _fitting_rows(group: pq.RowGroupMetaData, leaves: Sequence[str], limit: int) -> int:
    """Rows that take about `limit` bytes, by the footer's average."""
    prefixes = tuple(f"{leaf}." for leaf in leaves)
    chunks = (group.column(i) for i in range(group.num_columns))
    held = sum(c.total_uncompressed_size for c in chunks if f"{c.path_in_schema}.".startswith(prefixes))
    return int(np.clip(limit * group.num_rows // max(held, 1), 1, BATCH_ROWS))
