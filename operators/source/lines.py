"""Lines of JSONL, CSV and TSV: read in one pass that notes byte offsets, later from any such offset.

CSV and TSV have a header, quotes as Excel writes them (a quoted field may hold line breaks), and null where a field is
empty. Blank lines are no rows. A line that cannot be read is a row of nulls with an error.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from ..decode import RowError
from .base import ShardError
from .files import open_file
from .records import Inference, captions_column, csv_column, json_column, parse_json

READ_BYTES: Final = 4 << 20
MAX_LINE_BYTES: Final = 64 << 20
DELIMITERS: Final = {"csv": ",", "tsv": "\t"}
_BOM: Final = b"\xef\xbb\xbf"

Fields = Mapping[str, object] | RowError


@dataclass(frozen=True)
class Line:
    """One source row: its record or why there is none, and the offset at which the next one begins."""

    record: Fields
    end: int


def read_lines(file: str, format: str, start: int = 0, end: int | None = None) -> Iterator[Line]:
    """The records between two byte offsets, which must be where records begin (0 is: a header is no record)."""
    if format == "jsonl":
        return _json_lines(_lines(file, start, end))
    return _csv_lines(file, DELIMITERS[format], start, end)


def learn(inference: Inference, format: str) -> Callable[[Mapping[str, object]], None]:
    """How records of this format are taken note of."""
    return inference.see if format == "jsonl" else inference.see_text  # type: ignore[return-value]


def column(records: Sequence[Fields], name: str, type: pa.DataType, format: str) -> pa.Array:
    """One column of some records; a broken record gives null."""
    values = [None if isinstance(record, RowError) else record.get(name) for record in records]
    if format == "jsonl":
        return json_column(values, type)
    return csv_column(values, type)  # type: ignore[arg-type]


def captions(records: Sequence[Fields], name: str, format: str) -> pa.Array:
    """The text column: strings, or lists of them."""
    if format != "jsonl":
        return column(records, name, pa.string(), format)
    return captions_column([None if isinstance(record, RowError) else record.get(name) for record in records])


def _json_lines(lines: Iterator[tuple[int, bytes | None]]) -> Iterator[Line]:
    for end, line in lines:
        if line is None:
            yield Line(RowError("invalid_json", f"a line of more than {MAX_LINE_BYTES >> 20} MiB"), end)
        elif line.strip():
            yield Line(_json_record(line), end)


def _json_record(line: bytes) -> Fields:
    try:
        return parse_json(line)
    except RowError as error:
        return error


def _csv_lines(file: str, delimiter: str, start: int, end: int | None) -> Iterator[Line]:
    header_end, header = next(_records(_lines(file, 0, None), delimiter), (0, []))
    if isinstance(header, RowError) or not header:
        raise ShardError(f"{file}: no header: {header if isinstance(header, RowError) else 'the file is empty'}")
    if not "".join(header).isprintable():  # surrogates, which stand for bytes that are not UTF-8, are not
        raise ShardError(f"{file}: the header is not plain UTF-8 text: {header[:5]!r}")
    names = [name or f"column_{number}" for number, name in enumerate(header, 1)]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ShardError(f"{file}: more than one column is called {twice!r}")
    for after, fields in _records(_lines(file, max(start, header_end), end), delimiter):
        if isinstance(fields, RowError):
            yield Line(fields, after)
        elif len(fields) != len(names):
            yield Line(RowError("invalid_row", f"{len(fields)} fields under {len(names)} names"), after)
        else:
            yield Line(dict(zip(names, fields, strict=True)), after)


def _records(lines: Iterator[tuple[int, bytes | None]], delimiter: str) -> Iterator[tuple[int, list[str] | RowError]]:
    """(offset after the record, its fields). After an error the next record begins with the next line."""
    csv.field_size_limit(MAX_LINE_BYTES)  # the limit is the process's; Python's own is 128 KiB
    after = 0

    def feed() -> Iterator[str]:
        nonlocal after
        for after, line in lines:  # noqa: B007  (read by the caller: how far the reader has come)
            if line is None:
                raise csv.Error(f"a line of more than {MAX_LINE_BYTES >> 20} MiB")
            yield line.decode("utf-8", "surrogateescape")

    while True:
        reader = csv.reader(feed(), delimiter=delimiter, strict=True)
        try:
            for fields in reader:
                if fields:
                    yield after, fields
            return
        except csv.Error as error:
            yield after, RowError("invalid_row", str(error))


def _lines(file: str, start: int, end: int | None) -> Iterator[tuple[int, bytes | None]]:
    """(offset after the line, the line with its line feed), None for a line that is too long to hold."""
    with open_file(file) as source:
        end = int(source.size()) if end is None else end
        held, at, too_long = b"", start, False
        for position in range(start, end, READ_BYTES):
            chunk = bytes(source.read_at(min(READ_BYTES, end - position), position))
            if position == 0:
                _refuse_utf16(file, chunk)
                held, at, chunk = b"", at + 3 * chunk.startswith(_BOM), chunk.removeprefix(_BOM)
            *whole, rest = (held + chunk).split(b"\n")
            for line in whole:
                at += len(line) + 1
                yield at, None if too_long else line + b"\n"
                too_long = False
            held = rest
            if too_long or len(held) > MAX_LINE_BYTES:
                at, held, too_long = at + len(held), b"", True
        if held or too_long:
            yield at + len(held), None if too_long else held


def _refuse_utf16(file: str, head: bytes) -> None:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ShardError(f"{file}: the text is UTF-16; convert it to UTF-8: iconv -f UTF-16 -t UTF-8")
    if head.startswith(b"\x1f\x8b"):
        raise ShardError(f"{file}: the file is compressed; unpack it first: gunzip")
