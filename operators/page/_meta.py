"""What a page says of itself in its head: title, language, canonical address, date, and what it does not allow."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from ._pictures import absolute, words

_MAX_METAS: Final = 1000
_TITLES: Final = ("og:title", "twitter:title")
_DATES: Final = ("article:published_time", "datepublished", "date", "dc.date", "dc.date.issued", "pubdate")
_ROBOTS: Final = frozenset(("robots", "googlebot", "cupel"))
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8}){0,3}$")


class About(NamedTuple):
    """Columns `page_...` of both operators."""

    title: str | None
    language: str | None
    published: str | None
    canonical_url: str | None
    opt_out: str | None


def about(parser: Any, base: str, opt_outs: Sequence[str]) -> About:
    """Read the head. `opt_outs` are the directives of robots that count, and `tdm-reservation`."""
    metas = _metas(parser)
    title = next((metas[name][0] for name in _TITLES if name in metas), None) or title_tag(parser)
    link = parser.css_first("link[rel~='canonical'][href]")
    return About(
        title=words(title),
        language=_language(parser, metas),
        published=words(next((metas[name][0][:40] for name in _DATES if name in metas), None)),
        canonical_url=absolute(link.attributes.get("href") or "", base) if link is not None else None,
        opt_out="; ".join(_against(metas, opt_outs)) or None,
    )


def title_tag(parser: Any) -> str:
    tag = parser.css_first("head > title")
    return str(tag.text()) if tag is not None else ""


def _metas(parser: Any) -> dict[str, list[str]]:
    """name, property or itemprop in lower case -> contents."""
    found: dict[str, list[str]] = {}
    for tag in parser.css("meta[content]")[:_MAX_METAS]:
        attributes = tag.attributes
        name = attributes.get("name") or attributes.get("property") or attributes.get("itemprop")
        name = name or attributes.get("http-equiv")
        if name and (content := attributes.get("content")):
            found.setdefault(name.strip().lower(), []).append(content)
    return found


def _language(parser: Any, metas: dict[str, list[str]]) -> str | None:
    attributes = parser.root.attributes if parser.root is not None else {}
    offers = (attributes.get("lang"), attributes.get("xml:lang"), *metas.get("content-language", ()))
    return next((offer.strip().replace("_", "-") for offer in offers if offer and _LANGUAGE.match(offer.strip())), None)


def _against(metas: dict[str, list[str]], opt_outs: Sequence[str]) -> list[str]:
    """Each meta that says one of `opt_outs`, as `name: what it says`."""
    found = []
    for name in sorted(_ROBOTS & metas.keys()):
        for content in metas[name]:
            said = {part.strip().lower() for part in content[:1000].split(",")}
            if "none" in said:
                said |= {"noindex", "nofollow"}
            if said & set(opt_outs):
                found.append(f"meta {name}: {words(content[:1000])}")
    if "tdm-reservation" in opt_outs and any(value.strip() == "1" for value in metas.get("tdm-reservation", ())):
        found.append("meta tdm-reservation: 1")
    return found
