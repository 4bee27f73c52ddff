"""From a record of an archive to a row: the page where it is one, what was sent with it, and where it lies."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Final

from ..crawl._opt_out import of_headers
from ..decode import RowError
from ._warc_http import Response, dechunk, decode_body, parse_response
from ._warc_records import Record

_NO_DIGIT: Final = re.compile("[^0-9]")
MAX_HTML_BYTES: Final = 16 << 20
ROW_TYPES: Final = ("response", "resource", "revisit")
HTML_TYPES: Final = ("text/html", "application/xhtml+xml")
# What a browser looks into before it believes it; and what says nothing.
_SNIFFED_TYPES: Final = ("", "*/*", "unknown/unknown", "application/unknown", "application/octet-stream", "no-type")
_XML_TYPES: Final = ("text/xml", "application/xml")
_TAGS: Final = rb"!doctype\s+html|html|head|script|iframe|h1|div|font|table|a|style|title|b|body|br|p"
_IS_HTML: Final = re.compile(rb"(?:\xef\xbb\xbf)?[\t\n\x0c\r ]{0,512}(?:<(?:" + _TAGS + rb")[ \t\r\n>]|<!--)", re.I)
_IS_XHTML: Final = re.compile(rb"<html[\s>]", re.I)

# Headers that are for all crawlers, or for ours; what crawl.pages would refuse by its defaults.
_OUR_NAME: Final = "cupel"
_RESERVED: Final = frozenset(("noai", "noimageai", "noindex", "noimageindex"))

BODY_COLUMNS: Final = ("html", "digest_ok")


def is_row(record: Record) -> bool:
    """Is it an answer, or was it damaged and may have been one?"""
    return record.error is not None or record.type in ROW_TYPES


def values_of(record: Record, file: str, columns: Sequence[str]) -> tuple[dict[str, object], RowError | None]:
    """The record's values, and why its page cannot be had. What costs time is worked out only where it is asked for."""
    fields, response = record.fields, response_of(record)
    media_type = fields.get("content-type", "") if response is None else response.headers.get("content-type", "")
    values: dict[str, object] = {
        "key": fields.get("warc-record-id", "").strip("<>") or f"{PurePath(file).name}:{record.offset}",
        "page_url": fields.get("warc-target-uri", "").strip("<>") or None,
        "content_type": media_type,
        "http_status": response.status if response else None,
        "opt_out": _opt_out(response) if response else None,
        "warc_type": record.type,
        "warc_date": parse_date(fields.get("warc-date", "")),
        "warc_truncated": fields.get("warc-truncated"),
        "payload_digest": fields.get("warc-payload-digest"),
        "warc_file": file,
        "warc_offset": record.offset,
        "warc_length": record.length,
    }
    error = record.error
    if "digest_ok" in columns and error is None:
        values["digest_ok"] = _digest_ok(record, response)
    if "html" in columns and error is None:
        try:
            values["html"] = _page(record, response, media_type)
        except RowError as failure:
            error = failure
    return values, error


def response_of(record: Record) -> Response | None:
    """The HTTP response that a record holds, if it does."""
    return parse_response(record.block) if record.type in ("response", "revisit") else None


def _opt_out(response: Response) -> str | None:
    """What its headers reserve, as evidence."""
    tags, reservations = (
        [response.headers[name]] if name in response.headers else [] for name in ("x-robots-tag", "tdm-reservation")
    )
    return of_headers(tags, reservations, _OUR_NAME, _RESERVED)


def essence(media_type: str) -> str:
    """`text/html` of `Text/HTML; charset=utf-8`."""
    return media_type.split(";")[0].strip().lower()


def parse_date(text: str) -> datetime | None:
    """WARC's `2008-04-30T20:48:25Z`, with a fraction or without, or ARC's `20080430204825`; None for anything else."""
    digits = _NO_DIGIT.sub("", text[:40])
    if len(digits) < 14:
        return None
    month, day, hour, minute, second = (int(digits[at : at + 2]) for at in range(4, 14, 2))
    micro = 1000 * int(digits[14:17].ljust(3, "0"))
    try:
        return datetime(int(digits[:4]), month, day, hour, minute, second, micro, tzinfo=UTC)
    except ValueError:
        return None


def _page(record: Record, response: Response | None, media_type: str) -> bytes | None:
    if record.type == "revisit" or not _may_be_html(media_type):
        return None
    if len(record.block) < record.block_bytes:
        raise RowError("too_large", f"a record of {record.block_bytes:,} bytes")
    body, whole = (record.block, True) if response is None else decode_body(response, MAX_HTML_BYTES)
    if len(body) > MAX_HTML_BYTES:
        raise RowError("too_large", f"a page of {len(body):,} bytes; at most {MAX_HTML_BYTES:,} are taken")
    if not _is_html(body, media_type):
        return None
    if not whole and "warc-truncated" not in record.fields:
        raise RowError("truncated", f"the packed body breaks off; {len(body):,} bytes could be unpacked")
    return body


def _may_be_html(media_type: str) -> bool:
    kind = essence(media_type)
    return kind in HTML_TYPES or kind in _SNIFFED_TYPES or kind in _XML_TYPES or "/" not in kind


def _is_html(body: bytes, media_type: str) -> bool:
    kind = essence(media_type)
    if kind in HTML_TYPES:
        return True
    if kind in _XML_TYPES:
        return _IS_XHTML.search(body[:1024]) is not None
    return _IS_HTML.match(body) is not None


def _digest_ok(record: Record, response: Response | None) -> bool | None:
    """Of the payload, else of the block. A payload's is told of the body with its chunks, or without; both occur."""
    if len(record.block) < record.block_bytes or record.type == "revisit":
        return None
    stated = record.fields.get("warc-payload-digest")
    if stated is None:
        stated = record.fields.get("warc-block-digest")
        return _has_digest([record.block], stated) if stated is not None else None
    if response is None:
        return _has_digest([record.block], stated)
    bodies = [response.body]
    if response.chunked:
        bodies.append(dechunk(response.body)[0])
    return _has_digest(bodies, stated)


def _has_digest(bodies: Sequence[bytes], stated: str) -> bool | None:
    name, _, value = stated.partition(":")
    name = name.strip().lower().replace("-", "")
    if name not in ("md5", "sha1", "sha256", "sha512"):
        return None
    found = [hashlib.new(name, body, usedforsecurity=False).digest() for body in bodies]
    return _digest_bytes(value.strip(), len(found[0])) in found


def _digest_bytes(value: str, size: int) -> bytes:
    try:
        return (
            bytes.fromhex(value)
            if len(value) == 2 * size
            else base64.b32decode(value.upper() + "=" * (-len(value) % 8))
        )
    except (ValueError, binascii.Error):
        return b""
