"""Reservations in headers and pages: X-Robots-Tag, meta robots, TDMRep. What is found is kept as evidence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from ._tags import tags

# These take a value behind a colon; what else stands before one is the name of a crawler.
_VALUED: Final = ("unavailable_after", "max-snippet", "max-image-preview", "max-video-preview")
HEAD_BYTES: Final = 1 << 16


def tag_directives(values: Iterable[str], token: str) -> list[str]:
    """Directives of X-Robots-Tag headers that concern all crawlers or ours, lower case.

    A header may come several times, hold several directives, and name a crawler first, whom the rest is for.
    """
    found = []
    for value in values:
        whom = ""
        for part in value.lower().split(","):
            head, colon, rest = part.partition(":")
            if colon and head.strip() not in _VALUED:
                whom, part = head.strip(), rest
            if whom in ("", "*", "robots", token) and (directive := part.strip()):
                found.append(directive)
    return found


def of_headers(tags: Sequence[str], reservations: Sequence[str], token: str, refused: frozenset[str]) -> str | None:
    """What the headers reserve, as evidence; None where nothing that the recipe respects."""
    if tags:
        for directive in tag_directives(tags, token):
            if directive in refused:
                return f"X-Robots-Tag: {directive}"
    if any(value.strip() == "1" for value in reservations):
        return "tdm-reservation: 1"
    return None


def of_page(page: bytes, token: str, refused: frozenset[str], tdm: bool) -> str | None:
    """What the meta tags among a page's first 64 KiB reserve."""
    for name, content in metas(page):
        if name in ("robots", token):
            for directive in content.split(","):
                if directive.strip() in refused:
                    return f"meta {name}: {directive.strip()}"
        if tdm and name == "tdm-reservation" and content.strip() == "1":
            return "meta tdm-reservation: 1"
    return None


def metas(page: bytes) -> Iterator[tuple[str, str]]:
    """(name, content) of the meta tags at a page's beginning, in lower case."""
    for _, attributes in tags(page[:HEAD_BYTES], frozenset(("meta",))):
        yield attributes.get("name", "").strip().lower(), attributes.get("content", "").lower()
