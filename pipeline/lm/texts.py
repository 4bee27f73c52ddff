"""Read training texts in parts: text files by byte ranges, gzip files whole, Parquet files by row groups."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, cast

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ..read import RunError

PART_BYTES: Final = 64 << 20  # what one task reads
CHUNK_BYTES: Final = 8 << 20  # what it holds at a time


class TextError(RunError):
    """A training text cannot be read. In words for the user."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A stretch of one file: bytes of a text file, row groups of a Parquet file, or all of a gzip file."""

    path: str
    start: int = 0
    stop: int = 0
    column: str = ""  # Parquet: the column with the text


def split(paths: Sequence[Path], column: str) -> list[Part]:
    """Cut files into parts, in the order given. TextError where a file is not there or has no such column."""
    parts: list[Part] = []
    for given in paths:
        path = given.absolute()  # a worker's folder is another
        if path.is_dir():
            raise TextError(f"{given} is a folder; name its files: {given / '*.txt'}")
        if not path.is_file():
            raise TextError(f"no such file: {given}")
        if path.suffix == ".parquet":
            parts += _row_groups(path, column)
        elif path.suffix == ".gz":
            parts.append(Part(path=str(path)))
        else:
            size = path.stat().st_size
            parts += [
                Part(path=str(path), start=start, stop=min(start + PART_BYTES, size))
                for start in range(0, size, PART_BYTES)
            ]
    return parts


def chunks(part: Part) -> Iterator[pl.Series]:
    """The part's texts, one a row, about 8 MB at a time (more only where one text is longer)."""
    if part.column:
        yield from _of_parquet(part)
        return
    try:
        with _opened(part) as file:
            for block in _blocks(file, part):
                yield pl.Series(block.decode("utf-8", "replace").split("\n"), dtype=pl.String)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise TextError(f"{part.path} is no sound gzip file ({error}); fetch or pack it again") from error


def _opened(part: Part) -> BinaryIO:
    if part.stop:
        return Path(part.path).open("rb")
    return cast(BinaryIO, gzip.open(part.path, "rb"))


def _blocks(file: BinaryIO, part: Part) -> Iterator[bytes]:
    """Whole lines. A line belongs to the part in which it begins."""
    if part.start:
        file.seek(part.start - 1)
        file.readline()
    while not part.stop or file.tell() < part.stop:
        block = file.read(min(CHUNK_BYTES, part.stop - file.tell()) if part.stop else CHUNK_BYTES)
        if not block:
            return
        if not block.endswith(b"\n"):
            block += file.readline()
        yield block.removesuffix(b"\n")


def _row_groups(path: Path, column: str) -> Iterator[Part]:
    try:
        with pq.ParquetFile(path) as file:
            schema, groups = file.schema_arrow, file.num_row_groups
    except pa.ArrowInvalid as error:
        raise TextError(f"{path} is no sound Parquet file: {error}") from error
    if column not in schema.names:
        raise TextError(f"{path} has no column {column!r} (it has: {', '.join(schema.names)}); name one with --column")
    kind = schema.field(column).type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        raise TextError(f"{path}: column {column!r} holds {kind}, not text; name another with --column")
    for group in range(groups):
        yield Part(path=str(path), start=group, stop=group + 1, column=column)


def _of_parquet(part: Part) -> Iterator[pl.Series]:
    with pq.ParquetFile(part.path) as file:
        for batch in file.iter_batches(8192, row_groups=[*range(part.start, part.stop)], columns=[part.column]):
            texts = cast(pl.Series, pl.from_arrow(batch.column(0))).drop_nulls()
            held = max(1, int(texts.str.len_bytes().sum()) // CHUNK_BYTES)
            rows = max(1, len(texts) // held)
            yield from (texts[start : start + rows] for start in range(0, len(texts), rows))
