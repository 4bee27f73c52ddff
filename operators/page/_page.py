"""One page from bytes to what it holds. This runs in the parser's own process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from selectolax.lexbor import LexborHTMLParser

from ._captions import pictures, take_captions
from ._charset import to_text
from ._content import find_content
from ._meta import About, about, title_tag
from ._nodes import Node, image_node, is_again, nodes
from ._pictures import base_of, words
from ._tree import keep_all, read_blocks


class Pair(NamedTuple):
    """An image and the texts that describe it: columns of `page.pairs`, but for `text`."""

    image_url: str
    alt_text: str | None
    title: str | None
    caption: str | None
    aria_label: str | None
    shown_width_px: int | None
    shown_height_px: int | None


def document(
    html: bytes, page_url: str, content_type: str | None = None, opt_outs: Sequence[str] = ()
) -> tuple[About, list[Node]]:
    """What the page says of itself, and the nodes of its main content."""
    parser, base = _parsed(html, page_url, content_type)
    content = find_content(lambda skip: read_blocks(parser.body, skip), title_tag(parser))
    return about(parser, base, opt_outs), nodes(content, base)


def pairs(
    html: bytes, page_url: str, content_type: str | None = None, opt_outs: Sequence[str] = ()
) -> tuple[About, list[Pair]]:
    """What the page says of itself, and its images with their texts, in reading order."""
    parser, base = _parsed(html, page_url, content_type)
    blocks = read_blocks(parser.body, keep_all)
    take_captions(blocks)
    found: list[Pair] = []
    for picture in pictures(blocks[-1]):
        node = image_node(picture, base)
        before = found[-1].image_url if found else None
        if node is None or node.image_url is None or is_again(picture, node.image_url, before):
            continue
        title, label = (words(picture.attributes.get(name)) for name in ("title", "aria-label"))
        size = (node.shown_width_px, node.shown_height_px)
        found.append(Pair(node.image_url, node.alt_text, title, node.caption, label, *size))
    return about(parser, base, opt_outs), found


def markdown(
    text: bytes, page_url: str, _content_type: str | None = None, _opt_outs: Sequence[str] = ()
) -> tuple[About, list[Node]]:
    """A Markdown text in UTF-8; it says nothing of itself."""
    from ._markdown import markdown_nodes

    return About(*[None] * len(About._fields)), markdown_nodes(text.decode(), page_url)


Task = Callable[[bytes, str, str | None, Sequence[str]], tuple[About, list[Any]]]
TASKS: dict[str, Task] = {"document": document, "pairs": pairs, "markdown": markdown}


def _parsed(html: bytes, page_url: str, content_type: str | None) -> tuple[Any, str]:
    """The page's DOM, and what its relative URLs are relative to."""
    parser = LexborHTMLParser(to_text(html, content_type))
    tag = parser.css_first("base[href]")
    return parser, base_of(page_url, tag.attributes.get("href") if tag is not None else None)
