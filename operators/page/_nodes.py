"""Blocks of content to the nodes of a document: paragraphs and images in reading order."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ._blocks import MIN_PROSE, Block, Picture, Run
from ._pictures import image_url, is_tracker, length_px, words

_TAGS: Final = frozenset({
    "p", "h1", "h2", "h3", "h4", "h5", "h6", "li", "pre", "blockquote", "figcaption", "dt", "dd", "td", "th",
    "caption", "tr", "address",
})  # fmt: skip
_HEADINGS: Final = frozenset(("h1", "h2", "h3", "h4", "h5", "h6"))
_LABELS: Final = frozenset({
    "p", "h1", "h2", "h3", "h4", "h5", "h6", "li", "address",
})  # fmt: skip
_SENTENCE_END: Final = re.compile(r"[.!?:;…。！？\"'”’»」』)\]]\s*$")


class Node(NamedTuple):
    """A paragraph or an image: the fields of schemas.document.NODE."""

    kind: str
    text: str | None
    tag: str
    image_url: str | None = None
    alt_text: str | None = None
    caption: str | None = None
    shown_width_px: int | None = None
    shown_height_px: int | None = None


def nodes(blocks: list[Block], base: str) -> list[Node]:
    """The nodes of the blocks, without the labels before the first paragraph and behind the last."""
    found: list[Node] = []
    for block in blocks:
        read_nodes(block, "p", base, found)
    return _trimmed(found)


def read_nodes(block: Block, tag: str, base: str, found: list[Node]) -> None:
    if block.tag == "tr" and (cells := _cells(block)):
        found.append(Node("text", " | ".join(cells), "tr"))
        return
    tag = block.tag if block.tag in _TAGS else tag
    for item in block.items:
        if isinstance(item, Block):
            read_nodes(item, tag, base, found)
        elif isinstance(item, Run):
            found.append(Node("text", item.text, tag))
        elif (node := image_node(item, base)) is not None:
            before = found[-1].image_url if found else None
            found += [] if is_again(item, node.image_url, before) else [node]


def image_node(picture: Picture, base: str) -> Node | None:
    """A node, or None where there is nothing to fetch, or only a tracking pixel."""
    attributes = picture.attributes
    url = image_url(attributes, picture.sources, base)
    if url is None or is_tracker(attributes):
        return None
    return Node(
        "image",
        None,
        "img",
        image_url=url,
        alt_text=words(attributes.get("alt")),
        caption=words(" ".join(picture.captions)),
        shown_width_px=length_px(attributes.get("width")),
        shown_height_px=length_px(attributes.get("height")),
    )


def is_again(picture: Picture, url: str | None, before: str | None) -> bool:
    """True where an image is the one before once more, for browsers without scripts; by its file's name, as the size
    that a URL asks for may be another one.
    """
    return picture.in_noscript and url is not None and before is not None and _file(url) == _file(before)


def _file(url: str) -> str:
    return url.split("?")[0].rsplit("/", 1)[-1]


def _cells(row: Block) -> list[str]:
    """The texts of a row of data; none where its cells hold more than a paragraph each."""
    cells = []
    for cell in row.items:
        if not isinstance(cell, Block) or len(cell.items) != 1 or not isinstance(cell.items[0], Run):
            return []
        cells.append(" ".join(cell.items[0].text.split()))
    return cells if len(cells) > 1 else []


def _trimmed(found: list[Node]) -> list[Node]:
    """Without bylines, dates and buttons around the text. Images stay, and headings of what follows."""
    prose = [i for i, node in enumerate(found) if node.text is not None and len(node.text) >= MIN_PROSE]
    if not prose:
        return found
    first = prose[0]
    head = [node for node in found[:first] if not _is_label(node) or (node.tag in _HEADINGS and node.tag != "h1")]
    tail: list[Node] = []
    ended = False  # at the last sentence, or entry of a list
    for node in reversed(found[first:]):
        ended = ended or (node.text is not None and (node.tag == "li" or not _is_label(node)))
        tail += [node] if ended or node.text is None else []
    return head + tail[::-1]


def _is_label(node: Node) -> bool:
    """A short text that is no sentence."""
    text = node.text
    return text is not None and len(text) < MIN_PROSE and node.tag in _LABELS and not _SENTENCE_END.search(text)
