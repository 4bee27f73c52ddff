"""The URL of an image that a reader would see, out of all the attributes that pages keep it in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import urljoin, urlsplit

from ._blocks import Attributes

MAX_URL: Final = 4096
MAX_DATA_URI: Final = 100_000
MAX_SRCSET: Final = 50_000
MAX_TEXT: Final = 5000

# Where scripts that load images late keep the real address, the commonest first.
_LAZY: Final = (
    *("data-src", "data-original", "data-lazy-src", "data-lazy", "data-url", "data-hi-res-src", "data-full-src"),
    *("data-orig-file", "data-large-file", "data-img-src", "data-image-src", "data-actualsrc", "data-original-src"),
    *("data-echo", "data-gt-lazy-src", "data-lateloadsrc", "data-src-fg", "data-scroll-image", "nitro-lazy-src"),
    *("data-defer-src", "data-src-large", "data-src-medium", "data-src-small", "src2", "file", "original"),
)
_SRCSETS: Final = ("data-srcset", "data-lazy-srcset", "data-original-set", "nitro-lazy-srcset", "srcset")
# Possessive, and matched where the last one ended, so that a page's own whitespace cannot make it quadratic.
_CANDIDATE: Final = re.compile(r"[\s,]*+([^\s,](?:\S*[^\s,])?)(?:\s++(\d+(?:\.\d+)?)[wxh])?[^,]*+,?")
_DATA_IMAGE: Final = re.compile(r"data:image/(?:jpe?g|png|webp|gif|avif);base64,", re.IGNORECASE)
_PLACEHOLDER: Final = re.compile(
    r"(?:(?:^|[/_.-])(?:spacer|blank|placeholder|transparent|1x1|1px|lazyload|preloader)"
    r"|(?:^|/)(?:pixel|clear|empty|grey|gray|loading|loader|lazy|trans|default-image|dot))"  # sudoku-gray.png is none
    r"(?:[_-]?(?:image|img|gif|1x1|\d+))?\.(?:gif|png|svg|jpe?g)(?:$|[?#])",
    re.IGNORECASE,
)
_OTHER_TYPES: Final = ("image/svg", "image/jxl", "image/heic", "video/")
_QUERY: Final = re.compile("([?#])")  # what stands behind it keeps its backslashes
_LENGTH: Final = re.compile(r"\s*(\d{1,6})(?:\.\d*)?\s*(?:px)?\s*$", re.IGNORECASE)
_MIN_DATA_URI: Final = 256  # shorter ones are dots and colours


def base_of(page_url: str, base_href: str | None) -> str:
    """What relative URLs are relative to; a `<base>` that leads to no web address is left out."""
    if base_href:
        joined = _joined(page_url, base_href)
        if joined.startswith(("http://", "https://")):
            return joined
    return page_url


def image_url(attributes: Attributes, sources: Sequence[Attributes], base: str) -> str | None:
    """The absolute URL, the largest where there are several; None where there is only a placeholder, or none."""
    best = max(_candidates(attributes, sources), default=None, key=lambda found: found[0])
    offers = [best[1]] if best and best[0] > 1 else []
    offers += [value for name in _LAZY if (value := attributes.get(name))]
    offers += [value] if (value := attributes.get("src")) else []
    offers += [best[1]] if best else []
    offers += _unknown_lazy(attributes)
    found = [url for offer in offers if (url := absolute(offer, base))]
    return next((url for url in found if not url.startswith("data:")), found[0] if found else None)


def absolute(url: str, base: str) -> str | None:
    """An http(s) URL or a small data: image; None for placeholders and whatever else."""
    url = url.strip()
    if url[:5].lower() == "data:":
        fits = _MIN_DATA_URI <= len(url) <= MAX_DATA_URI and _DATA_IMAGE.match(url)
        return url if fits else None
    if not url or len(url) > MAX_URL or _PLACEHOLDER.search(url):
        return None
    joined = _joined(base, url)
    return joined if joined.startswith(("http://", "https://")) else None


def _joined(base: str, url: str) -> str:
    """urljoin, with what browsers do to whitespace and backslashes; empty where it is no URL."""
    url = url.strip().replace("\n", "").replace("\r", "").replace("\t", "").replace(" ", "%20")
    path, mark, rest = _QUERY.split(url, maxsplit=1) if _QUERY.search(url) else (url, "", "")
    url = path.replace("\\", "/") + mark + rest
    try:
        joined = urljoin(base, url)
        return joined if len(joined) <= MAX_URL and urlsplit(joined).hostname else ""
    except ValueError:
        return ""


def _candidates(attributes: Attributes, sources: Sequence[Attributes]) -> Iterator[tuple[float, str]]:
    """(size, URL) of every srcset candidate: width in px, or density; 1 where nothing is said."""
    for name in _SRCSETS:
        if value := attributes.get(name):
            yield from _srcset(value)
    for source in sources:
        if (source.get("type") or "").startswith(_OTHER_TYPES):
            continue
        for name in _SRCSETS:
            if value := source.get(name):
                yield from _srcset(value)


def _srcset(value: str) -> Iterator[tuple[float, str]]:
    if len(value) > MAX_SRCSET:
        return
    at = 0
    while match := _CANDIDATE.match(value, at):
        (url, size), at = match.groups(), match.end()
        if not (url[:5].lower() == "data:" or _PLACEHOLDER.search(url)):
            yield float(size or 1), url


def _unknown_lazy(attributes: Attributes) -> list[str]:
    """Values of other data-* attributes that look like an image's address."""
    return [
        value
        for name, value in attributes.items()
        if name.startswith("data-") and value and len(value) <= MAX_URL and _IMAGE_FILE.match(value)
    ]


_IMAGE_FILE: Final = re.compile(r"\s*\S+\.(?:jpe?g|png|webp|gif|avif)(?:\?\S*)?\s*$", re.IGNORECASE)


def length_px(value: str | None) -> int | None:
    """width or height as an attribute says it; None for shares of the window and other units."""
    match = _LENGTH.match(value[:20]) if value else None
    return int(match[1]) if match else None


def is_tracker(attributes: Attributes) -> bool:
    """An image of one pixel or none, by its own attributes."""
    width, height = length_px(attributes.get("width")), length_px(attributes.get("height"))
    return width is not None and height is not None and width <= 1 and height <= 1


def words(value: str | None) -> str | None:
    """An attribute's text on one line; None where it is empty."""
    text = " ".join(value[:MAX_TEXT].split()) if value else ""
    return text or None
