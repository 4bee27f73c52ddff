"""Markdown to the nodes of a document, by way of the HTML that it stands for."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Final

from selectolax.lexbor import LexborHTMLParser

from ._captions import take_captions
from ._nodes import Node, read_nodes
from ._tree import keep_all, read_blocks

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

MAX_NESTING: Final = 50  # of quotes, lists and emphasis; the parser calls itself, and leaves out what lies deeper
# What site generators keep above a text, between lines of dashes (YAML) or plus signs (TOML).
_FRONT_MATTER: Final = re.compile(r"\ufeff?(---|\+\+\+)[ \t]*\r?\n(?:.*\n){0,500}?\1[ \t]*(?:\r?\n|\Z)")


def markdown_nodes(text: str, page_url: str) -> list[Node]:
    """Paragraphs and images in reading order; TooDeepError or TooLargeError."""
    front = _FRONT_MATTER.match(text)
    html = _markdown().render(text[front.end() :] if front else text)
    found: list[Node] = []
    blocks = read_blocks(LexborHTMLParser(f"<body>{html}</body>").body, keep_all)
    take_captions(blocks)
    read_nodes(blocks[-1], "p", page_url, found)
    return found


@functools.lru_cache(maxsize=1)
def _markdown() -> MarkdownIt:
    """CommonMark with what GitHub added and people use: tables, struck-out text."""
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"maxNesting": MAX_NESTING}).enable(["table", "strikethrough"])
