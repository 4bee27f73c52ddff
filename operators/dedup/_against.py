"""An existing corpus that a new one is compared with: its rows are keepers, and nothing of it is measured again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ..frames import Exchange, Frames
from ..source.base import SourceError
from ..source.files import find, is_remote, open_file

AGAINST: Final = (
    "an earlier cut's folder (or a Parquet file, or a folder of such files) with the same column: its rows count as "
    "keepers before all others, and are named by their key, or FILE:ROW"
)


@dataclass(frozen=True, kw_only=True)
class KnownFile:
    """A Parquet file of the existing corpus as a piece of a table: `name` and one column."""

    path: str
    column: str
    key: bool  # has it a column `key`?
    rows: int
    bytes: int

    def read(self) -> pl.DataFrame:
        wanted = [self.column, *(["key"] if self.key else [])]
        with open_file(self.path) as file, pq.ParquetFile(file, page_checksum_verification=True) as parquet:
            frame = pl.from_arrow(parquet.read(wanted, use_threads=False))
        assert isinstance(frame, pl.DataFrame)
        number = pl.lit(f"{Path(self.path).name}:") + pl.int_range(pl.len()).cast(pl.String)
        key = pl.col("key").cast(pl.String) if self.key else pl.lit(None, pl.String)
        return frame.select(pl.coalesce(key, number).alias("name"), pl.col(self.column))


def known(exchange: Exchange, place: str, column: str) -> Frames:
    """`name` and the column of every row of an existing corpus. Raises ValueError where a file lacks it."""
    return Frames(exchange, [[_opened(path, column)] for path in _parquets(place)])


def files_of(place: str | None) -> tuple[Path, ...]:
    """What identifies the existing corpus: a cut's manifest, or the files; on S3 its address stands for it."""
    if place is None or is_remote(place):
        return ()
    manifest = Path(place) / "manifest.json"
    return (manifest,) if manifest.is_file() else tuple(Path(path) for path in _parquets(place))


def _parquets(place: str) -> list[str]:
    """The Parquet files of a cut (those that it wrote for training), a folder or a file."""
    curated = f"{place.rstrip('/')}/curated"
    if not is_remote(place) and Path(curated).is_dir():
        place = curated
    try:
        files = [entry.path for entry in find(place) if entry.path.endswith(".parquet")]
    except SourceError as error:
        raise ValueError(f"against: {error}") from error
    if any("/curated/" in path for path in files):  # a cut's folder on S3
        files = [path for path in files if "/curated/" in path]
    if not files:
        raise ValueError(f"against {place!r} holds no Parquet files; a cut made with --no-write has none")
    return files


def _opened(path: str, column: str) -> KnownFile:
    try:
        with open_file(path) as file, pq.ParquetFile(file) as parquet:
            about, schema = parquet.metadata, parquet.schema_arrow
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"against: {path} is no readable Parquet file: {error}") from error
    if column not in schema.names:
        raise ValueError(f"against: {path} has no column {column!r}; it has {', '.join(schema.names)}")
    size = about.num_rows * (40 + 8 * max(1, schema.field(column).type.num_fields))
    return KnownFile(path=path, column=column, key="key" in schema.names, rows=about.num_rows, bytes=size)
