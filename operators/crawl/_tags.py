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


def tags(page: bytes, wanted: frozenset[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """(name, attributes) of the tags wanted, in their order; names in lower case, the first of equal attributes."""
    lower, at = page.lower(), 0
    patience = MAX_TAG * 64 + 4 * len(page)  # bytes that may be looked through for ends of tags that have none
    while begin := _BEGIN.search(page, at):
        at = begin.start()
        if begin.end() - at == 4:
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
