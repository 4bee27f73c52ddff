"""Embeddings in files: a matrix in .npy or .safetensors, or a column of Parquet; a block of rows at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from ..dedup._cosine import unit_vectors

_BLOCK_ROWS: Final = 16_384


@dataclass(frozen=True, kw_only=True)
class Block:
    """Some rows of a file, as a piece of a table: one column `vector`. Read where it is needed."""

    path: Path
    column: str  # of a Parquet file
    start: int
    rows: int
    bytes: int

    def read(self) -> pl.DataFrame:
        if self.path.suffix == ".parquet":
            column = pl.scan_parquet(self.path).select(vector=self.column)
            return column.slice(self.start, self.rows).collect()
        matrix, _ = _matrix(self.path)
        found = matrix[self.start : self.start + self.rows]
        rows = found.astype(np.float32) if isinstance(found, np.ndarray) else found.float().numpy()
        return pl.DataFrame({"vector": pl.Series(rows, dtype=pl.Array(pl.Float32, rows.shape[1]))})


def vectors_file(path: Path, parameter: str) -> Path:
    """The file that a parameter names. ValueError where there is none, or one of another kind."""
    if not path.is_file() or path.suffix not in (".npy", ".safetensors", ".parquet"):
        raise ValueError(f"{parameter} names {str(path)!r}, which is no .npy, .safetensors or .parquet file")
    return path


def blocks_of(path: Path, column: str) -> list[Block]:
    """The file in blocks. ValueError where it holds no vectors, with what it holds instead."""
    rows, width = _parquet_shape(path, column) if path.suffix == ".parquet" else _matrix_shape(path)
    starts = range(0, rows, _BLOCK_ROWS)
    sizes = [min(_BLOCK_ROWS, rows - start) for start in starts]
    return [
        Block(path=path, column=column, start=start, rows=size, bytes=4 * width * size)
        for start, size in zip(starts, sizes, strict=True)
    ]


def _parquet_shape(path: Path, column: str) -> tuple[int, int]:
    try:
        frame = pl.scan_parquet(path)
        schema = frame.collect_schema()
        if column not in schema:
            raise ValueError(f"{path} has no column {column!r}; it has {', '.join(schema)}")
        head, rows = frame.select(column).head(1).collect()[column], frame.select(pl.len()).collect().item()
    except (pl.exceptions.ComputeError, OSError) as error:
        raise ValueError(f"{path} is no readable Parquet file: {error}") from error
    return int(rows), unit_vectors(head, f"{column} of {path}")[1].shape[1]


def _matrix_shape(path: Path) -> tuple[int, int]:
    _, shape = _matrix(path)
    if len(shape) != 2:
        raise ValueError(f"{path} holds an array of {len(shape)} dimensions; embeddings are the rows of a matrix")
    return int(shape[0]), int(shape[1])


def _matrix(path: Path) -> tuple[Any, Sequence[int]]:
    """What rows can be cut from without reading all of it, and its shape."""
    return _npy(path) if path.suffix == ".npy" else _safetensors(path)


def _npy(path: Path) -> tuple[np.ndarray, Sequence[int]]:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{path} is no sound .npy file of numbers ({error})") from error
    if array.dtype.kind != "f":
        raise ValueError(f"{path} holds {array.dtype}, not floating-point numbers")
    return array, array.shape


def _safetensors(path: Path) -> tuple[Any, Sequence[int]]:
    from safetensors import SafetensorError, safe_open

    try:
        file: Any = safe_open(path, "pt")  # NumPy knows no bfloat16
    except SafetensorError as error:
        raise ValueError(f"{path} is no sound safetensors file ({error})") from error
    names = sorted(file.keys())
    if len(names) != 1:
        raise ValueError(f"{path} holds {len(names)} tensors ({', '.join(names[:5])}); a file of one is read")
    matrix = file.get_slice(names[0])
    return matrix, matrix.get_shape()
