"""Tables: Parquet, CSV, TSV or JSONL, with image bytes, paths of images, or addresses only."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

import numpy as np
import pyarrow as pa

from ...schemas.pair import PAIR
from ...schemas.recipe import Read
from ..decode import RowError
from .base import BATCH_BYTES, BATCH_ROWS, MARK_ROWS, Images, Mark, Rows, Scan, Shard, Source, SourceError
from .files import check_unchanged, digest, find, is_folder, open_file, reading
from .images import NoImages, PathImages, Root
from .lines import Fields, captions, column, learn, read_lines
from .names import USUAL_NAMES, extras, find_names, needed, refuse_nothing
from .parquet import parquet_runs, scan_parquet
from .records import Inference, extra_type
from .shape import Run, Shape

FORMATS: Final = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
COMPRESSED: Final = (".gz", ".bz2", ".xz", ".zst", ".zip")


@dataclass(frozen=True, kw_only=True)
class Table(Source):
    """A row of the table is a row, or as many as it has captions. Columns are told by their usual names (`names.py`).

    Keys: the key column, else the image's path, else a hash of address and text, else FILE:ROW.
    """

    place: str
    read: Read

    def files(self) -> list[str]:
        found = [entry.path for entry in find(self.place)]
        if is_folder(self.place):
            formats = Counter(FORMATS[_suffix(path)] for path in found if _suffix(path) in FORMATS)
            if len(formats) > 1:
                kinds = " and ".join(sorted(formats))
                raise SourceError(
                    f"{self.place!r} holds {kinds} files; say which: a pattern such as '*.{min(formats)}'"
                )
            found = [path for path in found if _suffix(path) in FORMATS]
        packed = [path for path in found if _suffix(path) in COMPRESSED]
        if packed:
            raise SourceError(f"{packed[0]}: compressed tables cannot be read in parts; unpack them first")
        if not found:
            raise SourceError(f"no tables in {self.place!r}; {', '.join(FORMATS)} are read")
        return found

    def scan(self, file: str) -> Scan:
        format = format_of(file)
        return scan_parquet(file, self.read) if format == "parquet" else _scan_lines(file, format, self.read)

    def rows(self, shard: Shard, schema: pa.Schema, columns: Sequence[str]) -> Iterator[Rows]:
        root = Root(folder=self.read.root or posixpath.dirname(shard.file) or ".")
        format = format_of(shard.file)
        runs = (
            parquet_runs(shard, columns, root) if format == "parquet" else _runs(shard, schema, columns, root, format)
        )
        return Shape(schema=schema, columns=columns, stem=PurePath(shard.file).stem).rows(runs)


def format_of(file: str) -> str:
    """By suffix; by the first bytes where the suffix says nothing."""
    if _suffix(file) in FORMATS:
        return FORMATS[_suffix(file)]
    with reading(file), open_file(file) as handle:
        head = bytes(handle.read(4096))
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
        return "jsonl"
    first_line = head.split(b"\n")[0]
    if b"\t" in first_line or b"," in first_line:
        return "tsv" if b"\t" in first_line else "csv"
    raise SourceError(f"{file}: neither its name nor its first bytes say what it is; {', '.join(FORMATS)} are read")


def _suffix(path: str) -> str:
    return PurePath(path).suffix.lower()


def _scan_lines(file: str, format: str, read: Read) -> Scan:
    """One pass: byte offsets every so many rows, and the columns' types."""
    with reading(file):
        size, found = digest(file)
        inference = Inference()
        see = learn(inference, format)
        rows, end, marks = 0, 0, [(0, 0, Counter[str]())]
        for rows, line in enumerate(read_lines(file, format), 1):
            if not isinstance(line.record, RowError):
                see(line.record)
            end = line.end
            if rows % MARK_ROWS == 0:
                marks.append((rows, end, inference.more_rows()))
    if rows % MARK_ROWS:
        marks.append((rows, end, inference.more_rows()))
    columns = inference.schema() if format == "jsonl" else _with_texts(inference.schema(), read)
    names = find_names(read, columns, file) if len(columns) else {}
    if len(columns):
        refuse_nothing(names, columns, file)
    fields = [PAIR.field(name) for name in PAIR.names if name in names or name == "key"]
    fields += [pa.field(name, extra_type(columns.field(name).type)) for name in extras(names, columns, read.drop)]
    text = names.get("text")
    return Scan(
        file=file,
        bytes=size,
        digest=found,
        schema=pa.schema(fields),
        marks=[
            Mark(source_row=row, row=row + (spread[text] if text is not None else 0), offset=at)
            for row, at, spread in marks
        ],
        names=names,
    )


def _with_texts(columns: pa.Schema, read: Read) -> pa.Schema:
    """In CSV a caption may look like a number: what is called a text, or named in the recipe, is one."""
    texts = {*USUAL_NAMES["text"], *(str(getattr(read, name)).lower() for name in USUAL_NAMES)}
    return pa.schema([c.with_type(pa.string()) if c.name.lower() in texts else c for c in columns])


def _runs(shard: Shard, schema: pa.Schema, columns: Sequence[str], root: Root, format: str) -> Iterator[Run]:
    """Lines between the shard's offsets, so many or so many bytes of them at a time."""
    check_unchanged(shard.file, shard.digest)
    with reading(shard.file):
        first, begin, held = shard.start, shard.offset, list[Fields]()
        for line in read_lines(shard.file, format, shard.offset, shard.end):
            held.append(line.record)
            if len(held) == BATCH_ROWS or line.end - begin >= BATCH_BYTES:
                yield _run(shard, schema, columns, root, format, first, held)
                first, begin, held = first + len(held), line.end, []
        if held:
            yield _run(shard, schema, columns, root, format, first, held)


def _run(
    shard: Shard,
    schema: pa.Schema,
    columns: Sequence[str],
    root: Root,
    format: str,
    first: int,
    records: list[Fields],
) -> Run:
    names = shard.names
    own = {*names.values(), *(name for name in schema.names if name not in PAIR.names)}
    wanted = needed(names, columns, sorted(own))
    wanted.pop("text", None)
    arrays = {name: column(records, source, schema.field(name).type, format) for name, source in wanted.items()}
    if "text" in names:
        arrays["text"] = captions(records, names["text"], format)
    images: Images = NoImages()
    slots, paths = np.full(len(records), -1), None
    if "image" in names:
        paths = column(records, names["image"], pa.string(), format)
        images = PathImages(paths, root)
        given = np.array([not isinstance(record, RowError) and bool(record.get(names["image"])) for record in records])
        slots = np.where(given, np.arange(len(records)), -1)
    broken = {i: record for i, record in enumerate(records) if isinstance(record, RowError)}
    return Run(first=first, columns=arrays, images=images, slots=slots, paths=paths, broken=broken)
