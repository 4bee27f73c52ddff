"""Tags of a page in time linear in its length, whatever it holds: for links and meta tags no tree is built.

A tree of 100,000 nested elements takes lexbor's selectors a minute, and what a crawler follows is not picky.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Final

MAX_TAG: Final = 8192  # bytes; a longer one is passed over
_BEGIN: Final = re.compile(rb"<(?:!--|[a-zA-Z])")
_TAG: Final = re.compile(rb"<([a-zA-Z][a-zA-Z0-9:-]{0,31})(?=[\s/>])((?:[^>\"']|\"[^\"]*\"|'[^']*')*+)>")
_ATTRIBUTE: Final = re.compile(rb"""([a-zA-Z][a-zA-Z0-9:_-]{0,63})\s{0,9}=\s{0,9}(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""")
_RAW: Final = frozenset((b"script", b"style", b"textarea", b"title", b"template", b"noscript", b"iframe", b"xmp"))
META: Final = re.compile(rb"<(?:!--|(?i:meta|%b)(?=[\s/>]))" % b"|".join(sorted(_RAW)))
_BYTE_ORDER: Final = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}


def tags(
    page: bytes, wanted: frozenset[str], begins: re.Pattern[bytes] = _BEGIN
) -> Iterator[tuple[str, dict[str, str]]]:
    """(name, attributes) of the tags wanted, in their order; names in lower case, the first of equal attributes.

    `begins`: META looks at nothing but meta tags, and takes a fraction of the time.
    """
    page = _utf8(page)
    lower, at = page.lower(), 0
    patience = MAX_TAG * 64 + 4 * len(page)  # bytes that may be looked through for ends of tags that have none
    while begin := begins.search(page, at):
        at = begin.start()
        if begin[0] == b"<!--":
            at = page.find(b"-->", at + 2)
            if at < 0:
                return
            continue
        tag = _TAG.match(page, at, at + MAX_TAG)
        if tag is None:
            patience -= MAX_TAG
            if patience < 0:
                return
            at += 1
            continue
        at = tag.end()
        name = tag[1].lower()
        if name in _RAW and (at := lower.find(b"</" + name, at)) < 0:
            return
        if name.decode() in wanted:
            yield name.decode(), _attributes(tag[2])


def _utf8(page: bytes) -> bytes:
    """UTF-16, by its byte order mark or its nulls, as UTF-8: no tag could be found in it as it is."""
    coding = _BYTE_ORDER.get(page[:2])
    if coding is None and page[:256].count(0) >= len(page[:256]) // 3 > 0:
        coding = "utf-16-be" if page[:1] == b"\0" else "utf-16-le"
    return page if coding is None else page.decode(coding, "replace").encode("utf-8", "replace")


def _attributes(text: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, *values in _ATTRIBUTE.findall(text):
        found.setdefault(name.decode().lower(), html.unescape(_text(b"".join(values))))
    return found


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
