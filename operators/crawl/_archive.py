"""Web archives as the web: what a URL answered when it was captured, with no request sent."""

from __future__ import annotations

import hashlib
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

import numpy as np

from ..decode import RowError
from ..source._warc_bytes import Raw
from ..source._warc_http import decode_body, parse_response
from ..source._warc_records import MAX_HEAD_BYTES, Record, end_of_head, record_at
from ..source._warc_rows import parse_date
from ..source.base import ShardError
from ..source.files import is_remote, open_file, reading
from ..source.warc import is_archive, records
from ._addresses import parse_url
from ._reasons import FetchError

MAX_BODY_BYTES: Final = 64 << 20
HEAD_BYTES: Final = 4 << 10  # of a block: enough to see the status
RECORD_BYTES: Final = 64 << 10  # read at a time where one record is wanted
KEPT_INDEXES: Final = 256
_ESCAPE: Final = re.compile("%[0-9A-Fa-f]{2}")
_PRINTABLE: Final = "".join(chr(code) for code in range(0x21, 0x7F))
_TRIES: Final = 8  # captures of one URL that are looked at before it counts as not there
_TYPES: Final = ("response", "resource", "revisit")
_REVISIT: Final = _TYPES.index("revisit")
_ENTRY: Final = np.dtype(
    [
        ("url", "u8"),  # the first 64 bits of a hash; the record itself says whether it is the one
        ("digest", "u8"),  # of the payload, as stated
        ("date", "i8"),
        ("offset", "i8"),
        ("inner", "i8"),
        ("status", "i2"),
        ("type", "i1"),
    ]
)


@dataclass(frozen=True, kw_only=True)
class ArchivedResponse:
    """What was answered: names of headers in lower case, the body without its codings."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    tags: tuple[str, ...] = ()  # X-Robots-Tag, each line of them
    reservations: tuple[str, ...] = ()  # TDM-Reservation


class Archive:
    """Finds what was captured of a URL in some WARC or ARC files. Threads may share it.

    A file is read through once in a process, when it is first needed; about 50 bytes are kept for each of its records.
    """

    def __init__(self, files: Sequence[str] = (), max_bytes: int = MAX_BODY_BYTES) -> None:
        self._files = tuple(files)
        self._max_bytes = max_bytes

    def find(self, url: str, warc_file: str | None = None) -> ArchivedResponse | None:
        """The answer in `warc_file` or else in the other files, the newest that succeeded first; None without one.

        RowError where it cannot be had: too_large, damaged_record, missing_file, unreadable_file.
        """
        wanted = canonical(url)
        if warc_file is not None and is_archive(warc_file):
            try:
                answer = self._newest(wanted, [warc_file])
            except RowError as error:
                if error.kind != "missing_file" or not self._files:  # rows may name archives that lie elsewhere
                    raise
                answer = None
            if answer is not None:
                return answer
        return self._newest(wanted, [file for file in self._files if file != warc_file])

    def _newest(self, wanted: str, files: Sequence[str]) -> ArchivedResponse | None:
        found = [(entry, file) for file in files for entry in _index(file).of_url(wanted)]
        error: RowError | None = None
        for entry, file in sorted(found, key=lambda one: _rank(one[0]))[:_TRIES]:
            try:
                answer = self._answer(entry, file, wanted)
            except RowError as failure:
                error = error or failure
                continue
            if answer is not None:
                return answer
        if error is not None:
            raise error
        return None

    def _answer(self, entry: np.void, file: str, wanted: str) -> ArchivedResponse | None:
        record = _record(file, entry)
        if canonical(_url(record)) != wanted:
            return None
        if record.error is not None:
            raise record.error
        if record.type == "revisit":
            return self._original(record, file)
        return self._response(record)

    def _original(self, revisit: Record, file: str) -> ArchivedResponse | None:
        """What a revisit stands for: the record with the same payload, in the same file or another."""
        payload = revisit.fields.get("warc-payload-digest", "")
        for other in dict.fromkeys((file, *self._files)):
            for entry in _index(other).of_payload(payload)[:_TRIES] if payload else ():
                record = _record(other, entry)
                if record.error is None and record.fields.get("warc-payload-digest") == payload:
                    return self._response(record)
        return None

    def _response(self, record: Record) -> ArchivedResponse:
        if len(record.block) < record.block_bytes:
            raise RowError("too_large", f"a record of {record.block_bytes:,} bytes")
        response = parse_response(record.block) if record.type == "response" else None
        if response is None:
            headers = {"content-type": record.fields.get("content-type", "")}
            return ArchivedResponse(status=200, headers=headers, body=record.block)
        body, whole = decode_body(response, self._max_bytes)
        if not whole and not response.chunked:
            raise RowError("truncated", f"the packed body breaks off after {len(body):,} bytes")
        return ArchivedResponse(
            status=response.status,
            headers=response.headers,
            body=body,
            tags=_lines(record.block, b"x-robots-tag"),
            reservations=_lines(record.block, b"tdm-reservation"),
        )


def _lines(block: bytes, wanted: bytes) -> tuple[str, ...]:
    """All values of a header: one may be for a crawler, and the next for all."""
    head = block[: max(0, end_of_head(block[:MAX_HEAD_BYTES]))]
    fields = (line.partition(b":") for line in head.split(b"\n")[1:])
    return tuple(value.strip().decode("latin-1") for name, _, value in fields if name.strip().lower() == wanted)


def canonical(text: str) -> str:
    """Equal for URLs that lead to the same: no scheme, fragment, default port or spare escapes, a lower-case host.

    What stands in the archive and what is asked for both come through here, as they were written.
    """
    try:
        url = parse_url(text)
    except FetchError:
        return text.strip()
    host = (url.raw_host or "").lower().rstrip(".")
    at = host if url.port in (None, 80, 443) else f"{host}:{url.port}"
    query = f"?{_escaped(url.raw_query_string)}" if url.raw_query_string else ""
    return f"//{at}{_escaped(url.raw_path)}{query}"


def _escaped(text: str) -> str:
    """Escapes in capitals, none where the character may stand for itself, and one where it may not."""
    plain = _ESCAPE.sub(lambda found: _unescaped(found[0]), text)
    return quote(plain, safe=_PRINTABLE)


def _unescaped(escape: str) -> str:
    character = chr(int(escape[1:], 16))
    return character if character.isascii() and (character.isalnum() or character in "-._~") else escape.upper()


class _Index:
    """Where the captures of a file lie, by hash of URL and of payload digest."""

    def __init__(self, entries: np.ndarray) -> None:
        self._entries = entries[np.argsort(entries["url"], kind="stable")]
        self._by_payload = np.argsort(self._entries["digest"], kind="stable")

    @classmethod
    def of(cls, file: str) -> _Index:
        """One pass over the file."""
        with reading(file):
            found = [_entry(record) for record in records(file, keep=HEAD_BYTES) if record.type in _TYPES]
        return cls(np.array(found, _ENTRY))

    def of_url(self, url: str) -> np.ndarray:
        """Captures of a canonical URL (and, rarely, of another one with the same hash)."""
        first, last = (np.searchsorted(self._entries["url"], _hash(url), side) for side in ("left", "right"))
        found: np.ndarray = self._entries[first:last]
        return found

    def of_payload(self, payload: str) -> np.ndarray:
        """Captures with this payload that are no revisits."""
        digests, wanted = self._entries["digest"], _hash(payload)
        ends = (np.searchsorted(digests, wanted, side, sorter=self._by_payload) for side in ("left", "right"))
        found = self._entries[self._by_payload[slice(*ends)]]
        originals: np.ndarray = found[found["type"] != _REVISIT]
        return originals


def _entry(record: Record) -> tuple[int, int, int, int, int, int, int]:
    response = parse_response(record.block) if record.type == "response" else None
    date = parse_date(record.fields.get("warc-date", ""))
    return (
        _hash(canonical(_url(record))),
        _hash(record.fields.get("warc-payload-digest", "")),
        int(date.timestamp()) if date else 0,
        record.offset,
        record.inner,
        response.status if response else 200,
        _TYPES.index(record.type),
    )


def _url(record: Record) -> str:
    return record.fields.get("warc-target-uri", "").strip("<>")


def _rank(entry: np.void) -> tuple[bool, bool, int, int]:
    """What succeeded first, revisits behind what they stand for, the newest first."""
    return not 200 <= entry["status"] < 300, entry["type"] == _REVISIT, -int(entry["date"]), int(entry["offset"])


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=8).digest(), "big")


def _record(file: str, entry: np.void) -> Record:
    try:
        with reading(file), open_file(file) as handle:
            return record_at(Raw(handle, RECORD_BYTES), int(entry["offset"]), int(entry["inner"]))
    except ShardError as error:
        raise _row_error(error) from error


def _row_error(error: ShardError) -> RowError:
    gone = isinstance(error.__cause__, FileNotFoundError)
    return RowError("missing_file" if gone else "unreadable_file", str(error))


class _Slot:
    """A place for one file's index: whoever comes first makes it, the others wait for it alone."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.index: _Index | None = None


_SLOTS: Final[OrderedDict[tuple[str, int, int], _Slot]] = OrderedDict()
_SLOTS_LOCK: Final = threading.Lock()


def _index(file: str) -> _Index:
    """The file's index, made once in a process unless the file changes; the least used are forgotten."""
    try:
        identity = (file, *_stamp(file))
    except FileNotFoundError:
        raise RowError("missing_file", file) from None
    with _SLOTS_LOCK:
        slot = _SLOTS.setdefault(identity, _Slot())
        _SLOTS.move_to_end(identity)
        while len(_SLOTS) > KEPT_INDEXES:
            _SLOTS.popitem(last=False)
    with slot.lock:
        if slot.index is None:
            try:
                slot.index = _Index.of(file)
            except ShardError as error:
                raise _row_error(error) from error
        return slot.index


def _stamp(file: str) -> tuple[int, int]:
    """What a local file is known by without reading it; one on S3 is taken to stay what it is."""
    if is_remote(file):
        return 0, 0
    status = Path(file).stat()
    return status.st_size, status.st_mtime_ns
