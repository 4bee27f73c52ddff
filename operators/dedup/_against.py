"""An existing corpus that a new one is compared with: its rows are keepers, and nothing of it is measured again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ..frames import Exchange, Frames, bagged
from ..source.base import SourceError
from ..source.files import find, is_remote, open_file

AGAINST: Final = (
    "an earlier cut's folder (or a Parquet file, or a folder of such files) with the same column: its rows count as "
    "keepers before all others, and are named by their key, or FILE:ROW. On S3 what lies at an address is taken to stay"
)


@dataclass(frozen=True, kw_only=True)
class KnownRows:
    """A row group of the existing corpus as a piece of a table: `name` and some columns."""

    path: str
    group: int
    start: int  # rows of the file before it
    columns: tuple[str, ...]
    key: bool  # has it a column `key`?
    rows: int
    bytes: int

    def read(self) -> pl.DataFrame:
        wanted = [*self.columns, *(["key"] if self.key else [])]
        with open_file(self.path) as file, pq.ParquetFile(file, page_checksum_verification=True) as parquet:
            frame = pl.from_arrow(parquet.read_row_group(self.group, wanted, use_threads=False))
        assert isinstance(frame, pl.DataFrame)
        row = pl.int_range(self.start, self.start + pl.len()).cast(pl.String)
        key = pl.col("key").cast(pl.String) if self.key else pl.lit(None, pl.String)
        name = pl.coalesce(key, pl.lit(f"{Path(self.path).name}:") + row)
        return frame.select(name.alias("name"), *self.columns)


def known(exchange: Exchange, place: str, *columns: str) -> Frames:
    """`name` and the columns of every row of an existing corpus. Raises ValueError where a file lacks one."""
    pieces = [piece for path in _parquets(place) for piece in _pieces(path, columns)]
    return Frames(exchange, bagged(pieces, exchange.part_bytes))


def bytes_of(place: str | None, *columns: str) -> int:
    """What the columns take in memory, about; 0 without an existing corpus."""
    return sum(piece.bytes for path in _parquets(place) for piece in _pieces(path, columns)) if place else 0


def files_of(place: str | None, *columns: str) -> tuple[Path, ...]:
    """What identifies the existing corpus: a cut's manifest, or the files; on S3 its address stands for it.

    Raises ValueError where there is none, or its first file lacks a column.
    """
    if place is None:
        return ()
    paths = _parquets(place)
    next(_pieces(paths[0], columns), None)
    if is_remote(place):
        return ()
    manifest = Path(place) / "manifest.json"
    return (manifest,) if manifest.is_file() else tuple(map(Path, paths))


def _parquets(place: str) -> list[str]:
    """The Parquet files of a cut (those that it wrote for training), a folder or a file."""
    base = place.rstrip("/")
    try:
        files = [entry.path for entry in find(place) if entry.path.endswith(".parquet")]
    except SourceError as error:
        raise ValueError(f"against: {error}") from error
    if any(path.startswith(f"{base}/cuts/") for path in files):
        raise ValueError(f"against {place!r} is a corpus of several cuts; name one of the folders in its cuts/")
    curated = [path for path in files if path.startswith(f"{base}/curated/")]
    if not curated and any(path.startswith((f"{base}/kept/", f"{base}/dropped/")) for path in files):
        raise ValueError(f"against {place!r} is a cut made with --no-write, so it holds no rows with their columns")
    if not files:
        raise ValueError(f"against {place!r} holds no Parquet files")
    return curated or files


def _pieces(path: str, columns: tuple[str, ...]) -> Iterator[KnownRows]:
    """The row groups of a file."""
    try:
        with open_file(path) as file, pq.ParquetFile(file) as parquet:
            about, schema = parquet.metadata, parquet.schema_arrow
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"against: {path} is no readable Parquet file: {error}") from error
    if missing := [column for column in columns if column not in schema.names]:
        raise ValueError(f"against: {path} has no column {missing[0]!r}; it has {', '.join(schema.names)}")
    start = 0
    for group in range(about.num_row_groups):
        chunks = (about.row_group(group).column(i) for i in range(about.num_columns))
        size = sum(c.total_uncompressed_size for c in chunks if c.path_in_schema.split(".")[0] in (*columns, "key"))
        rows = about.row_group(group).num_rows
        yield KnownRows(
            path=path,
            group=group,
            start=start,
            columns=columns,
            key="key" in schema.names,
            rows=rows,
            bytes=size + 40 * rows,
        )
        start += rows
