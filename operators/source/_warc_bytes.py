"""The bytes of a WARC or ARC file, unpacked: gzip member by gzip member, or as they are.

Nothing here knows what a record is, only where one can begin. What is held is bounded, whatever a member unpacks to.
"""

from __future__ import annotations

import functools
import re
import zlib
from collections.abc import Iterator
from typing import Final

import pyarrow as pa

from ..decode import RowError

PIECE_BYTES: Final = 1 << 20  # unpacked at a time
CHUNK_BYTES: Final = 1 << 20  # read at a time
GZIP: Final = b"\x1f\x8b"
_MEMBER: Final = re.compile(rb"\x1f\x8b\x08[\x00-\x1f]")
_SNIFFED_BYTES: Final = 4096
# Address, IP, date, media type, then (in version 2 only) status and four more fields, then the length.
ARC_LINE: Final = re.compile(
    rb"([A-Za-z][A-Za-z0-9+.-]{0,15}:[^\r\n]{0,8192}?) (\S{1,64}) (\d{12,17}) (\S{1,256}(?: \S{1,256})?)"
    rb"(?: (\d{1,3}|-) \S+ \S+ \S+ \S+)? (\d{1,15})\r{0,2}\n"
)
WARC_LINE: Final = re.compile(rb"WARC/\d\.\d{1,3}\r{0,2}\n")
_BEGIN: Final = re.compile(rb"(?=" + WARC_LINE.pattern + rb"[A-Za-z-]{1,64}:)|\n(?=" + ARC_LINE.pattern + rb")")
LONGEST_LINE: Final = 10 << 10


def begins_record(data: bytes) -> bool:
    """Does a record begin here?"""
    return WARC_LINE.match(data) is not None or ARC_LINE.match(data) is not None


def no_line_ends(size: int) -> RowError:
    """Where a record should end, it goes on."""
    return RowError("damaged_record", f"no line ends behind its {size:,} bytes")


class Raw:
    """A file that is read forwards mostly, by large chunks."""

    def __init__(self, handle: pa.NativeFile, chunk: int = CHUNK_BYTES) -> None:
        self._handle, self._chunk = handle, chunk
        self.size = int(handle.size())
        self._held, self._first = b"", 0

    def at(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes; fewer only at the end of the file."""
        begin = offset - self._first
        if not 0 <= begin <= begin + size <= len(self._held):
            wanted = max(0, min(max(size, self._chunk), self.size - offset))
            self._held, self._first, begin = bytes(self._handle.read_at(wanted, offset)), offset, 0
        return self._held[begin : begin + size]

    def byte(self, offset: int) -> bytes:
        """One byte far away, while what was read stays at hand; none behind the end."""
        return bytes(self._handle.read_at(1, offset)) if offset < self.size else b""

    @functools.cached_property
    def packed(self) -> bool:
        """Is it gzip? Where the first bytes are damaged, what comes soon after tells."""
        head = bytes(self._handle.read_at(min(LONGEST_LINE, self.size), 0))
        plain = begins_record(head.lstrip(b"\r\n"))
        return head[:2] == GZIP or (not plain and self.next_member(0, CHUNK_BYTES) < self.size)

    def next_member(self, offset: int, within: int | None = None) -> int:
        """Where the next gzip member with a record in it begins, at `offset` or later; the file's size without one."""
        stop = self.size if within is None else min(self.size, offset + within)
        while offset < stop:
            data = self.at(offset, self._chunk)
            for found in _MEMBER.finditer(data):
                if self._unpacks_to_a_record(offset + found.start()):
                    return offset + found.start()
            offset += len(data) - 3 if len(data) == self._chunk else len(data)
        return self.size

    def _unpacks_to_a_record(self, offset: int) -> bool:
        packed = bytes(self._handle.read_at(min(_SNIFFED_BYTES, self.size - offset), offset))
        try:
            return begins_record(zlib.decompressobj(31).decompress(packed, _SNIFFED_BYTES))
        except zlib.error:
            return False


class Stretch:
    """Unpacked bytes without a break: those of one gzip member, or of a plain file from some offset to its end."""

    def __init__(self, raw: Raw, offset: int) -> None:
        self._raw, self.offset = raw, offset
        self.packed = raw.packed
        self.used = 0  # unpacked bytes taken so far
        self.broken: RowError | None = None  # why the member could not be unpacked to its end, once that was tried
        self._next = offset  # in the file: what is read next
        self._held, self._at = b"", 0
        self._pieces = self._unpacked() if self.packed else iter(())

    def peek(self, size: int) -> bytes:
        """Up to `size` bytes, left where they are; fewer only at the end."""
        while len(self._held) - self._at < size and (piece := self._piece()):
            self._held, self._at = self._held[self._at :] + piece, 0
        return self._held[self._at : self._at + size]

    def take(self, size: int, keep: int) -> tuple[bytes, int]:
        """Go on by `size` bytes: the first `keep` of them, and how many there were."""
        wanted, parts = min(size, keep), list[bytes]()
        while wanted and (part := self.peek(min(wanted, PIECE_BYTES))):
            parts.append(part)
            wanted -= len(part)
            self._drop(len(part))
        first = b"".join(parts)
        return first, len(first) + (self.skip(size - len(first)) if not wanted else 0)

    def skip(self, size: int) -> int:
        """Go on by up to `size` bytes, and how many there were. In a plain file nothing is read for it."""
        skipped = min(size, len(self._held) - self._at)
        self._drop(skipped)
        if not self.packed:
            far = min(size - skipped, self._raw.size - self._next)
            self._next, self.used = self._next + far, self.used + far
            return skipped + far
        while skipped < size and (piece := self.peek(min(PIECE_BYTES, size - skipped))):
            skipped += len(piece)
            self._drop(len(piece))
        return skipped

    def check_block(self, size: int) -> None:
        """RowError where no block of `size` bytes can lie here, as far as a plain file tells without reading it."""
        if self.packed or size <= PIECE_BYTES:
            return
        left = self._raw.size - self.end
        if size > left:
            raise RowError("truncated", f"{left:,} bytes of {size:,}")
        if self._raw.byte(self.end + size) not in (b"", b"\r", b"\n"):
            raise no_line_ends(size)

    def skip_line_ends(self) -> None:
        """Go on to what is no line end."""
        size = 4
        while ahead := self.peek(size):
            ends = len(ahead) - len(ahead.lstrip(b"\r\n"))
            self._drop(ends)
            if ends < len(ahead):
                return
            size = min(2 * size, PIECE_BYTES)

    def seek_record(self) -> bool:
        """Go on to where the next record begins; False when there is none left."""
        while ahead := self.peek(PIECE_BYTES):
            if found := _BEGIN.search(ahead):
                self._drop(found.end())
                return True
            self._drop(len(ahead) - LONGEST_LINE if len(ahead) == PIECE_BYTES else len(ahead))
        return False

    @property
    def end(self) -> int:
        """How far the file has been used, in its own bytes; of a member once it was taken whole."""
        return self._next if self.packed else self.offset + self.used

    def _drop(self, size: int) -> None:
        self._at += size
        self.used += size

    def _piece(self) -> bytes:
        if self.packed:
            return next(self._pieces, b"")
        data = self._raw.at(self._next, CHUNK_BYTES)
        self._next += len(data)
        return data

    def _unpacked(self) -> Iterator[bytes]:
        """The member's bytes by pieces. The input goes in by small steps: zlib copies what it leaves over."""
        inflate, at, step, given = zlib.decompressobj(31), self.offset, 4096, 0
        while not inflate.eof:
            packed = self._raw.at(at, step)
            if not packed:
                self.broken = RowError("truncated", f"the file ends within the gzip member at byte {self.offset:,}")
                return
            at, step = at + len(packed), min(2 * step, 1 << 16)
            while packed and not inflate.eof:  # behind the end `unconsumed_tail` may hold what `unused_data` has
                try:
                    piece = inflate.decompress(packed, PIECE_BYTES)
                except zlib.error as error:
                    yield from self._salvaged(given, at - len(packed))
                    self.broken = RowError("damaged_record", f"gzip member at byte {self.offset:,}: {error}")
                    return
                packed = inflate.unconsumed_tail
                self._next = at - len(inflate.unused_data)
                given += len(piece)
                if piece:
                    yield piece

    def _salvaged(self, given: int, damage: int) -> Iterator[bytes]:
        """What can be unpacked behind the first `given` bytes: zlib keeps what it unpacked before it came to an error.

        Often that is all of a small record, whose checksum alone is wrong: its header says what was lost.
        """
        inflate, at = zlib.decompressobj(31), self.offset
        try:
            while packed := self._raw.at(at, 4096 if at + 4096 < damage else 16):
                at += len(packed)
                piece = inflate.decompress(packed)
                if piece[given:]:
                    yield piece[given:]
                given = max(0, given - len(piece))
        except zlib.error:
            return
