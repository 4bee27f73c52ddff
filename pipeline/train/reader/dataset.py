"""What there is to train on: a cut's curated files, or any Parquet with images and texts, as a list of row groups.

Footers and a cut's file list are read, no images. A row is known by its number: files in the order of their names, row
groups and rows as they stand in them. The digest says whether it is the same data again: with the order's seed and a
position it is all that a training run must remember.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as types

from ....operators.source.base import SourceError
from ....operators.source.files import (
    digest,
    find,
    is_remote,
    open_file,
    reading,
)
from ....schemas.corpus import Manifest
from ...cuts import cut_at
from ...read import CorpusError
from ...store import Store, open_store

_THREADS: Final = 16  # footers read at a time: each waits for the disk or the network
_KEPT_FOOTERS: Final = 64
MAX_GROUP_BYTES: Final = 2 << 30
Encoded = tuple[bytes | None, bytes | None]  # an image as it is stored, and a text in UTF-8
_NOTHING: Final = "nothing to train on"


@dataclass(frozen=True, kw_only=True)
class Part:
    """A row group: its file, its number there, its rows, and the bytes of its images and texts."""

    file: str
    group: int
    rows: int
    bytes: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Images with texts in row groups. `rows` counts the chosen ones; their numbers are those of the whole dataset.

    `digest` is a hash of the files' names and rows, of their SHA-256 where a cut's list has it (else of their sizes and
    their first and last 64 KiB), and of the choice; it does not depend on where they lie.
    """

    place: str
    parts: tuple[Part, ...]
    digest: str
    whole: str  # digest of all rows
    chosen: np.ndarray | None = None  # int64, ascending; None: all
    image: str = "image"  # the columns' names in the files
    text: str = "text"

    @cached_property
    def starts(self) -> np.ndarray:
        """First row of each part, and the number of all rows: int64 (parts + 1,)."""
        return np.concatenate([np.zeros(1, np.int64), np.cumsum([part.rows for part in self.parts], dtype=np.int64)])

    @property
    def all_rows(self) -> int:
        """Rows of the whole dataset."""
        return int(self.starts[-1])

    @property
    def rows(self) -> int:
        """Rows to train on."""
        return self.all_rows if self.chosen is None else len(self.chosen)

    @cached_property
    def counts(self) -> np.ndarray:
        """Chosen rows of each part: int64 (parts,)."""
        if self.chosen is None:
            return np.diff(self.starts)
        return np.diff(np.searchsorted(self.chosen, self.starts)).astype(np.int64)

    def number(self, row: int) -> int:
        """The number in the whole dataset of the n-th chosen row."""
        return row if self.chosen is None else int(self.chosen[row])

    def take(self, rows: np.ndarray) -> Dataset:
        """Only these rows: numbers in the whole dataset, ascending. Raises CorpusError for others, and for none."""
        rows = np.asarray(rows, np.int64)
        if not len(rows):
            raise CorpusError(f"{self.place}: no row is chosen, so there is {_NOTHING}")
        if (np.diff(rows) <= 0).any() or rows[0] < 0 or rows[-1] >= self.all_rows:
            raise CorpusError(f"{self.place}: rows to take must ascend within 0 to {self.all_rows - 1:,}")
        found = hashlib.sha256(self.whole.encode() + rows.astype("<i8").tobytes()).hexdigest()
        return replace(self, chosen=rows, digest=found)

    def column(self, name: str) -> pa.ChunkedArray:
        """A column of the chosen rows, in the order of their numbers; for cheap ones, as key and text.

        Raises CorpusError where the files have no such column, ShardError where one is damaged.
        """
        files = list(dict.fromkeys(part.file for part in self.parts))
        with ThreadPoolExecutor(_THREADS) as pool:
            columns = list(pool.map(lambda file: _column(file, name), files))
        kind = columns[0].type
        found = pa.chunked_array([chunk for column in columns for chunk in column.cast(kind).chunks], kind)
        return found if self.chosen is None else found.take(pa.array(self.chosen))


def open_dataset(place: str, *, cut: str | None = None, image: str = "image", text: str = "text") -> Dataset:
    """The curated rows of a cut, of a corpus, or of a file or folder of Parquet; local or s3://.

    Of a corpus it is the `cut` of this name, or the newest.

    `image` is a column of bytes, or struct<bytes, path> as Hugging Face writes it; `text` one of strings. Raises
    CorpusError in words for the user.
    """
    place, named = _files(place, cut)
    with ThreadPoolExecutor(_THREADS) as pool:
        found = list(pool.map(lambda listed: _scan(listed, image, text), named))
    parts = tuple(part for scan in found for part in scan.parts)
    if not parts:
        raise CorpusError(f"{place} has no rows: {_NOTHING}")
    if (largest := max(parts, key=lambda part: part.bytes)).bytes > MAX_GROUP_BYTES:
        raise CorpusError(
            f"{largest.file}: row group {largest.group} holds {largest.bytes / 1e9:.1f} GB and is read as a whole; "
            f"write the file again with smaller ones (row_group_size), at most {MAX_GROUP_BYTES >> 30} GiB"
        )
    whole = hashlib.sha256(json.dumps([scan.told for scan in found]).encode()).hexdigest()
    return Dataset(place=place, parts=parts, digest=whole, whole=whole, image=image, text=text)


# Which files


_Listed = tuple[str, str, str | None]  # path, name relative to the place, SHA-256 where a manifest has it


def _files(place: str, cut: str | None) -> tuple[str, list[_Listed]]:
    """Where they lie, of a corpus in which cut, and the files in the order of their names."""
    store = open_store(place) if is_remote(place) or Path(place).is_dir() else None
    if store is not None and (folder := cut_at(store, cut)) is not None:
        return f"{store.uri}/{folder}".rstrip("/"), list(_files_of_cut(store, folder))
    if cut is not None:
        raise CorpusError(f"{place} is no corpus, so it has no cut {cut!r}")
    try:
        entries = [entry for entry in find(place) if entry.path.endswith(".parquet")]
    except SourceError as error:
        raise CorpusError(f"{error}; give a cut, a corpus, or Parquet files") from error
    if not entries:
        raise CorpusError(f"{place} is no cut, no corpus, and holds no .parquet file: {_NOTHING}")
    above = len(os.path.commonprefix([entry.path for entry in entries]).rpartition("/")[0]) + 1  # noqa: RUF071
    return place, [(entry.path, entry.path[above:], None) for entry in entries]


def _files_of_cut(store: Store, folder: str) -> Iterator[_Listed]:
    manifest = Manifest.model_validate_json(store.read(f"{folder}manifest.json"))
    if not manifest.wrote_images:
        raise CorpusError(f"{store.uri}/{folder} was run with --no-write; run the recipe without it first")
    for entry in store.table(f"{folder}files.parquet").to_pylist():
        if entry["path"].startswith("curated/"):
            yield f"{store.uri}/{folder}{entry['path']}", entry["path"], entry["sha256"]


# What is in them


@dataclass(frozen=True, kw_only=True)
class _Scan:
    parts: list[Part]
    told: list[object]  # what the digest is made of


def _scan(listed: _Listed, image: str, text: str) -> _Scan:
    """The row groups of a file whose columns are as they must be."""
    file, name, sha256 = listed
    with reading(file), open_file(file) as handle:
        parquet = pq.ParquetFile(handle)
        _check_columns(parquet.schema_arrow, file, image, text)
        groups = list(_groups(parquet.metadata, file, image, text))
        known = sha256 or digest(file)[1]
    return _Scan(parts=groups, told=[name, [part.rows for part in groups], known])


def _check_columns(schema: pa.Schema, file: str, image: str, text: str) -> None:
    if "nodes" in schema.names and image not in schema.names:
        raise CorpusError(
            f"{file} holds documents, and the trainer takes pairs of an image and a text; of web pages `page.pairs` "
            "makes pairs"
        )
    for name in (image, text):
        if name not in schema.names:
            raise CorpusError(f"{file} has no column {name!r}; it has {', '.join(schema.names[:20])}")
    kind = schema.field(image).type
    if not (_is_bytes(kind) or (types.is_struct(kind) and _is_bytes(_member(kind, "bytes")))):
        raise CorpusError(f"{file}: {image!r} is {kind}; allowed are the images' bytes, or struct<bytes, path>")
    kind = schema.field(text).type
    if not (types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)):
        raise CorpusError(f"{file}: {text!r} is {kind}; allowed is one string a row")


def _is_bytes(kind: pa.DataType | None) -> bool:
    tests = (types.is_binary, types.is_large_binary, types.is_binary_view)
    return kind is not None and any(test(kind) for test in tests)


def _member(kind: pa.StructType, name: str) -> pa.DataType | None:
    index = kind.get_field_index(name)
    return kind.field(index).type if index >= 0 else None


def _groups(metadata: pq.FileMetaData, file: str, image: str, text: str) -> Iterator[Part]:
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        chunks = (group.column(i) for i in range(group.num_columns))
        held = sum(c.total_uncompressed_size for c in chunks if c.path_in_schema.partition(".")[0] in (image, text))
        if group.num_rows:
            yield Part(file=file, group=number, rows=group.num_rows, bytes=held)


# Reading


def read_rows(data: Dataset, part: Part, rows: np.ndarray) -> list[Encoded]:
    """Images and texts of these rows of a row group (0 is its first); page checksums are verified where written.

    Raises ShardError for a damaged or changed file.
    """
    with reading(part.file), open_file(part.file) as handle:
        parquet = _opened(handle, part.file)
        columns = [_leaf(parquet.schema_arrow, data.image), data.text]
        table = parquet.read_row_group(part.group, columns=columns, use_threads=False)
        chosen = table if len(rows) == table.num_rows else table.take(pa.array(rows))
        images = chosen.column(data.image)
        if types.is_struct(images.type):
            images = pa.chunked_array([chunk.field("bytes") for chunk in images.chunks], _member(images.type, "bytes"))
        texts = chosen.column(data.text).cast(pa.large_binary())  # nobody has checked that they are UTF-8
        return list(zip(images.to_pylist(), texts.to_pylist(), strict=True))


def _leaf(schema: pa.Schema, image: str) -> str:
    return f"{image}.bytes" if types.is_struct(schema.field(image).type) else image


def _opened(handle: pa.NativeFile, file: str) -> pq.ParquetFile:
    return pq.ParquetFile(handle, metadata=_footer(file), pre_buffer=is_remote(file), page_checksum_verification=True)


@functools.lru_cache(maxsize=_KEPT_FOOTERS)
def _footer(file: str) -> pq.FileMetaData:
    with open_file(file) as handle:
        return pq.read_metadata(handle)


def _column(file: str, name: str) -> pa.ChunkedArray:
    with reading(file), open_file(file) as handle:
        parquet = pq.ParquetFile(handle, pre_buffer=is_remote(file), page_checksum_verification=True)
        if name not in parquet.schema_arrow.names:
            raise CorpusError(f"{file} has no column {name!r}; it has {', '.join(parquet.schema_arrow.names[:20])}")
        return parquet.read([name], use_threads=False).column(name)
