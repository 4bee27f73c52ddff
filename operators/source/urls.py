"""Addresses to be crawled: a list of them, one a line, or a single one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from ...schemas.pair import PAIR
from ...schemas.recipe import Read
from ..decode import RowError
from .base import BATCH_ROWS, MARK_ROWS, Mark, Rows, Scan, Shard, ShardError, Source
from .files import check_unchanged, digest, find, open_file, reading
from .images import NoImages
from .shape import hash_key

MAX_LINE_BYTES: Final = 16 << 10
READ_BYTES: Final = 1 << 20
_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, kw_only=True)
class Urls(Source):
    """A line of a text file is a row, with an address of a page, or of an image (`urls_of: images`).

    Blank lines and those that begin with # are none. The key is a hash of the address.
    """

    place: str
    read: Read

    def files(self) -> list[str]:
        return [self.place] if is_url(self.place) else [entry.path for entry in find(self.place)]

    def scan(self, file: str) -> Scan:
        names = ["key", "image_url" if self.read.urls_of == "images" else "page_url"]
        schema = pa.schema([PAIR.field(name) for name in PAIR.names if name in names])
        if is_url(file):
            marks = [Mark(source_row=0, row=0, offset=0), Mark(source_row=1, row=1, offset=len(file))]
            return Scan(file=file, bytes=len(file), digest=_digest(file), schema=schema, marks=marks)
        rows, end, marks = 0, 0, [Mark(source_row=0, row=0, offset=0)]
        with reading(file):
            size, known = digest(file)
            for rows, (_, end) in enumerate(_lines(file, 0, size), 1):
                if rows % MARK_ROWS == 0:
                    marks.append(Mark(source_row=rows, row=rows, offset=end))
        if rows % MARK_ROWS:
            marks.append(Mark(source_row=rows, row=rows, offset=end))
        return Scan(file=file, bytes=size, digest=known, schema=schema, marks=marks)

    def rows(self, shard: Shard, schema: pa.Schema, columns: Sequence[str]) -> Iterator[Rows]:
        if is_url(shard.file):
            yield _rows(0, [shard.file.encode()], columns)
            return
        check_unchanged(shard.file, shard.digest)
        with reading(shard.file):
            first, held = 0, list[bytes | None]()
            for line, _ in _lines(shard.file, shard.offset, shard.end):
                held.append(line)
                if len(held) == BATCH_ROWS:
                    yield _rows(first, held, columns)
                    first, held = first + len(held), []
            if held:
                yield _rows(first, held, columns)


def is_url(place: str) -> bool:
    """Is it an address on the web?"""
    return place.lower().startswith(("http://", "https://"))


def lists_urls(file: str) -> bool:
    """Does a text file begin with an address?"""
    with reading(file), open_file(file) as handle:
        size = min(int(handle.size()), READ_BYTES)
    first = next(_lines(file, 0, size), (None, 0))[0]
    return first is not None and is_url(first.decode("latin-1"))


def _rows(first: int, lines: Sequence[bytes | None], columns: Sequence[str]) -> Rows:
    urls, errors = list[str | None](), dict[int, RowError]()
    for row, line in enumerate(lines):
        try:
            urls.append(_text(line))
        except RowError as error:
            urls.append(None)
            errors[row] = error
    values = {"key": [None if url is None else hash_key(url, None) for url in urls]}
    named = [name for name in columns if name != "image"]
    return Rows(
        first=first,
        table=pa.table([pa.array(values.get(name, urls), pa.string()) for name in named], names=named),
        images=NoImages(),
        slots=np.full(len(lines), -1),
        errors={name: errors for name in named if name != "key"} if errors else {},
    )


def _text(line: bytes | None) -> str:
    if line is None:
        raise RowError("invalid_row", f"a line of more than {MAX_LINE_BYTES:,} bytes")
    try:
        return line.decode()
    except UnicodeDecodeError:
        raise RowError("invalid_utf8", "the line is not valid UTF-8") from None


def _digest(url: str) -> str:
    return hashlib.blake2b(url.encode(), digest_size=16).hexdigest()


def _lines(file: str, start: int, end: int) -> Iterator[tuple[bytes | None, int]]:
    """(line that is a row, offset behind it); None for one that is too long to be an address."""
    with open_file(file) as handle:
        if bytes(handle.read_at(2, 0)) in (b"\xff\xfe", b"\xfe\xff"):
            raise ShardError(f"{file}: the text is UTF-16; convert it to UTF-8: iconv -f UTF-16 -t UTF-8")
        held, at, too_long = b"", start, False
        for position in range(start, end, READ_BYTES):
            *whole, held = (held + bytes(handle.read_at(min(READ_BYTES, end - position), position))).split(b"\n")
            for line in whole:
                at += len(line) + 1
                if row := _row(line, too_long):
                    yield row[0], at
                too_long = False
            if len(held) > MAX_LINE_BYTES:
                at, held, too_long = at + len(held), b"", True
        if row := _row(held, too_long):
            yield row[0], at + len(held)


def _row(line: bytes, too_long: bool) -> tuple[bytes | None] | None:
    """The line in a tuple; nothing for blanks and remarks."""
    if too_long or len(line) > MAX_LINE_BYTES:
        return (None,)
    line = line.removeprefix(_BOM).strip()
    return (line,) if line and not line.startswith(b"#") else None
