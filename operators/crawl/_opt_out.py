"""Reservations in headers and pages: X-Robots-Tag, meta robots, TDMRep. What is found is kept as evidence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from ._tags import META, tags

# A name before one of these is a crawler's, and what follows concerns it alone. Any other colon is a directive's own:
# `unavailable_after: Fri, 25 Jun 2010 15:00:00 GMT` has some, and there are more that take a value.
_NAME: Final = re.compile("[a-z][a-z0-9_.-]*|[*]")
_VALUED: Final = frozenset(("unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"))
_DIRECTIVES: Final = _VALUED | frozenset((
    *("all", "none", "index", "follow", "noindex", "nofollow", "noarchive", "nocache", "nosnippet", "notranslate"),
    *("noimageindex", "noai", "noimageai", "noodp", "noydir", "indexifembedded", "nositelinkssearchbox"),
))  # fmt: skip
_NONE: Final = ("none", "noindex", "nofollow")  # the first stands for all of them


def tag_directives(values: Iterable[str], token: str) -> list[str]:
    """Directives of X-Robots-Tag headers that concern all crawlers or ours, lower case.

    A header may come several times, hold several directives, and name a crawler first, whom the rest is for.
    """
    found = list[str]()
    for value in values:
        whom = ""
        for part in re.split("[,;]", value.lower()):
            head, colon, rest = part.partition(":")
            if colon and _names_a_crawler(head.strip(), rest):
                whom, part = head.strip(), rest
            if whom in ("", "*", "robots", token) and (directive := part.strip()):
                found += _NONE if directive == "none" else [directive]
    return found


def _names_a_crawler(head: str, rest: str) -> bool:
    directive = rest.partition(":")[0].strip()
    return head not in _VALUED and directive in _DIRECTIVES and _NAME.fullmatch(head) is not None


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
    """What the meta tags of a page reserve."""
    for name, content in metas(page):
        if name in ("robots", token):
            for directive in directives(content):
                if directive in refused:
                    return f"meta {name}: {directive}"
        if tdm and name == "tdm-reservation" and content.strip() == "1":
            return "meta tdm-reservation: 1"
    return None


def directives(content: str) -> list[str]:
    """What a meta tag's content says, `none` as what it stands for."""
    said = [part.strip() for part in re.split("[,;]", content)]
    return [each for part in said for each in (_NONE if part == "none" else (part,))]


def metas(page: bytes) -> Iterator[tuple[str, str]]:
    """(name, content) of a page's meta tags, in lower case; also of those that stand where none should."""
    for _, attributes in tags(page, frozenset(("meta",)), META):
        yield attributes.get("name", "").strip().lower(), attributes.get("content", "").lower()
