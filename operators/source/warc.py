"""Web archives: WARC and ARC files, packed by gzip or plain.

A file is read through once, to find where records begin; shards begin at such places, and later passes go straight
there. Damaged records are rows with an error, never the end of a file.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from ...schemas.page import PAGE
from ...schemas.recipe import Read
from ..decode import RowError
from ._warc_bytes import CHUNK_BYTES, Raw
from ._warc_records import MAX_BLOCK_BYTES, Record, walk
from ._warc_rows import BODY_COLUMNS, is_row, values_of
from .base import BATCH_BYTES, BATCH_ROWS, MARK_ROWS, Mark, Rows, Scan, Shard, Source, SourceError
from .files import check_unchanged, digest, find, is_folder, is_remote, open_file, reading
from .images import without_images
from .urls import is_url

SUFFIXES: Final = (".warc", ".warc.gz", ".arc", ".arc.gz")
LISTS: Final = (".paths", ".paths.gz")  # as Common Crawl publishes them: a name of an archive a line
MAX_LIST_BYTES: Final = 256 << 20
REMOTE_CHUNK_BYTES: Final = 8 << 20
HEAD_BYTES: Final = 64 << 10  # of a block, where nobody asks for its body


@dataclass(frozen=True, kw_only=True)
class Warc(Source):
    """A row for each response, resource and revisit, and for each damaged record; requests and metadata give none.

    A gzip file that is one member, as `gzip FILE` makes it of a plain archive, cannot be read in parts: it is a shard.
    """

    place: str
    read: Read

    def files(self) -> list[str]:
        found = [entry.path for entry in find(self.place)]
        lists = [path for path in found if path.lower().endswith(LISTS)]
        archives = [path for path in found if is_archive(path) or not (is_folder(self.place) or path in lists)]
        for path in lists if not archives else ():
            archives += _listed(path, self.read.base)
        if not archives:
            raise SourceError(f"no archives in {self.place!r}; {', '.join(SUFFIXES)} are read")
        return sorted(set(archives))

    def scan(self, file: str) -> Scan:
        with reading(file):
            size, known = digest(file)
            rows, marks = 0, [Mark(source_row=0, row=0, offset=0)]
            for record in records(file, keep=0):
                if rows - marks[-1].row >= MARK_ROWS and record.inner == 0:
                    marks.append(Mark(source_row=rows, row=rows, offset=record.offset))
                rows += is_row(record)
        if rows > marks[-1].row:
            marks.append(Mark(source_row=rows, row=rows, offset=size))
        return Scan(file=file, bytes=size, digest=known, schema=_schema(self.read), marks=marks)

    def rows(self, shard: Shard, schema: pa.Schema, columns: Sequence[str]) -> Iterator[Rows]:
        check_unchanged(shard.file, shard.digest)
        keep = MAX_BLOCK_BYTES if set(columns) & set(BODY_COLUMNS) else HEAD_BYTES
        with reading(shard.file):
            found = (record for record in records(shard.file, shard.offset, shard.end, keep) if is_row(record))
            yield from in_batches(((record, shard.file) for record in found), schema, columns)


def _listed(file: str, base: str | None) -> list[str]:
    """The archives that a list names, below the base or else the list's own folder."""
    if base is not None and is_url(base):
        raise SourceError(
            f"archives are read from disk or S3, not from {base!r}; give a cdx, or base: s3://commoncrawl/"
        )
    kind = "gzip" if file.lower().endswith(".gz") else None
    try:
        with open_file(file) as handle, pa.input_stream(handle, kind) as lines:
            text = lines.read(MAX_LIST_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{file}: {error}") from error
    names = [line.strip() for line in text.splitlines()]
    return [posixpath.join(base or posixpath.dirname(file), name) for name in names if name and name[0] != "#"]


def is_archive(path: str) -> bool:
    """Does its name say that it is a WARC or ARC file?"""
    return path.lower().endswith(SUFFIXES)


def records(file: str, start: int = 0, stop: int | None = None, keep: int = MAX_BLOCK_BYTES) -> Iterator[Record]:
    """The records that begin in [start, stop) of a file."""
    with open_file(file) as handle:
        yield from walk(Raw(handle, REMOTE_CHUNK_BYTES if is_remote(file) else CHUNK_BYTES), start, stop, keep)


def _schema(read: Read) -> pa.Schema:
    return pa.schema([column for column in PAGE if column.name not in read.drop])


def in_batches(found: Iterator[tuple[Record, str]], schema: pa.Schema, columns: Sequence[str]) -> Iterator[Rows]:
    """Records and their files as rows, so many or so many bytes at a time."""
    first, held, values, errors = 0, 0, list[dict[str, object]](), dict[int, RowError]()
    for record, file in found:
        value, error = values_of(record, file, columns)
        if error is not None:
            errors[len(values)] = error
        page = value.get("html")
        values.append(value)
        held += len(page) if isinstance(page, bytes) else 0
        if len(values) == BATCH_ROWS or held >= BATCH_BYTES:
            yield _rows(first, values, errors, schema, columns)
            first, held, values, errors = first + len(values), 0, [], {}
    if values:
        yield _rows(first, values, errors, schema, columns)


def _rows(
    first: int, values: list[dict[str, object]], errors: dict[int, RowError], schema: pa.Schema, columns: Sequence[str]
) -> Rows:
    return without_images(first, values, schema, columns, {"html": errors} if errors and "html" in columns else {})
