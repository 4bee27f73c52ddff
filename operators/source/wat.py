"""WAT files: what Common Crawl notes of each page as JSON, its image links too. LAION found its pairs in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urljoin

import pyarrow as pa

from ...schemas.fields import field
from ...schemas.pair import PAIR
from ...schemas.recipe import Read
from ..decode import RowError
from ._warc_records import Record
from .base import BATCH_BYTES, BATCH_ROWS, MARK_ROWS, Mark, Rows, Scan, Shard, Source, SourceError
from .files import check_unchanged, digest, find, is_folder, reading
from .images import without_images
from .records import parse_json
from .shape import hash_key
from .warc import records

SUFFIXES: Final = (".wat", ".wat.gz")
MAX_URL: Final = 8192
_HTML: Final = ("Envelope", "Payload-Metadata", "HTTP-Response-Metadata", "HTML-Metadata")
_COLUMNS: Final = pa.schema(
    [
        *(PAIR.field(name) for name in PAIR.names if name != "image"),
        field("warc_file", pa.string(), "name of the archive that the page lies in"),
        field("warc_offset", pa.int64(), "where its record begins there", unit="bytes"),
    ]
)

Link = dict[str, object]


@dataclass(frozen=True, kw_only=True)
class Wat(Source):
    """A row for each `<img src>` that leads to a web address, in the order of the page; the text is its alt text.

    Addresses are resolved against the page's, or its `<base>`. A record that cannot be read is a row with an error.
    """

    place: str
    read: Read

    def files(self) -> list[str]:
        found = [entry.path for entry in find(self.place)]
        if is_folder(self.place):
            found = [path for path in found if is_wat(path)]
        if not found:
            raise SourceError(f"no {' or '.join(SUFFIXES)} files in {self.place!r}")
        return found

    def scan(self, file: str) -> Scan:
        with reading(file):
            size, known = digest(file)
            pages, rows, marks = 0, 0, [Mark(source_row=0, row=0, offset=0)]
            for record in _pages(file, 0, None):
                if rows - marks[-1].row >= MARK_ROWS and record.inner == 0:
                    marks.append(Mark(source_row=pages, row=rows, offset=record.offset))
                pages, rows = pages + 1, rows + len(_links(record))
        if rows > marks[-1].row:
            marks.append(Mark(source_row=pages, row=rows, offset=size))
        schema = pa.schema([column for column in _COLUMNS if column.name not in self.read.drop])
        return Scan(file=file, bytes=size, digest=known, schema=schema, marks=marks)

    def rows(self, shard: Shard, schema: pa.Schema, columns: Sequence[str]) -> Iterator[Rows]:
        check_unchanged(shard.file, shard.digest)
        first, size, held = 0, 0, list[Link | RowError]()
        with reading(shard.file):
            for record in _pages(shard.file, shard.offset, shard.end):
                found = _links(record)
                if held and (len(held) + len(found) > BATCH_ROWS or size + record.block_bytes > BATCH_BYTES):
                    yield _rows(first, held, schema, columns)
                    first, size, held = first + len(held), 0, []
                size, held = size + record.block_bytes, held + found
            if held:
                yield _rows(first, held, schema, columns)


def is_wat(path: str) -> bool:
    """Does its name say so?"""
    return path.lower().endswith(SUFFIXES)


def _pages(file: str, start: int, stop: int | None) -> Iterator[Record]:
    return (one for one in records(file, start, stop) if one.type == "metadata" or one.error is not None)


def _links(record: Record) -> list[Link | RowError]:
    """The rows of one record: its image links, or why they cannot be had."""
    if record.error is not None:
        return [record.error]
    if len(record.block) < record.block_bytes:
        return [RowError("too_large", f"a record of {record.block_bytes:,} bytes")]
    try:
        told = parse_json(record.block)
    except RowError as error:
        return [error]
    html, container = _inside(told, *_HTML), _inside(told, "Container")
    page = record.fields.get("warc-target-uri", "").strip("<>")
    base = _inside(html, "Head").get("Base")
    base = _resolved(base, page) or page
    offset = container.get("Offset")
    about: Link = {
        "page_url": page,
        "warc_file": _string(container.get("Filename")),
        "warc_offset": int(offset) if isinstance(offset, str) and offset.isdecimal() and len(offset) < 19 else None,
    }
    links = html.get("Links")
    found = (_image(link, base) for link in (links if isinstance(links, list) else ()))
    return [about | link for link in found if link is not None]


def _inside(value: object, *names: str) -> dict[str, object]:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _image(link: object, base: str) -> Link | None:
    if not isinstance(link, dict) or link.get("path") != "IMG@/src":
        return None
    url = _resolved(link.get("url"), base)
    return {"image_url": url, "text": _string(link.get("alt"))} if url is not None else None


def _resolved(url: object, base: str) -> str | None:
    """The web address that this leads to, or None."""
    if not isinstance(url, str) or len(url) > MAX_URL:
        return None
    try:
        joined = urljoin(base, url.strip())
    except ValueError:
        return None
    return _string(joined) if joined.startswith(("http://", "https://")) and len(joined) <= MAX_URL else None


def _string(value: object) -> str | None:
    """JSON may hold halves of surrogate pairs, which are no text."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else None


def _rows(first: int, links: Sequence[Link | RowError], schema: pa.Schema, columns: Sequence[str]) -> Rows:
    errors = {row: link for row, link in enumerate(links) if isinstance(link, RowError)}
    values: list[Link] = [{} if isinstance(link, RowError) else link for link in links]
    for value in values:
        text = value.get("text")
        value["key"] = hash_key(str(value["image_url"]), text if isinstance(text, str) else None) if value else None
    told = {name: errors for name in columns if name not in ("key", "image")} if errors else {}
    return without_images(first, values, schema, columns, told)
