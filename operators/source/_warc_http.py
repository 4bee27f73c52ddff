"""HTTP responses as archives hold them: status, headers, and the body as the browser got it.

Archives lie: headers say `chunked` or `gzip` of bodies that were unpacked before they were stored, chunks have wrong
sizes, packed bodies are cut off. What unpacks is unpacked; what clearly never was packed is taken as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ..crawl._encodings import DECODERS, Data
from ..crawl._reasons import FetchError
from ..decode import RowError
from ._warc_records import MAX_HEAD_BYTES, end_of_head, read_lines

MAX_CODINGS: Final = 2
_STATUS: Final = re.compile(rb"HTTP/\d(?:\.\d)?[ \t]+(\d{3})(?!\d)")
_CHUNK: Final = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]{0,1024})?\r?\n")
_CRAWLER: Final = re.compile(r"(?:^|(?<=[,;]))\s*(?!unavailable_after|max-)[a-z*][^,;:]*:", re.IGNORECASE)
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_IMAGES: Final = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"\x00\x00\x00")


@dataclass(frozen=True, kw_only=True)
class Response:
    """Status, headers (lower-case names; of equal ones the first, but all of X-Robots-Tag), and the body as sent."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def chunked(self) -> bool:
        """Does it say so?"""
        return "chunked" in self.headers.get("transfer-encoding", "").lower()


def parse_response(block: bytes) -> Response | None:
    """The response in a record's block; None when it is none."""
    status = _STATUS.match(block)
    if status is None:
        return None
    end = end_of_head(block[:MAX_HEAD_BYTES])
    head = block if end < 0 else block[:end]
    return Response(status=int(status[1]), headers=_headers(head), body=b"" if end < 0 else block[end:])


def _headers(head: bytes) -> dict[str, str]:
    """Servers send Content-Type and Content-Encoding twice by mistake, X-Robots-Tag to say more.

    What follows the name of a crawler is for that crawler, so in one line all that is for everybody comes first.
    """
    lines = read_lines(head)
    headers = dict(reversed(lines))
    tags = [value for name, value in lines if name == "x-robots-tag"]
    if len(tags) > 1:
        starts = [found.start() if (found := _CRAWLER.search(tag)) else len(tag) for tag in tags]
        cut = list(zip(tags, starts, strict=True))
        parts = [*(tag[:start] for tag, start in cut), *(tag[start:] for tag, start in cut)]
        headers["x-robots-tag"] = ", ".join(kept for part in parts if (kept := part.strip(" ,;")))
    return headers


def decode_body(response: Response, limit: int) -> tuple[bytes, bool]:
    """The body without its transfer and content codings, and whether it came to its end.

    RowError `too_large` where it has more than `limit` bytes, `damaged_record` where it cannot be unpacked.
    """
    body, whole = response.body, True
    if response.chunked:
        body, whole = dechunk(body)
    named = [word.strip().lower() for word in response.headers.get("content-encoding", "").split(",")]
    # Others are no codings: servers write `utf-8` or `none` here.
    codings = [word for word in reversed(named) if word in DECODERS]
    if len(codings) > MAX_CODINGS:
        raise RowError("damaged_record", f"{len(codings)} codings, one around the other")
    for coding in codings if body else ():
        body, unpacked = _unpack(body, coding, limit)
        whole = whole and unpacked
    if len(body) > limit:
        raise RowError("too_large", f"a body of {len(body):,} bytes; at most {limit:,} are taken")
    return body, whole


def dechunk(body: bytes) -> tuple[bytes, bool]:
    """A chunked body in one piece, and whether it came to its last chunk; one that is not chunked as it is."""
    at, parts = 0, list[bytes]()
    while size := _CHUNK.match(body, at):
        length = int(size[1], 16)
        if length == 0:
            return b"".join(parts), True
        parts.append(body[size.end() : size.end() + length])
        at = size.end() + length
        at += 2 if body.startswith(b"\r\n", at) else 1 if body.startswith(b"\n", at) else 0
    if len(parts) > 1 or (parts and at >= len(body)):
        return b"".join(parts), False
    return body, True


def _unpack(body: bytes, coding: str, limit: int) -> tuple[bytes, bool]:
    """What the body unpacks to, and whether it came to its end."""
    decoder, parts, held = DECODERS[coding](body), list[bytes](), 0
    rest: Data = body
    try:
        while held <= limit:
            part, rest = decoder.decode(rest)
            parts.append(part)
            held += len(part)
            if decoder.ended() and not rest:
                return b"".join(parts), True
            if not part and not rest:
                break
    except FetchError as error:  # more members than there can be
        raise RowError("damaged_record", f"a body packed by {coding}: {error.message}") from None
    except Exception as error:  # noqa: BLE001  each library has an error of its own
        if not held and _looks_unpacked(body):
            return body, True
        raise RowError("damaged_record", f"a body packed by {coding}: {error}"[:200]) from None
    if held > limit:
        raise RowError("too_large", f"the body unpacks to more than {limit:,} bytes")
    return (b"".join(parts), False) if held or not _looks_unpacked(body) else (body, True)


def _looks_unpacked(body: bytes) -> bool:
    """Text, or an image: packed bytes would have control characters all over."""
    return body.startswith(_IMAGES) or _CONTROL.search(body[:512]) is None
