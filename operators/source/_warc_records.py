"""Records of WARC and ARC files, one after the other, each with its place in the file.

A damaged record comes as one with an error; the walk goes on with the next that can be recognised. What a record is
depends on the bytes from its beginning on and on nothing else, so a walk may start where any record begins.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from ..decode import RowError
from ._warc_bytes import ARC_LINE, GZIP, LONGEST_LINE, WARC_LINE, Raw, Stretch, no_line_ends

MAX_HEAD_BYTES: Final = 1 << 20
MAX_BLOCK_BYTES: Final = 64 << 20  # of a record's block that are held
_EMPTY_LINE: Final = re.compile(rb"\n\r{0,2}\n")  # two: files went through programs that turned line ends once more
_LENGTH: Final = re.compile("[0-9]{1,18}")
MAX_DAMAGES: Final = 100  # in one gzip member: after each, the member is unpacked anew


@dataclass(kw_only=True, slots=True)
class Record:
    """One record: its place, its header, and its block as it lies there."""

    offset: int  # of its gzip member, or of itself in a plain file
    inner: int = 0  # unpacked bytes before it in its member: 0 where each record is a member of its own
    length: int = 0  # bytes in the file; 0 where a member holds several records
    type: str = ""  # warcinfo, request, response, ...; those of an ARC are `response`, its head is `warcinfo`
    fields: Mapping[str, str] = field(default_factory=dict)  # lower-case names; an ARC's have the names of WARC
    block: bytes = b""  # at most MAX_BLOCK_BYTES
    block_bytes: int = 0  # how long it is
    error: RowError | None = None


def walk(raw: Raw, start: int = 0, stop: int | None = None, keep: int = MAX_BLOCK_BYTES) -> Iterator[Record]:
    """The records that begin in [start, stop) of the file; at most `keep` bytes of a block are held."""
    stop = raw.size if stop is None else stop
    return _packed(raw, start, stop, keep) if raw.packed else _plain(raw, start, stop, keep)


def record_at(raw: Raw, offset: int, inner: int = 0, keep: int = MAX_BLOCK_BYTES) -> Record:
    """The record at a place that a walk has told."""
    stretch = Stretch(raw, offset)
    stretch.skip(inner)
    return _read(stretch, keep)


def _plain(raw: Raw, at: int, stop: int, keep: int) -> Iterator[Record]:
    stretch = Stretch(raw, at)
    stretch.skip_line_ends()
    while stretch.end < stop and stretch.peek(1):
        record = _read(stretch, keep)
        if record.error is not None:
            stretch = Stretch(raw, record.offset + 1)
            if stretch.seek_record():
                record.error = _overlong(record.error)
        record.length = stretch.end - record.offset
        yield record


def _packed(raw: Raw, at: int, stop: int, keep: int) -> Iterator[Record]:
    while at < stop:
        if raw.at(at, 2) == GZIP:
            at = yield from _of_member(raw, at, keep)
        else:
            end = raw.next_member(at)
            error = RowError("damaged_record", f"{end - at:,} bytes that are no gzip member")
            yield Record(offset=at, length=end - at, error=error)
            at = end


def _of_member(raw: Raw, at: int, keep: int) -> Generator[Record, None, int]:
    """The records of one member; returns where the next one begins."""
    stretch, last, damages = Stretch(raw, at), None, 0
    while stretch.peek(1) and damages < MAX_DAMAGES:
        if last is not None:
            yield last
        last = _read(stretch, keep)
        if last.error is not None:
            damages += 1
            stretch = Stretch(raw, at)
            stretch.skip(last.inner + 1)
            if stretch.seek_record():
                last.error = _overlong(last.error)
    stretch.skip(1 << 62)
    end = stretch.end if stretch.broken is None else raw.next_member(at + 1)
    if last is None and stretch.broken is not None:
        last = Record(offset=at, error=stretch.broken)
    if last is not None:
        last.length = end - at if last.inner == 0 else 0
        yield last
    return end


def _overlong(error: RowError) -> RowError:
    """What seemed to be cut off was not, where another record follows."""
    return RowError("damaged_record", "its length reaches into the next") if error.kind == "truncated" else error


def _read(stretch: Stretch, keep: int) -> Record:
    """The record that begins here, and on to behind it."""
    place = (stretch.offset, stretch.used) if stretch.packed else (stretch.end, 0)
    record = Record(offset=place[0], inner=place[1])
    stretch.skip_line_ends()
    try:
        _read_head(stretch, record)
        length = int(record.fields["content-length"])
        try:
            stretch.check_block(length)
        except RowError:
            record.block, record.block_bytes = stretch.peek(min(keep, LONGEST_LINE)), length  # its status and headers
            raise
        record.block, record.block_bytes = stretch.take(length, keep)
        if record.block_bytes < length:
            raise stretch.broken or RowError("truncated", f"{record.block_bytes:,} bytes of {length:,}")
        if stretch.peek(1) not in (b"", b"\r", b"\n"):
            raise no_line_ends(length)
        stretch.skip_line_ends()
        if stretch.broken is not None and not stretch.peek(1):
            raise stretch.broken
    except RowError as error:
        record.error = error.bare()
    return record


def _read_head(stretch: Stretch, record: Record) -> None:
    """Type and fields, up to where the block begins."""
    ahead = stretch.peek(LONGEST_LINE)
    if line := ARC_LINE.match(ahead):
        stretch.skip(line.end())
        url, ip, date, media_type, _, length = (_text(part or b"") for part in line.groups())
        record.type = "warcinfo" if url.startswith("filedesc:") else "response"
        record.fields = {
            "warc-target-uri": url,
            "warc-ip-address": ip,
            "warc-date": date,
            "content-type": media_type,
            "content-length": length,
        }
        return
    if not WARC_LINE.match(ahead):
        raise stretch.broken or RowError("damaged_record", "neither a WARC nor an ARC record begins here")
    head = _head(stretch)
    record.fields = read_fields(head)
    record.type = record.fields.get("warc-type", "").lower()
    if not _LENGTH.fullmatch(record.fields.get("content-length", "")):
        raise RowError("damaged_record", f"Content-Length is {record.fields.get('content-length')!r:.40}")


def _head(stretch: Stretch) -> bytes:
    """The lines up to an empty one, which is passed, too."""
    size = 1 << 12
    while True:
        ahead = stretch.peek(size)
        end = end_of_head(ahead)
        if end >= 0:
            stretch.skip(end)
            return ahead[:end]
        if len(ahead) < size:
            raise stretch.broken or RowError("truncated", "it ends within the header of a record")
        if size >= MAX_HEAD_BYTES:
            raise RowError("damaged_record", f"a header of more than {MAX_HEAD_BYTES:,} bytes")
        size *= 4


def end_of_head(data: bytes) -> int:
    """Where the first empty line ends, or -1."""
    found = _EMPTY_LINE.search(data)
    return found.end() if found else -1


def read_fields(head: bytes) -> dict[str, str]:
    """`name: value` lines behind the first one; of a name that comes twice the first counts. Names in lower case."""
    return dict(reversed(read_lines(head)))


def read_lines(head: bytes) -> list[tuple[str, str]]:
    """All of them, in their order; a line that begins with a blank goes on with the one before."""
    lines: list[tuple[str, str]] = []
    for line in _text(head).split("\n")[1:]:
        before, colon, value = line.partition(":")
        if before[:1] in (" ", "\t"):
            if lines:
                lines[-1] = (lines[-1][0], f"{lines[-1][1]} {line.strip()}")
        elif colon:
            lines.append((before.strip().lower(), value.strip()))
    return lines


def _text(value: bytes) -> str:
    """UTF-8, as WARC has it, or else Latin-1, as HTTP had."""
    try:
        return value.strip().decode()
    except UnicodeDecodeError:
        return value.strip().decode("latin-1")
