"""Sitemaps: the URLs of a site's pages as the site lists them (sitemaps.org)."""

from __future__ import annotations

import html
import re
from typing import Final

from ._encodings import decode_body
from ._reasons import FetchError

MAX_URLS: Final = 50_000  # of a file, by the protocol
_LOC: Final = re.compile(rb"<loc>\s{0,99}(?:<!\[CDATA\[)?\s{0,99}([^<\]\s]{1,8192})")


def sitemap_urls(body: bytes, max_bytes: int) -> tuple[list[str], bool]:
    """The URLs of a sitemap, and whether they are sitemaps themselves; nothing of what is none."""
    if body.startswith(b"\x1f\x8b"):
        try:
            body = decode_body(body, "gzip", max_bytes)
        except FetchError:
            return [], False
    found = [html.unescape(match[1].decode("utf-8", "replace")) for match in _LOC.finditer(body)]
    return found[:MAX_URLS], b"<sitemapindex" in body[:4096]
