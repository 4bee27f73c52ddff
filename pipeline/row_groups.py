"""Parquet files with images: row groups bounded in bytes, so that a reader can take them one by one.

Columns of bytes (images) are stored as they are, because JPEG does not compress, and without statistics; the others are
compressed, with dictionaries and statistics. Every page carries a checksum.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROW_BYTES = 64  # what a row takes besides its image and texts
_BYTES = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)


class RowGroups:
    """Writes rows, as they come in tables of any size, in groups of up to `limit` bytes, at least a row each."""

    def __init__(self, file: Path, schema: pa.Schema, limit: int) -> None:
        self.rows = 0
        self._schema, self._limit = schema, limit
        self._writer = _writer(file, schema)
        self._waiting: list[pa.Table] = []
        self._held = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._writer:
            if kind is None:
                self._write()

    def add(self, table: pa.Table) -> None:
        """More rows, in the schema's columns."""
        start = 0
        for i, size in enumerate(row_bytes(table).tolist()):
            if self._held and self._held + size > self._limit:
                self._waiting.append(table.slice(start, i - start))
                self._write()
                start = i
            self._held += size
        self._waiting.append(table.slice(start))

    def _write(self) -> None:
        if sum(table.num_rows for table in self._waiting):
            group = pa.concat_tables(self._waiting).cast(self._schema)
            self._writer.write_table(group, row_group_size=group.num_rows)
            self.rows += group.num_rows
        self._waiting, self._held = [], 0


def row_bytes(table: pa.Table) -> np.ndarray:
    """Bytes of each row: its texts and images, an equal part of what is nested, and a few for the rest."""
    total = np.full(table.num_rows, ROW_BYTES, np.int64)
    for column in table.columns:
        if any(test(column.type) for test in _BYTES):
            total += lengths(column)
        elif pa.types.is_nested(column.type):
            total += column.nbytes // max(table.num_rows, 1)
    return total


def lengths(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Bytes of each text or image."""
    return np.asarray(pc.binary_length(column).fill_null(0)).astype(np.int64)


def _writer(file: Path, schema: pa.Schema) -> pq.ParquetWriter:
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
