"""Records out of Common Crawl's archives, picked by a table of where they lie (its index is such a table).

Only the ranges that the rows name are read, and only when a column is asked for that the table does not have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pyarrow as pa

from ...schemas.page import PAGE
from ...schemas.recipe import Read
from ..decode import RowError
from ._ranges import Range, read_ranges
from ._warc_bytes import Raw
from ._warc_records import record_at
from ._warc_rows import values_of
from .base import BATCH_BYTES, Rows, Scan, Shard, Source, SourceError
from .files import find, is_folder
from .images import NoImages, Root
from .parquet import parquet_runs, scan_parquet
from .shape import Run

COMMON_CRAWL: Final = "https://data.commoncrawl.org/"
BATCH_ROWS: Final = 256
# Our column -> that of Common Crawl's index.
NAMES: Final = {
    "page_url": "url",
    "warc_file": "warc_filename",
    "warc_offset": "warc_record_offset",
    "warc_length": "warc_record_length",
}
_FETCHED: Final = tuple(name for name in PAGE.names if name not in ("key", *NAMES))


@dataclass(frozen=True, kw_only=True)
class Cdx(Source):
    """A row of the table is a row, with its own columns and those of the record that it names, as `warc` has them.

    The key is FILE:OFFSET. A record that cannot be fetched is a row with an error.
    """

    place: str
    read: Read

    def files(self) -> list[str]:
        found = [entry.path for entry in find(self.place)]
        if is_folder(self.place):
            found = [path for path in found if path.lower().endswith((".parquet", ".pq"))]
        if not found:
            raise SourceError(f"no Parquet files in {self.place!r}")
        return found

    def scan(self, file: str) -> Scan:
        # For the table itself the page's address is a plain column: what makes a table of images is not asked for.
        table = self.read.model_copy(update={"image_url": NAMES["page_url"], "page_url": None})
        scan = scan_parquet(file, table)
        own = [column for column in scan.schema if column.name not in ("key", "image_url")]
        for name, kind in zip(list(NAMES.values())[1:], ("string", "int", "int"), strict=True):
            found = str(scan.schema.field(name).type) if name in scan.schema.names else "not there"
            if kind not in found:
                raise SourceError(f"{file}: column {name!r} is {found}; a cdx has {', '.join(NAMES.values())}")
        known = [column for column in PAGE if column.name not in self.read.drop]
        extras = [column for column in own if column.name not in (*PAGE.names, *NAMES.values())]
        return replace(scan, schema=pa.schema([*known, *extras]), names={"image_url": NAMES["page_url"]})

    def rows(self, shard: Shard, schema: pa.Schema, columns: Sequence[str]) -> Iterator[Rows]:
        own = [name for name in columns if name not in PAGE.names and name != "image"]
        table = list(dict.fromkeys(["image_url", *list(NAMES.values())[1:], *own]))
        first = 0
        for run in parquet_runs(shard, table, Root(folder=".")):
            for start, stop in _batches(run):
                part = {name: array.slice(start, stop - start) for name, array in run.columns.items()}
                yield self._rows(first, part, schema, columns)
                first += stop - start

    def _rows(self, first: int, part: Mapping[str, pa.Array], schema: pa.Schema, columns: Sequence[str]) -> Rows:
        places = _places(part)
        fetched = read_ranges(self.read.base or COMMON_CRAWL, places) if set(columns) & set(_FETCHED) else None
        values = list[dict[str, object]]()
        errors: dict[str, dict[int, RowError]] = {name: {} for name in columns if name in _FETCHED}
        for row, (place, url) in enumerate(zip(places, part["image_url"].to_pylist(), strict=True)):
            data = fetched[row] if fetched is not None else None
            value, error = _values(place, data, columns) if isinstance(data, bytes) else ({}, data)
            if error is not None:  # of what was fetched only the page can be damaged; what was not is all missing
                for told in errors.values() if not value else [errors["html"]] if "html" in errors else []:
                    told[row] = error
            named = {"key": f"{place.name}:{place.offset}", "page_url": url, "warc_file": place.name}
            values.append({**value, **named, "warc_offset": place.offset, "warc_length": place.size})
        asked = [name for name in columns if name != "image"]
        arrays = [_array(name, part, values, schema.field(name).type) for name in asked]
        return Rows(
            first=first,
            table=pa.table(arrays, names=asked),
            images=NoImages(),
            slots=np.full(len(places), -1),
            errors={name: told for name, told in errors.items() if told},
        )


def _array(
    name: str, part: Mapping[str, pa.Array], values: Sequence[Mapping[str, object]], type: pa.DataType
) -> pa.Array:
    if name in PAGE.names:
        return pa.array([value.get(name) for value in values], type)
    return part[name].cast(type, safe=False) if name in part else pa.nulls(len(values), type)


def _places(part: Mapping[str, pa.Array]) -> list[Range]:
    names, offsets, sizes = (part[name].to_pylist() for name in list(NAMES.values())[1:])
    found = zip(names, offsets, sizes, strict=True)
    return [Range(name=str(name), offset=int(offset or 0), size=int(size or 0)) for name, offset, size in found]


def _batches(run: Run) -> Iterator[tuple[int, int]]:
    """[start, stop) of rows whose records are at most so many and so many bytes (at least one)."""
    sizes, start, held = run.columns[NAMES["warc_length"]].to_pylist(), 0, 0
    for row, size in enumerate(sizes):
        if row > start and (row - start == BATCH_ROWS or held + (size or 0) > BATCH_BYTES):
            yield start, row
            start, held = row, 0
        held += size or 0
    if start < len(sizes):
        yield start, len(sizes)


def _values(place: Range, data: bytes, columns: Sequence[str]) -> tuple[dict[str, object], RowError | None]:
    """What the record says; nothing where none can be recognised."""
    record = record_at(Raw(pa.BufferReader(data)), 0)
    return values_of(record, place.name, columns) if record.type else ({}, record.error)
